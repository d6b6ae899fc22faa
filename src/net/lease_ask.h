/* SPDX-License-Identifier: MIT
 *
 * net/lease_ask.h - asking a node what its handles hold and wait for: is it there, and is there a circle of waits?
 *
 * The answer: a head, `handles` times fi_answer_handle_t, `waits` times fi_answer_wait_t. Handles: of this node, those
 * that hold something or are inside a call; waits: of all nodes of the process in this space.
 */
#ifndef FI_NET_LEASE_ASK_H
#define FI_NET_LEASE_ASK_H

#include "net/lease.h"

#define FI_ANSWER_VERSION 1u
#define FI_ANSWER_HANDLES 4096u
#define FI_ANSWER_WAITS 128u

enum { FI_ANSWER_HOLDS = 1, FI_ANSWER_BUSY = 2, FI_ANSWER_ORPHAN = 4, FI_ANSWER_LOST = 8 };

typedef struct fi_answer_head {
    uint8_t version;
    uint8_t pad[3];
    int32_t pid;
    uint64_t process; /* random */
    uint32_t handles;
    uint32_t waits;
    char node[104];
    char host[64];
} fi_answer_head_t;

typedef struct fi_answer_handle {
    uint32_t handle;
    int32_t tid;
    uint32_t bits;
    uint32_t pad;
} fi_answer_handle_t;

typedef struct fi_answer_wait {
    uint64_t node;
    uint64_t number; /* of the wait; unique in its process */
    int64_t since;   /* wall clock */
    int32_t tid;
    uint32_t handle;
    uint32_t role;
    uint32_t detects;
    uint32_t kind;
    uint32_t pad;
    char thread[16];
    char name[104];
    char stream[FI_SUBJECT_MAX];
} fi_answer_wait_t;

typedef struct fi_answer {
    fi_answer_head_t head;
    fi_answer_handle_t *handles; /* in the same allocation */
    fi_answer_wait_t *waits;
} fi_answer_t;

/* Answers questions, as long as the node has leases. */
int fi_answers_open(fi_leases_t *leases);
/* For who opens something, once the server has answered: -EACCES, it does not let this node hear questions. */
int fi_answers_check(fi_leases_t *leases);
void fi_answers_close(fi_leases_t *leases);

/* 1: *out is what it says, to be freed; 0: its connection is gone; -ETIMEDOUT silence; -ENOTCONN; -EPROTO; -ENOMEM;
 * -EACCES the server does not let us ask. */
int fi_answer_ask(fi_leases_t *leases, uint64_t node, fi_answer_t **out);
/* What it says of a handle: FI_ANSWER bits; 0: it knows none that holds or is inside a call. `tid` may be NULL. */
uint32_t fi_answer_bits(const fi_answer_t *a, uint32_t handle, int32_t *tid);

/* Asks those who stand in the way, and takes from the dead. Now and then; the rest of the time it does nothing. 0, or
 * -EACCES: the server does not let us ask, so that a wait for a dead one would never end. */
int fi_lease_look_after(fi_lease_t *l, int64_t now);

/* Does this wait close a circle? 0, or -EDEADLK with the circle in words. */
int fi_lease_circle(fi_lease_t *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * picture.h - who waits for whom, put together from what nodes tell.
 *
 * Nodes speak of keys (waits.h); a picture resolves them into threads, and finds the circles.  What comes from a node
 * is its word: texts are ended, numbers bounded, and a lie can only make a picture wrong.
 */
#ifndef FI_PICTURE_H
#define FI_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ferry/look.h"
#include "node/wire.h"

typedef struct fi_seen_node {
    uint64_t id;
    uint64_t process; /* random number of its process */
    int64_t now;      /* by its clock, when it answered */
    int32_t pid;      /* as we see it; 0: not visible */
    uid_t uid;        /* likewise */
    int32_t own_pid;  /* as it says that it sees itself; 0: not told */
    uint64_t pids_in; /* in this PID namespace, as it says */
    uint32_t place;   /* the space that it is in; 0: the one looked at */
    const char *name;
} fi_seen_node_t;

typedef struct fi_seen_wait {
    ferry_look_wait_t shown;
    uint64_t process;
    uint32_t place;
    uint64_t number;
    int64_t since;
    bool detects;
    bool stirs; /* it is about to look whether it can go on */
    bool stuck; /* cannot go on, in a circle or behind one */
    uint64_t *keys;
    uint32_t key_count;
    ferry_look_holder_t *holders; /* as many as shown.holders */
    uint64_t instance;            /* of a lock between machines, whose value says who holds it; 0: `keys` do */
    uint32_t handle, role;
} fi_seen_wait_t;

typedef struct fi_seen_hold {
    uint64_t key;
    uint64_t process;
    uint64_t node;
    uint32_t place;
    int32_t tid;
    uint64_t token;
    uint64_t held_ns;
} fi_seen_hold_t;

/* By another node of its process a thread waits that holds something by this one. */
typedef struct fi_seen_beside {
    uint64_t node;
    uint64_t told_by;
    const char *path; /* of its space */
    bool more;        /* a piece of the path is still to come */
} fi_seen_beside_t;

/* An end that stands for another node's receivers. */
typedef struct fi_seen_via {
    uint64_t key;
    uint64_t to;
    uint32_t kind;
    const char *channel;
} fi_seen_via_t;

typedef struct fi_seen_receiver {
    uint64_t node;
    uint64_t end;
    uint32_t kind;
    const char *channel;
} fi_seen_receiver_t;

struct fi_picture_text;

typedef struct fi_picture {
    fi_seen_node_t *nodes;
    size_t node_count;
    fi_seen_wait_t *waits;
    size_t wait_count;
    fi_seen_hold_t *holds;
    size_t hold_count;
    fi_seen_via_t *vias;
    size_t via_count;
    fi_seen_receiver_t *receivers;
    size_t receiver_count;
    fi_seen_beside_t *besides;
    size_t beside_count;
    bool keeps_receivers; /* there may be vias that lead to them */
    struct fi_picture_text *texts;
    bool short_of_memory;
} fi_picture_t;

/* Makes room for one more in an array that grows by doubling. False: no memory. */
bool fi_grow(void **array, size_t count, size_t bytes);
/* A copy of the text that lives as long as the picture. */
const char *fi_picture_keep(fi_picture_t *p, const char *text);
/* A node that is being asked; what it says follows. */
fi_seen_node_t *fi_picture_add_node(fi_picture_t *p, uint64_t id, int32_t pid);
/* One frame of its answer. */
void fi_picture_add(fi_picture_t *p, uint64_t node, const fi_frame_t *f);
/* One more of those who could end a wait. */
void fi_picture_add_key(fi_picture_t *p, fi_seen_wait_t *w, uint64_t key);
/* All has been said: resolves keys, finds circles. */
void fi_picture_solve(fi_picture_t *p);
/* The wait of that number, or NULL. */
const fi_seen_wait_t *fi_picture_find(const fi_picture_t *p, uint64_t node, uint64_t number);
const fi_seen_node_t *fi_picture_node(const fi_picture_t *p, uint64_t id);
void fi_picture_free(fi_picture_t *p);

/* family.c: who could end the wait for a child process. Adds holders; false: something in it runs. */
void fi_picture_resolve_process(fi_picture_t *p, fi_seen_wait_t *w);
bool fi_picture_add_holder(fi_picture_t *p, fi_seen_wait_t *w, uint64_t node, int32_t tid, int32_t wait);

#endif

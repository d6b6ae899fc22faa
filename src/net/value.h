/* SPDX-License-Identifier: MIT
 *
 * net/value.h - one value that all nodes of a space see and change, one after the other: a stream that holds one
 * message.
 *
 *     stream FERRY_SPACE_sync_NAME_INSTANCE, subject ferry.SPACE.sync.NAME
 *
 * Whoever changes the value publishes the new one with the number of the message that it was made from; the server
 * takes it only if that is still the last ("expected last sequence", which holds on replicas, too).  So a change is one
 * message and its answer while nobody else changes it, and the number of the message orders all changes.  Without an
 * answer (a lost connection, a server that dies) it is found out by reading: the value names the operations that
 * changed it last.
 *
 * Who has a long way to the server would lose every race against those who have a short one: value_turn.h.
 *
 * The stream's name ends in a random number of its own, so a stream can be deleted although others may just be opening
 * it: the last to close writes GONE, after which nothing is changed any more, and deletes that stream and no other.  A
 * subject is in one stream at a time; the server sees to that, in a cluster after a moment (choose, in value.c).
 */
#ifndef FI_NET_VALUE_H
#define FI_NET_VALUE_H

#include "net/lock_state.h"
#include "net/net.h"

typedef struct fi_value {
    fi_net_t *net;
    const char *word; /* "mutex" */
    char name[104];
    char subject[FI_SUBJECT_MAX];
    uint32_t kind, options, count; /* as this node wants it; as it is, once it is attached */
    bool must_exist;
    uint32_t *replicas;                                             /* of new streams: 0 not known yet; atomic */
    void (*changed)(struct fi_value *r, const fi_lease_state_t *s); /* this node has changed it; no locks held */

    pthread_mutex_t lock;
    char stream[FI_SUBJECT_MAX]; /* these guarded by lock */
    fi_lease_state_t state;      /* as last seen */
    uint64_t seq;                /* its number; 0: not seen yet */

    int64_t yield_until; /* ns: others have asked for their turn (value_turn.h); atomic */
    int64_t yield_asked; /* ns: when they did; this and the next one are the hearing thread's */
    int64_t yield_spent; /* ns given to them, less what was not */
} fi_value_t;

/* How long a call may take, and what ends it sooner. */
typedef struct fi_term {
    int64_t deadline;
    bool stubborn; /* neither a signal nor ferry_shutdown ends it */
} fi_term_t;

/* Nothing is asked of the engine yet. */
void fi_value_init(fi_value_t *r, fi_net_t *net, const char *word, uint32_t kind, const char *name);
void fi_value_done(fi_value_t *r);

/* Finds it or makes it; this node then has it open. The errors of ferry_*_open; -ENOTCONN. */
int fi_value_attach(fi_value_t *r, const fi_term_t *p);
/* -EPROTOTYPE: it is of another kind, or has other options or another count (FI_COUNT_ANY: no opinion). */
int fi_value_compare(const fi_value_t *r, uint32_t kind, uint32_t options, uint32_t count);
/* This node closes it. Best effort: without a connection it is noticed when others look for us. */
void fi_value_part(fi_value_t *r);

/*
 * Makes a change: calls `change` with the value as it is, which alters it or not and returns something; that is
 * returned once the altered value is in place, or, unaltered, once it is certain that this is how it was during this
 * call. `change` may be called several times, with values that never come to be. `number` is fi_value_number().
 * `*token`, if not NULL: the number of the value. Errors: -ETIMEDOUT, -ENOTCONN, -EINTR, -ESHUTDOWN, -EACCES, -ENOSPC,
 * -ENOMEM, -EPROTO, ...: with a sentence; -EINPROGRESS never gets out of here.
 */
typedef int fi_change_fn(fi_lease_state_t *s, void *arg);
int fi_value_change(fi_value_t *r, uint64_t number, fi_change_fn *change, void *arg, const fi_term_t *p,
                    uint64_t *token);
uint64_t fi_value_number(void);
/* Calls it with the value as last seen, and the lock taken. */
void fi_value_look(fi_value_t *r, void (*look)(const fi_lease_state_t *s, void *arg), void *arg);

/* Reads the value of a stream named by somebody else. -ENOENT, -ENOTCONN, -ETIMEDOUT, -EPROTO; no sentence. */
int fi_value_read_other(fi_net_t *net, const char *stream, const char *name, fi_lease_state_t *s);

/* Sleeps up to `ns` while there is no connection or no answer. -EINTR, -ESHUTDOWN, -ETIMEDOUT: the deadline is over. */
int fi_value_pause(fi_net_t *net, int64_t ns, const fi_term_t *p);

#endif

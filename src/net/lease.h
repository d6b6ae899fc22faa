/* SPDX-License-Identifier: MIT
 *
 * net/lease.h - mutex, reader-writer lock, semaphore, barrier and event of a space that spans machines.
 *
 * All nodes that have one open share a value (lock_state.h) through the engine (value.h).  Nobody keeps it alive: what
 * is held is held until it is given back.  Only who waits asks, about every FI_LEASE_ASK_NS, the nodes that stand in
 * his way
 *
 *     ferry.SPACE.n.NODE.locks           what of yours is held or waits? (answer: lease_ask.h; without a reply: see
 *                                        value_turn.h)
 *
 * and takes the hold of one that has not answered for FI_NET_DEAD_NS, while he was connected himself.  On its side a
 * node takes its own leases for lost FI_LEASE_NS after it sent the last that a server has answered, which is sooner
 * (lease_touch.c).
 *
 * Locks: `opening` is taken by who opens or closes, all the time; then a fi_leases_t's `lock`, never while anything is
 * asked; then a record's.
 */
#ifndef FI_NET_LEASE_H
#define FI_NET_LEASE_H

#include "ferry/look.h"
#include "ferry/sync.h"
#include "net/value.h"
#include "node/owned.h"

#define FI_LEASE_ASK_NS INT64_C(250000000)
#define FI_LEASE_PATIENCE_NS INT64_C(100000000) /* for one answer */
#define FI_LEASE_NS (FI_NET_DEAD_NS * 7 / 10)
#define FI_LEASE_SUSPECTS 16u

/* Handles' magic numbers, at the place of those of local ones. */
#define FI_LEASE_MAGIC(kind) (0x65736c00u | (uint32_t)(kind))

typedef struct fi_lease_subscription {
    struct fi_leases *leases;
    natsSubscription *sub; /* NULL: none */
    bool ended;            /* guarded by the lock */
} fi_lease_subscription_t;

typedef struct fi_suspect {
    uint64_t node; /* 0: nobody */
    int64_t since; /* it has not answered since then */
    int64_t last;  /* it was asked last */
    uint32_t times_up;
} fi_suspect_t;

typedef struct fi_lease_object {
    struct fi_list link;
    struct fi_list handles;
    struct fi_leases *leases;
    fi_value_t record;
    uint32_t refs;
    fi_lease_subscription_t changes;
    int64_t asked_at;
    int64_t asked_for;   /* how long the last asking took */
    uint32_t asked_next; /* of those who may be asked, where to go on */
} fi_lease_object_t;

/* A user's handle. */
typedef struct fi_lease {
    uint32_t magic; /* first, as in a fi_handle_t */
    uint32_t busy;
    int cancel; /* whether the thread that is inside could be cancelled before */
    fi_owned_t own;
    struct fi_list link; /* guarded by the lock, as is all that says so */
    fi_lease_object_t *object;
    uint32_t number; /* of the handle, in its node */
    uint32_t held;   /* units; atomic */
    uint32_t lost;   /* what it held was lost, and its user has been told or will be; atomic */
    uint32_t gaps; /* of its node's contact, when it was last known for certain that it holds it; guarded by the lock */
    uint32_t wanted; /* a role: it waits; atomic */
    int64_t lost_since;
    int64_t held_since; /* ns; atomic */
    int64_t grace;      /* negative: does not look for deadlocks */
    uint64_t token;
    bool reads;
    bool unrepaired;
    int bell; /* eventfd, once it has waited */

    uint64_t wait_number; /* 0: it does not wait; these guarded by the lock */
    int64_t wait_since;   /* of the wall clock */
    int64_t wait_begun;   /* ns */
    int32_t wait_tid;
    char wait_thread[16];
} fi_lease_t;

typedef struct fi_leases {
    fi_net_t *net;
    pthread_mutex_t opening;
    bool mute; /* this node cannot hear what others ask; guarded by opening */
    pthread_mutex_t lock;
    struct fi_list objects; /* guarded by lock */
    fi_suspect_t suspects[FI_LEASE_SUSPECTS];
    uint32_t next_handle;
    uint32_t replicas;
    int64_t gone_since; /* no contact since then; 0: there is; atomic */
    int64_t answered;   /* ns: a server has answered what was sent then; guarded by lock, as the next one */
    uint32_t gaps;      /* grows each time that nothing was answered for FI_LEASE_NS */
    uint32_t touching;  /* something is or was held: the bridge asks now and then; atomic */
    int64_t touch_at;   /* ns: when next; the bridge's */
    int64_t back_since; /* there was none for `gap` until then; 0: never; atomic */
    int64_t gap;
    pthread_cond_t ended; /* a subscription's last callback has run */
    fi_net_watch_t watch;
    fi_lease_subscription_t questions, touches;
} fi_leases_t;

/* Is it a handle of this sort? NULL is not. */
static inline bool fi_is_lease(const void *handle, uint32_t kind) {
    return handle && *(const uint32_t *)handle == FI_LEASE_MAGIC(kind);
}
static inline fi_lease_t *fi_lease_of(const void *handle) {
    return (fi_lease_t *)(uintptr_t)handle;
}

typedef struct fi_lease_opening {
    const char *name;
    const char *word;
    uint32_t kind;
    uint32_t options;
    uint32_t count;
    const ferry_sync_options_t *sync;
} fi_lease_opening_t;

int fi_lease_open(ferry_t *node, const fi_lease_opening_t *o, fi_lease_t **out);
int fi_lease_close(fi_lease_t *l, const char *held);

/* The node is closed: closes a handle that is still open, whatever it holds, after `note` has had its name. False:
 * none. */
bool fi_lease_close_any(fi_net_t *net, void (*note)(void *arg, const char *name), void *arg);
void fi_leases_close(fi_net_t *net);

int fi_lease_mutex_lock(fi_lease_t *l, int64_t timeout);
int fi_lease_rwlock(fi_lease_t *l, bool reads, int64_t timeout);
int fi_lease_unlock(fi_lease_t *l);
int fi_lease_repaired(fi_lease_t *l);
uint64_t fi_lease_token(const fi_lease_t *l);
int fi_lease_check(fi_lease_t *l);

int fi_lease_acquire(fi_lease_t *l, int64_t timeout);
int fi_lease_release(fi_lease_t *l);
int fi_lease_value(fi_lease_t *l);

int fi_lease_barrier_wait(fi_lease_t *l, int64_t timeout);
int fi_lease_barrier_reset(fi_lease_t *l);

int fi_lease_event_set(fi_lease_t *l);
int fi_lease_event_reset(fi_lease_t *l);
int fi_lease_event_is_set(fi_lease_t *l);
int fi_lease_event_count(fi_lease_t *l);
/* `count`: NULL: until it is set. */
int fi_lease_event_wait(fi_lease_t *l, const uint32_t *count, int64_t timeout);

/* ---- between the files of this module ---- */

/* Begins a call, as fi_lock_enter; ends it with its result. In between the thread is cancelled only where it says
 * so. */
int fi_lease_enter(fi_lease_t *l);
int fi_lease_leave(fi_lease_t *l, int r);
/* Is it an open handle of this process? */
int fi_lease_check_handle(const fi_lease_t *l);

static inline const char *fi_lease_name(const fi_lease_t *l) {
    return l->object->record.name;
}
static inline fi_net_t *fi_lease_net(const fi_lease_t *l) {
    return l->object->leases->net;
}
void fi_lease_who(const fi_lease_t *l, fi_lease_who_t *who);

/*
 * Waits for something: makes `change` (which returns 0 as long as it is not so) again and again, until it returns
 * something else, or the wait ends: -ETIMEDOUT, -EINTR, -ESHUTDOWN, -EDEADLK (with a sentence), or errors of the
 * engine's. `role`: in whose way others may stand, 0: nobody's.
 */
int fi_lease_wait(fi_lease_t *l, uint32_t role, fi_change_fn *change, void *arg, int64_t deadline, uint64_t *token);
/* lease_touch.c. A server has answered what was sent then. */
void fi_lease_note_contact(fi_leases_t *leases, int64_t sent);
/* The engine has, and says that the handle holds what it should. */
void fi_lease_note_held(fi_lease_t *l, int64_t sent);
/* May others have taken it by now, for all that is known without asking? `*since`: ns; 0: that is not known. */
bool fi_lease_is_over(const fi_lease_t *l, int64_t *since);
/* A handle has begun to hold. */
void fi_lease_touch_begins(fi_leases_t *leases);
/* For the bridge: asks the server, if something is held. Returns ns until it is to be called again, or -1. */
int64_t fi_leases_touch(fi_net_t *net);
int fi_touches_open(fi_leases_t *leases);
void fi_touches_close(fi_leases_t *leases);

/* Subscribes; with the lock taken. */
int fi_leases_subscribe(fi_leases_t *leases, const char *subject, natsMsgHandler cb, void *arg,
                        fi_lease_subscription_t *out);
/* Its callback has ended for good when this returns. */
void fi_leases_unsubscribe(fi_lease_subscription_t *s);

/* lease_tell.c: tells a looking process of its objects, who holds them, and who has waited for long. Any thread. */
void fi_leases_tell(fi_net_t *net, fi_peer_t *p);

/* Wakes the handles of an object that wait for something that may be so now. `s`: NULL: all. */
void fi_lease_ring(fi_lease_object_t *o, const fi_lease_state_t *s);

#endif

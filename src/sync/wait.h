/* SPDX-License-Identifier: MIT
 *
 * sync/wait.h - how a thread waits for a synchronization object: it spins, then sleeps on the object's word.
 *
 * Spinning for an owner to let go looks at the word at growing intervals.  Looking all the time would take the word's
 * cache line away from its owner at every step; with a pause of a few microseconds the owner goes on at full speed
 * meanwhile, and a hand-over still comes an order of magnitude sooner than a wake-up (the idea of exponential back-off:
 * T. Anderson, "The performance of spin lock alternatives for shared-memory multiprocessors", 1990).  Spinning for a
 * signal looks all the time: nobody works on the word meanwhile.
 *
 * Sleeping is futex(2) on memory that all holders map.  A peer that may use the object can thereby wake or move its
 * sleepers; but it could also keep the object for ever, so this gives it nothing.
 */
#ifndef FI_SYNC_WAIT_H
#define FI_SYNC_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "ferry/base.h"
#include "sync/pace.h"

/* What a handle brings along. */
typedef struct fi_waiter {
    uint32_t policy;  /* ferry_wait_t */
    uint32_t in_vain; /* spins in a row that ended in sleep */
    int64_t grace;    /* nanoseconds of waiting after which `stalled` is asked; negative: never */
    /* The wait that began at `since` goes on for long. 0: wait on; a negative errno value: end it with that. `deadline`
     * is the caller's: there is no use in an answer later. */
    int (*stalled)(struct fi_waiter *who, int64_t since, int64_t deadline);
    /* Must every wait end (-ESHUTDOWN)? */
    bool (*halted)(const struct fi_waiter *who);
} fi_waiter_t;

/* Who sleeps for what. */
#define FI_TAKERS 1u   /* wants to take it: one is enough to wake */
#define FI_LOOKERS 2u  /* only wants to see that something has happened: all are woken */
#define FI_STARVING 4u /* a taker that is hungry: comes before all that are not */
#define FI_EVERYBODY UINT32_MAX

#define FI_HUNGRY_NS INT64_C(1000000) /* who has waited that long is hungry */

/* One wait. */
typedef struct fi_wait {
    fi_waiter_t *who;
    int64_t timeout;
    fi_pace_t pace;      /* since the first sleep */
    int64_t deadline;    /* of the caller */
    uint64_t spin_until; /* ticks; 0: has not begun to spin */
    uint32_t pause;
    uint32_t sleeps_as; /* FI_TAKERS, FI_LOOKERS */
    bool eager;         /* waits for a signal, not for an owner to let go: looks all the time */
    bool woken;         /* somebody woke us: ours is a place in the queue */
    bool slept;         /* others may sleep, too */
    bool gave_way;      /* to others who want the processor, before going to sleep */
    bool look;          /* barrier: has everybody come meanwhile? */
    bool hungry;        /* has waited for long */
} fi_wait_t;

static inline fi_wait_t fi_wait_begin(fi_waiter_t *who, int64_t timeout) {
    return (fi_wait_t){.who = who, .timeout = timeout, .sleeps_as = FI_TAKERS};
}

/* One more look before going to sleep? Pauses meanwhile. */
bool fi_wait_spin(fi_wait_t *w);

static inline bool fi_wait_never_sleeps(const fi_wait_t *w) {
    return w->who->policy == FERRY_WAIT_SPIN;
}

/* The wait ended while spinning. */
static inline void fi_wait_paid(fi_wait_t *w) {
    if (w->spin_until && !w->gave_way) {
        w->who->in_vain = 0;
    }
}

/*
 * Sleeps while `*word` is `expected` (FERRY_WAIT_SPIN: only looks at the clock). 0: look again; FI_WAIT_LOOK_WHY: that,
 * and call fi_wait_look_why; -ETIMEDOUT, -EINTR, -ESHUTDOWN.
 */
#define FI_WAIT_LOOK_WHY 1
int fi_wait_sleep(fi_wait_t *w, uint32_t *word, uint32_t expected);

/* It has taken long. 0, or what ends the wait. */
static inline int fi_wait_look_why(fi_wait_t *w) {
    return w->who->stalled(w->who, w->pace.since, w->deadline);
}

/* Both. */
static inline int fi_wait_pass(fi_wait_t *w, uint32_t *word, uint32_t expected) {
    int r = fi_wait_sleep(w, word, expected);

    return r > 0 ? fi_wait_look_why(w) : r;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * wait.h - how long to spin before going to sleep.
 *
 * A wake-up costs tens of microseconds, a hand-over between spinning threads a tenth of one; so a waiter first spins
 * for about as long as the wake-up would cost, then sleeps.  The classic bound: never more than twice the best choice
 * (Karlin et al., "Competitive randomized algorithms", 1990).  Four things keep a spinner from harming others:
 *
 *   - after the first microseconds it yields, so that whoever shares its processor runs, and when a yield takes long
 *     (somebody else did run) it stops spinning;
 *   - when spinning was in vain a few times in a row, it becomes short, and is tried at full length only now and then;
 *   - before it sleeps it gives way once and looks again: with more threads than processors, whoever ran meanwhile has
 *     mostly done what is waited for, and a sleep with its wake-up would cost several times as much;
 *   - while messages flow between two running threads, neither phase is reached, and no system call is made.
 */
#ifndef FI_WAIT_H
#define FI_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "ferry/base.h"
#include "host/choose.h"

/* Times that this thread has waited for a message. A few sent between two waits make a dialogue, many a stream. */
extern __thread uint32_t fi_waits __attribute__((tls_model("initial-exec")));

/* Has this thread sent something since it last waited? */
extern __thread bool fi_spoke __attribute__((tls_model("initial-exec")));

#define FI_STREAM 16u /* messages in a row that make a stream */

/* Kept from wait to wait. */
typedef struct fi_spinner {
    uint32_t policy;  /* ferry_wait_t */
    uint32_t in_vain; /* full spins in a row that ended in sleep */
    uint32_t full_ns; /* a full spin, by what its links were seen to need; 0: the host's */
    bool crowded;     /* somebody else ran when it last gave way */
} fi_spinner_t;

/* One wait. */
typedef struct fi_spin {
    uint64_t start; /* ticks; 0: not looked at the clock yet */
    uint64_t budget;
    uint32_t rounds;
    uint32_t looked; /* rounds at the last look at the clock */
    bool gave_way;   /* to whoever wants the processor, before going to sleep */
} fi_spin_t;

static inline fi_spin_t fi_spin_begin(void) {
    fi_spin_t s = {0, 0, 0, 0, false};
    return s;
}

#define FI_SPIN_TIGHT 16 /* rounds between two looks at the clock */

/* Counts rounds that were spun elsewhere. */
static inline void fi_spin_skip(fi_spin_t *s, uint32_t rounds) {
    s->rounds += rounds;
}

/* Not where the last full spins were in vain, or others want this core: perhaps who sends what is waited for. */
static inline bool fi_spins_at_length(const fi_spinner_t *k) {
    return k->policy != FERRY_WAIT_BLOCK && k->in_vain < FI_VAIN_LIMIT && !k->crowded;
}

/* One round of spinning; false when it is time to sleep. */
bool fi_spin_more(fi_spinner_t *k, fi_spin_t *s);

/* Nanoseconds of a full spin. */
uint64_t fi_spin_full(const fi_spinner_t *k);

/*
 * A reader that has caught up with a stream keeps off for a moment.  Looking on at once, it would take every line away
 * from the writer in the middle of its work, and both would go at the pace of single transfers: between distant cores
 * a third of what the writer can do when it is left alone.
 */
void fi_spin_keep_off(void);

/* The wait ended while spinning, not because somebody else had the processor meanwhile. */
static inline void fi_spin_paid(fi_spinner_t *k, const fi_spin_t *s) {
    if (s->start && !s->gave_way) {
        k->in_vain = 0;
        k->crowded = false;
    }
}

#endif

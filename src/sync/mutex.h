/* SPDX-License-Identifier: MIT
 *
 * sync/mutex.h - mutual exclusion that survives its owner. The word is drawn in word.h, its protocol in acquire.h.
 *
 * Taking a free mutex is one compare-and-set, and so is giving it back when nobody waits.  The token counts
 * acquisitions; only the owner changes it, after he has taken the word and before he gives it back, so no number is
 * given twice.
 */
#ifndef FI_SYNC_MUTEX_H
#define FI_SYNC_MUTEX_H

#include "sync/acquire.h"

typedef struct fi_mutex {
    uint64_t word;
    uint64_t token;
} fi_mutex_t;

/* One try. */
static inline bool fi_mutex_try(fi_mutex_t *m, uint64_t me) {
    uint64_t nobody = 0;

    return fi_cas64(&m->word, &nobody, me);
}

/* FI_TAKEN, FI_TAKEN_FROM_DEAD; -EDEADLK it is `me` who owns it; -ENOTRECOVERABLE; or how the wait ended. */
int fi_mutex_lock(fi_mutex_t *m, uint64_t me, fi_wait_t *w);

/* The owner's next token. */
static inline uint64_t fi_mutex_count(fi_mutex_t *m) {
    uint64_t token = fi_load_relaxed64(&m->token) + 1;

    fi_store_relaxed64(&m->token, token);
    return token;
}

/* By its owner only. */
static inline void fi_mutex_unlock(fi_mutex_t *m, uint64_t me);
void fi_mutex_unlock_slow(fi_mutex_t *m);
/* Nobody shall ever have it again. */
void fi_mutex_break(fi_mutex_t *m);

/* After a death; any thread. */
void fi_mutex_bury(fi_mutex_t *m, fi_is_dead_fn *is_dead, void *arg);

static inline void fi_mutex_unlock(fi_mutex_t *m, uint64_t me) {
    uint64_t mine = me;

    if (!fi_cas64(&m->word, &mine, 0)) {
        fi_mutex_unlock_slow(m);
    }
}

/* ---- passing: a reader on his way through the gate of a reader-writer lock (rwlock.c) ---- */

int fi_mutex_lock_passing(fi_mutex_t *m, uint64_t me, fi_wait_t *w);

#endif

/* SPDX-License-Identifier: MIT
 *
 * acquire.h - the one way in which threads wait for something and hand it on: mutex, semaphore and event differ only in
 * what "free" means.
 *
 *   who frees                                     who waits
 *   not HUNGRY: frees, clears WAITERS             free, and not HUNGRY (or I have slept and been woken, or I am the
 *               WAITERS was set: wakes one        hungry one): takes it; has slept: sets WAITERS for those behind
 *   HUNGRY:     frees, keeps both flags           else spins (not when HUNGRY), then sets WAITERS, and HUNGRY after a
 *               wakes a hungry one, else any;     millisecond, and sleeps while the word is as it was set
 *               nobody there, and nobody
 *               LOOKING: clears both, wakes all
 *
 * Why no wake-up is lost.  Invariant: somebody sleeps => WAITERS is set while it is owned, or a wake-up is on its way,
 * or he who was woken has not looked yet.  He sets WAITERS when he takes it or sleeps again, and when he gives up, he
 * sets it, or wakes the next one if it is free (fi_leave).  With several units free, who took one after sleeping wakes
 * the next. "Nobody there" and the clearing of both flags: who falls asleep in between sleeps on a word that then
 * changes, and the second wake-up is for him.
 *
 * Why it is fair.  The kernel wakes sleepers of one word in the order in which they fell asleep.  Once HUNGRY is set,
 * nobody who comes later can take it before them, and those who are hungry are woken first, as they have a bit of their
 * own to be woken by.  It stays set until somebody takes it who has waited for less than a millisecond, or nobody
 * sleeps.  The former is awake already, or nobody sleeps who has said that he is hungry; a hungry one who is awake
 * finds it gone and sets it again. Who gives up leaves it.  Who sleeps for long need not know that he is hungry before
 * he is woken and has been overtaken (wait.c).
 */
#ifndef FI_SYNC_ACQUIRE_H
#define FI_SYNC_ACQUIRE_H

#include <errno.h>
#include <limits.h>

#include "platform/futex.h"
#include "sync/wait.h"
#include "sync/word.h"

enum fi_take_result {
    FI_NOT_FREE = 0,
    FI_TAKEN = 1,
    FI_TAKEN_FROM_DEAD = 2,
    FI_RACED = 3 /* somebody changed the word: look again */
};

/* How one kind of object is taken. */
typedef struct fi_taking {
    uint64_t *word;
    /* Takes it if the word `*seen` says that it is free; fi_taken_flags is what its wait flags become then. On
     * FI_RACED, `*seen` is what was found. A negative errno value ends the wait. */
    int (*take)(struct fi_taking *t, uint64_t *seen, const fi_wait_t *w);
    /* Could somebody take it now? */
    bool (*is_free)(const struct fi_taking *t, uint64_t seen);
    bool only_looks; /* takes nothing, so it need not queue */
    uint64_t me;
    const void *object;
} fi_taking_t;

#define FI_WAIT_FLAGS (FI_WAITERS | FI_HUNGRY | FI_LOOKING)

/* Waits until it is taken: FI_TAKEN, FI_TAKEN_FROM_DEAD, what `take` failed with, or how the wait ended. */
int fi_acquire(fi_taking_t *t, fi_wait_t *w);

/* The wait flags of `seen` when it is taken: behind one who has slept there may be others, and the hunger ends with
 * somebody who had none. */
static inline uint64_t fi_taken_flags(uint64_t seen, const fi_wait_t *w) {
    uint64_t add = w->slept ? FI_WAITERS : 0;
    uint64_t clear = w->slept && !w->hungry ? FI_HUNGRY : 0;

    return ((seen & ~clear) | add) & FI_WAIT_FLAGS;
}

/* Something was freed, and somebody may sleep: wakes the next one. `left` is the word as it was left. */
void fi_wake_next(uint64_t *word, uint64_t left);

/* The flags that stay when something is freed. */
static inline uint64_t fi_flags_kept(uint64_t word) {
    return word & FI_HUNGRY ? word & FI_WAIT_FLAGS : 0;
}

/* After a death: everybody shall look again. */
void fi_wake_all(uint64_t *word);

#endif

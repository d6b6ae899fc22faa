/* SPDX-License-Identifier: MIT */
#include "sync/acquire.h"

#include "ferry/base.h"

static bool may_take(const fi_taking_t *t, uint64_t seen, const fi_wait_t *w) {
    return !(seen & FI_HUNGRY) || w->woken || w->hungry || t->only_looks;
}

/* Gives up. The wake-up that may have been meant for us is passed on. The hunger stays, since others may have it, who
 * sleep; if nobody has, it ends with whoever takes it next, or when it is freed and nobody sleeps. */
static void leave(const fi_taking_t *t) {
    uint64_t seen = fi_load_acquire64(t->word);

    while (!t->is_free(t, seen)) {
        if (fi_cas64(t->word, &seen, seen | FI_WAITERS)) {
            return;
        }
    }
    fi_wake_next(t->word, seen);
}

/* Puts into the word what must stand there while we sleep. False: it has changed. */
static bool announce(const fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    uint64_t with = *seen | (t->only_looks ? FI_WATCHED : w->hungry ? FI_WAITERS | FI_HUNGRY : FI_WAITERS);

    if (with != *seen && !fi_cas64(t->word, seen, with)) {
        return false;
    }
    *seen = with;
    return true;
}

static int try_to_take(fi_taking_t *t, const fi_wait_t *w, uint64_t *seen) {
    int r;

    do {
        r = may_take(t, *seen, w) ? t->take(t, seen, w) : FI_NOT_FREE;
    } while (r == FI_RACED);
    return r;
}

/* Meanwhile nobody else shall take our place because we are awake. */
static int look_why(const fi_taking_t *t, fi_wait_t *w) {
    (void)__atomic_fetch_or(t->word, FI_LOOKING, __ATOMIC_ACQ_REL);
    int r = fi_wait_look_why(w);
    (void)__atomic_fetch_and(t->word, ~FI_LOOKING, __ATOMIC_ACQ_REL);
    w->woken = true; /* what was freed meanwhile was left for us */
    return r;
}

/* Lets time pass. */
static int wait_on(const fi_taking_t *t, uint64_t *seen, fi_wait_t *w) {
    if (!(*seen & FI_HUNGRY) && fi_wait_spin(w)) {
        return 0;
    }
    int r = 0;
    if (fi_wait_never_sleeps(w) || announce(t, seen, w)) {
        r = fi_wait_sleep(w, fi_low(t->word), (uint32_t)*seen);
    }
    return r > 0 ? look_why(t, w) : r;
}

int fi_acquire(fi_taking_t *t, fi_wait_t *w) {
    w->sleeps_as = t->only_looks ? FI_LOOKERS : FI_TAKERS;
    uint64_t seen = fi_load_acquire64(t->word);
    int r;

    while ((r = try_to_take(t, w, &seen)) == FI_NOT_FREE) {
        r = w->timeout == FERRY_NOW ? -EAGAIN : wait_on(t, &seen, w);
        if (r < 0) {
            break;
        }
        seen = fi_load_acquire64(t->word);
    }
    if (r > 0) {
        fi_wait_paid(w);
    } else if (w->pace.since != 0 && !t->only_looks) {
        leave(t);
    }
    return r;
}

/* The hungry first: whoever takes it then and is not hungry knows that nobody who sleeps is. */
static bool wake_one(uint64_t *word, uint64_t left) {
    return (left & FI_HUNGRY && fi_futex_wake_shared(fi_low(word), FI_STARVING, 1) > 0) ||
           fi_futex_wake_shared(fi_low(word), FI_TAKERS, 1) > 0;
}

void fi_wake_next(uint64_t *word, uint64_t left) {
    if (wake_one(word, left) || (left & (FI_HUNGRY | FI_LOOKING)) != FI_HUNGRY) {
        return;
    }
    /* Nobody sleeps. Has nobody touched it since, either, but to look? Else it is his business now. */
    uint64_t seen = left;
    while (!fi_cas64(word, &seen, seen & ~FI_WAIT_FLAGS)) {
        if (((seen ^ left) & ~FI_WATCHED) != 0) {
            return;
        }
    }
    fi_wake_all(word);
}

void fi_wake_all(uint64_t *word) {
    fi_futex_wake_shared(fi_low(word), FI_EVERYBODY, INT_MAX);
}

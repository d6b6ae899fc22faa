/* SPDX-License-Identifier: MIT */
#include "sync/mutex.h"

static bool is_free(const fi_taking_t *t, uint64_t seen) {
    (void)t;
    return (seen & FI_OWNER) == 0;
}

/* 0: it can be taken. */
static int look(const fi_taking_t *t, uint64_t seen) {
    if (seen & FI_BROKEN) {
        return -ENOTRECOVERABLE;
    }
    if ((seen & FI_OWNER) == 0) {
        return FI_TAKEN;
    }
    return (seen & FI_OWNER) == t->me ? -EDEADLK : FI_NOT_FREE;
}

static int take_as(fi_taking_t *t, uint64_t *seen, uint64_t next) {
    int result = *seen & FI_DIED ? FI_TAKEN_FROM_DEAD : FI_TAKEN;

    return fi_cas64(t->word, seen, next) ? result : FI_RACED;
}

static int take(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    int r = look(t, *seen);

    return r == FI_TAKEN ? take_as(t, seen, t->me | fi_taken_flags(*seen, w)) : r;
}

/* Who passes leaves the news of a death to the next real owner. */
static int take_passing(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    int r = look(t, *seen);

    return r == FI_TAKEN ? take_as(t, seen, t->me | fi_taken_flags(*seen, w) | FI_PASSING | (*seen & FI_DIED)) : r;
}

int fi_mutex_lock(fi_mutex_t *m, uint64_t me, fi_wait_t *w) {
    fi_taking_t t = {.word = &m->word, .take = take, .is_free = is_free, .me = me};

    return fi_acquire(&t, w);
}

int fi_mutex_lock_passing(fi_mutex_t *m, uint64_t me, fi_wait_t *w) {
    fi_taking_t t = {.word = &m->word, .take = take_passing, .is_free = is_free, .me = me};

    return fi_acquire(&t, w);
}

void fi_mutex_unlock_slow(fi_mutex_t *m) {
    uint64_t seen = fi_load_relaxed64(&m->word);

    uint64_t left;

    do {
        left = fi_flags_kept(seen) | (seen & FI_DIED);
    } while (!fi_cas64(&m->word, &seen, left));
    if (seen & FI_WAITERS) {
        fi_wake_next(&m->word, left);
    }
}

void fi_mutex_break(fi_mutex_t *m) {
    (void)fi_exchange64(&m->word, FI_BROKEN);
    fi_wake_all(&m->word);
}

/* The word after a death, as far as it needs to change. */
static uint64_t repaired(uint64_t seen, fi_is_dead_fn *is_dead, void *arg) {
    uint64_t owner = seen & FI_OWNER;

    if (owner == 0) {
        return seen & ~FI_WAIT_FLAGS;
    }
    if (!is_dead(owner, arg)) {
        return (seen | FI_WAITERS) & ~(FI_HUNGRY | FI_LOOKING);
    }
    return (seen & (FI_DIED | FI_BROKEN)) | (seen & FI_HARMLESS ? 0 : FI_DIED);
}

void fi_mutex_bury(fi_mutex_t *m, fi_is_dead_fn *is_dead, void *arg) {
    uint64_t seen = fi_load_acquire64(&m->word);

    while (!fi_cas64(&m->word, &seen, repaired(seen, is_dead, arg))) {
    }
    fi_wake_all(&m->word);
}

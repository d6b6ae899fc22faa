/* SPDX-License-Identifier: MIT */
#include "sync/semaphore.h"

#include "platform/cpu.h"

void fi_semaphore_init(const fi_semaphore_t *s, uint32_t count) {
    s->shared->word = s->units ? 0 : count * FI_SEMAPHORE_UNIT;
}

/* ---- plain ---- */

static bool has_count(const fi_taking_t *t, uint64_t seen) {
    (void)t;
    return seen >= FI_SEMAPHORE_UNIT;
}

static int take_count(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    if (*seen < FI_SEMAPHORE_UNIT) {
        return FI_NOT_FREE;
    }
    uint64_t next = ((*seen - FI_SEMAPHORE_UNIT) & ~FI_WAIT_FLAGS) | fi_taken_flags(*seen, w);
    return fi_cas64(t->word, seen, next) ? FI_TAKEN : FI_RACED;
}

/* The word after a release of `units`. */
static inline uint64_t released(uint64_t seen, uint64_t units) {
    uint64_t count = (seen + 1) & FI_HANDLES;

    return ((seen + units) & ~UINT64_C(0xffffffff)) | fi_flags_kept(seen) | count;
}

/* "inline" lets the linker put these two into their callers, as in rwlock.c. */
inline bool fi_semaphore_try(const fi_semaphore_t *s) {
    uint64_t seen = fi_load_relaxed64(&s->shared->word);

    return s->units == 0 && seen >= FI_SEMAPHORE_UNIT && !(seen & FI_HUNGRY) &&
           fi_cas64(&s->shared->word, &seen, seen - FI_SEMAPHORE_UNIT);
}

inline bool fi_semaphore_try_release(const fi_semaphore_t *s, uint32_t most) {
    uint64_t seen = fi_load_relaxed64(&s->shared->word);

    return s->units == 0 && seen >> 32 < most && !(seen & FI_WAIT_FLAGS) &&
           fi_cas64(&s->shared->word, &seen, released(seen, FI_SEMAPHORE_UNIT));
}

/* ---- owned ---- */

static bool has_unit(const fi_taking_t *t, uint64_t seen) {
    const fi_semaphore_t *s = t->object;

    (void)seen;
    for (uint32_t i = 0; i < s->units; i++) {
        if (fi_load_acquire64(&s->shared->unit[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool take_any_unit(const fi_semaphore_t *s, uint64_t me, uint32_t *at) {
    for (uint32_t i = 0; i < s->units; i++) {
        uint32_t n = (*at + i) % s->units;
        uint64_t nobody = 0;
        if (fi_load_relaxed64(&s->shared->unit[n]) == 0 && fi_cas64(&s->shared->unit[n], &nobody, me)) {
            *at = n;
            return true;
        }
    }
    return false;
}

typedef struct unit_taking {
    fi_taking_t base;
    uint32_t *at;
} unit_taking_t;

static int take_unit(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    const unit_taking_t *u = (const unit_taking_t *)(const void *)t;

    if (!take_any_unit(t->object, t->me, u->at)) {
        return FI_NOT_FREE;
    }
    while (!fi_cas64(t->word, seen, (*seen & ~FI_WAIT_FLAGS) | fi_taken_flags(*seen, w))) {
    }
    return FI_TAKEN;
}

/* ---- both ---- */

/* Another unit is free, and the one who was woken for it may be behind us. */
static void hand_on(fi_taking_t *t) {
    uint64_t seen = fi_load_acquire64(t->word);

    if (seen & FI_WAITERS && t->is_free(t, seen)) {
        fi_wake_next(t->word, seen);
    }
}

int fi_semaphore_acquire(const fi_semaphore_t *s, uint64_t me, uint32_t *at, fi_wait_t *w) {
    bool owned = s->units != 0;
    unit_taking_t u = {.base = {.word = &s->shared->word,
                                .take = owned ? take_unit : take_count,
                                .is_free = owned ? has_unit : has_count,
                                .me = me,
                                .object = s},
                       .at = at};

    w->eager = !owned;
    int r = fi_acquire(&u.base, w);
    if (r > 0 && w->slept) {
        hand_on(&u.base);
    }
    return r;
}

static int give_unit_back(const fi_semaphore_t *s, uint64_t me, uint32_t *at) {
    for (uint32_t i = 0; i < s->units; i++) {
        uint32_t n = (*at + i) % s->units;
        uint64_t mine = me;
        if (fi_load_relaxed64(&s->shared->unit[n]) == me && fi_cas64(&s->shared->unit[n], &mine, 0)) {
            *at = n;
            return 0;
        }
    }
    return -EPERM;
}

int fi_semaphore_release(const fi_semaphore_t *s, uint64_t me, uint32_t *at, uint32_t most) {
    bool owned = s->units != 0;
    fi_prefetch_to_write(s->shared);
    if (owned && give_unit_back(s, me, at) < 0) {
        return -EPERM;
    }
    uint64_t seen = fi_load_relaxed64(&s->shared->word);
    uint64_t left;
    do {
        if (!owned && seen >> 32 >= most) {
            return -EOVERFLOW;
        }
        left = released(seen, owned ? 0 : FI_SEMAPHORE_UNIT);
    } while (!fi_cas64(&s->shared->word, &seen, left));
    if (seen & FI_WAITERS) {
        fi_wake_next(&s->shared->word, left);
    }
    return 0;
}

uint32_t fi_semaphore_value(const fi_semaphore_t *s) {
    uint32_t free_units = 0;

    if (s->units == 0) {
        return (uint32_t)(fi_load_acquire64(&s->shared->word) >> 32);
    }
    for (uint32_t i = 0; i < s->units; i++) {
        free_units += fi_load_acquire64(&s->shared->unit[i]) == 0;
    }
    return free_units;
}

void fi_semaphore_bury(const fi_semaphore_t *s, fi_is_dead_fn *is_dead, void *arg) {
    for (uint32_t i = 0; i < s->units; i++) {
        uint64_t who = fi_load_acquire64(&s->shared->unit[i]);
        if (who && is_dead(who, arg)) {
            (void)fi_cas64(&s->shared->unit[i], &who, 0);
        }
    }
    uint64_t seen = fi_load_relaxed64(&s->shared->word);
    while (!fi_cas64(&s->shared->word, &seen, released(seen, 0) & ~FI_WAIT_FLAGS)) {
    }
    fi_wake_all(&s->shared->word);
}

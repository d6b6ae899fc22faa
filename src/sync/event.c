/* SPDX-License-Identifier: MIT */
#include "sync/event.h"

#include "platform/cpu.h"

#define COUNT_LOW (FI_SET - 1)
#define ONCE (UINT64_C(1) << 32)

void fi_event_set(const fi_event_t *e) {
    fi_prefetch_to_write(e->word);
    uint64_t seen = fi_load_relaxed64(e->word);
    uint64_t left;

    do {
        uint64_t count = (seen & ~UINT64_C(0xffffffff)) + ONCE;
        left = count | (e->auto_reset ? fi_flags_kept(seen) : 0) | FI_SET | ((seen + 1) & COUNT_LOW);
    } while (!fi_cas64(e->word, &seen, left));
    if (seen & FI_WATCHED) {
        fi_futex_wake_shared(fi_low(e->word), FI_LOOKERS, INT_MAX);
    }
    if (seen & FI_WAITERS) {
        fi_wake_next(e->word, left);
    }
}

bool fi_event_reset(const fi_event_t *e) {
    return (__atomic_fetch_and(e->word, ~FI_SET, __ATOMIC_ACQ_REL) & FI_SET) != 0;
}

/* ---- taking it: auto-reset ---- */

static bool is_set(const fi_taking_t *t, uint64_t seen) {
    (void)t;
    return (seen & FI_SET) != 0;
}

static int take(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    if (!(*seen & FI_SET)) {
        return FI_NOT_FREE;
    }
    uint64_t next = (*seen & ~(FI_SET | FI_WAIT_FLAGS)) | fi_taken_flags(*seen, w);
    return fi_cas64(t->word, seen, next) ? FI_TAKEN : FI_RACED;
}

/* ---- seeing it ---- */

typedef struct look_out {
    fi_taking_t base;
    uint32_t count;
    uint32_t mask;
    uint64_t or_set; /* FI_SET: that it is set is enough */
} look_out_t;

static bool is_seen(const fi_taking_t *t, uint64_t seen) {
    const look_out_t *l = (const look_out_t *)(const void *)t;

    return (((uint32_t)(seen >> 32) ^ l->count) & l->mask) != 0 || (seen & l->or_set) != 0;
}

static int see(fi_taking_t *t, uint64_t *seen, const fi_wait_t *w) {
    (void)w;
    return is_seen(t, *seen) ? FI_TAKEN : FI_NOT_FREE;
}

static int look_out(const fi_event_t *e, uint32_t count, uint32_t mask, uint64_t or_set, fi_wait_t *w) {
    look_out_t l = {.base = {.word = e->word, .take = see, .is_free = is_seen, .only_looks = true},
                    .count = count,
                    .mask = mask,
                    .or_set = or_set};

    w->eager = true;
    return fi_acquire(&l.base, w);
}

/* Who waits when it is set goes on, also when it is reset before he has looked: it has been set since he came. */
int fi_event_wait(const fi_event_t *e, fi_wait_t *w) {
    if (!e->auto_reset) {
        return look_out(e, fi_event_count(e), UINT32_MAX, FI_SET, w);
    }
    fi_taking_t t = {.word = e->word, .take = take, .is_free = is_set};

    w->eager = true;
    return fi_acquire(&t, w);
}

int fi_event_wait_after(const fi_event_t *e, uint32_t count, uint32_t mask, fi_wait_t *w) {
    return look_out(e, count, mask, 0, w);
}

void fi_event_bury(const fi_event_t *e) {
    (void)__atomic_fetch_and(e->word, ~(FI_WAIT_FLAGS | FI_WATCHED), __ATOMIC_ACQ_REL);
    fi_wake_all(e->word);
}

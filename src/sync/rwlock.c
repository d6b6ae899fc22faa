/* SPDX-License-Identifier: MIT */
#include "sync/rwlock.h"

/* Homes go from line to line, so that the first 64 have one each. */
uint32_t fi_rwlock_home(fi_rwlock_t *l) {
    uint32_t n = fi_add32(&l->homes, 1);

    if (n >= 2 * FI_READERS && n % FI_READERS == 0) {
        (void)fi_sub32(&l->homes, FI_READERS); /* by one of many, so that it never becomes a small number again */
    }
    n %= FI_READERS;
    return n % FI_READER_LINES * (FI_READERS / FI_READER_LINES) + n / FI_READER_LINES;
}

static bool has_writer(uint64_t gate) {
    return (gate & FI_OWNER) != 0 && !(gate & FI_PASSING);
}

/* Whoever owns the gate may wait for this. */
__attribute__((noinline)) static void tell(fi_rwlock_t *l) {
    (void)fi_add32(&l->drain, 1);
    fi_futex_wake_shared(&l->drain, FI_EVERYBODY, INT_MAX);
}

/* As short as a reader's way is, a call is a good part of it: "inline" lets the linker put these two into their
 * callers. */
inline void fi_rwlock_read_unlock(fi_rwlock_t *l, uint32_t slot) {
    (void)fi_exchange64(&l->slot[slot], 0);
    fi_fence_after_cas();
    if (fi_load_acquire64(&l->gate.word) & FI_OWNER) {
        tell(l);
    }
}

static inline bool occupy(fi_rwlock_t *l, uint64_t me, uint32_t slot) {
    uint64_t nobody = 0;

    return fi_cas64(&l->slot[slot], &nobody, me);
}

inline int fi_rwlock_enter_at(fi_rwlock_t *l, uint64_t me, uint32_t slot) {
    if (!occupy(l, me, slot)) {
        return FI_NOT_FREE;
    }
    fi_fence_after_cas();
    uint64_t gate = fi_load_acquire64(&l->gate.word);
    if (!has_writer(gate) && !(gate & FI_BROKEN)) {
        return gate & FI_DIED ? FI_TAKEN_FROM_DEAD : FI_TAKEN;
    }
    fi_rwlock_read_unlock(l, slot);
    return FI_NOT_FREE;
}

static bool occupy_any(fi_rwlock_t *l, uint64_t me, uint32_t *slot) {
    for (uint32_t i = 0; i < FI_READERS; i++) {
        uint32_t at = (*slot + i) % FI_READERS;
        if (fi_load_relaxed64(&l->slot[at]) == 0 && occupy(l, me, at)) {
            *slot = at;
            return true;
        }
    }
    return false;
}

/* One look at whether the wait in the gate is over. */
typedef bool is_over_fn(fi_rwlock_t *l, uint64_t me, uint32_t *slot);

/* Waits, owning the gate, until readers have left. */
static int wait_for_readers(fi_rwlock_t *l, uint64_t me, uint32_t *slot, is_over_fn *is_over, fi_wait_t *w) {
    for (;;) {
        uint32_t drain = fi_load_acquire32(&l->drain);
        if (is_over(l, me, slot)) {
            return 0;
        }
        if (w->timeout == 0) {
            return -EAGAIN;
        }
        if (fi_wait_spin(w)) {
            continue;
        }
        int r = fi_wait_pass(w, &l->drain, drain);
        if (r < 0) {
            return r;
        }
    }
}

static int read_through_gate(fi_rwlock_t *l, uint64_t me, uint32_t *slot, fi_wait_t *w) {
    int r = fi_mutex_lock_passing(&l->gate, me, w);
    if (r < 0) {
        return r;
    }
    int failed = wait_for_readers(l, me, slot, occupy_any, w);
    fi_mutex_unlock_slow(&l->gate);
    return failed < 0 ? failed : r;
}

int fi_rwlock_read(fi_rwlock_t *l, uint64_t me, uint32_t *slot, fi_wait_t *w) {
    int r = fi_rwlock_enter_at(l, me, *slot);

    return r != FI_NOT_FREE ? r : read_through_gate(l, me, slot, w);
}

static bool is_drained(fi_rwlock_t *l, uint64_t me, uint32_t *slot) {
    uint32_t homes = fi_load_acquire32(&l->homes);
    uint32_t lines = homes < FI_READER_LINES ? homes : FI_READER_LINES;
    uint32_t depth =
        homes < FI_READERS ? (homes + FI_READER_LINES - 1) / FI_READER_LINES : FI_READERS / FI_READER_LINES;

    (void)me;
    (void)slot;
    for (uint32_t line = 0; line < lines; line++) {
        for (uint32_t i = 0; i < depth; i++) {
            if (fi_load_acquire64(&l->slot[line * (FI_READERS / FI_READER_LINES) + i])) {
                return false;
            }
        }
    }
    return true;
}

int fi_rwlock_write(fi_rwlock_t *l, uint64_t me, fi_wait_t *w) {
    int r = fi_mutex_try(&l->gate, me) ? FI_TAKEN : fi_mutex_lock(&l->gate, me, w);
    if (r < 0) {
        return r;
    }
    fi_fence_after_cas();
    if (is_drained(l, me, NULL)) {
        return r;
    }
    /* Until he is in, a death of his changes nothing; the news of one before is for the next one. */
    uint64_t flag = r == FI_TAKEN_FROM_DEAD ? FI_DIED : FI_ENTERING;
    (void)__atomic_fetch_or(&l->gate.word, flag, __ATOMIC_ACQ_REL);
    int failed = wait_for_readers(l, me, NULL, is_drained, w);
    if (failed < 0) {
        fi_mutex_unlock_slow(&l->gate);
        return failed;
    }
    (void)__atomic_fetch_and(&l->gate.word, ~flag, __ATOMIC_ACQ_REL);
    return r;
}

void fi_rwlock_bury(fi_rwlock_t *l, fi_is_dead_fn *is_dead, void *arg) {
    for (uint32_t i = 0; i < FI_READERS; i++) {
        uint64_t who = fi_load_acquire64(&l->slot[i]);
        if (who && is_dead(who, arg)) {
            (void)fi_cas64(&l->slot[i], &who, 0);
        }
    }
    fi_mutex_bury(&l->gate, is_dead, arg);
    tell(l);
}

void fi_rwlock_wake(fi_rwlock_t *l) {
    fi_wake_all(&l->gate.word);
    tell(l);
}

uint64_t fi_rwlock_any_holder(const fi_rwlock_t *l) {
    uint64_t who = fi_load_acquire64(&l->gate.word) & FI_OWNER;

    for (uint32_t i = 0; who == 0 && i < FI_READERS; i++) {
        who = fi_load_acquire64(&l->slot[i]);
    }
    return who;
}

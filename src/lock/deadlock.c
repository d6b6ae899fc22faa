/* SPDX-License-Identifier: MIT
 *
 * What a handle tells its node when it waits for long: for what, and who holds that.
 */
#include "lock/deadlock.h"

static fi_lock_t *lock_of_waiter(fi_waiter_t *w) {
    return fi_container(w, fi_lock_t, waiter);
}

static void add(uint64_t owner, fi_add_key_fn *add_key, void *arg) {
    if (owner & FI_OWNER) {
        add_key(owner & FI_OWNER, arg);
    }
}

/* Who stands in the gate, and, if that is the waiting writer himself, who is still in. */
static void rwlock_holders(const fi_lock_t *l, fi_add_key_fn *add_key, void *arg) {
    const fi_rwlock_t *rw = fi_object_of(l->handle.object);
    uint64_t owner = fi_load_acquire64(&rw->gate.word) & FI_OWNER;

    if (owner != l->handle.me) {
        add(owner, add_key, arg);
        return;
    }
    for (uint32_t i = 0; i < FI_READERS; i++) {
        add(fi_load_acquire64(&rw->slot[i]), add_key, arg);
    }
}

static bool has_free_unit(const fi_semaphore_t *s) {
    for (uint32_t i = 0; i < s->units; i++) {
        if (fi_load_acquire64(&s->shared->unit[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Any of them can end the wait. A unit that is free has ended it: who waits has only not seen that yet, and who holds
 * the others does not matter. One that was given back since we looked is held by nobody who waits. */
static void unit_holders(const fi_semaphore_t *s, fi_add_key_fn *add_key, void *arg) {
    if (has_free_unit(s)) {
        return;
    }
    for (uint32_t i = 0; i < s->units; i++) {
        add_key(fi_load_acquire64(&s->shared->unit[i]) & FI_OWNER, arg);
    }
}

static void holders(const fi_blocked_t *b, fi_add_key_fn *add_key, void *arg) {
    const fi_lock_t *l = fi_container((void *)(uintptr_t)b, fi_lock_t, blocked);
    fi_semaphore_t s = fi_semaphore_of(l->handle.object);

    switch (l->what) {
    case FERRY_FOR_MUTEX:
    case FERRY_FOR_REGION: /* its lock stands first */
        add(fi_load_acquire64(fi_object_of(l->handle.object)), add_key, arg);
        break;
    case FERRY_FOR_READ:
    case FERRY_FOR_WRITE:
        rwlock_holders(l, add_key, arg);
        break;
    case FERRY_FOR_UNIT:
        unit_holders(&s, add_key, arg);
        break;
    default:
        break; /* nobody in particular */
    }
}

int fi_lock_stalled(fi_waiter_t *w, int64_t since, int64_t deadline) {
    fi_lock_t *l = lock_of_waiter(w);
    fi_blocked_t *b = &l->blocked;

    if (b->number == 0) {
        *b = (fi_blocked_t){.what = l->what,
                            .needs_all = l->what == FERRY_FOR_WRITE,
                            .detects = l->detects,
                            .name = fi_lock_name(l),
                            .where = l->where,
                            .since = since,
                            .holders = holders};
        fi_waits_list(l->handle.own.node, b);
    }
    return l->detects ? fi_waits_judge(l->handle.own.node, b, deadline) : 0;
}

void fi_lock_waited(fi_lock_t *l) {
    fi_waits_strike(&l->blocked);
}

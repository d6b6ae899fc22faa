/* SPDX-License-Identifier: MIT */
#include "api/check.h"
#include "lock/lock.h"
#include "net/lease.h"

#define MUTEX FI_LOCK_MAGIC('m')

int ferry_mutex_open(ferry_t *node, const char *name, const ferry_sync_options_t *options, ferry_mutex_t **mutex) {
    fi_opening_t o = {.node = node, .name = name, .options = options};

    int r = fi_check_output(mutex, "ferry_mutex_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && node->net) {
        fi_lease_opening_t far = {.name = name, .word = fi_mutex_ops.word, .kind = 'm', .sync = options};
        return fi_lease_open(node, &far, (fi_lease_t **)mutex);
    }
    return r == 0 ? fi_mutex_open(&o, mutex) : r;
}

/* It is ours now. */
static inline int got(ferry_mutex_t *mutex, int how) {
    fi_set_held(&mutex->base.handle, 1);
    mutex->token = fi_mutex_count(mutex->mutex);
    mutex->unrepaired = how == FI_TAKEN_FROM_DEAD;
    return how == FI_TAKEN_FROM_DEAD ? FERRY_OWNER_DIED : 0;
}

static int relock(const ferry_mutex_t *mutex) {
    return fi_fail(-EDEADLK, "this handle holds the mutex \"%s\" already", fi_lock_name(&mutex->base));
}

__attribute__((noinline)) static int lock_closely(ferry_mutex_t *mutex, int64_t timeout, const void *where) {
    fi_lock_t *l = fi_lock_of(mutex);
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_mutex_lock(fi_lease_of(mutex), timeout);
    }
    int r = fi_lock_enter(l, MUTEX);
    if (r < 0) {
        return r;
    }
    if (fi_held(&l->handle)) {
        return fi_lock_leave(l, relock(mutex));
    }
    fi_wait_t w = fi_wait_begin(&l->waiter, timeout);
    l->what = FERRY_FOR_MUTEX;
    l->where = where;
    r = fi_mutex_lock(mutex->mutex, l->handle.me, &w);
    r = r > 0 ? got(mutex, r) : fi_lock_explain(l, r, timeout);
    return fi_lock_leave(l, r);
}

int ferry_mutex_lock(ferry_mutex_t *mutex, int64_t timeout) {
    if (fi_lock_is_mine(fi_lock_of(mutex), MUTEX) && fi_mutex_try(mutex->mutex, mutex->base.handle.me)) {
        return got(mutex, FI_TAKEN);
    }
    return lock_closely(mutex, timeout, __builtin_return_address(0));
}

int ferry_mutex_trylock(ferry_mutex_t *mutex) {
    return ferry_mutex_lock(mutex, FERRY_NOW);
}

/* Gives up what it took from a dead one, or just unlocks. */
__attribute__((noinline)) static int unlock_closely(ferry_mutex_t *mutex) {
    fi_lock_t *l = fi_lock_of(mutex);
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_unlock(fi_lease_of(mutex));
    }
    int r = fi_lock_enter(l, MUTEX);
    if (r < 0) {
        return r;
    }
    if (!fi_held(&l->handle)) {
        return fi_lock_leave(l, fi_lock_not_held(l, fi_load_acquire64(&mutex->mutex->word)));
    }
    fi_set_held(&l->handle, 0);
    mutex->token = 0;
    if (mutex->unrepaired) {
        fi_mutex_break(mutex->mutex);
    } else {
        fi_mutex_unlock(mutex->mutex, l->handle.me);
    }
    return fi_lock_leave(l, 0);
}

int ferry_mutex_unlock(ferry_mutex_t *mutex) {
    if (!fi_lock_is_mine(fi_lock_of(mutex), MUTEX) || !fi_held(&mutex->base.handle) || mutex->unrepaired) {
        return unlock_closely(mutex);
    }
    fi_set_held(&mutex->base.handle, 0);
    mutex->token = 0;
    fi_mutex_unlock(mutex->mutex, mutex->base.handle.me);
    return 0;
}

int ferry_mutex_repaired(ferry_mutex_t *mutex) {
    fi_lock_t *l = fi_lock_of(mutex);
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_repaired(fi_lease_of(mutex));
    }
    int r = fi_lock_enter(l, MUTEX);
    if (r < 0) {
        return r;
    }
    r = fi_lock_repaired(l, &mutex->unrepaired);
    return fi_lock_leave(l, r);
}

uint64_t ferry_mutex_token(const ferry_mutex_t *mutex) {
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_token(fi_lease_of(mutex));
    }
    return fi_lock_check(fi_lock_of(mutex), MUTEX) == 0 ? mutex->token : 0;
}

int ferry_mutex_check(ferry_mutex_t *mutex) {
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_check(fi_lease_of(mutex));
    }
    return fi_lock_check_held(fi_lock_of(mutex), MUTEX);
}

int ferry_mutex_close(ferry_mutex_t *mutex) {
    if (fi_is_lease(mutex, 'm')) {
        return fi_lease_close(fi_lease_of(mutex), "unlock");
    }
    return fi_lock_close(fi_lock_of(mutex), MUTEX, "unlock");
}

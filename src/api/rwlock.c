/* SPDX-License-Identifier: MIT */
#include "api/check.h"
#include "lock/lock.h"
#include "net/lease.h"

#define RWLOCK FI_LOCK_MAGIC('w')

int ferry_rwlock_open(ferry_t *node, const char *name, const ferry_sync_options_t *options, ferry_rwlock_t **rwlock) {
    fi_opening_t o = {.node = node,
                      .name = name,
                      .kind = 'w',
                      .options = options,
                      .ops = &fi_rwlock_ops,
                      .bytes = sizeof(ferry_rwlock_t)};
    fi_lock_t *l;

    int r = fi_check_output(rwlock, "ferry_rwlock_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && node->net) {
        fi_lease_opening_t far = {.name = name, .word = fi_rwlock_ops.word, .kind = 'w', .sync = options};
        return fi_lease_open(node, &far, (fi_lease_t **)rwlock);
    }
    r = r == 0 ? fi_lock_open(&o, &l) : r;
    if (r == 0) {
        *rwlock = fi_container(l, ferry_rwlock_t, base);
        (*rwlock)->rwlock = fi_object_of(l->handle.object);
        (*rwlock)->slot = fi_rwlock_home((*rwlock)->rwlock);
    }
    return r;
}

static int got(ferry_rwlock_t *rwlock, bool reads, int how) {
    bool after_death = how == FI_TAKEN_FROM_DEAD;

    fi_set_held(&rwlock->base.handle, 1);
    rwlock->reads = reads;
    rwlock->token = reads ? 0 : fi_mutex_count(&rwlock->rwlock->gate);
    rwlock->unrepaired = after_death && !reads;
    return after_death ? FERRY_OWNER_DIED : 0;
}

static int lock_closely(ferry_rwlock_t *rwlock, bool reads, int64_t timeout, const void *where) {
    fi_lock_t *l = fi_lock_of(rwlock);
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_rwlock(fi_lease_of(rwlock), reads, timeout);
    }
    int r = fi_lock_enter(l, RWLOCK);
    if (r < 0) {
        return r;
    }
    if (fi_held(&l->handle)) {
        return fi_lock_leave(l, fi_fail(-EDEADLK, "this handle holds the reader-writer lock \"%s\" already, to %s",
                                        fi_lock_name(l), rwlock->reads ? "read" : "write"));
    }
    fi_wait_t w = fi_wait_begin(&l->waiter, timeout);
    l->what = reads ? FERRY_FOR_READ : FERRY_FOR_WRITE;
    l->where = where;
    r = reads ? fi_rwlock_read(rwlock->rwlock, l->handle.me, &rwlock->slot, &w)
              : fi_rwlock_write(rwlock->rwlock, l->handle.me, &w);
    r = r > 0 ? got(rwlock, reads, r) : fi_lock_explain(l, r, timeout);
    return fi_lock_leave(l, r);
}

int ferry_rwlock_read(ferry_rwlock_t *rwlock, int64_t timeout) {
    if (fi_lock_is_mine(fi_lock_of(rwlock), RWLOCK) && !fi_held(&rwlock->base.handle)) {
        int r = fi_rwlock_enter_at(rwlock->rwlock, rwlock->base.handle.me, rwlock->slot);
        if (fi_likely(r > 0)) {
            return got(rwlock, true, r);
        }
    }
    return lock_closely(rwlock, true, timeout, __builtin_return_address(0));
}

int ferry_rwlock_write(ferry_rwlock_t *rwlock, int64_t timeout) {
    return lock_closely(rwlock, false, timeout, __builtin_return_address(0));
}

static void read_unlock(ferry_rwlock_t *rwlock) {
    fi_set_held(&rwlock->base.handle, 0);
    fi_rwlock_read_unlock(rwlock->rwlock, rwlock->slot);
}

__attribute__((noinline)) static void write_unlock(ferry_rwlock_t *rwlock) {
    fi_set_held(&rwlock->base.handle, 0);
    rwlock->token = 0;
    if (rwlock->unrepaired) {
        fi_mutex_break(&rwlock->rwlock->gate);
    } else {
        fi_mutex_unlock(&rwlock->rwlock->gate, rwlock->base.handle.me);
    }
}

static void unlock(ferry_rwlock_t *rwlock) {
    if (rwlock->reads) {
        read_unlock(rwlock);
    } else {
        write_unlock(rwlock);
    }
}

__attribute__((noinline)) static int unlock_closely(ferry_rwlock_t *rwlock) {
    fi_lock_t *l = fi_lock_of(rwlock);
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_unlock(fi_lease_of(rwlock));
    }
    int r = fi_lock_enter(l, RWLOCK);
    if (r < 0) {
        return r;
    }
    if (!fi_held(&l->handle)) {
        uint64_t any = fi_rwlock_any_holder(rwlock->rwlock);
        return fi_lock_leave(l, fi_lock_not_held(l, any));
    }
    unlock(rwlock);
    return fi_lock_leave(l, 0);
}

int ferry_rwlock_unlock(ferry_rwlock_t *rwlock) {
    if (fi_lock_is_mine(fi_lock_of(rwlock), RWLOCK) && fi_held(&rwlock->base.handle)) {
        unlock(rwlock);
        return 0;
    }
    return unlock_closely(rwlock);
}

int ferry_rwlock_repaired(ferry_rwlock_t *rwlock) {
    fi_lock_t *l = fi_lock_of(rwlock);
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_repaired(fi_lease_of(rwlock));
    }
    int r = fi_lock_enter(l, RWLOCK);
    if (r < 0) {
        return r;
    }
    r = fi_held(&l->handle) && rwlock->reads
            ? fi_fail(-EPERM, "\"%s\" is held to read: who repairs the state holds it to write", fi_lock_name(l))
            : fi_lock_repaired(l, &rwlock->unrepaired);
    return fi_lock_leave(l, r);
}

uint64_t ferry_rwlock_token(const ferry_rwlock_t *rwlock) {
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_token(fi_lease_of(rwlock));
    }
    return fi_lock_check(fi_lock_of(rwlock), RWLOCK) == 0 ? rwlock->token : 0;
}

int ferry_rwlock_check(ferry_rwlock_t *rwlock) {
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_check(fi_lease_of(rwlock));
    }
    return fi_lock_check_held(fi_lock_of(rwlock), RWLOCK);
}

int ferry_rwlock_close(ferry_rwlock_t *rwlock) {
    if (fi_is_lease(rwlock, 'w')) {
        return fi_lease_close(fi_lease_of(rwlock), "unlock");
    }
    return fi_lock_close(fi_lock_of(rwlock), RWLOCK, "unlock");
}

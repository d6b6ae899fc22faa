/* SPDX-License-Identifier: MIT */
#include "api/check.h"
#include "lock/lock.h"
#include "net/lease.h"

#define SEMAPHORE FI_LOCK_MAGIC('s')

int ferry_semaphore_open(ferry_t *node, const char *name, uint32_t count, const ferry_sync_options_t *options,
                         ferry_semaphore_t **semaphore) {
    fi_opening_t o = {.node = node, .name = name, .count = count, .options = options};

    int r = fi_check_output(semaphore, "ferry_semaphore_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && node->net) {
        fi_lease_opening_t far = {.name = name,
                                  .word = fi_semaphore_ops.word,
                                  .kind = 's',
                                  .options = options && options->owned,
                                  .count = count,
                                  .sync = options};
        r = fi_semaphore_check_count(name, count, far.options != 0);
        return r == 0 ? fi_lease_open(node, &far, (fi_lease_t **)semaphore) : r;
    }
    return r == 0 ? fi_semaphore_open(&o, semaphore) : r;
}

__attribute__((noinline)) static int acquire_closely(ferry_semaphore_t *semaphore, int64_t timeout, const void *where) {
    fi_lock_t *l = fi_lock_of(semaphore);
    if (fi_is_lease(semaphore, 's')) {
        return fi_lease_acquire(fi_lease_of(semaphore), timeout);
    }
    int r = fi_lock_enter(l, SEMAPHORE);
    if (r < 0) {
        return r;
    }
    fi_wait_t w = fi_wait_begin(&l->waiter, timeout);
    l->what = FERRY_FOR_UNIT;
    l->where = where;
    r = fi_semaphore_acquire(&semaphore->semaphore, l->handle.me, &semaphore->at, &w);
    if (r > 0) {
        fi_set_held(&l->handle, fi_held(&l->handle) + (semaphore->semaphore.units != 0));
        r = 0;
    }
    return fi_lock_leave(l, fi_lock_explain(l, r, timeout));
}

int ferry_semaphore_acquire(ferry_semaphore_t *semaphore, int64_t timeout) {
    if (fi_lock_is_mine(fi_lock_of(semaphore), SEMAPHORE) && fi_semaphore_try(&semaphore->semaphore)) {
        return 0;
    }
    return acquire_closely(semaphore, timeout, __builtin_return_address(0));
}

__attribute__((noinline)) static int release_closely(ferry_semaphore_t *semaphore) {
    if (fi_is_lease(semaphore, 's')) {
        return fi_lease_release(fi_lease_of(semaphore));
    }
    fi_lock_t *l = fi_lock_of(semaphore);
    int r = fi_lock_enter(l, SEMAPHORE);
    if (r < 0) {
        return r;
    }
    bool owned = semaphore->semaphore.units != 0;
    r = owned && fi_held(&l->handle) == 0
            ? -EPERM
            : fi_semaphore_release(&semaphore->semaphore, l->handle.me, &semaphore->at, FERRY_MAX_COUNT);
    if (r == 0) {
        fi_set_held(&l->handle, fi_held(&l->handle) - (owned));
    } else if (r == -EPERM) {
        (void)fi_fail(r, "this handle holds no unit of the semaphore \"%s\", whose units belong to their holders",
                      fi_lock_name(l));
    } else {
        (void)fi_fail(r, "the semaphore \"%s\" counts up to %u already", fi_lock_name(l), FERRY_MAX_COUNT);
    }
    return fi_lock_leave(l, r);
}

int ferry_semaphore_release(ferry_semaphore_t *semaphore) {
    if (fi_lock_is_mine(fi_lock_of(semaphore), SEMAPHORE) &&
        fi_semaphore_try_release(&semaphore->semaphore, FERRY_MAX_COUNT)) {
        return 0;
    }
    return release_closely(semaphore);
}

int ferry_semaphore_check(ferry_semaphore_t *semaphore) {
    if (fi_is_lease(semaphore, 's')) {
        return fi_lease_check(fi_lease_of(semaphore));
    }
    return fi_lock_check_held(fi_lock_of(semaphore), SEMAPHORE);
}

int ferry_semaphore_value(const ferry_semaphore_t *semaphore) {
    if (fi_is_lease(semaphore, 's')) {
        return fi_lease_value(fi_lease_of(semaphore));
    }
    int r = fi_lock_check(fi_lock_of(semaphore), SEMAPHORE);

    return r < 0 ? r : (int)fi_semaphore_value(&semaphore->semaphore);
}

int ferry_semaphore_close(ferry_semaphore_t *semaphore) {
    if (fi_is_lease(semaphore, 's')) {
        return fi_lease_close(fi_lease_of(semaphore), "release");
    }
    return fi_lock_close(fi_lock_of(semaphore), SEMAPHORE, "release");
}

/* SPDX-License-Identifier: MIT */
#include "api/check.h"
#include "lock/lock.h"
#include "net/lease.h"

#define BARRIER FI_LOCK_MAGIC('b')

int ferry_barrier_open(ferry_t *node, const char *name, uint32_t parties, const ferry_sync_options_t *options,
                       ferry_barrier_t **barrier) {
    fi_opening_t o = {.node = node,
                      .name = name,
                      .kind = 'b',
                      .count = parties,
                      .options = options,
                      .ops = &fi_barrier_ops,
                      .bytes = sizeof(ferry_barrier_t)};
    fi_lock_t *l;

    int r = fi_check_output(barrier, "ferry_barrier_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && parties != FERRY_ANY && (parties == 0 || parties > FERRY_MAX_PARTIES)) {
        r = fi_fail(-EINVAL, "the barrier \"%s\": there can be 1 to %u parties, not %u", name ? name : "",
                    FERRY_MAX_PARTIES, parties);
    }
    if (r == 0 && node->net) {
        fi_lease_opening_t far = {
            .name = name, .word = fi_barrier_ops.word, .kind = 'b', .count = parties, .sync = options};
        return fi_lease_open(node, &far, (fi_lease_t **)barrier);
    }
    r = r == 0 ? fi_lock_open(&o, &l) : r;
    if (r == 0) {
        *barrier = fi_container(l, ferry_barrier_t, base);
        (*barrier)->barrier = fi_barrier_of(l->handle.object);
    }
    return r;
}

int ferry_barrier_wait(ferry_barrier_t *barrier, int64_t timeout) {
    fi_lock_t *l = fi_lock_of(barrier);
    if (fi_is_lease(barrier, 'b')) {
        return fi_lease_barrier_wait(fi_lease_of(barrier), timeout);
    }
    int r = fi_lock_enter(l, BARRIER);
    if (r < 0) {
        return r;
    }
    fi_wait_t w = fi_wait_begin(&l->waiter, timeout);
    l->what = FERRY_FOR_BARRIER;
    l->where = __builtin_return_address(0);
    r = fi_barrier_wait(&barrier->barrier, l->handle.me, &w);
    return fi_lock_leave(l, r < 0 ? fi_lock_explain(l, r, timeout) : r == FI_BARRIER_LAST ? FERRY_BARRIER_LAST : 0);
}

int ferry_barrier_reset(ferry_barrier_t *barrier) {
    fi_lock_t *l = fi_lock_of(barrier);
    if (fi_is_lease(barrier, 'b')) {
        return fi_lease_barrier_reset(fi_lease_of(barrier));
    }
    int r = fi_lock_enter(l, BARRIER);
    if (r < 0) {
        return r;
    }
    fi_barrier_reset(&barrier->barrier);
    return fi_lock_leave(l, 0);
}

int ferry_barrier_close(ferry_barrier_t *barrier) {
    if (fi_is_lease(barrier, 'b')) {
        return fi_lease_close(fi_lease_of(barrier), NULL);
    }
    return fi_lock_close(fi_lock_of(barrier), BARRIER, NULL);
}

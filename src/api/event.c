/* SPDX-License-Identifier: MIT */
#include "api/check.h"
#include "lock/lock.h"
#include "net/lease.h"

#define EVENT FI_LOCK_MAGIC('e')
#define COUNT_MASK 0x3fffffffu

int ferry_event_open(ferry_t *node, const char *name, const ferry_sync_options_t *options, ferry_event_t **event) {
    fi_opening_t o = {.node = node, .name = name, .options = options};

    int r = fi_check_output(event, "ferry_event_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && node->net) {
        fi_lease_opening_t far = {.name = name,
                                  .word = fi_event_ops.word,
                                  .kind = 'e',
                                  .options = options && options->auto_reset,
                                  .sync = options};
        return fi_lease_open(node, &far, (fi_lease_t **)event);
    }
    return r == 0 ? fi_event_open(&o, event) : r;
}

/* Setting and looking do not wait, so any thread may do it through any handle. */
static int check(const ferry_event_t *event) {
    return fi_lock_check(fi_lock_of(event), EVENT);
}

int ferry_event_set(ferry_event_t *event) {
    if (fi_is_lease(event, 'e')) {
        return fi_lease_event_set(fi_lease_of(event));
    }
    int r = check(event);

    if (r == 0) {
        fi_event_set(&event->event);
    }
    return r;
}

int ferry_event_reset(ferry_event_t *event) {
    if (fi_is_lease(event, 'e')) {
        return fi_lease_event_reset(fi_lease_of(event));
    }
    int r = check(event);

    return r < 0 ? r : fi_event_reset(&event->event);
}

int ferry_event_is_set(const ferry_event_t *event) {
    if (fi_is_lease(event, 'e')) {
        return fi_lease_event_is_set(fi_lease_of(event));
    }
    int r = check(event);

    return r < 0 ? r : fi_event_is_set(&event->event);
}

int ferry_event_count(const ferry_event_t *event) {
    if (fi_is_lease(event, 'e')) {
        return fi_lease_event_count(fi_lease_of(event));
    }
    int r = check(event);

    return r < 0 ? r : (int)(fi_event_count(&event->event) & COUNT_MASK);
}

/* `count`: NULL: until it is set. */
static int wait_closely(ferry_event_t *event, const uint32_t *count, int64_t timeout, const void *where) {
    fi_lock_t *l = fi_lock_of(event);
    if (fi_is_lease(event, 'e')) {
        return fi_lease_event_wait(fi_lease_of(event), count, timeout);
    }
    int r = fi_lock_enter(l, EVENT);
    if (r < 0) {
        return r;
    }
    fi_wait_t w = fi_wait_begin(&l->waiter, timeout);
    l->what = FERRY_FOR_EVENT;
    l->where = where;
    r = count ? fi_event_wait_after(&event->event, *count, COUNT_MASK, &w) : fi_event_wait(&event->event, &w);
    return fi_lock_leave(l, r > 0 ? 0 : fi_lock_explain(l, r, timeout));
}

int ferry_event_wait(ferry_event_t *event, int64_t timeout) {
    return wait_closely(event, NULL, timeout, __builtin_return_address(0));
}

int ferry_event_wait_after(ferry_event_t *event, int count, int64_t timeout) {
    uint32_t seen = (uint32_t)count;

    return wait_closely(event, &seen, timeout, __builtin_return_address(0));
}

int ferry_event_close(ferry_event_t *event) {
    if (fi_is_lease(event, 'e')) {
        return fi_lease_close(fi_lease_of(event), NULL);
    }
    return fi_lock_close(fi_lock_of(event), EVENT, NULL);
}

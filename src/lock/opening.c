/* SPDX-License-Identifier: MIT
 *
 * Opening those kinds that have a name of their own or stand inside a region.
 */
#include <errno.h>

#include "base/error.h"
#include "lock/lock.h"

int fi_mutex_open(fi_opening_t *o, ferry_mutex_t **mutex) {
    fi_lock_t *l;

    o->kind = 'm';
    o->ops = &fi_mutex_ops;
    o->bytes = sizeof **mutex;
    int r = fi_lock_open(o, &l);
    if (r == 0) {
        *mutex = fi_container(l, ferry_mutex_t, base);
        (*mutex)->mutex = fi_object_of(l->handle.object);
    }
    return r;
}

int fi_event_open(fi_opening_t *o, ferry_event_t **event) {
    fi_lock_t *l;

    o->kind = 'e';
    o->flags = o->options && o->options->auto_reset;
    o->ops = &fi_event_ops;
    o->bytes = sizeof **event;
    int r = fi_lock_open(o, &l);
    if (r == 0) {
        *event = fi_container(l, ferry_event_t, base);
        (*event)->event = fi_event_of(l->handle.object);
    }
    return r;
}

int fi_semaphore_check_count(const char *name, uint32_t count, bool owned) {
    if (count == FERRY_ANY) {
        return 0;
    }
    if (owned && (count == 0 || count > FERRY_MAX_UNITS)) {
        return fi_fail(-EINVAL, "the semaphore \"%s\": there can be 1 to %u owned units, not %u", name ? name : "",
                       FERRY_MAX_UNITS, count);
    }
    if (count > FERRY_MAX_COUNT) {
        return fi_fail(-EINVAL, "the semaphore \"%s\": it counts up to %u, not to %u", name ? name : "",
                       FERRY_MAX_COUNT, count);
    }
    return 0;
}

int fi_semaphore_open(fi_opening_t *o, ferry_semaphore_t **semaphore) {
    fi_lock_t *l;

    o->kind = 's';
    o->flags = o->options && o->options->owned;
    o->ops = &fi_semaphore_ops;
    o->bytes = sizeof **semaphore;
    int r = fi_semaphore_check_count(o->name, o->count, o->flags != 0);
    r = r == 0 ? fi_lock_open(o, &l) : r;
    if (r == 0) {
        *semaphore = fi_container(l, ferry_semaphore_t, base);
        (*semaphore)->semaphore = fi_semaphore_of(l->handle.object);
        (*semaphore)->at = fi_owner_handle(l->handle.me);
    }
    return r;
}

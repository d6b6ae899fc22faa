/* SPDX-License-Identifier: MIT
 *
 * The five kinds of objects, as the node sees them: how large, how made, how repaired.
 */
#include "lock/lock.h"

#include <errno.h>

/* Their words come first in all objects. */
static void wake(const fi_object_t *o) {
    fi_wake_all(fi_object_of(o));
}

/* ---- mutex ---- */

static size_t mutex_bytes(const fi_object_spec_t *spec) {
    (void)spec;
    return sizeof(fi_mutex_t);
}

static void mutex_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_mutex_bury(fi_object_of(o), is_dead, arg);
}

const fi_object_ops_t fi_mutex_ops = {.word = "mutex", .bytes = mutex_bytes, .bury = mutex_bury, .wake = wake};

/* ---- reader-writer lock ---- */

static size_t rwlock_bytes(const fi_object_spec_t *spec) {
    (void)spec;
    return sizeof(fi_rwlock_t);
}

static void rwlock_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_rwlock_bury(fi_object_of(o), is_dead, arg);
}

static void rwlock_wake(const fi_object_t *o) {
    fi_rwlock_wake(fi_object_of(o));
}

const fi_object_ops_t fi_rwlock_ops = {
    .word = "reader-writer lock", .bytes = rwlock_bytes, .bury = rwlock_bury, .wake = rwlock_wake};

/* ---- semaphore ---- */

static size_t semaphore_bytes(const fi_object_spec_t *spec) {
    return sizeof(fi_semaphore_memory_t) + (spec->flags ? spec->count : 0) * sizeof(uint64_t);
}

static void semaphore_init(const fi_object_t *o) {
    fi_semaphore_t s = fi_semaphore_of(o);

    fi_semaphore_init(&s, o->spec.count);
}

static void semaphore_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_semaphore_t s = fi_semaphore_of(o);

    fi_semaphore_bury(&s, is_dead, arg);
}

const fi_object_ops_t fi_semaphore_ops = {
    .word = "semaphore", .bytes = semaphore_bytes, .init = semaphore_init, .bury = semaphore_bury, .wake = wake};

/* ---- barrier ---- */

static size_t barrier_bytes(const fi_object_spec_t *spec) {
    return sizeof(fi_barrier_memory_t) + (spec->count + FI_MEMBERS(spec->count)) * sizeof(uint64_t);
}

/* Who waits and dies breaks it; other deaths are told by holder_died. */
static void barrier_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_barrier_t b = fi_barrier_of(o);

    fi_barrier_bury(&b, is_dead, arg);
}

static int barrier_opened(const fi_object_t *o) {
    fi_barrier_t b = fi_barrier_of(o);

    return fi_barrier_add_member(&b, (uint32_t)o->node->id) ? 0 : -EUSERS;
}

static void barrier_closed(const fi_object_t *o) {
    fi_barrier_t b = fi_barrier_of(o);

    fi_barrier_strike_member(&b, (uint32_t)o->node->id);
}

static void barrier_holder_died(const fi_object_t *o, uint64_t node) {
    fi_barrier_t b = fi_barrier_of(o);

    fi_barrier_bury_member(&b, (uint32_t)node);
}

const fi_object_ops_t fi_barrier_ops = {.word = "barrier",
                                        .bytes = barrier_bytes,
                                        .bury = barrier_bury,
                                        .opened = barrier_opened,
                                        .closed = barrier_closed,
                                        .holder_died = barrier_holder_died,
                                        .wake = wake};

/* ---- event ---- */

static size_t event_bytes(const fi_object_spec_t *spec) {
    (void)spec;
    return sizeof(uint64_t);
}

static void event_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_event_t e = fi_event_of(o);

    (void)is_dead; /* an event has no owner */
    (void)arg;
    fi_event_bury(&e);
}

const fi_object_ops_t fi_event_ops = {.word = "event", .bytes = event_bytes, .bury = event_bury, .wake = wake};

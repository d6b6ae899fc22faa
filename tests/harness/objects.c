/* SPDX-License-Identifier: MIT
 *
 * objects.c - see objects.h.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "objects.h"

const char *kind_word(kind_t kind) {
    static const char *const words[KINDS] = {
        [MUTEX] = "mutex",     [WRITER] = "reader-writer", [READER] = "reader-writer",
        [OWNED] = "semaphore", [PLAIN] = "semaphore",      [BARRIER] = "barrier",
        [EVENT] = "event",     [AUTO_EVENT] = "event",     [LATER_SET] = "event",
    };
    return words[kind];
}

/* ---- any kind ---- */

static int open_event_of(ferry_t *node, const char *name, const ferry_sync_options_t *options, object_t *object) {
    int answer = ferry_event_open(node, name, options, &object->event);
    if (answer == 0 && object->kind == LATER_SET)
        object->count = ferry_event_count(object->event);
    return answer;
}

int object_try_open(ferry_t *node, kind_t kind, const char *name, const ferry_sync_options_t *options,
                    object_t *object) {
    ferry_sync_options_t own = options ? *options : (ferry_sync_options_t){.size = sizeof own};
    own.owned = kind == OWNED;
    own.auto_reset = kind == AUTO_EVENT;
    *object = (object_t){.kind = kind};
    switch (kind) {
    case MUTEX:
        return ferry_mutex_open(node, name, &own, &object->mutex);
    case WRITER:
    case READER:
        return ferry_rwlock_open(node, name, &own, &object->rwlock);
    case OWNED:
    case PLAIN:
        return ferry_semaphore_open(node, name, 1, &own, &object->semaphore);
    case BARRIER:
        return ferry_barrier_open(node, name, 2, &own, &object->barrier);
    default:
        return open_event_of(node, name, &own, object);
    }
}

int object_take(object_t *object, int64_t timeout) {
    switch (object->kind) {
    case MUTEX:
        return ferry_mutex_lock(object->mutex, timeout);
    case WRITER:
        return ferry_rwlock_write(object->rwlock, timeout);
    case READER:
        return ferry_rwlock_read(object->rwlock, timeout);
    case OWNED:
    case PLAIN:
        return ferry_semaphore_acquire(object->semaphore, timeout);
    case BARRIER:
        return ferry_barrier_wait(object->barrier, timeout);
    case LATER_SET:
        return ferry_event_wait_after(object->event, object->count, timeout);
    default:
        return ferry_event_wait(object->event, timeout);
    }
}

int object_give(object_t *object) {
    switch (object->kind) {
    case MUTEX:
        return ferry_mutex_unlock(object->mutex);
    case WRITER:
    case READER:
        return ferry_rwlock_unlock(object->rwlock);
    case OWNED:
    case PLAIN:
        return ferry_semaphore_release(object->semaphore);
    case BARRIER:
        return ferry_barrier_wait(object->barrier, PATIENCE);
    default:
        return ferry_event_set(object->event);
    }
}

int object_repaired(object_t *object) {
    check(object->kind == MUTEX || object->kind == WRITER);
    return object->kind == MUTEX ? ferry_mutex_repaired(object->mutex) : ferry_rwlock_repaired(object->rwlock);
}

uint64_t object_token(const object_t *object) {
    check(object->kind == MUTEX || object->kind == WRITER);
    return object->kind == MUTEX ? ferry_mutex_token(object->mutex) : ferry_rwlock_token(object->rwlock);
}

int object_try_close(object_t *object) {
    switch (object->kind) {
    case MUTEX:
        return ferry_mutex_close(object->mutex);
    case WRITER:
    case READER:
        return ferry_rwlock_close(object->rwlock);
    case OWNED:
    case PLAIN:
        return ferry_semaphore_close(object->semaphore);
    case BARRIER:
        return ferry_barrier_close(object->barrier);
    default:
        return ferry_event_close(object->event);
    }
}

object_t object_open(ferry_t *node, kind_t kind, const char *name, const ferry_sync_options_t *options) {
    object_t object;
    check_is(object_try_open(node, kind, name, options, &object), 0);
    return object;
}

void object_close(object_t *object) {
    check_is(object_try_close(object), 0);
}

/* ---- obstacles ---- */

object_t obstacle_open(ferry_t *node, kind_t kind, const char *name) {
    kind_t way = kind == READER ? WRITER : kind == WRITER ? READER : kind;
    object_t obstacle = object_open(node, way, name, NULL);
    obstacle.in_the_way = kind < BARRIER;
    if (obstacle.in_the_way)
        check_is(object_take(&obstacle, FERRY_NOW), 0);
    return obstacle;
}

void obstacle_remove(object_t *obstacle) {
    int answer = object_give(obstacle);
    check(answer == 0 || (obstacle->kind == BARRIER && answer == FERRY_BARRIER_LAST));
    obstacle->in_the_way = false;
}

void obstacle_close(object_t *obstacle) {
    if (obstacle->in_the_way)
        obstacle_remove(obstacle);
    object_close(obstacle);
}

/* ---- short forms ---- */

ferry_mutex_t *open_mutex(ferry_t *node, const char *name) {
    return object_open(node, MUTEX, name, NULL).mutex;
}

ferry_rwlock_t *open_rwlock(ferry_t *node, const char *name) {
    return object_open(node, WRITER, name, NULL).rwlock;
}

ferry_semaphore_t *open_semaphore(ferry_t *node, const char *name, uint32_t count) {
    ferry_semaphore_t *semaphore = NULL;
    check_is(ferry_semaphore_open(node, name, count, NULL, &semaphore), 0);
    return semaphore;
}

ferry_semaphore_t *open_owned_semaphore(ferry_t *node, const char *name, uint32_t count) {
    ferry_semaphore_t *semaphore = NULL;
    ferry_sync_options_t options = {.owned = 1};
    check_is(ferry_semaphore_open(node, name, count, &options, &semaphore), 0);
    return semaphore;
}

ferry_barrier_t *open_barrier(ferry_t *node, const char *name, uint32_t parties) {
    ferry_barrier_t *barrier = NULL;
    check_is(ferry_barrier_open(node, name, parties, NULL, &barrier), 0);
    return barrier;
}

ferry_event_t *open_event(ferry_t *node, const char *name) {
    return object_open(node, EVENT, name, NULL).event;
}

ferry_event_t *open_auto_event(ferry_t *node, const char *name) {
    return object_open(node, AUTO_EVENT, name, NULL).event;
}

/* ---- waits ---- */

static bool so_many_wait(void *arg) {
    const size_t *count = arg;
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    bool enough = ferry_look_waits(look) >= *count;
    ferry_look_close(look);
    return enough;
}

void await_waits(size_t count) {
    await_that(so_many_wait, &count, "not enough threads are shown to wait");
}

unsigned random_below(uint64_t *seed, unsigned bound) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % bound;
}

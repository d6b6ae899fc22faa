/* SPDX-License-Identifier: MIT
 *
 * objects.h - synchronization objects as tests need them: short forms that fail when the call fails, and one face for
 * everything that a thread can wait for, so that a test can be made once for all of it.
 */
#ifndef FERRY_TESTS_OBJECTS_H
#define FERRY_TESTS_OBJECTS_H

#include "harness.h"

/* A lock that two nodes of one process map is one, but ThreadSanitizer takes it for two: what such a lock protects
 * looks to it as if nothing did. So tests of that are not for it. */
#if UNDER_TSAN
#define TEST_PROTECTED(body) TEST_BOTH(body)
#else
#define TEST_PROTECTED(body) TEST_ALL(body)
#endif

/** What is waited for. The first five are taken and given back. */
typedef enum kind {
    MUTEX,
    WRITER,  /**< a reader-writer lock, to write */
    READER,  /**< a reader-writer lock, to read */
    OWNED,   /**< the unit of an owned semaphore */
    PLAIN,   /**< the unit of a plain semaphore */
    BARRIER, /**< of two parties */
    EVENT,
    AUTO_EVENT,
    LATER_SET, /**< an event, to be set once more than it was when it was opened */
} kind_t;
#define KINDS (LATER_SET + 1)
/** These belong to whoever took them. */
#define KINDS_HELD (OWNED + 1)

/** A handle of any kind. */
typedef struct object {
    kind_t kind;
    int count;       /**< LATER_SET: the event's count when it was opened */
    bool in_the_way; /**< an obstacle that holds what others wait for */
    union {
        ferry_mutex_t *mutex;
        ferry_rwlock_t *rwlock;
        ferry_semaphore_t *semaphore;
        ferry_barrier_t *barrier;
        ferry_event_t *event;
    };
} object_t;

/** A word that sentences use for an object of this kind. */
const char *kind_word(kind_t kind);

/** Opens it; semaphores have one unit. `options` may be NULL; the fields that belong to the kind are set here. */
int object_try_open(ferry_t *node, kind_t kind, const char *name, const ferry_sync_options_t *options,
                    object_t *object);
/** Waits for it, and has it then. */
int object_take(object_t *object, int64_t timeout);
/** Gives back what was taken; sets an event; a barrier: becomes the second participant. */
int object_give(object_t *object);
/** Mutexes and writers: the state is whole again. */
int object_repaired(object_t *object);
/** Mutexes and writers: the number of the acquisition. */
uint64_t object_token(const object_t *object);
int object_try_close(object_t *object);

object_t object_open(ferry_t *node, kind_t kind, const char *name, const ferry_sync_options_t *options);
void object_close(object_t *object);
/** Opens a handle that is in the way: object_take() of this kind waits until obstacle_remove(). */
object_t obstacle_open(ferry_t *node, kind_t kind, const char *name);
/** Lets the one that waits have it. */
void obstacle_remove(object_t *obstacle);
/** Closes it, in the way or not. */
void obstacle_close(object_t *obstacle);

ferry_mutex_t *open_mutex(ferry_t *node, const char *name);
ferry_rwlock_t *open_rwlock(ferry_t *node, const char *name);
ferry_semaphore_t *open_semaphore(ferry_t *node, const char *name, uint32_t count);
ferry_semaphore_t *open_owned_semaphore(ferry_t *node, const char *name, uint32_t count);
ferry_barrier_t *open_barrier(ferry_t *node, const char *name, uint32_t parties);
ferry_event_t *open_event(ferry_t *node, const char *name);
ferry_event_t *open_auto_event(ferry_t *node, const char *name);

/** Waits until `ferry ls` would show so many waiting threads in the space "test". */
void await_waits(size_t count);

/** A number below `bound`, from a cheap generator; the same seed gives the same numbers. */
unsigned random_below(uint64_t *seed, unsigned bound);

#ifndef FERRY_TESTS_SHORT_FORMS
#define object_open(node, kind, name, options) (called_from(__FILE__, __LINE__), object_open(node, kind, name, options))
#define object_close(object) (called_from(__FILE__, __LINE__), object_close(object))
#define obstacle_open(node, kind, name) (called_from(__FILE__, __LINE__), obstacle_open(node, kind, name))
#define obstacle_remove(obstacle) (called_from(__FILE__, __LINE__), obstacle_remove(obstacle))
#define obstacle_close(obstacle) (called_from(__FILE__, __LINE__), obstacle_close(obstacle))
#define open_mutex(node, name) (called_from(__FILE__, __LINE__), open_mutex(node, name))
#define open_rwlock(node, name) (called_from(__FILE__, __LINE__), open_rwlock(node, name))
#define open_semaphore(node, name, count) (called_from(__FILE__, __LINE__), open_semaphore(node, name, count))
#define open_owned_semaphore(node, name, count)                                                                        \
    (called_from(__FILE__, __LINE__), open_owned_semaphore(node, name, count))
#define open_barrier(node, name, parties) (called_from(__FILE__, __LINE__), open_barrier(node, name, parties))
#define open_event(node, name) (called_from(__FILE__, __LINE__), open_event(node, name))
#define open_auto_event(node, name) (called_from(__FILE__, __LINE__), open_auto_event(node, name))
#define await_waits(count) (called_from(__FILE__, __LINE__), await_waits(count))
#endif

#endif

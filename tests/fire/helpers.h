/* SPDX-License-Identifier: MIT
 *
 * helpers.h - processes that outlive many deaths, and do one errand after the other with one synchronization object.
 *
 * An errand runs in the helper's process; the test, which has no node itself, asks for it and goes on meanwhile. So a
 * helper can be made to fall asleep in a call, and the test sees when it does.
 */
#ifndef FERRY_TESTS_HELPERS_H
#define FERRY_TESTS_HELPERS_H

#include <semaphore.h>

#include "fire.h"
#include "objects.h"

struct helper;
typedef int errand_t(struct helper *h);

/* In memory that the test and the helper share; the pointers are of the helper's process. */
typedef struct helper {
    pid_t pid;
    sem_t asked, done;
    atomic_uint busy;
    errand_t *errand; /* NULL: leave */
    int answer;
    char said[256]; /* ferry_last_error() after the errand */
    kind_t kind;    /* of the object; of a reader-writer lock, the way in which to take it */
    const char *name;
    ferry_t *node;
    object_t object;
    void *world; /* shared memory of the test's own */
} helper_t;

/** Starts `count` helpers, each with a node of its own in the space "test". */
helper_t *helpers_start(unsigned count, void *world);
/** Lets them end, and joins them. */
void helpers_end(helper_t *helpers, unsigned count);

/** Asks for an errand. */
void helper_ask(helper_t *h, errand_t *errand);
/** Has it answered the last one? */
bool helper_is_done(helper_t *h);
/** Waits for its answer, PATIENCE at most; fails when the helper has ended. */
bool helper_answers(helper_t *h);
/** The answer that it gives in time. */
int helper_answer(helper_t *h);
/** Both. */
int helper_do(helper_t *h, errand_t *errand);
/** Does it sleep in its errand? */
bool helper_sleeps(helper_t *h);
/** Waits until it sleeps in its errand, or is done with it. */
void helper_await_sleep(helper_t *h);

/** Wakes all who sleep on a word of this memory, though nothing has changed, as any peer may. Those who have waited
 * long see it then. */
void wake_for_nothing(void *memory, size_t bytes);

/** Is this thread asleep on a futex? */
bool sleeps_on_futex(pid_t tid);

#endif

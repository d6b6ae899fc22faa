/* SPDX-License-Identifier: MIT
 *
 * bounded_buffer.h - producers and consumers, and a few places between them.
 *
 *     producer 0 ─┐                ┌─ consumer 0
 *     producer 1 ─┴─► │ │ │ │ │ ───┴─ consumer 1
 *
 * Who produces waits while all places are taken, who consumes waits while none is.  work.c has producers and consumers;
 * it does not know which way the items go.  There are three ways:
 *
 *     semaphores.c   a ring in shared memory, two semaphores and two mutexes
 *     events.c       the same ring, a mutex and two events
 *     queue.c        a queue of Ferry
 */
#ifndef BOUNDED_BUFFER_H
#define BOUNDED_BUFFER_H

#include "crew.h"

#include <stdatomic.h>

/** As producer's number: there are no more items. */
#define NO_MORE UINT32_MAX

typedef struct item {
    uint32_t producer;
    uint32_t number;     /**< counts from 0 for each producer */
    uint64_t content[7]; /**< depends on both, so that an item made of two halves is noticed */
} item_t;

typedef struct way way_t;

/** What the user asked for, and where the result comes. */
typedef struct job {
    const way_t *way;
    unsigned producers, consumers;
    unsigned items; /**< of each producer */
    unsigned slots; /**< places between them */
    struct ring *ring;
    struct results *results;
} job_t;

/** In shared memory: what came of it. */
typedef struct results {
    int64_t began[CREW_MOST], ended[CREW_MOST]; /**< when each member did its first and last step */
    atomic_uint broken;                         /**< items whose content is not theirs */
    atomic_uint late;                           /**< items that came after a later one of their producer */
    atomic_uchar seen[]; /**< how often each item came: items of producer 0, of producer 1, ... */
} results_t;

/** One member's end of the buffer; each way has its own. */
typedef struct end end_t;

/** A way for the items to go. All functions but `take` return 0, or -1 after they have said what went wrong. */
struct way {
    const char *name;
    int (*open)(end_t **end, ferry_t *node, const job_t *job, bool producer);
    int (*put)(end_t *end, const item_t *item);
    int (*take)(end_t *end, item_t *item); /**< 1: all producers have ended, and nothing is left */
    int (*close)(end_t *end);
};

extern const way_t semaphores, events, queue;

/** A producer's or consumer's life; `job` is a job_t. The producers come first. */
crew_work_t producer_or_consumer;

/** How many items came not exactly once? */
unsigned count_wrong(const job_t *job);

#endif

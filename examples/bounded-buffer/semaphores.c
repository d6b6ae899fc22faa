/* SPDX-License-Identifier: MIT
 *
 * semaphores.c - one semaphore counts the free places, another one the filled ones (E. W. Dijkstra, 1965).
 *
 * A unit of "free" is the right to fill a place, a unit of "filled" the right to empty one.  Which place it is the ring
 * says; two who put at once are kept apart by one mutex, two who take by another one, and who puts and who takes never
 * meet at the same place.
 */
#include "ring.h"

struct end {
    const job_t *job;
    bool producer;
    ferry_semaphore_t *free, *filled;
    ferry_mutex_t *side; /**< of this end: of those who put, or of those who take */
};

static end_t the_end; /* a member is a process and has one */

static int open_end(end_t **end, ferry_t *node, const job_t *job, bool producer) {
    the_end = (end_t){.job = job, .producer = producer};
    if (ferry_semaphore_open(node, "free", job->slots, NULL, &the_end.free) < 0 ||
        ferry_semaphore_open(node, "filled", 0, NULL, &the_end.filled) < 0 ||
        ferry_mutex_open(node, producer ? "put" : "take", NULL, &the_end.side) < 0) {
        return crew_failed("opening semaphores and mutex");
    }
    *end = &the_end;
    return 0;
}

static int put(end_t *e, const item_t *item) {
    if (ferry_semaphore_acquire(e->free, CREW_PATIENCE) < 0) {
        return crew_failed("waiting for a free place");
    }
    if (crew_lock(e->side, "putting an item") != 0) {
        return -1;
    }
    ring_put(e->job->ring, item);
    if (ferry_mutex_unlock(e->side) < 0 || ferry_semaphore_release(e->filled) < 0) {
        return crew_failed("putting an item");
    }
    return 0;
}

static int take(end_t *e, item_t *item) {
    if (ferry_semaphore_acquire(e->filled, CREW_PATIENCE) < 0) {
        return crew_failed("waiting for an item");
    }
    if (crew_lock(e->side, "taking an item") != 0) {
        return -1;
    }
    int last = ring_take(e->job->ring, item);
    if (ferry_mutex_unlock(e->side) < 0 || ferry_semaphore_release(e->free) < 0) {
        return crew_failed("taking an item");
    }
    return last;
}

static int close_end(end_t *e) {
    if (e->producer && ring_leave(e->job->ring, e->job, e, put) < 0) {
        return -1;
    }
    if (ferry_semaphore_close(e->free) < 0 || ferry_semaphore_close(e->filled) < 0 || ferry_mutex_close(e->side) < 0) {
        return crew_failed("closing semaphores and mutex");
    }
    return 0;
}

const way_t semaphores = {.name = "semaphores", .open = open_end, .put = put, .take = take, .close = close_end};

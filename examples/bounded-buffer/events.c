/* SPDX-License-Identifier: MIT
 *
 * events.c - one mutex for the whole ring, and two events to wait for: "room" and "items".
 *
 * An event tells that something may have changed, and whoever was woken looks again: the pattern of C. A. R. Hoare's
 * monitors and of condition variables.  What must not happen is that the change comes between the look and the wait,
 * and is missed.  So the event's count is read while the lock is still held, and what is waited for is a set after
 * that.
 */
#include "ring.h"

struct end {
    const job_t *job;
    bool producer;
    ferry_mutex_t *lock;
    ferry_event_t *room, *items;
};

static end_t the_end; /* a member is a process and has one */

static int open_end(end_t **end, ferry_t *node, const job_t *job, bool producer) {
    the_end = (end_t){.job = job, .producer = producer};
    if (ferry_mutex_open(node, "ring", NULL, &the_end.lock) < 0 ||
        ferry_event_open(node, "room", NULL, &the_end.room) < 0 ||
        ferry_event_open(node, "items", NULL, &the_end.items) < 0) {
        return crew_failed("opening mutex and events");
    }
    *end = &the_end;
    return 0;
}

/** Waits without the lock until the event is set once more, then takes the lock again. */
static int wait_for(end_t *e, ferry_event_t *event) {
    int count = ferry_event_count(event);
    if (ferry_mutex_unlock(e->lock) < 0 || ferry_event_wait_after(event, count, CREW_PATIENCE) < 0) {
        return crew_failed("waiting for a change");
    }
    return crew_lock(e->lock, "looking again");
}

/** Lets the lock go, and tells those who wait for `event` to look again. */
static int changed(end_t *e, ferry_event_t *event) {
    return ferry_mutex_unlock(e->lock) < 0 || ferry_event_set(event) < 0 ? crew_failed("telling of a change") : 0;
}

static int put(end_t *e, const item_t *item) {
    ring_t *ring = e->job->ring;
    if (crew_lock(e->lock, "putting an item") != 0) {
        return -1;
    }
    while (ring->put - ring->taken == ring->slots) { /* full */
        if (wait_for(e, e->room) != 0) {
            return -1;
        }
    }
    ring_put(ring, item);
    return changed(e, e->items);
}

static int take(end_t *e, item_t *item) {
    ring_t *ring = e->job->ring;
    if (crew_lock(e->lock, "taking an item") != 0) {
        return -1;
    }
    while (ring->put == ring->taken) { /* empty */
        if (wait_for(e, e->items) != 0) {
            return -1;
        }
    }
    int last = ring_take(ring, item);
    return changed(e, e->room) < 0 ? -1 : last;
}

static int close_end(end_t *e) {
    if (e->producer && ring_leave(e->job->ring, e->job, e, put) < 0) {
        return -1;
    }
    if (ferry_mutex_close(e->lock) < 0 || ferry_event_close(e->room) < 0 || ferry_event_close(e->items) < 0) {
        return crew_failed("closing mutex and events");
    }
    return 0;
}

const way_t events = {.name = "events", .open = open_end, .put = put, .take = take, .close = close_end};

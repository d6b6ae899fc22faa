/* SPDX-License-Identifier: MIT
 *
 * ring.c - the ring alone. It knows nothing of Ferry.
 */
#include "ring.h"

size_t ring_size(const job_t *job) {
    return sizeof(ring_t) + job->slots * sizeof(item_t);
}

void ring_init(ring_t *ring, const job_t *job) {
    ring->slots = job->slots;
    ring->producers_left = job->producers;
}

void ring_put(ring_t *ring, const item_t *item) {
    ring->slot[ring->put++ % ring->slots] = *item;
}

int ring_take(ring_t *ring, item_t *item) {
    *item = ring->slot[ring->taken++ % ring->slots];
    return item->producer == NO_MORE ? 1 : 0;
}

int ring_leave(ring_t *ring, const job_t *job, end_t *end, int (*put)(end_t *end, const item_t *item)) {
    if (atomic_fetch_sub(&ring->producers_left, 1) != 1) {
        return 0;
    }
    item_t mark = {.producer = NO_MORE};
    for (unsigned i = 0; i < job->consumers; i++) {
        if (put(end, &mark) < 0) {
            return -1;
        }
    }
    return 0;
}

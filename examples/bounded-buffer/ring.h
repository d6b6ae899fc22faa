/* SPDX-License-Identifier: MIT
 *
 * ring.h - a ring of places in shared memory.
 *
 * It does not wait and does not lock: whoever puts must know that a place is free, and that nobody else puts; whoever
 * takes must know that a place is filled, and that nobody else takes.
 */
#ifndef RING_H
#define RING_H

#include "bounded_buffer.h"

typedef struct ring {
    atomic_uint producers_left;
    uint32_t slots;
    uint32_t put;   /**< items put so far; changed only by who puts */
    uint32_t taken; /**< items taken so far; changed only by who takes */
    item_t slot[];
} ring_t;

/** Bytes of a ring of that many places. */
size_t ring_size(const job_t *job);
void ring_init(ring_t *ring, const job_t *job);

void ring_put(ring_t *ring, const item_t *item);
/** Returns 1 when what was taken is the mark that no more items will come. */
int ring_take(ring_t *ring, item_t *item);

/** For a way's `close`: one producer less. The last one puts a mark for each consumer, with `put`. */
int ring_leave(ring_t *ring, const job_t *job, end_t *end, int (*put)(end_t *end, const item_t *item));

#endif

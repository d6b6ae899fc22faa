/* SPDX-License-Identifier: MIT
 *
 * heaps.h - the allocators that `ferry bench region` compares: as a side joins one, and leaves it.
 */
#ifndef FERRY_BENCH_HEAPS_H
#define FERRY_BENCH_HEAPS_H

#include "bench/blocks.h"
#include "bench/object.h"

typedef enum bench_heap {
    BENCH_HEAP_REGION, /* one region for all sides */
    BENCH_HEAP_APART,  /* a region for each side */
    BENCH_HEAP_MALLOC, /* the C library's */
    BENCH_HEAP_NONE,   /* no allocator: blocks that are there all the time */
    BENCH_HEAP_PEER    /* the other library's, one for all sides */
} bench_heap_t;

bench_turns_fn *bench_heap_turns(bench_heap_t heap);

/* Opens it for this side and allocates the blocks that live. Any failure ends the run. */
void *bench_heap_join(bench_side_t *me, bench_way_t way, bench_heap_t heap);

/* All sides call this together: frees the blocks, and closes it. Nothing may be left in it. */
void bench_heap_leave(bench_side_t *me, void *joined, bench_way_t way);

/* Loads the other library's module, before any side is started. False: it is not there; how to get it was said. */
bool bench_peer_load(void);

#endif

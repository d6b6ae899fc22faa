/* SPDX-License-Identifier: MIT
 *
 * blocks.h - one side's turns at an allocator: a block is allocated, written whole, read whole and checked, and freed.
 *
 * The loop is the same for Ferry and for what it is compared with; the compiler builds it anew around each one's calls.
 * What the blocks cost without an allocator is measured by the same loop, too.
 */
#ifndef FERRY_BENCH_BLOCKS_H
#define FERRY_BENCH_BLOCKS_H

#include <errno.h>

#include "bench/payload.h"
#include "bench/turns.h"

enum { BENCH_LEAST_BLOCK = 16, BENCH_MOST_BLOCK = 1024 }; /* of the mix of sizes */

typedef struct bench_block {
    void *data;
    uint64_t ref; /* Ferry's reference */
    uint64_t id;  /* of the payload */
    size_t size;
} bench_block_t;

/* One allocator as one side uses it. */
typedef struct bench_blocks {
    void *heap;    /* what the calls are made on */
    size_t size;   /* of every block; 0: a mix */
    bool anywhere; /* blocks are freed in random order; else each at once, beside those that live on */
    unsigned side;
    uint64_t live;
    uint64_t count;       /* allocated so far */
    uint64_t random;      /* not 0 */
    bench_block_t *block; /* those that live, and one more */
} bench_blocks_t;

/* Allocates block->size bytes and tells where; frees them. Each returns 0, or an error, negative or not. */
typedef int bench_alloc_fn(void *heap, bench_block_t *block);
typedef int bench_free_fn(void *heap, bench_block_t *block);

/* xorshift64: cheap beside any allocator, and the same sequence for each of them. */
static inline uint64_t bench_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 32;
}

static inline __attribute__((always_inline)) int bench_block_make(bench_alloc_fn *alloc, bench_blocks_t *b,
                                                                  bench_block_t *block, bench_waits_t *waits) {
    const uint64_t sizes = BENCH_MOST_BLOCK - BENCH_LEAST_BLOCK + 1;

    block->size = b->size != 0 ? b->size : BENCH_LEAST_BLOCK + (bench_random(&b->random) * sizes >> 32);
    uint64_t from = waits != NULL ? bench_ticks() : 0;
    int failed = alloc(b->heap, block);
    if (waits != NULL)
        bench_waits_add(waits, bench_ticks() - from);
    if (failed != 0)
        return failed;
    block->id = bench_id(b->side, ++b->count);
    bench_payload_fill(block->data, block->size, block->id);
    return 0;
}

static inline __attribute__((always_inline)) int bench_block_drop(bench_free_fn *drop, bench_blocks_t *b,
                                                                  bench_block_t *block) {
    uint64_t id;

    if (!bench_payload_check(block->data, block->size, &id) || id != block->id)
        return -EBADMSG;
    return drop(b->heap, block);
}

static inline __attribute__((always_inline)) int
bench_block_turns(bench_alloc_fn *alloc, bench_free_fn *drop, bench_blocks_t *b, unsigned count, bench_waits_t *waits) {
    int failed = 0;

    for (unsigned i = 0; i < count && failed == 0; i++) {
        bench_block_t *block = &b->block[b->anywhere ? bench_random(&b->random) * b->live >> 32 : b->live];
        failed = b->anywhere ? bench_block_drop(drop, b, block) : 0;
        if (failed == 0)
            failed = bench_block_make(alloc, b, block, waits);
        if (failed == 0 && !b->anywhere)
            failed = bench_block_drop(drop, b, block);
    }
    return failed;
}

/* --- limit_malloc.c: the C library's ----------------------------------------------------------------------------- */

bench_alloc_fn bench_malloc;
bench_free_fn bench_malloc_free;
bench_turns_fn bench_malloc_turns;

#endif

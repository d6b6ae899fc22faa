/* SPDX-License-Identifier: MIT
 *
 * The limit of an allocator: malloc and free, in memory that nobody else sees.
 */
#include <stdlib.h>

#include "bench/blocks.h"

int bench_malloc(void *heap, bench_block_t *block) {
    (void)heap;
    block->data = malloc(block->size);
    return block->data != NULL ? 0 : -ENOMEM;
}

int bench_malloc_free(void *heap, bench_block_t *block) {
    (void)heap;
    free(block->data);
    return 0;
}

int bench_malloc_turns(void *blocks, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_block_turns(bench_malloc, bench_malloc_free, blocks, count, waits);
}

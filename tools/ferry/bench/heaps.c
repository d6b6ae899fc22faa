/* SPDX-License-Identifier: MIT */
#include "bench/heaps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/module.h"
#include "bench/peer.h"
#include "say.h"

typedef struct joined {
    bench_blocks_t blocks; /* first: it is what the turns are given */
    bench_heap_t heap;
} joined_t;

/* --- Ferry ------------------------------------------------------------------------------------------------------- */

static int region_alloc(void *heap, bench_block_t *block) {
    int failed = ferry_region_alloc(heap, block->size, &block->ref);

    block->data = ferry_region_at(heap, block->ref);
    return failed;
}

static int region_free(void *heap, bench_block_t *block) {
    return ferry_region_free(heap, &block->ref);
}

static int region_turns(void *blocks, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_block_turns(region_alloc, region_free, blocks, count, waits);
}

/* Half as much again as the sides' blocks need: an allocator cannot fill every gap. */
static uint64_t room_for(const bench_settings_t *s, unsigned sides) {
    uint64_t each = (s->size != 0 ? s->size : BENCH_MOST_BLOCK) + 64;

    return ((uint64_t)s->live + 1) * each * sides / 2 * 3 + (UINT64_C(1) << 20);
}

static void *open_region(bench_side_t *me, bool apart) {
    const bench_settings_t *s = me->settings;
    const ferry_region_options_t options = {.wait = s->wait};
    ferry_region_t *region = NULL;
    char name[32] = "heap";

    if (apart)
        snprintf(name, sizeof name, "heap-%u", me->index);
    if (ferry_region_open(bench_node(me), name, room_for(s, apart ? 1 : s->parties), &options, &region) < 0)
        bench_fail(me, "cannot open a region: %s", ferry_last_error());
    return region;
}

static void close_region(bench_side_t *me, void *heap, bool looks) {
    int64_t left = looks ? ferry_region_check(heap) : 0;

    if (left != 0)
        bench_fail(me, "after the last block was freed, ferry_region_check answered %lld: %s", (long long)left,
                   ferry_last_error());
    bench_meet(me); /* who looks takes the lock, which the last one closes */
    int failed = ferry_region_close(heap);
    if (failed != 0)
        bench_object_failed(me, BENCH_FERRY, failed);
}

/* --- no allocator ------------------------------------------------------------------------------------------------ */

static int stay(void *heap, bench_block_t *block) {
    (void)heap;
    if (block->data == NULL) /* the first time */
        block->data = malloc(block->size > BENCH_MOST_BLOCK ? block->size : BENCH_MOST_BLOCK);
    return block->data != NULL ? 0 : -ENOMEM;
}

static int go_on(void *heap, bench_block_t *block) {
    (void)heap;
    (void)block;
    return 0;
}

static int bare_turns(void *blocks, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_block_turns(stay, go_on, blocks, count, waits);
}

/* --- the other library ------------------------------------------------------------------------------------------- */

static const bench_peer_t *peer; /* loaded before the sides are started */

bool bench_peer_load(void) {
    char path[BENCH_MODULE_PATH];

    if (!bench_module_find("boost.so", path, sizeof path)) {
        say("%s was not built: install g++ and Boost's headers (on Debian: g++ libboost-dev), build Ferry in a new "
            "build "
            "directory, and run the command from there",
            path);
        return false;
    }
    peer = bench_module_load(path, BENCH_PEER_SYMBOL);
    return peer != NULL;
}

static void *open_peer(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    const char *name = strrchr(bench_directory(me), '/') + 1; /* as unique as the directory */
    void *heap = peer->open(name, room_for(s, s->parties));

    bench_meet(me);
    if (me->index == 0)
        peer->forget(name);
    if (heap == NULL)
        bench_fail(me, "the other library has no shared memory of %llu bytes to give",
                   (unsigned long long)room_for(s, s->parties));
    return heap;
}

static int peer_alloc(void *heap, bench_block_t *block) {
    block->data = peer->alloc(heap, block->size);
    return block->data != NULL ? 0 : -ENOMEM;
}

static int peer_free(void *heap, bench_block_t *block) {
    peer->free(heap, block->data);
    return 0;
}

static int peer_turns(void *blocks, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_block_turns(peer_alloc, peer_free, blocks, count, waits);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static const struct {
    bench_alloc_fn *alloc;
    bench_free_fn *drop;
    bench_turns_fn *turns;
} calls[] = {
    [BENCH_HEAP_REGION] = {region_alloc, region_free, region_turns},
    [BENCH_HEAP_APART] = {region_alloc, region_free, region_turns},
    [BENCH_HEAP_MALLOC] = {bench_malloc, bench_malloc_free, bench_malloc_turns},
    [BENCH_HEAP_NONE] = {stay, go_on, bare_turns},
    [BENCH_HEAP_PEER] = {peer_alloc, peer_free, peer_turns},
};

bench_turns_fn *bench_heap_turns(bench_heap_t heap) {
    return calls[heap].turns;
}

void *bench_heap_join(bench_side_t *me, bench_way_t way, bench_heap_t heap) {
    const bench_settings_t *s = me->settings;
    joined_t *j = calloc(1, sizeof *j);
    bench_block_t *block = calloc((size_t)s->live + 1, sizeof *block);

    if (j == NULL || block == NULL)
        bench_fail(me, "there is no memory left");
    j->heap = heap;
    j->blocks = (bench_blocks_t){.size = s->size,
                                 .anywhere = s->pattern == BENCH_PATTERN_RANDOM,
                                 .side = me->index,
                                 .live = s->live,
                                 .random = me->index + 1,
                                 .block = block};
    if (heap == BENCH_HEAP_PEER)
        j->blocks.heap = open_peer(me);
    else if (heap == BENCH_HEAP_REGION || heap == BENCH_HEAP_APART)
        j->blocks.heap = open_region(me, heap == BENCH_HEAP_APART);
    for (uint64_t i = 0; i < s->live; i++) {
        int failed = bench_block_make(calls[heap].alloc, &j->blocks, &block[i], NULL);
        if (failed != 0)
            bench_object_failed(me, way, failed);
    }
    return j;
}

void bench_heap_leave(bench_side_t *me, void *joined, bench_way_t way) {
    joined_t *j = joined;
    bench_block_t *block = j->blocks.block;

    for (uint64_t i = 0; i < j->blocks.live; i++) {
        int failed = bench_block_drop(calls[j->heap].drop, &j->blocks, &block[i]);
        if (failed != 0)
            bench_object_failed(me, way, failed);
    }
    bench_meet(me);
    if (j->heap == BENCH_HEAP_PEER)
        peer->close(j->blocks.heap);
    else if (j->heap == BENCH_HEAP_REGION || j->heap == BENCH_HEAP_APART)
        close_region(me, j->blocks.heap, j->heap == BENCH_HEAP_APART || me->index == 0);
    for (uint64_t i = 0; i <= j->blocks.live && j->heap == BENCH_HEAP_NONE; i++)
        free(block[i].data);
    free(block);
    free(j);
}

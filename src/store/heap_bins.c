/* SPDX-License-Identifier: MIT */
#include "store/heap_bins.h"

#define MOST_EVICTED 4u    /* for one block */
#define MOST_LOOKED_AT 16u /* bins, for each of them */

/* All bins together have no more blocks. */
#define MOST_BLOCKS (FI_BINS_LARGEST_SHARE / FI_MIN_UNITS)

/* The first block of this bin becomes free space. `*units`: the free block's that it is now part of. */
static int empty_one(const fi_heap_t *h, unsigned bin, uint64_t block, uint64_t *units) {
    uint64_t word = fi_heap_load_block(h, block, FI_BLOCK_BINNED);

    if (!word || fi_bin_of(fi_block_units(word)) != bin) {
        return fi_heap_damaged(h, block, "what stands in a bin is no block of its size");
    }
    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_change_t c[3];
    fi_bins_pop(h, bin, block, word, c);
    fi_heap_change(&s, c + 1, 2); /* what becomes of its word, fi_fit_give decides */
    int r = fi_fit_give(&s, block, word, units);
    fi_fit_count(&s, -1, fi_block_units(word));
    return fi_heap_end_step(&s, r);
}

int fi_bins_empty(const fi_heap_t *h, uint64_t enough) {
    uint64_t left = MOST_BLOCKS;

    for (unsigned bin = FI_HEAP_BINS; bin-- > 0;) {
        uint64_t block;
        while ((block = fi_load_relaxed64(&h->shared->bins[bin])) != 0) {
            uint64_t units;
            int r = left-- > 0 ? empty_one(h, bin, block, &units)
                               : fi_heap_damaged(h, block, "there are more blocks in bins than there may be");
            if (r < 0) {
                return r;
            }
            if (units >= enough) {
                return 1;
            }
        }
    }
    return 0;
}

/* A bin that has blocks and is not `mine`: the last one that was found, until it is empty. FI_HEAP_BINS: none is at
 * hand. */
static unsigned find_victim(const fi_heap_t *h, unsigned mine) {
    uint64_t *victim = &h->shared->victim;
    unsigned bin = (unsigned)(fi_load_relaxed64(victim) % FI_HEAP_BINS);

    for (unsigned i = 0; i < MOST_LOOKED_AT; i++) {
        if (bin != mine && fi_load_relaxed64(&h->shared->bins[bin])) {
            fi_store_relaxed64(victim, bin);
            return bin;
        }
        bin = (bin + 1) % FI_HEAP_BINS;
    }
    fi_store_relaxed64(victim, bin);
    return FI_HEAP_BINS;
}

int fi_bins_make_room(const fi_heap_t *h, uint64_t units) {
    unsigned mine = fi_bin_of(units);
    int r = 0;

    if (mine >= FI_HEAP_BINS) {
        return 0;
    }
    for (unsigned i = 0; r == 0 && i < MOST_EVICTED && !fi_bins_have_room(h, units); i++) {
        unsigned victim = find_victim(h, mine);
        if (victim >= FI_HEAP_BINS) {
            return 0;
        }
        uint64_t joined;
        r = empty_one(h, victim, fi_load_relaxed64(&h->shared->bins[victim]), &joined);
    }
    return r < 0 ? r : fi_bins_have_room(h, units);
}

uint64_t fi_bins_largest(const fi_heap_t *h) {
    for (unsigned bin = FI_HEAP_BINS; bin-- > 0;) {
        uint64_t word = fi_heap_load_block(h, fi_load_relaxed64(&h->shared->bins[bin]), FI_BLOCK_BINNED);
        if (word) {
            return fi_block_units(word);
        }
    }
    return 0;
}

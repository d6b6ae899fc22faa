/* SPDX-License-Identifier: MIT
 *
 * heap_bins.h - blocks that were freed a moment ago, and can be handed out again as they are.
 *
 * A bin is a stack of BINNED blocks: one bin for each size to a kilobyte, then 16 for each doubling, to 128 KiB.
 * Taking and giving are four words each.  They are not joined with their neighbours there; so they may hold an eighth
 * of the heap (from 64 KiB to 8 MiB), and are emptied into the free space when that has nothing large enough.
 */
#ifndef FI_HEAP_BINS_H
#define FI_HEAP_BINS_H

#include "store/heap_fit.h"

#define FI_BINS_LEAST_SHARE (UINT64_C(65536) / FI_UNIT)
#define FI_BINS_LARGEST_SHARE ((UINT64_C(8) << 20) / FI_UNIT)
#define FI_BINNED_BLOCK (UINT64_C(1) << 40) /* in fi_heap_memory_t.binned */
#define FI_BINNED_UNITS (FI_BINNED_BLOCK - 1)

/* The bin of blocks of so many units; FI_HEAP_BINS or more: there is none. */
static inline unsigned fi_bin_of(uint64_t units) {
    if (fi_likely(units - FI_MIN_UNITS < FI_HEAP_EXACT_BINS)) {
        return (unsigned)(units - FI_MIN_UNITS);
    }
    return units < 64 ? FI_HEAP_BINS : fi_fit_class(units) + 16;
}

/* Units that bins may hold. */
static inline uint64_t fi_bins_share(const fi_heap_t *h) {
    return fi_min(fi_max(h->bytes / 8 / FI_UNIT, FI_BINS_LEAST_SHARE), FI_BINS_LARGEST_SHARE);
}

/* Is there room in the bins for so many units? */
static inline bool fi_bins_have_room(const fi_heap_t *h, uint64_t units) {
    return (fi_load_relaxed64(&h->shared->binned) & FI_BINNED_UNITS) + units <= fi_bins_share(h);
}

/*
 * Is there, after a few blocks of other sizes were emptied into the free space? 1; 0 no, or there is no bin for it;
 * -EPROTO. What was not wanted for long so makes room for what is freed now.
 */
int fi_bins_make_room(const fi_heap_t *h, uint64_t units);

/* The changes that put a USED block into its bin. */
static inline __attribute__((always_inline)) void fi_bins_push(const fi_heap_t *h, unsigned bin, uint64_t block,
                                                               uint64_t word, fi_heap_change_t c[3]) {
    uint64_t head = fi_load_relaxed64(&h->shared->bins[bin]);
    uint64_t binned = fi_load_relaxed64(&h->shared->binned);

    /* This word means nothing in a USED block, so it needs no note. */
    fi_store_relaxed64(fi_heap_next_link(h, block), head);
    c[0] = (fi_heap_change_t){fi_heap_word(h, block), word, word ^ FI_BLOCK_USED ^ FI_BLOCK_BINNED};
    c[1] = (fi_heap_change_t){&h->shared->bins[bin], head, block};
    c[2] = (fi_heap_change_t){&h->shared->binned, binned, binned + FI_BINNED_BLOCK + fi_block_units(word)};
}

/* The changes that take the first block out of a bin, and make it USED. */
static inline __attribute__((always_inline)) void fi_bins_pop(const fi_heap_t *h, unsigned bin, uint64_t block,
                                                              uint64_t word, fi_heap_change_t c[3]) {
    uint64_t next = fi_load_relaxed64(fi_heap_next_link(h, block));
    uint64_t binned = fi_load_relaxed64(&h->shared->binned);

    c[0] = (fi_heap_change_t){fi_heap_word(h, block), word, word ^ FI_BLOCK_BINNED ^ FI_BLOCK_USED};
    c[1] = (fi_heap_change_t){&h->shared->bins[bin], block, next};
    c[2] = (fi_heap_change_t){&h->shared->binned, binned, binned - FI_BINNED_BLOCK - fi_block_units(word)};
}

/* Empties bins, largest blocks first, one step for each, until a FREE block has `enough` units: 1; 0 they are empty;
 * -EPROTO. */
int fi_bins_empty(const fi_heap_t *h, uint64_t enough);

/* Units of the largest block in a bin. Needs no lock. */
uint64_t fi_bins_largest(const fi_heap_t *h);

#endif

/* SPDX-License-Identifier: MIT
 *
 * heap_fit.h - the free space: two-level segregated fit (M. Masmano, I. Ripoll, A. Crespo, J. Real, "TLSF: a new
 * dynamic memory allocator for real-time systems", 2004).
 *
 * FREE blocks stand in lists by size, 16 for each doubling, and a bitmap tells which lists are not empty.  A block of n
 * units is taken from the first list all of whose blocks are large enough, and what is left of it is free again; a
 * block that is given back is joined with its free neighbours at once.  All of it is O(1).  No two neighbours are FREE.
 *
 * Where that finds nothing, the list in which blocks of that very size stand may still have one: FI_FIT_LOOKS of them
 * are looked at.  So what fi_fit_largest names can always be had.
 */
#ifndef FI_HEAP_FIT_H
#define FI_HEAP_FIT_H

#include "store/heap_block.h"

#define FI_FIT_LOOKS 64u

/* The list that a block of so many units stands in. */
static inline unsigned fi_fit_class(uint64_t units) {
    if (units < 16) {
        return (unsigned)units;
    }
    unsigned log = fi_log2(units);
    return (log - 3) * 16 + (unsigned)(units >> (log - 4) & 15);
}

/* A FREE block of at least `units`: 1, and `*block` and `*word`; 0 there is none; -EPROTO. Changes nothing. */
int fi_fit_find(const fi_heap_t *h, uint64_t units, uint64_t *block, uint64_t *word);

/* Makes the FREE block a USED one of `units`, or one more if nothing smaller than a block would be left. `word`: its
 * word. */
int fi_fit_take(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t units);

/*
 * Makes the block, which is in no list, FREE and one with its free neighbours. `word`: its units, and PREV_FREE.
 * `*units`: of the block that it is part of then. Counts nothing.
 */
int fi_fit_give(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t *units);

/* Makes a USED block one of `units` where it stands, with what it needs of the next one: 1; 0 that is not to be had. */
int fi_fit_resize(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t units);

/* Units of the largest block that fi_fit_find finds for sure. Needs no lock. */
uint64_t fi_fit_largest(const fi_heap_t *h);

/* Changes the counts of the heap, as a part of the step. */
static inline void fi_fit_count(fi_heap_step_t *s, int blocks, uint64_t free_units) {
    fi_heap_memory_t *m = s->h->shared;
    uint64_t old_blocks = fi_load_relaxed64(&m->blocks);
    uint64_t old_units = fi_load_relaxed64(&m->free_units);
    const fi_heap_change_t c[] = {
        {&m->blocks, old_blocks, old_blocks + (uint64_t)blocks},
        {&m->free_units, old_units, old_units + free_units},
    };

    fi_heap_change(s, c, 2);
}

#endif

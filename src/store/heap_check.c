/* SPDX-License-Identifier: MIT
 *
 * heap_check.c - compares all notes of a heap: every block, every list, every count.
 *
 * Others may write while it walks.  A walk through the blocks goes upward by 32 bytes at least; one through lists and
 * bins ends after as many steps as there are blocks of that state.
 */
#include "store/heap_bins.h"

typedef struct walk {
    const fi_heap_t *h;
    uint64_t blocks[4]; /* by state */
    uint64_t units[4];
} walk_t;

static unsigned number_of(uint64_t state) {
    return (unsigned)(state >> 40);
}

static int check_block(walk_t *w, uint64_t at, uint64_t end, uint64_t *word, uint64_t before) {
    const fi_heap_t *h = w->h;
    uint64_t now = fi_load_relaxed64(fi_heap_word(h, at));
    uint64_t units = fi_block_units(now);
    uint64_t state = now & FI_BLOCK_STATE;

    if (!fi_block_is_sound(at, now)) {
        return fi_heap_damaged(h, at, "no block begins where the one before it ends");
    }
    if (units < FI_MIN_UNITS || units > (end - at) / FI_UNIT) {
        return fi_heap_damaged(h, at, "a block reaches beyond the end");
    }
    if (((now & FI_BLOCK_PREV_FREE) != 0) != (before == FI_BLOCK_FREE)) {
        return fi_heap_damaged(h, at, "a block is wrong about the one before it");
    }
    if (state == FI_BLOCK_FREE && before == FI_BLOCK_FREE) {
        return fi_heap_damaged(h, at, "two neighbours are free, and not one block");
    }
    if (state == FI_BLOCK_FREE && fi_load_relaxed64(fi_heap_word(h, at + units * FI_UNIT - 8)) != units) {
        return fi_heap_damaged(h, at, "a free block has another size at its end");
    }
    w->blocks[number_of(state)]++;
    w->units[number_of(state)] += units;
    *word = now;
    return 0;
}

static int check_blocks(walk_t *w, uint64_t end) {
    const fi_heap_t *h = w->h;
    uint64_t before = FI_BLOCK_USED;
    uint64_t last = end - FI_UNIT;

    for (uint64_t at = h->first; at < last;) {
        uint64_t word = 0;
        int r = check_block(w, at, last, &word, before);
        if (r < 0) {
            return r;
        }
        before = word & FI_BLOCK_STATE;
        at += fi_block_units(word) * FI_UNIT;
    }
    uint64_t flag = before == FI_BLOCK_FREE ? FI_BLOCK_PREV_FREE : 0;
    if (fi_load_relaxed64(fi_heap_word(h, last)) != (fi_block_word(last, 1, FI_BLOCK_USED) | flag)) {
        return fi_heap_damaged(h, last, "the end has no word of its own");
    }
    return 0;
}

/* The blocks of one list, or bin, which `left` becomes less by. */
static int check_chain(const fi_heap_t *h, uint64_t *head, uint64_t state, unsigned number, uint64_t *left) {
    uint64_t before = 0;

    for (uint64_t at = fi_load_relaxed64(head); at; at = fi_load_relaxed64(fi_heap_next_link(h, at))) {
        uint64_t word = fi_heap_load_block(h, at, state);
        uint64_t units = fi_block_units(word);
        if (!word || (state == FI_BLOCK_FREE ? fi_fit_class(units) : fi_bin_of(units)) != number) {
            return fi_heap_damaged(h, at, "what stands among free blocks of one size is no such block");
        }
        if (state == FI_BLOCK_FREE && fi_load_relaxed64(fi_heap_previous_link(h, at)) != before) {
            return fi_heap_damaged(h, at, "a free block does not know the one before it in its list");
        }
        if ((*left)-- == 0) {
            *left = 0;
            return fi_heap_damaged(h, at, "there are more free blocks in lists than in the heap");
        }
        before = at;
    }
    return 0;
}

static int check_chains(walk_t *w) {
    fi_heap_memory_t *m = w->h->shared;
    uint64_t *free_left = &w->blocks[number_of(FI_BLOCK_FREE)];
    uint64_t *binned_left = &w->blocks[number_of(FI_BLOCK_BINNED)];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < FI_HEAP_CLASSES; i++) {
        bool is_filled = fi_load_relaxed64(&m->filled[i / 64]) >> i % 64 & 1;
        if (is_filled != (fi_load_relaxed64(&m->lists[i]) != 0)) {
            return fi_heap_damaged(w->h, fi_heap_place_of(w->h, &m->lists[i]), "the map of lists is wrong about one");
        }
        r = check_chain(w->h, &m->lists[i], FI_BLOCK_FREE, i, free_left);
    }
    for (unsigned i = 0; r == 0 && i < FI_HEAP_BINS; i++) {
        r = check_chain(w->h, &m->bins[i], FI_BLOCK_BINNED, i, binned_left);
    }
    if (r == 0 && fi_load_relaxed64(&m->filled[FI_HEAP_CLASSES / 64]) >> FI_HEAP_CLASSES % 64) {
        return fi_heap_damaged(w->h, fi_heap_place_of(w->h, m->filled), "the map knows lists that there are none of");
    }
    if (r == 0 && (*free_left > 0 || *binned_left > 0)) {
        return fi_heap_damaged(w->h, 0, "a free block stands in no list");
    }
    return r;
}

int64_t fi_heap_check(const fi_heap_t *h) {
    fi_heap_memory_t *m = h->shared;
    uint64_t end = fi_heap_end(h);
    walk_t w = {.h = h};

    if (end > h->bytes) {
        return fi_heap_stale();
    }
    if (end % FI_UNIT != 0 || end < h->first + FI_HEAP_LEAST - FI_UNIT) {
        return fi_heap_damaged(h, fi_heap_place_of(h, &m->end), "the heap ends before it begins");
    }
    if (fi_load_relaxed64(&m->noted) != 0) {
        return fi_heap_damaged(h, fi_heap_place_of(h, &m->noted), "a step was left unfinished");
    }
    int r = check_blocks(&w, end);
    if (r < 0) {
        return r;
    }
    uint64_t binned = w.blocks[number_of(FI_BLOCK_BINNED)];
    uint64_t used = w.blocks[number_of(FI_BLOCK_USED)];
    if (fi_load_relaxed64(&m->binned) != binned * FI_BINNED_BLOCK + w.units[number_of(FI_BLOCK_BINNED)] ||
        fi_load_relaxed64(&m->blocks) != binned + used ||
        fi_load_relaxed64(&m->free_units) != w.units[number_of(FI_BLOCK_FREE)]) {
        return fi_heap_damaged(h, fi_heap_place_of(h, &m->blocks), "its counts are wrong");
    }
    r = check_chains(&w);
    return r < 0 ? r : (int64_t)used;
}

void fi_heap_figures(const fi_heap_t *h, fi_heap_figures_t *f) {
    const fi_heap_memory_t *m = h->shared;
    uint64_t binned = fi_load_relaxed64(&m->binned);
    uint64_t free_units = fi_load_relaxed64(&m->free_units) + (binned & FI_BINNED_UNITS);
    uint64_t largest = fi_max(fi_fit_largest(h), fi_bins_largest(h));

    *f = (fi_heap_figures_t){
        .blocks = fi_load_relaxed64(&m->blocks) - binned / FI_BINNED_BLOCK,
        .used = fi_heap_end(h) - h->first - FI_UNIT - free_units * FI_UNIT,
        .free_bytes = free_units * FI_UNIT,
        .largest_free = largest ? largest * FI_UNIT - FI_UNIT : 0,
        .repairs = fi_load_relaxed64(&m->repairs),
    };
}

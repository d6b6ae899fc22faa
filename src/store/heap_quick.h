/* SPDX-License-Identifier: MIT
 *
 * heap_quick.h - the usual case of fi_heap_alloc and fi_heap_free, in one piece each: there is a block in the bin, or
 * room in it.  They make the same checks, and answer false before anything was changed.
 *
 * They are inlined with all that they call, whatever the compiler thinks of it: with calls among them, and the heap
 * read anew behind each barrier, a pair of them costs half as much again.
 */
#ifndef FI_HEAP_QUICK_H
#define FI_HEAP_QUICK_H

#include "store/heap_bins.h"

/* Does this look like the word of a block there? */
static inline __attribute__((always_inline)) bool fi_heap_looks_like_block(const fi_heap_t *h, uint64_t at,
                                                                           uint64_t *word) {
    *word = fi_load_relaxed64(fi_heap_word(h, at));
    return fi_block_is_sound(at, *word);
}

/* Could this place for a reference be the word of a block, or one of the two behind that of a free one? */
static inline __attribute__((always_inline)) bool fi_heap_is_doubtful(const fi_heap_t *h, uint64_t place) {
    uint64_t at = place & ~(uint64_t)(FI_UNIT - 1);
    uint64_t word;

    if (place < h->first) {
        return false;
    }
    return fi_heap_looks_like_block(h, at, &word) ||
           (at > h->first && fi_heap_looks_like_block(h, at - FI_UNIT, &word) &&
            (word & FI_BLOCK_STATE) != FI_BLOCK_USED);
}

/* May a reference stand there, as far as bounds tell? */
static inline bool fi_heap_is_place(const fi_heap_t *h, uint64_t place) {
    return place % 8 == 0 && place != 0 && place <= h->bytes - 8 &&
           place - fi_heap_place_of(h, (const uint64_t *)(const void *)h->shared) >= fi_heap_head_bytes();
}

/* Where the reference goes: to its place, or into the hand. */
static inline uint64_t *fi_heap_where(const fi_heap_t *h, uint32_t hand, uint64_t place) {
    fi_assert(place || hand < FI_HEAP_HANDS);
    return place ? fi_heap_word(h, place) : &h->shared->hands[hand].block;
}

/* As fi_heap_alloc, without flags. */
static inline __attribute__((always_inline)) bool fi_heap_alloc_quick(const fi_heap_t *h, uint32_t hand, uint64_t place,
                                                                      uint64_t bytes, uint64_t *ref) {
    uint64_t units = fi_heap_units(bytes);
    unsigned bin = fi_bin_of(units);

    if (fi_unlikely(bytes == 0 || bin >= FI_HEAP_BINS)) {
        return false;
    }
    uint64_t block = fi_load_relaxed64(&h->shared->bins[bin]);
    uint64_t word = fi_heap_load_block(h, block, FI_BLOCK_BINNED);
    if (fi_unlikely(!word || fi_block_units(word) - units > units / 16)) {
        return false;
    }
    if (place && fi_unlikely(!fi_heap_is_place(h, place) || fi_heap_is_doubtful(h, place))) {
        return false;
    }
    uint64_t *where = fi_heap_where(h, hand, place);
    uint64_t before = fi_load_relaxed64(where);
    if (!place && fi_unlikely(before != 0)) {
        return false;
    }
    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_change_t c[4] = {[3] = {where, before, block + FI_UNIT}};
    fi_bins_pop(h, bin, block, word, c);
    fi_heap_change(&s, c, 4);
    fi_heap_commit(&s);
    *ref = block + FI_UNIT;
    return true;
}

/*
 * With the lock: the word of the USED block there; 0: there is none. What was checked when it came into the hand needs
 * no other check if it is still there: the heap does not become shorter. Others may have changed PREV_FREE meanwhile.
 */
static inline __attribute__((always_inline)) uint64_t fi_heap_load_held(const fi_heap_t *h, uint64_t block,
                                                                        uint64_t held) {
    if (!held) {
        return fi_heap_load_block(h, block, FI_BLOCK_USED);
    }
    uint64_t word = fi_load_relaxed64(fi_heap_word(h, block));
    return fi_likely(((word ^ held) & ~FI_BLOCK_PREV_FREE) == 0) ? word : 0;
}

/* As fi_heap_free. `held`: what fi_heap_hand_hold said of `ref`; 0 with a place. */
static inline __attribute__((always_inline)) bool fi_heap_free_quick(const fi_heap_t *h, uint32_t hand, uint64_t place,
                                                                     uint64_t ref, uint64_t held) {
    if (place && fi_unlikely(!fi_heap_is_place(h, place) || fi_heap_is_doubtful(h, place))) {
        return false;
    }
    uint64_t *where = fi_heap_where(h, hand, place);
    uint64_t before = fi_load_relaxed64(where);
    uint64_t block = (place ? before : ref) - FI_UNIT;
    uint64_t word = fi_heap_load_held(h, block, held);
    unsigned bin = fi_bin_of(fi_block_units(word));

    if (fi_unlikely(!word || bin >= FI_HEAP_BINS || !fi_bins_have_room(h, fi_block_units(word)))) {
        return false;
    }
    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_change_t c[4] = {[0] = {where, before, 0}};
    fi_bins_push(h, bin, block, word, c + 1);
    fi_heap_change(&s, c, 4);
    fi_heap_commit(&s);
    return true;
}

#endif

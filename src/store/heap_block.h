/* SPDX-License-Identifier: MIT
 *
 * heap_block.h - words of blocks: made, and checked before they are believed.
 */
#ifndef FI_HEAP_BLOCK_H
#define FI_HEAP_BLOCK_H

#include <errno.h>

#include "base/bits.h"
#include "store/heap_step.h"

/* The word of the block at `block`; without PREV_FREE. */
static inline uint64_t fi_block_word(uint64_t block, uint64_t units, uint64_t state) {
    uint64_t mixed = (block ^ units << 24) * UINT64_C(0x9e3779b97f4a7c15);

    return (mixed & FI_BLOCK_CHECK) | state | units;
}
static inline uint64_t fi_block_units(uint64_t word) {
    return word & FI_BLOCK_UNITS;
}

/* Is this the word of a block there, of whatever state? Nothing is said about its bounds. */
static inline bool fi_block_is_sound(uint64_t block, uint64_t word) {
    uint64_t state = word & FI_BLOCK_STATE;

    return state != 0 && fi_block_word(block, fi_block_units(word), state) == (word & ~FI_BLOCK_PREV_FREE);
}

/* Can a block begin there, and be followed by another word? */
static inline bool fi_heap_is_block_place(const fi_heap_t *h, uint64_t block) {
    return block % FI_UNIT == 0 && block >= h->first && block <= h->bytes - (FI_MIN_UNITS + 1) * FI_UNIT;
}

/* The word of the block there, read once: it has that state, and lies in the heap with the word behind it. 0: there is
 * none. */
static inline __attribute__((always_inline)) uint64_t fi_heap_load_block(const fi_heap_t *h, uint64_t block,
                                                                         uint64_t state) {
    if (fi_unlikely(!fi_heap_is_block_place(h, block))) {
        return 0;
    }
    uint64_t word = fi_load_relaxed64(fi_heap_word(h, block));
    uint64_t units = fi_block_units(word);
    bool is_whole = units >= FI_MIN_UNITS && units <= (h->bytes - FI_UNIT - block) / FI_UNIT;
    bool is_right = fi_block_word(block, units, state) == (word & ~FI_BLOCK_PREV_FREE);

    return fi_likely(is_whole && is_right) ? word : 0;
}

static inline uint64_t *fi_heap_next_link(const fi_heap_t *h, uint64_t block) {
    return fi_heap_word(h, block + 8);
}
static inline uint64_t *fi_heap_previous_link(const fi_heap_t *h, uint64_t block) {
    return fi_heap_word(h, block + 16);
}

/* Units of a block for so many bytes of the program's; 0: there are none so large. */
static inline uint64_t fi_heap_units(uint64_t bytes) {
    if (fi_unlikely(bytes > FI_MAX_UNITS * FI_UNIT - 2 * FI_UNIT)) {
        return 0;
    }
    return fi_max(FI_MIN_UNITS, (bytes + 2 * FI_UNIT - 1) / FI_UNIT);
}

/* Notes that contradict each other: the step is to be undone. `place`: where. */
int fi_heap_damaged(const fi_heap_t *h, uint64_t place, const char *what) __attribute__((cold));

/* Has the heap grown beyond what this process may look at? */
static inline bool fi_heap_is_stale(const fi_heap_t *h) {
    return fi_heap_end(h) > h->bytes;
}
int fi_heap_stale(void) __attribute__((cold));

#endif

/* SPDX-License-Identifier: MIT
 *
 * heap_layout.h - the bytes of a heap, as all its processes see them.
 *
 * Everything is named by its distance from the mapping's start; 0 is none.
 *
 *   +-- ... --+----------------------------------------------------------+-- ... --+-------+-- ... --+-------+-----+
 *   | others' | head: lock, log, counts, bins, lists by size, hands      | others' | block |         | block | end |
 *   +-- ... --+----------------------------------------------------------+-- ... --+-------+-- ... --+-------+-----+
 *                                                                        first                                  end
 *   a block: a multiple of 16 bytes, at least 32
 *    0               8               16                                       size - 8
 *   +---------------+---------------+----------------------------- ... -----+---------------+
 *   | word          | any           | the program's bytes                                   |   USED
 *   | word          | next          | nothing of ours                                       |   BINNED
 *   | word          | next          | previous      |                       | units         |   FREE
 *   +---------------+---------------+----------------------------- ... -----+---------------+
 *
 *   word:  63            43      42       41   40 39                  0
 *         +----------------+----------+---------+----------------------+
 *         | check          |PREV_FREE | state   | units of 16 bytes    |
 *         +----------------+----------+---------+----------------------+
 *
 *   state      means                                                       it stands in
 *   USED       somebody's; or the 16 bytes at the heap's end                nothing
 *   FREE       free, and its neighbours are not: they would be one block    the list of its size (heap_fit.c)
 *   BINNED     free, and ready to be handed out again as it is              the bin of its size (heap_bins.c)
 *
 * PREV_FREE: the block before is FREE, and the 8 bytes before this word are its units.  A reference is that of a
 * block's first byte for the program, 16 behind its word.  The check is made of place and units: a word that is not one
 * of ours, or was one once and has been moved with its bytes, passes by chance once in two million times.
 */
#ifndef FI_HEAP_LAYOUT_H
#define FI_HEAP_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "sync/mutex.h"

#define FI_UNIT 16u     /* bytes */
#define FI_MIN_UNITS 2u /* of a block, with its header */
#define FI_MAX_UNITS ((UINT64_C(1) << 40) - 1)

#define FI_BLOCK_UNITS FI_MAX_UNITS /* mask */
#define FI_BLOCK_USED (UINT64_C(1) << 40)
#define FI_BLOCK_FREE (UINT64_C(2) << 40)
#define FI_BLOCK_BINNED (UINT64_C(3) << 40)
#define FI_BLOCK_STATE (UINT64_C(3) << 40)
#define FI_BLOCK_PREV_FREE (UINT64_C(1) << 42)
#define FI_BLOCK_CHECK (~UINT64_C(0) << 43)

#define FI_HEAP_NOTES 31u /* the longest step needs fewer: see heap_step.h */
#define FI_HEAP_HANDS 1000u
#define FI_HEAP_EXACT_BINS 64u                       /* one for each size: blocks of 2 to 65 units */
#define FI_HEAP_BINS (FI_HEAP_EXACT_BINS + 7u * 16u) /* then 16 for each doubling, to 8191 units */
#define FI_HEAP_CLASSES (37u * 16u)                  /* 16 for each doubling, to FI_MAX_UNITS */

/* A word that the step under way has changed, or is about to change, and what it was before. */
typedef struct fi_heap_note {
    uint64_t place;
    uint64_t old;
} fi_heap_note_t;

/* What one handle has in hand: a block that it has taken and not yet handed out, or is about to give back. */
typedef struct fi_heap_hand {
    uint64_t owner; /* as the caller names it; 0: nobody */
    uint64_t block; /* a reference */
} fi_heap_hand_t;

typedef struct fi_heap_memory {
    fi_mutex_t lock; /* the caller's: nothing here touches it */
    uint64_t lock_pad[6];
    uint64_t noted;  /* notes that count; 0: no step is under way */
    uint64_t binned; /* units in bins, and from bit 40 on, blocks */
    fi_heap_note_t notes[FI_HEAP_NOTES];
    uint64_t end;        /* of heap space */
    uint64_t blocks;     /* that are not FREE */
    uint64_t free_units; /* in FREE blocks */
    uint64_t repairs;    /* steps undone after a death */
    uint64_t victim;     /* the bin that is emptied when they hold too much. A hint, and in no step */
    uint64_t reserved;
    uint64_t filled[(FI_HEAP_CLASSES + 63) / 64]; /* a bit for each class whose list is not empty */
    uint64_t bins[FI_HEAP_BINS];                  /* first block of each */
    uint64_t lists[FI_HEAP_CLASSES];              /* first block of each */
    fi_heap_hand_t hands[FI_HEAP_HANDS];
} fi_heap_memory_t;

_Static_assert(offsetof(fi_heap_memory_t, noted) == 64, "the lock has a line of its own");
_Static_assert(offsetof(fi_heap_memory_t, notes) == 80, "the quick way's notes begin on the line of their count");
_Static_assert(offsetof(fi_heap_memory_t, end) == 576, "the log ends with a line");
_Static_assert(offsetof(fi_heap_memory_t, filled) == 624, "layout");
_Static_assert(offsetof(fi_heap_memory_t, bins) == 704, "bins begin on a line");
_Static_assert(offsetof(fi_heap_memory_t, lists) == 2112, "lists begin on a line");
_Static_assert(offsetof(fi_heap_memory_t, hands) == 6848, "hands begin on a line");
_Static_assert(sizeof(fi_heap_memory_t) == 22848, "layout");
_Static_assert(FI_HEAP_CLASSES % 64 != 0, "the last word of the map has bits that stand for no list");
_Static_assert(__atomic_always_lock_free(8, 0), "64-bit words must be lock-free between processes");

#endif

/* SPDX-License-Identifier: MIT
 *
 * heap.h - an allocator inside memory that many processes map, each at another address, and all may write.
 *
 * It knows nothing but these bytes: it takes no lock, never waits, makes no system call.  Who calls holds the heap's
 * lock (`shared->lock`), except where it says otherwise.  A process may be killed at any instruction; whoever takes the
 * lock from a dead one calls fi_heap_recover before anything else, and may be killed in that, too.
 *
 * No block is lost by a death.  There are two ways, by where the reference to a block stands:
 *   place   a word in the region: it changes in the same step as the heap.  Before or after, never in between.
 *   hand    a variable of the program's, which the heap cannot see: then a block that is on its way from or to the
 *           program is noted in the caller's entry of the table of hands, and freed from there after its death.
 *
 * What other processes may have written is not believed.  -EPROTO comes with a sentence that says what is wrong, and
 * where; the step is then undone.  -ESTALE: the heap has grown beyond `bytes`; raise it, and call again.
 */
#ifndef FI_HEAP_H
#define FI_HEAP_H

#include <stdbool.h>

#include "store/heap_layout.h"

/* A heap as one process sees it. */
typedef struct fi_heap {
    char *base;               /* the mapping */
    fi_heap_memory_t *shared; /* in it, aligned to 64 */
    uint64_t first;           /* where heap space begins, behind `shared`; a multiple of 16 */
    uint64_t bytes;   /* how far this process may look: what it has checked to be there. Raised under the lock */
    const char *name; /* of the region, for sentences */
} fi_heap_t;

static inline size_t fi_heap_head_bytes(void) {
    return sizeof(fi_heap_memory_t);
}
/* Smallest heap space. */
#define FI_HEAP_LEAST 64u

/* Makes a heap of [first, bytes) in zero memory, before anybody else sees it. -EINVAL: too small. */
int fi_heap_init(const fi_heap_t *h);

/* How far the heap reaches, as is written there. */
static inline uint64_t fi_heap_end(const fi_heap_t *h) {
    return fi_load_relaxed64(&h->shared->end);
}

/* ---- blocks ---- */

enum fi_heap_answer {
    FI_HEAP_DONE = 0,
    FI_HEAP_MOVES = 1 /* fi_heap_resize: to be copied, then fi_heap_moved */
};

/* For fi_heap_alloc: only if 0 stands in the place. */
#define FI_HEAP_IF_NONE 1u

/*
 * A block of at least `bytes` bytes; its reference comes in `*ref`, and at `place`, or, if that is 0, in the hand:
 * the caller stores it where the program wants it, and then calls fi_heap_hand_done.
 * -EINVAL 0 bytes, or no place for a reference; -ENOSPC; -EEXIST (FI_HEAP_IF_NONE) there is one, which comes in `*ref`;
 * -EPROTO, -ESTALE.
 */
int fi_heap_alloc(const fi_heap_t *h, uint32_t hand, uint64_t place, unsigned flags, uint64_t bytes, uint64_t *ref);

/*
 * Frees the block that `place` refers to, which becomes 0 (0 there is allowed); with `place` 0 the block `ref`, for
 * which the caller has called fi_heap_hand_hold. The hand is empty afterwards, also after an error.
 * -EINVAL no block, or a free one; -EPROTO; -ESTALE, and then the hand is as it was.
 */
int fi_heap_free(const fi_heap_t *h, uint32_t hand, uint64_t place, uint64_t ref);

/* A block that could not grow where it stands. */
typedef struct fi_heap_move {
    uint64_t from, to;
    uint64_t bytes; /* to be copied */
} fi_heap_move_t;

/*
 * Makes the block `*ref` (that at `place`, if `place` is not 0) one of at least `bytes` bytes; `*ref` is where it is
 * then. 0 there: as fi_heap_alloc. FI_HEAP_MOVES: a new block is in the hand (in both ways); the caller copies
 * `move->bytes` bytes, and then calls fi_heap_moved. Better with the lock held all the time; who gave it back, and does
 * not get it again, must call fi_heap_drop before this hand is used for anything else.
 * Errors as fi_heap_alloc and fi_heap_free; the block is then as it was.
 */
int fi_heap_resize(const fi_heap_t *h, uint32_t hand, uint64_t place, uint64_t bytes, uint64_t *ref,
                   fi_heap_move_t *move);
/*
 * One step: the old block is freed, and the reference is the new one's: that at `place` (and the hand is empty), or
 * that in the hand, until fi_heap_hand_done. -EINVAL the block to be moved is none any more, or another one stands at
 * `place`: the new one is given back.
 */
int fi_heap_moved(const fi_heap_t *h, uint32_t hand, uint64_t place, const fi_heap_move_t *move);

/* Bytes for the program in the block; 0: no block. */
uint64_t fi_heap_block_size(const fi_heap_t *h, uint64_t ref);

/* ---- the heap as a whole ---- */

/* [old end, bytes) becomes free space, up to what this process may look at; less than 32 bytes more are left alone.
 * -EPROTO. */
int fi_heap_extend(const fi_heap_t *h, uint64_t bytes);

/*
 * Undoes the step that a dead one left unfinished, if there is one. The caller has raised `bytes` before to what is
 * there. May be repeated.
 */
void fi_heap_recover(const fi_heap_t *h);

/* Makes free blocks that wait in the bins part of the free space around them, one step for each. */
int fi_heap_empty_bins(const fi_heap_t *h);

/* Walks everything, and compares all notes. Allocated blocks, or -EPROTO, -ESTALE. */
int64_t fi_heap_check(const fi_heap_t *h);

typedef struct fi_heap_figures {
    uint64_t blocks;       /* allocated */
    uint64_t used;         /* bytes in them, with their headers */
    uint64_t free_bytes;   /* in free blocks, with their headers */
    uint64_t largest_free; /* a block of so many bytes can be had */
    uint64_t repairs;      /* steps that were undone after a death */
} fi_heap_figures_t;

/* Needs no lock; without it, the figures may not fit together. */
void fi_heap_figures(const fi_heap_t *h, fi_heap_figures_t *f);

/* ---- hands ----
 *
 * What is in a hand is in nobody else's: only its owner puts a block there, and nobody but he knows that block before
 * it leaves the hand (alloc), or after it came there (free).  So after his death it can be freed without a
 * look at what others do.  What is no allocated block at that time is forgotten.
 */

/* A hand that nobody owns becomes `owner`'s (not 0). Needs no lock. -EUSERS: all of them are taken. */
int fi_heap_hand_take(const fi_heap_t *h, uint64_t owner, uint32_t *hand);

/* Whose it is; 0: nobody's. Needs no lock. */
static inline uint64_t fi_heap_hand_owner(const fi_heap_t *h, uint32_t hand) {
    return fi_load_relaxed64(&h->shared->hands[hand].owner);
}

/*
 * Before the lock is taken for fi_heap_free without a place: if that is a block, it is in the hand from now on. Who
 * then does not get the lock calls fi_heap_hand_done: the program keeps it. The block's word, for fi_heap_free_quick;
 * 0: it is none.
 */
uint64_t fi_heap_hand_hold(const fi_heap_t *h, uint32_t hand, uint64_t ref);

/* The program has its reference, or keeps it. The last thing before the return to it; needs no lock. */
static inline void fi_heap_hand_done(const fi_heap_t *h, uint32_t hand) {
    fi_compiler_barrier();
    fi_store_relaxed64(&h->shared->hands[hand].block, 0);
}

/* Frees what is in the hand, if there is anything. */
int fi_heap_drop(const fi_heap_t *h, uint32_t hand);

/*
 * Frees what `owner` had in hand, and makes it nobody's; if it is not his (any more), nothing happens. For his end, and
 * after his death. On -EPROTO, too, the hand is nobody's afterwards; not on -ESTALE.
 */
int fi_heap_reclaim(const fi_heap_t *h, uint32_t hand, uint64_t owner);

#endif

/* SPDX-License-Identifier: MIT
 *
 * heap_step.h - a step: several words of the region that change as one, whoever is killed in between.
 *
 * Before a word is changed, its place and its old value go into the log, and then the number of notes that count is
 * raised. A step is over (commit) when that number becomes 0.  Until then fi_heap_undo puts all old values back, latest
 * first, since a word may have been changed twice.  It stores nothing that depends on how far it got, so it may be
 * killed and begun again.
 *
 * Order.  A killed process stops between two of its instructions: all stores before that one happen, none behind it
 * does, and the next one to hold the lock sees them, for it learns of the death from the kernel.  So it is the compiler
 * that must keep the order of three stores: note, number, word; and all words before the last number, 0.  Words and
 * notes are written by fi_store_relaxed64 with fi_compiler_barrier between.  A processor that lets its stores be seen
 * in another order does no harm: nobody but the next one to hold the lock looks.
 *
 * Length.  No step has a loop in it.  The longest one moves a reference to another block and frees the old one, which
 * has a free block on either side: place and hand 2; counts 2; both neighbours out of their lists 4 (each time: the
 * link or head that leads to it, and the link that leads back, or the bit of an empty list); words 2, that are none any
 * more; and the new block's word, units, links, list, and neighbour in it, or the bit of its list, 6.  16.  As many
 * empty a bin's block.
 */
#ifndef FI_HEAP_STEP_H
#define FI_HEAP_STEP_H

#include "base/assert.h"
#include "base/atomic.h"
#include "store/heap.h"

typedef struct fi_heap_step {
    const fi_heap_t *h;
    uint64_t noted;
} fi_heap_step_t;

static inline fi_heap_step_t fi_heap_begin(const fi_heap_t *h) {
    return (fi_heap_step_t){.h = h, .noted = 0};
}

/* A word of the region; the caller has checked that it is in there. */
static inline uint64_t *fi_heap_word(const fi_heap_t *h, uint64_t place) {
    return (uint64_t *)(void *)(h->base + place);
}
static inline uint64_t fi_heap_place_of(const fi_heap_t *h, const uint64_t *word) {
    return (uint64_t)((const char *)word - h->base);
}

/* Changes a word as a part of the step. */
static inline void fi_heap_set(fi_heap_step_t *s, uint64_t *word, uint64_t value) {
    fi_heap_memory_t *m = s->h->shared;
    fi_heap_note_t *note = &m->notes[s->noted];

    fi_assert(s->noted < FI_HEAP_NOTES);
    fi_store_relaxed64(&note->place, fi_heap_place_of(s->h, word));
    fi_store_relaxed64(&note->old, fi_load_relaxed64(word));
    fi_compiler_barrier();
    fi_store_relaxed64(&m->noted, ++s->noted);
    fi_compiler_barrier();
    fi_store_relaxed64(word, value);
}

typedef struct fi_heap_change {
    uint64_t *word;
    uint64_t old; /* as it was read */
    uint64_t value;
} fi_heap_change_t;

/* Several words at once, which is quicker: all notes, their number, all words. `n` is a constant where this is
 * inlined. */
static inline __attribute__((always_inline)) void fi_heap_change(fi_heap_step_t *s, const fi_heap_change_t *c,
                                                                 unsigned n) {
    fi_heap_memory_t *m = s->h->shared;

    fi_assert(s->noted + n <= FI_HEAP_NOTES);
#pragma GCC unroll 8
    for (unsigned i = 0; i < n; i++) {
        fi_store_relaxed64(&m->notes[s->noted + i].place, fi_heap_place_of(s->h, c[i].word));
        fi_store_relaxed64(&m->notes[s->noted + i].old, c[i].old);
    }
    s->noted += n;
    fi_compiler_barrier();
    fi_store_relaxed64(&m->noted, s->noted);
    fi_compiler_barrier();
#pragma GCC unroll 8
    for (unsigned i = 0; i < n; i++) {
        fi_store_relaxed64(c[i].word, c[i].value);
    }
}

static inline void fi_heap_commit(const fi_heap_step_t *s) {
    fi_compiler_barrier();
    fi_store_relaxed64(&s->h->shared->noted, 0);
}

/* Everything is again as it was before the step. */
void fi_heap_undo(const fi_heap_t *h);

/* The end of a step: commits it, or, with an error, undoes it. */
static inline int fi_heap_end_step(const fi_heap_step_t *s, int r) {
    if (fi_unlikely(r < 0)) {
        fi_heap_undo(s->h);
    } else {
        fi_heap_commit(s);
    }
    return r;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * published_marks.h - which parts of a region have changed: one bit for each granule, and one for each word of those.
 *
 *     groups   0 1 0 0 ...             bit w: word w is not 0
 *     words    [0][01100000...][0]...  bit g: granule g is marked
 *
 * So it takes no longer to look through a large region of which little has changed than through a small one: for 1 GiB,
 * 32 KiB of groups.
 *
 * A granule is one cache line.  Larger ones were slower wherever small things change here and there (each line of a
 * granule is fetched from memory, twice), and not quicker where pages do: marks are read 64 at a time, and neighbours
 * are copied together.
 */
#ifndef FI_PUBLISHED_MARKS_H
#define FI_PUBLISHED_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define FI_GRANULE 64u

typedef struct fi_marks {
    uint64_t *words;
    uint64_t *groups;
    uint64_t count; /* of granules */
} fi_marks_t;

/* For `bytes` bytes, none of them marked. Error: -ENOMEM. */
int fi_marks_init(fi_marks_t *m, uint64_t bytes);
void fi_marks_done(fi_marks_t *m);

/* Marks granules `first` to `last`, which lie inside. */
void fi_marks_add_many(fi_marks_t *m, uint64_t first, uint64_t last);

/* Marks what has any of the bytes from `at` to `at + bytes`, which lie inside; `bytes` is not 0. */
static inline void fi_marks_add(fi_marks_t *m, uint64_t at, uint64_t bytes) {
    uint64_t first = at / FI_GRANULE;
    uint64_t last = (at + bytes - 1) / FI_GRANULE;

    if (fi_likely(first == last)) {
        m->words[first / 64] |= 1ull << first % 64;
        m->groups[first / 4096] |= 1ull << first / 64 % 64;
        return;
    }
    fi_marks_add_many(m, first, last);
}

/* Marks in `into` what is marked in `from`, too; both are for as many bytes. */
void fi_marks_join(fi_marks_t *into, const fi_marks_t *from);

/* The next run of marked granules from granule `from` on: `*first`, and how many. False: there is none. */
bool fi_marks_next(const fi_marks_t *m, uint64_t from, uint64_t *first, uint64_t *count);
/* Nothing is marked any more. */
void fi_marks_clear(fi_marks_t *m);

/*
 * Copies what is marked in `a` or `b` from `from` to `to`, `bytes` bytes both and aligned to granules, and takes the
 * marks away. Returns how many bytes were copied. When it returns, others may be told to read them.
 */
uint64_t fi_marks_copy(fi_marks_t *a, fi_marks_t *b, void *to, const void *from, uint64_t bytes);

#endif

/* SPDX-License-Identifier: MIT
 *
 * rotation.h - which of a pool's large blocks is written next: how long ago it was released.
 *
 * What was released last is still in the caches of the reader's own core, and each line must be fetched from there.
 * What was released some MiB ago has left those, but not what cores near each other share.  So a pool has some MiB of
 * large blocks at least, and takes turns among those that were released last: *narrow*.
 *
 * Cores far from each other share nothing: then the lines are the reader's for as long as its caches hold them, and
 * fetching them is slower than memory is: 2.5 GB/s beside 14.  Then what was released first is taken, among more memory
 * than caches hold: *wide*.  Which of the two is better depends on where the system runs both sides, and changes.  So
 * it is measured, by how fast blocks are taken one after the other: narrow is the rule; where that is slow, wide is
 * tried now and then, and kept while it is much faster.  A program that pauses is slow for another reason; it tries
 * ever more seldom.
 */
#ifndef FI_ROTATION_H
#define FI_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

#define FI_ROTATION_NARROW (UINT64_C(4) << 20) /* bytes: more than the caches of one core hold */
#define FI_ROTATION_WIDE (UINT64_C(64) << 20)  /* bytes: more than the caches of a core's neighbours hold */
#define FI_ROTATION_FIRST (UINT64_C(1) << 30)  /* bytes that are taken before wide is tried for the first time */
#define FI_ROTATION_REST (UINT64_C(16) << 30)  /* and between looks whether wide is still better */
#define FI_ROTATION_LAST (UINT64_C(256) << 30) /* at most, after trials in vain */
#define FI_ROTATION_STRIDE 8u                  /* blocks between two looks at the clock */

typedef struct fi_rotation {
    uint64_t near;      /* bytes that take part when it is narrow */
    uint64_t span;      /* bytes that take part when it is wide; 0: the quota is too small for that */
    bool wide;          /* what was released first is taken next */
    bool trying;        /* and that was changed to see whether it is better */
    uint64_t bytes;     /* taken since it was changed, or decided to stay */
    uint64_t patience;  /* of these, before the other way is tried */
    uint64_t in_vain;   /* patience for wide, if it was tried in vain */
    uint64_t pace;      /* ns for a MiB the way it is, or was before the other one is tried */
    uint64_t best;      /* of the newest few strides */
    uint64_t sum;       /* of the best of each few */
    unsigned strides;   /* in these */
    unsigned blocks;    /* in the newest stride */
    uint64_t in_stride; /* their bytes */
    int64_t since;      /* when it began; 0: it is the first one */
} fi_rotation_t;

void fi_rotation_init(fi_rotation_t *r, uint64_t quota);

/* Bytes that take part, if blocks have `bytes`. */
static inline uint64_t fi_rotation_reach(const fi_rotation_t *r, uint64_t bytes) {
    return r->wide && bytes <= r->span / 4 ? r->span : r->near;
}

/* A block has been taken. True: a stride is full, fi_rotation_tell is to be called. */
static inline bool fi_rotation_asks(fi_rotation_t *r, uint64_t bytes) {
    if (bytes > r->span / 4) {
        return false;
    }
    r->in_stride += bytes;
    return ++r->blocks == FI_ROTATION_STRIDE;
}

/* It is `now`. True: it has become narrow again, and does not need the memory any more that wide had. */
bool fi_rotation_tell(fi_rotation_t *r, int64_t now);

#endif

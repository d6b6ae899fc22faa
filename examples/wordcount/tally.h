/* SPDX-License-Identifier: MIT
 *
 * tally.h - how often each word was seen, in a region: a hash table that several threads and processes fill at once.
 *
 *     first[0] ──► word ──► word          each word is a block of the region; what leads to the next one is a reference,
 *     first[1]                            since every process has the region at another address
 *     first[2] ──► word
 *     ...                                 a lock for each of 16 groups of chains stands beside them
 */
#ifndef TALLY_H
#define TALLY_H

#include "words.h"

#include <ferry/ferry.h>

#define TALLY_CHAINS 65536u
#define TALLY_LOCKS 16u

/** Its part of the region's root object; zero is an empty one. */
typedef struct tally_root {
    uint64_t lock[TALLY_LOCKS][FERRY_LOCK_BYTES / 8];
    ferry_ref_t first[TALLY_CHAINS];
} tally_root_t;

/** As one thread has it open. */
typedef struct tally {
    ferry_region_t *region;
    tally_root_t *root;
    ferry_mutex_t *lock[TALLY_LOCKS];
} tally_t;

/** Opens the tally that stands at `root` in the region. Negative errno as ferry_mutex_open_in; closed by
 * tally_close. */
int tally_open(tally_t *t, ferry_region_t *region, tally_root_t *root);
void tally_close(tally_t *t);

/** Adds a word's count. Negative errno as ferry_region_alloc and ferry_mutex_lock; -EOWNERDEAD one who added has
 * died. */
int tally_add(tally_t *t, const word_record_t *word, int64_t timeout);

/**
 * All words, where they stand in the region, in the order of `LC_ALL=C sort`; to be freed by the caller. Nobody may add
 * meanwhile. NULL: no memory.
 */
const word_record_t **tally_sorted(const tally_t *t, size_t *n);

#endif

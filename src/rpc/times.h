/* SPDX-License-Identifier: MIT
 *
 * rpc/times.h - how long calls take: counts by size, eight for each doubling, so that a percentile is right to within
 * an eighth (the idea of HdrHistogram, Gil Tene).  One thread adds, any thread reads.
 */
#ifndef FI_RPC_TIMES_H
#define FI_RPC_TIMES_H

#include <stdint.h>

#include "base/atomic.h"
#include "base/bits.h"

#define FI_TIMES_STEPS 8u
#define FI_TIMES (FI_TIMES_STEPS * 42u) /* up to an hour */

typedef struct fi_times {
    uint32_t counts[FI_TIMES];
} fi_times_t;

static inline uint32_t fi_times_place(uint64_t ns) {
    uint64_t n = ns < FI_TIMES_STEPS ? FI_TIMES_STEPS : ns;
    uint32_t doubling = 63u - (uint32_t)__builtin_clzll(n); /* 3 or more */
    uint32_t place = (doubling - 3u) * FI_TIMES_STEPS + (uint32_t)(n >> (doubling - 3u)) % FI_TIMES_STEPS;

    return place < FI_TIMES ? place : FI_TIMES - 1;
}

static inline void fi_times_add(fi_times_t *t, uint64_t ns) {
    uint32_t *count = &t->counts[fi_times_place(ns)];

    fi_store_relaxed32(count, *count + 1);
}

/* The upper end of a place, in ns. */
static inline uint64_t fi_times_value(uint32_t place) {
    return (uint64_t)(FI_TIMES_STEPS + place % FI_TIMES_STEPS + 1) << (place / FI_TIMES_STEPS);
}

/* Adds what `from` has counted to `sums`. */
static inline void fi_times_sum(const fi_times_t *from, uint64_t sums[FI_TIMES]) {
    for (uint32_t i = 0; i < FI_TIMES; i++) {
        sums[i] += fi_load_relaxed32(&from->counts[i]);
    }
}

/* What `permille` of the calls did not exceed; 0: there were none. */
static inline uint64_t fi_times_percentile(const uint64_t sums[FI_TIMES], uint64_t permille) {
    uint64_t all = 0;
    uint64_t below = 0;

    for (uint32_t i = 0; i < FI_TIMES; i++) {
        all += sums[i];
    }
    for (uint32_t i = 0; i < FI_TIMES; i++) {
        below += sums[i];
        if (all > 0 && below * 1000 >= all * permille) {
            return fi_times_value(i);
        }
    }
    return 0;
}

#endif

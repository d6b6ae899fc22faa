/* SPDX-License-Identifier: MIT
 *
 * base/bits.h - small arithmetic on 64-bit numbers.
 */
#ifndef FI_BASE_BITS_H
#define FI_BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool fi_is_power_of_2(uint64_t n) {
    return n != 0 && (n & (n - 1)) == 0;
}

/** Rounds up to a multiple of `align`, a power of two. The caller keeps n + align below 2^64. */
static inline uint64_t fi_align_up(uint64_t n, uint64_t align) {
    return (n + align - 1) & ~(align - 1);
}

static inline uint64_t fi_min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t fi_max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/** Largest k with 2^k <= n; n must not be 0. */
static inline unsigned fi_log2(uint64_t n) {
    return 63U - (unsigned)__builtin_clzll(n);
}

/** Smallest power of two that is at least n; n from 1 to 2^63. */
static inline uint64_t fi_power_of_2_above(uint64_t n) {
    return n <= 1 ? 1 : UINT64_C(1) << (fi_log2(n - 1) + 1);
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * base/copy.h - copying few bytes: mostly some words, for which a call of memcpy would cost more than the copy.
 *
 * Each size is two pieces of a fixed size, the first and the last one, which may overlap.
 */
#ifndef FI_BASE_COPY_H
#define FI_BASE_COPY_H

#include <stdint.h>
#include <string.h>

#define FI_COPY_FEW 128u

static inline void fi_copy_ends(unsigned char *to, const unsigned char *from, uint64_t n, uint64_t piece) {
    memcpy(to, from, piece);
    memcpy(to + n - piece, from + n - piece, piece);
}

static inline void fi_copy_under_16(unsigned char *to, const unsigned char *from, uint64_t n) {
    if (n >= 8) {
        fi_copy_ends(to, from, n, 8);
    } else if (n >= 4) {
        fi_copy_ends(to, from, n, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

/* FI_COPY_FEW at most. */
static inline void fi_copy_few(unsigned char *to, const unsigned char *from, uint64_t n) {
    if (n > 64) {
        fi_copy_ends(to, from, n, 64);
    } else if (n >= 32) {
        fi_copy_ends(to, from, n, 32);
    } else if (n >= 16) {
        fi_copy_ends(to, from, n, 16);
    } else {
        fi_copy_under_16(to, from, n);
    }
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * base/checksum.h - FNV-1a over eight bytes at a time: catches accidents, which is all that FERRY_CHECK=1 is for.
 */
#ifndef FI_BASE_CHECKSUM_H
#define FI_BASE_CHECKSUM_H

#include <stdint.h>
#include <string.h>

static inline uint64_t fi_checksum(const unsigned char *p, uint64_t n) {
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ n;
    uint64_t word = 0;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * UINT64_C(0x100000001b3);
    }
    word = 0;
    memcpy(&word, p, n);
    return (h ^ word) * UINT64_C(0x100000001b3);
}

#endif

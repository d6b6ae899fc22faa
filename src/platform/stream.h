/* SPDX-License-Identifier: MIT
 *
 * platform/stream.h - copying past the caches, for memory that is larger than they are.
 *
 * An ordinary store first reads the line that it changes.  Where whole lines are written and nobody will look at them
 * soon, that reading is half of the work.  Stores of this kind are not ordered with others: before others may read what
 * was written, fi_stream_end must be called.
 */
#ifndef FI_PLATFORM_STREAM_H
#define FI_PLATFORM_STREAM_H

#include <stddef.h>
#include <string.h>

#include "platform/cpu.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/** Copies whole lines; both addresses are aligned to them. */
static inline void fi_stream_lines(void *to, const void *from, size_t bytes) {
#if defined(__SSE2__)
    const __m128i *source = from;
    __m128i *target = to;
    for (size_t i = 0; i < bytes / sizeof *source; i += 4) {
        __m128i a = _mm_load_si128(&source[i]), b = _mm_load_si128(&source[i + 1]);
        __m128i c = _mm_load_si128(&source[i + 2]), d = _mm_load_si128(&source[i + 3]);
        _mm_stream_si128(&target[i], a);
        _mm_stream_si128(&target[i + 1], b);
        _mm_stream_si128(&target[i + 2], c);
        _mm_stream_si128(&target[i + 3], d);
    }
#else
    memcpy(to, from, bytes);
#endif
}

/** Everything that was streamed comes before what is stored from now on. */
static inline void fi_stream_end(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

#endif

/* SPDX-License-Identifier: MIT */
#include "bench/payload.h"

/* As loops that matter in any program would be: each in as few lines of code as can be. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("align-loops=64")
#endif

__attribute__((noinline)) void bench_long_fill(unsigned char *p, size_t lines, uint64_t word) {
    bench_lines_fill(p, lines, word);
}

__attribute__((noinline)) uint64_t bench_long_check(const unsigned char *p, size_t lines, uint64_t word) {
    return bench_lines_check(p, lines, word);
}

/* SPDX-License-Identifier: MIT */
#include "ring/ring_copy.h"

__attribute__((no_sanitize("thread"), noinline)) void fi_copy_racing(unsigned char *to, const unsigned char *from,
                                                                     size_t n) {
    volatile unsigned char *out = to;
    const volatile unsigned char *in = from;
    size_t i = 0;

    /* Both sides begin at multiples of 8 wherever a ring is concerned; the program's side may not. */
    for (; i + 8 <= n && ((uintptr_t)to | (uintptr_t)from) % 8 == 0; i += 8) {
        *(volatile uint64_t *)(volatile void *)(out + i) = *(const volatile uint64_t *)(const volatile void *)(in + i);
    }
    for (; i < n; i++) {
        out[i] = in[i];
    }
}

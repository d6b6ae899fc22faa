/* SPDX-License-Identifier: MIT
 *
 * The limit of getting a value when nobody writes: a plain copy.
 */
#include "bench/values.h"

int bench_copy_put(void *value, const void *from, size_t size) {
    memcpy(value, from, size);
    return 0;
}

static int get(void *value, void *to, size_t size, uint64_t *version) {
    __asm__ volatile("" : "+r"(value)::"memory"); /* the bytes may have changed: each copy must take place */
    memcpy(to, value, size);
    *version = 0;
    return 0;
}

int bench_copy_gets(void *value, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_value_gets(get, bench_copy_put, value, count, waits);
}

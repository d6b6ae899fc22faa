/* SPDX-License-Identifier: MIT
 *
 * The limit of a value that one puts and others get: a sequence lock. Who puts it and dies leaves the others stuck.
 */
#include "bench/values.h"

int bench_seqlock_put(void *value, const void *from, size_t size) {
    bench_seqlock_t *lock = value;
    uint64_t count = atomic_load_explicit(&lock->count, memory_order_relaxed);

    atomic_store_explicit(&lock->count, count + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(lock->bytes, from, size);
    atomic_store_explicit(&lock->count, count + 2, memory_order_release);
    return 0;
}

static int get(void *value, void *to, size_t size, uint64_t *version) {
    bench_seqlock_t *lock = value;
    uint64_t count;

    do {
        while (((count = atomic_load_explicit(&lock->count, memory_order_acquire)) & 1) != 0) {
        }
        memcpy(to, lock->bytes, size);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(&lock->count, memory_order_relaxed) != count);
    *version = count / 2;
    return 0;
}

int bench_seqlock_puts(void *value, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_value_puts(bench_seqlock_put, value, count, waits);
}

int bench_seqlock_gets(void *value, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_value_gets(get, bench_seqlock_put, value, count, waits);
}

int bench_seqlock_tell(void *value) {
    return bench_value_put(bench_seqlock_put, value, NULL);
}

int bench_seqlock_hear(void *value) {
    bench_value_t *v = value;
    bench_seqlock_t *lock = v->value;

    while (atomic_load_explicit(&lock->count, memory_order_relaxed) / 2 == v->version) {
    }
    return bench_value_get(get, v, NULL);
}

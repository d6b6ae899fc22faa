/* SPDX-License-Identifier: MIT
 *
 * The limit of a blocking round trip: each side sleeps on a futex until the other one has stored and woken.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/limits.h"

static const uint32_t stop = UINT32_MAX;

static void tell(_Atomic uint32_t *word, uint32_t value, int kind) {
    atomic_store_explicit(word, value, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE | kind, 1, NULL, NULL, 0);
}

/* The word's value once it is no longer `last`. */
static uint32_t hear(_Atomic uint32_t *word, uint32_t last, int kind) {
    uint32_t value;

    while ((value = atomic_load_explicit(word, memory_order_acquire)) == last)
        syscall(SYS_futex, word, FUTEX_WAIT | kind, last, NULL, NULL, 0);
    return value;
}

void bench_futex_ping(bench_futex_t *futex, bool between_threads, bench_trips_t *trips) {
    int kind = between_threads ? FUTEX_PRIVATE_FLAG : 0;
    uint32_t last = atomic_load_explicit(&futex->pong, memory_order_acquire);
    uint32_t n = 0;

    do {
        tell(&futex->ping, ++n, kind);
        last = hear(&futex->pong, last, kind);
    } while (bench_trips_add(trips));
    tell(&futex->ping, stop, kind);
    hear(&futex->pong, last, kind);
}

void bench_futex_pong(bench_futex_t *futex, bool between_threads) {
    int kind = between_threads ? FUTEX_PRIVATE_FLAG : 0;
    uint32_t last = stop; /* as in limit_line.c */

    do {
        last = hear(&futex->ping, last, kind);
        tell(&futex->pong, last, kind);
    } while (last != stop);
}

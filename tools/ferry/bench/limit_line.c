/* SPDX-License-Identifier: MIT
 *
 * The limit of a round trip: a store on one core, seen on another one, answered by a store there. Nothing else.
 */
#include "bench/limits.h"

static const uint64_t stop = UINT64_MAX;

static void wait_for(const _Atomic uint64_t *word, uint64_t value) {
    while (atomic_load_explicit(word, memory_order_acquire) != value) {
    }
}

void bench_line_ping(bench_line_t *line, const bench_line_t *view, bench_trips_t *trips) {
    uint64_t n = 0;

    do {
        atomic_store_explicit(&line->ping, ++n, memory_order_release);
        wait_for(&view->pong, n);
    } while (bench_trips_add(trips));
    atomic_store_explicit(&line->ping, stop, memory_order_release);
    wait_for(&view->pong, stop);
}

void bench_line_pong(bench_line_t *line, const bench_line_t *view) {
    uint64_t last = stop; /* left by the time before; at the very first time a spurious answer of 0 harms nobody */

    do {
        uint64_t n;
        while ((n = atomic_load_explicit(&view->ping, memory_order_acquire)) == last) {
        }
        atomic_store_explicit(&line->pong, n, memory_order_release);
        last = n;
    } while (last != stop);
}

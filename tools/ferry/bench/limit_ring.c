/* SPDX-License-Identifier: MIT
 *
 * The limit of a stream: slots that begin with their message's number. With slots of a megabyte this is "write all of
 * it, then read all of it, in bare shared memory".
 */
#include "bench/limits.h"

static const uint64_t stop = UINT64_C(1) << 63;

static _Atomic uint64_t *slot_of(bench_ring_t *ring, uint64_t n) {
    return (_Atomic uint64_t *)(void *)(ring->slot + (n & (ring->slots - 1)) * ring->stride);
}

static void write_one(bench_ring_t *ring, uint64_t flag) {
    uint64_t n = ++ring->sent;
    _Atomic uint64_t *slot = slot_of(ring, n);

    while (n > ring->seen + ring->slots) /* the reader's progress is looked at only when there seems to be no room */
        ring->seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
    bench_payload_fill((unsigned char *)slot + ring->offset, ring->size, n);
    atomic_store_explicit(slot, n | flag, memory_order_release);
}

static bool read_one(bench_ring_t *ring) {
    uint64_t is, id = 0, n = ++ring->received;
    _Atomic uint64_t *slot = slot_of(ring, n);

    while (((is = atomic_load_explicit(slot, memory_order_acquire)) & ~stop) != n) {
    }
    ring->wrong |= !bench_payload_check((unsigned char *)slot + ring->offset, ring->size, &id) || id != n;
    if ((n & (ring->batch - 1)) == 0)
        atomic_store_explicit(&ring->taken, n, memory_order_release);
    return is == n;
}

void bench_ring_write(bench_ring_t *ring, int64_t until_ns) {
    for (uint64_t i = 1; i == 1 || (i & (ring->burst - 1)) != 0 || bench_now_ns() < until_ns; i++)
        write_one(ring, 0);
    write_one(ring, stop);
}

double bench_ring_read(bench_ring_t *ring, int64_t until_ns) {
    bool more = read_one(ring);
    uint64_t first = ring->received;
    int64_t from = bench_now_ns();

    for (uint64_t i = 1; more && (i == 1 || (i & (ring->burst - 1)) != 0 || bench_now_ns() < until_ns); i++)
        more = read_one(ring);
    double ns = (double)(bench_now_ns() - from) / (double)(ring->received - first);
    while (more)
        more = read_one(ring);
    return ring->wrong ? 0 : ns;
}

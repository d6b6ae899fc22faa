/* SPDX-License-Identifier: MIT */
#include "bench/limits.h"

#include <sys/mman.h>

#include "bench/sides.h"

static size_t offset_of_payload(size_t size) {
    return size <= 56 ? 8 : 64;
}

static size_t stride_of(size_t size) {
    return (offset_of_payload(size) + size + 63) / 64 * 64;
}

bench_ring_t *bench_ring_new(size_t size, size_t slots) {
    bench_ring_t *ring = bench_share(sizeof *ring + slots * stride_of(size));

    if (ring == NULL)
        return NULL;
    ring->size = size;
    ring->offset = offset_of_payload(size);
    ring->stride = stride_of(size);
    ring->slots = slots;
    ring->batch = slots >= 4 ? slots / 4 : 1;
    ring->burst = bench_burst(size);
    return ring;
}

void bench_ring_free(bench_ring_t *ring) {
    if (ring != NULL)
        bench_unshare(ring, sizeof *ring + ring->slots * ring->stride);
}

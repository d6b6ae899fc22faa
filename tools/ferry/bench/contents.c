/* SPDX-License-Identifier: MIT */
#include "bench/contents.h"

#include <stdlib.h>
#include <string.h>

#include "bench/blocks.h"
#include "bench/payload.h"

enum { LOOKS = 64 }; /* units that a look looks at */

typedef struct header {
    uint64_t version;
    uint64_t sum; /* of the ids of all units */
} header_t;

static uint64_t id_of(uint64_t version, uint64_t unit) {
    return version << BENCH_UNIT_BITS | unit;
}

bench_contents_t bench_contents(size_t size, size_t unit, double dirty) {
    bench_contents_t contents = {.unit = unit, .units = (size - BENCH_HEADER) / unit, .random = 1};

    contents.changed = (uint64_t)(dirty * (double)contents.units + 0.5);
    if (contents.changed == 0)
        contents.changed = 1;
    return contents;
}

bool bench_contents_make(bench_contents_t *contents, unsigned char *data) {
    header_t header = {0};

    contents->data = data;
    contents->order = malloc(contents->units * sizeof *contents->order);
    if (contents->order == NULL)
        return false;
    for (uint64_t i = 0; i < contents->units; i++) {
        contents->order[i] = (uint32_t)i;
        bench_payload_fill(bench_unit_at(contents, i), contents->unit, id_of(0, i));
        header.sum += id_of(0, i);
    }
    memcpy(data, &header, sizeof header);
    return true;
}

/* One step of a shuffle: the unit at place `i` of the order becomes one of those that stand from there on. */
static uint64_t draw(bench_contents_t *contents, uint64_t i) {
    uint64_t other = i + (bench_random(&contents->random) * (contents->units - i) >> 32);
    uint32_t unit = contents->order[other];

    contents->order[other] = contents->order[i];
    contents->order[i] = unit;
    return unit;
}

void bench_contents_change(bench_contents_t *contents) {
    header_t header;

    memcpy(&header, contents->data, sizeof header);
    header.version = ++contents->version;
    for (uint64_t i = 0; i < contents->changed; i++) {
        uint64_t unit = draw(contents, i);
        unsigned char *at = bench_unit_at(contents, unit);
        uint64_t was;
        memcpy(&was, at, sizeof was);
        header.sum += id_of(header.version, unit) - was * BENCH_ODD_INVERSE;
        bench_payload_fill(at, contents->unit, id_of(header.version, unit));
    }
    memcpy(contents->data, &header, sizeof header);
}

/* Whether unit `i` is whole, in its place, and no newer than the version; adds its id to `*sum`. */
static bool is_good(const bench_contents_t *contents, const unsigned char *data, uint64_t i, uint64_t version,
                    uint64_t *sum) {
    uint64_t id = 0;
    bool whole = bench_payload_check(data + BENCH_HEADER + i * contents->unit, contents->unit, &id);

    *sum += id;
    return whole && (id & ((UINT64_C(1) << BENCH_UNIT_BITS) - 1)) == i && id >> BENCH_UNIT_BITS <= version;
}

bool bench_contents_look(bench_contents_t *contents, const unsigned char *data, uint64_t version) {
    header_t header;
    uint64_t sum = 0;

    memcpy(&header, data, sizeof header);
    for (unsigned i = 0; i < LOOKS; i++) {
        if (!is_good(contents, data, bench_random(&contents->random) * contents->units >> 32, version, &sum))
            return false;
    }
    return header.version == version;
}

bool bench_contents_verify(const bench_contents_t *contents, const unsigned char *data, uint64_t version) {
    header_t header;
    uint64_t sum = 0;

    memcpy(&header, data, sizeof header);
    for (uint64_t i = 0; i < contents->units; i++) {
        if (!is_good(contents, data, i, version, &sum))
            return false;
    }
    return header.version == version && header.sum == sum;
}

/* SPDX-License-Identifier: MIT
 *
 * contents.h - what a published region holds in `ferry bench snapshot`, so that every version can be checked.
 *
 * A header and units, each of which is a payload. A unit's id tells its place and the version it was changed for, and
 * the header has the version and the sum of all ids: one unit of another version would show.
 */
#ifndef FERRY_BENCH_CONTENTS_H
#define FERRY_BENCH_CONTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_HEADER = 4096, BENCH_UNIT_PAGE = 4096, BENCH_UNIT_ITEM = 64, BENCH_UNIT_BITS = 28 };

typedef struct bench_contents {
    unsigned char *data;
    size_t unit; /* bytes of one */
    uint64_t units;
    uint64_t changed; /* of them, for each version */
    uint64_t version;
    uint64_t random; /* not 0 */
    uint32_t *order; /* of units; the first `changed` were those of this version. NULL: who only reads */
} bench_contents_t;

/* Tells the numbers, for `size` bytes of which the share `dirty` changes with each version. */
bench_contents_t bench_contents(size_t size, size_t unit, double dirty);

/* Writes version 0. False: there is no memory left. */
bool bench_contents_make(bench_contents_t *contents, unsigned char *data);

/* Makes the next version: other units in random places, none of them twice. */
void bench_contents_change(bench_contents_t *contents);

/* Where unit `i` stands. */
static inline unsigned char *bench_unit_at(const bench_contents_t *contents, uint64_t i) {
    return contents->data + BENCH_HEADER + i * contents->unit;
}

/* Whether `data` is that version: by its header and some of its units, or by all of them. */
bool bench_contents_look(bench_contents_t *contents, const unsigned char *data, uint64_t version);
bool bench_contents_verify(const bench_contents_t *contents, const unsigned char *data, uint64_t version);

#endif

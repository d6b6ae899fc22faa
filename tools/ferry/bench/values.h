/* SPDX-License-Identifier: MIT
 *
 * values.h - one side's turns at a value that is put whole and got whole: Ferry's cell, and what it is compared with.
 *
 * The loop is the same for all; the compiler builds it anew around each one's calls. Each value differs from the one
 * before, and each that is got is read whole and checked.
 */
#ifndef FERRY_BENCH_VALUES_H
#define FERRY_BENCH_VALUES_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bench/payload.h"
#include "bench/turns.h"

/* Puts the value. Returns 0, or an error, negative or not. */
typedef int bench_put_fn(void *value, const void *from, size_t size);
/* Copies the newest one, and tells its version; 0: it has none. */
typedef int bench_get_fn(void *value, void *to, size_t size, uint64_t *version);
/* Waits for a newer version than `version`. */
typedef int bench_newer_fn(void *value, uint64_t version);

/* A value as one side, or a pair of sides, uses it. */
typedef struct bench_value {
    void *value; /* what the calls are made on */
    size_t size;
    bool puts_too;                /* who gets also puts another one now and then */
    _Alignas(128) uint64_t count; /* values put: the version of the last one, and the id of its payload */
    unsigned char *put;
    _Alignas(128) uint64_t version; /* got last */
    uint64_t gets;
    unsigned char *got;
} bench_value_t;

enum { BENCH_GETS_OF_ONE = 4096 }; /* so that the puts among them count for nothing */

static inline __attribute__((always_inline)) int bench_value_put(bench_put_fn *put, bench_value_t *v,
                                                                 bench_waits_t *waits) {
    bench_payload_fill(v->put, v->size, ++v->count);
    uint64_t from = waits != NULL ? bench_ticks() : 0;
    int failed = put(v->value, v->put, v->size);
    if (waits != NULL)
        bench_waits_add(waits, bench_ticks() - from);
    return failed;
}

/* Versions never go back, and each has its own payload. */
static inline __attribute__((always_inline)) int bench_value_get(bench_get_fn *get, bench_value_t *v,
                                                                 bench_waits_t *waits) {
    uint64_t version;
    uint64_t id;
    uint64_t from = waits != NULL ? bench_ticks() : 0;
    int failed = get(v->value, v->got, v->size, &version);

    if (waits != NULL)
        bench_waits_add(waits, bench_ticks() - from);
    if (failed != 0)
        return failed;
    if (!bench_payload_check(v->got, v->size, &id) || (version != 0 && version != id) || id < v->version)
        return -EBADMSG;
    v->version = id;
    return 0;
}

static inline __attribute__((always_inline)) int bench_value_puts(bench_put_fn *put, bench_value_t *v, unsigned count,
                                                                  bench_waits_t *waits) {
    int failed = 0;

    for (unsigned i = 0; i < count && failed == 0; i++)
        failed = bench_value_put(put, v, waits);
    return failed;
}

static inline __attribute__((always_inline)) int
bench_value_gets(bench_get_fn *get, bench_put_fn *put, bench_value_t *v, unsigned count, bench_waits_t *waits) {
    int failed = v->puts_too && v->gets++ % (BENCH_GETS_OF_ONE / 64) == 0 ? bench_value_put(put, v, NULL) : 0;

    for (unsigned i = 0; i < count && failed == 0; i++)
        failed = bench_value_get(get, v, waits);
    return failed;
}

/* --- limit_copy.c: bytes in shared memory, when nobody writes them ----------------------------------------------- */

bench_put_fn bench_copy_put;
bench_turns_fn bench_copy_gets;

/* --- limit_value.c: bytes and a count that is odd while they are written (a sequence lock) ----------------------- */

typedef struct bench_seqlock {
    _Alignas(128) _Atomic uint64_t count;
    unsigned char bytes[]; /* in the first line, as far as they fit there */
} bench_seqlock_t;

bench_put_fn bench_seqlock_put;
bench_turns_fn bench_seqlock_puts;
bench_turns_fn bench_seqlock_gets;
/* Steps of two sides that wait for each other's values. */
bench_step_fn bench_seqlock_tell;
bench_step_fn bench_seqlock_hear;

#endif

/* SPDX-License-Identifier: MIT
 *
 * object.h - what the benchmarks of synchronization objects have in common.
 */
#ifndef FERRY_BENCH_OBJECT_H
#define FERRY_BENCH_OBJECT_H

#include "bench/report.h"
#include "bench/settings.h"
#include "bench/sides.h"

typedef enum bench_way {
    BENCH_FERRY,
    BENCH_LIMIT, /* the C library's counterpart */
    BENCH_PLAIN, /* locks: a counterpart that notices no death; blocks: none allocated */
    BENCH_PEER,  /* another library's */
    BENCH_WAYS
} bench_way_t;

/* Ends the run because a call on an object failed, Ferry's or the counterpart. -EBADMSG: it gave wrong bytes. */
_Noreturn void bench_object_failed(bench_side_t *me, bench_way_t way, int error);

/* The options that Ferry's objects are opened with. */
ferry_sync_options_t bench_object_options(const bench_side_t *me);

/* Begins a row: what is measured, and between whom. `work` may be NULL. */
void bench_object_row(bench_row_t *row, const char *bench, const char *work, const bench_settings_t *settings);

#endif

/* SPDX-License-Identifier: MIT
 *
 * pair.h - two sides and two objects: each side gives the other one leave to go on, and waits for leave itself.
 */
#ifndef FERRY_BENCH_PAIR_H
#define FERRY_BENCH_PAIR_H

#include "bench/relay.h"
#include "bench/turns.h"

/* What the objects are, Ferry's and the counterpart. */
typedef struct bench_pair {
    const char *name;
    bench_step_fn *tell[2]; /* lets the other side go on */
    bench_step_fn *hear[2]; /* waits until the other side has let this one go on */
    void *(*open)(bench_side_t *me, const char *name);
    int (*is_left)(const void *handle); /* whether the other side has let go on one who did not wait for it */
    int (*close)(void *handle);
    void *counterpart[2]; /* in shared memory */
} bench_pair_t;

/* Runs it. Returns 0, or 1 when it could not be measured or something was lost (said). */
int bench_pair_run(const bench_pair_t *pair, const bench_settings_t *settings, bench_relay_result_t *result);

#endif

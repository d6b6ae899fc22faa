/* SPDX-License-Identifier: MIT
 *
 * relay.h - sides that wait for each other, round after round: through Ferry's object and its counterpart in turn, and
 * beside both, where there are two sides, the bare round trip of a cache line or of a futex.
 *
 * The first side leads: it times every round, and says which one is the last.
 */
#ifndef FERRY_BENCH_RELAY_H
#define FERRY_BENCH_RELAY_H

#include "bench/clock.h"
#include "bench/object.h"

enum { BENCH_BARE = BENCH_PLAIN /* the third way that is measured here */ };

typedef struct bench_relay {
    const bench_settings_t *settings;
    void *shared; /* what the functions below need, from before the sides were started */
    /* Makes ready to take part, with Ferry's object or the counterpart. */
    void *(*join)(bench_side_t *me, void *shared, bench_way_t way);
    void (*leave)(void *joined);
    void (*lead)(void *joined, bench_trips_t *trips);
    void (*follow)(void *joined);
} bench_relay_t;

/* Medians of the slices, but for the worst. */
typedef struct bench_pace {
    double per_s;
    double p50_ns, p999_ns;
    double longest_ns; /* in a slice */
    double worst_ns;   /* of all */
    double rounds;
} bench_pace_t;

typedef struct bench_relay_result {
    bench_quality_t quality;
    bool by_futex;
    bench_pace_t of[BENCH_WAYS];
} bench_relay_result_t;

/* Runs it. Returns 0, or 1 when it could not be measured (said). */
int bench_relay_run(const bench_relay_t *relay, bench_relay_result_t *result);

/* Adds what Ferry and the counterpart, called `limit_name`, did, and how Ferry stands to the bare round trip. */
void bench_relay_row(bench_row_t *row, const char *limit_name, const bench_relay_result_t *result);

/* What Ferry's round should take at most, as a multiple of the bare one; for two sides on cores of their own. */
void bench_relay_target(bench_report_t *report, const bench_row_t *row, const bench_settings_t *settings);

#endif

/* SPDX-License-Identifier: MIT
 *
 * stats.h - medians, exact percentiles, and the decision whether a run was disturbed.
 */
#ifndef FERRY_BENCH_STATS_H
#define FERRY_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The middle value, or the mean of the middle two; NAN when there are none. Sorts `values`. */
double bench_median(double *values, size_t n);

/*
 * The value that `permille` thousandths of all samples do not exceed. Exact, for any number of samples, without another
 * array: counts upper halves, then lower halves within the one that holds the rank. A processor's counter may tick in
 * steps of ten nanoseconds, which is coarse beside a round trip of a hundred: among equal samples the rank tells where
 * within the step the value lies, as is usual for grouped data. 0 when there are no samples or memory is out.
 */
double bench_percentile(const uint32_t *samples, size_t n, unsigned permille);

/* The same for ten thousandths. */
double bench_quantile(const uint32_t *samples, size_t n, unsigned share);

/* What was measured in each slice. */
typedef struct bench_series {
    size_t n;
    double value[8];
} bench_series_t;

void bench_series_add(bench_series_t *series, double value);
double bench_series_median(const bench_series_t *series);
/* 0 when there are none. */
double bench_series_most(const bench_series_t *series);
/* The largest value over the smallest one; 1 when there are none. */
double bench_series_spread(const bench_series_t *series);

/* Whether a limit that spread so far moved by more than a third during the run. */
bool bench_is_disturbed(double spread);

/* How trustworthy a run was; every result begins with it. */
typedef struct bench_quality {
    double spread;    /* of the limit, over the slices */
    unsigned repeats; /* runs made again because the limit had moved */
} bench_quality_t;

/*
 * Calls `once` until its run is not disturbed, at most four times, says so on standard error, and leaves the calmest
 * run's result (`size` bytes that begin with a bench_quality_t) in `result`. Returns 0, or what `once` returned when
 * that is not 0.
 */
int bench_repeat(const char *what, int (*once)(const void *arg, void *result), const void *arg, void *result,
                 size_t size);

#endif

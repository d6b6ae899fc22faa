/* SPDX-License-Identifier: MIT */
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "say.h"

enum { MAX_RUNS = 4, MAX_RESULT = 4096 };

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n) {
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, ascending);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The index of the counter that holds rank `*rank` (from 1), which is then told from that counter's beginning. */
static uint32_t counter_of_rank(const size_t *counters, size_t *rank) {
    uint32_t i = 0;

    while (*rank > counters[i])
        *rank -= counters[i++];
    return i;
}

/* How far counter i is from the nearest other one that is not empty: the step of the clock. */
static uint32_t step_at(const size_t *counters, uint32_t i) {
    for (uint32_t step = 1; step < 65536; step++) {
        if ((i >= step && counters[i - step] > 0) || (i + step < 65536 && counters[i + step] > 0))
            return step;
    }
    return 0;
}

double bench_percentile(const uint32_t *samples, size_t n, unsigned permille) {
    return bench_quantile(samples, n, permille * 10);
}

double bench_quantile(const uint32_t *samples, size_t n, unsigned share) {
    size_t *counters = calloc(65536, sizeof *counters);

    if (n == 0 || counters == NULL) {
        free(counters);
        return 0;
    }
    size_t rank = n / 10000 * share + (n % 10000 * share + 9999) / 10000;
    if (rank == 0)
        rank = 1;
    for (size_t i = 0; i < n; i++)
        counters[samples[i] >> 16]++;
    uint32_t upper = counter_of_rank(counters, &rank);
    memset(counters, 0, 65536 * sizeof *counters);
    for (size_t i = 0; i < n; i++) {
        if (samples[i] >> 16 == upper)
            counters[samples[i] & 0xffff]++;
    }
    uint32_t lower = counter_of_rank(counters, &rank);
    double within = ((double)rank - 0.5) / (double)counters[lower] - 0.5;
    double value = (double)(upper << 16 | lower) + within * step_at(counters, lower);
    free(counters);
    return value;
}

void bench_series_add(bench_series_t *series, double value) {
    if (series->n < sizeof series->value / sizeof series->value[0])
        series->value[series->n++] = value;
}

double bench_series_median(const bench_series_t *series) {
    bench_series_t copy = *series;

    return bench_median(copy.value, copy.n);
}

double bench_series_most(const bench_series_t *series) {
    double most = 0;

    for (size_t i = 0; i < series->n; i++)
        most = fmax(most, series->value[i]);
    return most;
}

double bench_series_spread(const bench_series_t *series) {
    double least = INFINITY;

    for (size_t i = 0; i < series->n; i++)
        least = fmin(least, series->value[i]);
    return series->n == 0 ? 1 : bench_series_most(series) / least;
}

bool bench_is_disturbed(double spread) {
    return !(spread <= 4.0 / 3.0);
}

int bench_repeat(const char *what, int (*once)(const void *arg, void *result), const void *arg, void *result,
                 size_t size) {
    unsigned char attempt[MAX_RESULT];
    bench_quality_t quality;
    double calmest = INFINITY;

    for (unsigned run = 0; run < MAX_RUNS; run++) {
        memset(attempt, 0, size);
        int failed = once(arg, attempt);
        if (failed != 0)
            return failed;
        memcpy(&quality, attempt, sizeof quality);
        if (run == 0 || quality.spread < calmest) {
            calmest = quality.spread;
            memcpy(result, attempt, size);
        }
        ((bench_quality_t *)result)->repeats = run;
        if (!bench_is_disturbed(quality.spread))
            return 0;
        say("%s: disturbed, the limit moved by %.0f %% during the run; %s", what, (quality.spread - 1) * 100,
            run + 1 < MAX_RUNS ? "measuring again" : "reporting the calmest of the runs");
    }
    return 0;
}

/* --- the processor's counter ------------------------------------------------------------------------------------- */

double bench_ticks_per_ns(void) {
    int64_t from_ns = bench_now_ns();
    uint64_t from = bench_ticks();
    int64_t now_ns;

    do {
        now_ns = bench_now_ns();
    } while (now_ns - from_ns < 20000000);
    return (double)(bench_ticks() - from) / (double)(now_ns - from_ns);
}

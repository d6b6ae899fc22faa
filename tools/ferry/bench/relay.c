/* SPDX-License-Identifier: MIT */
#include "bench/relay.h"

#include <stdlib.h>

#include "bench/limits.h"

/* What is known of the rounds of one way. */
typedef struct noted {
    bench_series_t per_s, p50_ns, p999_ns, longest_ns;
    uint64_t rounds;
} noted_t;

typedef struct shared {
    const bench_relay_t *relay;
    bool has_bare, by_futex;
    bench_line_t line;
    bench_futex_t futex;
    uint32_t *sample;
    size_t room;
    noted_t noted[BENCH_WAYS];
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    void *joined[BENCH_WAYS];
} side_t;

/* --- rounds ------------------------------------------------------------------------------------------------------ */

static void lead(side_t *side, unsigned way, bench_trips_t *trips) {
    shared_t *shared = side->shared;

    if (way != BENCH_BARE)
        shared->relay->lead(side->joined[way], trips);
    else if (shared->by_futex)
        bench_futex_ping(&shared->futex, side->me->settings->between == BENCH_THREADS, trips);
    else
        bench_line_ping(&shared->line, &shared->line, trips);
}

static void follow(side_t *side, unsigned way) {
    shared_t *shared = side->shared;

    if (way != BENCH_BARE)
        shared->relay->follow(side->joined[way]);
    else if (shared->by_futex)
        bench_futex_pong(&shared->futex, side->me->settings->between == BENCH_THREADS);
    else
        bench_line_pong(&shared->line, &shared->line);
}

/* The first round does not count: it began when the sides came from their meeting, one after the other. */
static void note(noted_t *noted, const bench_trips_t *trips, double ticks_per_ns) {
    size_t n = trips->count > 1 ? trips->count - 1 : 1;
    const uint32_t *sample = trips->sample + (trips->count - n);
    uint32_t longest = 0;
    double ticks = 0;

    for (size_t i = 0; i < n; i++) {
        ticks += sample[i];
        longest = sample[i] > longest ? sample[i] : longest;
    }
    noted->rounds += n;
    bench_series_add(&noted->per_s, (double)n * 1e9 * ticks_per_ns / ticks);
    bench_series_add(&noted->p50_ns, bench_percentile(sample, n, 500) / ticks_per_ns);
    bench_series_add(&noted->p999_ns, bench_percentile(sample, n, 999) / ticks_per_ns);
    bench_series_add(&noted->longest_ns, longest / ticks_per_ns);
}

static void run_way(side_t *side, unsigned way, const bench_slice_t *slice, int64_t ns) {
    shared_t *shared = side->shared;
    double ticks_per_ns = side->me->ticks_per_ns;
    bench_trips_t trips = {.sample = shared->sample, .room = shared->room};

    if (side->me->index != 0) {
        follow(side, way);
        return;
    }
    bench_trips_begin(&trips, (uint64_t)((double)ns * ticks_per_ns));
    lead(side, way, &trips);
    if (slice->number > 0)
        note(&shared->noted[way], &trips, ticks_per_ns);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    run_way(side, BENCH_LIMIT, slice, slice->ns);
    if (!side->shared->has_bare)
        return;
    bench_meet(side->me);
    run_way(side, BENCH_BARE, slice, slice->ns / 2);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    run_way(arg, BENCH_FERRY, slice, slice->ns);
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    const bench_relay_t *relay = shared->relay;
    side_t side = {.me = me, .shared = shared};

    side.joined[BENCH_FERRY] = relay->join(me, relay->shared, BENCH_FERRY);
    side.joined[BENCH_LIMIT] = relay->join(me, relay->shared, BENCH_LIMIT);
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    relay->leave(side.joined[BENCH_FERRY]);
    relay->leave(side.joined[BENCH_LIMIT]);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void tell(const shared_t *shared, bench_relay_result_t *result) {
    const noted_t *steady = &shared->noted[shared->has_bare ? BENCH_BARE : BENCH_LIMIT];

    for (unsigned way = 0; way < BENCH_WAYS; way++) {
        const noted_t *noted = &shared->noted[way];
        result->of[way] = (bench_pace_t){.per_s = bench_series_median(&noted->per_s),
                                         .p50_ns = bench_series_median(&noted->p50_ns),
                                         .p999_ns = bench_series_median(&noted->p999_ns),
                                         .longest_ns = bench_series_median(&noted->longest_ns),
                                         .worst_ns = bench_series_most(&noted->longest_ns),
                                         .rounds = (double)noted->rounds};
    }
    result->by_futex = shared->by_futex;
    result->quality.spread = bench_series_spread(&steady->p50_ns);
}

int bench_relay_run(const bench_relay_t *relay, bench_relay_result_t *result) {
    const bench_settings_t *s = relay->settings;
    size_t room = (size_t)(s->measure_ns / BENCH_SLICES / 20) + ((size_t)4 << 20);
    const size_t most = (size_t)64 << 20;
    int failed = 1;

    if (room > most)
        room = most;
    shared_t *shared = bench_share(sizeof *shared);
    uint32_t *sample = bench_share(room * sizeof *sample);
    if (shared != NULL && sample != NULL) {
        shared->relay = relay;
        shared->has_bare = s->parties == 2;
        shared->by_futex = s->wait == FERRY_WAIT_BLOCK || bench_is_shared_core(s);
        shared->sample = sample;
        shared->room = room;
        bench_job_t job = {.settings = s, .run = run_side, .sides = s->parties, .shared = shared};
        job.takers = (s->parties + 1) / 2; /* as in contest.c */
        job.expected_ns = 2 * bench_alternate_ns(s->measure_ns);
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(shared, result);
    }
    bench_unshare(shared, sizeof *shared);
    bench_unshare(sample, room * sizeof *sample);
    return failed;
}

void bench_relay_row(bench_row_t *row, const char *limit_name, const bench_relay_result_t *result) {
    const bench_pace_t *ferry = &result->of[BENCH_FERRY];
    const bench_pace_t *limit = &result->of[BENCH_LIMIT];
    const bench_pace_t *bare = &result->of[BENCH_BARE];

    bench_row_add(row, "ops_per_s", "rounds", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "p50_ns", "p50", BENCH_NS, ferry->p50_ns);
    bench_row_add(row, "p999_ns", "p99.9", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, "longest_wait_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_add(row, "worst_wait_ns", NULL, BENCH_NS, ferry->worst_ns);
    bench_row_text(row, "limit_name", NULL, limit_name);
    bench_row_add(row, "limit_ops_per_s", "libc", BENCH_PER_SECOND, limit->per_s);
    bench_row_add(row, "limit_p50_ns", "p50", BENCH_NS, limit->p50_ns);
    bench_row_add(row, "limit_p999_ns", "p99.9", BENCH_NS, limit->p999_ns);
    bench_row_add(row, "limit_longest_wait_ns", "longest", BENCH_NS, limit->longest_ns);
    bench_row_add(row, "limit_worst_wait_ns", NULL, BENCH_NS, limit->worst_ns);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, limit->per_s / ferry->per_s);
    if (bare->rounds > 0) {
        bench_row_text(row, "bare_name", NULL, result->by_futex ? "futex round trip" : "cache-line round trip");
        bench_row_add(row, "bare_ns", result->by_futex ? "futex" : "cache line", BENCH_NS, bare->p50_ns);
        bench_row_add(row, "bare_ratio", "to that", BENCH_RATIO, ferry->p50_ns / bare->p50_ns);
    }
    bench_row_add(row, "rounds", NULL, BENCH_NUMBER, ferry->rounds);
    bench_row_quality(row, &result->quality);
}

void bench_relay_target(bench_report_t *report, const bench_row_t *row, const bench_settings_t *settings) {
    if (settings->wait != FERRY_WAIT_SPIN && settings->pin == BENCH_PIN_APART && !bench_is_shared_core(settings))
        bench_report_target(report, row, "bare_ratio", true, settings->wait == FERRY_WAIT_BLOCK ? 1.2 : 1.5);
}

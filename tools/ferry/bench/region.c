/* SPDX-License-Identifier: MIT
 *
 * ferry bench region: blocks of a shared region are allocated, written whole, checked and freed.
 *
 * Alone, and between threads, the limit is the C library's malloc, doing the same. It serves one process, so for sides
 * that are processes and share one region it is no limit: there it is the same done by each in a region of its own.
 */
#include <math.h>

#include "bench/contest.h"
#include "bench/heaps.h"
#include "bench/parts.h"

static bool by_malloc(const bench_settings_t *s) {
    return s->parties == 1 || s->between == BENCH_THREADS;
}

static void *join(bench_side_t *me, void *shared, bench_way_t way) {
    const bench_heap_t *heap = shared;

    return bench_heap_join(me, way, heap[way]);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    bench_heap_t heap[BENCH_WAYS] = {BENCH_HEAP_REGION, by_malloc(s) ? BENCH_HEAP_MALLOC : BENCH_HEAP_APART,
                                     BENCH_HEAP_NONE, BENCH_HEAP_PEER};
    bench_contest_t contest = {
        .name = "region",
        .settings = s,
        .sides = {s->parties},
        .counted = BENCH_ROLES,
        .join = join,
        .leave = bench_heap_leave,
        .shared = heap,
    };

    for (bench_way_t way = BENCH_FERRY; way < BENCH_WAYS; way++) {
        if (way != BENCH_PEER || s->peer == BENCH_PEER_BOOST)
            contest.turns[way][BENCH_READERS] = bench_heap_turns(heap[way]);
    }
    return bench_contest_run(&contest, out);
}

/* One side's time for a block. */
static double pair_ns(const bench_settings_t *s, const bench_contest_result_t *r, bench_way_t way) {
    return s->parties * 1e9 / r->of[way][BENCH_READERS].per_s;
}

/* The allocators' own time, without what is done with the blocks; NAN where that tells nothing. */
static double ratio_of_calls(double ns, double limit_ns, double work_ns) {
    return limit_ns > 1.1 * work_ns ? (ns - work_ns) / (limit_ns - work_ns) : NAN;
}

static void row_of(bench_row_t *row, const bench_settings_t *s, const bench_contest_result_t *r) {
    const bench_standing_t *ferry = &r->of[BENCH_FERRY][BENCH_READERS];
    double ns = pair_ns(s, r, BENCH_FERRY);
    double limit_ns = pair_ns(s, r, BENCH_LIMIT);
    double work_ns = pair_ns(s, r, BENCH_PLAIN);

    bench_object_row(row, "region", NULL, s);
    bench_row_text(row, "pattern", "pattern", bench_pattern_word(s->pattern));
    bench_row_add(row, "least_size", "from", BENCH_BYTES, s->size != 0 ? (double)s->size : BENCH_LEAST_BLOCK);
    bench_row_add(row, "most_size", "to", BENCH_BYTES, s->size != 0 ? (double)s->size : BENCH_MOST_BLOCK);
    bench_row_add(row, "live", "live", BENCH_NUMBER, s->live);
    bench_row_add(row, "ops_per_s", "pairs", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "pair_ns", "a pair", BENCH_NS, ns);
    bench_row_add(row, "p999_alloc_ns", "p99.9 alloc", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, "longest_alloc_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_add(row, "smallest_share", NULL, BENCH_RATIO, ferry->smallest_share);
    bench_row_text(row, "limit_name", NULL, by_malloc(s) ? "malloc and free" : "a region for each side");
    bench_row_add(row, "limit_ns", by_malloc(s) ? "libc" : "apart", BENCH_NS, limit_ns);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, ns / limit_ns);
    bench_row_add(row, "work_ns", "the work", BENCH_NS, work_ns);
    bench_row_add(row, "call_ratio", "calls alone", BENCH_RATIO, ratio_of_calls(ns, limit_ns, work_ns));
    if (s->peer == BENCH_PEER_BOOST) {
        bench_row_add(row, "boost_ns", "Boost", BENCH_NS, pair_ns(s, r, BENCH_PEER));
        bench_row_add(row, "ratio_boost", "to that", BENCH_RATIO, ns / pair_ns(s, r, BENCH_PEER));
    }
    bench_row_quality(row, &r->quality);
}

static int measure(const bench_settings_t *s, bench_report_t *report) {
    bench_contest_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("region", once, s, &r, sizeof r) != 0)
        return 1;
    row_of(&row, s, &r);
    bench_report_row(report, &row);
    if (s->parties == 1 && s->size <= BENCH_MOST_BLOCK)
        bench_report_target(report, &row, "ratio", true, 3);
    if (s->peer == BENCH_PEER_BOOST)
        bench_report_target(report, &row, "ratio_boost", true, 1);
    return 0;
}

static int measure_patterns(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    int failed = 0;

    for (s.pattern = BENCH_PATTERN_LIFO; s.pattern <= BENCH_PATTERN_RANDOM && failed == 0; s.pattern++) {
        if (settings->pattern == BENCH_PATTERN_BOTH || settings->pattern == s.pattern)
            failed = measure(&s, report);
    }
    return failed;
}

int bench_region(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;

    if (s.parties != 0)
        return measure_patterns(&s, report);
    s.parties = 1;
    if (measure_patterns(&s, report) != 0)
        return 1;
    s.parties = 2;
    return measure_patterns(&s, report);
}

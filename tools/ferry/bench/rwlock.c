/* SPDX-License-Identifier: MIT
 *
 * ferry bench rwlock: readers take a reader-writer lock and compare two words; writers, if there are any, change both.
 */
#include <math.h>

#include "bench/contest.h"
#include "bench/counterparts.h"
#include "bench/parts.h"

static const char limit_name[] = "pthread_rwlock_t, process-shared";

static int take_to_read(void *rwlock) {
    return ferry_rwlock_read(rwlock, BENCH_PATIENCE);
}

static int take_to_write(void *rwlock) {
    return ferry_rwlock_write(rwlock, BENCH_PATIENCE);
}

static int give(void *rwlock) {
    return ferry_rwlock_unlock(rwlock);
}

static int ferry_reads(void *rwlock, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take_to_read, bench_see_equal, give, rwlock, words, count, waits);
}

static int ferry_writes(void *rwlock, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take_to_write, bench_change_both, give, rwlock, words, count, waits);
}

static void *open_rwlock(bench_side_t *me) {
    const ferry_sync_options_t options = bench_object_options(me);
    ferry_rwlock_t *rwlock = NULL;

    if (ferry_rwlock_open(bench_node(me), "rwlock", &options, &rwlock) < 0)
        bench_fail(me, "cannot open a reader-writer lock: %s", ferry_last_error());
    return rwlock;
}

static int close_rwlock(void *rwlock) {
    return ferry_rwlock_close(rwlock);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    bench_rwlock_t *rwlock = bench_share(sizeof *rwlock);

    if (rwlock == NULL)
        return 1;
    bench_rwlock_make(rwlock);
    const bench_contest_t contest = {
        .name = "rwlock",
        .settings = s,
        .sides = {s->parties, s->writers},
        .counted = BENCH_WRITERS,
        .turns = {{ferry_reads, ferry_writes}, {bench_rwlock_reads, bench_rwlock_writes}},
        .counterpart = {NULL, rwlock},
        .open = open_rwlock,
        .close = close_rwlock,
    };
    int failed = bench_contest_run(&contest, out);
    bench_unshare(rwlock, sizeof *rwlock);
    return failed;
}

static void row_of_writers(bench_row_t *row, const bench_contest_result_t *r) {
    const bench_standing_t *ferry = &r->of[BENCH_FERRY][BENCH_WRITERS];
    const bench_standing_t *limit = &r->of[BENCH_LIMIT][BENCH_WRITERS];

    bench_row_add(row, "writes_per_s", "writes", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "longest_write_wait_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_add(row, "limit_writes_per_s", "libc writes", BENCH_PER_SECOND, limit->per_s);
    bench_row_add(row, "limit_longest_write_wait_ns", "longest", BENCH_NS, limit->longest_ns);
}

/* NAN: there is nothing to compare with. */
static double gain(const bench_contest_result_t *one, const bench_contest_result_t *r, bench_way_t way) {
    return one == NULL ? NAN : r->of[way][BENCH_READERS].per_s / one->of[way][BENCH_READERS].per_s;
}

/* `one`, unless NULL: what a single reader did, to show what two of them gain. */
static int measure(const bench_settings_t *s, const bench_contest_result_t *one, bench_contest_result_t *r,
                   bench_report_t *report) {
    bench_row_t row = {0};

    if (bench_repeat("rwlock", once, s, r, sizeof *r) != 0)
        return 1;
    bench_object_row(&row, "rwlock", NULL, s);
    bench_row_add(&row, "writers", "writers", BENCH_NUMBER, s->writers);
    bench_contest_row(&row, limit_name, r);
    if (s->writers > 0)
        row_of_writers(&row, r);
    bench_row_add(&row, "scaling", "scaling", BENCH_RATIO, gain(one, r, BENCH_FERRY));
    bench_row_add(&row, "limit_scaling", "libc's", BENCH_RATIO, gain(one, r, BENCH_LIMIT));
    bench_row_quality(&row, &r->quality);
    bench_report_row(report, &row);
    return 0;
}

int bench_rwlock(const bench_settings_t *settings, bench_report_t *report) {
    bench_contest_result_t one, r;
    bench_settings_t s = *settings;

    if (s.parties != 0)
        return measure(&s, NULL, &r, report);
    s.parties = 1;
    if (measure(&s, NULL, &one, report) != 0)
        return 1;
    s.parties = 2;
    return measure(&s, &one, &r, report);
}

/* SPDX-License-Identifier: MIT
 *
 * ferry bench semaphore: two sides that let each other go on through two semaphores (ping-pong), and sides that acquire
 * the only unit of one, add one to a counter that nothing else protects, and release it (units).
 */
#include "bench/contest.h"
#include "bench/counterparts.h"
#include "bench/pair.h"
#include "bench/parts.h"

static const char limit_name[] = "sem_t, process-shared";

static int acquire(void *semaphore) {
    return ferry_semaphore_acquire(semaphore, BENCH_PATIENCE);
}

static int release(void *semaphore) {
    return ferry_semaphore_release(semaphore);
}

static void *open_semaphore(bench_side_t *me, const char *name, uint32_t count) {
    const ferry_sync_options_t options = bench_object_options(me);
    ferry_semaphore_t *semaphore = NULL;

    if (ferry_semaphore_open(bench_node(me), name, count, &options, &semaphore) < 0)
        bench_fail(me, "cannot open a semaphore: %s", ferry_last_error());
    return semaphore;
}

static int close_semaphore(void *semaphore) {
    return ferry_semaphore_close(semaphore);
}

/* --- ping-pong --------------------------------------------------------------------------------------------------- */

static void *open_empty(bench_side_t *me, const char *name) {
    return open_semaphore(me, name, 0);
}

static int is_left(const void *semaphore) {
    return ferry_semaphore_value(semaphore);
}

static int ping_pong_once(const void *arg, void *out) {
    bench_sem_t *sem = bench_share(2 * sizeof *sem);

    if (sem == NULL)
        return 1;
    bench_sem_make(&sem[0], 0);
    bench_sem_make(&sem[1], 0);
    const bench_pair_t pair = {
        .name = "semaphore",
        .tell = {release, bench_sem_post},
        .hear = {acquire, bench_sem_wait},
        .open = open_empty,
        .is_left = is_left,
        .close = close_semaphore,
        .counterpart = {&sem[0], &sem[1]},
    };
    int failed = bench_pair_run(&pair, arg, out);
    bench_unshare(sem, 2 * sizeof *sem);
    return failed;
}

static int ping_pong(const bench_settings_t *s, bench_report_t *report) {
    bench_relay_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("semaphore", ping_pong_once, s, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "semaphore", "ping-pong", s);
    bench_relay_row(&row, limit_name, &r);
    bench_report_row(report, &row);
    bench_relay_target(report, &row, s);
    return 0;
}

/* --- units ------------------------------------------------------------------------------------------------------- */

static int ferry_turns(void *semaphore, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(acquire, bench_count_up, release, semaphore, words, count, waits);
}

static void *open_unit(bench_side_t *me) {
    return open_semaphore(me, "unit", 1);
}

static int units_once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    bench_sem_t *sem = bench_share(sizeof *sem);

    if (sem == NULL)
        return 1;
    bench_sem_make(sem, 1);
    const bench_contest_t contest = {
        .name = "semaphore",
        .settings = s,
        .sides = {s->parties},
        .turns = {{ferry_turns}, {bench_sem_turns}},
        .counterpart = {NULL, sem},
        .open = open_unit,
        .close = close_semaphore,
    };
    int failed = bench_contest_run(&contest, out);
    bench_unshare(sem, sizeof *sem);
    return failed;
}

static int units(const bench_settings_t *s, bench_report_t *report) {
    bench_contest_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("semaphore", units_once, s, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "semaphore", "units", s);
    bench_contest_row(&row, limit_name, &r);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    return 0;
}

int bench_semaphore(const bench_settings_t *settings, bench_report_t *report) {
    bool plays = settings->work != BENCH_WORK_UNITS && settings->parties == 2;
    int failed = plays ? ping_pong(settings, report) : 0;

    return settings->work != BENCH_WORK_PING_PONG ? failed | units(settings, report) : failed;
}

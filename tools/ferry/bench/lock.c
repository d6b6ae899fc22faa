/* SPDX-License-Identifier: MIT
 *
 * ferry bench lock: sides lock a mutex, add one to a counter that nothing else protects, and unlock.
 *
 * The counterpart is a robust process-shared pthread_mutex_t, which is what notices the death of its holder as Ferry's
 * does. Beside it stands a plain one.
 */
#include "bench/contest.h"
#include "bench/counterparts.h"
#include "bench/parts.h"

static const char limit_name[] = "pthread_mutex_t, process-shared and robust";

static int take(void *mutex) {
    return ferry_mutex_lock(mutex, BENCH_PATIENCE);
}

static int give(void *mutex) {
    return ferry_mutex_unlock(mutex);
}

static int ferry_turns(void *mutex, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take, bench_count_up, give, mutex, words, count, waits);
}

static void *open_mutex(bench_side_t *me) {
    const ferry_sync_options_t options = bench_object_options(me);
    ferry_mutex_t *mutex = NULL;

    if (ferry_mutex_open(bench_node(me), "lock", &options, &mutex) < 0)
        bench_fail(me, "cannot open a mutex: %s", ferry_last_error());
    return mutex;
}

static int close_mutex(void *mutex) {
    return ferry_mutex_close(mutex);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    bench_mutex_t *mutex = bench_share(2 * sizeof *mutex);

    if (mutex == NULL)
        return 1;
    bench_mutex_make(&mutex[0], true);
    bench_mutex_make(&mutex[1], false);
    const bench_contest_t contest = {
        .name = "lock",
        .settings = s,
        .sides = {s->parties},
        .turns = {{ferry_turns}, {bench_mutex_turns}, {bench_mutex_turns}},
        .counterpart = {NULL, &mutex[0], &mutex[1]},
        .open = open_mutex,
        .close = close_mutex,
    };
    int failed = bench_contest_run(&contest, out);
    bench_unshare(mutex, 2 * sizeof *mutex);
    return failed;
}

int bench_lock(const bench_settings_t *settings, bench_report_t *report) {
    bench_contest_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("lock", once, settings, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "lock", NULL, settings);
    bench_contest_row(&row, limit_name, &r);
    bench_row_add(&row, "plain_ops_per_s", "plain libc", BENCH_PER_SECOND, r.of[BENCH_PLAIN][0].per_s);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    if (settings->parties <= 2 && settings->wait == FERRY_WAIT_ADAPTIVE && settings->pin == BENCH_PIN_APART)
        bench_report_target(report, &row, "ratio", true, settings->parties == 1 ? 1.1 : 1);
    return 0;
}

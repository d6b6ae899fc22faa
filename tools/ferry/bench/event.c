/* SPDX-License-Identifier: MIT
 *
 * ferry bench event: two sides that let each other go on through two auto-reset events.
 */
#include "bench/counterparts.h"
#include "bench/pair.h"
#include "bench/parts.h"

static const char limit_name[] = "pthread_cond_t, process-shared, with a mutex and a flag";

static int set(void *event) {
    return ferry_event_set(event);
}

static int wait_for(void *event) {
    return ferry_event_wait(event, BENCH_PATIENCE);
}

static void *open_event(bench_side_t *me, const char *name) {
    ferry_sync_options_t options = bench_object_options(me);
    ferry_event_t *event = NULL;

    options.auto_reset = 1;
    if (ferry_event_open(bench_node(me), name, &options, &event) < 0)
        bench_fail(me, "cannot open an event: %s", ferry_last_error());
    return event;
}

static int is_left(const void *event) {
    return ferry_event_is_set(event);
}

static int close_event(void *event) {
    return ferry_event_close(event);
}

static int once(const void *arg, void *out) {
    bench_cond_t *cond = bench_share(2 * sizeof *cond);

    if (cond == NULL)
        return 1;
    bench_cond_make(&cond[0]);
    bench_cond_make(&cond[1]);
    const bench_pair_t pair = {
        .name = "event",
        .tell = {set, bench_cond_set},
        .hear = {wait_for, bench_cond_wait},
        .open = open_event,
        .is_left = is_left,
        .close = close_event,
        .counterpart = {&cond[0], &cond[1]},
    };
    int failed = bench_pair_run(&pair, arg, out);
    bench_unshare(cond, 2 * sizeof *cond);
    return failed;
}

int bench_event(const bench_settings_t *settings, bench_report_t *report) {
    bench_relay_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("event", once, settings, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "event", NULL, settings);
    bench_relay_row(&row, limit_name, &r);
    bench_report_row(report, &row);
    bench_relay_target(report, &row, settings);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Opening: a process that opens a space nobody was in, and one end; and what memory its node takes once it is idle.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/lifetime.h"
#include "bench/memory.h"
#include "bench/sides.h"

enum { ROUNDS = 50 };

typedef struct shared {
    double open_ns[ROUNDS], close_ns[ROUNDS];
    double node_bytes;
    bench_memory_t before, after;
} shared_t;

static void open_once(bench_side_t *me, unsigned round) {
    shared_t *shared = me->shared;
    const ferry_options_t options = {.directory = bench_directory(me), .name = "bench"};
    char space[32];
    ferry_t *node = NULL;
    ferry_sender_t *tx = NULL;

    snprintf(space, sizeof space, "open-%u", round);
    int64_t from_ns = bench_now_ns();
    if (ferry_open(space, &options, &node) < 0 || ferry_sender_open(node, "end", FERRY_QUEUE, NULL, &tx) < 0)
        bench_fail(me, "cannot open a space and a sender: %s", ferry_last_error());
    int64_t opened_ns = bench_now_ns();
    bench_close(me, tx, NULL);
    if (ferry_close(node) != 0)
        bench_fail(me, "cannot close a node: %s", ferry_last_error());
    shared->open_ns[round] = (double)(opened_ns - from_ns);
    shared->close_ns[round] = (double)(bench_now_ns() - opened_ns);
}

/* The process's first node: with all that the library sets up once. */
static void weigh(bench_side_t *me) {
    shared_t *shared = me->shared;
    const bench_memory_t *before = &shared->before;
    const bench_memory_t *after = &shared->after;

    memset(&shared->after, 0, sizeof shared->after); /* touched before memory is read */
    bench_memory_read(&shared->before);
    bool told = bench_memory_read(&shared->before);
    bench_node(me);
    usleep(50000);
    if (!told || !bench_memory_read(&shared->after))
        bench_fail(me, "/proc/self/smaps_rollup and /proc/self/maps are needed to tell how much memory is used");
    double files = (double)bench_memory_files(&after, 1) - (double)bench_memory_files(&before, 1);
    shared->node_bytes = files + (double)after->anonymous - (double)before->anonymous;
}

static void run_side(bench_side_t *me) {
    weigh(me);
    for (unsigned i = 0; i < ROUNDS; i++)
        open_once(me, i);
}

int bench_opening(const bench_settings_t *settings, bench_report_t *report) {
    bench_row_t row = {0};
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    bench_job_t job = {.settings = settings, .run = run_side, .sides = 1, .takers = 1, .shared = shared};
    job.in_processes = true;
    job.expected_ns = ROUNDS * INT64_C(20000000);
    int failed = bench_sides_run(&job);
    if (failed == 0) {
        bench_row_text(&row, "bench", "bench", "senders");
        bench_row_text(&row, "figure", "figure", "opening");
        bench_row_add(&row, "rounds", NULL, BENCH_NUMBER, ROUNDS);
        bench_row_add(&row, "open_p50_ns", "open p50", BENCH_NS, bench_median(shared->open_ns, ROUNDS));
        bench_row_add(&row, "open_max_ns", "most", BENCH_NS, shared->open_ns[ROUNDS - 1]); /* sorted by now */
        bench_row_add(&row, "close_p50_ns", "close p50", BENCH_NS, bench_median(shared->close_ns, ROUNDS));
        bench_row_add(&row, "node_bytes", "idle node", BENCH_BYTES, shared->node_bytes);
        bench_report_row(report, &row);
        bench_report_target(report, &row, "open_p50_ns", true, 1e6);
        bench_report_target(report, &row, "node_bytes", true, 1 << 20);
    }
    bench_unshare(shared, sizeof *shared);
    return failed;
}

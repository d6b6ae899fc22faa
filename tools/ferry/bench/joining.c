/* SPDX-License-Identifier: MIT
 *
 * Joining and leaving under load: one side floods a queue, and beside it another one opens a sender, sends one
 * message, and closes, again and again. What the flood reaches without that is measured alternately. The two senders'
 * sides share a processor where there are only two, so the flood then loses also what the other one computes.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/flow.h"
#include "bench/lifetime.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { TAKER = 0, FLOODER = 1, JOINER = 2, SIDES = 3 };
enum { SIZE = 64, MAX_JOINS = 65536 };

typedef struct result {
    bench_quality_t quality;
    double join_p50_ns, join_p99_ns, leave_p50_ns;
    double per_s, limit_per_s; /* messages taken, with and without joining */
    double joins;
} result_t;

typedef struct shared {
    bench_flow_t flow;
    bench_series_t quiet, joining; /* messages per second */
    size_t joins;
    uint32_t join_ns[MAX_JOINS], leave_ns[MAX_JOINS];
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    bench_taker_t taker;
    bench_giver_t giver;
    uint64_t slices;
} side_t;

static void take_slice(side_t *side, const bench_slice_t *slice, bench_series_t *series) {
    double per_s = bench_take_until(&side->taker, slice->until_ns);

    if (slice->number > 0)
        bench_series_add(series, per_s);
    bench_drain(&side->taker, ++side->slices * side->shared->flow.givers);
}

static void quiet_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == TAKER)
        take_slice(side, slice, &side->shared->quiet);
    else if (side->me->index == FLOODER)
        bench_give(&side->giver, slice->until_ns);
    else
        bench_give_end(&side->giver);
}

static void join_once(side_t *side) {
    bench_giver_t *giver = &side->giver;
    shared_t *shared = side->shared;
    int64_t from_ns = bench_now_ns();
    ferry_sender_t *tx = bench_sender(side->me, "flood", FERRY_QUEUE, NULL);
    int64_t joined_ns = bench_now_ns();

    bench_payload_fill(giver->buffer, SIZE, bench_id(giver->number, ++giver->count));
    int failed = ferry_send(tx, giver->buffer, SIZE, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
    int64_t sent_ns = bench_now_ns();
    bench_close(side->me, tx, NULL);
    if (shared->joins < MAX_JOINS) {
        shared->join_ns[shared->joins] = (uint32_t)(joined_ns - from_ns);
        shared->leave_ns[shared->joins++] = (uint32_t)(bench_now_ns() - sent_ns);
    }
}

static void joining_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == TAKER) {
        take_slice(side, slice, &side->shared->joining);
    } else if (side->me->index == FLOODER) {
        bench_give(&side->giver, slice->until_ns);
    } else {
        while (bench_now_ns() < slice->until_ns)
            join_once(side);
        bench_give_end(&side->giver);
    }
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    side_t side = {.me = me, .shared = shared};

    if (me->index == TAKER) {
        bench_taker_open(&side.taker, me, &shared->flow, "flood");
    } else {
        side.giver = (bench_giver_t){.me = me, .flow = &shared->flow, .number = me->index - 1};
        side.giver.buffer = bench_buffer(me, SIZE);
        bench_node(me);
    }
    if (me->index == FLOODER) {
        side.giver.tx = bench_sender(me, "flood", FERRY_QUEUE, NULL);
        bench_await(me, side.giver.tx, 1);
    }
    bench_alternate(me, me->settings->measure_ns, quiet_slice, joining_slice, &side);
    if (me->index == TAKER)
        bench_taker_close(&side.taker);
    else
        bench_close(me, side.giver.tx, NULL);
    free(side.giver.buffer);
}

static void tell(const shared_t *shared, result_t *result) {
    result->quality.spread = bench_series_spread(&shared->quiet);
    result->per_s = bench_series_median(&shared->joining);
    result->limit_per_s = bench_series_median(&shared->quiet);
    result->joins = (double)shared->joins;
    result->join_p50_ns = bench_percentile(shared->join_ns, shared->joins, 500);
    result->join_p99_ns = bench_percentile(shared->join_ns, shared->joins, 990);
    result->leave_p50_ns = bench_percentile(shared->leave_ns, shared->joins, 500);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    shared->flow.size = SIZE;
    shared->flow.senders = 2;
    shared->flow.givers = 2;
    shared->flow.takers = 1;
    bench_job_t job = {.settings = s, .run = run_side, .sides = SIDES, .takers = 1, .shared = shared};
    job.in_processes = true;
    job.expected_ns = bench_alternate_ns(s->measure_ns);
    int failed = bench_sides_run(&job);
    if (failed == 0)
        tell(shared, out);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_joining(const bench_settings_t *settings, bench_report_t *report) {
    bench_row_t row = {0};
    result_t r;

    if (bench_repeat("senders (joining)", once, settings, &r, sizeof r) != 0)
        return 1;
    bench_row_text(&row, "bench", "bench", "senders");
    bench_row_text(&row, "figure", "figure", "joining");
    bench_row_text(&row, "wait", NULL, bench_wait_word(settings->wait));
    bench_row_add(&row, "join_p50_ns", "join p50", BENCH_NS, r.join_p50_ns);
    bench_row_add(&row, "join_p99_ns", "join p99", BENCH_NS, r.join_p99_ns);
    bench_row_add(&row, "leave_p50_ns", "leave p50", BENCH_NS, r.leave_p50_ns);
    bench_row_add(&row, "joins", "joins", BENCH_NUMBER, r.joins);
    bench_row_add(&row, "msgs_per_s", "messages", BENCH_PER_SECOND, r.per_s);
    bench_row_text(&row, "limit_name", NULL, "the same flood, nobody joining");
    bench_row_add(&row, "limit_msgs_per_s", "undisturbed", BENCH_PER_SECOND, r.limit_per_s);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r.per_s / r.limit_per_s);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    return 0;
}

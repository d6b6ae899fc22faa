/* SPDX-License-Identifier: MIT
 *
 * ferry bench throughput: all senders send as fast as they can, all receivers check every byte and the order.
 *
 * The limit is a bare ring in shared memory between the first sender and the first receiver. With more sides than
 * processors another thread computes beside the traffic, on a processor of the senders, to show what is left to
 * others.
 */
#include <math.h>
#include <stdlib.h>

#include "bench/clock.h"
#include "bench/flow.h"
#include "bench/limits.h"
#include "bench/parts.h"
#include "bench/publish.h"
#include "bench/sides.h"

enum { LINE_TRIPS = 20000 };

static const int64_t compute_ns = 300000000;

typedef struct result {
    bench_quality_t quality;
    double per_s;
    double limit_per_s;
    double line_ns;                       /* round trip of a cache line */
    double smallest_share, largest_share; /* of all messages taken */
    double copies;                        /* made per message, by both sides */
    double compute_share;
    double beside_per_s; /* messages taken, beside the one that computes */
    double compute_fair; /* what a thread among as many gets that never sleep */
} result_t;

typedef struct shared {
    bool has_bystander; /* these are told before the fork */
    bench_ring_t *ring;
    bench_flow_t flow;
    bench_series_t limit_ns;
    bench_line_t line;
    bench_series_t line_ns;
    uint32_t line_sample[LINE_TRIPS];
    double per_s[BENCH_SLICES][BENCH_MAX_RECEIVERS];
    uint64_t from[BENCH_MAX_RECEIVERS][BENCH_MAX_SENDERS];
    uint64_t copies[BENCH_MAX_RECEIVERS + BENCH_MAX_SENDERS];
    double compute_beside;
    double beside_per_s[BENCH_MAX_RECEIVERS];
    int cpu[BENCH_MAX_RECEIVERS + BENCH_MAX_SENDERS + 1]; /* of each side */
} shared_t;

/* The part that a side plays. */
typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    bench_taker_t *taker;
    bench_giver_t *giver;
} side_t;

static unsigned sides_of(const bench_settings_t *s) {
    return s->receivers + s->senders;
}

/* For the parent only: a side is pinned, and sees one processor. */
static bool has_bystander(const bench_settings_t *s) {
    int cpus[BENCH_MAX_SENDERS + BENCH_MAX_RECEIVERS];

    return s->pin != BENCH_PIN_NONE &&
           (s->pin == BENCH_PIN_TOGETHER || bench_processors(cpus, sides_of(s)) < sides_of(s));
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

/*
 * A few round trips of a cache line, which do not count as a limit: on a virtual machine the cores may be near to each
 * other at one time and far at another one, and rates can be compared only where this figure is the same.
 */
static void measure_line(const side_t *side, bool pings, const bench_slice_t *slice) {
    shared_t *shared = side->shared;
    bench_trips_t trips = {.sample = shared->line_sample, .room = LINE_TRIPS};

    if (!pings) {
        bench_line_pong(&shared->line, &shared->line);
        return;
    }
    bench_trips_begin(&trips, (uint64_t)(2e6 * side->me->ticks_per_ns));
    bench_line_ping(&shared->line, &shared->line, &trips);
    if (slice->number > 0)
        bench_series_add(&shared->line_ns, bench_percentile(trips.sample, trips.count, 500) / side->me->ticks_per_ns);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    bench_ring_t *ring = side->shared->ring;
    bool gives = side->giver != NULL && side->giver->number == 0;
    bool takes = side->taker != NULL && side->taker->number == 0;

    if (!gives && !takes)
        return;
    measure_line(side, gives, slice);
    if (gives) {
        bench_ring_write(ring, slice->until_ns);
        return;
    }
    double ns = bench_ring_read(ring, slice->until_ns);
    if (ns == 0)
        bench_fail(side->me, "the bare ring carried a wrong payload");
    if (slice->number > 0)
        bench_series_add(&side->shared->limit_ns, ns);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    bench_taker_t *taker = side->taker;

    if (side->giver != NULL)
        bench_give(side->giver, slice->until_ns);
    if (taker == NULL)
        return;
    double per_s = bench_take_until(taker, slice->until_ns);
    if (slice->number > 0) {
        side->shared->per_s[slice->number - 1][taker->number] = per_s;
        for (unsigned i = 0; i < taker->flow->senders; i++)
            side->shared->from[taker->number][i] = taker->from[i];
    }
    bench_drain(taker, (uint64_t)(slice->number + 1) * taker->flow->givers);
}

/* One more slice of Ferry, with a thread beside it that only computes. */
static void beside_slice(side_t *side) {
    shared_t *shared = side->shared;
    bool computes = side->giver == NULL && side->taker == NULL;
    bench_slice_t slice = {.number = 0, .ns = compute_ns};

    bench_meet(side->me);
    slice.until_ns = bench_now_ns() + slice.ns;
    if (computes)
        shared->compute_beside = bench_compute(compute_ns);
    if (side->giver != NULL)
        bench_give(side->giver, slice.until_ns);
    if (side->taker != NULL) {
        shared->beside_per_s[side->taker->number] = bench_take_until(side->taker, slice.until_ns);
        bench_drain(side->taker, (uint64_t)(BENCH_SLICES + 2) * side->taker->flow->givers);
    }
    bench_meet(side->me);
}

static void run_slices(side_t *side) {
    const bench_settings_t *s = side->me->settings;

    side->shared->cpu[side->me->index] = side->me->cpu;
    bench_meet(side->me);
    bench_alternate(side->me, s->measure_ns, limit_slice, ferry_slice, side);
    if (side->shared->has_bystander)
        beside_slice(side);
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

static void run_taker(bench_side_t *me) {
    shared_t *shared = me->shared;
    ferry_receiver_stats_t stats = {0};
    bench_taker_t taker;
    side_t side = {.me = me, .shared = shared, .taker = &taker};

    bench_taker_open(&taker, me, &shared->flow, "flow");
    taker.number = me->index;
    taker.take = me->settings->take;
    run_slices(&side);
    ferry_receiver_stats(taker.rx, &stats);
    shared->copies[me->index] = stats.copies_made;
    bench_taker_close(&taker);
}

static void run_giver(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    const ferry_contract_t contract = {.hold = s->kind == FERRY_TOPIC ? FERRY_HOLD_BACK : FERRY_HOLD_ANY};
    shared_t *shared = me->shared;
    ferry_sender_stats_t stats = {0};
    bench_giver_t giver = {.me = me, .flow = &shared->flow, .number = me->index - s->receivers, .api = s->api};
    side_t side = {.me = me, .shared = shared, .giver = &giver};

    giver.buffer = bench_buffer(me, s->size);
    giver.tx = bench_sender(me, "flow", s->kind, &contract);
    bench_await(me, giver.tx, s->receivers);
    run_slices(&side);
    ferry_sender_stats(giver.tx, &stats);
    shared->copies[me->index] = stats.copies_made;
    bench_close(me, giver.tx, NULL);
    free(giver.buffer);
}

static void run_side(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    side_t bystander = {.me = me, .shared = me->shared};

    if (me->index < s->receivers)
        run_taker(me);
    else if (me->index < sides_of(s))
        run_giver(me);
    else
        run_slices(&bystander);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* A topic's rate is the publishers': what every receiver gets, not the sum. */
static double rate_of(const bench_settings_t *s, const double *per_s) {
    double sum = 0;

    for (unsigned i = 0; i < s->receivers; i++)
        sum += per_s[i];
    return s->kind == FERRY_TOPIC ? sum / s->receivers : sum;
}

static double median_rate(const bench_settings_t *s, const shared_t *shared) {
    double per_s[BENCH_SLICES];

    for (unsigned slice = 0; slice < BENCH_SLICES; slice++)
        per_s[slice] = rate_of(s, shared->per_s[slice]);
    return bench_median(per_s, BENCH_SLICES);
}

static void tell_shares(const bench_settings_t *s, const shared_t *shared, result_t *result) {
    double total = 0;
    double least = INFINITY;
    double most = 0;

    for (unsigned giver = 0; giver < s->senders; giver++) {
        double from = 0;
        for (unsigned i = 0; i < s->receivers; i++)
            from += (double)shared->from[i][giver];
        total += from;
        least = fmin(least, from);
        most = fmax(most, from);
    }
    result->smallest_share = least / total;
    result->largest_share = most / total;
}

static void tell(const bench_settings_t *s, const shared_t *shared, result_t *result) {
    unsigned sides = sides_of(s);
    double copies = 0;
    double messages = 0;
    unsigned rivals = 1; /* the bystander itself */

    for (unsigned i = 0; i < sides; i++) {
        copies += (double)shared->copies[i];
        rivals += shared->cpu[i] == shared->cpu[sides];
    }
    for (unsigned i = 0; i < s->senders; i++)
        messages += (double)shared->flow.sent[i].n;
    result->quality.spread = bench_series_spread(&shared->limit_ns);
    result->limit_per_s = 1e9 / bench_series_median(&shared->limit_ns);
    result->line_ns = bench_series_median(&shared->line_ns);
    result->per_s = median_rate(s, shared);
    result->beside_per_s = rate_of(s, shared->beside_per_s);
    result->copies = copies / messages;
    result->compute_share = shared->compute_beside;
    result->compute_fair = 1.0 / rivals;
    tell_shares(s, shared, result);
}

/* As many slots as stay near the processor. */
static size_t slots_for(size_t size) {
    size_t slots = 8;

    while (slots < 2048 && slots * 2 * (size + 64) <= 256 * 1024)
        slots *= 2;
    return slots;
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);
    bench_ring_t *ring = bench_ring_new(s->size, slots_for(s->size));
    int failed = 1;

    if (shared != NULL && ring != NULL) {
        shared->has_bystander = has_bystander(s);
        shared->ring = ring;
        shared->flow.size = s->size;
        shared->flow.senders = s->senders;
        shared->flow.givers = s->senders;
        shared->flow.takers = s->receivers;
        shared->flow.to_all = s->kind == FERRY_TOPIC;
        bench_job_t job = {.settings = s, .run = run_side, .takers = s->receivers, .shared = shared};
        job.sides = sides_of(s) + shared->has_bystander;
        job.expected_ns = bench_alternate_ns(s->measure_ns) + 2 * compute_ns;
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(s, shared, out);
    }
    bench_ring_free(ring);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

static void set_targets(const bench_settings_t *s, const bench_row_t *row, bench_report_t *report) {
    bool is_plain = s->kind == FERRY_QUEUE && s->receivers == 1 && s->pin == BENCH_PIN_APART;

    if (is_plain && s->size == 64 && s->senders == 1)
        bench_report_target(report, row, "msgs_per_s", false, 50e6);
    if (is_plain && s->size == 1024 && s->senders == 1 && s->between == BENCH_PROCESSES)
        bench_report_target(report, row, "msgs_per_s", false, 12e6);
    if (is_plain && s->size == 64 && s->senders == 4 && s->between == BENCH_PROCESSES)
        bench_report_target(report, row, "msgs_per_s", false, 20e6);
    if (is_plain && s->size == 64 && s->senders == 8 && s->between == BENCH_PROCESSES)
        bench_report_target(report, row, "msgs_per_s", false, 10e6);
    if (s->kind == FERRY_TOPIC && s->receivers == 8)
        bench_report_target(report, row, "cpu_ratio", true, 1.5);
    if (s->kind == FERRY_TOPIC && s->receivers == 1)
        bench_report_target(report, row, "cpu_ratio_newest", true, 1.1);
}

static void add_publishing(bench_row_t *row, const double *ns) {
    bench_row_add(row, "cpu_ns_per_msg", "publishing", BENCH_NS, ns[BENCH_TOPIC_MANY]);
    bench_row_add(row, "cpu_ns_per_msg_one", "to one", BENCH_NS, ns[BENCH_TOPIC_ONE]);
    bench_row_add(row, "cpu_ratio", "ratio", BENCH_RATIO, ns[BENCH_TOPIC_MANY] / ns[BENCH_TOPIC_ONE]);
    bench_row_add(row, "cpu_ns_newest", NULL, BENCH_NS, ns[BENCH_TOPIC_NEWEST]);
    bench_row_add(row, "cpu_ratio_newest", "+ newest", BENCH_RATIO, ns[BENCH_TOPIC_NEWEST] / ns[BENCH_TOPIC_ONE]);
    bench_row_add(row, "cpu_ns_tagged", NULL, BENCH_NS, ns[BENCH_TOPIC_TAGGED]);
    bench_row_add(row, "cpu_ns_per_tag", NULL, BENCH_NS, ns[BENCH_TOPIC_PER_TAG]);
    bench_row_add(row, "cpu_ratio_per_tag", "+ per tag", BENCH_RATIO, ns[BENCH_TOPIC_PER_TAG] / ns[BENCH_TOPIC_TAGGED]);
}

static void report_throughput(const bench_settings_t *s, const result_t *r, const bench_publish_t *publish,
                              bench_report_t *report) {
    bench_row_t row = {0};

    bench_row_text(&row, "bench", "bench", "throughput");
    bench_row_text(&row, "between", "between", bench_between_word(s->between));
    bench_row_text(&row, "kind", "kind", s->kind == FERRY_TOPIC ? "topic" : "queue");
    bench_row_text(&row, "api", "api", s->api == BENCH_CLAIM ? "claim" : "send");
    bench_row_text(&row, "wait", NULL, bench_wait_word(s->wait));
    bench_row_text(&row, "cores", "cores", bench_pin_word(s->pin));
    bench_row_add(&row, "senders", "senders", BENCH_NUMBER, s->senders);
    bench_row_add(&row, "receivers", "receivers", BENCH_NUMBER, s->receivers);
    bench_row_add(&row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(&row, "msgs_per_s", "messages", BENCH_PER_SECOND, r->per_s);
    bench_row_add(&row, "bytes_per_s", "bytes/s", BENCH_BYTES, r->per_s * (double)s->size);
    bench_row_text(&row, "limit_name", NULL, "bare ring, one to one");
    bench_row_add(&row, "limit_msgs_per_s", "limit", BENCH_PER_SECOND, r->limit_per_s);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r->per_s / r->limit_per_s);
    bench_row_add(&row, "line_ns", "cache line", BENCH_NS, r->line_ns);
    bench_row_add(&row, "smallest_share", "least share", BENCH_RATIO, r->smallest_share);
    bench_row_add(&row, "largest_share", "most", BENCH_RATIO, r->largest_share);
    bench_row_add(&row, "copies", "copies/msg", BENCH_RATIO, r->copies);
    if (has_bystander(s)) {
        bench_row_add(&row, "compute_share", "others get", BENCH_RATIO, r->compute_share);
        bench_row_add(&row, "compute_fair", "if all spun", BENCH_RATIO, r->compute_fair);
        bench_row_add(&row, "beside_msgs_per_s", "then", BENCH_PER_SECOND, r->beside_per_s);
    }
    if (s->kind == FERRY_TOPIC)
        add_publishing(&row, publish->cpu_ns);
    bench_row_quality(&row, &r->quality);
    bench_report_row(report, &row);
    set_targets(s, &row, report);
}

int bench_throughput(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    bench_publish_t publish = {0};
    result_t result;

    if (s.size == 0)
        s.size = 64;
    if (bench_repeat("throughput", once, &s, &result, sizeof result) != 0)
        return 1;
    if (s.kind == FERRY_TOPIC && bench_publish(&s, &publish) != 0)
        return 1;
    if (publish.quality.spread > result.quality.spread)
        result.quality = publish.quality; /* the row is as trustworthy as its worse half */
    report_throughput(&s, &result, &publish, report);
    return 0;
}

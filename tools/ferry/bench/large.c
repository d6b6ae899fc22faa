/* SPDX-License-Identifier: MIT
 *
 * ferry bench large: messages handed over by pointer, as many on their way as the depth allows.
 *
 * "line": one line of each message is written and read, so that what is measured is the hand-over; its limit is the
 * round trip of a bare cache line. "whole": every byte is written and read; its limit is the same work, by the same
 * code, in as many slots of bare shared memory.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { TAKER = 0, GIVER = 1 };
enum { LINE = 64 };

typedef struct result {
    bench_quality_t quality;
    double ns;       /* per message */
    double limit_ns; /* a round trip, or a message in bare memory */
    double verified; /* bytes */
    double copies;   /* per message */
} result_t;

typedef struct shared {
    bench_line_t line;
    bench_series_t limit_ns, ns;
    uint64_t verified;
    uint64_t copies[2];
    uint64_t messages;
    bench_ring_t *ring; /* whole: bare memory; told before the fork */
    uint32_t *sample;   /* line: of round trips */
    size_t room;
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    size_t size;
    size_t touched; /* bytes of a message that are written and read */
    size_t burst;   /* messages between two looks at the clock */
    uint64_t count;
} side_t;

/* --- the limit --------------------------------------------------------------------------------------------------- */

static void line_slice(side_t *side, const bench_slice_t *slice) {
    shared_t *shared = side->shared;
    bench_trips_t trips = {.sample = shared->sample, .room = shared->room};

    if (side->me->index == TAKER) {
        bench_line_pong(&shared->line, &shared->line);
        return;
    }
    bench_trips_begin(&trips, (uint64_t)((double)slice->ns * side->me->ticks_per_ns));
    bench_line_ping(&shared->line, &shared->line, &trips);
    if (slice->number > 0)
        bench_series_add(&shared->limit_ns, bench_percentile(trips.sample, trips.count, 500) / side->me->ticks_per_ns);
}

static void memory_slice(side_t *side, const bench_slice_t *slice) {
    if (side->me->index == GIVER) {
        bench_ring_write(side->shared->ring, slice->until_ns);
        return;
    }
    double ns = bench_ring_read(side->shared->ring, slice->until_ns);
    if (ns == 0)
        bench_fail(side->me, "the bare memory carried a wrong payload");
    if (slice->number > 0)
        bench_series_add(&side->shared->limit_ns, ns);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->shared->ring != NULL)
        memory_slice(side, slice);
    else
        line_slice(side, slice);
}

/* --- Ferry ------------------------------------------------------------------------------------------------------- */

static void give(side_t *side, uint64_t flag) {
    ferry_msg_t *m;
    void *data;
    int failed = ferry_msg_new(side->tx, side->size, BENCH_PATIENCE, &data, &m);

    if (failed < 0)
        bench_fail(side->me, "ferry_msg_new answered %s: %s", strerror(-failed), ferry_last_error());
    bench_payload_fill(data, side->touched, ++side->count | flag);
    failed = ferry_send_msg(side->tx, m, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "ferry_send_msg answered %s: %s", strerror(-failed), ferry_last_error());
    ferry_msg_release(m);
}

/* False: it was the last one of the slice. */
static bool take(side_t *side) {
    ferry_msg_t *m;
    uint64_t id;
    int failed = ferry_recv(side->rx, BENCH_PATIENCE, &m);

    if (failed < 0)
        bench_fail(side->me, "ferry_recv answered %s: %s", strerror(-failed), ferry_last_error());
    if (ferry_msg_size(m) != side->size || !bench_payload_check(ferry_msg_data(m), side->touched, &id))
        bench_fail(side->me, "a message of %zu bytes arrived damaged", ferry_msg_size(m));
    if ((id & BENCH_ID_COUNT) != ++side->count)
        bench_fail(side->me, "message %llu came where %llu was due", (unsigned long long)(id & BENCH_ID_COUNT),
                   (unsigned long long)side->count);
    ferry_msg_release(m);
    return (id & BENCH_ID_LAST) == 0;
}

static void give_slice(side_t *side, const bench_slice_t *slice) {
    do {
        for (size_t i = 0; i < side->burst; i++)
            give(side, 0);
    } while (bench_now_ns() < slice->until_ns);
    give(side, BENCH_ID_LAST);
}

/* The first one may take longer than a slice, where others need the machine: a second one is timed nevertheless. */
static void take_slice(side_t *side, const bench_slice_t *slice) {
    bool more = take(side);
    uint64_t first = side->count;
    int64_t from_ns = bench_now_ns();
    int64_t now_ns = from_ns;

    while (more && (side->count == first || now_ns < slice->until_ns)) {
        for (size_t i = 0; i < side->burst && more; i++)
            more = take(side);
        now_ns = bench_now_ns();
    }
    if (slice->number > 0)
        bench_series_add(&side->shared->ns, (double)(now_ns - from_ns) / (double)(side->count - first));
    while (more)
        more = take(side);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == GIVER)
        give_slice(side, slice);
    else
        take_slice(side, slice);
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

static ferry_contract_t contract_of(const bench_settings_t *s) {
    ferry_contract_t contract = {.capacity = s->depth};

    /* One more than are on their way may be being written; the rest is for what the pool needs for itself. */
    contract.quota = (uint64_t)(s->depth + 2) * s->size + (uint64_t)s->depth * s->size / 4 + (8 << 20);
    return contract;
}

/* A first use costs page faults: the memory for as many messages as will be on their way is there before it begins. */
static void warm(side_t *side) {
    unsigned count = side->me->settings->depth + 1;
    ferry_msg_t **m = calloc(count, sizeof *m);
    void *data;

    for (unsigned i = 0; m != NULL && i < count; i++) {
        int failed = ferry_msg_new(side->tx, side->size, BENCH_PATIENCE, &data, &m[i]);
        if (failed < 0)
            bench_fail(side->me, "ferry_msg_new answered %s: %s", strerror(-failed), ferry_last_error());
    }
    for (unsigned i = 0; m != NULL && i < count; i++)
        ferry_msg_release(m[i]);
    free(m);
}

static void run_side(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    const ferry_contract_t contract = contract_of(s);
    shared_t *shared = me->shared;
    ferry_receiver_stats_t received = {0};
    ferry_sender_stats_t sent = {0};
    side_t side = {.me = me, .shared = shared, .size = s->size};

    side.touched = s->touch == BENCH_TOUCH_WHOLE ? s->size : LINE;
    side.burst = bench_burst(side.touched);
    if (me->index == TAKER) {
        side.rx = bench_receiver(me, "large", FERRY_QUEUE);
    } else {
        side.tx = bench_sender(me, "large", FERRY_QUEUE, &contract);
        bench_await(me, side.tx, 1);
        warm(&side);
    }
    bench_alternate(me, s->measure_ns, limit_slice, ferry_slice, &side);
    if (me->index == TAKER) {
        ferry_receiver_stats(side.rx, &received);
        shared->messages = side.count;
        shared->verified = side.count * side.touched;
    } else {
        ferry_sender_stats(side.tx, &sent);
    }
    shared->copies[me->index] = received.copies_made + sent.copies_made;
    bench_close(me, side.tx, side.rx);
}

static void tell(const shared_t *shared, result_t *result) {
    result->quality.spread = bench_series_spread(&shared->limit_ns);
    result->ns = bench_series_median(&shared->ns);
    result->limit_ns = bench_series_median(&shared->limit_ns);
    result->verified = (double)shared->verified;
    result->copies = (double)(shared->copies[TAKER] + shared->copies[GIVER]) / (double)shared->messages;
}

static size_t power_of_two(size_t at_most) {
    size_t n = 1;

    while (n * 2 <= at_most)
        n *= 2;
    return n;
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    const size_t room = (size_t)4 << 20;
    bool whole = s->touch == BENCH_TOUCH_WHOLE;
    shared_t *shared = bench_share(sizeof *shared);
    uint32_t *sample = bench_share(room * sizeof *sample);
    bench_ring_t *ring = whole ? bench_ring_new(s->size, power_of_two(s->depth)) : NULL;
    int failed = 1;

    if (shared != NULL && sample != NULL && (ring != NULL || !whole)) {
        shared->sample = sample;
        shared->room = room;
        shared->ring = ring;
        bench_job_t job = {.settings = s, .run = run_side, .sides = 2, .takers = 1, .shared = shared};
        job.expected_ns = bench_alternate_ns(s->measure_ns) + 5000000000;
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(shared, out);
    }
    bench_ring_free(ring);
    bench_unshare(sample, room * sizeof *sample);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static void report_large(const bench_settings_t *s, const result_t *r, bench_report_t *report) {
    bool whole = s->touch == BENCH_TOUCH_WHOLE;
    bench_row_t row = {0};

    bench_row_text(&row, "bench", "bench", "large");
    bench_row_text(&row, "between", "between", bench_between_word(s->between));
    bench_row_text(&row, "wait", NULL, bench_wait_word(s->wait));
    bench_row_text(&row, "touch", "touch", whole ? "whole" : "line");
    bench_row_add(&row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(&row, "depth", "depth", BENCH_NUMBER, s->depth);
    bench_row_add(&row, "ns_per_msg", "a message", BENCH_NS, r->ns);
    if (whole)
        bench_row_add(&row, "bytes_per_s", "bytes/s", BENCH_BYTES, (double)s->size * 1e9 / r->ns);
    bench_row_text(&row, "limit_name", NULL, whole ? "the same work on bare shared memory" : "cache-line round trip");
    bench_row_add(&row, "limit_ns", "limit", BENCH_NS, r->limit_ns);
    /* Where the work is the same, how much of the limit's speed is reached; else how much of a round trip it costs. */
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, whole ? r->limit_ns / r->ns : r->ns / r->limit_ns);
    bench_row_add(&row, "bytes_verified", NULL, BENCH_BYTES, r->verified);
    bench_row_add(&row, "copies", "copies/msg", BENCH_RATIO, r->copies);
    bench_row_quality(&row, &r->quality);
    bench_report_row(report, &row);
    if (s->pin == BENCH_PIN_APART)
        bench_report_target(report, &row, "ratio", !whole, whole ? 0.9 : 1.0 / 3);
}

/*
 * Whole messages: so few that small ones stay near the processor. Hand-over: so many that the way there and back does
 * not count, as far as an eighth of the memory holds them.
 */
static unsigned depth_for(size_t size, bool whole) {
    size_t fit = (size_t)sysconf(_SC_PHYS_PAGES) / 8 * (size_t)sysconf(_SC_PAGESIZE) / size;

    if (whole)
        return size <= (16 << 20) ? 4 : 2;
    return fit > 64 ? 64 : fit < 4 ? 4 : (unsigned)fit;
}

static int measure(const bench_settings_t *settings, size_t size, bench_touch_t touch, bench_report_t *report) {
    bench_settings_t s = *settings;
    result_t result;

    s.size = size;
    s.touch = touch;
    if (s.depth == 0)
        s.depth = depth_for(size, touch == BENCH_TOUCH_WHOLE);
    if (bench_repeat("large", once, &s, &result, sizeof result) != 0)
        return 1;
    report_large(&s, &result, report);
    return 0;
}

int bench_large(const bench_settings_t *settings, bench_report_t *report) {
    static const size_t sizes[] = {64 << 10, 1 << 20, 64 << 20};
    bool both = settings->touch == BENCH_TOUCH_BOTH;
    int failed = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && failed == 0; i++) {
        size_t size = settings->size != 0 ? settings->size : sizes[i];
        if (both || settings->touch == BENCH_TOUCH_LINE)
            failed = measure(settings, size, BENCH_TOUCH_LINE, report);
        if (failed == 0 && (both || settings->touch == BENCH_TOUCH_WHOLE))
            failed = measure(settings, size, BENCH_TOUCH_WHOLE, report);
        if (settings->size != 0)
            break;
    }
    return failed;
}

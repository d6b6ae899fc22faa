/* SPDX-License-Identifier: MIT
 *
 * ferry bench fairness: a polite sender sends one message about every 50 us, and how late each arrives is measured,
 * alone and beside a sender that floods the same receiver, in turn.
 *
 * A receiver serves at most one quantum of bytes of a sender before the next one's turn, and the message that exceeds
 * it. So of the flood, few messages are taken between the moment at which a polite message has been sent and the one at
 * which it is taken: that is counted, and does not depend on who gets a processor. And a message should come at most as
 * late as alone plus the time that one quantum of the flood takes this receiver, which is measured as well; three
 * processes on two processors, however, wait for each other also without Ferry.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/flow.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { TAKER = 0, POLITE = 1, FLOODER = 2, SIDES = 3 };
enum { PACE_NS = 50000, QUANTUM = 16384, OVERHEAD = 64, MAX_SAMPLES = 1 << 20, ON_THEIR_WAY = 1 << 16 };

typedef struct result {
    bench_quality_t quality;
    double alone_p50_ns, alone_p99_ns;
    double beside_p50_ns, beside_p99_ns;
    double quantum_ns;
    double flood_per_s;
    double alone, beside;           /* messages measured */
    double before_p99, before_most; /* messages of the flood that were taken before a polite one */
} result_t;

/* Nanoseconds, or messages. */
typedef struct delays {
    size_t n;
    uint32_t ns[MAX_SAMPLES];
} delays_t;

typedef struct shared {
    bench_flow_t flow;
    bench_series_t alone_ns; /* medians, which tell whether the run was disturbed */
    bench_series_t flood_per_s;
    _Atomic int64_t sent_ns[ON_THEIR_WAY];      /* by the polite sender's count */
    _Atomic uint64_t flood_at[ON_THEIR_WAY];    /* likewise: flood_taken when it had been sent; plus one */
    _Alignas(128) _Atomic uint64_t flood_taken; /* the taker's */
    delays_t alone, beside, quantum, before;
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    bench_taker_t taker;
    bench_giver_t giver;
    uint64_t slices;
} side_t;

static void keep(delays_t *delays, int64_t ns) {
    if (delays->n < MAX_SAMPLES)
        delays->ns[delays->n++] = ns < 0 ? 0 : ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static void send_politely(side_t *side, int64_t until_ns) {
    bench_giver_t *giver = &side->giver;
    int64_t next_ns = bench_now_ns();

    while (next_ns < until_ns) {
        const struct timespec next = {.tv_sec = next_ns / 1000000000, .tv_nsec = next_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        bench_payload_fill(giver->buffer, side->shared->flow.size, bench_id(giver->number, ++giver->count));
        int64_t now_ns = bench_now_ns();
        atomic_store_explicit(&side->shared->sent_ns[giver->count % ON_THEIR_WAY], now_ns, memory_order_relaxed);
        atomic_store_explicit(&side->shared->flood_at[giver->count % ON_THEIR_WAY], 0, memory_order_release);
        int failed = ferry_send(giver->tx, giver->buffer, side->shared->flow.size, BENCH_PATIENCE);
        if (failed < 0)
            bench_fail(side->me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
        uint64_t taken = atomic_load_explicit(&side->shared->flood_taken, memory_order_relaxed);
        atomic_store_explicit(&side->shared->flood_at[giver->count % ON_THEIR_WAY], taken + 1, memory_order_relaxed);
        next_ns = now_ns + PACE_NS;
    }
    bench_give_end(giver);
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

/* How many of the flood were taken since the polite message `count` was sent. It may have come before its sender could
 * write that down: then there were none. */
static void keep_before(shared_t *shared, uint64_t count, uint64_t flood) {
    uint64_t at = atomic_exchange_explicit(&shared->flood_at[count % ON_THEIR_WAY], 0, memory_order_relaxed);

    keep(&shared->before, at == 0 ? 0 : (int64_t)(flood - (at - 1)));
}

/* Keeps the delays of the polite sender's messages, and the times of whole quanta of the flood. */
static void take_slice(side_t *side, const bench_slice_t *slice, delays_t *delays) {
    shared_t *shared = side->shared;
    const uint64_t quantum = QUANTUM / shared->flow.size > 0 ? QUANTUM / shared->flow.size : 1;
    const int64_t begun_ns = bench_now_ns();
    int64_t from_ns = begun_ns;
    const uint64_t flood_before = atomic_load(&shared->flood_taken);
    uint64_t flood = flood_before;
    uint64_t run = 0; /* messages of the flood since from_ns */
    uint64_t id;

    while (from_ns < slice->until_ns) {
        bool came = bench_take_next(&side->taker, 10 * PACE_NS, &id);
        if (came && bench_id_sender(id) == FLOODER - 1) {
            atomic_store_explicit(&shared->flood_taken, ++flood, memory_order_relaxed);
            if (++run < quantum)
                continue;
        }
        int64_t now_ns = bench_now_ns();
        if (came && bench_id_sender(id) == POLITE - 1 && slice->number > 0) {
            keep(delays, now_ns - atomic_load(&shared->sent_ns[(id & BENCH_ID_COUNT) % ON_THEIR_WAY]));
            if (delays == &shared->beside)
                keep_before(shared, id & BENCH_ID_COUNT, flood);
        }
        if (run == quantum && slice->number > 0)
            keep(&shared->quantum, now_ns - from_ns);
        run = 0;
        from_ns = now_ns;
    }
    if (slice->number > 0 && flood > flood_before)
        bench_series_add(&shared->flood_per_s, (double)(flood - flood_before) * 1e9 / (double)(from_ns - begun_ns));
    bench_drain(&side->taker, ++side->slices * shared->flow.givers);
}

static void alone_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    delays_t *alone = &side->shared->alone;
    size_t before = alone->n;

    if (side->me->index == POLITE) {
        send_politely(side, slice->until_ns);
    } else if (side->me->index == FLOODER) {
        bench_give_end(&side->giver);
    } else {
        take_slice(side, slice, alone);
        if (slice->number > 0)
            bench_series_add(&side->shared->alone_ns, bench_percentile(alone->ns + before, alone->n - before, 500));
    }
}

static void beside_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == POLITE)
        send_politely(side, slice->until_ns);
    else if (side->me->index == FLOODER)
        bench_give(&side->giver, slice->until_ns);
    else
        take_slice(side, slice, &side->shared->beside);
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    side_t side = {.me = me, .shared = shared};

    if (me->index == TAKER) {
        bench_taker_open(&side.taker, me, &shared->flow, "fair");
    } else {
        side.giver = (bench_giver_t){.me = me, .flow = &shared->flow, .number = me->index - 1};
        side.giver.buffer = bench_buffer(me, shared->flow.size);
        side.giver.tx = bench_sender(me, "fair", FERRY_QUEUE, NULL);
        bench_await(me, side.giver.tx, 1);
        prctl(PR_SET_TIMERSLACK, 1); /* the default would add 50 us to every pause */
    }
    bench_alternate(me, me->settings->measure_ns, alone_slice, beside_slice, &side);
    if (me->index == TAKER)
        bench_taker_close(&side.taker);
    else
        bench_close(me, side.giver.tx, NULL);
    free(side.giver.buffer);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static double percentile(const delays_t *delays, unsigned permille) {
    return bench_percentile(delays->ns, delays->n, permille);
}

static void tell(const shared_t *shared, result_t *result) {
    result->quality.spread = bench_series_spread(&shared->alone_ns);
    result->alone_p50_ns = percentile(&shared->alone, 500);
    result->alone_p99_ns = percentile(&shared->alone, 990);
    result->beside_p50_ns = percentile(&shared->beside, 500);
    result->beside_p99_ns = percentile(&shared->beside, 990);
    result->quantum_ns = percentile(&shared->quantum, 500);
    result->flood_per_s = bench_series_median(&shared->flood_per_s);
    result->alone = (double)shared->alone.n;
    result->beside = (double)shared->beside.n;
    result->before_p99 = round(percentile(&shared->before, 990)); /* which spreads equal samples over one unit */
    result->before_most = round(percentile(&shared->before, 1000));
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    shared->flow.size = s->size;
    shared->flow.senders = 2;
    shared->flow.givers = 2;
    shared->flow.takers = 1;
    bench_job_t job = {.settings = s, .run = run_side, .sides = SIDES, .takers = 1, .shared = shared};
    job.expected_ns = bench_alternate_ns(s->measure_ns);
    int failed = bench_sides_run(&job);
    if (failed == 0)
        tell(shared, out);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_fairness(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    bench_row_t row = {0};
    result_t r;

    if (s.size == 0)
        s.size = 64;
    if (bench_repeat("fairness", once, &s, &r, sizeof r) != 0)
        return 1;
    double bound_ns = r.quantum_ns + r.alone_p99_ns;
    size_t bound = (QUANTUM + s.size + OVERHEAD - 1) / (s.size + OVERHEAD) + 1; /* and the one that was being taken */
    bench_row_text(&row, "bench", "bench", "fairness");
    bench_row_text(&row, "between", "between", bench_between_word(s.between));
    bench_row_text(&row, "wait", "wait", bench_wait_word(s.wait));
    bench_row_text(&row, "cores", "cores", bench_pin_word(s.pin));
    bench_row_add(&row, "size", "size", BENCH_BYTES, (double)s.size);
    bench_row_add(&row, "alone_p50_ns", "alone p50", BENCH_NS, r.alone_p50_ns);
    bench_row_add(&row, "alone_p99_ns", "p99", BENCH_NS, r.alone_p99_ns);
    bench_row_add(&row, "beside_p50_ns", "beside p50", BENCH_NS, r.beside_p50_ns);
    bench_row_add(&row, "beside_p99_ns", "p99", BENCH_NS, r.beside_p99_ns);
    bench_row_add(&row, "quantum_bytes", NULL, BENCH_BYTES, QUANTUM);
    bench_row_add(&row, "quantum_ns", "quantum", BENCH_NS, r.quantum_ns);
    bench_row_text(&row, "limit_name", NULL, "one quantum and the p99 alone");
    bench_row_add(&row, "bound_ns", "bound", BENCH_NS, bound_ns);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r.beside_p99_ns / bound_ns);
    bench_row_add(&row, "flood_msgs_per_s", "flood", BENCH_PER_SECOND, r.flood_per_s);
    bench_row_add(&row, "taken_before_p99", "taken before p99", BENCH_NUMBER, r.before_p99);
    bench_row_add(&row, "taken_before_most", "most", BENCH_NUMBER, r.before_most);
    bench_row_add(&row, "taken_before_bound", "bound", BENCH_NUMBER, (double)bound);
    bench_row_add(&row, "messages_alone", NULL, BENCH_NUMBER, r.alone);
    bench_row_add(&row, "messages_beside", NULL, BENCH_NUMBER, r.beside);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    if (s.pin == BENCH_PIN_APART)
        bench_report_target(report, &row, "ratio", true, 1);
    bench_report_target(report, &row, "taken_before_p99", true, (double)bound);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * ferry bench senders: many senders on one receiver. One side receives, the other one holds all senders.
 *
 * For 1, 10, 100, 1000... of them: what a link that nothing flows on takes of memory, and what a message costs, both
 * with all senders taking turns and with a single one among idle others. The limit is a bare ring in shared memory.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/flow.h"
#include "bench/lifetime.h"
#include "bench/limits.h"
#include "bench/memory.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { TAKER = 0, GIVER = 1 };
enum { SIZE = 64, BEFORE = 0, OPENED = 1, USED = 2, MOMENTS = 3 };

typedef struct result {
    bench_quality_t quality;
    double link_bytes;      /* of a link that never carried anything */
    double link_bytes_used; /* of one that carried a message and is idle again */
    double open_ns;         /* of a sender */
    double ns, ns_one;      /* per message: all take turns; one among idle others */
    double limit_ns;
} result_t;

typedef struct shared {
    bench_flow_t flow;
    bench_series_t limit_ns, ns, ns_one;
    double open_ns;
    bench_ring_t *ring; /* told before the fork */
    bench_memory_t memory[2][MOMENTS];
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    unsigned count; /* of senders */
    bench_taker_t taker;
    bench_giver_t giver;
    ferry_sender_t **tx;
    uint64_t *sent; /* by each sender */
    unsigned next;  /* sender to take its turn */
    bool one;       /* the slices of one sender among idle others */
    uint64_t slices;
} side_t;

/* --- memory ------------------------------------------------------------------------------------------------------ */

/* Shared memory counts in a process once it has touched it there; that must not happen between two readings. */
static void touch(shared_t *shared) {
    volatile unsigned char *bytes = (unsigned char *)shared;

    for (size_t i = 0; i < sizeof *shared; i += 4096)
        bytes[i] = bytes[i];
}

static void read_memory(side_t *side, int moment) {
    bench_meet(side->me);
    if (!bench_memory_read(&side->shared->memory[side->me->index][moment]))
        bench_fail(side->me, "/proc/self/smaps_rollup and /proc/self/maps are needed to tell how much memory is used");
    bench_meet(side->me);
}

/* Bytes by which the sides have grown since they were alone, per link. */
static double growth(const shared_t *shared, bool in_threads, int moment, unsigned count) {
    size_t n = in_threads ? 1 : 2; /* in one process both have read the same */
    const bench_memory_t *before[2] = {&shared->memory[TAKER][BEFORE], &shared->memory[GIVER][BEFORE]};
    const bench_memory_t *after[2] = {&shared->memory[TAKER][moment], &shared->memory[GIVER][moment]};
    double allocated = (double)bench_memory_files(after, n) - (double)bench_memory_files(before, n);
    double touched = 0;

    for (size_t i = 0; i < n; i++) {
        allocated += (double)after[i]->anonymous - (double)before[i]->anonymous;
        touched += (double)after[i]->pss - (double)before[i]->pss;
    }
    return fmax(allocated, touched) / count;
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

static void send_one(side_t *side, unsigned sender) {
    bench_giver_t *giver = &side->giver;

    bench_payload_fill(giver->buffer, SIZE, bench_id(sender, ++side->sent[sender]));
    int failed = ferry_send(side->tx[sender], giver->buffer, SIZE, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
    giver->count++;
}

static void give_slice(side_t *side, const bench_slice_t *slice) {
    size_t burst = bench_burst(SIZE);

    do {
        for (size_t i = 0; i < burst; i++) {
            send_one(side, side->one ? side->count / 2 : side->next);
            side->next = side->next + 1 < side->count ? side->next + 1 : 0;
        }
    } while (bench_now_ns() < slice->until_ns);
    bench_give_end(&side->giver);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    side->slices++;
    if (side->me->index == GIVER) {
        give_slice(side, slice);
        return;
    }
    double per_s = bench_take_until(&side->taker, slice->until_ns);
    if (slice->number > 0)
        bench_series_add(side->one ? &side->shared->ns_one : &side->shared->ns, 1e9 / per_s);
    bench_drain(&side->taker, side->slices);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == GIVER) {
        bench_ring_write(side->shared->ring, slice->until_ns);
        return;
    }
    double ns = bench_ring_read(side->shared->ring, slice->until_ns);
    if (ns == 0)
        bench_fail(side->me, "the bare ring carried a wrong payload");
    if (slice->number > 0)
        bench_series_add(&side->shared->limit_ns, ns);
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

static void open_senders(side_t *side) {
    int64_t from_ns = bench_now_ns();

    for (unsigned i = 0; i < side->count; i++)
        side->tx[i] = bench_sender(side->me, "many", FERRY_QUEUE, NULL);
    side->shared->open_ns = (double)(bench_now_ns() - from_ns) / side->count;
    for (unsigned i = 0; i < side->count; i++)
        bench_await(side->me, side->tx[i], 1);
}

/* Every sender has sent one message, and it has been received. */
static void use_links(side_t *side) {
    if (side->me->index == GIVER) {
        for (unsigned i = 0; i < side->count; i++)
            send_one(side, i);
        bench_give_end(&side->giver);
    } else {
        bench_drain(&side->taker, 1);
    }
    side->slices = 1;
}

static void prepare(side_t *side) {
    bench_side_t *me = side->me;

    touch(side->shared);
    bench_node(me);
    if (me->index == TAKER) {
        bench_taker_open(&side->taker, me, &side->shared->flow, "many");
        return;
    }
    side->tx = calloc(side->count, sizeof(ferry_sender_t *));
    side->sent = calloc(side->count, sizeof *side->sent);
    if (side->tx == NULL || side->sent == NULL)
        bench_fail(me, "there is no memory for %u senders", side->count);
    memset(side->tx, 0, side->count * sizeof(ferry_sender_t *)); /* touched before memory is read */
    side->giver = (bench_giver_t){.me = me, .flow = &side->shared->flow, .buffer = bench_buffer(me, SIZE)};
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    side_t side = {.me = me, .shared = shared, .count = me->settings->count};
    int64_t each_ns = me->settings->measure_ns / 2;

    prepare(&side);
    read_memory(&side, BEFORE); /* the first reading also makes the buffers that reading needs */
    read_memory(&side, BEFORE);
    if (me->index == GIVER)
        open_senders(&side);
    read_memory(&side, OPENED);
    use_links(&side);
    read_memory(&side, USED);
    bench_alternate(me, each_ns, limit_slice, ferry_slice, &side);
    side.one = true;
    bench_alternate(me, each_ns, limit_slice, ferry_slice, &side);
    if (me->index == TAKER)
        bench_taker_close(&side.taker);
    for (unsigned i = 0; me->index == GIVER && i < side.count; i++)
        bench_close(me, side.tx[i], NULL);
    free(side.giver.buffer);
    free(side.sent);
    free(side.tx);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void tell(const bench_settings_t *s, const shared_t *shared, result_t *result) {
    bool in_threads = s->between == BENCH_THREADS;

    result->quality.spread = bench_series_spread(&shared->limit_ns);
    result->limit_ns = bench_series_median(&shared->limit_ns);
    result->ns = bench_series_median(&shared->ns);
    result->ns_one = bench_series_median(&shared->ns_one);
    result->open_ns = shared->open_ns;
    result->link_bytes = growth(shared, in_threads, OPENED, s->count);
    result->link_bytes_used = growth(shared, in_threads, USED, s->count);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);
    bench_ring_t *ring = bench_ring_new(SIZE, 2048);
    int failed = 1;

    if (shared != NULL && ring != NULL) {
        shared->ring = ring;
        shared->flow.size = SIZE;
        shared->flow.senders = s->count;
        shared->flow.givers = 1;
        shared->flow.takers = 1;
        bench_job_t job = {.settings = s, .run = run_side, .sides = 2, .takers = 1, .shared = shared};
        job.expected_ns = 2 * bench_alternate_ns(s->measure_ns) + (int64_t)s->count * 2000000;
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(s, shared, out);
    }
    bench_ring_free(ring);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

static void report_count(const bench_settings_t *s, const result_t *r, bench_report_t *report) {
    bench_row_t row = {0};

    bench_row_text(&row, "bench", "bench", "senders");
    bench_row_text(&row, "between", "between", bench_between_word(s->between));
    bench_row_text(&row, "wait", NULL, bench_wait_word(s->wait));
    bench_row_add(&row, "count", "count", BENCH_NUMBER, s->count);
    bench_row_add(&row, "size", NULL, BENCH_BYTES, SIZE);
    bench_row_add(&row, "link_bytes", "idle link", BENCH_BYTES, r->link_bytes);
    bench_row_add(&row, "link_bytes_used", "once used", BENCH_BYTES, r->link_bytes_used);
    bench_row_add(&row, "open_ns", "to open", BENCH_NS, r->open_ns);
    bench_row_add(&row, "ns_per_msg", "in turns", BENCH_NS, r->ns);
    bench_row_add(&row, "ns_per_msg_one", "one active", BENCH_NS, r->ns_one);
    bench_row_text(&row, "limit_name", NULL, "bare ring, one to one");
    bench_row_add(&row, "limit_ns", "limit", BENCH_NS, r->limit_ns);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r->ns / r->limit_ns);
    bench_row_quality(&row, &r->quality);
    bench_report_row(report, &row);
    if (s->count >= 100) /* with few, what two nodes need to be connected at all outweighs the links */
        bench_report_target(report, &row, "link_bytes", true, 16384);
}

static int measure_count(const bench_settings_t *settings, unsigned count, bench_report_t *report) {
    bench_settings_t s = *settings;
    result_t result;

    s.count = count;
    if (bench_repeat("senders", once, &s, &result, sizeof result) != 0)
        return 1;
    report_count(&s, &result, report);
    return 0;
}

int bench_senders(const bench_settings_t *settings, bench_report_t *report) {
    /*
     * Opening comes first: what follows leaves thousands of removed files, after which it took up to three times as
     * long, in a new process, too. (It seems that ext4 without a journal steps over what was removed lately when it
     * makes a file.)
     */
    if (bench_opening(settings, report) != 0)
        return 1;
    for (unsigned count = 1; count < settings->count; count *= 10) {
        if (measure_count(settings, count, report) != 0)
            return 1;
    }
    if (measure_count(settings, settings->count, report) != 0)
        return 1;
    return bench_joining(settings, report) != 0 || bench_dying(settings, report) != 0;
}

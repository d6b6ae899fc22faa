/* SPDX-License-Identifier: MIT */
#include "bench/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/payload.h"

enum { BATCH = 64 };

static const int64_t look_ns = 100000000; /* a taker that gets nothing looks at the clock that often */

/* --- giving ------------------------------------------------------------------------------------------------------ */

_Noreturn static void cannot_send(bench_giver_t *giver, const char *call, int error) {
    bench_fail(giver->me, "%s answered %s at message %llu: %s", call, strerror(-error),
               (unsigned long long)giver->count, ferry_last_error());
}

static void send_burst(bench_giver_t *giver, size_t burst) {
    size_t size = giver->flow->size;
    unsigned char *buffer = giver->buffer;

    for (size_t i = 0; i < burst; i++) {
        bench_payload_fill(buffer, size, bench_id(giver->number, ++giver->count));
        int failed = ferry_send(giver->tx, buffer, size, BENCH_PATIENCE);
        if (failed < 0)
            cannot_send(giver, "ferry_send", failed);
    }
}

static void claim_burst(bench_giver_t *giver, size_t burst) {
    size_t size = giver->flow->size;

    for (size_t i = 0; i < burst; i++) {
        void *place;
        int failed = ferry_claim(giver->tx, size, BENCH_PATIENCE, &place);
        if (failed < 0)
            cannot_send(giver, "ferry_claim", failed);
        bench_payload_fill(place, size, bench_id(giver->number, ++giver->count));
        failed = ferry_commit(giver->tx, size);
        if (failed < 0)
            cannot_send(giver, "ferry_commit", failed);
    }
}

void bench_give_end(bench_giver_t *giver) {
    atomic_store(&giver->flow->sent[giver->number].n, giver->count);
    atomic_fetch_add(&giver->flow->ended.n, 1);
}

void bench_give(bench_giver_t *giver, int64_t until_ns) {
    size_t burst = bench_burst(giver->flow->size);

    do {
        if (giver->api == BENCH_CLAIM)
            claim_burst(giver, burst);
        else
            send_burst(giver, burst);
    } while (bench_now_ns() < until_ns);
    bench_give_end(giver);
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

void bench_taker_open(bench_taker_t *taker, bench_side_t *me, bench_flow_t *flow, const char *channel) {
    *taker = (bench_taker_t){.me = me, .flow = flow};
    taker->last = calloc(flow->senders, sizeof *taker->last);
    taker->from = calloc(flow->senders, sizeof *taker->from);
    if (taker->last == NULL || taker->from == NULL)
        bench_fail(me, "there is no memory left");
    taker->buffer = bench_buffer(me, flow->size);
    taker->rx = bench_receiver(me, channel, flow->to_all ? FERRY_TOPIC : FERRY_QUEUE);
}

void bench_taker_close(bench_taker_t *taker) {
    bench_close(taker->me, NULL, taker->rx);
    free(taker->buffer);
    free(taker->from);
    free(taker->last);
}

_Noreturn static void wrong_message(bench_taker_t *taker, uint64_t id) {
    unsigned sender = bench_id_sender(id);

    if (sender >= taker->flow->senders)
        bench_fail(taker->me, "a message names a sender that does not exist (%u)", sender);
    bench_fail(taker->me, "message %llu of sender %u came after its message %llu",
               (unsigned long long)(id & BENCH_ID_COUNT), sender, (unsigned long long)taker->last[sender]);
}

/* Checks the bytes, and the order: without a gap where one taker gets everything. */
static inline uint64_t account(bench_taker_t *taker, const void *data, size_t size) {
    const bench_flow_t *flow = taker->flow;
    uint64_t id;

    if (size != flow->size || !bench_payload_check(data, size, &id))
        bench_fail(taker->me, "a message of %zu bytes arrived damaged", size);
    unsigned sender = bench_id_sender(id);
    uint64_t count = id & BENCH_ID_COUNT;
    if (sender >= flow->senders)
        wrong_message(taker, id);
    bool gets_all = flow->to_all || flow->takers == 1;
    if (gets_all ? count != taker->last[sender] + 1 : count <= taker->last[sender])
        wrong_message(taker, id);
    taker->last[sender] = count;
    taker->from[sender]++;
    taker->count++;
    return id;
}

/* False: nothing came in time. */
static bool received(bench_taker_t *taker, const char *call, int answer) {
    if (answer < 0 && answer != -ETIMEDOUT)
        bench_fail(taker->me, "%s answered %s after %llu messages: %s", call, strerror(-answer),
                   (unsigned long long)taker->count, ferry_last_error());
    return answer >= 0;
}

bool bench_take_next(bench_taker_t *taker, int64_t timeout, uint64_t *id) {
    ferry_msg_t *m;

    if (!received(taker, "ferry_recv", ferry_recv(taker->rx, timeout, &m)))
        return false;
    *id = account(taker, ferry_msg_data(m), ferry_msg_size(m));
    ferry_msg_release(m);
    return true;
}

static void take_one_by_one(bench_taker_t *taker, size_t burst) {
    for (size_t i = 0; i < burst; i++) {
        ferry_msg_t *m;
        int answer = ferry_recv(taker->rx, look_ns, &m);
        if (answer < 0) {
            received(taker, "ferry_recv", answer);
            return;
        }
        account(taker, ferry_msg_data(m), ferry_msg_size(m));
        ferry_msg_release(m);
    }
}

static void take_batches(bench_taker_t *taker, size_t burst) {
    ferry_msg_t *m[BATCH];

    for (size_t taken = 0; taken < burst;) {
        int n = ferry_recv_batch(taker->rx, m, BATCH, look_ns);
        if (!received(taker, "ferry_recv_batch", n))
            return;
        for (int i = 0; i < n; i++) {
            account(taker, ferry_msg_data(m[i]), ferry_msg_size(m[i]));
            ferry_msg_release(m[i]);
        }
        taken += (size_t)n;
    }
}

static void take_copies(bench_taker_t *taker, size_t burst) {
    for (size_t i = 0; i < burst; i++) {
        size_t size;
        if (!received(taker, "ferry_recv_into",
                      ferry_recv_into(taker->rx, taker->buffer, taker->flow->size, look_ns, &size)))
            return;
        account(taker, taker->buffer, size);
    }
}

double bench_take_until(bench_taker_t *taker, int64_t until_ns) {
    size_t burst = bench_burst(taker->flow->size);
    int64_t from_ns = bench_now_ns();
    uint64_t from = taker->count;
    int64_t now_ns;

    do {
        if (taker->take == BENCH_TAKE_BATCH)
            take_batches(taker, burst);
        else if (taker->take == BENCH_TAKE_COPY)
            take_copies(taker, burst);
        else
            take_one_by_one(taker, burst);
        now_ns = bench_now_ns();
    } while (now_ns < until_ns);
    return (double)(taker->count - from) * 1e9 / (double)(now_ns - from_ns);
}

/* --- the end of a slice ------------------------------------------------------------------------------------------ */

/* Messages still to come to this taker, or to any taker of a queue. */
static uint64_t missing(const bench_taker_t *taker) {
    bench_flow_t *flow = taker->flow;
    uint64_t sent = 0;
    uint64_t taken = flow->to_all ? taker->count : 0;

    for (unsigned i = 0; i < flow->givers; i++)
        sent += atomic_load(&flow->sent[i].n);
    for (unsigned i = 0; i < flow->takers && !flow->to_all; i++)
        taken += atomic_load(&flow->received[i].n);
    return sent - taken;
}

void bench_drain(bench_taker_t *taker, uint64_t slices) {
    bench_flow_t *flow = taker->flow;
    int64_t give_up = 0;
    uint64_t id;

    for (;;) {
        atomic_store(&flow->received[taker->number].n, taker->count);
        bool ended = atomic_load(&flow->ended.n) == slices;
        if (ended && missing(taker) == 0)
            return;
        if (ended && give_up == 0)
            give_up = bench_now_ns() + BENCH_PATIENCE;
        if (ended && bench_now_ns() > give_up)
            bench_fail(taker->me, "%llu messages did not arrive", (unsigned long long)missing(taker));
        bench_take_next(taker, 1000000, &id);
    }
}

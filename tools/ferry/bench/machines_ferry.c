/* SPDX-License-Identifier: MIT
 *
 * Ferry between the machines, as any program has it: queues there and back, one queue, calls, a mutex.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machines.h"
#include "bench/payload.h"

typedef struct dealer {
    bench_side_t *me;
    size_t size;
    unsigned char *question, *answer;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    ferry_service_t *service;
    ferry_client_t *client;
    ferry_mutex_t *mutex;
} dealer_t;

static void check(const dealer_t *d, const char *what, int error) {
    if (error < 0)
        bench_fail(d->me, "%s answered %s: %s", what, strerror(-error), ferry_last_error());
}

static dealer_t *join(bench_side_t *me) {
    dealer_t *d = bench_keep(me, &(dealer_t){.me = me, .size = me->settings->size}, sizeof *d);

    d->question = bench_buffer(me, d->size);
    d->answer = bench_buffer(me, d->size);
    return d;
}

static void leave(dealer_t *d) {
    free(d->question);
    free(d->answer);
    free(d);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void *queues_join(bench_side_t *me) {
    dealer_t *d = join(me);
    bool is_near = me->index == BENCH_NEAR;

    d->rx = bench_receiver(me, is_near ? "ping" : "pong", FERRY_QUEUE);
    d->tx = bench_sender(me, is_near ? "pong" : "ping", FERRY_QUEUE, NULL);
    return d;
}

static void await(void *joined) {
    dealer_t *d = joined;

    if (d->tx != NULL)
        bench_await(d->me, d->tx, 1);
}

static void queues_trip(void *joined, uint64_t id) {
    dealer_t *d = joined;
    ferry_msg_t *m = NULL;

    bench_payload_fill(d->question, d->size, id);
    check(d, "ferry_send", ferry_send(d->tx, d->question, d->size, BENCH_PATIENCE));
    check(d, "ferry_recv", ferry_recv(d->rx, BENCH_PATIENCE, &m));
    bench_check_answer(d->me, ferry_msg_data(m), ferry_msg_size(m), id);
    ferry_msg_release(m);
}

static void queues_follow(void *joined) {
    dealer_t *d = joined;
    ferry_msg_t *m = NULL;
    uint64_t id;

    do {
        check(d, "ferry_recv", ferry_recv(d->rx, BENCH_PATIENCE, &m));
        id = bench_make_answer(d->me, ferry_msg_data(m), ferry_msg_size(m), d->answer);
        ferry_msg_release(m);
        check(d, "ferry_send", ferry_send(d->tx, d->answer, d->size, BENCH_PATIENCE));
    } while ((id & BENCH_ID_LAST) == 0);
}

static void *stream_join(bench_side_t *me) {
    dealer_t *d = join(me);

    if (me->index == BENCH_NEAR)
        d->rx = bench_receiver(me, "flow", FERRY_QUEUE);
    else
        d->tx = bench_sender(me, "flow", FERRY_QUEUE, NULL);
    return d;
}

/*
 * It bounds what the stream keeps, which the bare one does not, so it has room for what is published ahead in a slice;
 * not for much more:
 * what is accepted when a slice ends is waited for.
 */
static size_t quota_of(size_t size) {
    size_t quota = size < 128 ? 1 << 20 : 8 << 20;

    return quota < 64 * size ? 64 * size : quota;
}

static void *durable_join(bench_side_t *me) {
    dealer_t *d = join(me);
    size_t quota = quota_of(d->size);
    const ferry_contract_t durable = {.durable = FERRY_DURABLE, .quota = quota};
    const ferry_receiver_options_t options = {.wait = me->settings->wait, .contract = &durable};

    if (me->index == BENCH_NEAR)
        check(d, "ferry_receiver_open", ferry_receiver_open(bench_node(me), "flow", FERRY_QUEUE, &options, &d->rx));
    else
        d->tx = bench_sender(me, "flow", FERRY_QUEUE, &durable);
    return d;
}

static void stream_give(void *joined, uint64_t id) {
    dealer_t *d = joined;

    bench_payload_fill(d->question, d->size, id);
    check(d, "ferry_send", ferry_send(d->tx, d->question, d->size, BENCH_PATIENCE));
}

static void stream_take(void *joined, bench_heard_t *heard) {
    dealer_t *d = joined;
    ferry_msg_t *m = NULL;
    bool over;

    bench_meet(d->me);
    do {
        check(d, "ferry_recv", ferry_recv(d->rx, BENCH_PATIENCE, &m));
        over = bench_hear(heard, ferry_msg_data(m), ferry_msg_size(m));
        ferry_msg_release(m);
    } while (!over);
}

static void channels_leave(void *joined) {
    dealer_t *d = joined;

    bench_close(d->me, d->tx, d->rx);
    leave(d);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static int answer(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    dealer_t *d = arg;

    bench_make_answer(d->me, data, size, d->answer);
    return ferry_reply(rq, d->answer, d->size);
}

static void *calls_join(bench_side_t *me) {
    dealer_t *d = join(me);
    ferry_t *node = bench_node(me);

    if (me->index == BENCH_FAR) {
        const ferry_client_options_t options = {.wait = me->settings->wait};
        check(d, "ferry_client_open", ferry_client_open(node, "echo", &options, &d->client));
        return d;
    }
    const ferry_service_options_t options = {.wait = me->settings->wait};
    check(d, "ferry_service_open", ferry_service_open(node, "echo", &options, &d->service));
    check(d, "ferry_service_method", ferry_service_method(d->service, "answer", answer, d, NULL));
    check(d, "ferry_service_start", ferry_service_start(d->service, 1));
    return d;
}

static void calls_ready(void *joined) {
    dealer_t *d = joined;

    if (d->client != NULL)
        check(d, "ferry_client_wait", ferry_client_wait(d->client, 1, BENCH_PATIENCE));
}

static void calls_trip(void *joined, uint64_t id) {
    dealer_t *d = joined;
    ferry_msg_t *reply = NULL;

    bench_payload_fill(d->question, d->size, id);
    int result = ferry_call(d->client, "answer", d->question, d->size, BENCH_PATIENCE, &reply);
    if (result != 0 || reply == NULL)
        bench_fail(d->me, "a call ended with %d: %s", result, ferry_last_error());
    bench_check_answer(d->me, ferry_msg_data(reply), ferry_msg_size(reply), id);
    ferry_msg_release(reply);
}

static void calls_leave(void *joined) {
    dealer_t *d = joined;

    if (d->client != NULL)
        check(d, "ferry_client_close", ferry_client_close(d->client, BENCH_PATIENCE, NULL));
    if (d->service != NULL)
        check(d, "ferry_service_close", ferry_service_close(d->service, BENCH_PATIENCE));
    leave(d);
}

/* --- a mutex that nobody else holds ------------------------------------------------------------------------------- */

static void *mutex_join(bench_side_t *me) {
    dealer_t *d = join(me);
    const ferry_sync_options_t options = {.wait = me->settings->wait};

    check(d, "ferry_mutex_open", ferry_mutex_open(bench_node(me), "lock", &options, &d->mutex));
    return d;
}

static void mutex_trip(void *joined, uint64_t id) {
    dealer_t *d = joined;

    (void)id;
    check(d, "ferry_mutex_lock", ferry_mutex_lock(d->mutex, BENCH_PATIENCE));
}

static void mutex_after(void *joined) {
    dealer_t *d = joined;

    check(d, "ferry_mutex_unlock", ferry_mutex_unlock(d->mutex));
}

static void mutex_leave(void *joined) {
    dealer_t *d = joined;

    check(d, "ferry_mutex_close", ferry_mutex_close(d->mutex));
    leave(d);
}

const bench_dealing_t *bench_by_ferry(bench_part_t part, bool durable) {
    static const bench_dealing_t queues = {
        .join = queues_join, .ready = await, .trip = queues_trip, .follow = queues_follow, .leave = channels_leave};
    static const bench_dealing_t stream = {
        .join = stream_join, .ready = await, .give = stream_give, .take = stream_take, .leave = channels_leave};
    static const bench_dealing_t kept = {
        .join = durable_join, .give = stream_give, .take = stream_take, .leave = channels_leave};
    static const bench_dealing_t calls = {
        .join = calls_join, .ready = calls_ready, .trip = calls_trip, .leave = calls_leave};
    static const bench_dealing_t mutex = {
        .join = mutex_join, .trip = mutex_trip, .after = mutex_after, .leave = mutex_leave};

    if (durable)
        return &kept;
    return part == BENCH_LATENCY ? &queues : part == BENCH_THROUGHPUT ? &stream : part == BENCH_RPC ? &calls : &mutex;
}

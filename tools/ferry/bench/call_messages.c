/* SPDX-License-Identifier: MIT
 *
 * The limit of calls: the same bytes as two plain messages, there and back over two queues, as many under way at once.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/calls.h"
#include "bench/payload.h"

typedef struct ends {
    bench_side_t *me;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    unsigned char *buffer;
    size_t size; /* of what it sends */
    uint64_t asked, answered;
} ends_t;

static void failed(const ends_t *e, const char *what, int error) {
    bench_fail(e->me, "%s answered %s: %s", what, strerror(-error), ferry_last_error());
}

static void put(ends_t *e, uint64_t id) {
    bench_payload_fill(e->buffer, e->size, id);
    int r = ferry_send(e->tx, e->buffer, e->size, BENCH_PATIENCE);
    if (r < 0)
        failed(e, "ferry_send", r);
}

static void ask(void *asker, unsigned place, uint64_t number) {
    (void)place;
    put(asker, number);
}

static void ask_by_pointer(void *asker, unsigned place, uint64_t number) {
    ends_t *e = asker;
    ferry_msg_t *m = NULL;
    void *data = NULL;

    (void)place;
    int r = ferry_msg_new(e->tx, e->size, BENCH_PATIENCE, &data, &m);
    if (r < 0)
        failed(e, "ferry_msg_new", r);
    bench_payload_fill(data, e->size, number);
    r = ferry_send_msg(e->tx, m, BENCH_PATIENCE);
    if (r < 0)
        failed(e, "ferry_send_msg", r);
    ferry_msg_release(m);
}

static void take_answer(void *asker, unsigned place, uint64_t number) {
    const ends_t *e = asker;

    (void)place;
    if (bench_take(e->me, e->rx) != (number | BENCH_ID_REPLY))
        bench_fail(e->me, "the answer to message %llu belongs to another one", (unsigned long long)number);
}

static void messages_lead(void *joined, uint64_t ticks, bench_trips_t *trips) {
    ends_t *e = joined;
    unsigned window = e->me->settings->outstanding;

    bench_trips_begin(trips, ticks);
    if (e->me->settings->method == BENCH_METHOD_TAKE)
        e->asked = bench_window(ask_by_pointer, take_answer, e, window, e->asked, trips);
    else
        e->asked = bench_window(ask, take_answer, e, window, e->asked, trips);
    put(e, ++e->asked | BENCH_ID_LAST);
    take_answer(e, 0, e->asked | BENCH_ID_LAST);
}

static void messages_follow(void *joined) {
    ends_t *e = joined;
    uint64_t id;

    do {
        id = bench_take(e->me, e->rx);
        put(e, id | BENCH_ID_REPLY);
        if ((id & BENCH_ID_COUNT) != ++e->answered)
            bench_fail(e->me, "message %llu came where %llu was due", (unsigned long long)(id & BENCH_ID_COUNT),
                       (unsigned long long)e->answered);
    } while ((id & BENCH_ID_LAST) == 0);
}

static void *messages_join(bench_side_t *me, bench_calls_t *calls) {
    const bench_settings_t *s = me->settings;
    const ferry_contract_t contract = {.quota = (uint64_t)(s->outstanding + 2) * s->size * 2 + (16 << 20)};
    bool asks = !bench_is_server(me);
    ends_t *e = calloc(1, sizeof *e);

    (void)calls;
    if (e == NULL)
        bench_fail(me, "there is no memory left");
    e->me = me;
    e->size = asks ? s->size : bench_answer_size(s);
    e->buffer = bench_buffer(me, e->size);
    e->rx = bench_receiver(me, asks ? "answers" : "questions", FERRY_QUEUE);
    e->tx = bench_sender(me, asks ? "questions" : "answers", FERRY_QUEUE, &contract);
    bench_await(me, e->tx, 1);
    return e;
}

static void messages_leave(void *joined) {
    ends_t *e = joined;

    bench_close(e->me, e->tx, e->rx);
    free(e->buffer);
    free(e);
}

const bench_speech_t bench_speak_messages = {messages_join, messages_lead, messages_follow, messages_leave};

/* SPDX-License-Identifier: MIT
 *
 * server.c - handlers, as a user of the generated code writes them.
 */
#include "server.h"

#include "broad.ferry.h"

#include <stdlib.h>
#include <string.h>

typedef struct served {
    ferry_service_t *service;
    seen_t *seen;
} served_t;

/** A copy that the caller owns, made in the only way that protobuf-c has. */
static void *copy_of(const ProtobufCMessage *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    check(bytes != NULL);
    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, size, bytes);
    check(copy != NULL);
    free(bytes);
    return copy;
}

/** Puts all that a message owns into an empty one of its type. */
static void move(void *to, void *from, size_t size) {
    memcpy(to, from, size);
    free(from);
}

static int echo(ferry_request_t *rq, const Test__Broad__Everything *request, Test__Broad__Everything *reply,
                void *arg) {
    (void)rq, (void)arg;
    move(reply, copy_of(&request->base), sizeof(*reply));
    return 0;
}

static int echo_ancient(ferry_request_t *rq, const Test__Ancient__Ancient *request, Test__Ancient__Ancient *reply,
                        void *arg) {
    (void)rq, (void)arg;
    move(reply, copy_of(&request->base), sizeof(*reply));
    return 0;
}

static int echo_tree(ferry_request_t *rq, const Test__Parts__Tree *request, Test__Parts__Tree *reply, void *arg) {
    (void)rq, (void)arg;
    move(reply, copy_of(&request->base), sizeof(*reply));
    return 0;
}

static int count(ferry_request_t *rq, const Test__Broad__CountRequest *request, void *arg) {
    served_t *served = arg;
    uint8_t *filling = malloc(request->bytes_each + 1);
    check(filling != NULL);
    atomic_fetch_add(&served->seen->begun, 1);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < request->items; i++) {
        Test__Broad__CountItem item = TEST__BROAD__COUNT_ITEM__INIT;
        item.number = i;
        fill(filling, request->bytes_each, i);
        item.filling = (ProtobufCBinaryData){request->bytes_each, filling};
        r = test__broad__broad__count__more(rq, &item);
    }
    free(filling);
    if (r < 0)
        atomic_fetch_add(&served->seen->refused, 1);
    if (ferry_request_is_cancelled(rq))
        atomic_fetch_add(&served->seen->stopped, 1);
    return r == 0 && request->fail ? ferry_reply_error(rq, 7, "after the last one", NULL, 0) : r;
}

static int fail(ferry_request_t *rq, const Test__Broad__FailRequest *request, Test__Broad__Nothing *reply, void *arg) {
    (void)reply, (void)arg;
    if (request->negative != 0)
        return request->negative;
    return ferry_reply_error(rq, request->code, request->message, request->detail.data, request->detail.len);
}

static int sleep_long(ferry_request_t *rq, const Test__Broad__Nothing *request, Test__Broad__Nothing *reply,
                      void *arg) {
    served_t *served = arg;
    (void)request, (void)reply;
    ferry_request_info_t info = {0};
    check_is(ferry_request_info(rq, &info), 0);
    atomic_store(&served->seen->time_left, info.time_left);
    unsigned number = atomic_fetch_add(&served->seen->begun, 1) + 1;
    int64_t end = monotonic() + PATIENCE;
    while (!ferry_request_is_cancelled(rq) && monotonic() < end)
        nap(MILLISECOND);
    if (ferry_request_is_cancelled(rq))
        atomic_fetch_add(&served->seen->stopped, 1);
    /* Nobody shall have to tell an answer in time from one that is a moment late. */
    await(&served->seen->ended, number);
    return 0;
}

static int watch(ferry_request_t *rq, const Test__Broad__Nothing *request, Test__Broad__Progress *reply, void *arg) {
    (void)rq, (void)request;
    const seen_t *seen = ((served_t *)arg)->seen;
    reply->begun = atomic_load(&seen->begun);
    reply->stopped = atomic_load(&seen->stopped);
    reply->time_left = atomic_load(&seen->time_left);
    return 0;
}

/** Memory on the stack, and strings of the program's: for this there is ..__reply. What is in *reply does not count
 * then. */
static int answer_itself(ferry_request_t *rq, const Test__Broad__CountItem *request, Test__Broad__CountItem *reply,
                         void *arg) {
    (void)arg;
    uint8_t filling[5000];
    Test__Broad__CountItem mine = TEST__BROAD__COUNT_ITEM__INIT;
    mine.number = request->number + 1;
    mine.filling = (ProtobufCBinaryData){sizeof(filling), filling};
    fill(filling, sizeof(filling), mine.number);
    check_is(test__broad__broad__answer_itself__reply(rq, &mine), 0);
    check_error(test__broad__broad__answer_itself__reply(rq, &mine), -EALREADY, "answered");
    reply->number = 4711;
    return 0;
}

static int stop(ferry_request_t *rq, const Test__Broad__Nothing *request, Test__Broad__Nothing *reply, void *arg) {
    served_t *served = arg;
    (void)rq, (void)request, (void)reply;
    check_is(ferry_service_stop(served->service), 0);
    return 0;
}

void serve_broad(ferry_t *node, void *arg) {
    served_t served = {.seen = arg};
    const Test__Broad__Broad_Server handlers = {
        .arg = &served,
        .echo = echo,
        .echo_ancient = echo_ancient,
        .echo_tree = echo_tree,
        .count = count,
        .fail = fail,
        .sleep = sleep_long,
        .watch = watch,
        .answer_itself = answer_itself,
        .stop = stop,
    };
    check_is(test__broad__broad__server__open(node, NULL, NULL, &handlers, &served.service), 0);
    check_is(ferry_service_run(served.service, 4 * PATIENCE), 0);
    check_is(ferry_service_close(served.service, PATIENCE), 0);
}

static int nonsense(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data, (void)size, (void)arg;
    return ferry_reply(rq, "\xff\xff\xff", 3);
}

static int much_nonsense(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data, (void)size, (void)arg;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < 1000; i++)
        r = ferry_reply_more(rq, "\xff\xff\xff", 3);
    return r;
}

static int stop_nonsense(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)rq, (void)data, (void)size;
    return ferry_service_stop(*(ferry_service_t **)arg);
}

void serve_nonsense(ferry_t *node, void *arg) {
    (void)arg;
    ferry_service_t *service = NULL;
    ferry_method_options_t several = {.streams = 1};
    check_is(ferry_service_open(node, TEST__BROAD__BROAD__NAME, NULL, &service), 0);
    check_is(ferry_service_method(service, "Echo", nonsense, NULL, NULL), 0);
    check_is(ferry_service_method(service, "Count", much_nonsense, NULL, &several), 0);
    check_is(ferry_service_method(service, "Stop", stop_nonsense, &service, NULL), 0);
    check_is(ferry_service_run(service, 4 * PATIENCE), 0);
    check_is(ferry_service_close(service, PATIENCE), 0);
}

/* SPDX-License-Identifier: MIT
 *
 * iceoryx, by its C binding: a publisher and a subscriber each way, as `ferry bench peers` compares them. Its daemon
 * must run. A side waits at a wait set, or asks again and again.
 */
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/wire.h"

/*
 * How many messages may wait: 256 at most, and of those that are large no more than chunks that the daemon has of that
 * size when nobody has configured it.
 */
enum { MOST_LARGE = 4, MOST_MIDDLE = 64, MOST_SMALL = 256, LARGE = 512 << 10, MIDDLE = 16 << 10, PATIENCE_MS = 5000 };

typedef struct end {
    size_t size;
    int spins;
    iox_pub_t publisher;
    iox_sub_t subscriber;
    iox_ws_t waits;
    void *next;
    iox_pub_storage_t publisher_room;
    iox_sub_storage_t subscriber_room;
    iox_ws_storage_t waits_room;
} end_t;

static void make_ends(end_t *e, const bench_wire_place_t *place) {
    static const char *const names[2] = {"to-0", "to-1"};
    int depth = bench_wire_depth(place->size);
    int most = place->size > LARGE ? MOST_LARGE : place->size > MIDDLE ? MOST_MIDDLE : MOST_SMALL;
    char name[64];
    iox_pub_options_t publishing;
    iox_sub_options_t subscribing;

    snprintf(name, sizeof name, "ferry-bench-%d", (int)getpid());
    iox_set_loglevel(Iceoryx_LogLevel_Error);
    iox_runtime_init(name);
    iox_pub_options_init(&publishing);
    iox_sub_options_init(&subscribing);
    publishing.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    subscribing.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    subscribing.queueCapacity = (uint64_t)(depth < most ? depth : most);
    e->subscriber = iox_sub_init(&e->subscriber_room, "ferry", "bench", names[place->side], &subscribing);
    e->publisher = iox_pub_init(&e->publisher_room, "ferry", "bench", names[1 - place->side], &publishing);
    e->waits = iox_ws_init(&e->waits_room);
    iox_ws_attach_subscriber_state(e->waits, e->subscriber, SubscriberState_HAS_DATA, 1, NULL);
}

static void *open_end(const bench_wire_place_t *place) {
    end_t *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->size = place->size;
    e->spins = place->spins;
    make_ends(e, place);
    return e;
}

static int join(void *end) {
    const end_t *e = end;
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < PATIENCE_MS; i++) {
        if (iox_pub_has_subscribers(e->publisher) &&
            iox_sub_get_subscription_state(e->subscriber) == SubscribeState_SUBSCRIBED)
            return 0;
        nanosleep(&moment, NULL);
    }
    return -1;
}

static void *room(void *end) {
    end_t *e = end;

    return iox_pub_loan_chunk(e->publisher, &e->next, (uint32_t)e->size) == AllocationResult_SUCCESS ? e->next : NULL;
}

static int put(void *end) {
    const end_t *e = end;

    iox_pub_publish_chunk(e->publisher, e->next);
    return 0;
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    const void *data = NULL;
    enum iox_ChunkReceiveResult answer;

    while ((answer = iox_sub_take_chunk(e->subscriber, &data)) == ChunkReceiveResult_NO_CHUNK_AVAILABLE) {
        uint64_t missed = 0;
        if (!e->spins)
            iox_ws_wait(e->waits, NULL, 0, &missed);
    }
    if (answer != ChunkReceiveResult_SUCCESS)
        return -1;
    int failed = got(arg, data, e->size);
    iox_sub_release_chunk(e->subscriber, data);
    return failed;
}

static void close_end(void *end) {
    end_t *e = end;

    iox_ws_detach_subscriber_state(e->waits, e->subscriber, SubscriberState_HAS_DATA);
    iox_ws_deinit(e->waits);
    iox_sub_deinit(e->subscriber);
    iox_pub_deinit(e->publisher);
    iox_runtime_shutdown();
    free(e);
}

const bench_wire_t ferry_bench_wire = {open_end, join, room, put, take, close_end};

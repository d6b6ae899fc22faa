/* SPDX-License-Identifier: MIT
 *
 * The publisher sends bursts that fit its ring, so that it never waits for room, and its processor time is taken
 * around each burst; then it waits until all subscribers have passed the burst, which is not counted. Subscribers
 * spin, so nobody has to be woken. A topic with one subscriber is measured alternately.
 */
#include "bench/publish.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { BURST = 512, PUBLISHER = 0 };

typedef struct shared {
    bench_series_t one, many; /* nanoseconds per message */
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    ferry_sender_t *to_one, *to_many;
    ferry_receiver_t *of_one, *of_many;
    uint64_t last_of_one, last_of_many; /* message */
    unsigned char *buffer;
    size_t size;
} side_t;

static int64_t thread_cpu_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void publish(side_t *side, ferry_sender_t *tx, uint64_t id) {
    bench_payload_fill(side->buffer, side->size, id);
    int failed = ferry_send(tx, side->buffer, side->size, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
}

static void wait_for_all(side_t *side, ferry_sender_t *tx) {
    int failed = ferry_sender_flush(tx, 4 * BENCH_PATIENCE);

    if (failed < 0)
        bench_fail(side->me, "ferry_sender_flush answered %s: %s", strerror(-failed), ferry_last_error());
}

static void publish_slice(side_t *side, ferry_sender_t *tx, uint64_t *count, const bench_slice_t *slice,
                          bench_series_t *series) {
    int64_t cpu_ns = 0;
    uint64_t from = *count;

    do {
        int64_t before = thread_cpu_ns();
        for (int i = 0; i < BURST; i++)
            publish(side, tx, ++*count);
        cpu_ns += thread_cpu_ns() - before;
        wait_for_all(side, tx);
    } while (bench_now_ns() < slice->until_ns);
    if (slice->number > 0)
        bench_series_add(series, (double)cpu_ns / (double)(*count - from));
    publish(side, tx, ++*count | BENCH_ID_LAST);
    wait_for_all(side, tx);
}

static void subscribe_slice(side_t *side, ferry_receiver_t *rx, uint64_t *last) {
    uint64_t id;

    do {
        id = bench_take(side->me, rx);
        if ((id & BENCH_ID_COUNT) != ++*last)
            bench_fail(side->me, "message %llu of a topic came where %llu was due",
                       (unsigned long long)(id & BENCH_ID_COUNT), (unsigned long long)*last);
    } while ((id & BENCH_ID_LAST) == 0);
}

static void one_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == PUBLISHER)
        publish_slice(side, side->to_one, &side->last_of_one, slice, &side->shared->one);
    else if (side->of_one != NULL)
        subscribe_slice(side, side->of_one, &side->last_of_one);
}

static void many_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->me->index == PUBLISHER)
        publish_slice(side, side->to_many, &side->last_of_many, slice, &side->shared->many);
    else
        subscribe_slice(side, side->of_many, &side->last_of_many);
}

static void run_side(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    const ferry_contract_t contract = {.hold = FERRY_HOLD_BACK};
    side_t side = {.me = me, .shared = me->shared, .size = s->size};

    if (me->index == PUBLISHER) {
        side.buffer = bench_buffer(me, side.size);
        side.to_one = bench_sender(me, "one", FERRY_TOPIC, &contract);
        side.to_many = bench_sender(me, "many", FERRY_TOPIC, &contract);
        bench_await(me, side.to_one, 1);
        bench_await(me, side.to_many, s->receivers);
    } else {
        side.of_one = me->index == PUBLISHER + 1 ? bench_receiver(me, "one", FERRY_TOPIC) : NULL;
        side.of_many = bench_receiver(me, "many", FERRY_TOPIC);
    }
    bench_alternate(me, s->measure_ns, one_slice, many_slice, &side);
    bench_close(me, side.to_one, side.of_one);
    bench_close(me, side.to_many, side.of_many);
    free(side.buffer);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    bench_publish_t *result = out;
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    bench_job_t job = {.settings = s, .run = run_side, .sides = 1 + s->receivers, .takers = 1, .shared = shared};
    job.expected_ns = bench_alternate_ns(s->measure_ns);
    int failed = bench_sides_run(&job);
    result->quality.spread = bench_series_spread(&shared->one);
    result->cpu_ns = bench_series_median(&shared->many);
    result->cpu_ns_one = bench_series_median(&shared->one);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_publish(const bench_settings_t *settings, bench_publish_t *result) {
    bench_settings_t s = *settings;

    s.wait = FERRY_WAIT_SPIN;
    return bench_repeat("throughput (publisher)", once, &s, result, sizeof *result);
}

/* SPDX-License-Identifier: MIT
 *
 * The publisher sends bursts that fit its ring, so that it never waits for room, and its processor time is taken
 * around each burst; then it waits until all who keep up have passed the burst, which is not counted. Subscribers
 * spin, so nobody has to be woken. All topics are measured in turn.
 *
 * A reader of the newest only that stands still, as a picture on a screen that is not drawn now, must cost the
 * publisher nothing: that is measured beside one who keeps up.
 */
#include "bench/publish.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { BURST = 512, PUBLISHER = 0, FIRST = 1 /* subscriber */, TAGS = 16 };

typedef struct topic {
    const char *name;
    bool has_all;         /* all subscribers, not the first one only */
    bool is_tagged;       /* its messages have tags, so they are written in place */
    ferry_newest_t still; /* the first subscriber's other receiver, which takes nothing; FERRY_NEWEST_ALL: none */
} topic_t;

static const topic_t topics[BENCH_TOPICS] = {
    [BENCH_TOPIC_ONE] = {.name = "one"},
    [BENCH_TOPIC_MANY] = {.name = "many", .has_all = true},
    [BENCH_TOPIC_NEWEST] = {.name = "newest", .still = FERRY_NEWEST_ONLY},
    [BENCH_TOPIC_TAGGED] = {.name = "tagged", .is_tagged = true},
    [BENCH_TOPIC_PER_TAG] = {.name = "per-tag", .is_tagged = true, .still = FERRY_NEWEST_PER_TAG},
};

typedef struct shared {
    bench_series_t ns[BENCH_TOPICS]; /* per message */
} shared_t;

typedef struct end {
    ferry_sender_t *tx;
    ferry_receiver_t *rx, *still; /* NULL: not this side's */
    uint64_t last;                /* message */
} end_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    end_t end[BENCH_TOPICS];
    unsigned char *buffer;
    size_t size;
} side_t;

static int64_t thread_cpu_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int send_tagged(side_t *side, ferry_sender_t *tx, uint64_t id) {
    ferry_msg_t *m;
    void *data;
    int failed = ferry_msg_new(tx, side->size, BENCH_PATIENCE, &data, &m);

    if (failed < 0)
        return failed;
    memcpy(data, side->buffer, side->size);
    failed = ferry_msg_set_tag(m, id % TAGS);
    if (failed == 0)
        failed = ferry_send_msg(tx, m, BENCH_PATIENCE);
    int unreleased = ferry_msg_release(m);
    return failed < 0 ? failed : unreleased;
}

static void publish(side_t *side, bench_topic_t topic, uint64_t id) {
    ferry_sender_t *tx = side->end[topic].tx;

    bench_payload_fill(side->buffer, side->size, id);
    int failed =
        topics[topic].is_tagged ? send_tagged(side, tx, id) : ferry_send(tx, side->buffer, side->size, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "publishing answered %s: %s", strerror(-failed), ferry_last_error());
}

static void wait_for_all(side_t *side, ferry_sender_t *tx) {
    int failed = ferry_sender_flush(tx, 4 * BENCH_PATIENCE);

    if (failed < 0)
        bench_fail(side->me, "ferry_sender_flush answered %s: %s", strerror(-failed), ferry_last_error());
}

static void publish_for(side_t *side, bench_topic_t topic, int64_t ns, bool counts) {
    int64_t until_ns = bench_now_ns() + ns;
    end_t *end = &side->end[topic];
    int64_t cpu_ns = 0;
    uint64_t from = end->last;

    do {
        int64_t before = thread_cpu_ns();
        for (int i = 0; i < BURST; i++)
            publish(side, topic, ++end->last);
        cpu_ns += thread_cpu_ns() - before;
        wait_for_all(side, end->tx);
    } while (bench_now_ns() < until_ns);
    if (counts)
        bench_series_add(&side->shared->ns[topic], (double)cpu_ns / (double)(end->last - from));
    publish(side, topic, ++end->last | BENCH_ID_LAST);
    wait_for_all(side, end->tx);
}

static void subscribe(side_t *side, end_t *end) {
    uint64_t id;

    do {
        id = bench_take(side->me, end->rx);
        if ((id & BENCH_ID_COUNT) != ++end->last)
            bench_fail(side->me, "message %llu of a topic came where %llu was due",
                       (unsigned long long)(id & BENCH_ID_COUNT), (unsigned long long)end->last);
    } while ((id & BENCH_ID_LAST) == 0);
}

static void measure(side_t *side, const bench_slice_t *slice, const bench_topic_t *which, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (side->me->index == PUBLISHER)
            publish_for(side, which[i], slice->ns / n, slice->number > 0);
        else if (side->end[which[i]].rx != NULL)
            subscribe(side, &side->end[which[i]]);
    }
}

/* What the others are compared with. */
static void plain_slice(void *side, const bench_slice_t *slice) {
    static const bench_topic_t plain[] = {BENCH_TOPIC_ONE, BENCH_TOPIC_TAGGED};

    measure(side, slice, plain, 2);
}

static void other_slice(void *side, const bench_slice_t *slice) {
    static const bench_topic_t others[] = {BENCH_TOPIC_MANY, BENCH_TOPIC_NEWEST, BENCH_TOPIC_PER_TAG};

    measure(side, slice, others, 3);
}

static ferry_receiver_t *stand_still(bench_side_t *me, const topic_t *t) {
    const ferry_receiver_options_t options = {.newest = t->still};
    ferry_receiver_t *rx = NULL;

    if (ferry_receiver_open(bench_node(me), t->name, FERRY_TOPIC, &options, &rx) < 0)
        bench_fail(me, "cannot open a receiver of the newest on %s: %s", t->name, ferry_last_error());
    return rx;
}

static void open_end(bench_side_t *me, const topic_t *t, end_t *end) {
    const ferry_contract_t contract = {.hold = FERRY_HOLD_BACK};

    if (me->index == PUBLISHER)
        end->tx = bench_sender(me, t->name, FERRY_TOPIC, &contract);
    else if (me->index == FIRST || t->has_all)
        end->rx = bench_receiver(me, t->name, FERRY_TOPIC);
    if (me->index == FIRST && t->still != FERRY_NEWEST_ALL)
        end->still = stand_still(me, t);
}

static void run_side(bench_side_t *me) {
    const bench_settings_t *s = me->settings;
    side_t side = {.me = me, .shared = me->shared, .size = s->size, .buffer = bench_buffer(me, s->size)};

    for (unsigned i = 0; i < BENCH_TOPICS; i++)
        open_end(me, &topics[i], &side.end[i]);
    for (unsigned i = 0; i < BENCH_TOPICS && me->index == PUBLISHER; i++)
        bench_await(me, side.end[i].tx, (topics[i].has_all ? s->receivers : 1) + (topics[i].still != FERRY_NEWEST_ALL));
    bench_alternate(me, s->measure_ns, plain_slice, other_slice, &side);
    for (unsigned i = 0; i < BENCH_TOPICS; i++) {
        bench_close(me, NULL, side.end[i].still);
        bench_close(me, side.end[i].tx, side.end[i].rx);
    }
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
    result->quality.spread = bench_series_spread(&shared->ns[BENCH_TOPIC_ONE]);
    for (unsigned i = 0; i < BENCH_TOPICS; i++)
        result->cpu_ns[i] = bench_series_median(&shared->ns[i]);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_publish(const bench_settings_t *settings, bench_publish_t *result) {
    bench_settings_t s = *settings;

    s.wait = FERRY_WAIT_SPIN;
    return bench_repeat("throughput (publisher)", once, &s, result, sizeof *result);
}

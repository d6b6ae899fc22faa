/* SPDX-License-Identifier: MIT
 *
 * One pair of processes, and one way to carry messages between them. Side 1 leads, side 0 follows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/module.h"
#include "bench/payload.h"
#include "bench/peers.h"
#include "bench/stats.h"

enum { FOLLOWER = 0, LEADER = 1 };
enum { WARMING = 0, COUNTS = 1 }; /* where ids have a sender's number */

typedef struct side {
    bench_side_t *me;
    bench_peer_run_t *run;
    const bench_wire_t *wire;
    void *end;
    uint64_t sent;
    uint64_t id; /* of the message that was taken last */
} side_t;

/* --- messages ---------------------------------------------------------------------------------------------------- */

static void give(side_t *side, uint64_t id) {
    void *data = side->wire->room(side->end);

    if (data == NULL)
        bench_fail(side->me, "there is no room for a message of %zu bytes: %s", side->run->size, strerror(errno));
    bench_payload_fill(data, side->run->size, id);
    if (side->wire->send(side->end) != 0)
        bench_fail(side->me, "a message of %zu bytes could not be sent: %s", side->run->size, strerror(errno));
}

static int got(void *arg, const void *data, size_t size) {
    side_t *side = arg;

    return size == side->run->size && bench_payload_check(data, size, &side->id) ? 0 : -1;
}

static uint64_t take(side_t *side) {
    if (side->wire->take(side->end, got, side) != 0)
        bench_fail(side->me, "a message of %zu bytes did not come, or its bytes were damaged", side->run->size);
    return side->id;
}

/* Also proves that all has come that was sent before. */
static void exchange(side_t *side, uint64_t flag) {
    uint64_t id = bench_id(COUNTS, ++side->sent) | flag;

    give(side, id);
    if (take(side) != (id | BENCH_ID_REPLY))
        bench_fail(side->me, "the answer to message %llu belongs to another one", (unsigned long long)side->sent);
}

/* --- round trips ------------------------------------------------------------------------------------------------- */

static void trips(side_t *side, int64_t ns, bench_trips_t *kept) {
    bench_trips_begin(kept, (uint64_t)((double)ns * side->me->ticks_per_ns));
    do {
        exchange(side, 0);
    } while (bench_trips_add(kept));
}

static void lead_trips(side_t *side) {
    bench_peer_run_t *run = side->run;
    bench_trips_t warming = {.sample = run->sample, .room = run->room};
    bench_trips_t kept = warming;
    double ns = 1 / side->me->ticks_per_ns;

    trips(side, run->ns / 5, &warming);
    trips(side, run->ns, &kept);
    exchange(side, BENCH_ID_LAST);
    run->p50_ns = bench_percentile(kept.sample, kept.count, 500) * ns;
    run->p99_ns = bench_percentile(kept.sample, kept.count, 990) * ns;
    run->p999_ns = bench_percentile(kept.sample, kept.count, 999) * ns;
}

static void follow_trips(side_t *side) {
    uint64_t id;

    do {
        id = take(side);
        give(side, id | BENCH_ID_REPLY);
    } while ((id & BENCH_ID_LAST) == 0);
}

/* --- as fast as it goes ------------------------------------------------------------------------------------------ */

static void flow(side_t *side, unsigned phase, int64_t ns) {
    uint64_t until = bench_ticks() + (uint64_t)((double)ns * side->me->ticks_per_ns);

    do {
        give(side, bench_id(phase, ++side->sent));
    } while (bench_ticks() < until);
}

static void lead_flow(side_t *side) {
    flow(side, WARMING, side->run->ns / 5);
    flow(side, COUNTS, side->run->ns);
    exchange(side, BENCH_ID_LAST);
}

/* The rate is that at which messages come: from the first that counts to the last. */
static void follow_flow(side_t *side) {
    uint64_t first = 0;
    uint64_t count = 0;
    uint64_t from = 0;
    uint64_t id;

    do {
        id = take(side);
        if ((id & BENCH_ID_COUNT) != ++count)
            bench_fail(side->me, "message %llu came where %llu was due", (unsigned long long)(id & BENCH_ID_COUNT),
                       (unsigned long long)count);
        if (first == 0 && bench_id_sender(id & ~BENCH_ID_LAST) == COUNTS) {
            first = count;
            from = bench_ticks();
        }
    } while ((id & BENCH_ID_LAST) == 0);
    double seconds = (double)(bench_ticks() - from) / side->me->ticks_per_ns / 1e9;
    side->run->msgs_per_s = (double)(count - first) / seconds;
    give(side, id | BENCH_ID_REPLY);
}

/* --- waiting for nothing ----------------------------------------------------------------------------------------- */

static void lead_idle(side_t *side) {
    struct timespec wait = {.tv_sec = side->run->ns / 1000000000, .tv_nsec = side->run->ns % 1000000000};

    exchange(side, 0);
    bench_meet(side->me);
    while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
        ;
    exchange(side, BENCH_ID_LAST);
}

static void follow_idle(side_t *side) {
    give(side, take(side) | BENCH_ID_REPLY);
    bench_meet(side->me);
    double before = bench_cpu_ms();
    uint64_t id = take(side);
    side->run->idle_cpu_ms = bench_cpu_ms() - before;
    give(side, id | BENCH_ID_REPLY);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static const bench_wire_t *load(bench_side_t *me, const bench_peer_run_t *run) {
    char path[BENCH_MODULE_PATH];
    const bench_wire_t *wire = run->wire;

    if (wire == NULL && bench_module_find(run->module, path, sizeof path))
        wire = bench_module_load(path, BENCH_WIRE_SYMBOL);
    if (wire == NULL)
        bench_fail(me, "cannot load %s", run->module);
    return wire;
}

static void open_end(side_t *side) {
    bench_side_t *me = side->me;
    char path[BENCH_WIRE_PATH];
    const bench_wire_place_t place = {.path = path,
                                      .side = me->index,
                                      .size = side->run->size,
                                      .host = me,
                                      .spins = me->settings->wait == FERRY_WAIT_SPIN};

    snprintf(path, sizeof path, "%s/wire", bench_directory(me));
    if (me->index == LEADER)
        bench_meet(me);
    side->end = side->wire->open(&place);
    if (side->end == NULL)
        bench_fail(me, "an end cannot be opened: %s", strerror(errno));
    if (me->index == FOLLOWER)
        bench_meet(me);
    bench_meet(me);
    if (side->wire->join != NULL && side->wire->join(side->end) != 0)
        bench_fail(me, "the ends do not find each other: %s", strerror(errno));
    bench_meet(me);
}

static void run_side(bench_side_t *me) {
    static void (*const works[][2])(side_t * side) = {
        [BENCH_PEER_TRIPS] = {follow_trips, lead_trips},
        [BENCH_PEER_FLOW] = {follow_flow, lead_flow},
        [BENCH_PEER_IDLE] = {follow_idle, lead_idle},
    };
    bench_peer_run_t *run = me->shared;
    side_t side = {.me = me, .run = run, .wire = load(me, run)};

    open_end(&side);
    works[run->work][me->index](&side);
    bench_meet(me);
    side.wire->close(side.end);
}

int bench_peer_measure(const bench_settings_t *settings, bench_peer_run_t *run) {
    bench_job_t job = {.settings = settings, .run = run_side, .sides = 2, .takers = 1, .shared = run};

    job.in_processes = true;
    job.expected_ns = 2 * run->ns;
    return bench_sides_run(&job);
}

/* SPDX-License-Identifier: MIT
 *
 * ferry bench barrier: sides pass a barrier, round after round. That it keeps them together is looked at now and then,
 * and that it calls one of each round the last is counted.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench/counterparts.h"
#include "bench/parts.h"
#include "bench/relay.h"
#include "bench/turns.h"
#include "say.h"

enum { LOOK_EVERY = 64 /* rounds, a power of two: to look at another side's line costs about as much as a round */ };

static const char limit_name[] = "pthread_barrier_t, process-shared";

/* A side's own line. */
typedef struct place {
    _Alignas(128) _Atomic uint64_t round; /* at which it has arrived */
    uint64_t lasts;                       /* rounds of which it was called the last */
} place_t;

typedef struct common {
    _Alignas(128) _Atomic uint64_t last_round; /* of the slice; said before the leader arrives at it */
    place_t place[BENCH_MAX_PARTIES];
} common_t;

typedef struct shared {
    common_t common[2];
    bench_barrier_t counterpart;
} shared_t;

typedef struct joined {
    bench_side_t *me;
    bench_way_t way;
    bench_step_fn *pass;
    void *barrier;
    common_t *common;
    place_t *mine;
    const place_t *next; /* the next side's */
    uint64_t round;
} joined_t;

static int ferry_pass(void *barrier) {
    return ferry_barrier_wait(barrier, BENCH_PATIENCE);
}

static void *open_barrier(bench_side_t *me) {
    const ferry_sync_options_t options = bench_object_options(me);
    ferry_barrier_t *barrier = NULL;

    if (ferry_barrier_open(bench_node(me), "barrier", me->settings->parties, &options, &barrier) < 0)
        bench_fail(me, "cannot open a barrier: %s", ferry_last_error());
    return barrier;
}

static void *join(bench_side_t *me, void *arg, bench_way_t way) {
    shared_t *shared = arg;
    common_t *common = &shared->common[way];
    joined_t *j = malloc(sizeof *j);

    if (j == NULL)
        bench_fail(me, "there is no memory left");
    *j = (joined_t){.me = me, .way = way, .common = common, .mine = &common->place[me->index]};
    j->next = &common->place[(me->index + 1) % me->settings->parties];
    j->pass = way == BENCH_FERRY ? ferry_pass : bench_barrier_pass;
    j->barrier = way == BENCH_FERRY ? open_barrier(me) : &shared->counterpart;
    return j;
}

static void leave(void *joined) {
    joined_t *j = joined;
    int failed = j->way == BENCH_FERRY ? ferry_barrier_close(j->barrier) : 0;

    if (failed != 0)
        bench_object_failed(j->me, j->way, failed);
    free(j);
}

/* Who has passed round n finds every other side at n, or already waiting for the next one. */
static void look_at_next(const joined_t *j) {
    uint64_t at = atomic_load_explicit(&j->next->round, memory_order_relaxed);

    if (at != j->round && at != j->round + 1)
        bench_fail(j->me, "a side has passed round %llu of %s while another one was at %llu",
                   (unsigned long long)j->round, j->way == BENCH_FERRY ? "Ferry's barrier" : "the C library's barrier",
                   (unsigned long long)at);
}

static inline void pass(joined_t *j) {
    atomic_store_explicit(&j->mine->round, ++j->round, memory_order_relaxed);
    int answer = j->pass(j->barrier);

    if (answer < 0)
        bench_object_failed(j->me, j->way, answer);
    j->mine->lasts += (uint64_t)answer;
    if (j->round % LOOK_EVERY == 0)
        look_at_next(j);
}

static void lead(void *joined, bench_trips_t *trips) {
    joined_t *j = joined;

    do {
        pass(j);
    } while (bench_trips_add(trips));
    atomic_store_explicit(&j->common->last_round, j->round + 1, memory_order_relaxed);
    pass(j);
}

static void follow(void *joined) {
    joined_t *j = joined;

    do {
        pass(j);
    } while (atomic_load_explicit(&j->common->last_round, memory_order_relaxed) != j->round);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static bool is_complete(const common_t *common, unsigned parties, bench_way_t way) {
    uint64_t rounds = common->place[0].round;
    uint64_t lasts = 0;

    for (unsigned i = 0; i < parties; i++)
        lasts += common->place[i].lasts;
    if (lasts == rounds)
        return true;
    say("barrier: %s has called %llu the last of %llu rounds",
        way == BENCH_FERRY ? "Ferry's barrier" : "the C library's barrier", (unsigned long long)lasts,
        (unsigned long long)rounds);
    return false;
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    bench_barrier_make(&shared->counterpart, s->parties);
    const bench_relay_t relay = {
        .settings = s, .shared = shared, .join = join, .leave = leave, .lead = lead, .follow = follow};
    int failed = bench_relay_run(&relay, out);
    if (failed == 0 && (!is_complete(&shared->common[BENCH_FERRY], s->parties, BENCH_FERRY) ||
                        !is_complete(&shared->common[BENCH_LIMIT], s->parties, BENCH_LIMIT)))
        failed = 1;
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_barrier(const bench_settings_t *settings, bench_report_t *report) {
    bench_relay_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("barrier", once, settings, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "barrier", NULL, settings);
    bench_relay_row(&row, limit_name, &r);
    bench_report_row(report, &row);
    return 0;
}

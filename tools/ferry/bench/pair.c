/* SPDX-License-Identifier: MIT */
#include "bench/pair.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "say.h"

/* What both sides share of one way. */
typedef struct common {
    _Alignas(128) _Atomic uint32_t ends; /* set before the last round of a slice */
    _Alignas(128) uint64_t rounds[2];    /* of each side */
} common_t;

typedef struct shared {
    const bench_pair_t *pair;
    common_t common[2];
} shared_t;

typedef struct joined {
    bench_side_t *me;
    const bench_pair_t *pair;
    bench_way_t way;
    common_t *common;
    bench_step_fn *tell, *hear;
    void *there, *here;
    uint64_t rounds;
} joined_t;

static void *join(bench_side_t *me, void *arg, bench_way_t way) {
    static const char *const names[2] = {"ping", "pong"};
    shared_t *shared = arg;
    const bench_pair_t *pair = shared->pair;
    joined_t *j = malloc(sizeof *j);

    if (j == NULL)
        bench_fail(me, "there is no memory left");
    *j = (joined_t){.me = me, .pair = pair, .way = way, .common = &shared->common[way]};
    j->tell = pair->tell[way];
    j->hear = pair->hear[way];
    j->there = way == BENCH_FERRY ? pair->open(me, names[me->index]) : pair->counterpart[me->index];
    j->here = way == BENCH_FERRY ? pair->open(me, names[1 - me->index]) : pair->counterpart[1 - me->index];
    return j;
}

/* Nothing may be left over: then one tell has let two go on, or somebody went on without. */
static void close_both(joined_t *j) {
    int left = j->pair->is_left(j->here);

    if (left != 0)
        bench_fail(j->me, "after the last round Ferry's object lets somebody go on (%d)", left);
    bench_meet(j->me);
    int failed = j->pair->close(j->here);
    if (failed == 0)
        failed = j->pair->close(j->there);
    if (failed != 0)
        bench_object_failed(j->me, BENCH_FERRY, failed);
}

static void leave(void *joined) {
    joined_t *j = joined;

    j->common->rounds[j->me->index] = j->rounds;
    if (j->way == BENCH_FERRY)
        close_both(j);
    free(j);
}

static inline void step(joined_t *j, bench_step_fn *call, void *object) {
    int failed = call(object);

    if (failed != 0)
        bench_object_failed(j->me, j->way, failed);
}

static void lead(void *joined, bench_trips_t *trips) {
    joined_t *j = joined;

    do {
        step(j, j->tell, j->there);
        step(j, j->hear, j->here);
        j->rounds++;
    } while (bench_trips_add(trips));
    atomic_store_explicit(&j->common->ends, 1, memory_order_relaxed); /* the object orders this before what follows */
    step(j, j->tell, j->there);
    step(j, j->hear, j->here);
    j->rounds++;
}

static void follow(void *joined) {
    joined_t *j = joined;
    bool ends;

    do {
        step(j, j->hear, j->here);
        j->rounds++;
        ends = atomic_load_explicit(&j->common->ends, memory_order_relaxed) != 0;
        if (ends)
            atomic_store_explicit(&j->common->ends, 0, memory_order_relaxed);
        step(j, j->tell, j->there);
    } while (!ends);
}

static bool is_complete(const bench_pair_t *pair, const common_t *common, bench_way_t way) {
    if (common->rounds[0] == common->rounds[1])
        return true;
    say("%s: one side has made %llu rounds through %s, but the other one %llu", pair->name,
        (unsigned long long)common->rounds[0], way == BENCH_FERRY ? "Ferry's objects" : "the C library's objects",
        (unsigned long long)common->rounds[1]);
    return false;
}

int bench_pair_run(const bench_pair_t *pair, const bench_settings_t *settings, bench_relay_result_t *result) {
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    shared->pair = pair;
    const bench_relay_t relay = {
        .settings = settings, .shared = shared, .join = join, .leave = leave, .lead = lead, .follow = follow};
    int failed = bench_relay_run(&relay, result);
    if (failed == 0 && (!is_complete(pair, &shared->common[BENCH_FERRY], BENCH_FERRY) ||
                        !is_complete(pair, &shared->common[BENCH_LIMIT], BENCH_LIMIT)))
        failed = 1;
    bench_unshare(shared, sizeof *shared);
    return failed;
}

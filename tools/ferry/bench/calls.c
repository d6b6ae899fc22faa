/* SPDX-License-Identifier: MIT */
#include "bench/calls.h"

#include <math.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/limits.h"
#include "say.h"

/* What is known of one talk. */
typedef struct noted {
    bench_series_t per_s, p50_ns, p99_ns, p999_ns;
    uint64_t trips;
} noted_t;

/* What one caller did in the latest slice. */
typedef struct tally {
    _Alignas(128) uint64_t from, to; /* ticks */
    uint64_t count;
} tally_t;

typedef struct shared {
    bench_calls_t calls;
    bench_line_t line;
    bench_futex_t futex;
    uint32_t *sample;
    size_t room; /* of each caller */
    tally_t tally[BENCH_MAX_CALLERS];
    noted_t noted[BENCH_TALKS];
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    unsigned caller; /* number among the callers */
    void *joined[BENCH_TALKS];
} side_t;

/* --- the bare machine -------------------------------------------------------------------------------------------- */

typedef struct bare {
    shared_t *shared;
    bool between_threads;
} bare_t;

static void *bare_join(bench_side_t *me, bench_calls_t *calls) {
    bare_t *bare = malloc(sizeof *bare);

    (void)calls;
    if (bare == NULL)
        bench_fail(me, "there is no memory left");
    *bare = (bare_t){me->shared, me->settings->between == BENCH_THREADS};
    return bare;
}

static void bare_lead(void *joined, uint64_t ticks, bench_trips_t *trips) {
    bare_t *bare = joined;

    bench_trips_begin(trips, ticks);
    if (bare->shared->calls.by_futex)
        bench_futex_ping(&bare->shared->futex, bare->between_threads, trips);
    else
        bench_line_ping(&bare->shared->line, &bare->shared->line, trips);
}

static void bare_follow(void *joined) {
    bare_t *bare = joined;

    if (bare->shared->calls.by_futex)
        bench_futex_pong(&bare->shared->futex, bare->between_threads);
    else
        bench_line_pong(&bare->shared->line, &bare->shared->line);
}

static const bench_speech_t speak_bare = {bare_join, bare_lead, bare_follow, free};

static const bench_speech_t *const speeches[BENCH_TALKS] = {
    [BENCH_TALK_CALLS] = &bench_speak_calls, [BENCH_TALK_MESSAGES] = &bench_speak_messages,
    [BENCH_TALK_BARE] = &speak_bare,         [BENCH_TALK_SOCKET] = &bench_speak_socket,
    [BENCH_TALK_GRPC] = &bench_speak_grpc,   [BENCH_TALK_CAPNP] = &bench_speak_capnp,
};

/* --- slices ------------------------------------------------------------------------------------------------------ */

static void lead(side_t *side, bench_talk_t talk, int64_t ns) {
    shared_t *shared = side->shared;
    tally_t *tally = &shared->tally[side->caller];
    bench_trips_t trips = {.sample = shared->sample + side->caller * shared->room, .room = shared->room};
    uint64_t ticks = (uint64_t)((double)ns * side->me->ticks_per_ns);

    speeches[talk]->lead(side->joined[talk], ticks, &trips);
    *tally = (tally_t){.from = trips.until - ticks, .to = trips.last, .count = trips.count};
}

/* The rate of all callers; the time of a trip as the first one has it. */
static void note(side_t *side, bench_talk_t talk) {
    const shared_t *shared = side->shared;
    noted_t *noted = &side->shared->noted[talk];
    unsigned callers = talk == BENCH_TALK_CALLS ? shared->calls.callers : 1;
    double ticks_per_ns = side->me->ticks_per_ns;
    tally_t all = shared->tally[0];

    for (unsigned i = 1; i < callers; i++) {
        const tally_t *tally = &shared->tally[i];
        all.from = tally->from < all.from ? tally->from : all.from;
        all.to = tally->to > all.to ? tally->to : all.to;
        all.count += tally->count;
    }
    size_t n = shared->tally[0].count;
    noted->trips += all.count;
    bench_series_add(&noted->per_s, (double)all.count * 1e9 * ticks_per_ns / (double)(all.to - all.from));
    bench_series_add(&noted->p50_ns, bench_percentile(shared->sample, n, 500) / ticks_per_ns);
    bench_series_add(&noted->p99_ns, bench_percentile(shared->sample, n, 990) / ticks_per_ns);
    bench_series_add(&noted->p999_ns, bench_percentile(shared->sample, n, 999) / ticks_per_ns);
}

static void run_talk(side_t *side, bench_talk_t talk, const bench_slice_t *slice, int64_t ns) {
    bench_side_t *me = side->me;
    bool takes_part = side->joined[talk] != NULL;

    bench_meet(me);
    if (takes_part && bench_is_server(me))
        speeches[talk]->follow(side->joined[talk]);
    else if (takes_part)
        lead(side, talk, ns);
    bench_meet(me);
    if (slice->number > 0 && !bench_is_server(me) && side->caller == 0)
        note(side, talk);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    run_talk(side, BENCH_TALK_MESSAGES, slice, slice->ns);
    for (bench_talk_t talk = BENCH_TALK_BARE; talk < BENCH_TALKS; talk++) {
        if (side->shared->calls.has[talk])
            run_talk(side, talk, slice, slice->ns / 2);
    }
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    run_talk(arg, BENCH_TALK_CALLS, slice, slice->ns);
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    bench_calls_t *calls = &shared->calls;
    side_t side = {.me = me, .shared = shared};

    side.caller = bench_is_server(me) ? 0 : me->index - me->settings->servers;
    bool is_first = me->index == 0 || me->index == me->settings->servers;
    for (bench_talk_t talk = BENCH_TALK_CALLS; talk < BENCH_TALKS; talk++) {
        bench_meet(me); /* opening many clients takes its time */
        if (calls->has[talk] && (is_first || talk == BENCH_TALK_CALLS))
            side.joined[talk] = speeches[talk]->join(me, calls);
    }
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    if (calls->idles)
        bench_calls_idle(side.joined[BENCH_TALK_CALLS]);
    for (bench_talk_t talk = BENCH_TALK_CALLS; talk < BENCH_TALKS; talk++) {
        if (side.joined[talk] != NULL)
            speeches[talk]->leave(side.joined[talk]);
    }
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* Every call must have been served, and none twice. */
static bool is_complete(const bench_calls_t *calls) {
    uint64_t asked = 0;
    uint64_t served = 0;

    for (unsigned i = 0; i < calls->callers; i++)
        asked += calls->asked[i];
    for (unsigned i = 0; i < calls->settings->servers; i++)
        served += calls->served[i];
    if (asked == served)
        return true;
    say("rpc: %llu calls were made, and %llu were served", (unsigned long long)asked, (unsigned long long)served);
    return false;
}

static void tell(const shared_t *shared, bench_calls_result_t *result) {
    const bench_calls_t *calls = &shared->calls;

    for (bench_talk_t talk = BENCH_TALK_CALLS; talk < BENCH_TALKS; talk++) {
        const noted_t *noted = &shared->noted[talk];
        result->has[talk] = calls->has[talk];
        result->of[talk] = (bench_talked_t){.per_s = bench_series_median(&noted->per_s),
                                            .p50_ns = bench_series_median(&noted->p50_ns),
                                            .p99_ns = bench_series_median(&noted->p99_ns),
                                            .p999_ns = bench_series_median(&noted->p999_ns),
                                            .trips = (double)noted->trips};
    }
    result->by_futex = calls->by_futex;
    result->sides = calls->settings->servers + calls->callers;
    result->idle_cpu_ms = calls->idles ? calls->idle_cpu_ms[0] + calls->idle_cpu_ms[1] : NAN;
    result->waiting_cpu_ms = calls->idles ? calls->waiting_cpu_ms[0] + calls->waiting_cpu_ms[1] : NAN;
    result->quality.spread = bench_series_spread(&shared->noted[BENCH_TALK_BARE].p50_ns);
}

/* As many sides as there are processors for, so that what is measured is not how they share one. */
static unsigned callers_of(const bench_settings_t *s) {
    int cpus[BENCH_MAX_PARTIES + BENCH_MAX_CALLERS];
    unsigned n = bench_processors(cpus, s->servers + BENCH_MAX_CALLERS);
    unsigned most = n > s->servers ? n - s->servers : 1;

    return s->clients < most ? s->clients : most;
}

/* What others do is measured beside the plainest call only: one at a time between two processes. */
static void choose_talks(bench_calls_t *calls) {
    const bench_settings_t *s = calls->settings;
    bool plain = s->clients == 1 && s->servers == 1 && s->outstanding == 1 && s->wait == FERRY_WAIT_ADAPTIVE;

    calls->has[BENCH_TALK_CALLS] = calls->has[BENCH_TALK_MESSAGES] = calls->has[BENCH_TALK_BARE] = true;
    calls->idles = s->clients == 1 && s->servers == 1 && s->outstanding == 1 && s->wait != FERRY_WAIT_SPIN;
    if (!plain || s->between != BENCH_PROCESSES || s->method != BENCH_METHOD_ECHO || !s->peers)
        return;
    calls->has[BENCH_TALK_SOCKET] = true;
    calls->has[BENCH_TALK_GRPC] = bench_call_peer_is_there(BENCH_TALK_GRPC);
    calls->has[BENCH_TALK_CAPNP] = bench_call_peer_is_there(BENCH_TALK_CAPNP);
}

static int run(shared_t *shared, bench_calls_result_t *result) {
    bench_calls_t *calls = &shared->calls;
    const bench_settings_t *s = calls->settings;
    bench_job_t job = {.settings = s, .run = run_side, .takers = s->servers, .shared = shared};

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, calls->sockets) != 0) {
        say("cannot get a pair of sockets");
        return 1;
    }
    job.sides = s->servers + calls->callers;
    job.expected_ns = 4 * bench_alternate_ns(s->measure_ns) + (int64_t)s->clients * 50000000;
    int failed = bench_sides_run(&job);
    close(calls->sockets[0]);
    close(calls->sockets[1]);
    if (failed == 0 && !is_complete(calls))
        failed = 1;
    if (failed == 0)
        tell(shared, result);
    return failed;
}

int bench_calls_once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    unsigned callers = callers_of(s);
    size_t room = (size_t)(s->measure_ns / BENCH_SLICES / 20) + ((size_t)4 << 20);
    const size_t most = (size_t)64 << 20;
    int failed = 1;

    if (room > most)
        room = most;
    shared_t *shared = bench_share(sizeof *shared);
    uint32_t *sample = bench_share(callers * room * sizeof *sample);
    if (shared != NULL && sample != NULL) {
        shared->calls.settings = s;
        shared->calls.callers = callers;
        shared->calls.by_futex = s->wait == FERRY_WAIT_BLOCK || bench_is_shared_core(s);
        choose_talks(&shared->calls);
        shared->sample = sample;
        shared->room = room;
        failed = run(shared, out);
    }
    bench_unshare(shared, sizeof *shared);
    bench_unshare(sample, callers * room * sizeof *sample);
    return failed;
}

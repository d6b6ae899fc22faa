/* SPDX-License-Identifier: MIT */
#include "bench/contest.h"

#include <string.h>

#include "bench/clock.h"
#include "say.h"

enum { BURST = 61 }; /* turns between two looks at the clock */

_Static_assert(BURST % 2 == 1, "one wait of 64 is kept: not always the last of a burst");

/* What one side did with one object; on lines of its own. */
typedef struct tally {
    _Alignas(128) uint64_t turns; /* all */
    uint64_t rated;               /* those in first halves that count */
    uint64_t in_half;             /* those in the latest first half */
    int64_t from_ns, to_ns;       /* when that was */
    bench_waits_t waits;          /* the longest: of the latest second half */
} tally_t;

typedef struct guarded {
    _Alignas(128) uint64_t word[2];
} guarded_t;

typedef struct shared {
    const bench_contest_t *contest;
    unsigned sides;
    bool is_erratic; /* the counterpart's rate moves by itself, and tells nothing of the machine */
    bench_series_t alone_per_s;
    guarded_t guarded[BENCH_WAYS];
    tally_t tally[BENCH_WAYS][BENCH_MAX_PARTIES];
    bench_series_t per_s[BENCH_WAYS][BENCH_ROLES];
    bench_series_t longest[BENCH_WAYS][BENCH_ROLES]; /* ticks */
    double waited_s[BENCH_WAYS];                     /* for how long waits were timed */
    bench_series_t pause;                            /* ticks */
    uint64_t pauses[BENCH_MAX_PARTIES];              /* each side's longest in the latest slice */
    uint64_t long_pauses[BENCH_MAX_PARTIES];
    double paused_s; /* for how long pauses were looked for */
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    unsigned role;
    void *object[BENCH_WAYS];
} side_t;

/* --- turns ------------------------------------------------------------------------------------------------------- */

static uint64_t take_turns(side_t *side, bench_way_t way, int64_t ns, bench_waits_t *waits) {
    const bench_contest_t *contest = side->shared->contest;
    bench_turns_fn *turns = contest->turns[way][side->role];
    uint64_t *words = side->shared->guarded[way].word;
    uint64_t until = bench_ticks() + (uint64_t)((double)ns * side->me->ticks_per_ns);
    uint64_t taken = 0;

    do {
        int failed = turns(side->object[way], words, BURST, waits);
        if (failed != 0)
            bench_object_failed(side->me, way, failed);
        taken += BURST;
    } while (bench_ticks() < until);
    side->shared->tally[way][side->me->index].turns += taken;
    return taken;
}

static uint64_t greater(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* The sides that play `role` are those from `*first` on to before the one returned. */
static unsigned sides_of(const bench_contest_t *contest, unsigned role, unsigned *first) {
    *first = role == BENCH_READERS ? 0 : contest->sides[BENCH_READERS];
    return *first + contest->sides[role];
}

static void keep_rate(shared_t *shared, bench_way_t way, unsigned role) {
    unsigned first;
    unsigned end = sides_of(shared->contest, role, &first);
    uint64_t turns = 0;
    int64_t from_ns = INT64_MAX;
    int64_t to_ns = 0;

    for (unsigned i = first; i < end; i++) {
        const tally_t *tally = &shared->tally[way][i];
        turns += tally->in_half;
        from_ns = tally->from_ns < from_ns ? tally->from_ns : from_ns;
        to_ns = tally->to_ns > to_ns ? tally->to_ns : to_ns;
    }
    if (first < end)
        bench_series_add(&shared->per_s[way][role], (double)turns * 1e9 / (double)(to_ns - from_ns));
}

static void rate_half(side_t *side, bench_way_t way, const bench_slice_t *slice) {
    shared_t *shared = side->shared;
    tally_t *tally = &shared->tally[way][side->me->index];

    bench_meet(side->me);
    tally->from_ns = bench_now_ns();
    tally->in_half = take_turns(side, way, slice->ns / 2, NULL);
    tally->to_ns = bench_now_ns();
    if (slice->number > 0)
        tally->rated += tally->in_half;
    bench_meet(side->me);
    if (side->me->index != 0 || slice->number == 0)
        return;
    keep_rate(shared, way, BENCH_READERS);
    keep_rate(shared, way, BENCH_WRITERS);
}

static void keep_longest(shared_t *shared, bench_way_t way, unsigned role) {
    unsigned first;
    unsigned end = sides_of(shared->contest, role, &first);
    uint64_t longest = 0;

    for (unsigned i = first; i < end; i++)
        longest = greater(longest, shared->tally[way][i].waits.longest);
    if (first < end)
        bench_series_add(&shared->longest[way][role], (double)longest);
}

static uint64_t long_ticks(const side_t *side) {
    return (uint64_t)(BENCH_LONG_NS * side->me->ticks_per_ns);
}

/* For how long waits are timed, so that both ways take about as many turns: the quicker one would else take several
 * times as many, and meet several times as many of the machine's pauses while it holds the object. */
static int64_t waiting_ns(const shared_t *shared, bench_way_t way, const bench_slice_t *slice) {
    bench_way_t other = way == BENCH_FERRY ? BENCH_LIMIT : BENCH_FERRY;
    double own_per_s = bench_series_median(&shared->per_s[way][BENCH_READERS]);
    double other_per_s = bench_series_median(&shared->per_s[other][BENCH_READERS]);
    bool is_quicker = own_per_s > other_per_s; /* not, as long as one of them is unknown */

    return (int64_t)((double)slice->ns / 2 * (is_quicker ? other_per_s / own_per_s : 1));
}

static void wait_half(side_t *side, bench_way_t way, const bench_slice_t *slice) {
    bench_waits_t unkept = {0};
    bench_waits_t *waits = slice->number > 0 ? &side->shared->tally[way][side->me->index].waits : &unkept;

    waits->longest = 0;
    waits->long_ticks = long_ticks(side);
    bench_meet(side->me);
    int64_t ns = waiting_ns(side->shared, way, slice);
    take_turns(side, way, ns, waits);
    bench_meet(side->me);
    if (side->me->index != 0 || slice->number == 0)
        return;
    side->shared->waited_s[way] += (double)ns / 1e9;
    keep_longest(side->shared, way, BENCH_READERS);
    keep_longest(side->shared, way, BENCH_WRITERS);
}

/* How long this side's processor was away at most, for an interrupt or because the hypervisor took it. `*count`: how
 * often for long. */
static uint64_t longest_pause(const side_t *side, int64_t ns, uint64_t *count) {
    uint64_t last = bench_ticks();
    uint64_t until = last + (uint64_t)((double)ns * side->me->ticks_per_ns);
    uint64_t limit = long_ticks(side);
    uint64_t longest = 0;

    while (last < until) {
        uint64_t now = bench_ticks();
        longest = greater(longest, now - last);
        *count += now - last > limit;
        last = now;
    }
    return longest;
}

/* The machine alone: the sides only look at the clock. A pause that falls into a wait makes it as long, whatever is
 * waited for. */
static void pause_half(side_t *side, const bench_slice_t *slice) {
    shared_t *shared = side->shared;
    uint64_t longest = 0;
    uint64_t count = 0;

    bench_meet(side->me);
    shared->pauses[side->me->index] = longest_pause(side, slice->ns / 2, &count);
    shared->long_pauses[side->me->index] += slice->number > 0 ? count : 0;
    bench_meet(side->me);
    if (side->me->index != 0 || slice->number == 0)
        return;
    for (unsigned i = 0; i < shared->sides; i++)
        longest = greater(longest, shared->pauses[i]);
    bench_series_add(&shared->pause, (double)longest);
    shared->paused_s += (double)slice->ns / 2e9;
}

/* What moves only when the machine does: the first side takes turns at the counterpart, and all others sleep. */
static void alone(side_t *side, const bench_slice_t *slice) {
    if (side->me->index == 0) {
        int64_t from_ns = bench_now_ns();
        double turns = (double)take_turns(side, BENCH_LIMIT, slice->ns / 8, NULL);
        if (slice->number > 0)
            bench_series_add(&side->shared->alone_per_s, turns * 1e9 / (double)(bench_now_ns() - from_ns));
    }
    bench_meet(side->me);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;

    if (side->shared->is_erratic)
        alone(side, slice);
    rate_half(side, BENCH_LIMIT, slice);
    wait_half(side, BENCH_LIMIT, slice);
    for (bench_way_t way = BENCH_PLAIN; way < BENCH_WAYS; way++) {
        if (side->object[way] != NULL)
            rate_half(side, way, slice);
    }
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    rate_half(arg, BENCH_FERRY, slice);
    wait_half(arg, BENCH_FERRY, slice);
    pause_half(arg, slice);
}

static void join_all(side_t *side) {
    const bench_contest_t *contest = side->shared->contest;

    if (contest->join == NULL) {
        memcpy(side->object, contest->counterpart, sizeof side->object);
        side->object[BENCH_FERRY] = contest->open(side->me);
        return;
    }
    for (bench_way_t way = BENCH_FERRY; way < BENCH_WAYS; way++) {
        if (contest->turns[way][side->role] != NULL)
            side->object[way] = contest->join(side->me, contest->shared, way);
    }
}

static void leave_all(side_t *side) {
    const bench_contest_t *contest = side->shared->contest;

    if (contest->leave == NULL) {
        int failed = contest->close(side->object[BENCH_FERRY]);
        if (failed != 0)
            bench_object_failed(side->me, BENCH_FERRY, failed);
        return;
    }
    for (bench_way_t way = BENCH_FERRY; way < BENCH_WAYS; way++) {
        if (side->object[way] != NULL)
            contest->leave(side->me, side->object[way], way);
    }
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    side_t side = {.me = me, .shared = shared};

    side.role = me->index < shared->contest->sides[BENCH_READERS] ? BENCH_READERS : BENCH_WRITERS;
    join_all(&side);
    bench_meet(me);
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    leave_all(&side);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* No turn may be missing, and none may have overlapped another one. */
static bool is_complete(const shared_t *shared, bench_way_t way) {
    unsigned counted = shared->contest->counted;
    unsigned first;
    uint64_t turns = 0;

    if (counted == BENCH_ROLES)
        return true;
    unsigned end = sides_of(shared->contest, counted, &first);
    for (unsigned i = first; i < end; i++)
        turns += shared->tally[way][i].turns;
    if (shared->guarded[way].word[0] == turns)
        return true;
    say("%s: %llu turns were taken at %s, but only %llu were counted while it was held", shared->contest->name,
        (unsigned long long)turns, way == BENCH_FERRY ? "Ferry's object" : "the C library's object",
        (unsigned long long)shared->guarded[way].word[0]);
    return false;
}

/* Moves the samples of all sides from `first` on together. Returns how many there are. */
static size_t collect(tally_t *tally, unsigned first, unsigned end) {
    size_t n = 0;

    for (unsigned i = first; i < end; i++) {
        memmove(tally[first].waits.sample + n, tally[i].waits.sample, tally[i].waits.count * sizeof(uint32_t));
        n += tally[i].waits.count;
    }
    return n;
}

static void tell_role(shared_t *shared, bench_way_t way, unsigned role, double ticks_per_ns,
                      bench_standing_t *standing) {
    tally_t *tally = shared->tally[way];
    unsigned first;
    unsigned end = sides_of(shared->contest, role, &first);
    uint64_t total = 0;
    uint64_t least = UINT64_MAX;
    uint64_t waited_long = 0;

    if (first == end)
        return;
    for (unsigned i = first; i < end; i++) {
        least = tally[i].rated < least ? tally[i].rated : least;
        total += tally[i].rated;
        waited_long += tally[i].waits.long_calls;
    }
    standing->per_s = bench_series_median(&shared->per_s[way][role]);
    standing->smallest_share = (double)least / (double)total;
    standing->longest_ns = bench_series_median(&shared->longest[way][role]) / ticks_per_ns;
    standing->worst_ns = bench_series_most(&shared->longest[way][role]) / ticks_per_ns;
    if (way != BENCH_FERRY && way != BENCH_LIMIT)
        return;
    size_t n = collect(tally, first, end);
    standing->p999_ns = bench_quantile(tally[first].waits.sample, n, 9990) / ticks_per_ns;
    standing->p9999_ns = bench_quantile(tally[first].waits.sample, n, 9999) / ticks_per_ns;
    standing->long_per_s = (double)waited_long / shared->waited_s[way];
}

static int tell(shared_t *shared, bench_contest_result_t *result) {
    double ticks_per_ns = bench_ticks_per_ns();

    for (unsigned way = 0; way < BENCH_WAYS; way++) {
        if (shared->contest->turns[way][0] == NULL)
            continue;
        if (!is_complete(shared, way))
            return 1;
        for (unsigned role = 0; role < BENCH_ROLES; role++)
            tell_role(shared, way, role, ticks_per_ns, &result->of[way][role]);
    }
    result->pause_ns = bench_series_median(&shared->pause) / ticks_per_ns;
    result->worst_pause_ns = bench_series_most(&shared->pause) / ticks_per_ns;
    uint64_t pauses = 0;
    for (unsigned i = 0; i < shared->sides; i++)
        pauses += shared->long_pauses[i];
    result->long_pauses_per_s = (double)pauses / shared->paused_s;
    result->quality.spread =
        bench_series_spread(shared->is_erratic ? &shared->alone_per_s : &shared->per_s[BENCH_LIMIT][BENCH_READERS]);
    return 0;
}

/* Who gets an object for which more wait than can run, or readers and writers, is a matter of luck. */
static bool is_erratic(const bench_contest_t *contest) {
    int cpus[BENCH_MAX_PARTIES];
    unsigned sides = contest->sides[BENCH_READERS] + contest->sides[BENCH_WRITERS];

    return contest->sides[BENCH_WRITERS] > 0 ||
           (sides > 1 && (bench_is_shared_core(contest->settings) || bench_processors(cpus, sides) < sides));
}

/* Gives each side room for its samples of Ferry and of the counterpart. */
static void deal_out(shared_t *shared, uint32_t *sample, size_t room) {
    for (unsigned i = 0; i < shared->sides; i++) {
        shared->tally[BENCH_FERRY][i].waits = (bench_waits_t){.sample = sample + i * room, .room = room};
        shared->tally[BENCH_LIMIT][i].waits =
            (bench_waits_t){.sample = sample + (shared->sides + i) * room, .room = room};
    }
}

int bench_contest_run(const bench_contest_t *contest, bench_contest_result_t *result) {
    unsigned sides = contest->sides[BENCH_READERS] + contest->sides[BENCH_WRITERS];
    size_t room = (size_t)(contest->settings->measure_ns / 2 / 10 / 64) + 1000; /* no turn takes less than 10 ns */
    const size_t most = (size_t)1 << 20;
    int failed = 1;

    if (room > most)
        room = most;
    const size_t bytes = 2 * sides * room * sizeof(uint32_t);
    shared_t *shared = bench_share(sizeof *shared);
    uint32_t *sample = bench_share(bytes);
    if (shared != NULL && sample != NULL) {
        shared->contest = contest;
        shared->sides = sides;
        shared->is_erratic = is_erratic(contest);
        deal_out(shared, sample, room);
        bench_job_t job = {.settings = contest->settings, .run = run_side, .sides = sides, .shared = shared};
        job.takers = (sides + 1) / 2; /* where processors are too few, half of the sides get half of them */
        job.expected_ns = 2 * bench_alternate_ns(contest->settings->measure_ns);
        failed = bench_sides_run(&job);
        if (failed == 0)
            failed = tell(shared, result);
    }
    bench_unshare(shared, sizeof *shared);
    bench_unshare(sample, bytes);
    return failed;
}

void bench_contest_row(bench_row_t *row, const char *limit_name, const bench_contest_result_t *result) {
    const bench_standing_t *ferry = &result->of[BENCH_FERRY][BENCH_READERS];
    const bench_standing_t *limit = &result->of[BENCH_LIMIT][BENCH_READERS];

    bench_row_add(row, "ops_per_s", "turns", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "p999_wait_ns", "p99.9", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, "p9999_wait_ns", "p99.99", BENCH_NS, ferry->p9999_ns);
    bench_row_add(row, "longest_wait_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_add(row, "worst_wait_ns", NULL, BENCH_NS, ferry->worst_ns);
    bench_row_add(row, "long_waits_per_s", "over 100 us", BENCH_PER_SECOND, ferry->long_per_s);
    bench_row_add(row, "smallest_share", "least share", BENCH_RATIO, ferry->smallest_share);
    bench_row_text(row, "limit_name", NULL, limit_name);
    bench_row_add(row, "limit_ops_per_s", "libc", BENCH_PER_SECOND, limit->per_s);
    bench_row_add(row, "limit_p999_wait_ns", "p99.9", BENCH_NS, limit->p999_ns);
    bench_row_add(row, "limit_p9999_wait_ns", "p99.99", BENCH_NS, limit->p9999_ns);
    bench_row_add(row, "limit_longest_wait_ns", "longest", BENCH_NS, limit->longest_ns);
    bench_row_add(row, "limit_worst_wait_ns", NULL, BENCH_NS, limit->worst_ns);
    bench_row_add(row, "limit_long_waits_per_s", "over 100 us", BENCH_PER_SECOND, limit->long_per_s);
    bench_row_add(row, "limit_smallest_share", "least share", BENCH_RATIO, limit->smallest_share);
    bench_row_add(row, "pause_ns", "pause", BENCH_NS, result->pause_ns);
    bench_row_add(row, "worst_pause_ns", NULL, BENCH_NS, result->worst_pause_ns);
    bench_row_add(row, "long_pauses_per_s", "over 100 us", BENCH_PER_SECOND, result->long_pauses_per_s);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, limit->per_s / ferry->per_s);
}

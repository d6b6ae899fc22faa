/* SPDX-License-Identifier: MIT
 *
 * contest.h - sides that take turns at one object as fast as they can: Ferry's and its counterpart in turn.
 *
 * A slice has two halves. In the first one turns are counted, and the clock is looked at once in a burst. In the second
 * one each call that takes the object is timed, so that the longest is really found; what that costs is in no rate. It
 * is cut short for the quicker one, so that the longest wait is that of about as many turns of either.
 *
 * The longest wait of a run is seldom the lock's doing: the machine takes a processor away now and then, for longer
 * than any hand-over takes, and whom that hits is chance. So each slice's longest is kept, and their median told beside
 * the worst; and, measured in turn with both objects, how long the machine's own pauses are while the sides only look
 * at the clock. How often something takes very long is less a matter of chance than how long it takes at most: so waits
 * that are long are counted, and as long pauses, too. A lock of which more are long than there are pauses makes some of
 * them itself.
 */
#ifndef FERRY_BENCH_CONTEST_H
#define FERRY_BENCH_CONTEST_H

#include "bench/object.h"
#include "bench/turns.h"

/* Parts that sides play: all the first one, or some readers and some writers. */
enum { BENCH_READERS, BENCH_WRITERS, BENCH_ROLES };

#define BENCH_LONG_NS 100000 /* several times what a wake-up takes */

typedef struct bench_contest {
    const char *name;
    const bench_settings_t *settings;
    unsigned sides[BENCH_ROLES];
    /* The part whose turns each add one to the first word that is guarded; BENCH_ROLES: none, nothing is guarded. */
    unsigned counted;
    bench_turns_fn *turns[BENCH_WAYS][BENCH_ROLES]; /* NULL: there are none */
    void *counterpart[BENCH_WAYS];                  /* but for Ferry, in shared memory */
    void *(*open)(bench_side_t *me);                /* Ferry's object */
    int (*close)(void *handle);
    /* Or, instead of the three before: what each side has of its own for each way that has turns. */
    void *(*join)(bench_side_t *me, void *shared, bench_way_t way);
    void (*leave)(bench_side_t *me, void *joined, bench_way_t way);
    void *shared; /* what `join` needs, from before the sides were started */
} bench_contest_t;

/* How one part of the sides did with one of the objects. */
typedef struct bench_standing {
    double per_s;
    double smallest_share; /* of these turns, by one side */
    double p999_ns;        /* of the calls that take */
    double p9999_ns;
    double longest_ns; /* in a slice: the median of the slices */
    double worst_ns;   /* of all */
    double long_per_s; /* calls that took more than BENCH_LONG_NS, of all sides */
} bench_standing_t;

typedef struct bench_contest_result {
    bench_quality_t quality;
    double pause_ns, worst_pause_ns,
        long_pauses_per_s; /* of the machine: as the longest, the worst and the long waits */
    bench_standing_t of[BENCH_WAYS][BENCH_ROLES];
} bench_contest_result_t;

/* Runs it. Returns 0, or 1 when it could not be measured or something was lost (said). */
int bench_contest_run(const bench_contest_t *contest, bench_contest_result_t *result);

/* Adds what Ferry and the counterpart, called `limit_name`, did as readers (or as all the sides). */
void bench_contest_row(bench_row_t *row, const char *limit_name, const bench_contest_result_t *result);

#endif

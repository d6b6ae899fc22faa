/* SPDX-License-Identifier: MIT
 *
 * turns.h - one side's turns at an object that guards something: take it, do the work, give it back.
 *
 * The loop is the same for Ferry and for what it is compared with; the compiler builds it anew around each one's calls.
 */
#ifndef FERRY_BENCH_TURNS_H
#define FERRY_BENCH_TURNS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/clock.h"

/* One call on a shared object: 0, or an error, negative or not. */
typedef int bench_step_fn(void *object);

/* What is done while the object is held, with two words that nothing else protects: 0, or an error. */
typedef int bench_work_fn(uint64_t *words);

/* Takes `count` turns. With `waits` each call that takes the object is timed. Returns 0, or the first error. */
typedef int bench_turns_fn(void *object, uint64_t *words, unsigned count, bench_waits_t *waits);

static inline __attribute__((always_inline)) int bench_turns(bench_step_fn *take, bench_work_fn *work,
                                                             bench_step_fn *give, void *object, uint64_t *words,
                                                             unsigned count, bench_waits_t *waits) {
    int failed = 0;

    for (unsigned i = 0; i < count && failed == 0; i++) {
        uint64_t from = waits != NULL ? bench_ticks() : 0;
        failed = take(object);
        if (waits != NULL)
            bench_waits_add(waits, bench_ticks() - from);
        if (failed == 0)
            failed = work(words);
        if (failed == 0)
            failed = give(object);
    }
    return failed;
}

/* Two holders at once would lose an increment, which shows at the end. */
static inline int bench_count_up(uint64_t *words) {
    words[0]++;
    return 0;
}

static inline int bench_change_both(uint64_t *words) {
    words[0]++;
    words[1]++;
    return 0;
}

/* A writer beside a reader would show here at once. */
static inline int bench_see_equal(uint64_t *words) {
    return words[0] == words[1] ? 0 : -EBADMSG;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * window.h - questions and answers, so many under way at once: the loop that calls, messages and other libraries share.
 *
 * The compiler builds it anew around each one's functions. A question is known by its number, which goes on from slice
 * to slice. Answers are taken in the order of the questions, and each one is followed by another question.
 */
#ifndef FERRY_BENCH_WINDOW_H
#define FERRY_BENCH_WINDOW_H

#include <stdint.h>

#include "bench/clock.h"

enum { BENCH_MAX_OUTSTANDING = 1024 };

/* Asks question `number`, in the given place. */
typedef void bench_ask_fn(void *asker, unsigned place, uint64_t number);
/* Takes the answer to that question, and checks it; any failure ends the run. */
typedef void bench_answer_fn(void *asker, unsigned place, uint64_t number);

/*
 * Asks until the trips are over, then takes the answers that are still to come. A trip lasts from before the question
 * is asked until its answer has been checked. Returns the number of the last question, where `last` was that before.
 */
static inline __attribute__((always_inline)) uint64_t bench_window(bench_ask_fn *ask, bench_answer_fn *answer,
                                                                   void *asker, unsigned window, uint64_t last,
                                                                   bench_trips_t *trips) {
    uint64_t since[BENCH_MAX_OUTSTANDING];
    uint64_t asked = last;
    uint64_t answered = last;
    unsigned place = 0;

    for (unsigned i = 0; i < window; i++) {
        since[i] = bench_ticks();
        ask(asker, i, ++asked);
    }
    for (;;) {
        answer(asker, place, ++answered);
        trips->last = since[place];
        if (!bench_trips_add(trips))
            break;
        since[place] = trips->last;
        ask(asker, place, ++asked);
        place = place + 1 < window ? place + 1 : 0;
    }
    while (answered < asked) {
        place = place + 1 < window ? place + 1 : 0;
        answer(asker, place, ++answered);
    }
    return asked;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * What becomes of records that have failed for good: until somebody receives the dead-letter queue they are in this
 * process's memory, as copies of what their senders still have, if these are still there.
 */
#include "work.h"

#include <time.h>

#include "say.h"
#include "stop.h"
#include "units.h"

static const int64_t on_the_way_ns = 500 * 1000 * 1000; /* to a reader, or to the server of a durable queue */

static ferry_receiver_stats_t stats_of(const working_t *w) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};

    (void)ferry_receiver_stats(w->rx, &stats);
    return stats;
}

/* Those that were handed back, and have not been given to anybody since, who would have sent them on. */
static uint64_t count_not_sent(const working_t *w) {
    uint64_t sent = stats_of(w).dead_letters;

    return sent < w->given_up ? w->given_up - sent : 0;
}

static void say_that_they_wait(const working_t *w, uint64_t left) {
    char count[UNITS_TEXT];

    if (!w->common.quiet)
        say("%s record%s that failed for good wait%s here until somebody receives the queue \"%s\": `ferry recv %s`; "
            "Ctrl-C drops them",
            show_count(left, count), left == 1 ? "" : "s", left == 1 ? "s" : "", w->dead, w->dead);
}

/* Until none is left, a signal comes, or the time is up (0: never). */
static uint64_t wait_for_readers(const working_t *w, int64_t until) {
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    uint64_t left = stats_of(w).letters_waiting;

    while (left > 0 && stop_signal() == 0 && (until == 0 || now_ns() < until)) {
        (void)nanosleep(&pause, NULL);
        left = stats_of(w).letters_waiting;
    }
    return left;
}

uint64_t work_see_letters_off(const working_t *w) {
    if (w->dead == NULL || w->given_up == 0)
        return 0;
    uint64_t left = wait_for_readers(w, now_ns() + on_the_way_ns);
    if (left > 0 && w->ended && stop_signal() == 0) {
        say_that_they_wait(w, left);
        left = wait_for_readers(w, 0);
    }
    return left + count_not_sent(w);
}

void work_tell_failures(const working_t *w, uint64_t left) {
    char count[UNITS_TEXT], rest[UNITS_TEXT];

    if (w->given_up == 0 || w->dead == NULL || w->common.quiet)
        return;
    if (left == 0)
        say("%s record%s failed for good and went to the queue \"%s\"", show_count(w->given_up, count),
            w->given_up == 1 ? "" : "s", w->dead);
    else
        say("%s record%s failed for good; %s had not been received from \"%s\" when this ended: %s",
            show_count(w->given_up, count), w->given_up == 1 ? "" : "s", show_count(left, rest), w->dead,
            w->ended ? "as the senders have ended, that is lost" : "that is with the senders again, to be tried");
}

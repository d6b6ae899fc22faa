/* SPDX-License-Identifier: MIT
 *
 * What becomes of records that have failed for good: until somebody receives the dead-letter queue they are in this
 * process's memory, as copies of what their senders still have, if these are still there.
 */
#include "work.h"

#include <string.h>
#include <time.h>

#include "holders.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const int64_t on_the_way_ns = 500 * 1000 * 1000; /* to a reader, or to the server of a durable queue */

/* How many of ours nobody has received and released yet. Whoever cannot be asked has none. */
static uint64_t count_left(const working_t *w) {
    ferry_look_t *look;
    uint64_t left = 0;
    int status = 0;

    if (!look_at_space(&w->common, &look, &status))
        return 0;
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        const ferry_look_end_t *e = ferry_look_end(look, i);
        if (e->is_sender && e->node == ferry_node_id(w->node) && strcmp(e->channel, w->dead) == 0)
            left += e->depth;
    }
    ferry_look_close(look);
    return left;
}

/* Those that were handed back, and have not been given to anybody since, who would have sent them on. */
static uint64_t count_not_sent(const working_t *w) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};

    if (ferry_receiver_stats(w->rx, &stats) < 0 || stats.dead_letters >= w->given_up)
        return 0;
    return w->given_up - stats.dead_letters;
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
    uint64_t left = count_left(w);

    while (left > 0 && stop_signal() == 0 && (until == 0 || now_ns() < until)) {
        (void)nanosleep(&pause, NULL);
        left = count_left(w);
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

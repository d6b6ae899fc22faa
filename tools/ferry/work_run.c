/* SPDX-License-Identifier: MIT
 *
 * Taking records, watching commands, and saying what has become of them. One thread does it all: it sleeps until a
 * command ends, a record comes while there is room for another command, or a command has taken too long.
 */
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"
#include "stop.h"
#include "units.h"

static const int64_t longest_delay = INT64_C(300) * 1000 * 1000 * 1000;

/* --- the end of a record ----------------------------------------------------------------------------------------- */

/* Twice as long each time: what is overloaded gets time to recover. */
static int64_t delay_after(const working_t *w, uint32_t attempt) {
    int64_t delay = w->delay;

    for (uint32_t i = 1; i < attempt && delay < longest_delay; i++)
        delay *= 2;
    return delay < longest_delay || w->delay > longest_delay ? delay : longest_delay;
}

static const char *how(int status, char *text, size_t cap) {
    if (status > 128)
        snprintf(text, cap, "signal %d", status - 128);
    else
        snprintf(text, cap, "exit status %d", status);
    return text;
}

static void say_given_up(const working_t *w, const ferry_msg_info_t *info, const char *why) {
    char times[60] = "once, with";

    if (info->attempt > 1)
        snprintf(times, sizeof times, "%" PRIu32 " times, for the last time with", info->attempt);
    if (w->dead == NULL)
        say("record %" PRIu64 " of sender %016" PRIx64 ".%" PRIu64 " failed %s %s: it is given up", info->sequence,
            info->sender_node, info->sender, times, why);
    else if (!w->common.quiet)
        say("a record failed %s %s: it goes to the queue \"%s\"", times, why, w->dead);
}

static void failed(working_t *w, task_t *t, int status) {
    ferry_msg_info_t info = {.size = sizeof info};
    char text[40];

    (void)ferry_msg_info(t->msg, &info);
    bool last = info.attempt > w->retries;
    w->failures++;
    w->given_up += last;
    if (last)
        say_given_up(w, &info, how(status, text, sizeof text));
    if (last && w->dead == NULL) {
        ferry_msg_release(t->msg);
        w->done++;
        return;
    }
    int result = ferry_msg_reject(t->msg, delay_after(w, info.attempt));
    if (result < 0) {
        say("a record failed with %s and is lost: %s", how(status, text, sizeof text), ferry_last_error());
        ferry_msg_release(t->msg);
        w->given_up += !last;
        w->done++;
    }
    if (result == 0 && last)
        w->done++;
}

static void finish(working_t *w, size_t i) {
    task_t *t = &w->tasks[i];
    size_t size = ferry_msg_size(t->msg);
    int status = job_end(&t->job);

    if (status != 0 && stop_hurried() && t->job.strikes > 0) {
        /* we ended it: the record goes back when the receiver is closed */
    } else if (status != 0) {
        failed(w, t, status);
    } else {
        ferry_msg_release(t->msg);
        w->done++;
        w->bytes += size;
    }
    *t = w->tasks[--w->running];
}

/* --- the beginning ----------------------------------------------------------------------------------------------- */

static void cannot_start(working_t *w, int error, bool cannot_run) {
    if (cannot_run) {
        say("cannot run '%s': %s", w->plan.command[0], strerror(error));
        w->status = error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
    } else {
        say("cannot start another process: %s", strerror(error));
        w->status = STATUS_FAILED;
    }
}

/* It stays held: what it is to be tried with next is somebody else's affair, since it was not its fault. */
static void begin(working_t *w, ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};
    char attempt[16];
    task_t *t = &w->tasks[w->running];
    bool cannot_run;

    (void)ferry_msg_info(m, &info);
    snprintf(attempt, sizeof attempt, "%" PRIu32, info.attempt);
    (void)setenv("FERRY_ATTEMPT", attempt, 1);
    t->msg = m;
    int error = job_start(&t->job, &w->plan, ferry_msg_data(m), ferry_msg_size(m), &cannot_run);
    if (error != 0) {
        cannot_start(w, error, cannot_run);
        return;
    }
    w->running++;
    w->begun += info.attempt == 1;
}

static bool may_begin(const working_t *w) {
    bool enough = w->count != 0 && w->done + w->running >= w->count;

    return w->running < w->jobs && stop_signal() == 0 && w->status == 0 && !enough;
}

/* A record has failed for good, and the queue for those does not take it: that is told, and the others go on. */
static bool is_refused_letter(int error) {
    if (error == -EPROTOTYPE)
        say("%s", ferry_last_error());
    return error == -EPROTOTYPE;
}

/* Takes what is there and starts commands for it. */
static void begin_all(working_t *w) {
    ferry_msg_t *m;
    int result = 0;

    while (result == 0 && may_begin(w)) {
        result = ferry_recv(w->rx, FERRY_NOW, &m);
        if (result == 0)
            begin(w, m);
    }
    w->ended = result == -EPIPE;
    if (result < 0 && result != -EAGAIN && result != -EPIPE && result != -EINTR && result != -EDQUOT &&
        !lost_one_sender(result) && !is_refused_letter(result))
        w->status = library_failed(result);
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

static int64_t patience(const working_t *w) {
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < w->running; i++)
        next = w->tasks[i].job.kill_at < next ? w->tasks[i].job.kill_at : next;
    int64_t left = next == INT64_MAX ? FERRY_FOREVER : next - now_ns();
    return progress_slice(&w->progress, next != INT64_MAX && left < 0 ? 0 : left);
}

static void show(working_t *w) {
    char text[80];

    snprintf(text, sizeof text, "%zu running, %" PRIu64 " failed", w->running, w->failures);
    progress_show(&w->progress, w->done, w->bytes, w->progress.figures ? text : NULL);
}

/* Those that are running, and the receiver behind them if there is room for another one. */
static void wait_for_something(working_t *w) {
    size_t n = 0;

    for (; n < w->running; n++)
        w->items[n] = (ferry_pollitem_t){.fd = w->tasks[n].job.fd, .events = FERRY_POLL_IN};
    if (may_begin(w) && !w->ended)
        w->items[n++] = (ferry_pollitem_t){.receiver = w->rx, .events = FERRY_POLL_IN};
    int result = ferry_poll(w->items, n, patience(w));
    if (result < 0 && result != -EINTR && result != -ETIMEDOUT && result != -EAGAIN && result != -ESHUTDOWN)
        w->status = library_failed(result);
}

/* From the last to the first, since the last one takes the place of one that has ended. */
static void look_at_commands(working_t *w) {
    int64_t now = now_ns();

    for (size_t i = w->running; i-- > 0;) {
        if (w->items[i].revents != 0)
            finish(w, i);
        else if (w->tasks[i].job.kill_at <= now || (stop_hurried() && w->tasks[i].job.strikes == 0))
            job_strike(&w->tasks[i].job);
    }
}

/* Is there nothing to wait for any more? */
static bool is_over(const working_t *w) {
    bool enough = w->count != 0 && w->done >= w->count;

    return w->running == 0 && (w->ended || enough || w->status != 0 || stop_signal() != 0);
}

int work_run(working_t *w) {
    begin_all(w);
    while (!is_over(w)) {
        wait_for_something(w);
        look_at_commands(w);
        show(w);
        begin_all(w);
    }
    return w->status != 0 ? w->status : w->given_up > 0 ? STATUS_NO : STATUS_OK;
}

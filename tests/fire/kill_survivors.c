/* SPDX-License-Identifier: MIT
 *
 * kill_survivors.c - those who must not notice more of a death than that somebody has gone.
 */
#include "kill.h"

#include <string.h>

/* ---- senders ---- */

#define QUOTA (32u << 20)

/* Nobody holds anything any more, dead or alive: the memory must be back. */
static bool nothing_is_out(void *arg) {
    ferry_sender_stats_t stats = sender_stats(arg);
    return stats.unreleased == 0 && stats.pool_blocks == 0 && stats.memory <= QUOTA;
}

static void expect_nothing_out(ferry_sender_t *tx) {
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    await_that(nothing_is_out, tx, "memory of released messages is not given back");
}

static void keep_sending(world_t *w, enum survivor who, ferry_sender_t *tx) {
    uint64_t number = 0;
    for (unsigned bursts = 1; atomic_load(&w->stage) == WORK && number + 2 * BURST < JOBS_MAX; bursts++) {
        rest_when_asked(&w->rest);
        for (unsigned i = 0; i < BURST; i++) {
            number = job_send_next(tx, who == SEND_JOBS ? &w->ledger : &w->news, number + 1);
        }
        atomic_fetch_add(&w->progress[who], BURST);
        if (bursts % 128 == 0)
            expect_nothing_out(tx);
        nap(w->pause);
    }
    expect_nothing_out(tx);
    atomic_fetch_add(&w->quiet, 1);
    await(&w->stage, LEAVE);
    close_sender(tx);
}

/* ---- receivers ---- */

static void take_one(world_t *w, ferry_receiver_t *rx, bool notes) {
    ferry_msg_t *m = NULL;
    int r = ferry_recv(rx, FERRY_NOW, &m);
    if (r < 0) {
        check(r == -EAGAIN || r == -EPIPE); /* the end, until the next victim comes */
        return;
    }
    job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
    if (notes)
        atomic_fetch_add(&w->notes_seen[job.who], 1);
    else
        job_seen(&w->ledger, &job, m);
    release(m);
    if (!notes)
        job_done(&w->ledger, &job);
}

static void keep_taking(world_t *w, enum survivor who, ferry_t *node) {
    ferry_receiver_t *jobs = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    ferry_receiver_t *notes = who == TAKE_JOBS ? open_receiver(node, "notes", FERRY_QUEUE, NULL) : NULL;
    ferry_pollitem_t items[2] = {{.receiver = jobs, .events = FERRY_POLL_IN},
                                 {.receiver = notes, .events = FERRY_POLL_IN}};
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->stage) < LEAVE) {
        int r = ferry_poll(items, notes ? 2 : 1, 10 * MILLISECOND);
        check(r >= 0);
        if (items[0].revents & FERRY_POLL_IN) {
            take_one(w, jobs, false);
            atomic_fetch_add(&w->progress[who], 1);
        }
        if (notes && items[1].revents & FERRY_POLL_IN)
            take_one(w, notes, true);
        if ((items[0].revents | items[1].revents) & FERRY_POLL_END)
            nap(MILLISECOND / 4);
    }
    if (notes)
        close_receiver(notes);
    close_receiver(jobs);
}

#define SERIES 32u

/* A publisher's last number, for each of its ends: it closes one and opens another, and while a slow reader still
 * drains the first, several may have followed. */
typedef struct series {
    uint64_t sender;
    uint64_t last;
} series_t;

/* News must come complete and in order from everybody, whoever dies beside us; from the first on if its sender met
 * us. */
static void read_one(world_t *w, ferry_msg_t *m) {
    static series_t series[SENDERS_MAX + 1][SERIES];
    job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
    ferry_msg_info_t info = info_of(m);
    series_t *s = &series[job.who][info.sender % SERIES];
    if (s->sender != info.sender)
        *s = (series_t){info.sender, atomic_load(&w->impatient[job.who]) ? job.number - 1 : 0};
    check_is(job.number, s->last + 1);
    check_is(info.lost_before, 0);
    s->last = job.number;
    release(m);
    atomic_fetch_add(&w->progress[READ_NEWS], job.who == 0);
}

static void keep_reading(world_t *w, ferry_t *node) {
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, NULL);
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->stage) < LEAVE) {
        ferry_msg_t *m = NULL;
        int r = ferry_recv(rx, 10 * MILLISECOND, &m);
        check(r == 0 || r == -ETIMEDOUT || r == -EPIPE);
        if (r == 0)
            read_one(w, m);
    }
    close_receiver(rx);
}

void survivor_run(world_t *w, enum survivor who) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = QUOTA};
    if (who == TAKE_JOBS || who == TAKE_JOBS_TOO) {
        keep_taking(w, who, node);
    } else if (who == READ_NEWS) {
        keep_reading(w, node);
    } else {
        bool jobs = who == SEND_JOBS;
        ferry_sender_t *tx = open_sender(node, jobs ? "jobs" : "news", jobs ? FERRY_QUEUE : FERRY_TOPIC, &contract);
        check_is(ferry_sender_wait(tx, jobs ? 2 : 1, PATIENCE), jobs ? 2 : 1);
        atomic_fetch_add(&w->ready, 1);
        keep_sending(w, who, tx);
    }
    close_node(node);
}

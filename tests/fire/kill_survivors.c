/* SPDX-License-Identifier: MIT
 *
 * kill_survivors.c - those who must not notice more of a death than that somebody has gone.
 */
#include "kill.h"

#include <stdio.h>
#include <string.h>

/* ---- jobs ---- */

size_t job_size(uint64_t number) {
    uint64_t h = number * 0x9e3779b97f4a7c15u >> 32;
    unsigned kind = h % 16;
    if (kind < 11)
        return sizeof(job_t) + h / 16 % 120;
    if (kind < 14)
        return sizeof(job_t) + h / 16 % 3000;
    return 4096 + h / 16 % 60000;
}

static uint64_t seed_of(uint32_t who, uint64_t number) {
    return number ^ (uint64_t)who << 40;
}

void job_write(void *data, size_t size, uint32_t who, uint64_t number) {
    job_t job = {who, (uint32_t)size, number};
    memcpy(data, &job, sizeof job);
    fill((unsigned char *)data + sizeof job, size - sizeof job, seed_of(who, number));
}

/* Says where the message stops to be what was sent: a torn one begins well. */
_Noreturn static void not_whole(const job_t *job, const unsigned char *data, size_t size) {
    static unsigned char whole[1 << 17];
    size_t at = 0;
    if (size >= sizeof *job && size <= sizeof whole) {
        job_write(whole, size, job->who, job->number);
        while (at < size && data[at] == whole[at])
            at++;
    }
    fprintf(stderr, "# a message of %zu bytes (%u, %u, %llu: sender, size, number) is wrong from byte %zu on\n", size,
            job->who, job->size, (unsigned long long)job->number, at);
    check_failed("the message is as it was sent", __FILE__, __LINE__);
}

job_t job_read(const void *data, size_t size) {
    job_t job = {0};
    memcpy(&job, data, size < sizeof job ? size : sizeof job);
    if (size < sizeof job || job.size != size || job.who > VICTIMS_MAX ||
        !filled((const unsigned char *)data + sizeof job, size - sizeof job, seed_of(job.who, job.number)))
        not_whole(&job, data, size);
    return job;
}

void job_seen(world_t *w, const job_t *job, const ferry_msg_t *m) {
    if (job->who != 0)
        return;
    check(job->number < JOBS_MAX);
    check_is(atomic_load(&w->done[job->number]), 0);
    unsigned before = atomic_fetch_add(&w->seen[job->number], 1);
    check(before == 0 || info_of(m).attempt > 1);
}

void job_done(world_t *w, const job_t *job) {
    if (job->who == 0)
        atomic_store(&w->done[job->number], 1);
}

/* ---- senders ---- */

static void send_edited(ferry_sender_t *tx, uint64_t number) {
    void *data;
    ferry_msg_t *m;
    size_t size = 2048 + job_size(number);
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    job_write(data, size, 0, number);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check(ferry_msg_edit(m, &data) >= 0);
    job_write(data, size, 0, number + 1);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

/* Sends the next job, or two; returns the number of the last one. */
static uint64_t send_next(ferry_sender_t *tx, uint64_t number) {
    static unsigned char buffer[1 << 16];
    size_t size = job_size(number);
    void *data;
    switch (number % 8) {
    case 0:
        send_edited(tx, number);
        return number + 1;
    case 3:
        check_is(ferry_claim(tx, size, PATIENCE, &data), 0);
        job_write(data, size, 0, number);
        check_is(ferry_commit(tx, size), 0);
        return number;
    default:
        job_write(buffer, size, 0, number);
        check_is(ferry_send(tx, buffer, size, PATIENCE), 0);
        return number;
    }
}

/* Nobody holds anything any more, dead or alive: the memory must be back. */
static bool nothing_is_out(void *arg) {
    ferry_sender_stats_t stats = sender_stats(arg);
    return stats.unreleased == 0 && stats.pool_blocks == 0;
}

static void expect_nothing_out(ferry_sender_t *tx) {
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    await_that(nothing_is_out, tx, "blocks of released messages are not given back");
}

static void keep_sending(world_t *w, enum survivor who, ferry_sender_t *tx) {
    uint64_t number = 0;
    for (unsigned bursts = 1; atomic_load(&w->stage) == WORK && number + 2 * BURST < JOBS_MAX; bursts++) {
        for (unsigned i = 0; i < BURST; i++) {
            number = send_next(tx, number + 1);
            if (who == SEND_JOBS)
                atomic_store(&w->jobs, number);
        }
        atomic_fetch_add(&w->progress[who], BURST);
        if (bursts % 128 == 0)
            expect_nothing_out(tx);
        nap(MILLISECOND / 2);
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
        job_seen(w, &job, m);
    release(m);
    if (!notes)
        job_done(w, &job);
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

/* A publisher's last number, for each of its ends: it may have closed one and opened another. */
typedef struct series {
    uint64_t sender;
    uint64_t last;
} series_t;

/* News must come complete and in order from everybody, whoever dies beside us. */
static void read_one(world_t *w, ferry_msg_t *m) {
    static series_t series[VICTIMS_MAX + 1][4];
    job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
    ferry_msg_info_t info = info_of(m);
    series_t *s = &series[job.who][info.sender % 4];
    if (s->sender != info.sender)
        *s = (series_t){.sender = info.sender};
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
    ferry_contract_t contract = {.quota = 32 << 20};
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

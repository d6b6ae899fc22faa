/* SPDX-License-Identifier: MIT
 *
 * threads.c - threads that end while they own handles: they return, call pthread_exit or are cancelled, at any moment.
 *
 * A mate in another process sends jobs and takes news all the time; what a dead thread held must come to it or to the
 * threads that follow, and the process that the thread was part of goes on using the same node.
 */
#include "jobs.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum role { SENDER, RECEIVER, OPENER, ROLES };

typedef struct shared {
    atomic_uint ready;
    atomic_uint stop; /* 1: the mate sends no more, 2: it leaves */
    atomic_uint quiet;
    atomic_ullong news_taken;
    ledger_t ledger;
} shared_t;

/* One thread's life. */
typedef struct life {
    shared_t *s;
    ferry_t *node;
    enum role role;
    dice_t dice;
    unsigned calls; /* after which it ends by itself; it may be cancelled before */
    bool by_exit;
    ferry_sender_t *tx; /* what it leaves open */
    ferry_receiver_t *rx;
    ferry_msg_t *held[4];
    unsigned held_count;
    atomic_uint begun;
} life_t;

/* ---- the mate ---- */

static void take_jobs_back(shared_t *s, ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    while (ferry_recv(rx, FERRY_NOW, &m) == 0) {
        job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
        job_seen(&s->ledger, &job, m);
        release(m);
        job_done(&s->ledger, &job);
    }
}

static void take_news(shared_t *s, ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    int r;
    while ((r = ferry_recv(rx, FERRY_NOW, &m)) == 0) {
        job_read(ferry_msg_data(m), ferry_msg_size(m));
        release(m);
        atomic_fetch_add(&s->news_taken, 1);
    }
    check(r == -EAGAIN || r == -EPIPE);
}

static void be_mate(void *arg) {
    shared_t *s = arg;
    uint64_t number = 0;
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 32 << 20};
    ferry_receiver_t *news = open_receiver(node, "news", FERRY_QUEUE, NULL);
    ferry_receiver_t *jobs = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &contract);
    atomic_store(&s->ready, 1);
    while (atomic_load(&s->stop) == 0) {
        for (unsigned i = 0; i < 8 && number + 8 < JOBS_MAX; i++)
            number = job_send_next(tx, &s->ledger, number + 1);
        take_news(s, news);
        take_jobs_back(s, jobs);
        nap(MILLISECOND / 2);
    }
    for (int64_t end = clock_ns() + PATIENCE; ferry_sender_flush(tx, FERRY_NOW) < 0;) {
        check(clock_ns() < end);
        take_jobs_back(s, jobs);
    }
    check_is(sender_stats(tx).pool_blocks, 0);
    ledger_expect_complete(&s->ledger);
    atomic_store(&s->quiet, 1);
    await(&s->stop, 2);
    close_sender(tx);
    close_receiver(jobs);
    close_receiver(news);
    close_node(node);
}

/* ---- the threads ---- */

static void send_one(life_t *l, uint64_t number) {
    static __thread unsigned char buffer[8192];
    size_t size = sizeof(job_t) + dice_below(&l->dice, dice_below(&l->dice, 4) ? 200 : 8000);
    void *data;
    ferry_msg_t *m;
    switch (dice_below(&l->dice, 3)) {
    case 0:
        if (ferry_claim(l->tx, size, SECOND, &data) < 0)
            return;
        job_write(data, size, 1, number);
        if (dice_below(&l->dice, 20)) /* else it ends with an open claim, perhaps */
            check_is(ferry_commit(l->tx, size), 0);
        else
            check_is(ferry_abort(l->tx), 0);
        return;
    case 1:
        if (ferry_msg_new(l->tx, size, SECOND, &data, &m) < 0)
            return;
        job_write(data, size, 1, number);
        check_is(ferry_send_msg(l->tx, m, SECOND), 0);
        release(m);
        return;
    default:
        job_write(buffer, size, 1, number);
        check_is(ferry_send(l->tx, buffer, size, PATIENCE), 0);
    }
}

static void receive_one(life_t *l) {
    ferry_msg_t *m = NULL;
    int r = ferry_recv(l->rx, 2 * MILLISECOND, &m);
    check(r == 0 || r == -ETIMEDOUT || r == -EPIPE);
    if (r == 0) {
        job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
        job_seen(&l->s->ledger, &job, m);
        l->held[l->held_count++] = m;
    }
    while (l->held_count == 4 || (l->held_count > 0 && dice_below(&l->dice, 2))) {
        m = l->held[--l->held_count];
        job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
        release(m);
        job_done(&l->s->ledger, &job);
    }
}

/* Both handles are forgotten before they are closed: a cancelled thread must not leave one that is closed already. */
static void open_and_close(life_t *l) {
    ferry_receiver_t *rx = open_receiver(l->node, "jobs", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(l->node, "news", FERRY_QUEUE, NULL);
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    check_is(ferry_receiver_close(rx), 0);
}

static void *live(void *arg) {
    life_t *l = arg;
    if (l->role == SENDER)
        l->tx = open_sender(l->node, "news", FERRY_QUEUE, NULL);
    else if (l->role == RECEIVER)
        l->rx = open_receiver(l->node, "jobs", FERRY_QUEUE, NULL);
    atomic_store(&l->begun, 1);
    for (unsigned i = 0; i < l->calls; i++) {
        if (i % 64 == 0)
            pthread_testcancel(); /* a call that need not sleep is no place to be cancelled in */
        if (l->role == SENDER)
            send_one(l, i);
        else if (l->role == RECEIVER)
            receive_one(l);
        else
            open_and_close(l);
    }
    if (l->by_exit)
        pthread_exit(NULL);
    return NULL;
}

/* Its handles say what has become of their thread, and can be closed by somebody else. */
static void bury(life_t *l) {
    ferry_msg_t *m = NULL;
    if (l->tx) {
        check_error(ferry_send(l->tx, "x", 1, FERRY_NOW), -EOWNERDEAD, "thread");
        check_is(ferry_sender_close(l->tx, FERRY_NOW, NULL), 0);
    }
    if (l->rx) {
        check_error(ferry_recv(l->rx, FERRY_NOW, &m), -EOWNERDEAD, "thread");
        int held = ferry_receiver_close(l->rx);
        check(held >= 0 && held <= 4 + 1); /* one may have been taken by the call that was cancelled */
        while (l->held_count > 0)
            ferry_msg_release(l->held[--l->held_count]);
    }
}

static bool jobs_have_passed(void *arg) {
    const uint64_t *want = arg;
    return atomic_load((atomic_ullong *)(uintptr_t)want[0]) >= want[1];
}

/* The node still opens, sends and is served; the mate still sends. */
static void expect_life_goes_on(shared_t *s, ferry_t *node) {
    static unsigned char one[64];
    ferry_sender_t *tx = open_sender(node, "news", FERRY_QUEUE, NULL);
    uint64_t news[2] = {(uintptr_t)&s->news_taken, atomic_load(&s->news_taken) + 1};
    uint64_t jobs[2] = {(uintptr_t)&s->ledger.accepted, atomic_load(&s->ledger.accepted) + 1};
    job_write(one, sizeof one, 2, 1);
    check_is(ferry_send(tx, one, sizeof one, PATIENCE), 0);
    close_sender(tx);
    await_that(jobs_have_passed, news, "the mate takes no news any more");
    await_that(jobs_have_passed, jobs, "the mate sends no jobs any more");
}

/* ---- the tests ---- */

static void end_threads(bool cancel, unsigned rounds) {
    shared_t *s = share(sizeof *s);
    dice_t dice = dice_new("the threads' lives");
    unsigned cancelled = 0;
    pid_t mate = child_start(be_mate, s);
    await(&s->ready, 1);
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < rounds; i++) {
        static life_t life;
        pthread_t thread;
        void *result = NULL;
        life = (life_t){.s = s, .node = node, .role = (enum role)dice_below(&dice, ROLES), .dice = {dice_roll(&dice)}};
        life.calls = cancel ? UINT32_MAX : (unsigned)dice_below(&dice, life.role == OPENER ? 4 : 60);
        life.by_exit = dice_below(&dice, 2);
        check_is(pthread_create(&thread, NULL, live, &life), 0);
        if (cancel) {
            if (dice_below(&dice, 4))
                await(&life.begun, 1);
            nap((int64_t)dice_below(&dice, 3 * MILLISECOND));
            pthread_cancel(thread);
        }
        check_is(pthread_join(thread, &result), 0);
        cancelled += result == PTHREAD_CANCELED;
        bury(&life);
        expect_life_goes_on(s, node);
    }
    check(cancelled == (cancel ? rounds : 0));
    atomic_store(&s->stop, 1);
    await(&s->quiet, 1);
    check(ferry_close(node) >= 0); /* an open that was cancelled may have left an end */
    atomic_store(&s->stop, 2);
    child_join(mate);
}

static void threads_may_end_with_handles_open(void) {
    end_threads(false, fire_count("FERRY_FIRE_THREADS", "threads", 400, 60));
}

/* AddressSanitizer takes the unwinding of a cancelled thread for an overflow of its stack, and ThreadSanitizer misses
 * its end: only the build that users get is tried. */
static void threads_may_be_cancelled_at_any_moment(void) {
    end_threads(true, fire_count("FERRY_FIRE_THREADS", "threads", 400, 60));
}

/* ---- waiting ---- */

typedef struct waiter {
    ferry_t *node;
    ferry_receiver_t *rx;
    ferry_sender_t *tx; /* opened by the thread, if it needs one */
    atomic_uint begun;
} waiter_t;

static void *wait_for_message(void *arg) {
    waiter_t *w = arg;
    ferry_msg_t *m;
    atomic_store(&w->begun, 1);
    ferry_recv(w->rx, FERRY_FOREVER, &m);
    return NULL;
}

static void *wait_in_poll(void *arg) {
    waiter_t *w = arg;
    ferry_pollitem_t item = {.receiver = w->rx, .events = FERRY_POLL_IN};
    atomic_store(&w->begun, 1);
    ferry_poll(&item, 1, FERRY_FOREVER);
    return NULL;
}

static void *wait_for_room(void *arg) {
    waiter_t *w = arg;
    ferry_contract_t contract = {.capacity = 1};
    check_is(ferry_sender_open(w->node, "empty", FERRY_QUEUE, &contract, &w->tx), 0);
    atomic_store(&w->begun, 1);
    for (;;)
        (void)ferry_send(w->tx, "x", 1, FERRY_FOREVER);
    return NULL;
}

static void cancel_one(void *(*wait)(void *arg)) {
    ferry_t *node = open_node("test");
    waiter_t w = {.node = node, .rx = open_receiver(node, "empty", FERRY_QUEUE, NULL)};
    struct timespec end;
    pthread_t thread;
    void *result = NULL;
    check_is(pthread_create(&thread, NULL, wait, &w), 0);
    await(&w.begun, 1);
    nap(20 * MILLISECOND);
    pthread_cancel(thread);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE / SECOND;
    check_is(pthread_timedjoin_np(thread, &result, &end), 0);
    check(result == PTHREAD_CANCELED);
    if (w.tx)
        check_is(ferry_sender_close(w.tx, 0, NULL), 0);
    close_receiver(w.rx);
    close_node(node);
}

static void a_thread_that_waits_can_be_cancelled(void) {
    for (unsigned i = 0; i < 10; i++) {
        cancel_one(wait_for_message);
        cancel_one(wait_in_poll);
        cancel_one(wait_for_room);
    }
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(threads_may_end_with_handles_open),
        TEST(threads_may_be_cancelled_at_any_moment),
        TEST(a_thread_that_waits_can_be_cancelled),
    };
    size_t count = sizeof tests / sizeof tests[0];
    if (FIRE_SLOW)
        printf("# under a sanitizer no thread is cancelled: see threads.c\n");
    return run_suite("threads", tests, FIRE_SLOW ? 1 : count, argc, argv);
}

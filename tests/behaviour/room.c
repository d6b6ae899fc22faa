/* SPDX-License-Identifier: MIT
 *
 * room.c - a sender that waits for room with messages that wait before it: they go out when there is room, whether its
 * thread sleeps, has left its wait, or uses it no more.
 */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#define BYTES 1000u
/* A wait is looked through by itself after 50 ms, and each time twice as long after: at 353, and then at 758. In between
 * only a wake-up ends a sleep. */
#define ASLEEP (400 * MILLISECOND)
#define TOO_LATE (500 * MILLISECOND)
#define SOON (250 * MILLISECOND)

static const ferry_contract_t small = {.quota = 64 << 10, .wait = FERRY_WAIT_BLOCK};

typedef struct pair {
    ferry_t *here, *there; /* the sender's node and the receiver's: nothing else rings the former */
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    uint64_t sent, received;
    atomic_uint linked, filled, got_on, emptied; /* rounds */
    int64_t since;                               /* something is released */
} pair_t;

static pair_t pair_open(ferry_kind_t kind) {
    pair_t p = {.here = open_node("test"), .there = open_node("test")};
    p.tx = open_sender(p.here, "q", kind, &small);
    p.rx = open_receiver(p.there, "q", kind, NULL);
    check_is(ferry_sender_wait(p.tx, 1, PATIENCE), 1);
    return p;
}

static void pair_close(pair_t *p) {
    close_sender(p->tx);
    close_receiver(p->rx);
    close_node(p->here);
    close_node(p->there);
}

/* Sends until an answer is not 0, which is returned. */
static int fill_up(pair_t *p, int64_t timeout) {
    static const unsigned char bytes[BYTES];
    int r;

    while ((r = ferry_send(p->tx, bytes, sizeof bytes, timeout)) == 0)
        p->sent++;
    return r;
}

/* Nobody but this thread calls: what is to come does so by itself. */
static void receive_all(pair_t *p) {
    for (; p->received < p->sent; p->received++)
        release(receive(p->rx));
}

/* ---- asleep ---- */

static void *receive_later(void *arg) {
    pair_t *p = arg;
    p->rx = open_receiver(p->there, "q", FERRY_QUEUE, NULL);
    atomic_store(&p->linked, 1);
    await(&p->filled, 1);
    nap(ASLEEP);
    p->since = monotonic();
    receive_all(p);
    await(&p->emptied, 1);
    close_receiver(p->rx);
    return NULL;
}

static bool does_a_sleepers_backlog_go_out_at_once(where_t where) {
    pair_t p = {.here = open_node("test"), .there = open_node("test")};
    pthread_t thread;
    (void)where;
    p.tx = open_sender(p.here, "q", FERRY_QUEUE, &small);
    check_is(pthread_create(&thread, NULL, receive_later, &p), 0);
    check_is(ferry_sender_wait(p.tx, 1, PATIENCE), 1);
    await(&p.linked, 1);
    check_is(fill_up(&p, FERRY_NOW), -EDQUOT);
    int64_t begin = monotonic();
    atomic_store(&p.filled, 1);
    check_is(ferry_sender_flush(p.tx, PATIENCE), 0);
    int64_t end = monotonic();
    atomic_store(&p.emptied, 1);
    check_is(pthread_join(thread, NULL), 0);
    close_sender(p.tx);
    close_node(p.here);
    close_node(p.there);
    return p.since - begin < TOO_LATE && end - p.since < SOON;
}

static void a_sleeping_sender_is_woken_and_its_backlog_goes_out(void) {
    check_in_some_try(does_a_sleepers_backlog_go_out_at_once, ALONE, "a sleeping sender sends when there is room");
}

/* ---- awake, and elsewhere ---- */

/* Each time it has slept, and gives up in another moment of what its steward does. */
static void give_up_often(ferry_kind_t kind) {
    pair_t p = pair_open(kind);
    for (unsigned round = 0; round < 100; round++) {
        int r = fill_up(&p, 1 + round * 5000);
        check(r == -ETIMEDOUT || r == -EDQUOT);
        receive_all(&p);
    }
    pair_close(&p);
}

static void what_waits_goes_out_after_its_sender_has_given_up(void) {
    give_up_often(FERRY_QUEUE);
    give_up_often(FERRY_TOPIC);
}

#define ROUNDS 20u /* the ring grows in the first ones, of which the sender is told, too */

/* No more than the sender sleeps for, and the rest when it has gone on. */
static void *take_little_then_all(void *arg) {
    pair_t *p = arg;
    p->rx = open_receiver(p->there, "q", FERRY_QUEUE, NULL);
    atomic_store(&p->linked, 1);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        await(&p->filled, round);
        for (nap(2 * MILLISECOND); atomic_load(&p->got_on) < round; nap(MILLISECOND)) {
            release(receive(p->rx));
            p->received++;
        }
        receive_all(p);
        atomic_store(&p->emptied, round);
    }
    close_receiver(p->rx);
    return NULL;
}

static void what_waits_goes_out_after_its_sender_has_got_what_it_slept_for(void) {
    static const unsigned char bytes[BYTES];
    pair_t p = {.here = open_node("test"), .there = open_node("test")};
    pthread_t thread;
    p.tx = open_sender(p.here, "q", FERRY_QUEUE, &small);
    check_is(pthread_create(&thread, NULL, take_little_then_all, &p), 0);
    await(&p.linked, 1);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        check_is(fill_up(&p, FERRY_NOW), -EDQUOT);
        atomic_store(&p.filled, round);
        check_is(ferry_send(p.tx, bytes, sizeof bytes, PATIENCE), 0);
        p.sent++;
        atomic_store(&p.got_on, round);
        await(&p.emptied, round);
    }
    close_sender(p.tx);
    check_is(pthread_join(thread, NULL), 0);
    close_node(p.here);
    close_node(p.there);
}

/* Takes slowly, so that the sender is woken and gives up again and again meanwhile. */
static void *take_slowly(void *arg) {
    pair_t *p = arg;
    p->rx = open_receiver(p->there, "q", FERRY_QUEUE, NULL);
    atomic_store(&p->linked, 1);
    ferry_msg_t *m;
    while (!atomic_load(&p->filled) || p->received < p->sent) {
        int r = ferry_recv(p->rx, MILLISECOND, &m);
        if (r == 0) {
            release(m);
            p->received++;
            if (!atomic_load(&p->filled))
                nap(50000);
        } else
            check_is(r, -ETIMEDOUT);
    }
    atomic_store(&p->emptied, 1);
    close_receiver(p->rx);
    return NULL;
}

static void what_waits_goes_out_while_its_sender_gives_up(void) {
    pair_t p = {.here = open_node("test"), .there = open_node("test")};
    pthread_t thread;
    p.tx = open_sender(p.here, "q", FERRY_QUEUE, &small);
    check_is(pthread_create(&thread, NULL, take_slowly, &p), 0);
    await(&p.linked, 1);
    for (unsigned round = 0; round < 500; round++)
        (void)fill_up(&p, 1 + round % 50 * 3000);
    atomic_store(&p.filled, 1);
    await(&p.emptied, 1);
    close_sender(p.tx);
    check_is(pthread_join(thread, NULL), 0);
    close_node(p.here);
    close_node(p.there);
}

static void go_on(int signal) {
    (void)signal;
}

static void what_waits_goes_out_after_a_signal_has_ended_the_wait(void) {
    const struct sigaction action = {.sa_handler = go_on};
    /* Again and again: the first may come before the wait begins. */
    const struct itimerval timer = {.it_value = {.tv_usec = 2000}, .it_interval = {.tv_usec = 2000}};
    const struct itimerval none = {.it_value = {.tv_usec = 0}};
    pair_t p = pair_open(FERRY_QUEUE);
    check_is(sigaction(SIGALRM, &action, NULL), 0);
    for (unsigned round = 0; round < 20; round++) {
        check_is(fill_up(&p, FERRY_NOW), -EDQUOT);
        check_is(setitimer(ITIMER_REAL, &timer, NULL), 0);
        check_is(fill_up(&p, PATIENCE), -EINTR);
        check_is(setitimer(ITIMER_REAL, &none, NULL), 0);
        receive_all(&p);
    }
    pair_close(&p);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_sleeping_sender_is_woken_and_its_backlog_goes_out),
        TEST(what_waits_goes_out_after_its_sender_has_given_up),
        TEST(what_waits_goes_out_after_its_sender_has_got_what_it_slept_for),
        TEST(what_waits_goes_out_while_its_sender_gives_up),
        TEST(what_waits_goes_out_after_a_signal_has_ended_the_wait),
    };
    return run_suite("room", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * rendezvous.c - a queue without capacity: a message is sent when a receiver has taken it, or it never was.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "harness.h"

static const ferry_contract_t meets = {.rendezvous = 1};

static void expect_nothing(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN, "");
}

/* ---- nobody takes it ---- */

static void a_message_that_nobody_takes_is_taken_back(void) {
    static unsigned char large[100000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &meets);
    check_error(ferry_send(tx, "a", 1, FERRY_NOW), -EAGAIN, "no receiver taken back");
    check_error(ferry_send(tx, "a", 1, 5 * MILLISECOND), -ETIMEDOUT, "no receiver taken back");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 300; i++) { /* more than its ring has room for */
        check_error(ferry_send(tx, "a", 1, FERRY_NOW), -EAGAIN, "");
        if (i % 60 == 59)
            expect_nothing(rx);
    }
    int answer = ferry_send(tx, large, sizeof large, MILLISECOND);
    check(answer == -ETIMEDOUT || answer == -EAGAIN); /* no time may be left once it is copied */
    ferry_sender_stats_t stats = sender_stats(tx);
    check_is(stats.messages, 0);
    check_is(stats.unreleased, 0);
    check_is(stats.pool_blocks, 0);
    expect_nothing(rx);
    close_receiver(rx);
    check_is(drop_sender(tx), 0);
    close_node(node);
}

static void what_makes_no_sense_is_refused(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = NULL;
    void *data;
    check_error(ferry_sender_open(node, "t", FERRY_TOPIC, &meets, &tx), -EINVAL, "rendezvous queues");
    tx = open_sender(node, "q", FERRY_QUEUE, &meets);
    check_error(ferry_claim(tx, 8, FERRY_NOW, &data), -EINVAL, "ferry_send");
    drop_sender(tx);
    close_node(node);
}

/* ---- it is taken ---- */

typedef struct meeting {
    atomic_uint ready;
    atomic_uint step;
    atomic_uint sent;
    atomic_uint taken;
} meeting_t;

static void take_one_and_hold_it(ferry_t *node, void *arg) {
    meeting_t *meeting = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_fetch_add(&meeting->ready, 1);
    await(&meeting->step, 1);
    check_is(atomic_load(&meeting->sent), 0); /* nobody has taken it yet */
    ferry_msg_t *m = receive(rx);
    await(&meeting->sent, 1); /* it is taken, not released */
    check_is(number_in(m), 17);
    release(m);
    close_receiver(rx);
}

static void the_sender_returns_when_the_message_is_taken(where_t where) {
    meeting_t *meeting = share(sizeof *meeting);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_one_and_hold_it, meeting);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, &meets);
    uint64_t number = 17;
    await(&meeting->ready, 1);
    atomic_store(&meeting->step, 1);
    check_is(ferry_send(tx, &number, sizeof number, PATIENCE), 0);
    atomic_store(&meeting->sent, 1);
    crew_join(crew, 0);
    close_sender(tx);
    crew_end(crew);
}

static void hold_and_die(ferry_t *node, void *arg) {
    meeting_t *meeting = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_fetch_add(&meeting->ready, 1);
    (void)receive(rx);
    await(&meeting->sent, 1);
    crew_die();
}

static void what_was_taken_comes_again_when_its_receiver_dies(where_t where) {
    meeting_t *meeting = share(sizeof *meeting);
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_and_die, meeting);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, &meets);
    uint64_t number = 4;
    await(&meeting->ready, 1);
    check_is(ferry_send(tx, &number, sizeof number, PATIENCE), 0);
    atomic_store(&meeting->sent, 1);
    crew_bury(crew, 0);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 4);
    check_is(info_of(m).attempt, 2);
    release(m);
    close_receiver(rx);
    close_sender(tx);
    crew_end(crew);
}

/* Opens an end, and does nothing with it. */
static void stay_away(ferry_t *node, void *arg) {
    meeting_t *meeting = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_fetch_add(&meeting->ready, 1);
    await(&meeting->step, 1);
    expect_nothing(rx);
    close_receiver(rx);
}

static void wait_for_two(ferry_t *node, void *arg) {
    meeting_t *meeting = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_fetch_add(&meeting->ready, 1);
    for (uint64_t i = 0; i < 2; i++) {
        check_is(receive_number(rx), i);
        nap(5 * MILLISECOND); /* the next one may be put into the other's ring meanwhile, and asleep there */
    }
    close_receiver(rx);
}

static void a_receiver_that_waits_gets_it_although_another_was_chosen(where_t where) {
    meeting_t *meeting = share(sizeof *meeting);
    crew_t *crew = crew_begin(where);
    crew_add(crew, stay_away, meeting);
    crew_add(crew, wait_for_two, meeting);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, &meets);
    await(&meeting->ready, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    for (uint64_t i = 0; i < 2; i++)
        check_is(ferry_send(tx, &i, sizeof i, PATIENCE), 0);
    atomic_store(&meeting->step, 1);
    crew_join(crew, 0);
    crew_join(crew, 1);
    close_sender(tx);
    crew_end(crew);
}

/* ---- exactly ---- */

#define TRIES 5000u
#define FOLK 2u /* senders, and receivers */

typedef struct ledger {
    atomic_uint ready;
    atomic_uint senders;
    atomic_uint done;
    atomic_uchar sent[FOLK][TRIES];
    atomic_uchar came[FOLK][TRIES];
} ledger_t;

static uint64_t roll(uint64_t *dice) {
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return *dice >> 33;
}

static void offer(ferry_t *node, void *arg) {
    ledger_t *ledger = arg;
    static __thread unsigned char bytes[6000];
    unsigned who = atomic_fetch_add(&ledger->senders, 1);
    uint64_t dice = who + 1;
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &meets);
    atomic_fetch_add(&ledger->ready, 1);
    await(&ledger->ready, 2 * FOLK);
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t what[2] = {who, i};
        size_t size = roll(&dice) % 8 == 0 ? sizeof bytes : sizeof what;
        memcpy(bytes, what, sizeof what);
        int64_t timeout = roll(&dice) % 4 == 0 ? (int64_t)(roll(&dice) % 200000) : FERRY_NOW;
        int r = ferry_send(tx, bytes, size, timeout);
        check(r == 0 || r == -EAGAIN || r == -ETIMEDOUT);
        atomic_store(&ledger->sent[who][i], r == 0);
    }
    close_sender(tx);
    atomic_fetch_add(&ledger->done, 1);
}

static void accept_some(ferry_t *node, void *arg) {
    ledger_t *ledger = arg;
    uint64_t dice = 77;
    ferry_msg_t *m = NULL;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &(ferry_receiver_options_t){.senders = UINT32_MAX});
    atomic_fetch_add(&ledger->ready, 1);
    while (atomic_load(&ledger->done) < FOLK) {
        int r = ferry_recv(rx, (int64_t)(roll(&dice) % 300000), &m);
        check(r == 0 || r == -EAGAIN || r == -ETIMEDOUT);
        if (r == 0) {
            uint64_t what[2];
            memcpy(what, ferry_msg_data(m), sizeof what);
            check(what[0] < FOLK && what[1] < TRIES);
            check_is(info_of(m).attempt, 1);
            atomic_fetch_add(&ledger->came[what[0]][what[1]], 1);
            release(m);
        }
    }
    expect_nothing(rx);
    close_receiver(rx);
}

static void a_message_comes_exactly_if_it_was_sent(where_t where) {
    ledger_t *ledger = share(sizeof *ledger);
    unsigned sent = 0;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < FOLK; i++)
        crew_add(crew, offer, ledger);
    for (unsigned i = 0; i < FOLK; i++)
        crew_add(crew, accept_some, ledger);
    crew_end(crew);
    for (unsigned who = 0; who < FOLK; who++) {
        for (unsigned i = 0; i < TRIES; i++) {
            check_is(atomic_load(&ledger->came[who][i]), atomic_load(&ledger->sent[who][i]));
            sent += atomic_load(&ledger->sent[who][i]);
        }
    }
    check(sent > 0);
}

/* ---- a program that waits for many things ---- */

static void take_one_when_told(ferry_t *node, void *arg) {
    meeting_t *meeting = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_fetch_add(&meeting->ready, 1);
    await(&meeting->step, 1);
    check_is(receive_number(rx), 5);
    check_is(receive_number(rx), 6);
    close_receiver(rx);
}

/* Room in a ring is not enough: whoever sent then would find that nobody takes it. */
static void a_sender_can_be_polled_for_a_receiver_that_waits(where_t where) {
    meeting_t *meeting = share(sizeof *meeting);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_one_when_told, meeting);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, &meets);
    ferry_pollitem_t item = {.sender = tx, .events = FERRY_POLL_OUT};
    await(&meeting->ready, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    check_is(ferry_poll(&item, 1, FERRY_NOW), 0);
    check_is(ferry_poll(&item, 1, 20 * MILLISECOND), 0);
    atomic_store(&meeting->step, 1);
    for (uint64_t i = 5; i <= 6; i++) { /* the second time, one that has taken a message waits again */
        check_is(ferry_poll(&item, 1, PATIENCE), 1);
        check_is(item.revents, FERRY_POLL_OUT);
        check_is(ferry_send(tx, &i, sizeof i, PATIENCE), 0);
    }
    crew_join(crew, 0);
    check_is(ferry_poll(&item, 1, FERRY_NOW), 0);
    close_sender(tx);
    crew_end(crew);
}

/* ---- it is rejected before its sender knows that it was taken ---- */

#define ROUNDS 20u

static void send_to_two(void *arg) {
    meeting_t *meeting = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &meets);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
        check_is(ferry_send(tx, &i, sizeof i, PATIENCE), 0);
        await(&meeting->taken, (unsigned)i + 1); /* the next one might be quicker than what was rejected */
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_node(node);
}

/* Which of the two has the message in its ring? */
static unsigned who_may_take(ferry_receiver_t *rx[2]) {
    ferry_pollitem_t items[2] = {{.receiver = rx[0], .events = FERRY_POLL_IN},
                                 {.receiver = rx[1], .events = FERRY_POLL_IN}};
    check(ferry_poll(items, 2, PATIENCE) >= 1);
    return items[0].revents & FERRY_POLL_IN ? 0 : 1;
}

/* One rejects it, the other one, to whom it goes next, closes: the sender hears of both at once. */
static void what_was_rejected_at_once_is_not_lost_with_the_next_receiver(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t sender = child_start(send_to_two, meeting);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx[2] = {open_receiver(node, "q", FERRY_QUEUE, NULL),
                               open_receiver(node, "q", FERRY_QUEUE, NULL)};
    for (uint64_t i = 0; i < ROUNDS; i++) {
        int status;
        unsigned k = who_may_take(rx);
        nap(MILLISECOND); /* it sleeps by now, mostly */
        check(kill(sender, SIGSTOP) == 0 && waitpid(sender, &status, WUNTRACED) == sender);
        ferry_msg_t *m = receive(rx[k]);
        check_is(number_in(m), i);
        check_is(ferry_msg_reject(m, 0), 0);
        close_receiver(rx[1 - k]);
        check(kill(sender, SIGCONT) == 0);
        m = receive(rx[k]);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, 2);
        release(m);
        atomic_store(&meeting->taken, (unsigned)i + 1);
        rx[1 - k] = open_receiver(node, "q", FERRY_QUEUE, NULL);
    }
    child_join(sender);
    close_receiver(rx[0]);
    close_receiver(rx[1]);
    close_node(node);
}

/* ---- two who wait for each other ---- */

typedef struct side {
    ferry_t *node;
    const char *from, *to;
    pthread_barrier_t *met;
    int answer;
} side_t;

static void *send_first(void *arg) {
    side_t *side = arg;
    ferry_msg_t *m = NULL;
    ferry_receiver_t *rx = open_receiver(side->node, side->from, FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(side->node, side->to, FERRY_QUEUE, &meets);
    pthread_barrier_wait(side->met);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    side->answer = ferry_send(tx, "x", 1, PATIENCE);
    check_is(ferry_recv(rx, side->answer == 0 ? FERRY_NOW : PATIENCE, &m), side->answer == 0 ? -EAGAIN : 0);
    release(m);
    pthread_barrier_wait(side->met);
    close_sender(tx);
    close_receiver(rx);
    return NULL;
}

static void two_who_wait_for_each_other_are_told(void) {
    ferry_t *node = open_node("test");
    pthread_barrier_t met;
    pthread_t threads[2];
    side_t sides[2] = {{node, "a", "b", &met, 0}, {node, "b", "a", &met, 0}};
    pthread_barrier_init(&met, NULL, 2);
    for (unsigned i = 0; i < 2; i++)
        check_is(pthread_create(&threads[i], NULL, send_first, &sides[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&met);
    check(sides[0].answer + sides[1].answer == -EDEADLK); /* the other one's message was taken then */
    close_node(node);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_message_that_nobody_takes_is_taken_back),
        TEST(what_makes_no_sense_is_refused),
        TEST_ALL(the_sender_returns_when_the_message_is_taken),
        TEST_BOTH(what_was_taken_comes_again_when_its_receiver_dies),
        TEST_BOTH(a_receiver_that_waits_gets_it_although_another_was_chosen),
        TEST_BOTH(a_message_comes_exactly_if_it_was_sent),
        TEST_ALL(a_sender_can_be_polled_for_a_receiver_that_waits),
        TEST(what_was_rejected_at_once_is_not_lost_with_the_next_receiver),
        TEST(two_who_wait_for_each_other_are_told),
    };
    return run_suite("rendezvous", tests, sizeof tests / sizeof *tests, argc, argv);
}

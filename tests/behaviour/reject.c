/* SPDX-License-Identifier: MIT
 *
 * reject.c - messages that are handed back: tried again by somebody, not too early, counted, and never lost.
 */
#include "harness.h"

#include <pthread.h>
#include <string.h>

#define DELAY (60 * MILLISECOND)
#define LARGE 100000u

typedef struct scene {
    atomic_uint step;
    atomic_uint done;
    unsigned count;
} scene_t;

static void reject(ferry_msg_t *m, int64_t delay) {
    check_is(ferry_msg_reject(m, delay), 0);
}

/* ---- again ---- */

static void reject_some_once(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    unsigned firsts = 0, seconds = 0;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&scene->step, 1);
    while (firsts < scene->count || seconds < scene->count / 2) {
        ferry_msg_t *m = receive(rx);
        uint64_t number = number_in(m);
        if (info_of(m).attempt == 1) {
            check_is(number, firsts++); /* in order, whatever comes in between */
        } else {
            check_is(info_of(m).attempt, 2);
            check_is(number % 2, 1);
            seconds++;
        }
        if (number % 2 == 1 && info_of(m).attempt == 1)
            reject(m, 0);
        else
            release(m);
    }
    ferry_msg_t *m;
    check_is(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN);
    check_is(receiver_stats(rx).held, 0);
    atomic_fetch_add(&scene->done, 1);
    await(&scene->step, 2);
    close_receiver(rx);
}

static void a_rejected_message_comes_again_with_its_next_attempt(where_t where) {
    scene_t *scene = share(sizeof *scene);
    scene->count = 3000;
    crew_t *crew = crew_begin(where);
    crew_add(crew, reject_some_once, scene);
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    for (unsigned i = 0; i < scene->count; i++)
        send_number(tx, i);
    await(&scene->done, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(sender_stats(tx).redelivered, scene->count / 2);
    check_is(sender_stats(tx).pool_blocks, 0);
    atomic_fetch_add(&scene->step, 1);
    close_sender(tx);
    crew_end(crew);
}

static void reject_a_large_one(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&scene->step, 1);
    for (uint32_t attempt = 1; attempt <= 40; attempt++) {
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).attempt, attempt);
        check_is(info_of(m).tag, 77);
        check_is(ferry_msg_size(m), LARGE);
        check(filled(ferry_msg_data(m), LARGE, 9));
        if (attempt < 40)
            reject(m, 0);
        else
            release(m);
    }
    close_receiver(rx);
}

static void a_large_message_keeps_its_bytes_and_tag_through_many_attempts(where_t where) {
    scene_t *scene = share(sizeof *scene);
    void *data;
    ferry_msg_t *m;
    crew_t *crew = crew_begin(where);
    crew_add(crew, reject_a_large_one, scene);
    ferry_contract_t contract = {.quota = 1 << 20};
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, &contract);
    await(&scene->step, 1);
    check_is(ferry_msg_new(tx, LARGE, PATIENCE, &data, &m), 0);
    fill(data, LARGE, 9);
    check_is(ferry_msg_set_tag(m, 77), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
    close_sender(tx);
    crew_end(crew);
}

/* ---- later ---- */

static void take_the_delayed_one(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->step, 2);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 0);
    int64_t before = monotonic();
    reject(m, DELAY);
    check_is(receive_number(rx), 1); /* it keeps nobody else waiting */
    check_is(receive_number(rx), 2);
    m = receive(rx);
    check(monotonic() - before >= DELAY);
    check_is(number_in(m), 0);
    check_is(info_of(m).attempt, 2);
    release(m);
    atomic_fetch_add(&scene->done, 1);
    close_receiver(rx);
}

static void a_delayed_message_comes_when_its_time_has_come_and_not_before(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_the_delayed_one, scene);
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    for (uint64_t i = 0; i < 3; i++)
        send_number(tx, i);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->done, 1); /* meanwhile this sender's thread is elsewhere */
    close_sender(tx);
    crew_end(crew);
}

/* With delays that differ by ever more from try to try, for a machine on which a thread stands still for that long. */
static bool do_delays_end_in_their_own_order(where_t where) {
    static int64_t difference = DELAY / 2;
    bool in_order = true;
    (void)where;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m[4];
    for (uint64_t i = 0; i < 4; i++)
        send_number(tx, i);
    for (unsigned i = 0; i < 4; i++)
        m[i] = receive(rx);
    int64_t before = monotonic();
    for (unsigned i = 0; i < 4; i++)
        reject(m[i], (4 - i) * difference);
    check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN);
    check_is(sender_stats(tx).unreleased, 4);
    for (unsigned i = 4; i-- > 0;) {
        ferry_msg_t *again = receive(rx);
        check(monotonic() - before >= (4 - i) * difference);
        in_order &= number_in(again) == i;
        release(again);
    }
    difference *= 2;
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    return in_order;
}

static void delays_of_different_length_end_in_their_own_order(void) {
    check_in_some_try(do_delays_end_in_their_own_order, ALONE, "delays of different length end in their own order");
}

/* ---- who goes ---- */

static void reject_and_die(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->step, 2); /* all five are there before any comes back */
    for (unsigned i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(rx);
        if (i % 2 == 0)
            reject(m, i == 0 ? DELAY : 0); /* the others are held */
        if (i == 0)
            nap(MILLISECOND);
    }
    crew_die();
}

static void what_a_dead_receiver_rejected_or_held_comes_once_with_the_attempt_that_follows(where_t where) {
    scene_t *scene = share(sizeof *scene);
    bool seen[5] = {false};
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, reject_and_die, scene);
    ferry_t *node = crew_node(crew);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    for (uint64_t i = 0; i < 5; i++)
        send_number(tx, i);
    atomic_fetch_add(&scene->step, 1);
    crew_bury(crew, doomed);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(rx);
        check(number_in(m) < 5 && !seen[number_in(m)]);
        seen[number_in(m)] = true;
        check(info_of(m).attempt == 2 || info_of(m).attempt == 3); /* 3: it had been handed to the dead one again */
        release(m);
    }
    ferry_msg_t *m;
    check_is(ferry_recv(rx, 2 * DELAY, &m), -ETIMEDOUT);
    close_sender(tx);
    close_receiver(rx);
    crew_end(crew);
}

static void reject_late(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&scene->step, 1);
    reject(receive(rx), DELAY);
    atomic_fetch_add(&scene->step, 1);
    ferry_msg_t *m = receive(rx);
    check_is(info_of(m).attempt, 2);
    release(m);
    ferry_msg_t *none;
    check_is(ferry_recv(rx, PATIENCE, &none), -EPIPE);
    close_receiver(rx);
}

static void a_sender_that_closes_waits_for_a_delayed_message(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, reject_late, scene);
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    send_number(tx, 1);
    await(&scene->step, 2);
    close_sender(tx);
    crew_end(crew);
}

static void a_message_whose_sender_has_ended_stays_with_its_receiver(where_t where) {
    (void)where;
    ferry_t *node = open_node("test");
    ferry_t *other = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(where == IN_THREADS ? node : other, "work", FERRY_QUEUE, NULL);
    send_number(tx, 5);
    ferry_msg_t *m = receive(rx);
    check_is(drop_sender(tx), 1);
    ferry_msg_t *none;
    check_is(ferry_recv(rx, PATIENCE, &none), -EPIPE);
    check_error(ferry_msg_reject(m, 0), -EPIPE, "work ended held");
    check_is(number_in(m), 5);
    check_is(receiver_stats(rx).held, 1);
    release(m);
    close_receiver(rx);
    close_node(other);
    close_node(node);
}

static void a_closed_receivers_parked_messages_are_not_held(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 100; i++) {
        send_number(tx, i);
        reject(receive(rx), 3600 * SECOND);
    }
    close_receiver(rx); /* fails if it counted some as held */
    check_is(sender_stats(tx).unreleased, 100);
    check_is(drop_sender(tx), 100);
    close_node(node);
}

/* ---- threads, limits and mistakes ---- */

static void *reject_here(void *m) {
    reject(m, 0);
    return NULL;
}

static void another_thread_may_reject(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.max_held = 1};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &options);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    for (uint32_t attempt = 1; attempt <= 20; attempt++) {
        pthread_t thread;
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).attempt, attempt);
        check_is(pthread_create(&thread, NULL, reject_here, m), 0);
        check_is(pthread_join(thread, NULL), 0);
    }
    release(receive(rx));
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/*
 * Returns when the delays have ended of all that was rejected before, if none is longer than this one.  They begin when
 * the sender's node hears of them, which may be late; the thread that ends this one ends theirs in the same go.
 */
static void outlast(ferry_t *node, int64_t delay) {
    ferry_receiver_t *rx = open_receiver(node, "clock", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "clock", FERRY_QUEUE, NULL);
    send_number(tx, 0);
    reject(receive(rx), delay);
    release(receive(rx));
    close_sender(tx);
    close_receiver(rx);
}

/* Rejected with delays that end at one moment, from the last to the first, while newer ones wait for room. */
static void what_is_due_together_comes_in_its_senders_order_and_before_what_is_newer(void) {
    enum { COUNT = 500 };
    static ferry_msg_t *held[COUNT];
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_contract_t contract = {.quota = 64 << 20};
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, &contract);
    ferry_msg_t *none;
    for (unsigned i = 0; i < COUNT; i++)
        send_number(tx, i);
    for (unsigned i = 0; i < COUNT; i++)
        held[i] = receive(rx);
    int64_t due = monotonic() + SECOND;
    for (unsigned i = COUNT; i-- > 0;)
        reject(held[i], due > monotonic() ? due - monotonic() : 0);
    close_receiver(rx);
    for (unsigned i = COUNT; i < 2 * COUNT; i++)
        send_number(tx, i);
    outlast(node, SECOND);
    rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, i < COUNT ? 2 : 1);
        release(m);
    }
    check_is(ferry_recv(rx, FERRY_NOW, &none), -EAGAIN);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void what_cannot_be_rejected_is_refused_and_stays_as_it_was(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *queue = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *topic = open_receiver(node, "news", FERRY_TOPIC, NULL);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_sender_t *tell = open_sender(node, "news", FERRY_TOPIC, NULL);
    ferry_msg_t *own;
    void *data;
    send_number(tx, 1);
    send_number(tell, 2);
    ferry_msg_t *m = receive(queue);
    ferry_msg_t *news = receive(topic);
    check_error(ferry_msg_reject(news, 0), -EINVAL, "news topic release");
    release(news);
    check_is(ferry_msg_new(tx, 8, PATIENCE, &data, &own), 0);
    check_error(ferry_msg_reject(own, 0), -EINVAL, "received");
    release(own);
    check_error(ferry_msg_reject(m, -1), -EINVAL, "-1");
    check(ferry_msg_ref(m) == m);
    check_error(ferry_msg_reject(m, 0), -EBUSY, "reference");
    release(m);
    reject(m, 0);
    check_error(ferry_msg_reject(m, 0), -EBADF, "released");
    check_error(ferry_msg_release(m), -EBADF, "released");
    check_error(ferry_msg_reject(NULL, 0), -EBADF, "handle");
    release(receive(queue));
    close_sender(tx);
    close_sender(tell);
    close_receiver(queue);
    close_receiver(topic);
    close_node(node);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_ALL(a_rejected_message_comes_again_with_its_next_attempt),
        TEST_BOTH(a_large_message_keeps_its_bytes_and_tag_through_many_attempts),
        TEST_ALL(a_delayed_message_comes_when_its_time_has_come_and_not_before),
        TEST(delays_of_different_length_end_in_their_own_order),
        TEST_BOTH(what_a_dead_receiver_rejected_or_held_comes_once_with_the_attempt_that_follows),
        TEST_ALL(a_sender_that_closes_waits_for_a_delayed_message),
        TEST_BOTH(a_message_whose_sender_has_ended_stays_with_its_receiver),
        TEST(a_closed_receivers_parked_messages_are_not_held),
        TEST(what_is_due_together_comes_in_its_senders_order_and_before_what_is_newer),
        TEST(another_thread_may_reject),
        TEST(what_cannot_be_rejected_is_refused_and_stays_as_it_was),
    };
    return run_suite("reject", tests, sizeof tests / sizeof *tests, argc, argv);
}

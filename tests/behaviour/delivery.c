/* SPDX-License-Identifier: MIT
 *
 * delivery.c - a queue's messages before there is a receiver, after one has gone, and when the sender goes.
 */
#include "harness.h"

#include <unistd.h>

/* ---- before any receiver ---- */

static void send_early(ferry_t *node, void *arg) {
    atomic_uint *sent = arg;
    ferry_sender_t *tx = open_sender(node, "early", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 500; i++)
        send_number(tx, i);
    atomic_store(sent, 1);
    close_sender(tx);
}

static void messages_sent_before_any_receiver_exists_arrive_in_order(where_t where) {
    atomic_uint *sent = share(sizeof *sent);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_early, sent);
    ferry_t *node = crew_node(crew);
    await(sent, 1);
    ferry_receiver_t *rx = open_receiver(node, "early", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 500; i++)
        check_is(receive_number(rx), i);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    crew_end(crew);
}

static void send_early_large(ferry_t *node, void *arg) {
    atomic_uint *sent = arg;
    static unsigned char bytes[40000];
    ferry_sender_t *tx = open_sender(node, "early", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 50; i++) {
        fill(bytes, sizeof bytes, i);
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    }
    atomic_store(sent, 1);
    close_sender(tx);
}

static void a_backlog_of_large_messages_arrives_unchanged(where_t where) {
    atomic_uint *sent = share(sizeof *sent);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_early_large, sent);
    ferry_t *node = crew_node(crew);
    await(sent, 1);
    ferry_receiver_t *rx = open_receiver(node, "early", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 50; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), 40000);
        check(filled(ferry_msg_data(m), 40000, i));
        release(m);
    }
    close_receiver(rx);
    crew_end(crew);
}

/* ---- more than the rings hold ---- */

#define ROUNDS 4u
#define IN_A_ROUND 4000u

static void send_in_rounds(ferry_t *node, void *arg) {
    atomic_uint *turn = arg;
    static unsigned char bytes[2000];
    ferry_sender_t *tx = open_sender(node, "rounds", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        await(turn, 2 * round);
        for (unsigned i = 0; i < IN_A_ROUND; i++) {
            fill(bytes, sizeof bytes, round * IN_A_ROUND + i);
            check_is(ferry_send(tx, bytes, sizeof bytes, FERRY_NOW), 0);
        }
        atomic_store(turn, 2 * round + 1);
    }
    await(turn, 2 * ROUNDS); /* what waits is brought without any call of ours */
    close_sender(tx);
}

static void what_waits_for_room_is_brought_each_time_while_its_sender_does_nothing(where_t where) {
    atomic_uint *turn = share(sizeof *turn);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_in_rounds, turn);
    ferry_t *node = crew_node(crew);
    ferry_receiver_t *rx = open_receiver(node, "rounds", FERRY_QUEUE, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        await(turn, 2 * round + 1);
        for (unsigned i = 0; i < IN_A_ROUND; i++) {
            ferry_msg_t *m = receive(rx);
            check(filled(ferry_msg_data(m), 2000, round * IN_A_ROUND + i));
            release(m);
        }
        atomic_store(turn, 2 * round + 2);
    }
    close_receiver(rx);
    crew_end(crew);
}

/* ---- the end of a channel ---- */

static void a_receiver_without_senders_waits_and_one_whose_senders_have_gone_sees_the_end(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN, "");
    check_error(ferry_recv(rx, 5 * MILLISECOND, &m), -ETIMEDOUT, "");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    send_number(tx, 7);
    check_is(drop_sender(tx), 1);
    int answer = ferry_recv(rx, PATIENCE, &m); /* what nobody had taken may be lost when the sender does not linger */
    if (answer == 0) {
        check_is(number_in(m), 7);
        release(m);
        answer = ferry_recv(rx, PATIENCE, &m);
    }
    check_error(answer, -EPIPE, "");
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
}

static void a_new_sender_goes_on_where_all_others_had_ended(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (uint64_t life = 0; life < 5; life++) {
        ferry_msg_t *m = NULL;
        ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
        send_number(tx, life);
        check_is(receive_number(rx), life);
        close_sender(tx);
        check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    }
    check_is(receiver_stats(rx).senders_seen, 5);
    close_receiver(rx);
    close_node(node);
}

static void the_end_waits_for_as_many_senders_as_were_announced(void) {
    const ferry_receiver_options_t two = {.size = sizeof two, .senders = 2};
    const ferry_receiver_options_t any = {.size = sizeof any, .senders = UINT32_MAX};
    ferry_t *node = open_node("test");
    ferry_receiver_t *counts = open_receiver(node, "counted", FERRY_QUEUE, &two);
    ferry_receiver_t *stays = open_receiver(node, "endless", FERRY_QUEUE, &any);
    ferry_msg_t *m = NULL;
    for (uint64_t life = 0; life < 3; life++) {
        ferry_sender_t *tx = open_sender(node, "counted", FERRY_QUEUE, NULL);
        send_number(tx, life);
        check_is(receive_number(counts), life);
        close_sender(tx);
        check_error(ferry_recv(counts, life == 0 ? 20 * MILLISECOND : PATIENCE, &m), life == 0 ? -ETIMEDOUT : -EPIPE,
                    "");
        tx = open_sender(node, "endless", FERRY_QUEUE, NULL);
        close_sender(tx);
        check_error(ferry_recv(stays, 20 * MILLISECOND, &m), -ETIMEDOUT, "");
    }
    close_receiver(counts);
    close_receiver(stays);
    close_node(node);
}

static void the_end_comes_only_after_the_last_of_several_senders(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *a = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *b = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    close_sender(a);
    check_error(ferry_recv(rx, 20 * MILLISECOND, &m), -ETIMEDOUT, "");
    close_sender(b);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
}

/* ---- lingering ---- */

static void closing_says_how_many_messages_no_receiver_got(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    uint64_t undelivered = 99;
    for (uint64_t i = 0; i < 7; i++)
        send_number(tx, i);
    check_is(ferry_sender_close(tx, 20 * MILLISECOND, &undelivered), 0);
    check_is(undelivered, 7);
    close_node(node);
}

static void closing_counts_what_was_taken_but_not_released(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 7; i++)
        send_number(tx, i);
    for (uint64_t i = 0; i < 3; i++)
        check_is(receive_number(rx), i);
    ferry_msg_t *held = receive(rx);
    check_is(drop_sender(tx), 4);
    check_is(number_in(held), 3);
    release(held);
    close_receiver(rx);
    close_node(node);
}

static void take_slowly(ferry_t *node, void *arg) {
    atomic_uint *taken = arg;
    ferry_receiver_t *rx = open_receiver(node, "slow", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 20; i++) {
        ferry_msg_t *m = receive(rx);
        nap(2 * MILLISECOND);
        atomic_fetch_add(taken, 1);
        release(m);
    }
    close_receiver(rx);
}

static void closing_lingers_until_everything_is_released(where_t where) {
    atomic_uint *taken = share(sizeof *taken);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_slowly, taken);
    ferry_sender_t *tx = open_sender(crew_node(crew), "slow", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 20; i++)
        send_number(tx, i);
    close_sender(tx);
    check_is(atomic_load(taken), 20);
    crew_end(crew);
}

static void flushing_waits_until_everything_is_released(where_t where) {
    atomic_uint *taken = share(sizeof *taken);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_slowly, taken);
    ferry_sender_t *tx = open_sender(crew_node(crew), "slow", FERRY_QUEUE, NULL);
    check_is(ferry_sender_flush(tx, FERRY_NOW), 0); /* nothing sent, nothing to wait for */
    for (uint64_t i = 0; i < 20; i++)
        send_number(tx, i);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(atomic_load(taken), 20);
    check_is(sender_stats(tx).unreleased, 0);
    close_sender(tx);
    crew_end(crew);
}

static void flushing_without_a_receiver_times_out(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t one = {.capacity = 1};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &one);
    send_number(tx, 1);
    check_error(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN, "q 1 message nobody");
    check_error(ferry_sender_flush(tx, 5 * MILLISECOND), -ETIMEDOUT, "q 1 message nobody");
    check_error(ferry_send(tx, "", 0, FERRY_NOW), -EAGAIN, "q room nobody");
    check_error(ferry_send(tx, "", 0, 5 * MILLISECOND), -ETIMEDOUT, "q room nobody");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    check_error(ferry_sender_flush(tx, 5 * MILLISECOND), -ETIMEDOUT, "q 1 message its receivers");
    close_receiver(rx);
    check_is(drop_sender(tx), 1);
    close_node(node);
}

/* ---- redelivery ---- */

#define SOME 20

/* Receives the numbers below SOME, each once; those below `again` were held by somebody who has gone. */
static void receive_rest(ferry_receiver_t *rx, uint64_t again, uint32_t attempt) {
    bool seen[SOME] = {false};
    for (unsigned i = 0; i < SOME; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t number = number_in(m);
        ferry_msg_info_t info = info_of(m);
        check(number < SOME && !seen[number]);
        seen[number] = true;
        if (number < again)
            check_is(info.attempt, attempt);
        else
            check(info.attempt >= 1 && info.attempt <= attempt);
        check_is(info.sequence, number + 1);
        release(m);
    }
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, 20 * MILLISECOND, &m), -ETIMEDOUT, "");
}

typedef struct holding {
    atomic_uint holds;
    atomic_uint may_close;
    atomic_uint closed;
} holding_t;

static void hold_five(ferry_receiver_t *rx, ferry_msg_t *held[5]) {
    for (uint64_t i = 0; i < 5; i++) {
        held[i] = receive(rx);
        check_is(number_in(held[i]), i);
        check_is(info_of(held[i]).attempt, 1);
    }
}

static void hold_and_close(ferry_t *node, void *arg) {
    holding_t *holding = arg;
    ferry_msg_t *held[5];
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    hold_five(rx, held);
    check_is(receiver_stats(rx).held, 5);
    atomic_store(&holding->holds, 1);
    await(&holding->may_close, 1);
    check_is(ferry_receiver_close(rx), 5);
    for (uint64_t i = 0; i < 5; i++) {
        check_is(number_in(held[i]), i); /* readable until released */
        release(held[i]);
    }
    atomic_store(&holding->closed, 1);
}

static void what_a_closing_receiver_held_comes_back_with_its_attempt(where_t where) {
    holding_t *holding = share(sizeof *holding);
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_and_close, holding);
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < SOME; i++)
        send_number(tx, i);
    await(&holding->holds, 1);
    atomic_store(&holding->may_close, 1);
    await(&holding->closed, 1);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "work", FERRY_QUEUE, NULL);
    receive_rest(rx, 5, 2);
    check(sender_stats(tx).redelivered >= 5);
    close_sender(tx);
    close_receiver(rx);
    crew_end(crew);
}

static void hold_until_killed(void *arg) {
    holding_t *holding = arg;
    ferry_msg_t *held[5];
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    hold_five(rx, held);
    atomic_store(&holding->holds, 1);
    for (;;)
        pause();
}

static void what_a_killed_receiver_held_comes_back_with_its_attempt(void) {
    holding_t *holding = share(sizeof *holding);
    pid_t receiver = child_start(hold_until_killed, holding);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < SOME; i++)
        send_number(tx, i);
    await(&holding->holds, 1);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    child_kill(receiver);
    receive_rest(rx, 5, 2);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_message_that_comes_back_waits_for_the_next_receiver(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 42);
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), 42);
        check_is(info_of(m).attempt, attempt);
        check_is(info_of(m).sequence, 1);
        if (attempt == 4)
            release(m);
        check_is(ferry_receiver_close(rx), attempt < 4);
        if (attempt < 4)
            release(m);
    }
    close_sender(tx);
    close_node(node);
}

/* Each had every other one. */
static void what_two_receivers_leave_comes_in_its_senders_order(void) {
    enum { COUNT = 40 };
    ferry_t *node = open_node("test");
    ferry_receiver_t *first = open_receiver(node, "left", FERRY_QUEUE, NULL);
    ferry_receiver_t *second = open_receiver(node, "left", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "left", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    for (unsigned i = 0; i < COUNT; i++)
        send_number(tx, i);
    close_receiver(first);
    close_receiver(second);
    ferry_receiver_t *third = open_receiver(node, "left", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_msg_t *m = receive(third);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, 1);
        release(m);
    }
    close_sender(tx);
    close_receiver(third);
    close_node(node);
}

static void what_came_back_is_not_delivered_twice_when_the_old_handle_is_released(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *first = open_receiver(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    ferry_msg_t *old = receive(first);
    check_is(ferry_receiver_close(first), 1);
    ferry_receiver_t *second = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *again = receive(second);
    release(old); /* too late to acknowledge */
    check_is(number_in(again), 1);
    check_is(sender_stats(tx).unreleased, 1);
    release(again);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(second);
    close_node(node);
}

static void take_some_and_die(void *arg) {
    holding_t *holding = arg;
    static unsigned char bytes[100000];
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "blocks", FERRY_TOPIC, NULL);
    for (unsigned i = 0; i < 3; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), sizeof bytes);
    }
    atomic_store(&holding->holds, 1);
    for (;;)
        pause();
}

static bool nothing_is_in_use(void *arg) {
    return sender_stats(arg).pool_blocks == 0;
}

static void a_killed_receiver_frees_the_senders_blocks(void) {
    holding_t *holding = share(sizeof *holding);
    static unsigned char bytes[100000];
    pid_t receiver = child_start(take_some_and_die, holding);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "blocks", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned i = 0; i < 6; i++)
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    await(&holding->holds, 1);
    check_is(sender_stats(tx).pool_blocks, 6);
    child_kill(receiver);
    await_that(nothing_is_in_use, tx, "the sender's blocks did not become free");
    check_is(sender_stats(tx).unreleased, 0);
    check_is(sender_stats(tx).receivers, 0);
    close_sender(tx);
    close_node(node);
}

/* ---- the sender goes ---- */

static void send_and_die(void *arg) {
    atomic_uint *sent = arg;
    static unsigned char bytes[5000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned i = 0; i < 50; i++) {
        size_t size = i % 2 ? sizeof bytes : 30;
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
    }
    atomic_store(sent, 1);
    for (;;)
        pause();
}

static void receivers_drain_what_a_killed_sender_left_and_then_see_the_end(void) {
    atomic_uint *sent = share(sizeof *sent);
    pid_t sender = child_start(send_and_die, sent);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    await(sent, 1);
    child_kill(sender);
    for (unsigned i = 0; i < 50; i++) {
        size_t size = i % 2 ? 5000 : 30;
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), size);
        check(filled(ferry_msg_data(m), size, i));
        release(m);
    }
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
}

static void send_and_leave(ferry_t *node, void *arg) {
    atomic_uint *taken = arg;
    static unsigned char bytes[5000];
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    fill(bytes, sizeof bytes, 77);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_is(ferry_send(tx, bytes, 40, PATIENCE), 0);
    await(taken, 1);
    check_is(drop_sender(tx), 2);
}

static void what_a_receiver_holds_outlives_its_sender(where_t where) {
    atomic_uint *taken = share(sizeof *taken);
    crew_t *crew = crew_begin(where);
    unsigned sender = crew_add(crew, send_and_leave, taken);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "q", FERRY_QUEUE, NULL);
    ferry_msg_t *large = receive(rx);
    ferry_msg_t *small = receive(rx);
    atomic_store(taken, 1);
    crew_join(crew, sender);
    ferry_msg_t *none = NULL;
    check_error(ferry_recv(rx, PATIENCE, &none), -EPIPE, "");
    check(filled(ferry_msg_data(large), 5000, 77));
    check(filled(ferry_msg_data(small), 40, 77));
    release(large);
    release(small);
    close_receiver(rx);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(messages_sent_before_any_receiver_exists_arrive_in_order),
        TEST_BOTH(a_backlog_of_large_messages_arrives_unchanged),
        TEST_BOTH(what_waits_for_room_is_brought_each_time_while_its_sender_does_nothing),
        TEST(a_receiver_without_senders_waits_and_one_whose_senders_have_gone_sees_the_end),
        TEST(a_new_sender_goes_on_where_all_others_had_ended),
        TEST(the_end_waits_for_as_many_senders_as_were_announced),
        TEST(the_end_comes_only_after_the_last_of_several_senders),
        TEST(closing_says_how_many_messages_no_receiver_got),
        TEST(closing_counts_what_was_taken_but_not_released),
        TEST_BOTH(closing_lingers_until_everything_is_released),
        TEST_BOTH(flushing_waits_until_everything_is_released),
        TEST(flushing_without_a_receiver_times_out),
        TEST_BOTH(what_a_closing_receiver_held_comes_back_with_its_attempt),
        TEST(what_a_killed_receiver_held_comes_back_with_its_attempt),
        TEST(a_message_that_comes_back_waits_for_the_next_receiver),
        TEST(what_two_receivers_leave_comes_in_its_senders_order),
        TEST(what_came_back_is_not_delivered_twice_when_the_old_handle_is_released),
        TEST(a_killed_receiver_frees_the_senders_blocks),
        TEST(receivers_drain_what_a_killed_sender_left_and_then_see_the_end),
        TEST_BOTH(what_a_receiver_holds_outlives_its_sender),
    };
    return run_suite("delivery", tests, sizeof tests / sizeof tests[0], argc, argv);
}

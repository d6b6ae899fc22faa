/* SPDX-License-Identifier: MIT
 *
 * dead_letter.c - messages that were tried too often: they go to another queue, say where they come from, and are lost
 * at no moment. And receivers that get no more at once than they can do.
 */
#include "harness.h"

#include <string.h>

#define LARGE 50000u

typedef struct scene {
    atomic_uint step;
    atomic_uint done;
    atomic_uint tries[16];
    uint64_t node, sender;
} scene_t;

static const ferry_receiver_options_t thrice = {.prefetch = 2, .max_attempts = 3, .dead_letter = "work.dead"};

static ferry_msg_origin_t origin_of(const ferry_msg_t *m) {
    ferry_msg_origin_t origin = {.size = sizeof origin};
    check_is(ferry_msg_origin(m, &origin), 0);
    return origin;
}

/* Everything odd fails, until the end is wanted. */
static void work(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &thrice);
    ferry_msg_t *m;
    atomic_fetch_add(&scene->step, 1);
    while (atomic_load(&scene->done) == 0) {
        if (ferry_recv(rx, 10 * MILLISECOND, &m) != 0)
            continue;
        uint64_t number;
        memcpy(&number, ferry_msg_data(m), sizeof number);
        check(number < 16);
        check_is(atomic_fetch_add(&scene->tries[number], 1) + 1, info_of(m).attempt);
        if (number % 2)
            check_is(ferry_msg_reject(m, 0), 0);
        else
            release(m);
    }
    close_receiver(rx);
}

static void what_was_tried_so_often_goes_to_the_dead_letter_queue(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, work, scene);
    crew_add(crew, work, scene);
    ferry_t *node = crew_node(crew);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    await(&scene->step, 2);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    ferry_receiver_t *dead = open_receiver(node, "work.dead", FERRY_QUEUE, NULL);
    bool seen[16] = {false};
    for (unsigned i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(dead);
        check_is(ferry_msg_size(m), 8);
        uint64_t number = number_in(m);
        check(number < 10 && number % 2 == 1 && !seen[number]);
        seen[number] = true;
        ferry_msg_origin_t origin = origin_of(m);
        check(strcmp(origin.queue, "work") == 0);
        check_is(origin.attempts, 3);
        check_is(origin.sequence, number + 1);
        check_is(origin.sender_node, ferry_node_id(node));
        check_is(scene->tries[number], 3);
        check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN); /* until it is released, its sender has it */
        release(m);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    ferry_msg_t *none;
    check(ferry_recv(dead, 20 * MILLISECOND, &none) < 0);
    atomic_store(&scene->done, 1);
    close_sender(tx);
    close_receiver(dead);
    crew_end(crew);
}

static void bury_and_die(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "work.dead"};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_msg_t *m;
    atomic_fetch_add(&scene->step, 1);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    while (receiver_stats(rx).dead_letters == 0)
        check(ferry_recv(rx, 10 * MILLISECOND, &m) < 0);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->done, 1);
    crew_die();
}

/* With nobody to read them, dead letters die with the worker; what they are copies of does not. */
static void a_worker_that_dies_takes_no_dead_letter_along(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, bury_and_die, scene);
    ferry_t *node = crew_node(crew);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    send_number(tx, 7);
    await(&scene->step, 2);
    check_is(sender_stats(tx).unreleased, 1);
    atomic_fetch_add(&scene->done, 1);
    crew_bury(crew, doomed);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 7);
    check(info_of(m).attempt >= 2);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    crew_end(crew);
}

static void a_dead_letter_has_a_time_where_its_queue_asks_for_one(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t timed = {.timestamps = 1};
    ferry_receiver_options_t wants = {.contract = &timed};
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "dead"};
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, &wants);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *none;
    uint64_t since = (uint64_t)monotonic();
    send_number(tx, 1);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    while (receiver_stats(rx).dead_letters == 0)
        check(ferry_recv(rx, 10 * MILLISECOND, &none) < 0);
    ferry_msg_t *m = receive(dead);
    check(info_of(m).time_ns >= since && info_of(m).time_ns <= (uint64_t)monotonic());
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

static void a_large_dead_letter_keeps_bytes_tag_and_origin_when_its_receiver_closes(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "dead"};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m, *none;
    void *data;
    check_is(ferry_msg_new(tx, LARGE, PATIENCE, &data, &m), 0);
    fill(data, LARGE, 3);
    check_is(ferry_msg_set_tag(m, 99), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
    m = receive(rx);
    ferry_msg_origin_t origin = {0};
    check_error(ferry_msg_origin(m, &origin), -ENOENT, "dead letter");
    check_is(ferry_msg_reject(m, 3600 * SECOND), 0); /* there is no next attempt to wait for */
    while (receiver_stats(rx).dead_letters == 0)
        check(ferry_recv(rx, 10 * MILLISECOND, &none) < 0);
    m = receive(dead);
    check_is(ferry_receiver_close(dead), 1); /* it goes back to the queue of the dead; the handle keeps what it has */
    check_is(ferry_msg_size(m), LARGE);
    check(filled(ferry_msg_data(m), LARGE, 3));
    check_is(info_of(m).tag, 99);
    check(strcmp(origin_of(m).queue, "work") == 0 && origin_of(m).attempts == 1);
    release(m);
    dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
    m = receive(dead);
    check_is(info_of(m).attempt, 2);
    check(filled(ferry_msg_data(m), LARGE, 3));
    check_is(origin_of(m).sequence, 1);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

/* Sends so many, and has them all buried. */
static ferry_sender_t *bury_many(ferry_t *node, ferry_receiver_t *rx, unsigned count) {
    const ferry_contract_t contract = {.quota = 256 << 20};
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, &contract);
    ferry_msg_t *m;
    for (unsigned i = 0; i < count; i++)
        send_number(tx, i);
    while (receiver_stats(rx).dead_letters < count) {
        if (ferry_recv(rx, 10 * MILLISECOND, &m) == 0)
            check_is(ferry_msg_reject(m, 0), 0);
    }
    return tx;
}

static const ferry_receiver_options_t only_once = {.max_attempts = 1, .dead_letter = "dead"};

static bool one_is_unreleased(void *tx) {
    return sender_stats(tx).unreleased == 1;
}

static void a_letter_that_is_held_keeps_no_other(void) {
    enum { COUNT = 40 };
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &only_once);
    ferry_sender_t *tx = bury_many(node, rx, COUNT);
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
    ferry_msg_t *first = receive(dead);
    for (unsigned i = 1; i < COUNT; i++)
        check_is(receive_number(dead), i);
    await_that(one_is_unreleased, tx, "all but the one that is held are let go");
    check_is(number_in(first), 0);
    release(first);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

/* Once each burial looked at all letters before, with the node's lock. */
static void of_thousands_of_letters_each_is_buried_and_let_go(void) {
    const unsigned count = UNDER_SANITIZER ? 1000 : 20000;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &only_once);
    ferry_sender_t *tx = bury_many(node, rx, count);
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < count; i++)
        check_is(receive_number(dead), i);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

static bool has_nothing(void *tx) {
    return sender_stats(tx).unreleased == 0;
}

static bool none_waits(void *rx) {
    return receiver_stats(rx).letters_waiting == 0;
}

/* Two have been received, others stand in the reader's ring; or there is no reader. */
static void purged_letters_count_as_purged_with_their_first_sender(void) {
    enum { COUNT = 40 };
    ferry_t *node = open_node("test");
    for (unsigned received = 0; received <= 2; received += 2) {
        ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &only_once);
        ferry_sender_t *tx = bury_many(node, rx, COUNT);
        ferry_receiver_t *dead = received > 0 ? open_receiver(node, "dead", FERRY_QUEUE, NULL) : NULL;
        ferry_msg_t *held = received > 0 ? receive(dead) : NULL;
        if (received > 0)
            check_is(receive_number(dead), 1);
        check_is(ferry_purge("test", NULL, "work", 0, NULL, NULL), 1); /* they are not there any more */
        check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN);
        check_is(ferry_purge("test", NULL, "dead", 0, NULL, NULL), 1);
        if (received > 0)
            release(held);
        await_that(none_waits, rx, "what was purged waits no more");
        check_is(ferry_sender_flush(tx, PATIENCE), 0);
        check_is(sender_stats(tx).purged, COUNT - received);
        check_is(receiver_stats(rx).dead_letters, COUNT);
        uint64_t undelivered = 0;
        check_is(ferry_sender_close(tx, PATIENCE, &undelivered), 0);
        check_is(undelivered, COUNT - received);
        close_receiver(rx);
        check_is(ferry_receiver_close(dead), 0);
    }
    close_node(node);
}

/* As often as that fails to come in between: its node has not heard of it when it closes. */
static void what_was_received_a_moment_before_its_receiver_closes_is_not_tried_again(void) {
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < 50; i++) {
        ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &only_once);
        ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
        ferry_sender_t *tx = bury_many(node, rx, 3);
        check_is(receiver_stats(rx).letters_waiting, 3);
        ferry_msg_t *first = receive(dead);
        for (unsigned k = 1; k < 3; k++)
            check_is(receive_number(dead), k);
        check_is(receiver_stats(rx).letters_waiting, 1);
        release(first);
        check_is(receiver_stats(rx).letters_waiting, 0);
        close_receiver(rx);
        check_is(ferry_sender_flush(tx, PATIENCE), 0); /* nobody else is there */
        close_sender(tx);
        close_receiver(dead);
    }
    close_node(node);
}

/* Dead letters are sent with a quota of their own, which is the default. */
static void one_that_is_larger_than_its_new_senders_quota_gets_there(void) {
    const size_t size = 65u << 20;
    ferry_t *node = open_node("test");
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "dead"};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, &(ferry_contract_t){.quota = 2 * size});
    ferry_msg_t *m;
    void *data;
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    fill(data, LARGE, 3);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    while (receiver_stats(rx).dead_letters == 0)
        check(ferry_recv(rx, 10 * MILLISECOND, &m) < 0);
    m = receive(dead);
    check_is(ferry_msg_size(m), size);
    check(filled(ferry_msg_data(m), LARGE, 3));
    release(m);
    await_that(has_nothing, tx, "the original goes with its copy");
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

static void expect_nothing(ferry_receiver_t *rx) {
    ferry_msg_t *none;
    check_is(ferry_recv(rx, 50 * MILLISECOND, &none), -ETIMEDOUT);
}

/* So many have come back to their sender, which may take a while on a machine with much else to do, and no more do. */
static void expect_returned(ferry_receiver_t *rx, ferry_sender_t *tx, uint64_t count) {
    for (int64_t end = monotonic() + PATIENCE; sender_stats(tx).redelivered < count && monotonic() < end;)
        expect_nothing(rx);
    expect_nothing(rx);
    check_is(sender_stats(tx).redelivered, count);
}

/* It is told once, not for each; nobody tries them while the receiver is there that could only be refused again. */
static void what_the_other_queue_refuses_is_told_and_stays_until_its_receiver_goes(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t small = {.max_size = 4};
    ferry_receiver_options_t few = {.contract = &small};
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "dead"};
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, &few);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *none;
    for (uint64_t i = 1; i <= 2; i++) {
        send_number(tx, i);
        check_is(ferry_msg_reject(receive(rx), 0), 0);
        if (i == 1)
            check_error(ferry_recv(rx, PATIENCE, &none), -EPROTOTYPE,
                        "a message of 'work' that was tried 1 time cannot go to its dead-letter queue: 'dead' carries "
                        "messages of at most 4 bytes, this one has 8");
        expect_returned(rx, tx, 2 * i); /* each is rejected, and refused */
    }
    check_is(receiver_stats(rx).dead_letters, 0);
    check_is(sender_stats(tx).unreleased, 2);
    close_receiver(rx);
    rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    check_is(receive_number(rx), 1);
    check_is(receive_number(rx), 2);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

static void what_was_refused_can_be_purged(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t small = {.max_size = 4};
    ferry_receiver_options_t few = {.contract = &small};
    ferry_receiver_options_t once = {.max_attempts = 1, .dead_letter = "dead"};
    ferry_receiver_t *dead = open_receiver(node, "dead", FERRY_QUEUE, &few);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &once);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *none;
    send_number(tx, 1);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    check_is(ferry_recv(rx, PATIENCE, &none), -EPROTOTYPE);
    expect_returned(rx, tx, 2); /* rejected, and refused */
    check_is(ferry_purge("test", NULL, "work", 0, NULL, NULL), 1);
    check_is(sender_stats(tx).purged, 1);
    check_is(sender_stats(tx).unreleased, 0);
    check_is(drop_sender(tx), 1);
    close_receiver(rx);
    close_receiver(dead);
    close_node(node);
}

static void a_receiver_gets_no_more_than_its_prefetch(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t two = {.prefetch = 2};
    ferry_receiver_t *slow = open_receiver(node, "work", FERRY_QUEUE, &two);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 1000; i++)
        send_number(tx, i);
    ferry_msg_t *m[2], *none;
    m[0] = receive(slow);
    m[1] = receive(slow);
    check_is(ferry_recv(slow, 20 * MILLISECOND, &none), -ETIMEDOUT);
    ferry_receiver_t *quick = open_receiver(node, "work", FERRY_QUEUE, NULL); /* the others are all its */
    for (uint64_t i = 2; i < 1000; i++)
        check_is(receive_number(quick), i);
    release(m[0]);
    send_number(tx, 1000);
    check_is(ferry_msg_reject(m[1], 0), 0);
    while (sender_stats(tx).unreleased > 0) {
        ferry_receiver_t *either[] = {slow, quick};
        for (unsigned i = 0; i < 2; i++) {
            if (ferry_recv(either[i], MILLISECOND, &none) == 0)
                release(none);
        }
    }
    close_sender(tx);
    close_receiver(slow);
    close_receiver(quick);
    close_node(node);
}

static void options_that_make_no_sense_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = NULL;
    ferry_receiver_options_t options = {.max_attempts = 3};
    check_error(ferry_receiver_open(node, "work", FERRY_QUEUE, &options, &rx), -EINVAL, "max_attempts dead_letter");
    options = (ferry_receiver_options_t){.dead_letter = "dead"};
    check_error(ferry_receiver_open(node, "work", FERRY_QUEUE, &options, &rx), -EINVAL, "max_attempts dead_letter");
    options.max_attempts = 1;
    options.dead_letter = "work";
    check_error(ferry_receiver_open(node, "work", FERRY_QUEUE, &options, &rx), -EINVAL, "work same");
    options.dead_letter = "no name";
    check(ferry_receiver_open(node, "work", FERRY_QUEUE, &options, &rx) == -EINVAL);
    options = (ferry_receiver_options_t){.prefetch = 1};
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &options, &rx), -EINVAL, "prefetch queues");
    check(rx == NULL);
    close_node(node);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_ALL(what_was_tried_so_often_goes_to_the_dead_letter_queue),
        TEST_BOTH(a_worker_that_dies_takes_no_dead_letter_along),
        TEST(a_dead_letter_has_a_time_where_its_queue_asks_for_one),
        TEST(a_large_dead_letter_keeps_bytes_tag_and_origin_when_its_receiver_closes),
        TEST(a_letter_that_is_held_keeps_no_other),
        TEST(purged_letters_count_as_purged_with_their_first_sender),
        TEST(what_was_received_a_moment_before_its_receiver_closes_is_not_tried_again),
        TEST(of_thousands_of_letters_each_is_buried_and_let_go),
        TEST(one_that_is_larger_than_its_new_senders_quota_gets_there),
        TEST(what_the_other_queue_refuses_is_told_and_stays_until_its_receiver_goes),
        TEST(what_was_refused_can_be_purged),
        TEST(a_receiver_gets_no_more_than_its_prefetch),
        TEST(options_that_make_no_sense_are_refused),
    };
    return run_suite("dead_letter", tests, sizeof tests / sizeof *tests, argc, argv);
}

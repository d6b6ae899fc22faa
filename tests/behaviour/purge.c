/* SPDX-License-Identifier: MIT
 *
 * purge.c - dropping what waits: what is dropped, what is not, and who counts it.
 */
#include "harness.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

typedef struct sum {
    unsigned senders;
    uint64_t messages;
    uint64_t pending;
    ferry_purged_t last;
    char name[64];
} sum_t;

static void add(const ferry_purged_t *p, void *arg) {
    sum_t *sum = arg;
    sum->senders++;
    sum->messages += p->messages;
    sum->pending += p->pending;
    sum->last = *p;
    strncpy(sum->name, p->name, sizeof sum->name - 1);
}

static sum_t purge(const char *channel, uint64_t node) {
    sum_t sum = {0};
    int senders = ferry_purge("test", NULL, channel, node, add, &sum);
    check_is(senders, sum.senders);
    return sum;
}

static void send_numbers(ferry_sender_t *tx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++)
        send_number(tx, i);
}

static void what_waits_for_a_receiver_is_dropped_and_counted_as_purged(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    send_numbers(tx, 0, 10);
    sum_t sum = purge("jobs", 0);
    check_is(sum.senders, 1);
    check_is(sum.messages, 10);
    check_is(sum.pending, 0);
    check_is(sum.last.node, ferry_node_id(node));
    check_is(sum.last.answered, 1);
    check(sum.last.pid > 0 && sum.name[0] != '\0');
    check_is(ferry_sender_flush(tx, FERRY_NOW), 0);
    check_is(sender_stats(tx).purged, 10);
    check_is(sender_stats(tx).unreleased, 0);
    check_is(sender_stats(tx).pool_blocks, 0);
    send_number(tx, 10); /* it goes on */
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    check_is(receive_number(rx), 10);
    uint64_t undelivered = 0;
    check_is(ferry_sender_close(tx, PATIENCE, &undelivered), 0);
    check_is(undelivered, 10);
    close_receiver(rx);
    close_node(node);
}

typedef struct scene {
    atomic_uint open;
    atomic_uint sent;
    atomic_uint stop;
    uint64_t purged;
} scene_t;

static void send_and_wait(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    await(&scene->open, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_numbers(tx, 0, 100);
    atomic_store(&scene->sent, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0); /* it sleeps, and is woken by what is dropped */
    scene->purged = sender_stats(tx).purged;
    await(&scene->stop, 1);
    drop_sender(tx);
}

static void what_a_receiver_has_not_taken_is_dropped_and_the_rest_stays(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    unsigned sender = crew_add(crew, send_and_wait, scene);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "jobs", FERRY_QUEUE, NULL);
    atomic_store(&scene->open, 1);
    await(&scene->sent, 1);
    ferry_msg_t *held = receive(rx);
    check_is(receive_number(rx), 1);
    sum_t sum = purge("jobs", 0);
    check_is(sum.messages, 98);
    check_is(sum.pending, 0);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN, "");
    check_is(number_in(held), 0);
    release(held);
    check_is(receiver_stats(rx).messages, 2);
    atomic_store(&scene->stop, 1);
    crew_join(crew, sender);
    check_is(scene->purged, 98);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    crew_end(crew);
}

static void only_the_senders_that_are_named_are_purged(void) {
    ferry_t *a = open_node("test");
    ferry_t *b = open_node("test");
    ferry_sender_t *from_a = open_sender(a, "jobs", FERRY_QUEUE, NULL);
    ferry_sender_t *from_b = open_sender(b, "jobs", FERRY_QUEUE, NULL);
    ferry_sender_t *other = open_sender(b, "other", FERRY_QUEUE, NULL);
    send_numbers(from_a, 0, 3);
    send_numbers(from_b, 0, 4);
    send_number(other, 0);
    check_is(purge("jobs", ferry_node_id(b)).messages, 4);
    check_is(sender_stats(from_a).unreleased, 3);
    check_is(sender_stats(other).unreleased, 1);
    sum_t sum = purge("jobs", 0);
    check_is(sum.senders, 2);
    check_is(sum.messages, 3);
    check_is(purge("nothing", 0).senders, 0);
    drop_sender(from_a);
    drop_sender(from_b);
    drop_sender(other);
    close_node(a);
    close_node(b);
}

static void a_topics_history_is_dropped(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, &(ferry_contract_t){.retain = 5});
    send_numbers(tx, 0, 8);
    check_is(purge("news", 0).messages, 5);
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, NULL);
    send_number(tx, 8);
    check_is(receive_number(rx), 8);
    ferry_receiver_t *late = open_receiver(node, "news", FERRY_TOPIC, NULL);
    check_is(receive_number(late), 8);
    close_receiver(late);
    close_receiver(rx);
    drop_sender(tx);
    close_node(node);
}

static void what_was_rejected_to_be_tried_later_is_dropped_too(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    check_is(ferry_msg_reject(receive(rx), 3600 * SECOND), 0);
    while (purge("jobs", 0).messages == 0) /* it may be on its way back */
        nap(MILLISECOND);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(sender_stats(tx).purged, 1);
    drop_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- receivers that are busy, stopped or dead ---- */

enum { STREAM = UNDER_SANITIZER ? 3000 : 30000 };

typedef struct race {
    atomic_uint opened;
    atomic_uint done;
    atomic_ullong taken;
} race_t;

static void take_until_the_end(void *arg) {
    race_t *race = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    atomic_fetch_add(&race->opened, 1);
    ferry_msg_t *m = NULL;
    while (ferry_recv(rx, PATIENCE, &m) == 0) {
        atomic_fetch_add(&race->taken, 1);
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

static void purge_again_and_again(void *arg) {
    race_t *race = arg;
    await(&race->opened, 1); /* there is a space */
    while (atomic_load(&race->done) == 0) {
        (void)purge("jobs", 0);
        nap(MILLISECOND);
    }
}

static void each_message_is_either_taken_or_purged_while_receivers_take(void) {
    race_t *race = share(sizeof *race);
    pid_t takers[2] = {child_start(take_until_the_end, race), child_start(take_until_the_end, race)};
    pid_t purger = child_start(purge_again_and_again, race);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    await(&race->opened, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    send_numbers(tx, 0, STREAM);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    uint64_t purged = sender_stats(tx).purged;
    atomic_store(&race->done, 1);
    child_join(purger);
    uint64_t undelivered = 0;
    check_is(ferry_sender_close(tx, PATIENCE, &undelivered), 0);
    check_is(undelivered, purged);
    child_join(takers[0]);
    child_join(takers[1]);
    check_is(atomic_load(&race->taken) + purged, STREAM);
    close_node(node);
}

static void hold_one(void *arg) {
    race_t *race = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    atomic_store(&race->opened, 1);
    ferry_msg_t *held = receive(rx);
    atomic_store(&race->taken, 1);
    await(&race->done, 1);
    release(held);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
}

static bool has_purged_four(void *tx) {
    return sender_stats(tx).purged == 4;
}

static bool has_redelivered_one(void *tx) {
    return sender_stats(tx).redelivered == 1;
}

static void purge_beside_a_stopped_receiver(bool kills) {
    race_t *race = share(sizeof *race);
    pid_t receiver = child_start(hold_one, race);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    await(&race->opened, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_numbers(tx, 0, 5);
    while (atomic_load(&race->taken) == 0)
        nap(MILLISECOND);
    check_is(kill(receiver, SIGSTOP), 0);
    check_is(waitpid(receiver, NULL, WUNTRACED), receiver);
    sum_t sum = purge("jobs", 0);
    check_is(sum.messages, 0);
    check_is(sum.pending, 4);
    if (kills) {
        child_kill(receiver);
        ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
        check_is(receive_number(rx), 0); /* it was taken, so it comes back; the others do not */
        check_is(ferry_sender_flush(tx, PATIENCE), 0);
        close_receiver(rx);
    } else {
        check_is(purge("jobs", 0).pending, 4); /* what was asked for before stays asked for, and counts once */
        check_is(kill(receiver, SIGCONT), 0);
        await_that(has_purged_four, tx, "the receiver drops four messages");
        atomic_store(&race->done, 1);
        check_is(ferry_sender_flush(tx, PATIENCE), 0);
    }
    check_is(sender_stats(tx).purged, 4);
    check_is(drop_sender(tx), 4);
    if (!kills)
        child_join(receiver);
    close_node(node);
}

static void a_stopped_receiver_drops_what_was_purged_when_it_goes_on(void) {
    purge_beside_a_stopped_receiver(false);
}

static void what_was_purged_does_not_come_back_from_a_receiver_that_is_killed(void) {
    purge_beside_a_stopped_receiver(true);
}

static void keep_five(void *arg) {
    race_t *race = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    send_numbers(tx, 0, 5);
    atomic_store(&race->opened, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(sender_stats(tx).purged, 0);
    close_sender(tx);
    close_node(node);
}

static void a_stopped_sender_keeps_what_was_said_not_to_be_dropped(void) {
    race_t *race = share(sizeof *race);
    pid_t sender = child_start(keep_five, race);
    await(&race->opened, 1);
    check_is(kill(sender, SIGSTOP), 0);
    check_is(waitpid(sender, NULL, WUNTRACED), sender);
    check_is(purge("jobs", 0).last.answered, 0);
    check_is(kill(sender, SIGCONT), 0);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 5; i++)
        check_is(receive_number(rx), i);
    child_join(sender);
    close_receiver(rx);
    close_node(node);
}

/* It stands in a ring behind what was purged there, with a number from before. */
static void what_comes_back_after_a_purge_was_not_purged(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    ferry_receiver_t *idle = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    ferry_receiver_t *holds = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    send_numbers(tx, 0, 8);
    ferry_msg_t *held = receive(holds);
    uint64_t number = number_in(held);
    check_is(purge("jobs", 0).messages, 7);
    check_is(sender_stats(tx).purged, 7);
    check_is(ferry_receiver_close(holds), 1); /* it holds one */
    release(held);
    await_that(has_redelivered_one, tx, "the message goes to the receiver that is left");
    close_receiver(idle);
    ferry_receiver_t *next = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    check_is(receive_number(next), number);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(drop_sender(tx), 7);
    close_receiver(next);
    close_node(node);
}

static void misuse_is_told(void) {
    check_error(ferry_purge("nowhere", NULL, "jobs", 0, NULL, NULL), -ENOENT, "nowhere exist");
    check_error(ferry_purge("test", NULL, "a/b", 0, NULL, NULL), -EINVAL, "a/b");
    check_error(ferry_purge("test", NULL, NULL, 0, NULL, NULL), -EINVAL, "channel");
    check_error(ferry_purge("/", NULL, "jobs", 0, NULL, NULL), -EINVAL, "space");
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_waits_for_a_receiver_is_dropped_and_counted_as_purged),
        TEST_ALL(what_a_receiver_has_not_taken_is_dropped_and_the_rest_stays),
        TEST(only_the_senders_that_are_named_are_purged),
        TEST(a_topics_history_is_dropped),
        TEST(what_was_rejected_to_be_tried_later_is_dropped_too),
        TEST(each_message_is_either_taken_or_purged_while_receivers_take),
        TEST(a_stopped_receiver_drops_what_was_purged_when_it_goes_on),
        TEST(what_was_purged_does_not_come_back_from_a_receiver_that_is_killed),
        TEST(a_stopped_sender_keeps_what_was_said_not_to_be_dropped),
        TEST(what_comes_back_after_a_purge_was_not_purged),
        TEST(misuse_is_told),
    };
    return run_suite("purge", tests, sizeof tests / sizeof tests[0], argc, argv);
}

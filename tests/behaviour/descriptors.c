/* SPDX-License-Identifier: MIT
 *
 * descriptors.c - an end that is open can be linked: who has too few descriptors for that is told when it opens it, and
 * who waits for one that has too few later on is told that.
 */
#include "harness.h"

typedef struct poor {
    unsigned limit;
    bool sends;
    bool is_last;      /* to open its end */
    atomic_uint met;   /* the other one has */
    atomic_uint tried; /* it has tried to: */
    int answer;
} poor_t;

typedef struct half {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
} half_t;

static int half_open(half_t *half, bool sends) {
    *half = (half_t){NULL, NULL, NULL};
    int answer = ferry_open("test", NULL, &half->node);
    if (answer < 0)
        return answer;
    return sends ? ferry_sender_open(half->node, "q", FERRY_QUEUE, NULL, &half->tx)
                 : ferry_receiver_open(half->node, "q", FERRY_QUEUE, NULL, &half->rx);
}

static void exchange(const half_t *half) {
    if (half->tx)
        send_number(half->tx, 1);
    if (half->rx)
        check_is(receive_number(half->rx), 1);
}

static void half_close(const half_t *half) {
    check_is(ferry_sender_close(half->tx, PATIENCE, NULL), 0);
    check_is(ferry_receiver_close(half->rx), 0);
    check_is(ferry_close(half->node), 0);
}

static void link_with_few_descriptors(void *arg) {
    poor_t *poor = arg;
    half_t half;
    await(&poor->met, poor->is_last);
    allow_descriptors(poor->limit);
    poor->answer = half_open(&half, poor->sends);
    atomic_store(&poor->tried, 1);
    exchange(&half);
    half_close(&half);
    allow_descriptors(256); /* who looks for leaks at the end needs some */
}

static int try_with(poor_t *poor) {
    half_t half;
    atomic_store(&poor->met, 0);
    atomic_store(&poor->tried, 0);
    pid_t child = child_start(link_with_few_descriptors, poor);
    await(&poor->tried, !poor->is_last);
    check_is(half_open(&half, !poor->sends), 0);
    atomic_store(&poor->met, 1);
    await(&poor->tried, 1);
    if (poor->answer == 0)
        exchange(&half);
    half_close(&half);
    child_join(child);
    return poor->answer;
}

/* Else both would wait for each other, and nobody would be told. */
static void who_could_not_be_linked_cannot_open_an_end(void) {
    poor_t *poor = share(sizeof *poor);
    for (unsigned i = 0; i < 4; i++) {
        int answer = -EMFILE;
        poor->sends = i & 1;
        poor->is_last = i & 2;
        for (poor->limit = 3; answer == -EMFILE; poor->limit++) {
            check(poor->limit < 200);
            answer = try_with(poor);
        }
        check_is(answer, 0);
        check(poor->limit > 10); /* some were refused */
    }
}

static void be_there_without_descriptors(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "back", FERRY_QUEUE, NULL);
    ferry_mutex_t *mutex = NULL;
    check_is(ferry_mutex_open(node, "m", NULL, &mutex), 0);
    check_is(receive_number(rx), 1);
    allow_descriptors(3);
    atomic_store(stage, 1);
    await(stage, 2);
    allow_descriptors(256);
    check_is(receive_number(rx), 2);
    send_number(tx, 3);
    close_sender(tx);
    check_is(ferry_mutex_close(mutex), 0);
    close_receiver(rx);
    close_node(node);
}

static unsigned count_starved(void) {
    ferry_look_t *look = NULL;
    unsigned count = 0;
    check_is(ferry_look("test", NULL, &look), 0);
    for (size_t i = 0; i < ferry_look_nodes(look); i++)
        count += ferry_look_node(look, i)->starved;
    ferry_look_close(look);
    return count;
}

/* A node that has met others, and cannot accept anybody any more. */
static void who_waits_for_one_without_descriptors_is_told_and_linked_when_it_has_some(void) {
    atomic_uint *stage = share(sizeof *stage);
    ferry_msg_t *m = NULL;
    ferry_mutex_t *mutex = NULL;
    pid_t child = child_start(be_there_without_descriptors, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    await(stage, 1);
    ferry_t *newcomer = open_node("test");
    ferry_sender_t *other = open_sender(newcomer, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(newcomer, "back", FERRY_QUEUE, NULL);
    send_number(other, 2);
    check_error(ferry_sender_flush(other, MILLISECOND), -ETIMEDOUT, "q process descriptors ulimit");
    check_error(ferry_recv(rx, MILLISECOND, &m), -ETIMEDOUT, "back process descriptors ulimit");
    check_error(ferry_mutex_open(newcomer, "m", NULL, &mutex), -ETIMEDOUT, "process descriptors ulimit");
    check_is(count_starved(), 1);
    atomic_store(stage, 2);
    check_is(ferry_sender_flush(other, PATIENCE), 0);
    check_is(receive_number(rx), 3);
    child_join(child);
    check_is(count_starved(), 0);
    close_receiver(rx);
    close_sender(other);
    close_sender(tx);
    close_node(newcomer);
    close_node(node);
}

static uint64_t size_of_next(ferry_receiver_t *rx) {
    ferry_msg_t *m = receive_once_linked(rx);
    uint64_t size = ferry_msg_size(m);
    release(m);
    return size;
}

/* A topic's reader that is linked again has come late: it gets what is retained once more. */
static void lack_a_descriptor_for_a_topic(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_msg_t *m = NULL;
    check_is(receive_number(rx), 1);
    allow_descriptors(3);
    atomic_store(stage, 1);
    check_error(ferry_recv(rx, PATIENCE, &m), -EMFILE, "t descriptors 3 again");
    allow_descriptors(256);
    check_is(size_of_next(rx), sizeof(uint64_t));
    check_is(size_of_next(rx), 100000);
    close_receiver(rx);
    close_node(node);
}

static void a_topics_reader_that_is_linked_again_has_come_late(void) {
    static const char bytes[100000];
    ferry_contract_t contract = {.retain = 2};
    atomic_uint *stage = share(sizeof *stage);
    pid_t child = child_start(lack_a_descriptor_for_a_topic, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_number(tx, 1);
    await(stage, 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    child_join(child);
    close_sender(tx);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_could_not_be_linked_cannot_open_an_end),
        TEST(who_waits_for_one_without_descriptors_is_told_and_linked_when_it_has_some),
        TEST(a_topics_reader_that_is_linked_again_has_come_late),
    };
    return run_suite("descriptors", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_lines.c - queues and topics over bad lines: late, slow, cut at random and in the middle of a frame.
 */
#include <string.h>

#include "lines.h"

#define MESSAGES 1500u
#define LARGE ((size_t)3 << 20)
#define LARGE_ONES 4u

static bool does_all_come_over_a_late_and_slow_line(void) {
    lines_t *s = lines_new();
    relay_delay(s->near, 50 * MILLISECOND);
    relay_throttle(s->near, 1000000);
    numbers_t n = numbers_begin(s);
    numbers_send(s, &n, MESSAGES);
    return numbers_end(s, &n);
}

static void over_a_late_and_slow_line_all_comes_in_order(void) {
    check_in_some_process(does_all_come_over_a_late_and_slow_line,
                          "over a late and slow line all comes, and no node is given up");
}

static bool does_all_come_over_connections_that_end(void) {
    lines_t *s = lines_new();
    numbers_t n = numbers_begin(s);
    relay_lose_each(s->near, 6000);
    relay_lose_each(s->far, 6000);
    while ((relay_cuts(s->near) < 2 || relay_cuts(s->far) < 2) && atomic_load(&s->sent) < 100 * MESSAGES) {
        numbers_send(s, &n, atomic_load(&s->sent) + 20);
        nap(MILLISECOND);
    }
    relay_lose_each(s->near, 0);
    relay_lose_each(s->far, 0);
    return numbers_end(s, &n);
}

static void connections_that_end_at_random_lose_and_double_nothing(void) {
    check_in_some_process(does_all_come_over_connections_that_end,
                          "all comes over connections that end at random, and no node is given up");
}

/* Each time some are on their way, one is just being given to the library, and others wait. */
static void durable_messages_are_not_overtaken_by_those_that_follow_a_cut(void) {
    enum { CUTS = 24, BURST = 1000 };
    const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
    lines_t *s = lines_new();
    ferry_t *node = lines_node(s, "sender", s->near);
    ferry_sender_t *tx[] = {open_sender(node, "jobs", FERRY_QUEUE, &durable),
                            open_sender(node, "news", FERRY_TOPIC, &durable)};
    const ferry_receiver_options_t all = {.size = sizeof all, .contract = &durable, .replay = FERRY_REPLAY_ALL};
    for (unsigned i = 0; i < CUTS * BURST; i++) {
        if (i % BURST == 0) {
            relay_cut_after(s->near, BURST * (5 + i / BURST));
        }
        send_number(tx[0], i);
        send_number(tx[1], i);
        if (i % BURST == BURST - 1) {
            check_is(ferry_sender_flush(tx[0], PATIENCE), 0);
            check_is(ferry_sender_flush(tx[1], PATIENCE), 0);
        }
    }
    check(relay_cuts(s->near) >= CUTS);
    ferry_receiver_t *rx[] = {open_receiver(node, "jobs", FERRY_QUEUE, NULL),
                              open_receiver(node, "news", FERRY_TOPIC, &all)};
    for (int k = 0; k < 2; k++) {
        for (unsigned i = 0; i < CUTS * BURST; i++) {
            check_is(receive_number(rx[k]), i);
        }
        close_receiver(rx[k]);
        close_sender(tx[k]);
    }
    close_node(node);
    lines_end(s);
}

/* ---- large messages ---- */

static void receive_large(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx[] = {open_receiver(node, "numbers", FERRY_QUEUE, NULL),
                              open_receiver(node, "news", FERRY_TOPIC, NULL)};
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; i < LARGE_ONES; i++) {
        for (int k = 0; k < 2; k++) {
            ferry_msg_t *m = receive(rx[k]);
            check_is(ferry_msg_size(m), LARGE);
            check(filled(ferry_msg_data(m), LARGE, i));
            release(m);
        }
        atomic_store(&s->received, i + 1);
    }
    close_receiver(rx[0]);
    close_receiver(rx[1]);
    close_node(node);
}

static void a_message_whose_line_is_cut_in_its_middle_comes_whole_and_once(void) {
    static unsigned char bytes[LARGE];
    lines_t *s = lines_new();
    numbers_t n = {.receiver = child_start(receive_large, s)};
    await(&s->ready, 1);
    n.node = lines_node(s, "sender", s->near);
    n.queue = open_sender(n.node, "numbers", FERRY_QUEUE, NULL);
    n.topic = open_sender(n.node, "news", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(n.queue, 1, PATIENCE), 1);
    check_is(ferry_sender_wait(n.topic, 1, PATIENCE), 1);
    for (unsigned i = 0; i < LARGE_ONES; i++) {
        relay_cut_after(i % 2 ? s->far : s->near, LARGE / 2 + 100001 * i);
        fill(bytes, LARGE, i);
        check_is(ferry_send(n.queue, bytes, LARGE, PATIENCE), 0);
        check_is(ferry_send(n.topic, bytes, LARGE, PATIENCE), 0);
        await(&s->received, i + 1);
    }
    check(relay_cuts(s->near) >= 2 && relay_cuts(s->far) >= 2);
    (void)numbers_end(s, &n);
}

/* ---- many at once ---- */

enum { SENDERS = 8, EACH = 3, MEGABYTE = 1 << 20 };

static void receive_from_many(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx = open_receiver(node, "large", FERRY_QUEUE, NULL);
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; i < SENDERS * EACH; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), MEGABYTE);
        release(m);
        atomic_store(&s->received, i + 1);
    }
    close_receiver(rx);
    close_node(node);
}

static bool does_a_slow_line_keep_its_connection(void) {
    static unsigned char bytes[MEGABYTE];
    lines_t *s = lines_new();
    ferry_sender_t *tx[SENDERS];
    pid_t receiver = child_start(receive_from_many, s);
    await(&s->ready, 1);
    ferry_t *node = lines_node(s, "sender", s->near);
    relay_throttle(s->far, 4000000);
    unsigned before = relay_accepted(s->far);
    for (int i = 0; i < SENDERS; i++)
        tx[i] = open_sender(node, "large", FERRY_QUEUE, NULL);
    for (int i = 0; i < SENDERS * EACH; i++)
        check_is(ferry_send(tx[i % SENDERS], bytes, sizeof bytes, PATIENCE), 0);
    await(&s->received, SENDERS * EACH);
    bool kept = relay_accepted(s->far) == before;
    for (int i = 0; i < SENDERS; i++)
        close_sender(tx[i]);
    child_join(receiver);
    close_node(node);
    lines_end(s);
    return kept;
}

/* What the server has to say to keep the line waits behind all that is on its way over it. */
static void many_senders_do_not_cost_a_slow_line_its_connection(void) {
    check_in_some_process(does_a_slow_line_keep_its_connection, "a slow line keeps its connection");
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(over_a_late_and_slow_line_all_comes_in_order),
        TEST(connections_that_end_at_random_lose_and_double_nothing),
        TEST(durable_messages_are_not_overtaken_by_those_that_follow_a_cut),
        TEST(a_message_whose_line_is_cut_in_its_middle_comes_whole_and_once),
        TEST(many_senders_do_not_cost_a_slow_line_its_connection),
    };
    return run_suite("net_lines", tests, sizeof tests / sizeof tests[0], argc, argv);
}

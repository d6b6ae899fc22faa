/* SPDX-License-Identifier: MIT
 *
 * net_lines.c - queues and topics over bad lines: late, slow, cut at random and in the middle of a frame.
 */
#include <string.h>

#include "lines.h"

#define MESSAGES 1500u
#define LARGE ((size_t)3 << 20)
#define LARGE_ONES 4u

static void over_a_late_and_slow_line_all_comes_in_order(void) {
    lines_t *s = lines_new();
    relay_delay(s->near, 50 * MILLISECOND);
    relay_throttle(s->near, 1000000);
    numbers_t n = numbers_begin(s);
    numbers_send(s, &n, MESSAGES);
    numbers_end(s, &n);
}

static void connections_that_end_at_random_lose_and_double_nothing(void) {
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
    numbers_end(s, &n);
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
    for (unsigned i = 0; i < LARGE_ONES; i++) {
        relay_cut_after(i % 2 ? s->far : s->near, LARGE / 2 + 100001 * i);
        fill(bytes, LARGE, i);
        check_is(ferry_send(n.queue, bytes, LARGE, PATIENCE), 0);
        check_is(ferry_send(n.topic, bytes, LARGE, PATIENCE), 0);
        await(&s->received, i + 1);
    }
    check(relay_cuts(s->near) >= 2 && relay_cuts(s->far) >= 2);
    numbers_end(s, &n);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(over_a_late_and_slow_line_all_comes_in_order),
        TEST(connections_that_end_at_random_lose_and_double_nothing),
        TEST(a_message_whose_line_is_cut_in_its_middle_comes_whole_and_once),
    };
    return run_suite("net_lines", tests, sizeof tests / sizeof tests[0], argc, argv);
}

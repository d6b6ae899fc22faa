/* SPDX-License-Identifier: MIT
 *
 * strides.c - what a sender announces to write over, to readers that want only the newest of its messages, when those are
 * large.
 */
#include "harness.h"

#define SMALL 8 /* bytes: one line of a ring */

static void send_some(ferry_sender_t *tx, uint64_t count, size_t size) {
    static const unsigned char bytes[2000];

    for (uint64_t i = 0; i < count; i++)
        check_is(ferry_send(tx, bytes, size, FERRY_NOW), 0);
}

static uint64_t take_all(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    uint64_t count = 0;

    for (; ferry_recv(rx, FERRY_NOW, &m) == 0; count++)
        release(m);
    return count;
}

/* The first ring's last lines do not hold it, so that it needs nearly twice as many. */
static void a_large_message_at_the_end_of_a_small_ring_comes(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");

    for (uint64_t before = 80; before < 118; before++) {
        ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
        ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
        send_some(tx, before, SMALL);
        check(take_all(rx) > 0);
        send_some(tx, 1, 2000);
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).sequence, before + 1);
        check_is(info_of(m).lost_before, 0);
        release(m);
        close_sender(tx);
        close_receiver(rx);
    }
    close_node(node);
}

static uint64_t come_of(ferry_sender_t *tx, ferry_receiver_t *rx, uint64_t sent, size_t size) {
    send_some(tx, sent, size);
    return take_all(rx);
}

static void keep(uint32_t depth, size_t size) {
    ferry_receiver_options_t options = {.depth = depth};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    int64_t end = monotonic() + PATIENCE;

    while (come_of(tx, rx, 3000, size) < depth)
        check(monotonic() < end); /* its ring grows meanwhile */
    for (uint64_t i = 0; i < 20; i++)
        check_is(come_of(tx, rx, 1000 + 7 * i, size), depth);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void as_many_messages_of_several_lines_are_kept_as_the_depth_says(void) {
    keep(100, 2000);
    keep(1000, 500);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_large_message_at_the_end_of_a_small_ring_comes),
        TEST(as_many_messages_of_several_lines_are_kept_as_the_depth_says),
    };
    return run_suite("strides", tests, sizeof tests / sizeof *tests, argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * retain_held.c - a topic that keeps its last messages, some of which a reader holds.
 */
#include "harness.h"

#define FEW 10
#define MANY 20000 /* for which a ring is larger than it would grow without */

static void send_sized(ferry_sender_t *tx, uint64_t number, size_t size) {
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, size, FERRY_NOW, &data, &m), 0);
    fill(data, size, number);
    check_is(ferry_msg_set_tag(m, number), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

static void expect_sized(ferry_receiver_t *rx, uint64_t number, size_t size) {
    ferry_msg_t *m = receive(rx);
    check_is(info_of(m).tag, number);
    check_is(ferry_msg_size(m), size);
    check(filled(ferry_msg_data(m), size, number));
    release(m);
}

/* More than its first ring holds. */
static void flow_past_one_that_is_held(size_t size, uint32_t retain, uint64_t count) {
    ferry_contract_t contract = {.retain = retain};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    send_sized(tx, 0, size);
    ferry_msg_t *held = receive(rx);
    for (uint64_t i = 1; i <= count; i++) {
        send_sized(tx, i, size);
        expect_sized(rx, i, size);
    }
    ferry_receiver_t *late = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (uint64_t i = count - retain + 1; i <= count; i++)
        expect_sized(late, i, size);
    send_sized(tx, count + 1, size);
    expect_sized(late, count + 1, size);
    expect_sized(rx, count + 1, size);
    check(filled(ferry_msg_data(held), size, 0));
    release(held);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(late);
    close_node(node);
}

static void a_message_that_is_held_stops_no_topic_that_retains_some(void) {
    flow_past_one_that_is_held(50, FEW, 2000);
    flow_past_one_that_is_held(9000, FEW, 2000);
    flow_past_one_that_is_held(50, MANY, 5 * MANY);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_message_that_is_held_stops_no_topic_that_retains_some),
    };
    return run_suite("retain_held", tests, sizeof tests / sizeof *tests, argc, argv);
}

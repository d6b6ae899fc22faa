/* SPDX-License-Identifier: MIT
 *
 * contract.c - what all ends of a channel must agree on, and what each is told when they do not.
 */
#include "harness.h"

#include <string.h>
#include <time.h>

static void refuse_sender(ferry_t *node, ferry_kind_t kind, const ferry_contract_t *contract, const char *words) {
    ferry_sender_t *tx = NULL;
    check_error(ferry_sender_open(node, "pose", kind, contract, &tx), -EPROTOTYPE, words);
    check(tx == NULL);
}

static void refuse_receiver(ferry_t *node, ferry_kind_t kind, const ferry_contract_t *contract, const char *words) {
    ferry_receiver_t *rx = NULL;
    ferry_receiver_options_t options = {.contract = contract};
    check_error(ferry_receiver_open(node, "pose", kind, &options, &rx), -EPROTOTYPE, words);
    check(rx == NULL);
}

static void a_mismatch_is_refused_and_both_sides_are_shown(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t ours = {.type_name = "pose_v1", .type_size = 24, .max_size = 100, .hold = FERRY_HOLD_BACK};
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_TOPIC, &ours);
    ferry_contract_t other_name = {.type_name = "image_v2"};
    ferry_contract_t other_size = {.type_size = 16};
    ferry_contract_t other_limit = {.max_size = 200};
    ferry_contract_t other_hold = {.hold = FERRY_HOLD_NEVER};
    refuse_receiver(node, FERRY_TOPIC, &other_name, "pose pose_v1 image_v2");
    refuse_receiver(node, FERRY_TOPIC, &other_size, "pose 24 16");
    refuse_receiver(node, FERRY_TOPIC, &other_limit, "pose 100 200");
    refuse_receiver(node, FERRY_TOPIC, &other_hold, "pose hold");
    refuse_receiver(node, FERRY_QUEUE, NULL, "pose topic queue");
    refuse_sender(node, FERRY_TOPIC, &other_name, "pose pose_v1 image_v2");
    refuse_sender(node, FERRY_TOPIC, &other_size, "pose 24 16");
    refuse_sender(node, FERRY_QUEUE, NULL, "pose topic queue");
    ferry_receiver_options_t same = {.contract = &ours};
    ferry_receiver_t *rx = open_receiver(node, "pose", FERRY_TOPIC, &same);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void hold_contract(ferry_t *node, void *arg) {
    atomic_uint *stages = arg;
    ferry_contract_t contract = {.type_name = "pose_v1", .type_size = 24};
    ferry_receiver_options_t options = {.contract = &contract};
    ferry_receiver_t *rx = open_receiver(node, "pose", FERRY_QUEUE, &options);
    atomic_store(&stages[0], 1);
    await(&stages[1], 1);
    close_receiver(rx);
    atomic_store(&stages[0], 2);
}

static void a_contract_holds_as_long_as_one_end_that_states_it_is_open(where_t where) {
    atomic_uint *stages = share(2 * sizeof *stages);
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_contract, stages);
    ferry_t *node = crew_node(crew);
    await(&stages[0], 1);
    ferry_contract_t other = {.type_name = "image_v2", .type_size = 1000};
    refuse_sender(node, FERRY_QUEUE, &other, "pose_v1 image_v2");
    refuse_sender(node, FERRY_TOPIC, NULL, "queue topic");
    ferry_sender_t *meek = open_sender(node, "pose", FERRY_QUEUE, NULL);
    close_sender(meek);
    atomic_store(&stages[1], 1);
    await(&stages[0], 2);
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, &other);
    close_sender(tx);
    crew_end(crew);
}

static void state_and_die(void *arg) {
    atomic_uint *stages = arg;
    ferry_contract_t contract = {.type_name = "pose_v1"};
    ferry_t *node = open_node("test");
    open_sender(node, "pose", FERRY_QUEUE, &contract);
    atomic_store(&stages[0], 1);
    await(&stages[1], 1);
}

static void a_killed_end_no_longer_states_anything(void) {
    atomic_uint *stages = share(2 * sizeof *stages);
    pid_t child = child_start(state_and_die, stages);
    ferry_t *node = open_node("test");
    ferry_contract_t other = {.type_name = "image_v2"};
    await(&stages[0], 1);
    refuse_sender(node, FERRY_QUEUE, &other, "pose_v1 image_v2");
    child_kill(child);
    ferry_sender_t *tx = NULL; /* this node may not have heard of it yet */
    int r;
    for (int64_t end = monotonic() + PATIENCE;
         (r = ferry_sender_open(node, "pose", FERRY_QUEUE, &other, &tx)) == -EPROTOTYPE && monotonic() < end;)
        nap(MILLISECOND);
    check_is(r, 0);
    close_sender(tx);
    close_node(node);
}

static void whoever_has_no_opinion_takes_the_channels(void) {
    ferry_t *node = open_node("test");
    unsigned char bytes[25] = {0};
    ferry_contract_t contract = {.type_name = "pose_v1", .type_size = 24};
    ferry_receiver_options_t options = {.contract = &contract};
    ferry_receiver_t *rx = open_receiver(node, "pose", FERRY_QUEUE, &options);
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, NULL);
    check_error(ferry_send(tx, bytes, 25, FERRY_NOW), -EMSGSIZE, "24 25");
    check_error(ferry_send(tx, bytes, 0, FERRY_NOW), -EMSGSIZE, "24");
    check_is(ferry_send(tx, bytes, 24, FERRY_NOW), 0);
    release(receive(rx));
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_message_of_another_size_is_refused_however_it_is_sent(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.type_size = 24};
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, &contract);
    unsigned char bytes[25] = {0};
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_error(ferry_send(tx, bytes, 23, FERRY_NOW), -EMSGSIZE, "23 24");
    check_is(ferry_claim(tx, 24, FERRY_NOW, &data), 0);
    check_error(ferry_commit(tx, 20), -EMSGSIZE, "20 24");
    check_is(ferry_abort(tx), 0);
    check_is(ferry_msg_new(tx, 24, FERRY_NOW, &data, &m), 0);
    check_is(ferry_msg_set_size(m, 10), 0);
    check_error(ferry_send_msg(tx, m, FERRY_NOW), -EMSGSIZE, "10 24");
    release(m);
    check_is(sender_stats(tx).messages, 0);
    close_sender(tx);
    close_node(node);
}

static void a_message_over_the_limit_is_refused_however_it_is_sent(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.max_size = 1000};
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, &contract);
    static unsigned char bytes[1001];
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_error(ferry_send(tx, bytes, 1001, FERRY_NOW), -EMSGSIZE, "1000 1001");
    check_error(ferry_claim(tx, 1001, FERRY_NOW, &data), -EMSGSIZE, "1000 1001");
    check_error(ferry_msg_new(tx, 1001, FERRY_NOW, &data, &m), -EMSGSIZE, "1000 1001");
    check(data == NULL && m == NULL);
    check_is(ferry_send(tx, bytes, 1000, FERRY_NOW), 0);
    check_is(drop_sender(tx), 1);
    close_node(node);
}

static void a_message_over_the_quota_is_refused(void) {
    enum { LARGE = 3 << 20 };
    static unsigned char bytes[LARGE];
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 1 << 20};
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, &contract);
    void *data = NULL;
    check_error(ferry_send(tx, bytes, LARGE, PATIENCE), -EMSGSIZE, "quota");
    check_error(ferry_claim(tx, LARGE, PATIENCE, &data), -EMSGSIZE, "quota");
    close_sender(tx);
    close_node(node);
}

/* What a failed read() returns, for one. */
static void refuse_absurd_sizes(ferry_sender_t *tx) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 63, SIZE_MAX - 4095, SIZE_MAX / 2};
    char bytes[64] = {0};
    void *data;
    ferry_msg_t *m;

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_error(ferry_send(tx, bytes, sizes[i], FERRY_NOW), -EMSGSIZE, "");
        check_error(ferry_claim(tx, sizes[i], FERRY_NOW, &data), -EMSGSIZE, "");
        check_error(ferry_msg_new(tx, sizes[i], FERRY_NOW, &data, &m), -EMSGSIZE, "");
    }
}

static void absurd_sizes_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    refuse_absurd_sizes(tx); /* nobody is there */
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    refuse_absurd_sizes(tx); /* nothing was sent yet */
    for (uint64_t i = 0; i < 100; i++) {
        send_number(tx, i);
        check_is(receive_number(rx), i);
    }
    refuse_absurd_sizes(tx); /* in the midst of others */
    send_number(tx, 100);
    check_is(receive_number(rx), 100);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void messages_carry_the_time_when_the_contract_asks_for_it(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.timestamps = 1};
    ferry_receiver_options_t options = {.contract = &contract};
    ferry_receiver_t *rx = open_receiver(node, "pose", FERRY_QUEUE, &options);
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_QUEUE, NULL);
    static unsigned char bytes[10000];
    uint64_t last = 0;
    for (unsigned i = 0; i < 20; i++) {
        struct timespec t;
        check_is(ferry_send(tx, bytes, i % 2 ? sizeof bytes : 8, FERRY_NOW), 0);
        ferry_msg_t *m = receive(rx);
        uint64_t sent = info_of(m).time_ns;
        clock_gettime(CLOCK_MONOTONIC, &t);
        check(sent > 0 && sent >= last);
        check(sent <= (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec);
        last = sent;
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void nonsense_is_refused_with_a_sentence(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = NULL;
    char name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    ferry_contract_t long_name = {.type_name = name};
    ferry_contract_t no_hold = {.hold = (ferry_hold_t)77};
    ferry_contract_t no_wait = {.wait = (ferry_wait_t)77};
    ferry_contract_t impossible = {.type_size = 200, .max_size = 100};
    check_error(ferry_sender_open(node, "pose", FERRY_TOPIC, &long_name, &tx), -EINVAL, "63");
    check_error(ferry_sender_open(node, "pose", FERRY_TOPIC, &no_hold, &tx), -EINVAL, "hold 77");
    check_error(ferry_sender_open(node, "pose", FERRY_TOPIC, &no_wait, &tx), -EINVAL, "wait 77");
    check_error(ferry_sender_open(node, "pose", FERRY_TOPIC, &impossible, &tx), -EINVAL, "200 100");
    check_error(ferry_sender_open(node, "pose", (ferry_kind_t)0, NULL, &tx), -EINVAL, "kind");
    check_error(ferry_sender_open(node, "pose", (ferry_kind_t)9, NULL, &tx), -EINVAL, "kind");
    check(tx == NULL);
    name[63] = '\0';
    tx = open_sender(node, "pose", FERRY_TOPIC, &long_name);
    close_sender(tx);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_mismatch_is_refused_and_both_sides_are_shown),
        TEST_BOTH(a_contract_holds_as_long_as_one_end_that_states_it_is_open),
        TEST(a_killed_end_no_longer_states_anything),
        TEST(whoever_has_no_opinion_takes_the_channels),
        TEST(a_message_of_another_size_is_refused_however_it_is_sent),
        TEST(a_message_over_the_limit_is_refused_however_it_is_sent),
        TEST(a_message_over_the_quota_is_refused),
        TEST(absurd_sizes_are_refused),
        TEST(messages_carry_the_time_when_the_contract_asks_for_it),
        TEST(nonsense_is_refused_with_a_sentence),
    };
    return run_suite("contract", tests, sizeof tests / sizeof tests[0], argc, argv);
}

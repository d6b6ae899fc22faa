/* SPDX-License-Identifier: MIT
 *
 * readers.c - unequal readers of one topic: some want everything, some only the newest; none of the latter holds the
 * sender back, and each is told exactly what it lost.
 */
#include <string.h>

#include "harness.h"

/* Adds up what came and what was lost; the two together are everything, in order. */
typedef struct account {
    uint64_t last; /* sequence */
    uint64_t came;
    uint64_t lost;
} account_t;

static void take_into(account_t *account, const ferry_msg_t *m) {
    ferry_msg_info_t info = info_of(m);
    check_is(info.sequence, account->last + info.lost_before + 1);
    account->last = info.sequence;
    account->lost += info.lost_before;
    account->came++;
}

static void check_complete(const account_t *account, uint64_t sent, ferry_receiver_t *rx) {
    check_is(account->last, sent);
    check_is(account->came + account->lost, sent);
    check_is(receiver_stats(rx).lost, account->lost);
}

static void expect_nothing(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN, "");
}

static void send_numbers(ferry_sender_t *tx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++)
        send_number(tx, i);
}

/* ---- only the newest ---- */

static void a_receiver_of_the_newest_gets_it_and_is_told_what_it_passed_over(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    account_t account = {0};
    uint64_t sent = 0;
    for (uint64_t burst = 1; burst < 3000; burst += burst / 2 + 1) {
        send_numbers(tx, sent, sent + burst);
        sent += burst;
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), sent - 1);
        take_into(&account, m);
        release(m);
        expect_nothing(rx);
    }
    check_complete(&account, sent, rx);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void the_newest_of_each_sender_comes(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    ferry_sender_t *a = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_sender_t *b = open_sender(node, "t", FERRY_TOPIC, NULL);
    send_numbers(a, 0, 10);
    send_numbers(b, 100, 110);
    check_is(receive_number(rx) + receive_number(rx), 9 + 109);
    expect_nothing(rx);
    close_receiver(rx);
    close_sender(a);
    close_sender(b);
    close_node(node);
}

static void what_the_newest_replaced_is_lost_when_the_sender_has_gone_too(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    ferry_msg_t *m = NULL;
    send_numbers(tx, 0, 500);
    close_sender(tx);
    check_is(receive_number(rx), 499);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    check_is(receiver_stats(rx).lost, 499);
    close_receiver(rx);
    close_node(node);
}

/* ---- depth ---- */

static void keeps_so_many(uint32_t depth, uint64_t sent) {
    ferry_receiver_options_t options = {.depth = depth};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    account_t account = {0};
    for (unsigned round = 1; round <= 3; round++) { /* the ring grows in the first ones */
        send_numbers(tx, account.last, round * sent);
        uint64_t first = round * sent - (depth < sent ? depth : sent);
        for (uint64_t i = round == 3 ? first : account.last; account.last < round * sent; i++) {
            ferry_msg_t *m = receive(rx);
            take_into(&account, m);
            check(round < 3 || number_in(m) == i);
            release(m);
        }
    }
    check_complete(&account, 3 * sent, rx);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void a_receiver_keeps_as_many_of_the_newest_as_its_depth_says(void) {
    keeps_so_many(3, 2000);
    keeps_so_many(100, 5000);
    keeps_so_many(1000, 999);
}

static void a_depth_that_a_first_ring_could_not_hold_gets_a_larger_one(void) {
    keeps_so_many(6000, 40000);
}

static void history_is_cut_to_the_depth(void) {
    ferry_contract_t contract = {.retain = 50};
    ferry_receiver_options_t options = {.depth = 4};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_numbers(tx, 0, 80);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    for (uint64_t i = 76; i < 80; i++)
        check_is(receive_number(rx), i);
    expect_nothing(rx);
    check_is(receiver_stats(rx).lost, 46);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void wishes_that_make_no_sense_are_refused(void) {
    ferry_receiver_options_t both = {.depth = 2, .newest = FERRY_NEWEST_ONLY};
    ferry_receiver_options_t unknown = {.newest = (ferry_newest_t)7};
    ferry_receiver_options_t newest = {.newest = FERRY_NEWEST_ONLY};
    ferry_receiver_options_t depth = {.depth = 1};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = NULL;
    check_error(ferry_receiver_open(node, "t", FERRY_TOPIC, &both, &rx), -EINVAL, "newest depth one");
    check_error(ferry_receiver_open(node, "t", FERRY_TOPIC, &unknown, &rx), -EINVAL, "newest 7");
    check_error(ferry_receiver_open(node, "q", FERRY_QUEUE, &newest, &rx), -EINVAL, "newest topics");
    check_error(ferry_receiver_open(node, "q", FERRY_QUEUE, &depth, &rx), -EINVAL, "depth topics");
    close_node(node);
}

/* ---- a slow viewer beside a complete recorder ---- */

static void beside_a_recorder(const ferry_contract_t *contract, size_t size, unsigned count,
                              const ferry_receiver_options_t *viewing) {
    static unsigned char bytes[70000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, contract);
    ferry_receiver_t *viewer = open_receiver(node, "t", FERRY_TOPIC, viewing);
    ferry_receiver_t *recorder = open_receiver(node, "t", FERRY_TOPIC, NULL);
    account_t account = {0};
    for (unsigned i = 0; i < count; i++) {
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, FERRY_NOW), 0); /* the viewer does nothing */
        ferry_msg_t *m = receive(recorder);
        check(filled(ferry_msg_data(m), size, i));
        release(m);
    }
    check_is(receiver_stats(recorder).lost, 0);
    while (account.last < count) {
        ferry_msg_t *m = receive(viewer);
        take_into(&account, m);
        check(filled(ferry_msg_data(m), size, account.last - 1));
        release(m);
    }
    check(account.lost > 0);
    check_complete(&account, count, viewer);
    close_receiver(viewer);
    close_receiver(recorder);
    close_sender(tx);
    close_node(node);
}

static void a_viewer_that_does_nothing_takes_no_quota_from_a_recorder(void) {
    const ferry_contract_t contract = {.quota = 1 << 20};
    beside_a_recorder(&contract, 70000, 200, &(ferry_receiver_options_t){.may_lose = 1});
    beside_a_recorder(&contract, 70000, 200, &(ferry_receiver_options_t){.depth = 2});
    beside_a_recorder(&contract, 3000, 2000, &(ferry_receiver_options_t){.newest = FERRY_NEWEST_ONLY});
}

static void a_viewer_that_does_nothing_takes_no_capacity_from_a_recorder(void) {
    const ferry_contract_t contract = {.capacity = 1};
    beside_a_recorder(&contract, 60, 3000, &(ferry_receiver_options_t){.depth = 2});
    beside_a_recorder(&contract, 5000, 300, &(ferry_receiver_options_t){.depth = 2});
}

/* ---- at full speed ---- */

#define RUSH (UNDER_SANITIZER ? 20000 : 60000)
#define RUSH_LARGE 9000

typedef struct crowd {
    atomic_uint joined;
    atomic_uint next;
} crowd_t;

static size_t rush_size(uint64_t i) {
    return i % 16 == 15 ? RUSH_LARGE : 16 + i % 100;
}

static void rush(ferry_t *node, void *arg) {
    crowd_t *crowd = arg;
    static __thread unsigned char bytes[RUSH_LARGE];
    ferry_contract_t contract = {.quota = 4 << 20};
    ferry_sender_t *tx = open_sender(node, "rush", FERRY_TOPIC, &contract);
    await(&crowd->joined, 4);
    check_is(ferry_sender_wait(tx, 4, PATIENCE), 4);
    for (uint64_t i = 0; i < RUSH; i++) {
        fill(bytes, rush_size(i), i);
        check_is(ferry_send(tx, bytes, rush_size(i), PATIENCE), 0);
    }
    close_sender(tx);
}

static void watch_rush(ferry_t *node, void *arg) {
    crowd_t *crowd = arg;
    unsigned which = atomic_fetch_add(&crowd->next, 1);
    const ferry_receiver_options_t wishes[] = {
        {.wait = FERRY_WAIT_ADAPTIVE}, {.newest = FERRY_NEWEST_ONLY}, {.depth = 40}, {.may_lose = 1}};
    account_t account = {0};
    ferry_msg_t *m = NULL, *kept = NULL;
    uint64_t kept_number = 0;
    ferry_receiver_t *rx = open_receiver(node, "rush", FERRY_TOPIC, &wishes[which]);
    atomic_fetch_add(&crowd->joined, 1);
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        take_into(&account, m);
        uint64_t number = account.last - 1;
        check_is(ferry_msg_size(m), rush_size(number));
        check(filled(ferry_msg_data(m), rush_size(number), number));
        if (which > 0 && account.came % 97 == 0) { /* hold one for a while: it must stay as it was sent */
            check(!kept || filled(ferry_msg_data(kept), rush_size(kept_number), kept_number));
            release(kept);
            kept = m;
            kept_number = number;
        } else {
            release(m);
        }
    }
    check_is(answer, -EPIPE);
    check(!kept || filled(ferry_msg_data(kept), rush_size(kept_number), kept_number));
    release(kept);
    check(which > 0 || account.lost == 0);
    check_complete(&account, RUSH, rx);
    close_receiver(rx);
}

static void no_reader_sees_torn_bytes_of_a_writer_at_full_speed(where_t where) {
    crowd_t *crowd = share(sizeof *crowd);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 4; i++)
        crew_add(crew, watch_rush, crowd);
    crew_add(crew, rush, crowd);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_receiver_of_the_newest_gets_it_and_is_told_what_it_passed_over),
        TEST(the_newest_of_each_sender_comes),
        TEST(what_the_newest_replaced_is_lost_when_the_sender_has_gone_too),
        TEST(a_receiver_keeps_as_many_of_the_newest_as_its_depth_says),
        TEST(a_depth_that_a_first_ring_could_not_hold_gets_a_larger_one),
        TEST(history_is_cut_to_the_depth),
        TEST(wishes_that_make_no_sense_are_refused),
        TEST(a_viewer_that_does_nothing_takes_no_quota_from_a_recorder),
        TEST(a_viewer_that_does_nothing_takes_no_capacity_from_a_recorder),
        TEST_BOTH(no_reader_sees_torn_bytes_of_a_writer_at_full_speed),
    };
    return run_suite("readers", tests, sizeof tests / sizeof *tests, argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * quota.c - a sender's unread messages live in its own memory, under its own quota and capacity.
 */
#include "harness.h"

#include <string.h>

static bool releases_seen(void *arg) {
    return sender_stats(arg).unreleased == 0;
}

/* Sends numbers until one is refused; how many went. */
static uint64_t send_until_full(ferry_sender_t *tx, int64_t timeout, int want) {
    for (uint64_t sent = 0;; sent++) {
        int answer = ferry_send(tx, &sent, sizeof sent, timeout);
        if (answer != 0) {
            check_error(answer, want, "room");
            return sent;
        }
        check(sent < 1000000);
    }
}

static void capacity_is_counted_exactly(void) {
    ferry_t *node = open_node("test");
    for (uint32_t capacity = 1; capacity <= 1000; capacity *= 10) {
        ferry_contract_t contract = {.capacity = capacity, .overflow = FERRY_OVERFLOW_FAIL};
        ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
        check_is(send_until_full(tx, PATIENCE, -EAGAIN), capacity); /* nobody there: they wait with the sender */
        ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
        for (uint64_t i = 0; i < capacity; i++)
            check_is(receive_number(rx), i);
        await_that(releases_seen, tx, "the sender did not learn of the releases");
        check_is(send_until_full(tx, PATIENCE, -EAGAIN), capacity); /* a receiver there, which does not release */
        for (uint64_t i = 0; i < capacity; i++)
            check_is(receive_number(rx), i);
        close_sender(tx);
        close_receiver(rx);
    }
    close_node(node);
}

static void a_full_sender_that_may_wait_waits_as_long_as_it_may(void) {
    static unsigned char large[5000]; /* takes a block before it waits for room */
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 3};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    uint64_t number = 3;
    void *data = NULL;
    check_is(send_until_full(tx, FERRY_NOW, -EAGAIN), 3);
    check_error(ferry_send(tx, &number, sizeof number, 5 * MILLISECOND), -ETIMEDOUT, "");
    check_error(ferry_send(tx, large, sizeof large, FERRY_NOW), -EAGAIN, "");
    check_error(ferry_send(tx, large, sizeof large, 1), -ETIMEDOUT, "");
    check_error(ferry_claim(tx, 8, FERRY_NOW, &data), -EAGAIN, "");
    check_error(ferry_claim(tx, 8, 5 * MILLISECOND, &data), -ETIMEDOUT, "");
    check(data == NULL);
    check_is(receive_number(rx), 0);
    send_number(tx, 3);
    for (uint64_t i = 1; i <= 3; i++)
        check_is(receive_number(rx), i);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void overfill(ferry_t *node, void *arg) {
    const ferry_contract_t *contract = arg;
    static __thread unsigned char bytes[60000];
    ferry_sender_t *tx = open_sender(node, "slow", FERRY_QUEUE, contract);
    for (unsigned i = 0; i < 300; i++) {
        size_t size = contract->quota ? sizeof bytes : 20;
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        check(contract->capacity == 0 || sender_stats(tx).unreleased <= contract->capacity);
        check(contract->quota == 0 || sender_stats(tx).memory <= contract->quota);
    }
    close_sender(tx);
}

static void receive_slowly(where_t where, ferry_contract_t contract) {
    ferry_contract_t *shared = share(sizeof *shared);
    *shared = contract;
    crew_t *crew = crew_begin(where);
    crew_add(crew, overfill, shared);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "slow", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 300; i++) {
        if (i % 30 == 0)
            nap(2 * MILLISECOND); /* let the sender fill up and fall asleep */
        ferry_msg_t *m = receive(rx);
        check(filled(ferry_msg_data(m), ferry_msg_size(m), i));
        release(m);
    }
    close_receiver(rx);
    crew_end(crew);
}

static void a_sender_at_its_capacity_is_woken_by_each_release(where_t where) {
    receive_slowly(where, (ferry_contract_t){.capacity = 4});
}

static void a_sleeping_sender_at_its_capacity_is_woken_by_each_release(where_t where) {
    receive_slowly(where, (ferry_contract_t){.capacity = 4, .wait = FERRY_WAIT_BLOCK});
}

static void a_sender_at_its_quota_is_woken_by_each_release(where_t where) {
    receive_slowly(where, (ferry_contract_t){.quota = 1 << 20});
}

static void a_sleeping_sender_at_its_quota_is_woken_by_each_release(where_t where) {
    receive_slowly(where, (ferry_contract_t){.quota = 1 << 20, .wait = FERRY_WAIT_BLOCK});
}

/* ---- quota ---- */

#define PIECE 100000

static unsigned fill_quota(ferry_sender_t *tx, int64_t timeout, int want) {
    static unsigned char bytes[PIECE];
    for (unsigned sent = 0;; sent++) {
        fill(bytes, PIECE, sent);
        int answer = ferry_send(tx, bytes, PIECE, timeout);
        if (answer != 0) {
            check_error(answer, want, "quota");
            return sent;
        }
        check((uint64_t)(sent + 1) * PIECE <= 1 << 20);
    }
}

static void a_sender_never_uses_more_memory_than_its_quota(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 1 << 20, .overflow = FERRY_OVERFLOW_FAIL};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
    for (unsigned life = 0; life < 3; life++) {
        unsigned sent = fill_quota(tx, PATIENCE, -EDQUOT);
        check(sent >= 4); /* at least half of what was asked for can be used */
        check(sender_stats(tx).memory <= contract.quota);
        ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
        for (unsigned i = 0; i < sent; i++) {
            ferry_msg_t *m = receive(rx);
            check(filled(ferry_msg_data(m), PIECE, i));
            release(m);
        }
        close_receiver(rx);
        check_is(ferry_sender_flush(tx, PATIENCE), 0);
    }
    close_sender(tx);
    close_node(node);
}

static void every_way_of_sending_respects_the_quota(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 1 << 20};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check(fill_quota(tx, FERRY_NOW, -EDQUOT) >= 4);
    check_error(ferry_msg_new(tx, PIECE, FERRY_NOW, &data, &m), -EDQUOT, "quota");
    check_error(ferry_msg_new(tx, PIECE, 5 * MILLISECOND, &data, &m), -ETIMEDOUT, "");
    check_error(ferry_claim(tx, PIECE, FERRY_NOW, &data), -EDQUOT, "quota");
    check_error(ferry_claim(tx, PIECE, 5 * MILLISECOND, &data), -ETIMEDOUT, "");
    check(m == NULL && data == NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    release(receive(rx));
    check_is(ferry_msg_new(tx, PIECE, PATIENCE, &data, &m), 0);
    release(m);
    ferry_receiver_close(rx);
    drop_sender(tx);
    close_node(node);
}

static void one_senders_flood_takes_nothing_from_another(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 1 << 20};
    ferry_sender_t *flooder = open_sender(node, "q", FERRY_QUEUE, &contract);
    ferry_sender_t *polite = open_sender(node, "q", FERRY_QUEUE, &contract);
    unsigned alone = fill_quota(flooder, FERRY_NOW, -EDQUOT);
    check_is(fill_quota(polite, FERRY_NOW, -EDQUOT), alone);
    drop_sender(flooder);
    drop_sender(polite);
    close_node(node);
}

static void a_receiver_holds_no_more_than_it_allowed_itself(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.max_held = 2};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &options);
    ferry_msg_t *third = NULL, *batch[8];
    for (uint64_t i = 0; i < 6; i++)
        send_number(tx, i);
    ferry_msg_t *first = receive(rx), *second = receive(rx);
    check_error(ferry_recv(rx, PATIENCE, &third), -EDQUOT, "2");
    check(third == NULL);
    check_is(receiver_stats(rx).held, 2);
    release(first);
    third = receive(rx);
    check_is(number_in(third), 2);
    release(second);
    release(third);
    check_is(ferry_recv_batch(rx, batch, 8, PATIENCE), 2);
    release(batch[0]);
    release(batch[1]);
    check_is(receive_number(rx), 5);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* Each size has memory of its own; what few messages of many sizes need may not come to more than they are. */
static void messages_of_many_sizes_have_room_in_a_small_quota(void) {
    enum { QUOTA = 2 << 20, LARGEST = 8000, RETAINED = 100 };
    static unsigned char bytes[LARGEST];
    ferry_t *node = open_node("test");
    const ferry_contract_t contract = {.quota = QUOTA, .overflow = FERRY_OVERFLOW_FAIL, .retain = RETAINED};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &(ferry_contract_t){.quota = QUOTA});
    ferry_sender_t *news = open_sender(node, "t", FERRY_TOPIC, &contract);
    uint64_t sent = 0, size = 97;
    for (; ferry_send(tx, bytes, size, FERRY_NOW) == 0; size = 97 + (size * 31 + 7) % (LARGEST - 97))
        sent += size;
    check(sent > QUOTA / 2);
    for (unsigned i = 0; i < 2 * RETAINED; i++)
        check_is(ferry_send(news, bytes, 97 + i * 41 % 4000, PATIENCE), 0);
    ferry_receiver_t *late = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (unsigned i = RETAINED; i < 2 * RETAINED; i++) {
        ferry_msg_t *m = receive(late);
        check_is(ferry_msg_size(m), 97 + i * 41 % 4000);
        release(m);
    }
    close_receiver(late);
    drop_sender(tx);
    close_sender(news);
    close_node(node);
}

/* ---- readers that may lose what the quota has no room for ---- */

#define IDLE_QUOTA (16u << 20)
#define PAST_IT 10000 /* of which the quota holds a third */

static void send_large(ferry_sender_t *tx) {
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, 5000, FERRY_NOW, &data, &m), 0);
    check_is(ferry_send_msg(tx, m, FERRY_NOW), 0);
    release(m);
}

static int64_t time_to_send_past(bool viewer, bool holds, uint32_t retain) {
    ferry_contract_t contract = {.quota = IDLE_QUOTA, .retain = retain};
    ferry_receiver_options_t options = {.may_lose = 1};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = viewer ? open_receiver(node, "t", FERRY_TOPIC, &options) : NULL;
    send_large(tx);
    ferry_msg_t *held = holds ? receive(rx) : NULL;
    int64_t since = monotonic();
    for (unsigned i = 0; i < PAST_IT; i++)
        send_large(tx);
    int64_t took = monotonic() - since;
    release(held);
    if (rx)
        close_receiver(rx);
    (void)drop_sender(tx);
    close_node(node);
    return took;
}

static bool does_an_idle_viewer_cost_little(where_t where) {
    (void)where;
    int64_t alone = time_to_send_past(false, false, 0);
    return time_to_send_past(true, false, 0) < 100 * alone && time_to_send_past(true, true, 0) < 100 * alone &&
           time_to_send_past(true, true, PAST_IT) < 100 * alone;
}

static void a_viewer_that_does_nothing_makes_its_sender_hardly_slower(void) {
    check_in_some_try(does_an_idle_viewer_cost_little, ALONE, "what a viewer has not read costs its sender little");
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(capacity_is_counted_exactly),
        TEST(a_full_sender_that_may_wait_waits_as_long_as_it_may),
        TEST_BOTH(a_sender_at_its_capacity_is_woken_by_each_release),
        TEST_BOTH(a_sleeping_sender_at_its_capacity_is_woken_by_each_release),
        TEST_BOTH(a_sender_at_its_quota_is_woken_by_each_release),
        TEST_BOTH(a_sleeping_sender_at_its_quota_is_woken_by_each_release),
        TEST(a_sender_never_uses_more_memory_than_its_quota),
        TEST(messages_of_many_sizes_have_room_in_a_small_quota),
        TEST(every_way_of_sending_respects_the_quota),
        TEST(one_senders_flood_takes_nothing_from_another),
        TEST(a_receiver_holds_no_more_than_it_allowed_itself),
        TEST(a_viewer_that_does_nothing_makes_its_sender_hardly_slower),
    };
    return run_suite("quota", tests, sizeof tests / sizeof tests[0], argc, argv);
}

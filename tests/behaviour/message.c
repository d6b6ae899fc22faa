/* SPDX-License-Identifier: MIT
 *
 * message.c - messages of every size, written in place, taken by copy, taken many at once, held, and sent on.
 */
#include "harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The edges of lines, of records, of pages and of pool classes. */
static const size_t sizes[] = {
    0,   1,    15,   16,   47,   48,   49,   56,   63,    64,    65,    112,           113,     120,           255,
    256, 1000, 1024, 4032, 4095, 4096, 4097, 8192, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
};
#define SIZES (sizeof sizes / sizeof sizes[0])
#define HUGE_SIZE ((size_t)64 << 20)

static void send_copied(ferry_sender_t *tx, size_t size, uint64_t seed) {
    unsigned char *bytes = malloc(size + 1);
    check(bytes != NULL);
    fill(bytes, size, seed);
    check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
    memset(bytes, 0xee, size); /* what was sent must not depend on it any more */
    free(bytes);
}

static void send_claimed(ferry_sender_t *tx, size_t size, uint64_t seed) {
    void *data = NULL;
    check_is(ferry_claim(tx, size, PATIENCE, &data), 0);
    check(data != NULL && (uintptr_t)data % 16 == 0);
    fill(data, size, seed);
    check_is(ferry_commit(tx, size), 0);
}

static void send_pointer(ferry_sender_t *tx, size_t size, uint64_t seed) {
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    check(data != NULL && (uintptr_t)data % 64 == 0);
    check_is(ferry_msg_size(m), size);
    fill(data, size, seed);
    check_is(ferry_msg_set_tag(m, seed), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check(filled(ferry_msg_data(m), size, seed));
    release(m);
}

static void send_every_size(ferry_t *node, void *arg) {
    (void)arg;
    ferry_sender_t *tx = open_sender(node, "sizes", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < SIZES; i++) {
        send_copied(tx, sizes[i], 3 * i);
        send_claimed(tx, sizes[i], 3 * i + 1);
        send_pointer(tx, sizes[i], 3 * i + 2);
    }
    close_sender(tx);
}

static void every_size_arrives_unchanged_however_it_is_sent(where_t where) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_every_size, NULL);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "sizes", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 3 * SIZES; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), sizes[i / 3]);
        check(ferry_msg_data(m) != NULL);
        check(filled(ferry_msg_data(m), sizes[i / 3], i));
        check_is(info_of(m).sequence, i + 1);
        check_is(info_of(m).tag, i % 3 == 2 ? i : 0);
        release(m);
    }
    close_receiver(rx);
    crew_end(crew);
}

static void send_huge(ferry_t *node, void *arg) {
    (void)arg;
    ferry_contract_t contract = {.quota = (uint64_t)256 << 20};
    ferry_sender_t *tx = open_sender(node, "huge", FERRY_QUEUE, &contract);
    send_pointer(tx, HUGE_SIZE, 1);
    close_sender(tx);
}

static void sixty_four_mebibytes_arrive_unchanged(where_t where) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_huge, NULL);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "huge", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_size(m), HUGE_SIZE);
    check(filled(ferry_msg_data(m), HUGE_SIZE, 1));
    release(m);
    check_is(receiver_stats(rx).copies_made, 0);
    close_receiver(rx);
    crew_end(crew);
}

/* ---- in one thread: both ends are ours ---- */

typedef struct pair {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
} pair_t;

static pair_t open_pair(void) {
    pair_t pair = {.node = open_node("test")};
    pair.tx = open_sender(pair.node, "q", FERRY_QUEUE, NULL);
    pair.rx = open_receiver(pair.node, "q", FERRY_QUEUE, NULL);
    return pair;
}

static void close_pair(pair_t *pair) {
    close_sender(pair->tx);
    close_receiver(pair->rx);
    close_node(pair->node);
}

static void less_may_be_committed_than_was_claimed(void) {
    pair_t pair = open_pair();
    for (size_t claimed = 1; claimed <= 100000; claimed *= 10) {
        void *data = NULL;
        check_is(ferry_claim(pair.tx, claimed, PATIENCE, &data), 0);
        fill(data, claimed, claimed);
        check_is(ferry_commit(pair.tx, claimed / 2), 0);
        ferry_msg_t *m = receive(pair.rx);
        check_is(ferry_msg_size(m), claimed / 2);
        check(filled(ferry_msg_data(m), claimed / 2 / 8 * 8, claimed));
        release(m);
    }
    close_pair(&pair);
}

/* What was written into a claim beyond what is committed must not be taken for the header of a message: neither after
 * messages as long as the committed one, whose successors the ring has prepared for, nor later. */
static void what_a_claim_holds_beyond_its_message_is_nothing(void) {
    pair_t pair = open_pair();
    unsigned char text[200] = {1};
    for (size_t size = 1; size <= sizeof text; size++) {
        ferry_msg_t *m = NULL;
        void *data = NULL;
        for (unsigned i = 0; i < 2; i++) {
            check_is(ferry_send(pair.tx, text, size, PATIENCE), 0);
            release(receive(pair.rx));
        }
        check_is(ferry_claim(pair.tx, 1500, PATIENCE, &data), 0);
        memset(data, 0x01, 1500); /* each line a plausible header */
        check_is(ferry_commit(pair.tx, size), 0);
        m = receive(pair.rx);
        check_is(ferry_msg_size(m), size);
        release(m);
        check_error(ferry_recv(pair.rx, FERRY_NOW, &m), -EAGAIN, "");
    }
    close_pair(&pair);
}

static void an_aborted_claim_leaves_no_trace(void) {
    pair_t pair = open_pair();
    ferry_msg_t *m = NULL;
    for (size_t claimed = 1; claimed <= 100000; claimed *= 10) {
        void *data = NULL;
        check_is(ferry_claim(pair.tx, claimed, PATIENCE, &data), 0);
        memset(data, 0xee, claimed);
        check_is(ferry_abort(pair.tx), 0);
        check_error(ferry_recv(pair.rx, FERRY_NOW, &m), -EAGAIN, "");
        send_number(pair.tx, claimed);
        check_is(receive_number(pair.rx), claimed);
    }
    check_is(sender_stats(pair.tx).pool_blocks, 0);
    check_is(sender_stats(pair.tx).messages, 6);
    close_pair(&pair);
}

static void claims_are_used_one_at_a_time_and_in_order(void) {
    pair_t pair = open_pair();
    void *data = NULL, *other = NULL;
    ferry_msg_t *m = NULL;
    check_error(ferry_commit(pair.tx, 1), -EINVAL, "claim");
    check_error(ferry_abort(pair.tx), -EINVAL, "claim");
    check_is(ferry_msg_new(pair.tx, 100, PATIENCE, &other, &m), 0);
    check_is(ferry_claim(pair.tx, 40, PATIENCE, &data), 0);
    check_error(ferry_claim(pair.tx, 40, PATIENCE, &other), -EBUSY, "claim");
    check_error(ferry_send(pair.tx, "x", 1, PATIENCE), -EBUSY, "claim");
    check_error(ferry_send_msg(pair.tx, m, PATIENCE), -EBUSY, "claim");
    check_error(ferry_commit(pair.tx, 41), -EINVAL, "40 41");
    memset(data, 'c', 40);
    check_is(ferry_commit(pair.tx, 40), 0);
    check_error(ferry_commit(pair.tx, 40), -EINVAL, "claim");
    release(m);
    m = receive(pair.rx);
    check_is(ferry_msg_size(m), 40);
    check_is(((const char *)ferry_msg_data(m))[39], 'c');
    release(m);
    close_pair(&pair);
}

static void a_claim_that_is_open_when_the_sender_closes_is_given_up(void) {
    pair_t pair = open_pair();
    void *data = NULL;
    check_is(ferry_claim(pair.tx, 5000, PATIENCE, &data), 0);
    close_sender(pair.tx);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(pair.rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(pair.rx);
    close_node(pair.node);
}

static void the_used_size_and_the_tag_are_what_receivers_see(void) {
    pair_t pair = open_pair();
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(pair.tx, 10000, PATIENCE, &data, &m), 0);
    check_error(ferry_msg_set_size(m, 10001), -EINVAL, "10001 10000");
    check_is(ferry_msg_set_size(m, 600), 0);
    check_is(ferry_msg_set_tag(m, 0xfeedfacecafebeef), 0);
    fill(data, 600, 5);
    check_is(ferry_send_msg(pair.tx, m, PATIENCE), 0);
    check_error(ferry_msg_set_size(m, 500), -EPERM, "sent");
    ferry_msg_t *got = receive(pair.rx);
    check_is(ferry_msg_size(got), 600);
    check(filled(ferry_msg_data(got), 600, 5));
    check_is(info_of(got).tag, 0xfeedfacecafebeef);
    check_error(ferry_msg_set_size(got, 10), -EPERM, "received");
    check_error(ferry_msg_set_tag(got, 10), -EPERM, "received");
    ferry_msg_info_t info = {.size = sizeof info};
    check_error(ferry_msg_info(m, &info), -EINVAL, "");
    release(got);
    release(m);
    close_pair(&pair);
}

static void the_same_message_may_be_sent_several_times(void) {
    pair_t pair = open_pair();
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(pair.tx, 5000, PATIENCE, &data, &m), 0);
    fill(data, 5000, 9);
    for (unsigned i = 0; i < 4; i++)
        check_is(ferry_send_msg(pair.tx, m, PATIENCE), 0);
    check_is(sender_stats(pair.tx).pool_blocks, 1);
    release(m);
    for (uint64_t i = 1; i <= 4; i++) {
        ferry_msg_t *got = receive(pair.rx);
        check(filled(ferry_msg_data(got), 5000, 9));
        check_is(info_of(got).sequence, i);
        check_is(sender_stats(pair.tx).pool_blocks, 1);
        release(got);
    }
    check_is(ferry_sender_flush(pair.tx, PATIENCE), 0);
    check_is(sender_stats(pair.tx).pool_blocks, 0);
    close_pair(&pair);
}

static void taking_by_copy_leaves_what_does_not_fit(void) {
    pair_t pair = open_pair();
    static unsigned char bytes[9000], copy[9000];
    for (uint64_t i = 0; i < 2; i++) {
        size_t size = i ? sizeof bytes : 70, len = 12345;
        fill(bytes, size, i);
        check_is(ferry_send(pair.tx, bytes, size, PATIENCE), 0);
        check_error(ferry_recv_into(pair.rx, copy, size - 1, PATIENCE, &len), -EMSGSIZE, "");
        check_is(len, size);
        len = 12345;
        check_is(ferry_recv_into(pair.rx, copy, sizeof copy, PATIENCE, &len), 0);
        check_is(len, size);
        check(filled(copy, size, i));
        check_error(ferry_recv_into(pair.rx, copy, sizeof copy, FERRY_NOW, &len), -EAGAIN, "");
    }
    check_is(receiver_stats(pair.rx).held, 0);
    check_is(receiver_stats(pair.rx).copies_made, 2);
    check_is(receiver_stats(pair.rx).copied_bytes, 9070);
    check_is(ferry_sender_flush(pair.tx, PATIENCE), 0);
    close_pair(&pair);
}

static void an_empty_message_is_a_message(void) {
    pair_t pair = open_pair();
    size_t len = 99;
    check_is(ferry_send(pair.tx, NULL, 0, PATIENCE), 0);
    check_is(ferry_recv_into(pair.rx, NULL, 0, PATIENCE, &len), 0);
    check_is(len, 0);
    check_is(ferry_send(pair.tx, "", 0, PATIENCE), 0);
    ferry_msg_t *m = receive(pair.rx);
    check_is(ferry_msg_size(m), 0);
    release(m);
    close_pair(&pair);
}

static void many_are_taken_at_once_in_order(void) {
    pair_t pair = open_pair();
    ferry_msg_t *taken[64];
    for (uint64_t i = 0; i < 100; i++)
        send_number(pair.tx, i);
    uint64_t next = 0;
    while (next < 100) {
        int count = ferry_recv_batch(pair.rx, taken, 64, PATIENCE);
        check(count >= 1 && count <= 64);
        for (int i = 0; i < count; i++) {
            check_is(number_in(taken[i]), next++);
            release(taken[i]);
        }
    }
    check_error(ferry_recv_batch(pair.rx, taken, 64, FERRY_NOW), -EAGAIN, "");
    check_error(ferry_recv_batch(pair.rx, taken, 64, MILLISECOND), -ETIMEDOUT, "");
    check_is(receiver_stats(pair.rx).messages, 100);
    close_pair(&pair);
}

static void each_reference_is_given_back_by_itself(void) {
    pair_t pair = open_pair();
    static unsigned char bytes[5000];
    fill(bytes, sizeof bytes, 3);
    check_is(ferry_send(pair.tx, bytes, sizeof bytes, PATIENCE), 0);
    ferry_msg_t *m = receive(pair.rx);
    check(ferry_msg_ref(m) == m);
    check(ferry_msg_ref(m) == m);
    release(m);
    release(m);
    check(filled(ferry_msg_data(m), sizeof bytes, 3));
    check_error(ferry_sender_flush(pair.tx, FERRY_NOW), -EAGAIN, "");
    release(m);
    check_is(ferry_sender_flush(pair.tx, PATIENCE), 0);
    check_is(ferry_msg_release(m), -EBADF);
    check(ferry_msg_data(m) == NULL);
    check_is(ferry_msg_release(NULL), 0);
    close_pair(&pair);
}

/* ---- releasing in any order, from any thread ---- */

#define HELD 200

static void *release_shuffled(void *arg) {
    ferry_msg_t **held = arg;
    for (unsigned i = 0; i < HELD; i++) {
        unsigned place = i * 77 % HELD; /* 77 and 200 have no common divisor: every place once */
        check_is(ferry_msg_size(held[place]), place % 2 ? 3000 : 20);
        check(filled(ferry_msg_data(held[place]), ferry_msg_size(held[place]), place));
        release(held[place]);
    }
    return NULL;
}

static void send_for_release(ferry_t *node, void *arg) {
    static __thread unsigned char bytes[3000];
    (void)arg;
    ferry_sender_t *tx = open_sender(node, "any", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < HELD; i++) {
        size_t size = i % 2 ? 3000 : 20;
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(sender_stats(tx).pool_blocks, 0);
    check_is(sender_stats(tx).unreleased, 0);
    close_sender(tx);
}

static void messages_are_released_in_any_order_and_by_any_thread(where_t where) {
    ferry_msg_t *held[HELD];
    pthread_t thread;
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_for_release, NULL);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "any", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < HELD; i++)
        held[i] = receive(rx);
    check_is(receiver_stats(rx).held, HELD);
    check_is(pthread_create(&thread, NULL, release_shuffled, held), 0);
    check_is(pthread_join(thread, NULL), 0);
    check_is(receiver_stats(rx).held, 0);
    crew_join(crew, 0);
    close_receiver(rx);
    crew_end(crew);
}

/* ---- held when the receiver closes ---- */

static void a_message_held_when_its_receiver_closed_stays_as_it_was_sent(void) {
    static unsigned char bytes[5000];
    ferry_t *node = open_node("test");
    for (unsigned round = 0; round < 2; round++) {
        ferry_kind_t kind = round ? FERRY_TOPIC : FERRY_QUEUE;
        size_t size = sizeof bytes;
        ferry_sender_t *tx = open_sender(node, round ? "t" : "q", kind, NULL);
        ferry_receiver_t *rx = open_receiver(node, round ? "t" : "q", kind, NULL);
        ferry_receiver_t *other = open_receiver(node, round ? "t" : "q", kind, NULL);
        fill(bytes, size, 1);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        ferry_msg_t *held = NULL;
        while (!held) { /* a queue's message may have gone to either */
            if (ferry_recv(rx, MILLISECOND, &held) != 0 && ferry_recv(other, MILLISECOND, &held) == 0) {
                ferry_receiver_t *swap = rx;
                rx = other;
                other = swap;
            }
        }
        check_is(ferry_receiver_close(rx), 1);
        for (unsigned i = 0; i < 300; i++) { /* long enough to come round to the same memory */
            ferry_msg_t *m = receive(other);
            check(filled(ferry_msg_data(m), size, i + 1));
            release(m);
            fill(bytes, size, i + 2);
            check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        }
        check(filled(ferry_msg_data(held), size, 1));
        release(held);
        release(receive(other));
        close_sender(tx);
        close_receiver(other);
    }
    close_node(node);
}

/* ---- sending on ---- */

static void pass_on(ferry_t *node, void *arg) {
    (void)arg;
    ferry_receiver_t *rx = open_receiver(node, "first", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "second", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 10; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
    }
    check_is(sender_stats(tx).copies_made, 10);
    check_is(sender_stats(tx).copied_bytes, 5 * 30 + 5 * 6000);
    close_sender(tx);
    close_receiver(rx);
}

static void a_received_message_is_sent_on_as_one_counted_copy(where_t where) {
    static unsigned char bytes[6000];
    crew_t *crew = crew_begin(where);
    crew_add(crew, pass_on, NULL);
    ferry_sender_t *tx = open_sender(crew_node(crew), "first", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "second", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 10; i++) {
        size_t size = i % 2 ? 6000 : 30;
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), size);
        check(filled(ferry_msg_data(m), size, i));
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    crew_end(crew);
}

static void a_message_of_another_sender_is_sent_as_one_counted_copy(void) {
    pair_t pair = open_pair();
    ferry_sender_t *other = open_sender(pair.node, "q", FERRY_QUEUE, NULL);
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(other, 7000, PATIENCE, &data, &m), 0);
    fill(data, 7000, 4);
    check_is(ferry_send_msg(pair.tx, m, PATIENCE), 0);
    check_is(sender_stats(pair.tx).copies_made, 1);
    check_is(sender_stats(pair.tx).copied_bytes, 7000);
    check_is(sender_stats(other).messages, 0);
    ferry_msg_t *got = receive(pair.rx);
    fill(data, 7000, 5); /* it has not been sent by its own sender: still ours to write */
    check(filled(ferry_msg_data(got), 7000, 4));
    release(got);
    release(m);
    close_sender(other);
    close_pair(&pair);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(every_size_arrives_unchanged_however_it_is_sent),
        TEST_BOTH(sixty_four_mebibytes_arrive_unchanged),
        TEST(less_may_be_committed_than_was_claimed),
        TEST(what_a_claim_holds_beyond_its_message_is_nothing),
        TEST(an_aborted_claim_leaves_no_trace),
        TEST(claims_are_used_one_at_a_time_and_in_order),
        TEST(a_claim_that_is_open_when_the_sender_closes_is_given_up),
        TEST(the_used_size_and_the_tag_are_what_receivers_see),
        TEST(the_same_message_may_be_sent_several_times),
        TEST(taking_by_copy_leaves_what_does_not_fit),
        TEST(an_empty_message_is_a_message),
        TEST(many_are_taken_at_once_in_order),
        TEST(each_reference_is_given_back_by_itself),
        TEST_BOTH(messages_are_released_in_any_order_and_by_any_thread),
        TEST(a_message_held_when_its_receiver_closed_stays_as_it_was_sent),
        TEST_BOTH(a_received_message_is_sent_on_as_one_counted_copy),
        TEST(a_message_of_another_sender_is_sent_as_one_counted_copy),
    };
    return run_suite("message", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * queue.c - queues: each message to one receiver, nothing lost, nothing doubled, in order for each sender.
 */
#include "harness.h"

#include <string.h>
#include <unistd.h>

#define SENDERS_MAX 8
#define EACH 6000

/* What the ends of one run share. A message is its sender's number and its place in that sender's order. */
typedef struct traffic {
    unsigned senders;
    uint64_t total;
    ferry_wait_t wait;
    uint32_t capacity;
    atomic_uint next_sender;
    atomic_uint received;
    atomic_uchar seen[SENDERS_MAX][EACH];
} traffic_t;

typedef struct item {
    uint32_t sender;
    uint32_t place;
    unsigned char bytes[120]; /* every third message is longer than one line of the ring */
} item_t;

static size_t item_size(uint32_t place) {
    return place % 3 ? 8 : 8 + place % 113;
}

static void send_all(ferry_t *node, void *arg) {
    traffic_t *traffic = arg;
    uint32_t self = atomic_fetch_add(&traffic->next_sender, 1);
    ferry_contract_t contract = {.wait = traffic->wait, .capacity = traffic->capacity};
    ferry_sender_t *tx = open_sender(node, "items", FERRY_QUEUE, &contract);
    for (uint32_t place = 0; place < EACH; place++) {
        item_t item = {.sender = self, .place = place};
        size_t size = item_size(place);
        fill(item.bytes, size - 8, place);
        check_is(ferry_send(tx, &item, size, PATIENCE), 0);
    }
    close_sender(tx);
}

static void receive_one(traffic_t *traffic, ferry_msg_t *m, int64_t *last) {
    item_t item;
    size_t size = ferry_msg_size(m);
    check(size >= 8 && size <= sizeof item);
    memcpy(&item, ferry_msg_data(m), size);
    check(item.sender < traffic->senders && item.place < EACH);
    check_is(size, item_size(item.place));
    check(filled(item.bytes, size - 8, item.place));
    check((int64_t)item.place > last[item.sender]);
    last[item.sender] = item.place;
    check_is(info_of(m).attempt, 1);
    check_is(atomic_fetch_add(&traffic->seen[item.sender][item.place], 1), 0);
    release(m);
    atomic_fetch_add(&traffic->received, 1);
}

static void receive_all(ferry_t *node, void *arg) {
    traffic_t *traffic = arg;
    int64_t last[SENDERS_MAX];
    memset(last, -1, sizeof last);
    ferry_receiver_options_t options = {.wait = traffic->wait};
    ferry_receiver_t *rx = open_receiver(node, "items", FERRY_QUEUE, &options);
    unsigned silent = 0;
    while (atomic_load(&traffic->received) < traffic->total) {
        ferry_msg_t *m = NULL;
        int answer = ferry_recv(rx, 20 * MILLISECOND, &m);
        if (answer == 0) {
            receive_one(traffic, m, last);
            silent = 0;
        } else { /* all that have come so far may have gone, and others may still come */
            check(answer == -ETIMEDOUT || answer == -EPIPE);
            check(++silent < PATIENCE / (20 * MILLISECOND));
            nap(MILLISECOND);
        }
    }
    close_receiver(rx);
}

static void run_traffic(where_t where, unsigned senders, unsigned receivers, ferry_wait_t wait, uint32_t capacity) {
    traffic_t *traffic = share(sizeof *traffic);
    traffic->senders = senders;
    traffic->total = (uint64_t)senders * EACH;
    traffic->wait = wait;
    traffic->capacity = capacity;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < senders || i < receivers; i++) {
        if (i < senders)
            crew_add(crew, send_all, traffic);
        if (i < receivers)
            crew_add(crew, receive_all, traffic);
    }
    crew_end(crew);
    for (unsigned s = 0; s < senders; s++)
        for (unsigned i = 0; i < EACH; i++)
            check_is(traffic->seen[s][i], 1);
}

static void one_sender_and_one_receiver_lose_and_double_nothing(where_t where) {
    run_traffic(where, 1, 1, FERRY_WAIT_ADAPTIVE, 0);
}

static void many_senders_and_one_receiver_lose_and_double_nothing(where_t where) {
    run_traffic(where, 5, 1, FERRY_WAIT_ADAPTIVE, 0);
}

static void one_sender_and_many_receivers_lose_and_double_nothing(where_t where) {
    run_traffic(where, 1, 4, FERRY_WAIT_ADAPTIVE, 0);
}

static void many_senders_and_many_receivers_lose_and_double_nothing(where_t where) {
    run_traffic(where, 4, 3, FERRY_WAIT_ADAPTIVE, 0);
}

static void sleeping_ends_lose_no_wake_up(where_t where) {
    run_traffic(where, 2, 2, FERRY_WAIT_BLOCK, 3);
}

static void a_tiny_capacity_loses_nothing(where_t where) {
    run_traffic(where, 2, 1, FERRY_WAIT_ADAPTIVE, 1);
}

/* ---- round trips: an end that sleeps at the wrong moment would hang here ---- */

#define TRIPS 3000

static void answer_trips(ferry_t *node, void *arg) {
    const ferry_wait_t *wait = arg;
    ferry_receiver_options_t options = {.wait = *wait};
    ferry_receiver_t *rx = open_receiver(node, "there", FERRY_QUEUE, &options);
    ferry_sender_t *tx = open_sender(node, "back", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < TRIPS; i++)
        send_number(tx, receive_number(rx) + 1);
    close_sender(tx);
    close_receiver(rx);
}

static void make_trips(where_t where, ferry_wait_t wait) {
    ferry_wait_t *shared = share(sizeof *shared);
    *shared = wait;
    crew_t *crew = crew_begin(where);
    crew_add(crew, answer_trips, shared);
    ferry_receiver_options_t options = {.wait = wait};
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "back", FERRY_QUEUE, &options);
    ferry_sender_t *tx = open_sender(crew_node(crew), "there", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < TRIPS; i++) {
        send_number(tx, i);
        check_is(receive_number(rx), i + 1);
        if (i % 100 == 0)
            nap(MILLISECOND / 10); /* let the other side fall asleep now and then */
    }
    close_sender(tx);
    close_receiver(rx);
    crew_end(crew);
}

static void every_question_is_answered_when_both_sleep(where_t where) {
    make_trips(where, FERRY_WAIT_BLOCK);
}

static void every_question_is_answered_when_both_adapt(where_t where) {
    make_trips(where, FERRY_WAIT_ADAPTIVE);
}

static void every_question_is_answered_when_both_spin(where_t where) {
    make_trips(where, FERRY_WAIT_SPIN);
}

/* ---- fairness ---- */

#define FLOOD 4000

typedef struct flood {
    atomic_uint flooded;
    atomic_uint done;
} flood_t;

static void flood_queue(ferry_t *node, void *arg) {
    flood_t *flood = arg;
    ferry_sender_t *tx = open_sender(node, "shared", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned i = 0; i < FLOOD; i++) {
        char bytes[64] = "flood";
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    }
    atomic_store(&flood->flooded, 1);
    await(&flood->done, 1);
    close_sender(tx);
}

/* A turn is at most one quantum of bytes: this is a bound on the order, whatever the speed. */
static void a_flood_from_one_sender_does_not_delay_another(where_t where) {
    const uint32_t quantum = 1024;
    flood_t *flood = share(sizeof *flood);
    crew_t *crew = crew_begin(where);
    crew_add(crew, flood_queue, flood);
    ferry_receiver_options_t options = {.quantum = quantum};
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "shared", FERRY_QUEUE, &options);
    ferry_sender_t *polite = open_sender(crew_node(crew), "shared", FERRY_QUEUE, NULL);
    await(&flood->flooded, 1);
    for (unsigned round = 0; round < 10; round++) {
        check_is(ferry_send(polite, "please", 7, PATIENCE), 0);
        unsigned before = 0;
        for (bool polite_came = false; !polite_came;) {
            ferry_msg_t *m = receive(rx);
            polite_came = ferry_msg_size(m) == 7;
            before += !polite_came;
            release(m);
        }
        /* The turn that has begun, and a whole one. */
        check(before <= 2 * quantum / 64);
    }
    atomic_store(&flood->done, 1);
    while (ferry_receiver_senders(rx) > 1) {
        ferry_msg_t *m = NULL;
        if (ferry_recv(rx, MILLISECOND, &m) == 0)
            release(m);
    }
    close_sender(polite);
    close_receiver(rx);
    crew_end(crew);
}

/* ---- many ends ---- */

static void a_hundred_channels_of_one_node_do_not_mix(void) {
    enum { CHANNELS = 100 };
    static ferry_sender_t *tx[CHANNELS];
    static ferry_receiver_t *rx[CHANNELS];
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < CHANNELS; i++) {
        char name[16] = {'c', (char)('0' + i / 10), (char)('0' + i % 10)};
        tx[i] = open_sender(node, name, FERRY_QUEUE, NULL);
        rx[i] = open_receiver(node, name, FERRY_QUEUE, NULL);
    }
    for (uint64_t i = 0; i < CHANNELS; i++)
        send_number(tx[i], i);
    for (unsigned i = CHANNELS; i-- > 0;)
        check_is(receive_number(rx[i]), i);
    for (unsigned i = 0; i < CHANNELS; i++) {
        ferry_msg_t *m = NULL;
        check_error(ferry_recv(rx[i], FERRY_NOW, &m), -EAGAIN, "");
        check(m == NULL);
        close_sender(tx[i]);
        close_receiver(rx[i]);
    }
    close_node(node);
}

static void the_message_tells_its_sender_and_its_number(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *a = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *b = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    uint64_t ends[2] = {0, 0};
    check_is(ferry_receiver_senders(rx), 2);
    for (uint64_t i = 0; i < 5; i++) {
        send_number(a, 0);
        send_number(b, 1);
    }
    uint64_t sequence[2] = {0, 0};
    for (unsigned i = 0; i < 10; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t who = number_in(m);
        ferry_msg_info_t info = info_of(m);
        check(who < 2);
        check_is(info.sender_node, ferry_node_id(node));
        check_is(info.sequence, ++sequence[who]);
        check(ends[who] == 0 || ends[who] == info.sender);
        ends[who] = info.sender;
        check_is(info.lost_before, 0);
        check_is(info.time_ns, 0);
        check_is(info.tag, 0);
        release(m);
    }
    check(ends[0] != ends[1]);
    close_sender(a);
    close_sender(b);
    close_receiver(rx);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(one_sender_and_one_receiver_lose_and_double_nothing),
        TEST_BOTH(many_senders_and_one_receiver_lose_and_double_nothing),
        TEST_BOTH(one_sender_and_many_receivers_lose_and_double_nothing),
        TEST_BOTH(many_senders_and_many_receivers_lose_and_double_nothing),
        TEST_BOTH(sleeping_ends_lose_no_wake_up),
        TEST_BOTH(a_tiny_capacity_loses_nothing),
        TEST_BOTH(every_question_is_answered_when_both_sleep),
        TEST_BOTH(every_question_is_answered_when_both_adapt),
        TEST_BOTH(every_question_is_answered_when_both_spin),
        TEST_BOTH(a_flood_from_one_sender_does_not_delay_another),
        TEST(a_hundred_channels_of_one_node_do_not_mix),
        TEST(the_message_tells_its_sender_and_its_number),
    };
    return run_suite("queue", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_durable_large.c - durable messages that are larger than the server takes at once: they go in pieces, and are
 * delivered, acknowledged and given back as one; nobody ever sees half of one.
 *
 * Each test has a server of its own; a "machine" is a directory of its own (engine.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay.h"

#define MIB (1ull << 20)

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

static ferry_t *on(const engine_t *e, const char *machine) {
    engine_machine(e, machine);
    return open_node(engine_space(e));
}

/* A message of this size, with the pattern of `seed`. */
static void send_filled(ferry_sender_t *tx, size_t size, uint64_t seed) {
    void *data;
    ferry_msg_t *m;
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    fill(data, size, seed);
    check_is(ferry_msg_set_tag(m, seed), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

static void check_filled(const ferry_msg_t *m, size_t size, uint64_t seed) {
    check_is(info_of((ferry_msg_t *)(uintptr_t)m).tag, seed);
    check_is(ferry_msg_size(m), size);
    check(filled(ferry_msg_data(m), size, seed));
}

static int note(const ferry_durable_info_t *info, void *arg) {
    *(ferry_durable_info_t *)arg = *info;
    return 0;
}

static uint64_t stored_bytes(ferry_t *node) {
    ferry_durable_info_t found = {.bytes = 0};
    check_is(ferry_durable_each(node, note, &found), 0);
    return found.bytes;
}

static bool stores_nothing(void *node) {
    return stored_bytes(node) == 0;
}

static bool stores_some(void *node) {
    return stored_bytes(node) > 4 * MIB;
}

static const size_t sizes[] = {10, 3 * MIB, 1000, MIB, 9 * MIB + 5, 0, MIB - 1024, MIB - 1023};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void large_and_small_ones_come_whole_and_in_order(void) {
    engine_t *e = engine_start();
    ferry_t *a = on(e, "a");
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    for (uint64_t i = 0; i < SIZES; i++) {
        send_filled(tx, sizes[i], i + 1);
    }
    close_sender(tx);
    engine_restart(e);
    ferry_t *b = on(e, "b");
    ferry_receiver_t *rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *held[SIZES];
    for (uint64_t i = 0; i < SIZES; i++) {
        held[i] = receive(rx);
        check_filled(held[i], sizes[i], i + 1);
        check_is(info_of(held[i]).attempt, 1);
    }
    for (int i = 0; i < SIZES; i++) {
        release(held[i]);
    }
    await_that(stores_nothing, b, "what is released is gone, with all pieces");
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(e);
}

static void one_that_is_given_back_comes_whole_again(void) {
    engine_t *e = engine_start();
    ferry_t *a = on(e, "a");
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    ferry_receiver_t *rx = open_receiver(a, "jobs", FERRY_QUEUE, &takes_durable);
    send_filled(tx, 3 * MIB, 77);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_receiver_close(rx), 1);
    release(m);
    ferry_t *b = on(e, "b");
    rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    m = receive(rx);
    check_filled(m, 3 * MIB, 77);
    release(m);
    close_receiver(rx);
    close_sender(tx);
    close_node(a);
    close_node(b);
    engine_stop(e);
}

static void nothing_is_lost_when_the_server_is_killed_in_the_middle(void) {
    engine_t *e = engine_start();
    ferry_t *a = on(e, "a");
    ferry_t *b = on(e, "b");
    ferry_receiver_t *rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    send_filled(tx, 12 * MIB, 1);
    send_filled(tx, 12 * MIB, 2);
    nap(15 * MILLISECOND);
    engine_restart(e);
    bool seen[3] = {false};
    while (!seen[1] || !seen[2]) {
        ferry_msg_t *m = receive(rx);
        uint64_t seed = info_of(m).tag;
        check(seed == 1 || seed == 2);
        check(!seen[seed] || info_of(m).attempt > 1);
        check_filled(m, 12 * MIB, seed);
        seen[seed] = true;
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(e);
}

/* The server has no room for all of it: so its sender dies in the middle. */
static void send_too_much(void *arg) {
    ferry_t *node = on(arg, "mortal");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    send_filled(tx, 20 * MIB, 5);
    nap(60 * SECOND);
}

static void half_a_message_is_delivered_to_nobody_and_swept(void) {
    char file[512];
    snprintf(file, sizeof file, "%s/small.conf", getenv("FERRY_DIR"));
    FILE *out = fopen(file, "w");
    check(out != NULL);
    fprintf(out, "jetstream { max_file_store: 8000000 }\n");
    check(fclose(out) == 0);
    const char *const arguments[] = {"-c", file, NULL};
    engine_t *e = engine_start_with(arguments);
    pid_t mortal = child_start(send_too_much, e);
    ferry_t *node = on(e, "a");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    await_that(stores_some, node, "pieces are stored");
    child_kill(mortal);
    ferry_msg_t *m;
    check_error(ferry_recv(rx, 100 * MILLISECOND, &m), -ETIMEDOUT, "");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    check(stores_nothing(node));
    send_filled(tx, 5 * MIB, 9); /* for which there would have been no room */
    m = receive(rx);
    check_filled(m, 5 * MIB, 9);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
    unlink(file);
}

static bool stores_a_head(void *node) {
    ferry_durable_info_t found = {.messages = 0};
    check_is(ferry_durable_each(node, note, &found), 0);
    return found.messages > 0;
}

/* The engine knows the head's id, and has neither head nor pieces any more: as if they had been swept, and the head
 * dropped, while the sender was away. (A purge forgets no id, and takes a second; a sweep takes seven.) */
static void one_that_is_gone_when_its_sender_comes_back_is_put_once_more(void) {
    engine_t *e = engine_start();
    relay_t *line = relay_start(e);
    ferry_t *b = on(e, "b");
    engine_machine(e, "a");
    ferry_t *a = open_node(relay_space(line));
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    bool told = true; /* before the line was cut: this machine stood still meanwhile */
    for (int i = 0; told && i < 10; i++) {
        relay_delay(line, 200 * MILLISECOND); /* so long is the answer to the head on its way */
        send_filled(tx, 2 * MIB, 3);
        nap(800 * MILLISECOND); /* of the five ways that it takes, a bit less than four: asking costs */
        await_that(stores_a_head, b, "the head is stored");
        relay_refuse(line, true);
        told = ferry_sender_flush(tx, FERRY_NOW) == 0;
        check_is(ferry_durable_purge(b, "jobs", 0, NULL), 0);
        relay_delay(line, 0);
        relay_refuse(line, false);
    }
    ferry_receiver_t *rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m = receive(rx);
    check_filled(m, 2 * MIB, 3);
    release(m);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(a);
    close_node(b);
    relay_stop(line);
    engine_stop(e);
}

static void topics_have_them_too(void) {
    engine_t *e = engine_start();
    const ferry_receiver_options_t all = {.size = sizeof all, .contract = &durable, .replay = FERRY_REPLAY_ALL};
    ferry_t *nodes[2] = {on(e, "a"), on(e, "b")};
    ferry_sender_t *tx = open_sender(nodes[0], "news", FERRY_TOPIC, &durable);
    ferry_receiver_t *rx[2];
    rx[0] = open_receiver(nodes[0], "news", FERRY_TOPIC, &takes_durable);
    for (uint64_t i = 0; i < SIZES; i++) {
        send_filled(tx, sizes[i], i + 1);
    }
    rx[1] = open_receiver(nodes[1], "news", FERRY_TOPIC, &all);
    for (int k = 0; k < 2; k++) {
        for (uint64_t i = 0; i < SIZES; i++) {
            ferry_msg_t *m = receive(rx[k]);
            check_filled(m, sizes[i], i + 1);
            check_is(info_of(m).lost_before, 0);
            release(m);
        }
        close_receiver(rx[k]);
    }
    close_sender(tx);
    close_node(nodes[0]);
    close_node(nodes[1]);
    engine_stop(e);
}

/* The eleventh is number b, and "b" is also what stands before the number. */
static void many_come_one_after_the_other(void) {
    enum { MANY = 12 };
    engine_t *e = engine_start();
    ferry_t *node = on(e, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    for (uint64_t i = 0; i < MANY; i++) {
        ferry_msg_t *m;
        send_filled(tx, MIB + 1, i);
        check_is(ferry_recv(rx, PATIENCE, &m), 0);
        check_filled(m, MIB + 1, i);
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

static void allow(const char *file, const char *bytes) {
    FILE *out = fopen(file, "w");
    check(out != NULL);
    fprintf(out, "jetstream: enabled\nmax_payload: %s\n", bytes);
    check(fclose(out) == 0);
}

/* What a server took before may be more than it takes now: then it goes in pieces, too. */
static void what_waits_for_a_server_that_takes_less_now_goes_in_pieces(bool reload) {
    char file[300];
    snprintf(file, sizeof file, "%s/.most", getenv("FERRY_DIR"));
    allow(file, "1MB");
    const char *const arguments[] = {"-c", file, NULL};
    engine_t *e = engine_start_with(arguments);
    ferry_t *node = on(e, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    send_filled(tx, MIB / 2, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    allow(file, "64KB");
    if (reload) {
        engine_reload(e);
        nap(200 * MILLISECOND);
    } else {
        engine_kill(e);
    }
    send_filled(tx, MIB / 2, 2);
    send_filled(tx, 10, 3);
    if (!reload)
        engine_restart(e);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    static const size_t each[] = {MIB / 2, MIB / 2, 10};
    uint64_t next = 1;
    while (next <= 3) {
        ferry_msg_t *m = receive(rx);
        uint64_t seed = info_of(m).tag;
        check(seed == next || (seed < next && info_of(m).attempt > 1));
        check_filled(m, each[seed - 1], seed);
        next = seed == next ? next + 1 : next;
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
    unlink(file);
}

static void what_waits_for_a_server_that_restarts_and_takes_less_goes_in_pieces(void) {
    what_waits_for_a_server_that_takes_less_now_goes_in_pieces(false);
}

static void what_is_sent_to_a_server_that_takes_less_now_goes_in_pieces(void) {
    what_waits_for_a_server_that_takes_less_now_goes_in_pieces(true);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(large_and_small_ones_come_whole_and_in_order),
        TEST(one_that_is_given_back_comes_whole_again),
        TEST(nothing_is_lost_when_the_server_is_killed_in_the_middle),
        TEST(half_a_message_is_delivered_to_nobody_and_swept),
        TEST(one_that_is_gone_when_its_sender_comes_back_is_put_once_more),
        TEST(topics_have_them_too),
        TEST(many_come_one_after_the_other),
        TEST(what_waits_for_a_server_that_restarts_and_takes_less_goes_in_pieces),
        TEST(what_is_sent_to_a_server_that_takes_less_now_goes_in_pieces),
    };
    return run_suite("net_durable_large", tests, sizeof tests / sizeof tests[0], argc, argv);
}

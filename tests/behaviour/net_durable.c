/* SPDX-License-Identifier: MIT
 *
 * net_durable.c - durable queues: what is sent outlives its sender and the server, is delivered at least once, and is
 * acknowledged exactly when it is released.
 *
 * Each test has a server of its own; a "machine" is a directory of its own (engine.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"

#define MESSAGES 3000u

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

/* What the processes of a test share. */
typedef struct stage {
    engine_t *engine;
    atomic_uint ready;
    atomic_uint received;
} stage_t;

static stage_t *stage_new(void) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    return s;
}

static ferry_t *on(stage_t *s, const char *machine) {
    engine_machine(s->engine, machine);
    return open_node(engine_space(s->engine));
}

static void send_from(stage_t *s, const char *machine, uint64_t from, uint64_t count) {
    ferry_t *node = on(s, machine);
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    for (uint64_t i = from; i < from + count; i++) {
        send_number(tx, i);
    }
    close_sender(tx);
    close_node(node);
}

/* Nothing more comes: what was released is gone. */
static void check_empty(stage_t *s) {
    ferry_t *node = on(s, "last");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m;
    check_error(ferry_recv(rx, 100 * MILLISECOND, &m), -ETIMEDOUT, "");
    close_receiver(rx);
    close_node(node);
}

static void messages_outlive_their_sender_and_the_server(void) {
    stage_t *s = stage_new();
    send_from(s, "a", 0, 100);
    engine_restart(s->engine);
    send_from(s, "a", 100, 100);
    ferry_t *node = on(s, "b");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL); /* has no opinion: it is as it is */
    uint64_t last = 0;
    for (uint64_t i = 0; i < 200; i++) {
        ferry_msg_t *m = receive(rx);
        ferry_msg_info_t info = info_of(m);
        check_is(number_in(m), i);
        check_is(info.attempt, 1);
        check_is(info.sender_node, UINT64_MAX);
        check(info.sequence > last);
        last = info.sequence;
        release(m);
    }
    close_receiver(rx);
    check_empty(s);
    close_node(node);
    engine_stop(s->engine);
}

static void tags_and_sizes_stay(void) {
    static const size_t sizes[] = {0, 1, 64, 5000, 1000000};
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *data;
        ferry_msg_t *m;
        check_is(ferry_msg_new(tx, sizes[i], PATIENCE, &data, &m), 0);
        fill(data, sizes[i], i);
        check_is(ferry_msg_set_tag(m, 7000 + i), 0);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
        m = receive(rx);
        check_is(ferry_msg_size(m), sizes[i]);
        check(filled(ferry_msg_data(m), sizes[i], i));
        check_is(info_of(m).tag, 7000 + i);
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void receivers_everywhere_share_it(void) {
    stage_t *s = stage_new();
    static unsigned seen[MESSAGES];
    ferry_t *nodes[] = {on(s, "a"), on(s, "b")};
    ferry_receiver_t *rx[3];
    for (int i = 0; i < 3; i++) {
        rx[i] = open_receiver(nodes[i % 2], "jobs", FERRY_QUEUE, &takes_durable);
    }
    ferry_sender_t *tx = open_sender(nodes[0], "jobs", FERRY_QUEUE, &durable);
    unsigned of[3] = {0};
    uint64_t sent = 0;
    for (unsigned got = 0; got < MESSAGES;) {
        for (int i = 0; i < 50 && sent < MESSAGES; i++) {
            send_number(tx, sent++);
        }
        for (int i = 0; i < 3; i++) {
            ferry_msg_t *m;
            while (ferry_recv(rx[i], MILLISECOND, &m) == 0) {
                check_is(++seen[number_in(m)], 1);
                of[i]++;
                got++;
                release(m);
            }
        }
    }
    check(of[0] > 0 && of[1] > 0 && of[2] > 0);
    close_sender(tx);
    for (int i = 0; i < 3; i++) {
        close_receiver(rx[i]);
    }
    check_empty(s);
    close_node(nodes[0]);
    close_node(nodes[1]);
    engine_stop(s->engine);
}

/* Takes ten, releases all but the third, and dies. */
static void hold_one_and_die(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "mortal");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m[10];
    for (int i = 0; i < 10; i++) {
        m[i] = receive(rx);
    }
    check_is(ferry_msg_reject(m[3], 0), 0);
    m[3] = receive(rx);
    check_is(number_in(m[3]), 3);
    for (int i = 0; i < 10; i++) {
        if (i != 3) {
            release(m[i]);
        }
    }
    nap(300 * MILLISECOND); /* the acknowledgements leave */
    atomic_store(&s->received, 1);
    nap(60 * SECOND);
}

static void only_what_a_dead_receiver_held_comes_again(void) {
    stage_t *s = stage_new();
    pid_t mortal = child_start(hold_one_and_die, s);
    send_from(s, "a", 0, 10);
    await(&s->received, 1);
    child_kill(mortal);
    ferry_t *node = on(s, "b");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 3);
    check_is(info_of(m).attempt, 3);
    release(m);
    close_receiver(rx);
    check_empty(s);
    close_node(node);
    engine_stop(s->engine);
}

static void a_closing_receiver_gives_back_what_it_held(void) {
    stage_t *s = stage_new();
    send_from(s, "a", 0, 3);
    ferry_t *a = on(s, "a");
    ferry_receiver_t *rx = open_receiver(a, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 0);
    check_is(ferry_receiver_close(rx), 1);
    release(m);
    ferry_t *b = on(s, "b");
    rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    bool seen[3] = {false};
    for (int i = 0; i < 3; i++) {
        m = receive(rx);
        check(number_in(m) < 3 && !seen[number_in(m)]);
        seen[number_in(m)] = true;
        release(m);
    }
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

static void a_sender_has_its_share_and_no_more(void) {
    const ferry_contract_t small = {.size = sizeof small, .durable = FERRY_DURABLE, .capacity = 8};
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &small);
    uint64_t sent = 0;
    while (ferry_send(tx, &sent, sizeof sent, SECOND) == 0) {
        check(++sent <= 16);
    }
    check_is(sent, 16); /* eight are stored, eight wait here */
    ferry_sender_t *other = open_sender(node, "jobs", FERRY_QUEUE, &small);
    send_number(other, 1000);
    check_is(ferry_sender_flush(other, PATIENCE), 0); /* it has its own */
    close_sender(other);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    uint64_t next = 0;
    for (uint64_t got = 0; got < 33; got++) {
        uint64_t number = receive_number(rx);
        check(number == 1000 || number == next++);
        if (number != 1000 && sent < 32) {
            send_number(tx, sent++);
        }
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

/* What does not fit one machine's contract is left to others, and keeps nothing back. */
static void a_message_that_does_not_fit_stands_in_nobodys_way(void) {
    const ferry_contract_t eight = {.size = sizeof eight, .durable = FERRY_DURABLE, .type_size = 8};
    const ferry_receiver_options_t takes_eight = {.size = sizeof takes_eight, .contract = &eight};
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a");
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    check_is(ferry_send(tx, "other", 5, PATIENCE), 0);
    send_number(tx, 1);
    close_sender(tx);
    ferry_receiver_t *rx = open_receiver(a, "jobs", FERRY_QUEUE, &takes_eight);
    check_is(receive_number(rx), 1);
    close_receiver(rx);
    ferry_t *b = on(s, "b");
    rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_size(m), 5);
    release(m);
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

/* Each has its own share, from the first message on: a hundred fit at once. */
static void a_second_sender_of_a_node_has_its_own_share(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx[8];
    for (int i = 0; i < 8; i++) {
        tx[i] = open_sender(node, "jobs", FERRY_QUEUE, &durable);
        for (uint64_t k = 0; k < 100; k++) {
            send_number(tx[i], k);
        }
        check_is(ferry_sender_flush(tx[i], PATIENCE), 0); /* nobody receives: all are stored */
    }
    for (int i = 0; i < 8; i++) {
        close_sender(tx[i]);
    }
    close_node(node);
    engine_stop(s->engine);
}

/* An end that is opened waits a second for nodes elsewhere; on a busy machine it may be open before they have
 * answered. */
static void expect_it_is_refused(ferry_t *node, const ferry_receiver_options_t *wants) {
    ferry_receiver_t *none;
    int r = 0;
    for (int64_t limit = monotonic() + PATIENCE; r == 0 && monotonic() < limit;)
        if ((r = ferry_receiver_open(node, "jobs", FERRY_QUEUE, wants, &none)) == 0)
            check_is(ferry_receiver_close(none), 0);
    check_error(r, -EPROTOTYPE, "durable");
}

static void what_cannot_be_durable_says_so(void) {
    const ferry_contract_t plain = {.size = sizeof plain, .durable = FERRY_DURABLE_NOT};
    ferry_sender_t *tx;
    ferry_receiver_t *none;
    stage_t *s = stage_new();
    ferry_t *local = open_node("local");
    check_error(ferry_sender_open(local, "jobs", FERRY_QUEUE, &durable, &tx), -ENOTSUP, "nats://");
    close_node(local);
    ferry_t *a = on(s, "a");
    tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    ferry_t *b = on(s, "b");
    const ferry_receiver_options_t wants = {.size = sizeof wants, .contract = &plain};
    check_error(ferry_receiver_open(a, "jobs", FERRY_QUEUE, &wants, &none), -EPROTOTYPE, "durable");
    expect_it_is_refused(b, &wants);
    ferry_receiver_t *rx = open_receiver(b, "memory", FERRY_QUEUE, NULL);
    check_error(ferry_sender_open(a, "memory", FERRY_QUEUE, &durable, &(ferry_sender_t *){NULL}), -EPROTOTYPE,
                "durable");
    close_receiver(rx);
    close_sender(tx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

/* The server is not asked to make what then cannot be opened: it would keep that, and whoever opens it next without an
 * opinion would have it durable. */
static void what_is_wrong_leaves_no_queue_behind(void) {
    const ferry_contract_t bad[] = {{.durable = FERRY_DURABLE, .rendezvous = 1},
                                    {.durable = FERRY_DURABLE, .quota = 5},
                                    {.durable = FERRY_DURABLE, .wait = 9},
                                    {.durable = FERRY_DURABLE, .plain = 1},
                                    {.durable = FERRY_DURABLE, .type_name = "a b"}};
    const ferry_receiver_options_t wrong[] = {{.contract = &durable, .wait = 9},
                                              {.contract = &durable, .depth = 3},
                                              {.contract = &durable, .plain = 1},
                                              {.contract = &durable, .max_attempts = 2, .dead_letter = "jobs"}};
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ferry_sender_t *tx;
        int r = ferry_sender_open(node, "jobs", FERRY_QUEUE, &bad[i], &tx);
        check(r == -EINVAL || r == -ENOTSUP);
        check_error(ferry_durable_purge(node, "jobs", 0, NULL), -ENOENT, "jobs");
    }
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ferry_receiver_t *rx;
        check_error(ferry_receiver_open(node, "jobs", FERRY_QUEUE, &wrong[i], &rx), -EINVAL, "");
        check_error(ferry_durable_purge(node, "jobs", 0, NULL), -ENOENT, "jobs");
    }
    close_node(node);
    engine_stop(s->engine);
}

static int note_queue(const ferry_durable_info_t *info, void *arg) {
    ferry_durable_info_t *found = arg;
    check(strcmp(info->queue, "jobs.v1") == 0);
    *found = *info;
    return 0;
}

static void it_can_be_listed_purged_and_removed(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_durable_info_t found = {.messages = 99};
    uint64_t dropped = 99;
    check_is(ferry_durable_each(node, note_queue, &found), 0);
    check_is(found.messages, 99);
    check_error(ferry_durable_purge(node, "jobs.v1", 0, &dropped), -ENOENT, "jobs.v1");
    ferry_sender_t *tx = open_sender(node, "jobs.v1", FERRY_QUEUE, &durable);
    for (uint64_t i = 0; i < 7; i++) {
        send_number(tx, i);
    }
    close_sender(tx);
    check_is(ferry_durable_each(node, note_queue, &found), 0);
    check_is(found.messages, 7);
    check_is(found.sent, 7);
    check(found.bytes >= 7 * 8 && found.oldest_ns > 0);
    check_is(ferry_durable_purge(node, "jobs.v1", 0, &dropped), 0);
    check_is(dropped, 7);
    check_is(ferry_durable_each(node, note_queue, &found), 0);
    check_is(found.messages, 0);
    check_is(ferry_durable_purge(node, "jobs.v1", 1, NULL), 0);
    check_error(ferry_durable_purge(node, "jobs.v1", 0, NULL), -ENOENT, "");
    close_node(node);
    node = open_node("local");
    check_error(ferry_durable_each(node, note_queue, &found), -ENOTSUP, "nats://");
    close_node(node);
    engine_stop(s->engine);
}

/* The server has room for some 1500 messages. */
static void a_server_without_room_is_told_of_and_loses_nothing(void) {
    char file[512];
    snprintf(file, sizeof file, "%s/small.conf", getenv("FERRY_DIR"));
    FILE *out = fopen(file, "w");
    check(out != NULL);
    fprintf(out, "jetstream { max_file_store: 200000 }\n");
    check(fclose(out) == 0);
    const char *const arguments[] = {"-c", file, NULL};
    stage_t *s = share(sizeof *s);
    s->engine = engine_start_with(arguments);
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        send_number(tx, i); /* they wait here */
    }
    check_error(ferry_sender_flush(tx, SECOND), -ETIMEDOUT, "resources");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    static unsigned seen[MESSAGES];
    for (uint64_t i = 0; i < MESSAGES; i++) { /* room comes back; what was refused comes later */
        uint64_t number = receive_number(rx);
        check(number < MESSAGES && ++seen[number] == 1);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
    unlink(file);
}

static void receive_all(void *arg) {
    stage_t *s = arg;
    static unsigned seen[MESSAGES];
    ferry_t *node = on(s, "receiver");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    atomic_store(&s->ready, 1);
    for (uint64_t got = 0; got < MESSAGES;) {
        ferry_msg_t *m = receive(rx);
        check(number_in(m) < MESSAGES);
        bool first = seen[number_in(m)]++ == 0;
        check(first || info_of(m).attempt > 1); /* what comes twice says so */
        got += first;
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

static void nothing_is_lost_when_the_server_is_killed_under_load(void) {
    stage_t *s = stage_new();
    pid_t receiver = child_start(receive_all, s);
    await(&s->ready, 1);
    ferry_t *node = on(s, "sender");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (i == MESSAGES / 3) {
            engine_kill(s->engine);
        }
        if (i == 2 * MESSAGES / 3) {
            engine_restart(s->engine);
        }
        send_number(tx, i);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    child_join(receiver);
    close_node(node);
    engine_stop(s->engine);
}

/* The server writes down late what was released, and forgets it with its end. Who has had a message knows it, however
 * many senders there are whose messages have the same numbers. */
static void a_killed_server_brings_nothing_twice_to_one_machine(void) {
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a");
    ferry_t *b = on(s, "b");
    ferry_receiver_t *rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_sender_t *tx[3];
    for (int i = 0; i < 3; i++) {
        tx[i] = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    }
    for (uint64_t n = 0; n < 300; n++) {
        send_number(tx[n % 3], n);
    }
    ferry_msg_t *held = receive(rx); /* with all gone, there would be nothing to bring */
    for (uint64_t n = 1; n < 300; n++) {
        release(receive(rx));
    }
    nap(10 * MILLISECOND); /* the acknowledgements leave */
    engine_restart(s->engine);
    ferry_msg_t *m;
    check_error(ferry_recv(rx, 400 * MILLISECOND, &m), -ETIMEDOUT, "");
    release(held);
    for (int i = 0; i < 3; i++) {
        close_sender(tx[i]);
    }
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

static int count_kept(const ferry_durable_info_t *info, void *arg) {
    *(uint64_t *)arg += strcmp(info->queue, "jobs") == 0 ? info->messages : 0;
    return 0;
}

/* A dead letter may have been read before its queue's receiver has heard that it was: until then the message is kept,
 * too. */
static void await_none_kept(ferry_t *node) {
    uint64_t kept;
    do {
        kept = 0;
        check_is(ferry_durable_each(node, count_kept, &kept), 0);
    } while (kept > 0);
}

/* In whosever hands it was: so a message that nobody can do is tried so often, and no more. */
static void attempts_are_counted_over_all_machines(void) {
    const ferry_receiver_options_t fifth = {
        .size = sizeof fifth, .contract = &durable, .max_attempts = 5, .dead_letter = "jobs.dead"};
    stage_t *s = stage_new();
    send_from(s, "sender", 7, 1);
    ferry_t *a = on(s, "a");
    ferry_t *b = on(s, "b");
    ferry_receiver_t *dead = open_receiver(b, "jobs.dead", FERRY_QUEUE, &takes_durable);
    ferry_receiver_t *rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    ferry_msg_t *m = receive(rx);
    check_is(info_of(m).attempt, 2);
    check_is(ferry_msg_reject(m, 0), 0);
    m = receive(rx);
    check_is(info_of(m).attempt, 3);
    check_is(ferry_receiver_close(rx), 1); /* gives it back */
    release(m);
    rx = open_receiver(a, "jobs", FERRY_QUEUE, &fifth);
    m = receive(rx);
    check_is(info_of(m).attempt, 4);
    check_is(ferry_msg_reject(m, 50 * MILLISECOND), 0);
    m = receive(rx);
    check_is(info_of(m).attempt, 5);
    check_is(ferry_msg_reject(m, 0), 0);
    while (receiver_stats(rx).dead_letters == 0) {
        check_error(ferry_recv(rx, 10 * MILLISECOND, &m), -ETIMEDOUT, "");
    }
    ferry_msg_origin_t origin = {.size = sizeof origin};
    m = receive(dead);
    check_is(number_in(m), 7);
    check_is(ferry_msg_origin(m, &origin), 0);
    check_is(strcmp(origin.queue, "jobs"), 0);
    check_is(origin.attempts, 5);
    check_is(origin.sequence, 1);
    check_is(origin.sender_node, UINT64_MAX);
    check_is(ferry_msg_size(m), 8);
    release(m);
    await_none_kept(b);
    close_receiver(rx);
    close_receiver(dead);
    close_node(a);
    close_node(b);
    check_empty(s);
    engine_stop(s->engine);
}

static int count_streams(const ferry_durable_info_t *info, void *arg) {
    (void)info;
    ++*(int *)arg;
    return 0;
}

/* What stayed on the server would make the channel durable for whoever opens it next. */
static void one_that_cannot_be_opened_leaves_nothing_on_the_server(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a"), *other = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL), *refused;
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, NULL), *neither;
    int count = 0;
    check_error(ferry_sender_open(other, "jobs", FERRY_QUEUE, &durable, &refused), -EPROTOTYPE, "durable");
    check_error(ferry_receiver_open(other, "jobs", FERRY_QUEUE, &takes_durable, &neither), -EPROTOTYPE, "durable");
    check_error(ferry_sender_open(other, "news", FERRY_QUEUE, &durable, &refused), -EPROTOTYPE, "topic");
    check_is(ferry_durable_each(node, count_streams, &count), 0);
    check_is(count, 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    close_node(other);
    engine_stop(s->engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(one_that_cannot_be_opened_leaves_nothing_on_the_server),
        TEST(messages_outlive_their_sender_and_the_server),
        TEST(tags_and_sizes_stay),
        TEST(receivers_everywhere_share_it),
        TEST(only_what_a_dead_receiver_held_comes_again),
        TEST(a_closing_receiver_gives_back_what_it_held),
        TEST(a_sender_has_its_share_and_no_more),
        TEST(a_message_that_does_not_fit_stands_in_nobodys_way),
        TEST(a_second_sender_of_a_node_has_its_own_share),
        TEST(what_cannot_be_durable_says_so),
        TEST(what_is_wrong_leaves_no_queue_behind),
        TEST(it_can_be_listed_purged_and_removed),
        TEST(a_server_without_room_is_told_of_and_loses_nothing),
        TEST(attempts_are_counted_over_all_machines),
        TEST(nothing_is_lost_when_the_server_is_killed_under_load),
        TEST(a_killed_server_brings_nothing_twice_to_one_machine),
    };
    return run_suite("net_durable", tests, sizeof tests / sizeof tests[0], argc, argv);
}

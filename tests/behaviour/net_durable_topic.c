/* SPDX-License-Identifier: MIT
 *
 * net_durable_topic.c - durable topics: what is published outlives its publisher and the server, every receiver reads
 * it from where it likes, once and in order, and what the stream has dropped by then is counted as lost.
 *
 * Each test has a server of its own; a "machine" is a directory of its own (engine.h).
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "relay.h"
#include "stranger.h"

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};

static ferry_t *on(const engine_t *e, const char *machine) {
    engine_machine(e, machine);
    return open_node(engine_space(e));
}

static ferry_receiver_t *replaying(ferry_t *node, ferry_replay_t replay, uint64_t from) {
    const ferry_receiver_options_t o = {.size = sizeof o, .contract = &durable, .replay = replay, .replay_from = from};
    return open_receiver(node, "news", FERRY_TOPIC, &o);
}

static void publish(ferry_sender_t *tx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i <= to; i++) {
        send_number(tx, i);
    }
}

static void publish_from(const engine_t *e, const char *machine, const ferry_contract_t *c, uint64_t from,
                         uint64_t to) {
    ferry_t *node = on(e, machine);
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, c);
    publish(tx, from, to);
    close_sender(tx);
    close_node(node);
}

/* Takes these numbers, in this order, and nothing that was lost before them. */
static void check_numbers(ferry_receiver_t *rx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i <= to; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).lost_before, 0);
        release(m);
    }
}

static void check_silent(ferry_receiver_t *rx) {
    ferry_msg_t *m;
    check_error(ferry_recv(rx, 50 * MILLISECOND, &m), -ETIMEDOUT, "");
}

static uint64_t wall_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The message with number n has sequence n. */
static void what_was_published_can_be_read_from_anywhere(void) {
    engine_t *e = engine_start();
    publish_from(e, "a", &durable, 1, 60);
    nap(2 * MILLISECOND);
    uint64_t between = wall_clock();
    publish_from(e, "a", &durable, 61, 100);
    engine_restart(e);
    const struct {
        ferry_replay_t replay;
        uint64_t from;
        uint64_t first;
    } cases[] = {
        {FERRY_REPLAY_ALL, 0, 1},
        {FERRY_REPLAY_LAST, 7, 94},
        {FERRY_REPLAY_LAST, 1000, 1},
        {FERRY_REPLAY_SEQUENCE, 33, 33},
        {FERRY_REPLAY_SEQUENCE, 101, 101},
        {FERRY_REPLAY_TIME, 1, 1},
        {FERRY_REPLAY_TIME, between, 61},
        {FERRY_REPLAY_RETAINED, 0, 101}, /* no sender has said what is retained */
        {FERRY_REPLAY_TIME, UINT64_MAX, 101},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    ferry_t *nodes[2] = {on(e, "a"), on(e, "b")};
    ferry_receiver_t *rx[CASES];
    for (int i = 0; i < CASES; i++) {
        rx[i] = replaying(nodes[i % 2], cases[i].replay, cases[i].from);
    }
    ferry_sender_t *tx = open_sender(nodes[0], "news", FERRY_TOPIC, NULL); /* has no opinion: it is as it is */
    publish(tx, 101, 120);
    for (int i = 0; i < CASES; i++) {
        check_numbers(rx[i], cases[i].first, 119);
        ferry_msg_t *m = receive(rx[i]);
        check_is(info_of(m).sequence, 120);
        check_is(info_of(m).attempt, 1);
        release(m);
        check_is(receiver_stats(rx[i]).lost, 0);
        close_receiver(rx[i]);
    }
    close_sender(tx);
    close_node(nodes[0]);
    close_node(nodes[1]);
    engine_stop(e);
}

/* Two more messages, by a client with a short line to the server. */
static void publish_two(int client, uint64_t *number) {
    for (int i = 0; i < 2; i++) {
        ++*number;
        stranger_publish(client, "ferry.test.dt.news.client", number, sizeof *number);
    }
}

/* What is sent after the opening overtakes the receiver's own questions, whose line is long. */
static void whoever_begins_with_what_is_yet_to_come_misses_nothing(void) {
    const struct {
        ferry_replay_t replay;
        uint64_t from;
    } starts[] = {
        {FERRY_REPLAY_TIME, UINT64_MAX},
        {FERRY_REPLAY_TIME, wall_clock() + 60 * SECOND}, /* by a clock that is fast */
        {FERRY_REPLAY_SEQUENCE, 100},                    /* of a stream that has lost its end since */
        {FERRY_REPLAY_RETAINED, 0},
    };
    enum { STARTS = sizeof starts / sizeof starts[0] };
    engine_t *e = engine_start();
    relay_t *line = relay_start(e);
    int client = stranger_new(e, "");
    uint64_t number = 0;
    engine_machine(e, "a");
    ferry_t *node = open_node(relay_space(line));
    relay_delay(line, 10 * MILLISECOND);
    for (int i = 0; i < STARTS; i++) {
        uint64_t first = number + 1;
        ferry_receiver_t *rx = replaying(node, starts[i].replay, starts[i].from);
        publish_two(client, &number);
        check_numbers(rx, first, number);
        close_receiver(rx);
    }
    close(client);
    close_node(node);
    relay_stop(line);
    engine_stop(e);
}

#define STREAM "FERRY=test=dt=news"
#define SAID(date, last)                                                                                               \
    "{\"created\":\"" date "\",\"state\":{\"messages\":" last ",\"first_seq\":1,\"last_seq\":" last "}}"
#define THREE SAID("2026-01-01T00:00:00Z", "3")
#define NONE SAID("2026-01-01T00:00:00Z", "0") /* its server has lost it */
#define NEW SAID("2026-02-02T00:00:00Z", "0")  /* it was removed, and made again */

static void make_stream(int client) {
    static const char stream[] = "{\"name\":\"" STREAM "\",\"subjects\":[\"ferry.test.dt.news.*\"],\"num_replicas\":1}";
    char text[STRANGER_TEXT];
    stranger_publish(client, "$JS.API.STREAM.CREATE." STREAM " answer", stream, sizeof stream - 1);
    while (!strstr(stranger_hears(client, text), "stream_create_response"))
        nap(MILLISECOND);
}

static void read_after(void *answers) {
    static const char *const asked[] = {"$JS.API.STREAM.INFO." STREAM, NULL};
    uint64_t number = 0;
    engine_t *e = stranger_engine(asked);
    int client = stranger_new(e, "SUB answer 1\r\n");
    make_stream(client);
    pid_t liar = stranger_answers(e, answers);
    ferry_t *node = on(e, "a");
    ferry_receiver_t *rx = replaying(node, FERRY_REPLAY_RETAINED, 0);
    child_join(liar); /* all is asked that is to be asked */
    publish_two(client, &number);
    check_numbers(rx, 1, number);
    close(client);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

/* Twice while it opens the receiver is told of three messages; they are gone when its reader looks, or thereafter. */
static void a_stream_that_loses_its_messages_while_it_is_opened_is_read_from_what_it_has_then(void) {
    static const char *const answers[][5] = {{THREE, THREE, NEW}, {THREE, THREE, NONE}, {THREE, THREE, THREE, NONE}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        child_join(child_start(read_after, (void *)answers[i]));
}

/* Publishes from two machines at once; the number says from which. */
static void live_receivers_get_all_once_though_the_server_is_killed(void) {
    enum { MESSAGES = 1200 };
    engine_t *e = engine_start();
    ferry_t *nodes[2] = {on(e, "a"), on(e, "b")};
    ferry_sender_t *tx[2];
    ferry_receiver_t *rx[3];
    for (int i = 0; i < 2; i++) {
        tx[i] = open_sender(nodes[i], "news", FERRY_TOPIC, &durable);
    }
    for (int i = 0; i < 3; i++) {
        rx[i] = replaying(nodes[i % 2], FERRY_REPLAY_RETAINED, 0);
    }
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (i == MESSAGES / 3) {
            engine_kill(e);
        }
        if (i == 2 * MESSAGES / 3) {
            engine_restart(e);
        }
        send_number(tx[0], 2 * i);
        send_number(tx[1], 2 * i + 1);
    }
    for (int i = 0; i < 3; i++) {
        uint64_t next[2] = {0, 0};
        for (int k = 0; k < 2 * MESSAGES; k++) {
            uint64_t number = receive_number(rx[i]);
            check_is(number / 2, next[number % 2]);
            next[number % 2]++;
        }
        check_is(receiver_stats(rx[i]).lost, 0);
        close_receiver(rx[i]);
    }
    for (int i = 0; i < 2; i++) {
        close_sender(tx[i]);
        close_node(nodes[i]);
    }
    engine_stop(e);
}

typedef struct shared {
    engine_t *engine;
    atomic_ullong sequence; /* of the last that was dealt with */
    atomic_uint read;
} shared_t;

/* Holds some, and dies: a reader's place is its program's to keep. */
static void read_some_and_die(void *arg) {
    shared_t *s = arg;
    ferry_t *node = on(s->engine, "mortal");
    ferry_receiver_t *rx = replaying(node, FERRY_REPLAY_ALL, 0);
    for (uint64_t i = 1; i <= 40; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        atomic_store(&s->sequence, info_of(m).sequence);
        release(m);
    }
    atomic_store(&s->read, 1);
    nap(60 * SECOND);
}

static void a_killed_receiver_goes_on_where_it_was(void) {
    shared_t *s = share(sizeof *s);
    s->engine = engine_start();
    pid_t mortal = child_start(read_some_and_die, s);
    publish_from(s->engine, "a", &durable, 1, 100);
    await(&s->read, 1);
    child_kill(mortal);
    ferry_t *node = on(s->engine, "mortal");
    ferry_receiver_t *rx = replaying(node, FERRY_REPLAY_SEQUENCE, atomic_load(&s->sequence) + 1);
    check_numbers(rx, 41, 100);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void the_stream_keeps_what_its_senders_say_and_counts_the_rest_as_lost(void) {
    const ferry_contract_t ten = {.size = sizeof ten, .durable = FERRY_DURABLE, .retain = 10};
    engine_t *e = engine_start();
    publish_from(e, "a", &durable, 1, 5);
    publish_from(e, "a", &ten, 6, 30);
    publish_from(e, "b", &durable, 31, 50); /* has no opinion of it */
    ferry_t *node = on(e, "b");
    const ferry_receiver_options_t none = {.size = sizeof none, .no_history = 1};
    ferry_receiver_t *late = open_receiver(node, "news", FERRY_TOPIC, NULL); /* what is retained */
    ferry_receiver_t *later = open_receiver(node, "news", FERRY_TOPIC, &none);
    ferry_receiver_t *first = replaying(node, FERRY_REPLAY_SEQUENCE, 11);
    check_numbers(late, 41, 50);
    ferry_msg_t *m = receive(first);
    check_is(number_in(m), 41);
    check_is(info_of(m).lost_before, 30);
    release(m);
    check_numbers(first, 42, 50);
    check_silent(later);
    close_receiver(late);
    close_receiver(later);
    close_receiver(first);
    close_node(node);
    engine_stop(e);
}

static int note_topic(const ferry_durable_info_t *info, void *arg) {
    ferry_durable_info_t *found = arg;
    check(strcmp(info->queue, "news") == 0);
    check_is(info->kind, FERRY_TOPIC);
    *found = *info;
    return 0;
}

static bool keeps_none(void *node) {
    ferry_durable_info_t found = {.messages = 99};
    check_is(ferry_durable_each(node, note_topic, &found), 0);
    return found.messages == 0;
}

static void old_messages_are_dropped(void) {
    const ferry_contract_t brief = {.size = sizeof brief, .durable = FERRY_DURABLE, .retain_age = 200 * MILLISECOND};
    engine_t *e = engine_start();
    publish_from(e, "a", &brief, 1, 5);
    ferry_t *node = on(e, "a");
    await_that(keeps_none, node, "all is older than it may be");
    ferry_receiver_t *rx = replaying(node, FERRY_REPLAY_ALL, 0);
    check_silent(rx);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

static void a_slow_receiver_holds_nobody_back(void) {
    const ferry_contract_t few = {.size = sizeof few, .durable = FERRY_DURABLE, .retain = 100};
    static char data[8192];
    engine_t *e = engine_start();
    ferry_t *node = on(e, "a");
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, &few);
    ferry_receiver_t *slow = replaying(node, FERRY_REPLAY_RETAINED, 0);
    for (uint64_t i = 0; i < 6000; i++) { /* more than fits on the way */
        memcpy(data, &i, sizeof i);
        check_is(ferry_send(tx, data, sizeof data, PATIENCE), 0);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    uint64_t seen = 0, lost = 0, last = 0;
    do {
        ferry_msg_t *m = receive(slow);
        memcpy(&last, ferry_msg_data(m), sizeof last);
        lost += info_of(m).lost_before;
        seen++;
        check_is(last + 1, seen + lost);
        release(m);
    } while (last < 5999);
    check(lost > 0 && seen > 100);
    close_receiver(slow);
    close_sender(tx);
    close_node(node);
    engine_stop(e);
}

static void it_can_be_listed_purged_and_removed(void) {
    engine_t *e = engine_start();
    publish_from(e, "a", &durable, 1, 7);
    ferry_t *node = on(e, "b");
    ferry_receiver_t *rx = replaying(node, FERRY_REPLAY_ALL, 0);
    check_numbers(rx, 1, 7);
    ferry_durable_info_t found = {.messages = 99};
    check_is(ferry_durable_each(node, note_topic, &found), 0);
    check_is(found.messages, 7);
    check_is(found.sent, 7);
    uint64_t dropped = 0;
    check_is(ferry_durable_purge(node, "news", 0, &dropped), 0);
    check_is(dropped, 7);
    check(keeps_none(node));
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, &durable);
    publish(tx, 8, 9);
    check_numbers(rx, 8, 9);
    check_is(ferry_durable_purge(node, "news", 1, NULL), 0); /* in use: it is made anew, and counts from 1 */
    publish(tx, 10, 12);
    check_numbers(rx, 10, 12);
    close_sender(tx);
    close_receiver(rx);
    check_is(ferry_durable_purge(node, "news", 1, NULL), 0);
    check_error(ferry_durable_purge(node, "news", 0, NULL), -ENOENT, "news");
    close_node(node);
    engine_stop(e);
}

static void what_cannot_be_says_so(void) {
    const ferry_contract_t back = {.size = sizeof back, .durable = FERRY_DURABLE, .hold = FERRY_HOLD_BACK};
    const ferry_contract_t aged = {.size = sizeof aged, .retain_age = SECOND};
    ferry_receiver_options_t o = {.size = sizeof o, .replay = FERRY_REPLAY_ALL};
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    engine_t *e = engine_start();
    ferry_t *node = on(e, "a");
    check_error(ferry_sender_open(node, "news", FERRY_TOPIC, &back, &tx), -ENOTSUP, "hold");
    check_error(ferry_sender_open(node, "news", FERRY_TOPIC, &aged, &tx), -EINVAL, "retain_age durable");
    check_error(ferry_sender_open(node, "jobs", FERRY_QUEUE, &aged, &tx), -EINVAL, "retain_age topics");
    const ferry_contract_t brief = {.size = sizeof brief, .durable = FERRY_DURABLE, .retain_age = 99 * MILLISECOND};
    check_error(ferry_sender_open(node, "news", FERRY_TOPIC, &brief, &tx), -EINVAL, "retain_age 99000000 100000000");
    check_error(ferry_durable_purge(node, "news", 0, NULL), -ENOENT, "news");
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &o, &rx), -ENOTSUP, "not durable");
    check_error(ferry_receiver_open(node, "jobs", FERRY_QUEUE, &o, &rx), -EINVAL, "replay topics");
    o.replay = (ferry_replay_t)77;
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &o, &rx), -EINVAL, "77");
    o = (ferry_receiver_options_t){.size = sizeof o, .replay = FERRY_REPLAY_ALL, .no_history = 1};
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &o, &rx), -EINVAL, "no_history");
    ferry_t *local = open_node("local");
    check_error(ferry_sender_open(local, "news", FERRY_TOPIC, &durable, &tx), -ENOTSUP, "nats://");
    close_node(local);
    close_node(node);
    engine_stop(e);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_was_published_can_be_read_from_anywhere),
        TEST(whoever_begins_with_what_is_yet_to_come_misses_nothing),
        TEST(a_stream_that_loses_its_messages_while_it_is_opened_is_read_from_what_it_has_then),
        TEST(live_receivers_get_all_once_though_the_server_is_killed),
        TEST(a_killed_receiver_goes_on_where_it_was),
        TEST(the_stream_keeps_what_its_senders_say_and_counts_the_rest_as_lost),
        TEST(old_messages_are_dropped),
        TEST(a_slow_receiver_holds_nobody_back),
        TEST(it_can_be_listed_purged_and_removed),
        TEST(what_cannot_be_says_so),
    };
    return run_suite("net_durable_topic", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_asked.c - what is asked of a server for receivers of durable channels, and what it says instead of messages: how
 * many it may be asked for at once, and why a question has ended.
 *
 * Some of that only servers from 2.10 on say: there a client that is not Ferry's says it in the server's place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay.h"
#include "stranger.h"
#include "traces.h"

#define MESSAGES 300u
#define LARGE 900000u
#define LARGES 50u

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};
static const ferry_receiver_options_t from_first = {
    .size = sizeof from_first, .contract = &durable, .replay = FERRY_REPLAY_ALL};

static ferry_t *on(const engine_t *e, const char *machine) {
    engine_machine(e, machine);
    return open_node(engine_space(e));
}

static void send_numbers(ferry_t *node, const char *channel, ferry_kind_t kind, unsigned count) {
    ferry_sender_t *tx = open_sender(node, channel, kind, &durable);
    for (unsigned i = 0; i < count; i++)
        send_number(tx, i);
    close_sender(tx);
}

static void take_numbers(ferry_receiver_t *rx, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, 1);
        release(m);
    }
}

/* ---- how many at once ---- */

static engine_t *engine_that_allows_three(void) {
    char config[300];
    snprintf(config, sizeof config, "%s/.config", getenv("FERRY_DIR"));
    FILE *f = fopen(config, "we");
    check(f != NULL);
    fprintf(f, "jetstream = { limits = { max_request_batch: 3 } }\n");
    check(fclose(f) == 0);
    const char *const arguments[] = {"-c", config, NULL};
    engine_t *engine = engine_start_with(arguments);
    check(unlink(config) == 0);
    return engine;
}

static void a_server_that_gives_few_at_once_is_asked_for_few(void) {
    engine_t *e = engine_that_allows_three();
    ferry_t *node = on(e, "a");
    send_numbers(node, "jobs", FERRY_QUEUE, MESSAGES);
    send_numbers(node, "news", FERRY_TOPIC, MESSAGES);
    ferry_receiver_t *jobs = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    take_numbers(jobs, MESSAGES);
    close_receiver(jobs);
    ferry_receiver_t *news = open_receiver(node, "news", FERRY_TOPIC, &from_first);
    take_numbers(news, MESSAGES);
    close_receiver(news);
    close_node(node);
    engine_stop(e);
}

/* ---- why a question has ended ---- */

static unsigned count_of(const char *text, const char *word) {
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

/* Answers the next question for messages in the server's place. */
static void answer(int fd, const char *status) {
    char text[STRANGER_TEXT], reply[200], head[300];
    const char *at;
    while (!(at = strstr(stranger_hears(fd, text), "MSG $JS.API.CONSUMER.MSG.NEXT.")) ||
           sscanf(at, "MSG %*s %*s %199s", reply) != 1)
        nap(MILLISECOND);
    size_t len = strlen("NATS/1.0 \r\n\r\n") + strlen(status);
    snprintf(head, sizeof head, "HPUB %s %zu %zu\r\nNATS/1.0 %s\r\n\r\n\r\n", reply, len, len, status);
    stranger_say(fd, head, strlen(head));
}

static const char *const plain_ends[] = {"409 Batch Completed\r\nNats-Pending-Messages: 0\r\nNats-Pending-Bytes: 9",
                                         "409 Message Size Exceeds MaxBytes", "408 Request Timeout", "404 No Messages"};
enum { PLAIN_ENDS = sizeof plain_ends / sizeof plain_ends[0] };

/* It is asked again at once, and nothing is made anew. */
static void a_question_that_has_ended_is_no_trouble(void) {
    engine_t *e = engine_start();
    ferry_t *node = on(e, "a");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    nap(700 * MILLISECOND); /* the first question is short */
    int fd = stranger_new(e, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nSUB "
                             "$JS.API.CONSUMER.MSG.NEXT.> 1\r\nSUB $JS.API.*.CREATE.> 2\r\n"
                             "SUB $JS.API.CONSUMER.DURABLE.CREATE.> 2\r\n");
    char text[STRANGER_TEXT];
    (void)stranger_hears(fd, text);
    ferry_t *other = on(e, "b");
    ferry_sender_t *tx = open_sender(other, "jobs", FERRY_QUEUE, &durable);
    for (int i = 0; i < 8; i++) { /* so that it asks more often than each ten seconds */
        send_number(tx, (uint64_t)i);
        release(receive(rx));
    }
    for (int i = 0; i < PLAIN_ENDS; i++) {
        send_number(tx, 8);
        release(receive(rx));
        answer(fd, plain_ends[i]);
    }
    nap(700 * MILLISECOND); /* what is missing is made after 500 ms */
    check_is(count_of(stranger_hears(fd, text), "CREATE"), 0);
    close(fd);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    close_node(other);
    engine_stop(e);
}

/* ---- how much at once ---- */

static void publish_large(void *arg) {
    static char bytes[LARGE];
    ferry_t *node = on(arg, "b");
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, &durable);
    for (uint64_t i = 0; i < LARGES; i++) {
        memcpy(bytes, &i, sizeof i);
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    }
    close_sender(tx);
    close_node(node);
}

/* What was asked for while they were small is not sent, when they are large, all at once. */
static void a_topics_reader_is_not_flooded_when_messages_become_larger(void) {
    engine_t *e = engine_start();
    child_join(child_start(publish_large, e));
    ferry_t *node = on(e, "a");
    long before = own_memory();
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, &from_first);
    ferry_msg_t *first = receive(rx);
    nap(300 * MILLISECOND);
    check(UNDER_SANITIZER /* it has memory of its own for each byte */ ||
          own_memory() - before < 24 * 1024); /* of 45 */
    release(first);
    for (uint64_t i = 1; i < LARGES; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t number;
        memcpy(&number, ferry_msg_data(m), sizeof number);
        check_is(number, i);
        check_is(ferry_msg_size(m), LARGE);
        release(m);
    }
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_server_that_gives_few_at_once_is_asked_for_few),
        TEST(a_question_that_has_ended_is_no_trouble),
        TEST(a_topics_reader_is_not_flooded_when_messages_become_larger),
    };
    return run_suite("net_asked", tests, sizeof tests / sizeof tests[0], argc, argv);
}

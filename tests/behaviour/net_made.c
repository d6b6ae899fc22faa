/* SPDX-License-Identifier: MIT
 *
 * net_made.c - who makes a durable queue's stream and consumer, and a lock's stream. nats-server 2.9 makes a consumer
 * that never says a word when it is asked for one of a stream that it is just making for somebody else. In a cluster it
 * lists two streams of one lock for a moment, when two have asked for theirs at once.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stranger.h"

#define STREAM "FERRY=test=q=jobs"
#define MAKES_STREAM "$JS.API.STREAM.CREATE." STREAM
#define MAKES_CONSUMER "$JS.API.CONSUMER.DURABLE.CREATE." STREAM ".ferry"

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

static const char stream[] = "{\"name\":\"" STREAM "\",\"subjects\":[\"ferry.test.q.jobs.*\"],"
                             "\"retention\":\"workqueue\",\"storage\":\"file\",\"num_replicas\":1}";
static const char consumer[] = "{\"stream_name\":\"" STREAM "\",\"config\":{\"durable_name\":\"ferry\","
                               "\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\"}}";

static ferry_t *on(const engine_t *engine, const char *machine) {
    engine_machine(engine, machine);
    return open_node(engine_space(engine));
}

static void ask(int stranger, const char *subject, const char *json) {
    char text[STRANGER_TEXT];

    stranger_publish(stranger, subject, json, strlen(json));
    (void)stranger_hears(stranger, text);
}

static void check_works(const engine_t *engine, ferry_receiver_t *rx) {
    ferry_t *node = on(engine, "sender");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);

    send_number(tx, 7);
    check_is(receive_number(rx), 7);
    close_sender(tx);
    close_node(node);
}

static void make_consumer_later(void *arg) {
    int stranger = stranger_new(arg, "");

    nap(200 * MILLISECOND);
    ask(stranger, MAKES_CONSUMER, consumer);
    close(stranger);
}

static void who_has_not_made_the_stream_waits_for_its_consumer(void) {
    char text[STRANGER_TEXT];
    engine_t *engine = engine_start();
    int stranger = stranger_new(engine, "");
    ask(stranger, MAKES_STREAM, stream);
    int listener = stranger_new(engine, "SUB " MAKES_CONSUMER " 1\r\n");
    (void)stranger_hears(listener, text);
    pid_t maker = child_start(make_consumer_later, engine);
    ferry_t *node = on(engine, "a");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    child_join(maker);
    const char *first = strstr(stranger_hears(listener, text), "MSG " MAKES_CONSUMER);
    check(first && !strstr(first + strlen("MSG $"), MAKES_CONSUMER)); /* the maker's */
    check_works(engine, rx);
    close(stranger);
    close(listener);
    close_receiver(rx);
    close_node(node);
    engine_stop(engine);
}

static bool it_is_made_quickly(void) {
    engine_t *engine = engine_start();
    ferry_t *node = on(engine, "a");
    int64_t begin = monotonic();
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    int64_t took = monotonic() - begin;
    close_receiver(rx);
    close_node(node);
    engine_stop(engine);
    return took < SECOND;
}

static void who_has_made_the_stream_waits_for_nobody(void) {
    check_in_some_process(it_is_made_quickly, "a queue that nobody had made was open within a second");
}

/* When the listener has heard of it. */
static int64_t heard(int listener, const char *subject) {
    char text[STRANGER_TEXT];

    while (!strstr(stranger_hears(listener, text), subject))
        nap(MILLISECOND);
    return monotonic();
}

/* The server may still be removing files, and would take the next stream's along: what that one then says it has
 * stored nobody gets. Nor may the consumer follow at once, since others may be making the stream, too. */
static bool they_are_made_again_one_after_the_other(void) {
    engine_t *engine = engine_start();
    int stranger = stranger_new(engine, "");
    ferry_t *node = on(engine, "a");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    int makes_stream = stranger_new(engine, "SUB " MAKES_STREAM " 1\r\n");
    int makes_consumer = stranger_new(engine, "SUB " MAKES_CONSUMER " 1\r\n");
    char text[STRANGER_TEXT];
    (void)stranger_hears(makes_stream, text);
    (void)stranger_hears(makes_consumer, text);
    ask(stranger, "$JS.API.STREAM.DELETE." STREAM, "");
    int64_t gone = monotonic();
    int64_t stream_at = heard(makes_stream, MAKES_STREAM);
    int64_t consumer_at = heard(makes_consumer, MAKES_CONSUMER);
    check_works(engine, rx);
    close(stranger);
    close(makes_stream);
    close(makes_consumer);
    close_receiver(rx);
    close_node(node);
    engine_stop(engine);
    return stream_at - gone > 200 * MILLISECOND && consumer_at - stream_at > 200 * MILLISECOND;
}

static void what_is_gone_is_made_again_one_after_the_other(void) {
    check_in_some_process(they_are_made_again_one_after_the_other,
                          "there was time between the end of a stream, the next one, and its consumer");
}

/* ---- a lock's stream ---- */

#define LOCK "FERRY=test=sync=one_"

static void make_lock_stream(const engine_t *engine, const char *number) {
    char subject[128], json[256];
    int stranger = stranger_new(engine, "");
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE." LOCK "%s", number);
    snprintf(json, sizeof json,
             "{\"name\":\"" LOCK "%s\",\"subjects\":[\"ferry.test.sync.one\"],\"retention\":\"limits\","
             "\"storage\":\"file\",\"max_msgs\":1,\"num_replicas\":1}",
             number);
    ask(stranger, subject, json);
    close(stranger);
}

static ferry_mutex_t *mutex_of(ferry_t *node) {
    ferry_mutex_t *mutex;
    check_is(ferry_mutex_open(node, "one", NULL, &mutex), 0);
    return mutex;
}

static void a_lock_whose_stream_was_removed_is_made_again(void) {
    engine_t *engine = engine_start();
    make_lock_stream(engine, "0123456789abcdef");
    ferry_t *node = on(engine, "a");
    ferry_mutex_t *mutex = mutex_of(node);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    int stranger = stranger_new(engine, "");
    ask(stranger, "$JS.API.STREAM.DELETE." LOCK "0123456789abcdef", "");
    close(stranger);
    check_is(ferry_mutex_lock(mutex, 3 * SECOND), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
    engine_stop(engine);
}

/* What is listed beside it is none, and never will be. Who opened it before saw it alone. */
static void a_lock_is_where_others_have_it_not_where_it_is_only_listed(void) {
    static const char *const asked[] = {"$JS.API.STREAM.NAMES", NULL};
    static const char *const answers[] = {"{\"streams\":[\"" LOCK "aaaaaaaaaaaaaaaa\"]}",
                                          "{\"streams\":[\"" LOCK "0000000000000000\",\"" LOCK "aaaaaaaaaaaaaaaa\"]}",
                                          NULL};
    engine_t *engine = stranger_engine(asked);
    pid_t stranger = stranger_answers(engine, answers);
    make_lock_stream(engine, "aaaaaaaaaaaaaaaa");
    ferry_t *first = on(engine, "a"), *second = on(engine, "b");
    ferry_mutex_t *held = mutex_of(first);
    check_is(ferry_mutex_lock(held, PATIENCE), 0);
    ferry_mutex_t *other = mutex_of(second);
    check_is(ferry_mutex_lock(other, FERRY_NOW), -EAGAIN);
    check_is(ferry_mutex_unlock(held), 0);
    check_is(ferry_mutex_lock(other, PATIENCE), 0);
    check_is(ferry_mutex_unlock(other), 0);
    child_join(stranger);
    check_is(ferry_mutex_close(held), 0);
    check_is(ferry_mutex_close(other), 0);
    close_node(first);
    close_node(second);
    engine_stop(engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_has_not_made_the_stream_waits_for_its_consumer),
        TEST(who_has_made_the_stream_waits_for_nobody),
        TEST(what_is_gone_is_made_again_one_after_the_other),
        TEST(a_lock_whose_stream_was_removed_is_made_again),
        TEST(a_lock_is_where_others_have_it_not_where_it_is_only_listed),
    };
    return run_suite("net_made", tests, sizeof tests / sizeof tests[0], argc, argv);
}

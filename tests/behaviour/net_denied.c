/* SPDX-License-Identifier: MIT
 *
 * net_denied.c - what the server does not permit comes as an error of the call that needs it, in the server's words.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "objects.h"

/* "all" may do everything; the others lack what their names say. */
static const char users[] = "authorization { users = [\n"
                            "  {user: all, password: x}\n"
                            "  {user: some, password: x, permissions: {%s}}\n"
                            "] }\n";

static char config[300];

static void write_config(const char *denied) {
    FILE *f = fopen(config, "we");
    check(f != NULL);
    fprintf(f, users, denied);
    check(fclose(f) == 0);
}

static engine_t *start(const char *denied) {
    snprintf(config, sizeof config, "%s/.config", getenv("FERRY_DIR"));
    write_config(denied);
    const char *const arguments[] = {"-c", config, NULL};
    return engine_start_with(arguments);
}

static void stop(engine_t *e) {
    engine_stop(e);
    check_is(unlink(config), 0);
}

static ferry_t *open_as(engine_t *e, const char *machine, const char *user) {
    const ferry_options_t options = {.size = sizeof options, .user = user, .password = "x"};
    ferry_t *node = NULL;
    engine_machine(e, machine);
    check_is(ferry_open(engine_space(e), &options, &node), 0);
    return node;
}

static void no_sender_can_be_opened_where_publishing_is_denied(void) {
    engine_t *e = start("publish: {deny: \"ferry.test.>\"}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    check_error(ferry_sender_open(node, "numbers", FERRY_QUEUE, NULL, &tx), -EACCES, "ermissions");
    check_error(ferry_sender_open(node, "news", FERRY_TOPIC, NULL, &tx), -EACCES, "ermissions");
    check_error(ferry_receiver_open(node, "numbers", FERRY_QUEUE, NULL, &rx), -EACCES, "ferry.test");
    close_node(node);
    stop(e);
}

static void no_end_can_be_opened_where_hearing_is_denied(void) {
    engine_t *e = start("subscribe: {deny: [\"ferry.test.n.>\", \"ferry.test.all\"]}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    check_error(ferry_sender_open(node, "numbers", FERRY_QUEUE, NULL, &tx), -EACCES, "ubscription");
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, NULL, &rx), -EACCES, "ferry.test");
    close_node(node);
    stop(e);
}

static void one_topic_alone_may_be_denied(void) {
    engine_t *e = start("publish: {deny: \"ferry.test.t.secret.>\"}, subscribe: {deny: \"ferry.test.t.secret.>\"}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    check_error(ferry_sender_open(node, "secret", FERRY_TOPIC, NULL, &tx), -EACCES, "t.secret.");
    check_error(ferry_receiver_open(node, "secret", FERRY_TOPIC, NULL, &rx), -EACCES, "t.secret.");
    rx = open_receiver(node, "news", FERRY_TOPIC, NULL);
    tx = open_sender(node, "news", FERRY_TOPIC, NULL);
    send_number(tx, 1);
    check_is(receive_number(rx), 1);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    stop(e);
}

/* It learns so when it is opened, not from the first message that is not stored. */
static void no_durable_sender_can_be_opened_where_storing_is_denied(void) {
    const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
    engine_t *e = start("publish: {deny: [\"ferry.test.q.secret.>\", \"ferry.test.dt.secret.>\"]}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_sender_t *tx;
    check_error(ferry_sender_open(node, "secret", FERRY_QUEUE, &durable, &tx), -EACCES, "q.secret.");
    check_error(ferry_sender_open(node, "secret", FERRY_TOPIC, &durable, &tx), -EACCES, "dt.secret.");
    const ferry_receiver_options_t takes = {.size = sizeof takes, .contract = &durable};
    ferry_receiver_t *rx = open_receiver(node, "numbers", FERRY_QUEUE, &takes);
    tx = open_sender(node, "numbers", FERRY_QUEUE, &durable);
    send_number(tx, 1); /* and nothing of what was tried is stored */
    check_is(receive_number(rx), 1);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    stop(e);
}

/* Sends until a call says that it is denied. */
static void send_until_denied(ferry_sender_t *tx, const char *words) {
    int64_t end = monotonic() + PATIENCE;
    int r = 0;
    for (uint64_t i = 0; r == 0 && monotonic() < end; i++) {
        r = ferry_send(tx, &i, sizeof i, PATIENCE);
        nap(MILLISECOND);
    }
    check_error(r, -EACCES, words);
}

static void sending_fails_once_it_is_denied(void) {
    engine_t *e = start("publish: {deny: \"nothing\"}");
    ferry_t *there = open_as(e, "b", "all");
    ferry_t *here = open_as(e, "a", "some");
    ferry_receiver_t *queue = open_receiver(there, "numbers", FERRY_QUEUE, NULL);
    ferry_receiver_t *topic = open_receiver(there, "news", FERRY_TOPIC, NULL);
    ferry_sender_t *tx = open_sender(here, "numbers", FERRY_QUEUE, NULL);
    ferry_sender_t *publisher = open_sender(here, "news", FERRY_TOPIC, NULL);
    send_number(tx, 7);
    check_is(receive_number(queue), 7);
    send_number(publisher, 8);
    check_is(receive_number(topic), 8);
    write_config("publish: {deny: [\"ferry.test.n.>\", \"ferry.test.t.>\"]}");
    engine_reload(e);
    send_until_denied(tx, "ferry.test.n.");
    send_until_denied(publisher, "ferry.test.t.news.");
    check_is(ferry_close(here), 2); /* what cannot leave cannot be waited for */
    close_receiver(queue);
    close_receiver(topic);
    close_node(there);
    stop(e);
}

/* Here the server stores messages, but may not say so. */
static void who_waits_is_told_that_the_server_does_not_answer(void) {
    const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE, .capacity = 1};
    engine_t *e = start("subscribe: {deny: [\"ferry.test.n.*.w.*.*\"]}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, &durable);
    send_number(tx, 1);
    check_error(ferry_send(tx, "x", 1, 6 * SECOND), -ETIMEDOUT, "it does not answer");
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    close_node(node);
    stop(e);
}

/* ---- locks ---- */

typedef struct rivals {
    ferry_t *node;
    atomic_uint done;
} rivals_t;

static void *acquire_and_release(void *arg) {
    rivals_t *r = arg;
    ferry_semaphore_t *units = open_semaphore(r->node, "units", 9);
    while (!atomic_load(&r->done)) {
        check_is(ferry_semaphore_acquire(units, PATIENCE), 0);
        check_is(ferry_semaphore_release(units), 0);
    }
    check_is(ferry_semaphore_close(units), 0);
    return NULL;
}

/* Both change it all the time, so each comes too late half of the time, while a denial comes that is about something
 * else. */
static void a_lock_is_not_denied_because_something_else_is(void) {
    engine_t *e = start("publish: {deny: \"ferry.test.t.secret.>\"}");
    rivals_t rivals[2] = {{.node = open_as(e, "b", "all")}, {.node = open_as(e, "a", "some")}};
    pthread_t threads[2];
    ferry_sender_t *tx;
    for (int i = 0; i < 2; i++)
        check_is(pthread_create(&threads[i], NULL, acquire_and_release, &rivals[i]), 0);
    for (int i = 0; i < 50; i++)
        check_error(ferry_sender_open(rivals[1].node, "secret", FERRY_TOPIC, NULL, &tx), -EACCES, "t.secret.");
    for (int i = 0; i < 2; i++) {
        atomic_store(&rivals[i].done, 1);
        check_is(pthread_join(threads[i], NULL), 0);
        close_node(rivals[i].node);
    }
    stop(e);
}

/* It would take who does not answer for dead, and have the lock beside him. */
static void who_may_not_ask_whether_a_holder_lives_is_told_so(void) {
    engine_t *e = start("publish: {deny: \"ferry.test.n.>\"}");
    ferry_t *here = open_as(e, "a", "some");
    ferry_t *there = open_as(e, "b", "all");
    ferry_mutex_t *mine = open_mutex(here, "ledger");
    ferry_mutex_t *theirs = open_mutex(there, "ledger");
    check_is(ferry_mutex_lock(theirs, PATIENCE), 0);
    check_error(ferry_mutex_lock(mine, PATIENCE), -EACCES, "denies ferry.test.n.");
    check_is(ferry_mutex_check(theirs), 0);
    check_is(ferry_mutex_unlock(theirs), 0);
    check_is(ferry_mutex_lock(mine, PATIENCE), 0);
    check_is(ferry_mutex_unlock(mine), 0);
    ferry_mutex_t *another = open_mutex(there, "another");
    check_error(ferry_mutex_open(here, "another", NULL, &mine), -EACCES, "denies ferry.test.n.");
    check_is(ferry_mutex_close(another), 0);
    check_is(ferry_mutex_close(theirs), 0);
    close_node(there);
    check_is(ferry_close(here), 1); /* `mine` */
    stop(e);
}

/* What it held would be given to others. */
static void who_cannot_be_asked_has_no_locks(void) {
    engine_t *e = start("subscribe: {deny: \"ferry.test.n.*.locks\"}");
    ferry_t *node = open_as(e, "a", "some");
    ferry_mutex_t *mutex;
    check_error(ferry_mutex_open(node, "ledger", NULL, &mutex), -EACCES, "denies .locks");
    check_error(ferry_mutex_open(node, "ledger", NULL, &mutex), -EACCES, "denies .locks");
    close_node(node);
    stop(e);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(no_sender_can_be_opened_where_publishing_is_denied),
        TEST(no_end_can_be_opened_where_hearing_is_denied),
        TEST(one_topic_alone_may_be_denied),
        TEST(no_durable_sender_can_be_opened_where_storing_is_denied),
        TEST(who_waits_is_told_that_the_server_does_not_answer),
        TEST(sending_fails_once_it_is_denied),
        TEST(a_lock_is_not_denied_because_something_else_is),
        TEST(who_may_not_ask_whether_a_holder_lives_is_told_so),
        TEST(who_cannot_be_asked_has_no_locks),
    };
    return run_suite("net_denied", tests, sizeof tests / sizeof tests[0], argc, argv);
}

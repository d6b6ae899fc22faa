/* SPDX-License-Identifier: MIT
 *
 * net_calls.c - calls between two machines: every size, every way in which a call can end, and what becomes of it when
 * the server, or the NATS server between them, is lost.
 */
#include "calls.h"
#include "engine.h"
#include "relay.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define THREADS 3u       /* of each server */
#define MOST_WAITING 256 /* calls of one client */

/* ---- the other machine ---- */

typedef struct remote {
    engine_t *engine;
    const char *machine;
    atomic_uint serving;
    atomic_uint stop;
    atomic_uint begun;     /* calls of "slow" and "once" */
    atomic_uint cancelled; /* handlers that have seen it */
    atomic_uint one_ways;
    atomic_uint sent; /* results of a stream */
    atomic_uint crash;
    relay_t *line; /* NULL: none between it and the server */
} remote_t;

static int fail_with(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    return ferry_reply_error(rq, -7, size ? "no\nsuch account" : NULL, data, size);
}

/* Goes on until nobody waits for it any more. */
static int slow(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    remote_t *r = arg;
    (void)data;
    (void)size;
    atomic_fetch_add(&r->begun, 1);
    while (!ferry_request_is_cancelled(rq) && !atomic_load(&r->stop))
        nap(MILLISECOND);
    atomic_fetch_add(&r->cancelled, 1);
    return -ECANCELED;
}

/* Takes 400 ms; or dies in it, on the machine that is told so. */
static int once(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    remote_t *r = arg;
    atomic_fetch_add(&r->begun, 1);
    if (atomic_exchange(&r->crash, 0))
        abort();
    nap(400 * MILLISECOND);
    return ferry_reply(rq, data, size);
}

static int count_up(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    remote_t *r = arg;
    uint64_t n = number_at(data, size);
    for (uint64_t i = 0; i < n; i++) {
        int e = ferry_reply_more(rq, &i, sizeof i);
        if (e < 0)
            return e;
        atomic_fetch_add(&r->sent, 1);
    }
    return 0;
}

/* Results larger than a message of the engine's. */
static int large_ones(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    uint64_t n = number_at(data, size);
    unsigned char *bytes = malloc(2 * MIB);
    (void)arg;
    for (uint64_t i = 0; i < n; i++) {
        fill(bytes, 2 * MIB, i);
        check_is(ferry_reply_more(rq, bytes, 2 * MIB), 0);
    }
    free(bytes);
    return 0;
}

static int note(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    remote_t *r = arg;
    check_is(info_of_request(rq).one_way, 1);
    check(filled(data, size, size));
    atomic_fetch_add(&r->one_ways, 1);
    return 0;
}

static int time_left(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    (void)arg;
    reply_number(rq, (uint64_t)info_of_request(rq).time_left);
    return 0;
}

static void serve_there(void *arg) {
    remote_t *r = arg;
    engine_machine(r->engine, r->machine);
    ferry_t *node = open_node(r->line ? relay_space(r->line) : engine_space(r->engine));
    ferry_service_t *service = open_service(node, "bank", &(ferry_service_options_t){.queue = MOST_WAITING});
    const ferry_method_options_t idempotent = {.idempotent = 1};
    const ferry_method_options_t streams = {.streams = 1};
    /* Where the machine stands still, a connection is lost, and what was under way is called again. */
    check_is(ferry_service_method(service, "echo", echo, NULL, &idempotent), 0);
    check_is(ferry_service_method(service, "a.dotted*name", echo, NULL, &idempotent), 0);
    add_method(service, "fail", fail_with, NULL);
    add_method(service, "slow", slow, r);
    add_method(service, "once", once, r);
    check_is(ferry_service_method(service, "again", once, r, &idempotent), 0);
    check_is(ferry_service_method(service, "count", count_up, r, &streams), 0);
    check_is(ferry_service_method(service, "large", large_ones, r, &streams), 0);
    add_method(service, "note", note, r);
    add_method(service, "time-left", time_left, r);
    check_is(ferry_service_start(service, THREADS), 0);
    atomic_store(&r->serving, 1);
    while (!atomic_load(&r->stop))
        nap(2 * MILLISECOND);
    close_service(service);
    close_node(node);
}

static remote_t *new_remote_by(engine_t *engine, relay_t *line, const char *machine, pid_t *pid) {
    remote_t *r = share(sizeof *r);
    r->engine = engine;
    r->line = line;
    r->machine = machine;
    *pid = child_start(serve_there, r);
    await(&r->serving, 1);
    return r;
}

static remote_t *new_remote(engine_t *engine, const char *machine, pid_t *pid) {
    return new_remote_by(engine, NULL, machine, pid);
}

/* An engine, one other machine that serves, and this one, which calls. */
typedef struct scene {
    engine_t *engine;
    remote_t *remote;
    pid_t pid;
    ferry_t *node;
    ferry_client_t *client;
} scene_t;

static scene_t begin(void) {
    scene_t s = {.engine = engine_start()};
    s.remote = new_remote(s.engine, "b", &s.pid);
    engine_machine(s.engine, "a");
    s.node = open_node(engine_space(s.engine));
    s.client = open_client(s.node, "bank", 2);
    return s;
}

static void end(scene_t *s) {
    check_is(ferry_client_close(s->client, SECOND, NULL), 0);
    close_node(s->node);
    atomic_store(&s->remote->stop, 1);
    if (s->pid)
        child_join(s->pid);
    engine_stop(s->engine);
}

/* ---- what comes back ---- */

static void results_are_what_was_sent(void) {
    const size_t sizes[] = {0, 1, 64, 4 * KIB, 64 * KIB, MIB - 1, MIB, MIB + 1, 3 * MIB};
    scene_t s = begin();
    unsigned char *bytes = malloc(3 * MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ferry_msg_t *reply = NULL;
        fill(bytes, sizes[i], i);
        check_is(ferry_call(s.client, i % 2 ? "a.dotted*name" : "echo", bytes, sizes[i], PATIENCE, &reply), 0);
        check_is(ferry_msg_size(reply), sizes[i]);
        check(filled(ferry_msg_data(reply), sizes[i], i));
        release(reply);
    }
    free(bytes);
    end(&s);
}

static void many_calls_are_under_way_at_once(void) {
    scene_t s = begin();
    ferry_call_t *calls[200];
    for (uint64_t i = 0; i < 200; i++)
        calls[i] = start_call(s.client, "echo", i);
    check(ferry_client_fd(s.client) >= 0);
    for (int i = 0; i < 200; i++) {
        ferry_call_t *call = NULL;
        ferry_msg_t *reply = NULL;
        check_is(ferry_client_next(s.client, PATIENCE, &call), 0);
        check_is(ferry_call_wait(call, FERRY_NOW, &reply), 0);
        uint64_t n = number_in(reply);
        check(n < 200 && calls[n] == call);
        calls[n] = NULL;
        release(reply);
        release_call(call);
    }
    end(&s);
}

static void errors_tell_what_was_wrong(void) {
    scene_t s = begin();
    ferry_msg_t *reply = NULL;
    for (size_t size = 0; size <= 6; size += 6) { /* also without words */
        check_is(ferry_call(s.client, "fail", "detail", size, PATIENCE, &reply), FERRY_CALL_FAILED);
        ferry_call_error_t e = error_in(reply);
        check(e.code == -7 && strcmp(e.message, size ? "no\nsuch account" : "") == 0);
        check(e.detail_size == size && memcmp(e.detail, "detail", size) == 0);
        release(reply);
    }
    check_error(ferry_call(s.client, "nothing", NULL, 0, PATIENCE, NULL), -ENOSYS, "has no method");
    check_error(ferry_call(s.client, "count", NULL, 0, PATIENCE, NULL), -ENOTSUP, "several results");
    end(&s);
}

static void nobody_serves_is_known_at_once(void) {
    scene_t s = begin();
    ferry_client_t *other = open_client(s.node, "nobody", 0);
    int64_t before = monotonic();
    check_error(ferry_call(other, "echo", NULL, 0, PATIENCE, NULL), -ENOENT, "nobody serves");
    check_error(ferry_call_one_way(other, "echo", NULL, 0, PATIENCE), -ENOENT, "nobody serves");
    check(monotonic() - before < PATIENCE / 2);
    close_client(other);
    end(&s);
}

static void deadlines_travel(void) {
    scene_t s = begin();
    uint64_t left = call_number(s.client, "time-left", 0);
    check(left > 0 && left <= (uint64_t)PATIENCE);
    int64_t before = monotonic();
    check_error(ferry_call(s.client, "slow", NULL, 0, 200 * MILLISECOND, NULL), -ETIMEDOUT, "has passed");
    check(monotonic() - before < PATIENCE / 2);
    await(&s.remote->cancelled, 1);
    end(&s);
}

static void cancelling_reaches_the_handler(void) {
    scene_t s = begin();
    ferry_call_t *call = start_call(s.client, "slow", 0);
    await(&s.remote->begun, 1);
    check_is(ferry_call_cancel(call), 0);
    await(&s.remote->cancelled, 1);
    check_is(end_of_call(call), -ECANCELED);
    end(&s);
}

/* All threads there are busy with slow calls. */
static void keep_busy(scene_t *s, ferry_call_t *calls[THREADS]) {
    for (uint64_t i = 0; i < THREADS; i++)
        calls[i] = start_call(s->client, "slow", i);
    await(&s->remote->begun, THREADS);
}

static void what_waits_there_too_long_is_not_started(void) {
    ferry_call_t *busy[THREADS];
    scene_t s = begin();
    keep_busy(&s, busy);
    check_error(ferry_call(s.client, "once", NULL, 0, 200 * MILLISECOND, NULL), -ETIMEDOUT, "has passed");
    for (unsigned i = 0; i < THREADS; i++)
        release_call(busy[i]);
    await(&s.remote->cancelled, THREADS);
    check_is(call_number(s.client, "echo", 1), 1); /* it stood behind the other one */
    check_is(atomic_load(&s.remote->begun), THREADS);
    end(&s);
}

static void a_client_has_no_more_calls_waiting_there_than_the_service_allows(void) {
    enum { MOST = MOST_WAITING, MORE = 10 };
    ferry_call_t *calls[MOST + MORE];
    scene_t s = begin();
    ferry_client_t *other = open_client(s.node, "bank", 1);
    for (uint64_t i = 0; i < MOST + MORE; i++)
        calls[i] = start_call(s.client, "slow", i);
    for (unsigned i = 0; i < MORE; i++) {
        ferry_call_t *call = NULL;
        check_is(ferry_client_next(s.client, PATIENCE, &call), 0);
        check(call == calls[MOST + i]);
        check_error(ferry_call_wait(call, FERRY_NOW, NULL), -EBUSY, "not run");
    }
    ferry_call_t *another = start_call(other, "echo", 5); /* the bound is each client's own */
    for (unsigned i = 0; i < MOST + MORE; i++)
        release_call(calls[i]);
    check_is(finish_call(another), 5);
    close_client(other);
    end(&s);
}

static void one_way_calls_are_run(void) {
    scene_t s = begin();
    unsigned char *bytes = malloc(2 * MIB);
    fill(bytes, 100, 100);
    check_is(ferry_call_one_way(s.client, "note", bytes, 100, PATIENCE), 0);
    fill(bytes, 2 * MIB, 2 * MIB);
    check_is(ferry_call_one_way(s.client, "note", bytes, 2 * MIB, PATIENCE), 0);
    await(&s.remote->one_ways, 2);
    free(bytes);
    end(&s);
}

/* ---- streams ---- */

static void a_slow_reader_holds_the_server_back(void) {
    scene_t s = begin();
    ferry_call_t *call = start_stream(s.client, "count", 1000);
    nap(200 * MILLISECOND);
    check(atomic_load(&s.remote->sent) <= 40);
    for (uint64_t i = 0; i < 1000; i++) {
        ferry_msg_t *m = NULL;
        check_is(ferry_call_wait(call, PATIENCE, &m), FERRY_CALL_MORE);
        check_is(number_in(m), i);
        release(m);
    }
    check_is(ferry_call_wait(call, PATIENCE, NULL), 0);
    release_call(call);
    call = start_stream(s.client, "large", 4);
    for (uint64_t i = 0; i < 4; i++) {
        ferry_msg_t *m = NULL;
        check_is(ferry_call_wait(call, PATIENCE, &m), FERRY_CALL_MORE);
        check(ferry_msg_size(m) == 2 * MIB && filled(ferry_msg_data(m), 2 * MIB, i));
        release(m);
    }
    check_is(ferry_call_wait(call, PATIENCE, NULL), 0);
    release_call(call);
    end(&s);
}

/* ---- an orderly end ---- */

/* The server is told to end, and has not read yet what the clients have sent. */
static void a_service_that_closes_finishes_what_was_sent(void) {
    enum { CALLS = 150 };
    ferry_call_t *calls[CALLS];
    scene_t s = begin();
    unsigned char bytes[16 * KIB];
    fill(bytes, sizeof bytes, 5);
    check_is(call_number(s.client, "echo", 1), 1);
    check_is(kill(s.pid, SIGSTOP), 0);
    for (int i = 0; i < CALLS; i++)
        check_is(ferry_call_start(s.client, "echo", bytes, sizeof bytes, 0, PATIENCE, &calls[i]), 0);
    close_client(open_client(s.node, "bank", 0)); /* the NATS server has all of them then */
    atomic_store(&s.remote->stop, 1);
    check_is(kill(s.pid, SIGCONT), 0);
    for (int i = 0; i < CALLS; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call_wait(calls[i], PATIENCE, &reply), 0);
        check(ferry_msg_size(reply) == sizeof bytes && filled(ferry_msg_data(reply), sizeof bytes, 5));
        release(reply);
        release_call(calls[i]);
    }
    child_join(s.pid);
    s.pid = 0;
    check_error(ferry_call(s.client, "echo", NULL, 0, PATIENCE, NULL), -ENOENT, "nobody serves");
    end(&s);
}

/* ---- losses ---- */

static void *let_it_come_back(void *line) {
    nap(300 * MILLISECOND);
    relay_refuse(line, false);
    return NULL;
}

/* The server has lost its connection, and is on its way back; nobody answers in its place meanwhile. */
static void a_server_that_comes_back_is_waited_for(void) {
    scene_t s = {.engine = engine_start()};
    relay_t *line = relay_start(s.engine);
    s.remote = new_remote_by(s.engine, line, "b", &s.pid);
    engine_machine(s.engine, "a");
    s.node = open_node(engine_space(s.engine));
    s.client = open_client(s.node, "bank", 2);
    check_is(ferry_call(s.client, "echo", "x", 1, PATIENCE, NULL), 0);
    relay_refuse(line, true);
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, let_it_come_back, line), 0);
    check_is(ferry_call(s.client, "echo", "x", 1, PATIENCE, NULL), 0);
    check_is(pthread_join(thread, NULL), 0);
    atomic_store(&s.remote->stop, 1);
    child_join(s.pid);
    s.pid = 0;
    check_error(ferry_call(s.client, "echo", NULL, 0, 100 * MILLISECOND, NULL), -ETIMEDOUT, "not run");
    check_error(ferry_call(s.client, "echo", NULL, 0, PATIENCE, NULL), -ENOENT, "nobody serves");
    int64_t before = monotonic();
    check_error(ferry_call(s.client, "echo", NULL, 0, PATIENCE, NULL), -ENOENT, "nobody serves");
    check(monotonic() - before < PATIENCE / 2); /* that is known by now */
    relay_stop(line);
    end(&s);
}

static void the_only_server_dies(void) {
    scene_t s = begin();
    ferry_call_t *call = start_call(s.client, "slow", 0);
    await(&s.remote->begun, 1);
    child_kill(s.pid);
    s.pid = 0;
    int64_t before = monotonic();
    check_is(end_of_call(call), -ECONNRESET);
    check(monotonic() - before < PATIENCE / 2);
    end(&s);
}

/* The program sleeps in poll; the loss makes the descriptor readable. */
static void the_only_server_dies_and_poll_tells(void) {
    scene_t s = begin();
    ferry_call_t *call = start_call(s.client, "slow", 0);
    struct pollfd p = {.fd = ferry_client_fd(s.client), .events = POLLIN};
    ferry_call_t *ended = NULL;
    await(&s.remote->begun, 1);
    child_kill(s.pid);
    s.pid = 0;
    int64_t before = monotonic();
    while (!ended) {
        check_is(poll(&p, 1, (int)(PATIENCE / MILLISECOND)), 1);
        int r = ferry_client_next(s.client, FERRY_NOW, &ended);
        check(r == 0 || r == -EAGAIN);
    }
    check(ended == call && monotonic() - before < PATIENCE / 2);
    check_is(end_of_call(call), -ECONNRESET);
    end(&s);
}

/* The one that is told to dies in the call; whoever is left runs it again if that does no harm. */
static void another_server_goes_on(void) {
    engine_t *engine = engine_start();
    pid_t pid[2];
    remote_t *remote[2] = {new_remote(engine, "b", &pid[0]), new_remote(engine, "c", &pid[1])};
    engine_machine(engine, "a");
    ferry_t *node = open_node(engine_space(engine));
    ferry_client_t *client = open_client(node, "bank", 4);
    ferry_call_t *calls[32]; /* so that one of them goes to the one that will crash, whichever is chosen */
    atomic_store(&remote[0]->crash, 1);
    for (uint64_t i = 0; i < 32; i++)
        calls[i] = start_call(client, "again", i);
    for (uint64_t i = 0; i < 32; i++)
        check_is(finish_call(calls[i]), i);
    check(atomic_load(&remote[0]->begun) > 0);
    check(child_wait(pid[0]) != 0);
    close_client(client);
    close_node(node);
    atomic_store(&remote[1]->stop, 1);
    child_join(pid[1]);
    engine_stop(engine);
}

static void serve_later(void *arg) {
    nap(300 * MILLISECOND);
    serve_there(arg);
}

static void a_server_elsewhere_may_be_waited_for_without_a_limit_or_briefly(void) {
    remote_t *r = share(sizeof *r);
    ferry_client_t *client = NULL;
    r->engine = engine_start();
    r->machine = "b";
    pid_t pid = child_start(serve_later, r);
    engine_machine(r->engine, "a");
    ferry_t *node = open_node(engine_space(r->engine));
    check_is(ferry_client_open(node, "bank", NULL, &client), 0);
    check(ferry_client_wait(client, 1, FERRY_FOREVER) >= 1);
    check_error(ferry_client_wait(client, 90, 1), -ETIMEDOUT, "the 90 waited"); /* over before it was looked for */
    close_client(client);
    close_node(node);
    atomic_store(&r->stop, 1);
    child_join(pid);
    engine_stop(r->engine);
}

static void the_nats_server_is_restarted_between_calls(void) {
    scene_t s = begin();
    check_is(call_number(s.client, "echo", 1), 1);
    engine_restart(s.engine);
    /* A machine that stands still now may lose a call with its connection: this one is run again. */
    check_is(call_number(s.client, "again", 2), 2);
    end(&s);
}

/* The answer comes, or the call ends with "may have run", or it is run again. */
static void the_nats_server_is_restarted_during_calls(void) {
    scene_t s = begin();
    ferry_call_t *once_only = start_call(s.client, "once", 1);
    ferry_call_t *again = start_call(s.client, "again", 2);
    await(&s.remote->begun, 2);
    engine_restart(s.engine);
    check_is(finish_call(again), 2);
    ferry_msg_t *reply = NULL;
    int r = ferry_call_wait(once_only, PATIENCE, &reply);
    check(r == 0 || r == -ECONNRESET);
    if (r == 0)
        release(reply);
    release_call(once_only);
    end(&s);
}

/* ---- threads that are cancelled ---- */

typedef struct caller {
    ferry_t *node;
    const char *method;
    void *bytes;
    size_t size;
    atomic_uint calls;
} caller_t;

static void *call_until_cancelled(void *arg) {
    caller_t *c = arg;
    ferry_client_t *client = open_client(c->node, "bank", 2);
    ferry_msg_t *reply = NULL;
    atomic_store(&c->calls, 1);
    if (ferry_call(client, c->method, c->bytes, c->size, FERRY_FOREVER, &reply) == 0)
        release(reply);
    for (;;)
        nap(MILLISECOND);
    return NULL;
}

static void cancel_a_call(ferry_t *node, const char *method, size_t size, int64_t after) {
    caller_t c = {.node = node, .method = method, .bytes = calloc(1, size), .size = size};
    pthread_t thread;
    void *result = NULL;
    check_is(pthread_create(&thread, NULL, call_until_cancelled, &c), 0);
    await(&c.calls, 1);
    nap(after);
    check_is(pthread_cancel(thread), 0);
    check_is(pthread_join(thread, &result), 0);
    check(result == PTHREAD_CANCELED);
    free(c.bytes);
}

/* Whatever it was doing: waiting for this answer alone, or for anything, or sending a large argument. */
static void who_is_cancelled_in_a_call_disturbs_nobody(void) {
    scene_t s = begin();
    for (int i = 0; i < 4; i++) {
        cancel_a_call(s.node, "once", 8, i * 3 * MILLISECOND);
        cancel_a_call(s.node, "echo", 12 * MIB, (1 + i) * MILLISECOND);
    }
    check_is(call_number(s.client, "echo", 1), 1);
    check_is(ferry_client_close(s.client, SECOND, NULL), 0);
    check(ferry_close(s.node) >= 8);
    atomic_store(&s.remote->stop, 1);
    child_join(s.pid);
    engine_stop(s.engine);
}

static void wake_after_a_while(void *arg) {
    const pid_t *pid = arg;
    nap(2500 * MILLISECOND);
    check_is(kill(*pid, SIGCONT), 0);
}

/* For longer than the clients wait before they send a call again: it has both then, runs one, and answers as if nothing
 * had been. */
static void a_server_that_stood_still_runs_each_call_once(void) {
    scene_t s = begin();
    ferry_client_t *other = open_client(s.node, "bank", 2);
    check_is(call_number(s.client, "echo", 1), 1); /* it is known who serves */
    check_is(call_number(other, "echo", 1), 1);
    check_is(kill(s.pid, SIGSTOP), 0);
    pid_t waker = child_start(wake_after_a_while, &s.pid);
    ferry_call_t *call = start_call(s.client, "once", 7);
    check_is(call_number(other, "once", 8), 8);
    check_is(finish_call(call), 7);
    child_join(waker);
    check_is(atomic_load(&s.remote->begun), 2);
    close_client(other);
    end(&s);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {TEST(results_are_what_was_sent),
                                   TEST(many_calls_are_under_way_at_once),
                                   TEST(errors_tell_what_was_wrong),
                                   TEST(nobody_serves_is_known_at_once),
                                   TEST(deadlines_travel),
                                   TEST(cancelling_reaches_the_handler),
                                   TEST(what_waits_there_too_long_is_not_started),
                                   TEST(a_client_has_no_more_calls_waiting_there_than_the_service_allows),
                                   TEST(one_way_calls_are_run),
                                   TEST(a_slow_reader_holds_the_server_back),
                                   TEST(a_service_that_closes_finishes_what_was_sent),
                                   TEST(a_server_that_comes_back_is_waited_for),
                                   TEST(the_only_server_dies),
                                   TEST(the_only_server_dies_and_poll_tells),
                                   TEST(another_server_goes_on),
                                   TEST(a_server_elsewhere_may_be_waited_for_without_a_limit_or_briefly),
                                   TEST(the_nats_server_is_restarted_between_calls),
                                   TEST(the_nats_server_is_restarted_during_calls),
                                   TEST(who_is_cancelled_in_a_call_disturbs_nobody),
                                   TEST(a_server_that_stood_still_runs_each_call_once)};
    return run_suite("net_calls", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_call_servers.c - a client whose servers are all on other machines: its memory is full, they answer late, or
 * there is no connection to them.
 */
#include "calls.h"
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define LARGE 200000u
#define MOST 16 /* more than the quota has room for */

typedef struct remote {
    engine_t *engine;
    atomic_uint serving;
    atomic_uint stop;
} remote_t;

static void serve_there(void *arg) {
    remote_t *r = arg;
    engine_machine(r->engine, "b");
    ferry_t *node = open_node(engine_space(r->engine));
    ferry_service_t *service = open_service(node, "bank", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    atomic_store(&r->serving, 1);
    await(&r->stop, 1);
    close_service(service);
    close_node(node);
}

/* An engine, a machine that serves, and this one. */
typedef struct scene {
    remote_t *remote;
    pid_t pid;
    ferry_t *node;
} scene_t;

static scene_t begin(void) {
    scene_t s = {.remote = share(sizeof *s.remote)};
    s.remote->engine = engine_start();
    s.pid = child_start(serve_there, s.remote);
    await(&s.remote->serving, 1);
    engine_machine(s.remote->engine, "a");
    s.node = open_node(engine_space(s.remote->engine));
    return s;
}

static void end(scene_t *s) {
    close_node(s->node);
    atomic_store(&s->remote->stop, 1);
    child_join(s->pid);
    engine_stop(s->remote->engine);
}

/* Nobody but the program itself can make room: it is told so at once. */
static void a_full_quota_is_told_as_one(void) {
    const ferry_client_options_t options = {.quota = 1 << 20};
    scene_t s = begin();
    ferry_msg_t *held[MOST];
    void *data;
    unsigned count = 0;
    int answer;

    ferry_client_t *client = open_client_with(s.node, "bank", &options, 1);
    do
        answer = ferry_client_new_msg(client, LARGE, FERRY_FOREVER, &data, &held[count]);
    while (answer == 0 && ++count < MOST);
    check_error(answer, -EDQUOT, "client of \"bank\" messages release");
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_msg(client, "echo", held[0], PATIENCE, &reply), 0);
    check_is(ferry_msg_size(reply), LARGE);
    release(reply);
    release(held[0]);
    check_is(ferry_client_new_msg(client, LARGE, FERRY_FOREVER, &data, &held[0]), 0);
    while (count > 0)
        release(held[--count]);
    close_client(client);
    end(&s);
}

static void wake_after_a_while(void *arg) {
    const pid_t *pid = arg;
    nap(300 * MILLISECOND);
    check_is(kill(*pid, SIGCONT), 0);
}

/* A one-way call asks who serves, for a moment only, and took a server that got no processor in it for none. */
static void who_answers_late_is_there(void) {
    scene_t s = begin();
    ferry_client_t *client = open_client(s.node, "bank", 1);
    nap(2500 * MILLISECOND); /* it is not known any more */
    check_is(kill(s.pid, SIGSTOP), 0);
    pid_t waker = child_start(wake_after_a_while, &s.pid);
    check_is(ferry_call_one_way(client, "echo", NULL, 0, PATIENCE), 0);
    child_join(waker);
    close_client(client);
    end(&s);
}

/* ---- without a connection ---- */

static void nothing(int signal) {
    (void)signal;
}

static void *send_signals(void *arg) {
    const pthread_t *caller = arg;
    for (unsigned i = 0; i < 3; i++) {
        nap(100 * MILLISECOND);
        check_is(pthread_kill(*caller, SIGUSR1), 0);
    }
    return NULL;
}

static void a_signal_ends_the_wait_for_a_connection(ferry_client_t *client) {
    const struct sigaction act = {.sa_handler = nothing};
    pthread_t self = pthread_self();
    pthread_t thread;
    check_is(sigaction(SIGUSR1, &act, NULL), 0);
    check_is(pthread_create(&thread, NULL, send_signals, &self), 0);
    check_error(ferry_call_one_way(client, "echo", NULL, 0, 2 * SECOND), -EINTR, "signal");
    check_is(pthread_join(thread, NULL), 0);
}

/* The machine may stand still in one of them. */
static void a_service_starts_at_once(ferry_t *node) {
    int64_t shortest = PATIENCE;
    for (unsigned i = 0; i < 3; i++) {
        ferry_service_t *service = open_service(node, "shop", NULL);
        int64_t before = monotonic();
        check_is(ferry_service_start(service, 1), 0);
        int64_t took = monotonic() - before;
        shortest = took < shortest ? took : shortest;
        close_service(service);
    }
    check(shortest < 300 * MILLISECOND);
}

static void without_a_connection_nobody_waits_for_nothing(void) {
    scene_t s = begin();
    ferry_client_t *client = open_client(s.node, "bank", 1);
    engine_kill(s.remote->engine);
    while (ferry_call(client, "echo", NULL, 0, 20 * MILLISECOND, NULL) == 0 || !strstr(ferry_last_error(), "not run"))
        continue;
    a_signal_ends_the_wait_for_a_connection(client);
    a_service_starts_at_once(s.node);
    close_client(client);
    end(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {TEST(a_full_quota_is_told_as_one), TEST(who_answers_late_is_there),
                            TEST(without_a_connection_nobody_waits_for_nothing)};
    return run_suite("net_call_servers", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_overlap.c - two threads at once: in one client, which takes one at a time, and with a service that one of them
 * closes.
 */
#include "calls.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

/* ---- two threads in one client ---- */

typedef struct both {
    ferry_client_t *client;
    atomic_uint inside, go, run, done;
} both_t;

static int count_it(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    both_t *both = arg;
    uint64_t answer = number_at(data, size) + 1;
    atomic_fetch_add(&both->run, 1);
    int r = ferry_reply(rq, &answer, sizeof answer);
    check(r == 0 || r == -EPIPE); /* one client leaves without its answer */
    return 0;
}

static int stay(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    both_t *both = arg;
    (void)rq;
    (void)data;
    (void)size;
    atomic_store(&both->inside, 1);
    await(&both->go, 1);
    return 0;
}

static void begin(both_t *both, ferry_t *node, ferry_service_t **service) {
    *service = open_service(node, "s", NULL);
    add_method(*service, "count", count_it, both);
    add_method(*service, "stay", stay, both);
    check_is(ferry_service_start(*service, 2), 0);
    both->client = open_client(node, "s", 2);
}

static void *wait_for_an_answer(void *arg) {
    both_t *both = arg;
    check_is(ferry_call(both->client, "stay", NULL, 0, PATIENCE, NULL), 0);
    return NULL;
}

/* What is answered with -EBUSY was not sent: else a program that tries again would have it run twice. */
static void a_client_is_busy_while_a_thread_waits_for_an_answer(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service;
    both_t both = {.inside = 0};
    ferry_client_stats_t stats = {.size = sizeof stats};
    ferry_call_t *next = NULL;
    ferry_msg_t *m = NULL;
    void *data = NULL;
    pthread_t thread;
    begin(&both, node, &service);
    ferry_call_t *mine = start_call(both.client, "count", 1);
    check_is(pthread_create(&thread, NULL, wait_for_an_answer, &both), 0);
    await(&both.inside, 1);
    check_error(ferry_call(both.client, "count", "12345678", 8, PATIENCE, NULL), -EBUSY, "another thread inside");
    check_error(ferry_call_one_way(both.client, "count", "12345678", 8, PATIENCE), -EBUSY, "another thread inside");
    check_error(ferry_call_start(both.client, "count", "12345678", 8, 0, PATIENCE, &next), -EBUSY, "inside");
    check_error(ferry_call_wait(mine, PATIENCE, NULL), -EBUSY, "another thread inside");
    check_error(ferry_call_cancel(mine), -EBUSY, "another thread inside");
    check_error(ferry_call_release(mine), -EBUSY, "another thread inside");
    check_error(ferry_client_next(both.client, PATIENCE, &next), -EBUSY, "another thread inside");
    check_error(ferry_client_wait(both.client, 1, PATIENCE), -EBUSY, "another thread inside");
    check_error(ferry_client_fd(both.client), -EBUSY, "another thread inside");
    check_error(ferry_client_stats(both.client, &stats), -EBUSY, "another thread inside");
    check_error(ferry_client_new_msg(both.client, 8, PATIENCE, &data, &m), -EBUSY, "another thread inside");
    check_error(ferry_client_close(both.client, FERRY_NOW, NULL), -EBUSY, "another thread inside");
    await(&both.run, 1);
    atomic_store(&both.go, 1);
    pthread_join(thread, NULL);
    ferry_client_close(both.client, FERRY_NOW, NULL); /* its last thread has ended: it is not usable any more */
    check_is(atomic_load(&both.run), 1);
    close_service(service);
    close_node(node);
}

#define CALLERS 3u
#define CALLS 3000u

static void *call_as_often_as_can_be(void *arg) {
    both_t *both = arg;
    while (atomic_load(&both->done) < CALLS) {
        int answer = ferry_call(both->client, "count", "12345678", 8, PATIENCE, NULL);
        check(answer == 0 || answer == -EBUSY);
        if (answer == 0)
            atomic_fetch_add(&both->done, 1);
        else
            sched_yield();
    }
    atomic_fetch_add(&both->inside, 1);
    await(&both->go, 1); /* a client whose last thread has ended is not usable any more */
    return NULL;
}

static void threads_in_one_client_lose_no_answers(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service;
    both_t both = {.inside = 0};
    pthread_t threads[CALLERS];
    begin(&both, node, &service);
    for (unsigned i = 0; i < CALLERS; i++)
        check_is(pthread_create(&threads[i], NULL, call_as_often_as_can_be, &both), 0);
    await(&both.inside, CALLERS);
    check_is(atomic_load(&both.run), atomic_load(&both.done));
    check_is(client_stats(both.client).under_way, 0);
    atomic_store(&both.go, 1);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    close_client(both.client);
    close_service(service);
    close_node(node);
}

/* ---- a service is closed between two runs ---- */

#define CLOSINGS 1000u

static void *run_again_and_again(void *arg) {
    int answer;
    do {
        answer = ferry_service_run(arg, 1);
    } while (answer == -ETIMEDOUT);
    check(answer == 0 || answer == -EBADF || answer == -ECANCELED);
    return NULL;
}

/* The runner's last call meets a service that is being taken apart, once in some hundred rounds. */
static void a_service_may_be_closed_between_two_runs(void) {
    ferry_t *node = open_node("test");
    for (unsigned round = 0; round < CLOSINGS; round++) {
        ferry_service_t *service = open_service(node, "s", NULL);
        pthread_t thread;
        add_method(service, "echo", echo, NULL);
        check_is(pthread_create(&thread, NULL, run_again_and_again, service), 0);
        nap(rand() % 300 * 1000LL);
        check_is(ferry_service_close(service, FERRY_NOW), 0);
        pthread_join(thread, NULL);
    }
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_client_is_busy_while_a_thread_waits_for_an_answer),
        TEST(threads_in_one_client_lose_no_answers),
        TEST(a_service_may_be_closed_between_two_runs),
    };
    return run_suite("call-overlap", tests, sizeof tests / sizeof tests[0], argc, argv);
}

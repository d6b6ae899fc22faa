/* SPDX-License-Identifier: MIT
 *
 * call_hope.c - the only server that a client is linked with has died, and another one, which was too slow to be linked
 * with until then, is there.
 */
#include "calls.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

typedef struct tale {
    server_t *doomed, *slow;
    atomic_uint inside;
    atomic_uint calm; /* nobody dies any more */
} tale_t;

/* Where the first server does not come back. */
static int wait_there(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->inside, 1);
    while (!atomic_load(&tale->calm))
        nap(MILLISECOND);
    return add_one(rq, data, size, NULL);
}

static void serve_elsewhere(void *server) {
    ferry_t *node = open_node("test");
    serve(node, server);
    close_node(node);
}

typedef struct scene {
    tale_t *tale;
    pid_t doomed, slow;
    ferry_t *node;
    ferry_client_t *client;
} scene_t;

static bool has_one_server(void *client) {
    return client_stats(client).servers == 1;
}
static bool has_no_server(void *client) {
    return client_stats(client).servers == 0;
}

/* The client knows the one that is about to die. */
static scene_t begin(void) {
    static const method_t methods[] = {{.name = "add", .handler = add_one},
                                       {.name = "wait", .handler = wait_there},
                                       {.name = "wait-again", .handler = wait_there, .idempotent = 1}};
    scene_t s = {.tale = share(sizeof *s.tale)};
    int status;
    s.tale->doomed = new_server("slow", 1, methods, sizeof methods / sizeof methods[0], s.tale);
    s.tale->slow = new_server("slow", 1, methods, sizeof methods / sizeof methods[0], s.tale);
    s.doomed = child_start(serve_elsewhere, s.tale->doomed);
    s.slow = child_start(serve_elsewhere, s.tale->slow);
    await(&s.tale->doomed->serving, 1);
    await(&s.tale->slow->serving, 1);
    check(kill(s.slow, SIGSTOP) == 0 && waitpid(s.slow, &status, WUNTRACED) == s.slow && WIFSTOPPED(status));
    s.node = open_node("test");
    s.client = open_client(s.node, "slow", 1);
    await_that(has_one_server, s.client, "the client is linked with one that stands still");
    return s;
}

static void kill_the_doomed(const scene_t *s) {
    int status;
    check(kill(s->doomed, SIGKILL) == 0 && waitpid(s->doomed, &status, 0) == s->doomed);
}

static void *wake_it_up_soon(void *scene) {
    const scene_t *s = scene;
    nap(150 * MILLISECOND);
    check_is(kill(s->slow, SIGCONT), 0);
    return NULL;
}

static void end(scene_t *s) {
    atomic_store(&s->tale->calm, 1);
    check_is(kill(s->slow, SIGCONT), 0);
    check(ferry_client_wait(s->client, 1, PATIENCE) == 1);
    check_is(call_number(s->client, "add", 5), 6);
    close_client(s->client);
    close_node(s->node);
    stop_server(s->tale->slow);
    child_join(s->slow);
}

static void a_call_goes_to_the_server_that_is_just_coming(void) {
    scene_t s = begin();
    pthread_t thread;
    kill_the_doomed(&s);
    await_that(has_no_server, s.client, "the client keeps a server that is dead");
    check_is(pthread_create(&thread, NULL, wake_it_up_soon, &s), 0);
    check_is(call_number(s.client, "add", 1), 2);
    check_is(pthread_join(thread, NULL), 0);
    end(&s);
}

/* One that has begun, and may be run again; one that has not begun. */
static void calls_under_way_go_to_the_server_that_is_just_coming(void) {
    scene_t s = begin();
    pthread_t thread;
    ferry_call_t *again = start_call(s.client, "wait-again", 1);
    ferry_call_t *next = start_call(s.client, "add", 3);
    await(&s.tale->inside, 1);
    kill_the_doomed(&s);
    atomic_store(&s.tale->calm, 1);
    check_is(pthread_create(&thread, NULL, wake_it_up_soon, &s), 0);
    check_is(finish_call(again), 2);
    check_is(finish_call(next), 4);
    check_is(pthread_join(thread, NULL), 0);
    end(&s);
}

static void what_must_not_be_run_again_may_have_run(void) {
    scene_t s = begin();
    pthread_t thread;
    ferry_call_t *once = start_call(s.client, "wait", 1);
    await(&s.tale->inside, 1);
    kill_the_doomed(&s);
    check_is(pthread_create(&thread, NULL, wake_it_up_soon, &s), 0);
    check_is(end_of_call(once), -ECONNRESET);
    check_is(pthread_join(thread, NULL), 0);
    check_is(atomic_load(&s.tale->inside), 1);
    end(&s);
}

/* By who polls, too. */
static void a_server_that_stands_still_is_not_waited_for_without_end(void) {
    scene_t s = begin();
    ferry_call_t *again = start_call(s.client, "wait-again", 1), *next = start_call(s.client, "add", 3), *call = NULL;
    ferry_msg_t *m = NULL;
    await(&s.tale->inside, 1);
    kill_the_doomed(&s);
    int r = -EAGAIN;
    for (int64_t limit = monotonic() + PATIENCE; r == -EAGAIN; r = ferry_client_next(s.client, FERRY_NOW, &call))
        check(monotonic() < limit);
    check_is(r, 0);
    check_error(ferry_call_wait(again, PATIENCE, &m), -ECONNRESET, "may have");
    check_error(ferry_call_wait(next, PATIENCE, &m), -ENOENT, "slow");
    release_call(again);
    release_call(next);
    for (unsigned i = 0; i < 3; i++)
        check_error(ferry_call(s.client, "add", &(uint64_t){1}, 8, PATIENCE, &m), -ENOENT, "nobody slow");
    end(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_call_goes_to_the_server_that_is_just_coming),
        TEST(calls_under_way_go_to_the_server_that_is_just_coming),
        TEST(what_must_not_be_run_again_may_have_run),
        TEST(a_server_that_stands_still_is_not_waited_for_without_end),
    };
    return run_suite("call-hope", tests, sizeof tests / sizeof tests[0], argc, argv);
}

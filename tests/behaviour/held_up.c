/* SPDX-License-Identifier: MIT
 *
 * held_up.c - what a thread waits for has come, and it was woken, but the machine gives it no processor for a while:
 * whoever waits for that thread meanwhile is in no deadlock.
 *
 * The thread that waits is kept in a signal's handler, in which it sleeps as it would in the machine's queue.
 */
#include "calls.h"
#include "objects.h"

#include <signal.h>
#include <unistd.h>

typedef struct scene {
    atomic_uint begun;  /* it is about to wait */
    atomic_int pid;     /* where it waits */
    atomic_int tid;     /* the same */
    atomic_uint kept;   /* it is in the handler */
    atomic_uint come;   /* give it what it waits for */
    atomic_uint let_go; /* it may go on */
    server_t *server;
} scene_t;

static scene_t *shown; /* to the handler */

static void keep(int number) {
    (void)number;
    int saved = errno;
    atomic_store(&shown->kept, 1);
    for (int64_t end = monotonic() + PATIENCE; !atomic_load(&shown->let_go) && monotonic() < end;)
        nap(MILLISECOND);
    errno = saved;
}

/* The calling thread is the one that will be held up. */
static void be_shown(scene_t *scene) {
    struct sigaction action = {.sa_handler = keep};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    shown = scene;
    check(sigaction(SIGUSR1, &action, NULL) == 0);
    check(pthread_sigmask(SIG_UNBLOCK, &signals, NULL) == 0);
    atomic_store(&scene->pid, getpid());
    atomic_store(&scene->tid, gettid());
    atomic_store(&scene->begun, 1);
}

/* Once it has waited for so long that it is shown: holds it up, lets come what it waits for, and whoever did that wait
 * for it until he has looked for a deadlock twice. */
static void hold_up(scene_t *scene, size_t waits) {
    await(&scene->begun, 1);
    await_waits(1);
    check(tgkill(atomic_load(&scene->pid), atomic_load(&scene->tid), SIGUSR1) == 0);
    await(&scene->kept, 1);
    atomic_store(&scene->come, 1);
    await_waits(waits);
    nap(150 * MILLISECOND);
    atomic_store(&scene->let_go, 1);
}

/* ---- an answer ---- */

static int answer_and_want_the_mutex(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    scene_t *scene = arg;
    ferry_mutex_t *mutex = open_mutex(scene->server->node, "mutex");
    await(&scene->come, 1);
    check_is(ferry_reply(rq, data, size), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    return 0;
}

static void call_with_the_mutex(ferry_t *node, void *arg) {
    ferry_mutex_t *mutex = open_mutex(node, "mutex");
    ferry_client_t *client = open_client(node, "one", 1);
    check_is(ferry_mutex_lock(mutex, FERRY_NOW), 0);
    ferry_call_t *call = start_call(client, "answer", 5);
    ferry_msg_t *reply = NULL;
    int r;
    be_shown(arg);
    while ((r = ferry_call_wait(call, PATIENCE, &reply)) == -EINTR) {
    }
    check_is(r, 0);
    check_is(number_in(reply), 5);
    release(reply);
    release_call(call);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_client(client);
}

static void an_answer_that_was_not_looked_at_yet_is_no_deadlock(where_t where) {
    const method_t method = {.name = "answer", .handler = answer_and_want_the_mutex};
    scene_t *scene = share(sizeof *scene);
    server_t *server = scene->server = new_server("one", 1, &method, 1, scene);
    crew_t *crew = crew_of(where, server);
    unsigned caller = crew_add(crew, call_with_the_mutex, scene);
    crew_node(crew);
    hold_up(scene, 2);
    crew_join(crew, caller);
    crew_end_with(crew, server);
}

/* ---- that a stream's reader has gone on ---- */

#define RESULTS 200u /* more than may wait for their reader */

static int send_results(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    be_shown(arg);
    for (uint64_t i = 0; i < RESULTS; i++)
        check_is(ferry_reply_more(rq, &i, sizeof i), 0);
    return 0;
}

static void read_results(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_client_t *client = open_client(node, "many", 1);
    ferry_call_t *call = start_stream(client, "results", 0);
    await(&scene->come, 1);
    for (uint64_t i = 0; i < RESULTS; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call_wait(call, PATIENCE, &reply), FERRY_CALL_MORE);
        check_is(number_in(reply), i);
        release(reply);
    }
    check_is(ferry_call_wait(call, PATIENCE, NULL), 0);
    release_call(call);
    close_client(client);
}

static void a_stream_that_may_go_on_is_no_deadlock(where_t where) {
    const method_t method = {.name = "results", .handler = send_results, .streams = 1};
    scene_t *scene = share(sizeof *scene);
    server_t *server = new_server("many", 1, &method, 1, scene);
    crew_t *crew = crew_of(where, server);
    unsigned reader = crew_add(crew, read_results, scene);
    crew_node(crew);
    hold_up(scene, 2);
    crew_join(crew, reader);
    crew_end_with(crew, server);
}

/* ---- room ---- */

#if !UNDER_TSAN /* which keeps signals from a thread that sleeps on a futex */

static void send_with_the_mutex(ferry_t *node, void *arg) {
    const ferry_contract_t contract = {.capacity = 1};
    ferry_mutex_t *mutex = open_mutex(node, "mutex");
    ferry_sender_t *tx = open_sender(node, "full", FERRY_QUEUE, &contract);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    check_is(ferry_mutex_lock(mutex, FERRY_NOW), 0);
    send_number(tx, 1);
    const uint64_t two = 2;
    int r;
    be_shown(arg);
    while ((r = ferry_send(tx, &two, sizeof two, PATIENCE)) == -EINTR) {
    }
    check_is(r, 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_sender(tx);
}

static void make_room_and_want_the_mutex(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_mutex_t *mutex = open_mutex(node, "mutex");
    ferry_receiver_t *rx = open_receiver(node, "full", FERRY_QUEUE, NULL);
    await(&scene->come, 1);
    check_is(receive_number(rx), 1);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(receive_number(rx), 2);
    check_is(ferry_mutex_close(mutex), 0);
    close_receiver(rx);
}

static void room_that_was_not_used_yet_is_no_deadlock(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_with_the_mutex, scene);
    crew_add(crew, make_room_and_want_the_mutex, scene);
    crew_node(crew);
    hold_up(scene, 2);
    crew_end(crew);
}

#define ROOM TEST_BOTH(room_that_was_not_used_yet_is_no_deadlock),
#else
#define ROOM
#endif

int main(int argc, char **argv) {
    const test_t tests[] = {TEST_BOTH(an_answer_that_was_not_looked_at_yet_is_no_deadlock),
                            TEST_BOTH(a_stream_that_may_go_on_is_no_deadlock), ROOM};
    return run_suite("held-up", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_wait.c - how callers and servers wait: asleep, awake or both by turns; and who disturbs them.
 */
#include "calls.h"

#include "objects.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- ways to wait: whoever falls asleep at the wrong moment would hang here ---- */

#define TRIPS 2000

typedef struct ways {
    ferry_wait_t client, server;
    atomic_uint callers;
} ways_t;

static int add_now_and_then_late(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    uint64_t number = number_at(data, size);
    (void)arg;
    if (number % 200 == 0)
        nap(MILLISECOND / 5); /* lets the caller fall asleep */
    reply_number(rq, number + 1);
    return 0;
}

static void make_trips(ferry_t *node, void *arg) {
    const ways_t *ways = arg;
    ferry_client_options_t options = {.wait = ways->client};
    ferry_client_t *client = open_client_with(node, "trips", &options, 1);
    for (uint64_t i = 0; i < TRIPS; i++) {
        check_is(call_number(client, "add", i), i + 1);
        if (i % 150 == 0)
            nap(MILLISECOND / 5); /* lets the server fall asleep */
    }
    close_client(client);
}

static void make_trips_with(where_t where, ferry_wait_t client, ferry_wait_t server, unsigned callers) {
    const method_t method = {.name = "add", .handler = add_now_and_then_late};
    ways_t *ways = share(sizeof *ways);
    *ways = (ways_t){.client = client, .server = server};
    server_t *s = new_server("trips", 1, &method, 1, NULL);
    s->options.wait = server;
    crew_t *crew = crew_of(where, s);
    for (unsigned i = 0; i < callers; i++)
        crew_add(crew, make_trips, ways);
    for (unsigned i = 0; i < callers; i++)
        crew_join(crew, 1 + i);
    crew_node(crew);
    crew_end_with(crew, s);
    check_is(s->stats.calls, (uint64_t)callers * TRIPS);
}

static void every_call_is_answered_when_both_sleep(where_t where) {
    make_trips_with(where, FERRY_WAIT_BLOCK, FERRY_WAIT_BLOCK, 2);
}

static void every_call_is_answered_when_both_adapt(where_t where) {
    make_trips_with(where, FERRY_WAIT_ADAPTIVE, FERRY_WAIT_ADAPTIVE, 3);
}

static void every_call_is_answered_when_both_stay_awake(where_t where) {
    make_trips_with(where, FERRY_WAIT_SPIN, FERRY_WAIT_SPIN, 1);
}

static void every_call_is_answered_when_only_one_sleeps(where_t where) {
    make_trips_with(where, FERRY_WAIT_SPIN, FERRY_WAIT_BLOCK, 1);
    make_trips_with(where, FERRY_WAIT_BLOCK, FERRY_WAIT_SPIN, 1);
}

/* ---- signals ---- */

static atomic_uint signals;

static void count_signal(int number) {
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = count_signal};
    check(sigaction(SIGUSR1, &action, NULL) == 0);
}

typedef struct disturber {
    pthread_t victim;
    atomic_uint stop;
} disturber_t;

/* Again and again: one signal could come before the wait. */
static void *disturb(void *arg) {
    disturber_t *d = arg;
    while (!atomic_load(&d->stop)) {
        pthread_kill(d->victim, SIGUSR1);
        nap(10 * MILLISECOND);
    }
    return NULL;
}

static pthread_t start_disturbing(disturber_t *d) {
    pthread_t thread;
    catch_signals();
    d->victim = pthread_self();
    check_is(pthread_create(&thread, NULL, disturb, d), 0);
    return thread;
}

static void stop_disturbing(disturber_t *d, pthread_t thread) {
    atomic_store(&d->stop, 1);
    check_is(pthread_join(thread, NULL), 0);
    check(atomic_load(&signals) > 0);
}

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    await(arg, 1);
    (void)ferry_reply(rq, data, size);
    return 0;
}

static void a_signal_ends_the_wait_and_not_the_call(where_t where) {
    const method_t methods[] = {{.name = "hold", .handler = hold}, {.name = "add", .handler = add_one}};
    atomic_uint *go = share(sizeof *go);
    server_t *server = new_server("calm", 1, methods, 2, go);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "calm", 1);
    ferry_call_t *call = start_call(client, "hold", 7), *next = NULL;
    disturber_t d = {.stop = 0};
    pthread_t thread = start_disturbing(&d);
    check_error(ferry_call_wait(call, PATIENCE, NULL), -EINTR, "");
    check_error(ferry_client_next(client, PATIENCE, &next), -EINTR, "");
    check_error(ferry_client_wait(client, 5, PATIENCE), -EINTR, "");
    stop_disturbing(&d, thread);
    atomic_store(go, 1);
    check_is(finish_call(call), 7);
    check_is(call_number(client, "add", 1), 2);
    close_client(client);
    crew_end_with(crew, server);
}

/* A call and its wait in one: it is given up, and its answer is nobody's. */
static void a_signal_gives_a_whole_call_up(where_t where) {
    const method_t methods[] = {{.name = "hold", .handler = hold}, {.name = "add", .handler = add_one}};
    atomic_uint *go = share(sizeof *go);
    server_t *server = new_server("calm", 1, methods, 2, go);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "calm", 1);
    uint64_t number = 7, undone = 0;
    disturber_t d = {.stop = 0};
    pthread_t thread = start_disturbing(&d);
    check_error(ferry_call(client, "hold", &number, sizeof number, PATIENCE, NULL), -EINTR, "");
    check_is(client_stats(client).under_way, 0);
    check_is(ferry_call_one_way(client, "hold", &number, sizeof number, PATIENCE), 0);
    check_error(ferry_client_close(client, PATIENCE, &undone), -EINTR, "");
    stop_disturbing(&d, thread);
    atomic_store(go, 1);
    check_is(call_number(client, "add", 1), 2); /* it was not closed */
    close_client(client);
    crew_end_with(crew, server);
}

/* The threads of a service are not chosen for the process's signals. */
static int tell_signals(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    sigset_t blocked;
    (void)data;
    (void)size;
    (void)arg;
    check_is(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    reply_number(rq, (uint64_t)(sigismember(&blocked, SIGUSR1) && sigismember(&blocked, SIGTERM) &&
                                sigismember(&blocked, SIGCHLD)));
    return 0;
}

static void the_threads_of_a_service_take_no_signals(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "calm", NULL);
    add_method(service, "signals", tell_signals, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "calm", 1);
    check_is(call_number(client, "signals", 0), 1);
    close_client(client);
    close_service(service);
    close_node(node);
}

static void a_signal_ends_a_programs_own_serving(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "calm", NULL);
    disturber_t d = {.stop = 0};
    add_method(service, "add", add_one, NULL);
    pthread_t thread = start_disturbing(&d);
    check_error(ferry_service_run(service, PATIENCE), -EINTR, "");
    stop_disturbing(&d, thread);
    check_error(ferry_service_run(service, FERRY_NOW), -EAGAIN, "");
    close_service(service);
    close_node(node);
}

static volatile sig_atomic_t stop_answer = 1;
static ferry_service_t *to_stop;

static void stop_it(int number) {
    (void)number;
    stop_answer = ferry_service_stop(to_stop);
}

/* As a program does on SIGTERM. */
static void a_signal_handler_may_stop_a_service(void) {
    ferry_t *node = open_node("test");
    to_stop = open_service(node, "calm", NULL);
    struct sigaction action = {.sa_handler = stop_it};
    check(sigaction(SIGALRM, &action, NULL) == 0);
    add_method(to_stop, "add", add_one, NULL);
    check_is(ferry_service_start(to_stop, 2), 0);
    alarm(1);
    int answer;
    do
        answer = ferry_service_run(to_stop, PATIENCE);
    while (answer == -EINTR);
    check_is(answer, 0);
    check_is(stop_answer, 0);
    close_service(to_stop);
    close_node(node);
}

/* ---- a thread that is cancelled ---- */

static void *call_for_ever(void *arg) {
    ferry_client_t *client = open_client(arg, "calm", 1);
    uint64_t number = 1;
    (void)ferry_call(client, "hold", &number, sizeof number, FERRY_FOREVER, NULL);
    check(!"the thread is cancelled in its call");
    return NULL;
}

static bool somebody_calls(void *service) {
    return service_stats(service).running == 1;
}

static bool nobody_is_shown_to_wait(void *arg) {
    ferry_look_t *look = NULL;
    (void)arg;
    check_is(ferry_look("test", NULL, &look), 0);
    bool nobody = ferry_look_waits(look) == 0;
    ferry_look_close(look);
    return nobody;
}

/* When `shown`, it has waited for so long that others are told. */
static void cancel_a_caller(bool shown) {
    atomic_uint *go = share(sizeof *go);
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "calm", NULL);
    pthread_t thread;
    void *result = NULL;
    add_method(service, "hold", hold, go);
    add_method(service, "add", add_one, NULL);
    check_is(ferry_service_start(service, 1), 0);
    check_is(pthread_create(&thread, NULL, call_for_ever, node), 0);
    await_that(somebody_calls, service, "the call does not come");
    if (shown)
        await_waits(1);
    else
        nap(20 * MILLISECOND);
    check_is(pthread_cancel(thread), 0);
    check_is(pthread_join(thread, &result), 0);
    check(result == PTHREAD_CANCELED);
    await_that(nobody_is_shown_to_wait, NULL, "a thread that has ended is still shown to wait");
    atomic_store(go, 1);
    ferry_client_t *client = open_client(node, "calm", 1);
    check_is(call_number(client, "add", 1), 2);
    close_client(client);
    close_service(service);
    check(ferry_close(node) >= 0); /* with what the cancelled thread had open */
}

static void a_caller_may_be_cancelled_in_its_wait(void) {
    cancel_a_caller(false);
}

/* Its wait does not stay listed on a stack that the next thread gets. */
static void a_caller_may_be_cancelled_in_a_long_wait(void) {
    cancel_a_caller(true);
}

/* ---- nobody calls ---- */

#if !UNDER_TSAN /* which has a thread of its own that wakes now and then */
/* How often threads other than this one have gone to sleep so far: none can do anything without doing that again. */
static uint64_t count_sleeps(void) {
    uint64_t sum = 0;
    char path[300], line[256];
    DIR *tasks = opendir("/proc/self/task");
    check(tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        unsigned long long sleeps = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = entry->d_name[0] == '.' || atoi(entry->d_name) == gettid() ? NULL : fopen(path, "re");
        while (status && fgets(line, sizeof line, status))
            if (sscanf(line, "voluntary_ctxt_switches: %llu", &sleeps) == 1)
                sum += sleeps;
        if (status)
            fclose(status);
    }
    closedir(tasks);
    return sum;
}

/* Nobody wakes for two seconds. Whoever has just been busy looks again a few times before he sleeps. */
static bool all_sleep_on(void *arg) {
    uint64_t before = count_sleeps();
    (void)arg;
    check(before > 0);
    nap(2 * SECOND);
    return count_sleeps() == before;
}

static bool has_slept_since(void *before) {
    return count_sleeps() > *(const uint64_t *)before;
}

static void idle_services_and_clients_sleep(void) {
    enum { EACH = 10 };
    ferry_service_t *services[EACH];
    ferry_client_t *clients[EACH];
    ferry_t *node = open_node("test"), *other = open_node("test");
    for (unsigned i = 0; i < EACH; i++) {
        char name[16] = {'s', (char)('0' + i)};
        services[i] = open_service(node, name, NULL);
        add_method(services[i], "add", add_one, NULL);
        check_is(ferry_service_start(services[i], 1 + i % 2), 0);
        clients[i] = open_client(other, name, 1);
        for (uint64_t k = 0; k < 10; k++)
            check_is(call_number(clients[i], "add", k), k + 1);
    }
    await_that(all_sleep_on, NULL, "somebody wakes again and again");
    uint64_t before = count_sleeps();
    check_is(call_number(clients[0], "add", 1), 2);
    await_that(has_slept_since, &before, "whoever had to do something is not counted");
    for (unsigned i = 0; i < EACH; i++) {
        close_client(clients[i]);
        close_service(services[i]);
    }
    close_node(other);
    close_node(node);
}
#endif

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(every_call_is_answered_when_both_sleep),
        TEST_ALL(every_call_is_answered_when_both_adapt),
        TEST_BOTH(every_call_is_answered_when_both_stay_awake),
        TEST_BOTH(every_call_is_answered_when_only_one_sleeps),
        TEST_BOTH(a_signal_ends_the_wait_and_not_the_call),
        TEST_BOTH(a_signal_gives_a_whole_call_up),
        TEST(the_threads_of_a_service_take_no_signals),
        TEST(a_signal_ends_a_programs_own_serving),
        TEST(a_signal_handler_may_stop_a_service),
        TEST(a_caller_may_be_cancelled_in_its_wait),
        TEST(a_caller_may_be_cancelled_in_a_long_wait),
#if !UNDER_TSAN
        TEST(idle_services_and_clients_sleep),
#endif
    };
    return run_suite("call-wait", tests, sizeof tests / sizeof tests[0], argc, argv);
}

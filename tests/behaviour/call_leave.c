/* SPDX-License-Identifier: MIT
 *
 * call_leave.c - servers that come and go in order, threads of the program that serve, and what closing waits for.
 */
#include "calls.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* What handlers and tests share. */
typedef struct tale {
    atomic_uint run;
    atomic_uint inside;
    atomic_uint go;
    atomic_uint stop;
    atomic_uint answered; /* calls that had a result */
    atomic_uint not_run;  /* calls that found nobody */
    atomic_uint callers;  /* that have begun */
} tale_t;

static int count_and_add(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    atomic_fetch_add(&((tale_t *)arg)->run, 1);
    return add_one(rq, data, size, NULL);
}

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->inside, 1);
    await(&tale->go, 1);
    return echo(rq, data, size, NULL);
}

static int run_until_cancelled(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    (void)data;
    (void)size;
    atomic_fetch_add(&tale->inside, 1);
    for (int64_t end = monotonic() + PATIENCE; !ferry_request_is_cancelled(rq);) {
        check(monotonic() < end);
        nap(MILLISECOND / 4);
    }
    return -ECANCELED;
}

static const method_t methods[] = {{.name = "add", .handler = count_and_add},
                                   {.name = "hold", .handler = hold},
                                   {.name = "until-cancelled", .handler = run_until_cancelled}};

static ferry_service_t *open_with_methods(ferry_t *node, tale_t *tale) {
    ferry_service_t *service = open_service(node, "coming", NULL);
    for (unsigned i = 0; i < sizeof methods / sizeof methods[0]; i++)
        add_method(service, methods[i].name, methods[i].handler, tale);
    return service;
}

/* ---- servers come and go while clients call ---- */

/* Each call either has its result, or was not run. */
static void call_all_the_time(ferry_t *node, void *arg) {
    tale_t *tale = arg;
    ferry_client_t *client = open_client(node, "coming", 1);
    atomic_fetch_add(&tale->callers, 1);
    for (uint64_t i = 0; !atomic_load(&tale->stop); i++) {
        ferry_msg_t *reply = NULL;
        int answer = ferry_call(client, "add", &i, sizeof i, PATIENCE, &reply);
        if (answer == 0) {
            check_is(number_in(reply), i + 1);
            release(reply);
            atomic_fetch_add(&tale->answered, 1);
        } else {
            check_error(answer, -ENOENT, "coming");
            atomic_fetch_add(&tale->not_run, 1);
            answer = ferry_client_wait(client, 1, 5 * MILLISECOND);
            check(answer >= 0 || answer == -ETIMEDOUT);
        }
    }
    close_client(client);
}

/* The same with many under way. */
static void call_many_all_the_time(ferry_t *node, void *arg) {
    enum { WINDOW = 30 };
    tale_t *tale = arg;
    ferry_call_t *calls[WINDOW] = {NULL};
    ferry_client_t *client = open_client(node, "coming", 1);
    atomic_fetch_add(&tale->callers, 1);
    for (uint64_t i = 0; !atomic_load(&tale->stop) || i % WINDOW; i++) {
        ferry_msg_t *reply = NULL;
        ferry_call_t **call = &calls[i % WINDOW];
        int answer = *call ? ferry_call_wait(*call, PATIENCE, &reply) : -ENOENT;
        check(answer == 0 || answer == -ENOENT);
        atomic_fetch_add(answer == 0 ? &tale->answered : &tale->not_run, 1);
        if (answer == 0)
            release(reply);
        check_is(ferry_call_release(*call), 0);
        *call = NULL;
        answer = ferry_call_start(client, "add", &i, sizeof i, 0, PATIENCE, call);
        check(answer == 0 || answer == -ENOENT);
    }
    for (unsigned i = 0; i < WINDOW; i++) {
        int answer = calls[i] ? ferry_call_wait(calls[i], PATIENCE, NULL) : -ENOENT;
        check(answer == 0 || answer == -ENOENT);
        atomic_fetch_add(&tale->answered, answer == 0);
        check_is(ferry_call_release(calls[i]), 0);
    }
    close_client(client);
}

/* Servers come and go; at the end, what was run is what was answered. */
static void run_with_changing_servers(where_t where, bool one_stays) {
    tale_t *tale = share(sizeof *tale);
    server_t *stays = new_server("coming", 1, methods, sizeof methods / sizeof methods[0], tale);
    unsigned rounds = UNDER_SANITIZER ? 10 : 30;
    crew_t *crew = crew_begin(where);
    atomic_store(&stays->go, one_stays);
    crew_add(crew, serve, stays);
    unsigned a = crew_add(crew, call_all_the_time, tale), b = crew_add(crew, call_many_all_the_time, tale);
    for (unsigned i = 0; i < rounds; i++) {
        ferry_service_t *service = open_with_methods(crew_node(crew), tale);
        check_is(ferry_service_start(service, 1 + i % 3), 0);
        await(&tale->callers, 2);
        nap(2 * MILLISECOND);
        if (i % 2)
            check_is(ferry_service_stop(service), 0);
        close_service(service);
    }
    atomic_store(&tale->stop, 1);
    atomic_store(&stays->go, 1);
    crew_join(crew, a);
    crew_join(crew, b);
    crew_end_with(crew, stays);
    check(atomic_load(&tale->answered) > 0);
    check_is(atomic_load(&tale->run), atomic_load(&tale->answered));
}

static void a_server_that_leaves_loses_no_call_to_another_that_stays(where_t where) {
    run_with_changing_servers(where, true);
}

static void the_last_server_that_leaves_says_what_was_not_run(where_t where) {
    run_with_changing_servers(where, false);
}

/* What was sent to it before is still done, by it or, untouched, by another. */
static void what_was_sent_before_the_stop_is_done(where_t where) {
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_server("coming", 1, methods, sizeof methods / sizeof methods[0], tale);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "coming", 1);
    ferry_call_t *first = start_call(client, "hold", 1), *calls[50];
    await(&tale->inside, 1);
    for (unsigned i = 0; i < 50; i++)
        calls[i] = start_call(client, "add", i);
    atomic_store(&server->stop, 1);
    nap(5 * MILLISECOND);
    atomic_store(&tale->go, 1);
    check_is(finish_call(first), 1);
    for (unsigned i = 0; i < 50; i++)
        check_is(finish_call(calls[i]), i + 1);
    crew_join(crew, 0);
    check_is(atomic_load(&tale->run), 50);
    check_error(ferry_call(client, "add", calls, 8, PATIENCE, NULL), -ENOENT, "coming");
    close_client(client);
    crew_end(crew);
}

/* A client that stands still, and was never answered by this thread before: there is no way to it yet. */
static void call_from_elsewhere(void *arg) {
    tale_t *tale = arg;
    await(&tale->inside, 1);
    ferry_t *node = open_node("test");
    ferry_client_t *client = open_client(node, "coming", 1);
    ferry_call_t *call = start_call(client, "add", 5);
    atomic_store(&tale->callers, 1);
    check_is(finish_call(call), 6);
    close_client(client);
    close_node(node);
}

typedef struct later {
    pid_t pid;
    int signal;
    int64_t delay;
} later_t;

static void *signal_later(void *arg) {
    const later_t *l = arg;
    nap(l->delay);
    check_is(kill(l->pid, l->signal), 0);
    return NULL;
}

/* Closes a service whose result that client does not come for, until it gets a signal. Returns how long that took. */
static int64_t close_while_a_client_stands_still(tale_t *tale, pid_t pid, int signal, int64_t delay) {
    later_t later = {.pid = pid, .signal = signal, .delay = delay};
    pthread_t thread;
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_service_t *service = open_with_methods(node, tale);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(other, "coming", 1);
    ferry_call_t *first = start_call(client, "hold", 1);
    await(&tale->callers, 1);
    check_is(kill(pid, SIGSTOP), 0);
    check_is(pthread_create(&thread, NULL, signal_later, &later), 0);
    atomic_store(&tale->go, 1);
    check_is(finish_call(first), 1);
    close_client(client);
    int64_t before = monotonic();
    check_is(ferry_service_close(service, 2 * PATIENCE), 0);
    int64_t took = monotonic() - before;
    check_is(pthread_join(thread, NULL), 0);
    close_node(other);
    close_node(node);
    return took;
}

static void a_client_that_stands_still_finds_its_result_later(void) {
    tale_t *tale = share(sizeof *tale);
    pid_t pid = child_start(call_from_elsewhere, tale);
    (void)close_while_a_client_stands_still(tale, pid, SIGCONT, 1200 * MILLISECOND);
    child_join(pid);
    check_is(atomic_load(&tale->run), 1);
}

static void a_client_that_dies_is_not_waited_for(void) {
    tale_t *tale = share(sizeof *tale);
    pid_t pid = child_start(call_from_elsewhere, tale);
    check(close_while_a_client_stands_still(tale, pid, SIGKILL, 300 * MILLISECOND) < PATIENCE);
    check_is(WTERMSIG(child_wait(pid)), SIGKILL);
}

/* ---- closing ---- */

static void closing_cancels_what_does_not_end_in_time(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_service_t *service = open_with_methods(node, tale);
    check_is(ferry_service_start(service, 2), 0);
    ferry_client_t *client = open_client(other, "coming", 2);
    ferry_call_t *stuck = start_call(client, "until-cancelled", 1);
    await(&tale->inside, 1);
    check_is(call_number(client, "add", 1), 2);
    int64_t begin = monotonic();
    check_is(ferry_service_close(service, 100 * MILLISECOND), 0);
    check(monotonic() - begin >= 100 * MILLISECOND);
    ferry_msg_t *reply = NULL;
    int answer = ferry_call_wait(stuck, PATIENCE, &reply);
    check(answer == -ECANCELED || (answer == FERRY_CALL_FAILED && error_in(reply).code == -ECANCELED));
    check_is(ferry_msg_release(reply), 0);
    release_call(stuck);
    check_error(ferry_service_stop(service), -EBADF, "closed");
    close_client(client);
    close_node(other);
    close_node(node);
}

static void results_outlive_the_service_that_gave_them(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_client_t *client = open_client(other, "coming", 0);
    ferry_service_t *service = open_service(node, "coming", NULL);
    static unsigned char bytes[50000];
    ferry_msg_t *kept[20];
    ferry_call_t *calls[20];
    (void)tale;
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    check_is(ferry_client_wait(client, 1, PATIENCE), 1);
    for (unsigned i = 0; i < 20; i++) {
        fill(bytes, sizeof bytes, i);
        check_is(ferry_call(client, "echo", bytes, i % 2 ? sizeof bytes : 100, PATIENCE, &kept[i]), 0);
        check_is(ferry_call_start(client, "echo", bytes, i % 2 ? sizeof bytes : 100, 0, PATIENCE, &calls[i]), 0);
    }
    close_service(service); /* finishes what it was sent */
    close_node(node);
    for (unsigned i = 0; i < 20; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call_wait(calls[i], PATIENCE, &reply), 0);
        check(filled(ferry_msg_data(reply), ferry_msg_size(reply), i));
        release(reply);
        release_call(calls[i]);
        check(filled(ferry_msg_data(kept[i]), i % 2 ? sizeof bytes : 100, i));
        release(kept[i]);
    }
    close_client(client);
    close_node(other);
}

static void a_hundred_services_one_after_the_other_leave_nothing(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test"), *other = open_node("test");
    unsigned descriptors = 0, mappings = 0;
    for (unsigned i = 0; i < 100; i++) {
        ferry_service_t *service = open_with_methods(node, tale);
        check_is(ferry_service_start(service, 1 + i % 2), 0);
        ferry_client_t *client = open_client(i % 3 ? other : node, "coming", 1);
        for (uint64_t k = 0; k < 5; k++)
            check_is(call_number(client, "add", k), k + 1);
        if (i % 2)
            close_client(client);
        close_service(service);
        if (i % 2 == 0)
            close_client(client);
        if (i == 30) {
            nap(200 * MILLISECOND);
            descriptors = count_descriptors();
            mappings = count_mappings("");
        }
    }
    for (int64_t limit = monotonic() + PATIENCE; count_descriptors() > descriptors;) {
        check(monotonic() < limit);
        nap(MILLISECOND);
    }
    check(count_mappings("") <= mappings + 10); /* not one for each of seventy */
    close_node(other);
    close_node(node);
}

/* ---- threads of the program ---- */

typedef struct own {
    ferry_t *node;
    ferry_service_t *service;
    tale_t *tale;
    atomic_uint ready;
    int answer;
} own_t;

static own_t begin_own(void) {
    own_t own = {.node = open_node("test"), .tale = share(sizeof(tale_t))};
    own.service = open_with_methods(own.node, own.tale);
    return own;
}

static void *run_until_stopped(void *arg) {
    own_t *own = arg;
    atomic_store(&own->ready, 1);
    own->answer = ferry_service_run(own->service, FERRY_FOREVER);
    return NULL;
}

static void a_thread_of_the_program_serves_until_the_stop(void) {
    own_t own = begin_own();
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, run_until_stopped, &own), 0);
    ferry_client_t *client = open_client(own.node, "coming", 1);
    for (uint64_t i = 0; i < 100; i++)
        check_is(call_number(client, "add", i), i + 1);
    check_is(service_stats(own.service).threads, 1);
    check_is(ferry_service_stop(own.service), 0);
    check_is(pthread_join(thread, NULL), 0);
    check_is(own.answer, 0);
    check_error(ferry_service_start(own.service, 1), -ECANCELED, "coming stopped");
    close_client(client);
    close_service(own.service);
    close_node(own.node);
}

/* One thread is both: it serves what has come, then takes its answers. */
static void a_thread_serves_by_its_descriptor_what_it_has_called_itself(void) {
    own_t own = begin_own();
    int fd = ferry_service_fd(own.service);
    check(fd >= 0);
    check_is(ferry_service_fd(own.service), fd);
    ferry_client_t *client = open_client(own.node, "coming", 1);
    check_error(ferry_service_run(own.service, FERRY_NOW), -EAGAIN, "");
    check_error(ferry_service_run(own.service, 5 * MILLISECOND), -ETIMEDOUT, "coming");
    for (uint64_t round = 0; round < 50; round++) {
        ferry_call_t *calls[5];
        for (unsigned i = 0; i < 5; i++)
            calls[i] = start_call(client, "add", i);
        struct pollfd item = {.fd = fd, .events = POLLIN};
        for (uint64_t done = round * 5; done < (round + 1) * 5; done = service_stats(own.service).calls) {
            check_is(poll(&item, 1, (int)(PATIENCE / MILLISECOND)), 1);
            check_error(ferry_service_run(own.service, FERRY_NOW), -EAGAIN, "");
        }
        for (unsigned i = 0; i < 5; i++)
            check_is(finish_call(calls[i]), i + 1);
    }
    close_client(client);
    close_service(own.service);
    close_node(own.node);
}

static void *serve_nothing_and_end(void *arg) {
    own_t *own = arg;
    check_error(ferry_service_run(own->service, FERRY_NOW), -EAGAIN, "");
    atomic_store(&own->ready, 1);
    await(&own->tale->go, 1);
    return NULL;
}

/* Clients may send to it between its runs; when it ends, nothing of that was begun. */
static void what_a_thread_has_not_begun_when_it_ends_goes_to_others(void) {
    own_t own = begin_own();
    pthread_t thread;
    ferry_call_t *calls[10];
    check_is(pthread_create(&thread, NULL, serve_nothing_and_end, &own), 0);
    await(&own.ready, 1);
    ferry_client_t *client = open_client(own.node, "coming", 1);
    for (unsigned i = 0; i < 10; i++)
        calls[i] = start_call(client, "add", i);
    check_is(ferry_service_start(own.service, 1), 0);
    check(ferry_client_wait(client, 2, PATIENCE) >= 2);
    atomic_store(&own.tale->go, 1);
    check_is(pthread_join(thread, NULL), 0);
    for (unsigned i = 0; i < 10; i++)
        check_is(finish_call(calls[i]), i + 1);
    check_is(atomic_load(&own.tale->run), 10);
    close_client(client);
    close_service(own.service);
    close_node(own.node);
}

/* In a handler, neither serving nor closing would ever end. */
static int serve_inside(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    own_t *own = arg;
    (void)data;
    (void)size;
    check_error(ferry_service_run(own->service, FERRY_NOW), -EDEADLK, "handler coming");
    check_error(ferry_service_fd(own->service), -EDEADLK, "handler coming");
    check_error(ferry_service_close(own->service, FERRY_NOW), -EDEADLK, "handler coming");
    check_is(ferry_service_stop(own->service), 0); /* that it may */
    return ferry_reply(rq, "x", 1);
}

static void a_handler_cannot_wait_for_its_own_end(void) {
    own_t own = {.node = open_node("test"), .tale = share(sizeof(tale_t))};
    own.service = open_service(own.node, "coming", NULL);
    add_method(own.service, "inside", serve_inside, &own);
    check_is(ferry_service_start(own.service, 1), 0);
    ferry_client_t *client = open_client(own.node, "coming", 1);
    check_is(ferry_call(client, "inside", NULL, 0, PATIENCE, NULL), 0);
    close_service(own.service);
    close_client(client);
    close_node(own.node);
}

static void *shut_node_down(void *arg) {
    own_t *own = arg;
    await(&own->tale->inside, 1);
    check_is(ferry_shutdown(own->node), 0);
    return NULL;
}

/* A node that is shut down ends all waits on both sides. */
static void a_node_that_is_shut_down_ends_calls_and_service(void) {
    own_t own = begin_own();
    ferry_t *mine = own.node;
    pthread_t thread, server;
    own.node = open_node("test");
    check_is(pthread_create(&server, NULL, run_until_stopped, &own), 0);
    ferry_client_t *client = open_client(own.node, "coming", 1);
    check_is(pthread_create(&thread, NULL, shut_node_down, &own), 0);
    check_error(ferry_call(client, "until-cancelled", NULL, 0, PATIENCE, NULL), -ESHUTDOWN, "");
    check_is(pthread_join(thread, NULL), 0);
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    check_is(ferry_shutdown(mine), 0);
    check_is(pthread_join(server, NULL), 0);
    check_is(own.answer, -ESHUTDOWN);
    close_service(own.service);
    close_node(own.node);
    close_node(mine);
}

/* ---- answers that find no room ---- */

#define LARGE (300u << 10)
#define LARGE_CALLS 8u

static int answer_at_length(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    static const char bytes[LARGE];
    (void)data;
    (void)size;
    atomic_fetch_add(&tale->inside, 1);
    int answer = ferry_reply(rq, bytes, sizeof bytes);
    atomic_fetch_sub(&tale->inside, 1);
    if (answer < 0)
        atomic_store(&tale->not_run, (unsigned)-answer);
    return answer;
}

/* A server whose thread waits, in its handler, until the client takes earlier answers, which it does not. */
typedef struct crammed {
    ferry_t *node, *there;
    ferry_service_t *service;
    ferry_client_t *client;
    ferry_call_t *calls[LARGE_CALLS];
    tale_t tale;
} crammed_t;

static void cram(crammed_t *s) {
    s->node = open_node("test");
    s->there = open_node("test");
    s->service = open_service(s->node, "crammed", &(ferry_service_options_t){.quota = 1u << 20});
    add_method(s->service, "large", answer_at_length, &s->tale);
    add_method(s->service, "add", add_one, NULL);
    check_is(ferry_service_start(s->service, 1), 0);
    s->client = open_client(s->there, "crammed", 1);
    for (unsigned i = 0; i < LARGE_CALLS; i++)
        s->calls[i] = start_call(s->client, "large", i);
    while (service_stats(s->service).calls < 3)
        nap(MILLISECOND);
    nap(100 * MILLISECOND); /* it waits in the handler, else it will */
}

static void closing_does_not_wait_for_room_for_answers(void) {
    crammed_t s = {.node = NULL};
    cram(&s);
    check_is(ferry_service_close(s.service, 50 * MILLISECOND), 0);
    check_is(atomic_load(&s.tale.not_run), ECANCELED);
    close_client(s.client);
    close_node(s.there);
    close_node(s.node);
}

static void who_leaves_sets_a_thread_free_that_waits_to_answer(void) {
    crammed_t s = {.node = NULL};
    cram(&s);
    close_client(s.client);
    await(&s.tale.not_run, 1);
    ferry_client_t *other = open_client(s.there, "crammed", 1);
    check_is(call_number(other, "add", 1), 2);
    check(atomic_load(&s.tale.not_run) == EPIPE || atomic_load(&s.tale.not_run) == ECANCELED);
    close_client(other);
    close_service(s.service);
    close_node(s.there);
    close_node(s.node);
}

static void cancelling_sets_a_thread_free_that_waits_to_answer(void) {
    crammed_t s = {.node = NULL};
    cram(&s);
    for (unsigned i = 0; i < LARGE_CALLS; i++)
        (void)ferry_call_cancel(s.calls[i]); /* the answers of some are there */
    await(&s.tale.not_run, 1);
    ferry_client_t *other = open_client(s.there, "crammed", 1);
    check_is(call_number(other, "add", 1), 2);
    check_is(atomic_load(&s.tale.not_run), ECANCELED);
    close_client(other);
    close_client(s.client);
    close_service(s.service);
    close_node(s.there);
    close_node(s.node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(closing_does_not_wait_for_room_for_answers),
        TEST(who_leaves_sets_a_thread_free_that_waits_to_answer),
        TEST(cancelling_sets_a_thread_free_that_waits_to_answer),
        TEST_ALL(a_server_that_leaves_loses_no_call_to_another_that_stays),
        TEST_ALL(the_last_server_that_leaves_says_what_was_not_run),
        TEST_BOTH(what_was_sent_before_the_stop_is_done),
        TEST(a_client_that_stands_still_finds_its_result_later),
        TEST(a_client_that_dies_is_not_waited_for),
        TEST(closing_cancels_what_does_not_end_in_time),
        TEST(results_outlive_the_service_that_gave_them),
        TEST(a_hundred_services_one_after_the_other_leave_nothing),
        TEST(a_thread_of_the_program_serves_until_the_stop),
        TEST(a_thread_serves_by_its_descriptor_what_it_has_called_itself),
        TEST(what_a_thread_has_not_begun_when_it_ends_goes_to_others),
        TEST(a_handler_cannot_wait_for_its_own_end),
        TEST(a_node_that_is_shut_down_ends_calls_and_service),
    };
    return run_suite("call-leave", tests, sizeof tests / sizeof tests[0], argc, argv);
}

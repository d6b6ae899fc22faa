/* SPDX-License-Identifier: MIT
 *
 * call_circle.c - deadlocks that calls are part of: services that call each other, locks, queues; and what is none.
 */
#include "calls.h"

#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What all members of a scene share. */
typedef struct tale {
    atomic_uint told; /* how many waits were told of a deadlock */
    atomic_uint inside;
    atomic_uint go;
    atomic_uint done;
    char sentence[2048]; /* of the last */
    int64_t nap;
    unsigned threads; /* of each service, that a client is to find; 0: one */
} tale_t;

/* What one server's handlers are given. */
typedef struct part {
    tale_t *tale;
    server_t *server;
} part_t;

static server_t *new_part(const char *name, unsigned threads, const method_t *methods, size_t count, tale_t *tale) {
    part_t *part = share(sizeof *part);
    part->tale = tale;
    part->server = new_server(name, threads, methods, count, part);
    return part->server;
}

static int note(tale_t *tale, int answer) {
    if (answer == -EDEADLK) {
        snprintf(tale->sentence, sizeof tale->sentence, "%s", ferry_last_error());
        atomic_fetch_add(&tale->told, 1);
    }
    return answer;
}

static void check_sentence(const tale_t *tale, const char *words) {
    char list[256];
    snprintf(list, sizeof list, "%s", words);
    for (char *rest = NULL, *word = strtok_r(list, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strstr(tale->sentence, word))
            continue;
        fprintf(stderr, "# no \"%s\" in: %s\n", word, tale->sentence);
        check(!"the sentence names what is in the circle");
    }
    if (strstr(tale->sentence, "? "))
        fprintf(stderr, "# %s\n", tale->sentence);
    check(!strstr(tale->sentence, "? ")); /* everything has a name */
}

/* Calls a method of another service without a limit of its own. */
static int call_other(ferry_t *node, tale_t *tale, const char *service, const char *method) {
    uint64_t number = 0;
    ferry_msg_t *reply = NULL;
    ferry_client_t *client = open_client(node, service, tale->threads ? tale->threads : 1);
    int answer = note(tale, ferry_call(client, method, &number, sizeof number, FERRY_FOREVER, &reply));
    if (answer >= 0)
        check_is(ferry_msg_release(reply), 0);
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    return answer;
}

static int call_from_handler(ferry_request_t *rq, const part_t *part, const char *service, const char *method) {
    int answer = call_other(part->server->node, part->tale, service, method);
    if (answer == 0)
        return ferry_reply(rq, "x", 1);
    return answer == FERRY_CALL_FAILED ? -EREMOTEIO : answer;
}

static int ask_right(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return call_from_handler(rq, arg, "right", "ask");
}

static int ask_left(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return call_from_handler(rq, arg, "left", "end");
}

static int end_here(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const part_t *part = arg;
    (void)data;
    (void)size;
    nap(part->tale->nap);
    return ferry_reply(rq, "x", 1);
}

/* ---- services that call each other ---- */

typedef struct pair {
    crew_t *crew;
    server_t *left, *right;
    tale_t *tale;
    ferry_client_t *client;
} pair_t;

static pair_t begin_pair(where_t where, unsigned threads) {
    const method_t left[] = {{.name = "ask", .handler = ask_right}, {.name = "end", .handler = end_here}};
    const method_t right = {.name = "ask", .handler = ask_left};
    pair_t p = {.tale = share(sizeof *p.tale)};
    p.tale->threads = threads;
    p.left = new_part("left", threads, left, 2, p.tale);
    p.right = new_part("right", threads, &right, 1, p.tale);
    p.crew = crew_of(where, p.left);
    crew_add(p.crew, serve, p.right);
    p.client = open_client(crew_node(p.crew), "left", threads);
    return p;
}

static void end_pair(pair_t *p) {
    close_client(p->client);
    stop_server(p->left);
    stop_server(p->right);
    crew_end(p->crew);
}

/* left waits for right, which waits for left, whose one thread waits. */
static void two_services_that_wait_for_each_other_are_told(where_t where) {
    pair_t p = begin_pair(where, 1);
    for (unsigned i = 1; i <= 3; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call(p.client, "ask", NULL, 0, PATIENCE, &reply), FERRY_CALL_FAILED);
        int32_t code = error_in(reply).code;
        check(code == -EREMOTEIO || code == -EDEADLK);
        release(reply);
        check_is(atomic_load(&p.tale->told), i); /* one of the two */
        check_sentence(p.tale, "deadlock left right ferry-left ferry-right");
    }
    end_pair(&p);
}

/* The second thread of left can answer. It gets the call as long as neither has served any: by then, where the idle one
 * was slow, and be it that it was given no processor, the busy one may be expected to be done sooner, and the call
 * waits behind it. */
static void two_threads_each_are_enough(where_t where) {
    pair_t p = begin_pair(where, 2);
    p.tale->nap = 300 * MILLISECOND; /* time for several looks */
    check_is(ferry_call(p.client, "ask", NULL, 0, PATIENCE, NULL), 0);
    check_is(atomic_load(&p.tale->told), 0);
    end_pair(&p);
}

/* A service with one thread that calls itself. */
static int ask_itself(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return call_from_handler(rq, arg, "self", "end");
}

static void a_service_that_waits_for_itself_is_told(where_t where) {
    const method_t list[] = {{.name = "ask", .handler = ask_itself}, {.name = "end", .handler = end_here}};
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_part("self", 1, list, 2, tale);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "self", 1);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, "ask", NULL, 0, PATIENCE, &reply), FERRY_CALL_FAILED);
    check_is(error_in(reply).code, -EDEADLK);
    release(reply);
    check_is(atomic_load(&tale->told), 1);
    check_sentence(tale, "deadlock self.end ferry-self");
    check_is(ferry_call(client, "end", NULL, 0, PATIENCE, NULL), 0);
    close_client(client);
    crew_end_with(crew, server);
}

/* ---- calls and other waits ---- */

static int lock_here(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const part_t *part = arg;
    ferry_mutex_t *mutex = open_mutex(part->server->node, "guard");
    (void)rq;
    (void)data;
    (void)size;
    int answer = note(part->tale, ferry_mutex_lock(mutex, FERRY_FOREVER));
    if (answer == 0)
        check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    return answer;
}

/* The caller holds what the procedure needs. */
static void a_caller_that_holds_what_the_server_wants_is_told(where_t where) {
    const method_t method = {.name = "lock", .handler = lock_here};
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_part("locker", 1, &method, 1, tale);
    crew_t *crew = crew_of(where, server);
    ferry_t *node = crew_node(crew);
    ferry_client_t *client = open_client(node, "locker", 1);
    ferry_mutex_t *mutex = open_mutex(node, "guard");
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, "lock", NULL, 0, PATIENCE, NULL), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    int answer = note(tale, ferry_call(client, "lock", NULL, 0, PATIENCE, &reply));
    check(answer == -EDEADLK || answer == FERRY_CALL_FAILED);
    if (answer == FERRY_CALL_FAILED) {
        check_is(error_in(reply).code, -EDEADLK);
        release(reply);
    }
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(atomic_load(&tale->told), 1);
    check_sentence(tale, "deadlock guard locker.lock ferry-locker");
    check_is(ferry_call(client, "lock", NULL, 0, PATIENCE, NULL), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_client(client);
    crew_end_with(crew, server);
}

static int fill_queue(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    ferry_contract_t contract = {.capacity = 1};
    const part_t *part = arg;
    ferry_sender_t *tx = open_sender(part->server->node, "back", FERRY_QUEUE, &contract);
    int answer = 0;
    (void)rq;
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned i = 0; i < 3 && answer == 0; i++)
        answer = note(part->tale, ferry_send(tx, data, size, FERRY_FOREVER));
    drop_sender(tx);
    return answer;
}

/* The procedure sends to a queue that its caller would read after the call. */
static void a_caller_that_should_make_room_is_told(where_t where) {
    const method_t method = {.name = "fill", .handler = fill_queue};
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_part("filler", 1, &method, 1, tale);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "filler", 1);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "back", FERRY_QUEUE, NULL);
    ferry_msg_t *reply = NULL;
    int answer = note(tale, ferry_call(client, "fill", "x", 1, PATIENCE, &reply));
    check(answer == -EDEADLK || answer == FERRY_CALL_FAILED);
    if (answer == FERRY_CALL_FAILED) {
        check_is(error_in(reply).code, -EDEADLK);
        release(reply);
    }
    check_is(atomic_load(&tale->told), 1);
    check_sentence(tale, "deadlock back filler.fill ferry-filler");
    for (unsigned i = 0; i < 3 && answer == -EDEADLK;
         i++) /* it was the caller who was told: the procedure still sends */
        release(receive(rx));
    close_receiver(rx);
    close_client(client);
    crew_end_with(crew, server);
}

/* ---- no deadlock ---- */

/* Two clients wait for a server that just takes its time; each is the only one of its node. */
static void wait_for_the_slow_one(ferry_t *node, void *arg) {
    check_is(call_other(node, arg, "slow", "end"), 0);
    atomic_fetch_add(&((tale_t *)arg)->done, 1);
}

static void wait_for_a_slow_server(where_t where, int64_t time) {
    const method_t method = {.name = "end", .handler = end_here};
    tale_t *tale = share(sizeof *tale);
    tale->nap = time;
    server_t *server = new_part("slow", 2, &method, 1, tale);
    crew_t *crew = crew_of(where, server);
    crew_add(crew, wait_for_the_slow_one, tale);
    crew_add(crew, wait_for_the_slow_one, tale);
    crew_node(crew);
    crew_join(crew, 1);
    crew_join(crew, 2);
    check_is(atomic_load(&tale->done), 2);
    check_is(atomic_load(&tale->told), 0);
    crew_end_with(crew, server);
}

static void a_slow_server_is_no_deadlock(where_t where) {
    wait_for_a_slow_server(where, SECOND / 2);
}

static void a_very_slow_server_is_no_deadlock(void) {
    wait_for_a_slow_server(IN_PROCESSES, 5 * SECOND);
}

/* The circle is there, but has an end: the call within the call has little time. */
static int ask_left_for_a_moment(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const part_t *part = arg;
    ferry_client_t *client = open_client(part->server->node, "left", 1);
    (void)data;
    (void)size;
    int answer = note(part->tale, ferry_call(client, "end", NULL, 0, 20 * MILLISECOND, NULL));
    check(answer == -ETIMEDOUT || answer == -EDEADLK);
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    return ferry_reply(rq, "x", 1);
}

static void a_circle_that_opens_in_time_is_none(where_t where) {
    const method_t left[] = {{.name = "ask", .handler = ask_right}, {.name = "end", .handler = end_here}};
    const method_t right = {.name = "ask", .handler = ask_left_for_a_moment};
    tale_t *tale = share(sizeof *tale);
    server_t *servers[2] = {new_part("left", 1, left, 2, tale), new_part("right", 1, &right, 1, tale)};
    crew_t *crew = crew_of(where, servers[0]);
    crew_add(crew, serve, servers[1]);
    ferry_client_t *client = open_client(crew_node(crew), "left", 1);
    check_is(ferry_call(client, "ask", NULL, 0, PATIENCE, NULL), 0);
    close_client(client);
    stop_server(servers[0]);
    stop_server(servers[1]);
    crew_end(crew);
}

/* ---- seen from outside ---- */

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const part_t *part = arg;
    atomic_store(&part->tale->inside, 1);
    await(&part->tale->go, 1);
    return echo(rq, data, size, NULL);
}

static void call_and_wait(ferry_t *node, void *arg) {
    check_is(call_other(node, arg, "held", "hold"), 0);
}

static void a_long_wait_for_an_answer_is_shown(where_t where) {
    const method_t method = {.name = "hold", .handler = hold};
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_part("held", 1, &method, 1, tale);
    crew_t *crew = crew_of(where, server);
    unsigned member = crew_add(crew, call_and_wait, tale);
    crew_node(crew);
    await(&tale->inside, 1);
    await_waits(1);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    check_is(ferry_look_waits(look), 1);
    const ferry_look_wait_t *wait = ferry_look_wait(look, 0);
    check_is(wait->what, FERRY_FOR_REPLY);
    check(strcmp(wait->name, "held.hold") == 0);
    check_is(wait->holders, 1);
    check(ferry_look_holder(look, 0, 0)->tid != 0); /* the thread that runs it */
    check_is(ferry_look_holder(look, 0, 0)->wait, -1);
    check_is(wait->circle, 0);
    ferry_look_close(look);
    atomic_store(&tale->go, 1);
    crew_join(crew, member);
    crew_end_with(crew, server);
}

#define MORE_THAN_FIT 6

static void call_more_than_fits(ferry_t *node, void *arg) {
    static const unsigned char bytes[300000];
    ferry_call_t *calls[MORE_THAN_FIT];
    (void)arg;
    ferry_client_t *client = open_client_with(node, "held", &(ferry_client_options_t){.quota = 1u << 20}, 1);
    for (unsigned i = 0; i < MORE_THAN_FIT; i++)
        check_is(ferry_call_start(client, "hold", bytes, sizeof bytes, 0, PATIENCE, &calls[i]), 0);
    for (unsigned i = 0; i < MORE_THAN_FIT; i++) {
        check_is(ferry_call_wait(calls[i], PATIENCE, NULL), 0);
        release_call(calls[i]);
    }
    close_client(client);
}

/* Not the inner name of the channel. */
static void a_long_wait_to_send_a_call_is_shown_by_the_services_name(where_t where) {
    const method_t method = {.name = "hold", .handler = hold};
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_part("held", 1, &method, 1, tale);
    crew_t *crew = crew_of(where, server);
    unsigned member = crew_add(crew, call_more_than_fits, tale);
    crew_node(crew);
    await(&tale->inside, 1);
    await_waits(1);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    check_is(ferry_look_waits(look), 1);
    check_is(ferry_look_wait(look, 0)->what, FERRY_FOR_ROOM);
    check(strcmp(ferry_look_wait(look, 0)->name, "calls of held") == 0);
    ferry_look_close(look);
    atomic_store(&tale->go, 1);
    crew_join(crew, member);
    crew_end_with(crew, server);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(two_services_that_wait_for_each_other_are_told),
        TEST_BOTH(two_threads_each_are_enough),
        TEST_BOTH(a_service_that_waits_for_itself_is_told),
        TEST_ALL(a_caller_that_holds_what_the_server_wants_is_told),
        TEST_BOTH(a_caller_that_should_make_room_is_told),
        TEST_BOTH(a_slow_server_is_no_deadlock),
        TEST(a_very_slow_server_is_no_deadlock),
        TEST_BOTH(a_circle_that_opens_in_time_is_none),
        TEST_BOTH(a_long_wait_for_an_answer_is_shown),
        TEST_BOTH(a_long_wait_to_send_a_call_is_shown_by_the_services_name),
    };
    return run_suite("call-circle", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * Ferry's calls, as programs make them: a service with a thread of its own, and clients that take turns.
 *
 * A service whose threads spin is opened anew for each slice: they would disturb whatever else is measured. Any other
 * one sleeps meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/calls.h"
#include "bench/payload.h"

static const char service_name[] = "echo";
static const struct timespec rest_time = {.tv_sec = 1};

typedef struct server {
    bench_side_t *me;
    bench_calls_t *calls;
    ferry_service_t *service; /* NULL: not open */
    unsigned char *answer;
    uint64_t served;
} server_t;

typedef struct caller {
    bench_side_t *me;
    bench_calls_t *calls;
    unsigned number;
    unsigned clients, turn;
    ferry_client_t **client;
    ferry_call_t *call[BENCH_MAX_OUTSTANDING];
    unsigned char *question;
    size_t size;
    ferry_msg_t *m; /* the only question under way, by pointer */
    uint64_t asked;
} caller_t;

/* What a side has: one of the two. */
typedef struct joined {
    server_t server;
    caller_t caller;
} joined_t;

/* --- serving ----------------------------------------------------------------------------------------------------- */

static int answer(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    server_t *server = arg;
    const bench_settings_t *s = server->me->settings;
    uint64_t id = 0;

    if (size != s->size || !bench_payload_check(data, size, &id))
        bench_fail(server->me, "an argument of %zu bytes arrived damaged", size);
    bench_payload_fill(server->answer, bench_answer_size(s), id | BENCH_ID_REPLY);
    server->served++;
    return ferry_reply(rq, server->answer, bench_answer_size(s));
}

static int rest(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)rq, (void)data, (void)size, (void)arg;
    nanosleep(&rest_time, NULL);
    return 0;
}

static void check(bench_side_t *me, const char *what, int error) {
    if (error < 0)
        bench_fail(me, "%s answered %s: %s", what, strerror(-error), ferry_last_error());
}

static void start_service(server_t *server) {
    const ferry_service_options_t options = {.wait = server->me->settings->wait};
    ferry_service_t *service = NULL;

    check(server->me, "ferry_service_open",
          ferry_service_open(bench_node(server->me), service_name, &options, &service));
    check(server->me, "ferry_service_method", ferry_service_method(service, "answer", answer, server, NULL));
    check(server->me, "ferry_service_method", ferry_service_method(service, "rest", rest, server, NULL));
    check(server->me, "ferry_service_start", ferry_service_start(service, 1));
    server->service = service;
}

static void stop_service(server_t *server) {
    check(server->me, "ferry_service_close", ferry_service_close(server->service, BENCH_PATIENCE));
    server->service = NULL;
}

static void calls_follow(void *joined) {
    server_t *server = &((joined_t *)joined)->server;

    if (server->service == NULL)
        start_service(server);
    bench_meet(server->me); /* it can be called */
    bench_meet(server->me); /* all calls are over */
    if (server->me->settings->wait == FERRY_WAIT_SPIN)
        stop_service(server);
}

/* --- calling ----------------------------------------------------------------------------------------------------- */

static ferry_client_t *next_client(caller_t *caller) {
    ferry_client_t *client = caller->client[caller->turn];

    caller->turn = caller->turn + 1 < caller->clients ? caller->turn + 1 : 0;
    return client;
}

static void check_reply(const caller_t *caller, uint64_t number, int result, ferry_msg_t *reply) {
    uint64_t id = 0;

    if (result != 0 || reply == NULL)
        bench_fail(caller->me, "call %llu ended with %d: %s", (unsigned long long)number, result, ferry_last_error());
    if (ferry_msg_size(reply) != bench_answer_size(caller->me->settings) ||
        !bench_payload_check(ferry_msg_data(reply), ferry_msg_size(reply), &id))
        bench_fail(caller->me, "a result of %zu bytes arrived damaged", ferry_msg_size(reply));
    if (id != (bench_id(caller->number, number) | BENCH_ID_REPLY))
        bench_fail(caller->me, "the result of call %llu belongs to another one", (unsigned long long)number);
    ferry_msg_release(reply);
}

static ferry_msg_t *new_question(const caller_t *caller, ferry_client_t *client, uint64_t number) {
    ferry_msg_t *m = NULL;
    void *data = NULL;

    check(caller->me, "ferry_client_new_msg", ferry_client_new_msg(client, caller->size, BENCH_PATIENCE, &data, &m));
    bench_payload_fill(data, caller->size, bench_id(caller->number, number));
    return m;
}

/* One call at a time, as plainly as it goes. */
static void prepare(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;

    (void)place;
    bench_payload_fill(caller->question, caller->size, bench_id(caller->number, number));
}

static void call(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;
    ferry_msg_t *reply = NULL;

    (void)place;
    int result = ferry_call(next_client(caller), "answer", caller->question, caller->size, BENCH_PATIENCE, &reply);
    check_reply(caller, number, result, reply);
}

/* The same with an argument that is handed over by pointer. */
static void prepare_msg(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;

    (void)place;
    caller->m = new_question(caller, caller->client[caller->turn], number);
}

static void call_msg(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;
    ferry_msg_t *reply = NULL;

    (void)place;
    int result = ferry_call_msg(next_client(caller), "answer", caller->m, BENCH_PATIENCE, &reply);
    ferry_msg_release(caller->m);
    check_reply(caller, number, result, reply);
}

/* Several at once. */
static void start(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;

    prepare(caller, place, number);
    check(caller->me, "ferry_call_start",
          ferry_call_start(next_client(caller), "answer", caller->question, caller->size, 0, BENCH_PATIENCE,
                           &caller->call[place]));
}

static void start_msg(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;
    ferry_client_t *client = next_client(caller);
    ferry_msg_t *m = new_question(caller, client, number);

    check(caller->me, "ferry_call_start_msg",
          ferry_call_start_msg(client, "answer", m, 0, BENCH_PATIENCE, &caller->call[place]));
    ferry_msg_release(m);
}

static void finish(void *asker, unsigned place, uint64_t number) {
    caller_t *caller = asker;
    ferry_msg_t *reply = NULL;
    int result = ferry_call_wait(caller->call[place], BENCH_PATIENCE, &reply);

    check_reply(caller, number, result, reply);
    ferry_call_release(caller->call[place]);
}

static void ask(caller_t *caller, unsigned window, bench_trips_t *trips) {
    bool by_pointer = caller->me->settings->method == BENCH_METHOD_TAKE;

    if (window == 1 && by_pointer)
        caller->asked = bench_window(prepare_msg, call_msg, caller, 1, caller->asked, trips);
    else if (window == 1)
        caller->asked = bench_window(prepare, call, caller, 1, caller->asked, trips);
    else if (by_pointer)
        caller->asked = bench_window(start_msg, finish, caller, window, caller->asked, trips);
    else
        caller->asked = bench_window(start, finish, caller, window, caller->asked, trips);
}

static void await_servers(const caller_t *caller) {
    unsigned servers = caller->me->settings->servers;

    for (unsigned i = 0; i < caller->clients; i++) {
        int there = ferry_client_wait(caller->client[i], servers, 4 * BENCH_PATIENCE);
        check(caller->me, "ferry_client_wait", there);
    }
}

/* A link is made when it is needed, and its memory is used for the first time: that is over before anything counts. */
static void warm(caller_t *caller, uint64_t ticks, bench_trips_t *trips) {
    await_servers(caller);
    for (unsigned i = 0; i < caller->clients; i++) {
        prepare(caller, 0, ++caller->asked);
        call(caller, 0, caller->asked);
    }
    bench_trips_begin(trips, ticks);
    ask(caller, caller->me->settings->outstanding, trips);
    trips->count = 0;
}

static void calls_lead(void *joined, uint64_t ticks, bench_trips_t *trips) {
    caller_t *caller = &((joined_t *)joined)->caller;

    bench_meet(caller->me);
    warm(caller, ticks / 8, trips);
    bench_trips_begin(trips, ticks);
    ask(caller, caller->me->settings->outstanding, trips);
    bench_meet(caller->me);
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

/* The clients are dealt out to the calling sides. */
static void open_clients(caller_t *caller) {
    const bench_settings_t *s = caller->me->settings;
    unsigned callers = caller->calls->callers;
    const ferry_client_options_t options = {.wait = s->wait,
                                            .quota = (uint64_t)(s->outstanding + 2) * s->size * 2 + (16 << 20)};

    caller->clients = s->clients / callers + (caller->number < s->clients % callers);
    caller->client = calloc(caller->clients, sizeof(ferry_client_t *));
    if (caller->client == NULL)
        bench_fail(caller->me, "there is no memory for %u clients", caller->clients);
    for (unsigned i = 0; i < caller->clients; i++)
        check(caller->me, "ferry_client_open",
              ferry_client_open(bench_node(caller->me), service_name, &options, &caller->client[i]));
}

static void *calls_join(bench_side_t *me, bench_calls_t *calls) {
    const bench_settings_t *s = me->settings;
    joined_t *j = calloc(1, sizeof *j);

    if (j == NULL)
        bench_fail(me, "there is no memory left");
    if (bench_is_server(me)) {
        j->server = (server_t){.me = me, .calls = calls, .answer = bench_buffer(me, bench_answer_size(s))};
    } else {
        j->caller.me = me;
        j->caller.calls = calls;
        j->caller.number = me->index - s->servers;
        j->caller.size = s->size;
        j->caller.question = bench_buffer(me, s->size);
        open_clients(&j->caller);
    }
    return j;
}

static void calls_leave(void *joined) {
    joined_t *j = joined;
    caller_t *caller = &j->caller;

    if (caller->me == NULL) {
        if (j->server.service != NULL)
            stop_service(&j->server);
        j->server.calls->served[j->server.me->index] = j->server.served;
    } else {
        for (unsigned i = 0; i < caller->clients; i++)
            check(caller->me, "ferry_client_close", ferry_client_close(caller->client[i], BENCH_PATIENCE, NULL));
        caller->calls->asked[caller->number] = caller->asked;
        free(caller->client);
    }
    free(j->server.answer);
    free(caller->question);
    free(j);
}

const bench_speech_t bench_speak_calls = {calls_join, calls_lead, calls_follow, calls_leave};

/* --- waiting ----------------------------------------------------------------------------------------------------- */

/* Between threads the caller's process is the server's as well. */
static double server_waits(server_t *server) {
    bool counts = server->me->settings->between == BENCH_PROCESSES;

    bench_meet(server->me);
    double before = bench_cpu_ms();
    bench_meet(server->me);
    return counts ? bench_cpu_ms() - before : 0;
}

static double caller_waits(caller_t *caller, bool for_answer) {
    bench_meet(caller->me);
    double before = bench_cpu_ms();
    if (for_answer)
        check(caller->me, "ferry_call", ferry_call(caller->client[0], "rest", NULL, 0, BENCH_PATIENCE, NULL));
    else
        nanosleep(&rest_time, NULL);
    double took = bench_cpu_ms() - before;
    bench_meet(caller->me);
    return took;
}

void bench_calls_idle(void *joined) {
    joined_t *j = joined;
    bool calls = j->caller.me != NULL;
    bench_calls_t *all = calls ? j->caller.calls : j->server.calls;

    all->idle_cpu_ms[calls] = calls ? caller_waits(&j->caller, false) : server_waits(&j->server);
    all->waiting_cpu_ms[calls] = calls ? caller_waits(&j->caller, true) : server_waits(&j->server);
}

/* SPDX-License-Identifier: MIT
 *
 * call_many.c - many calls at once: answers in any order, in turn, by descriptor; limits; calls that nobody answers.
 */
#include "calls.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define GATES 64

/* What handlers and tests share: a call with number i waits until gate i is open. */
typedef struct gates {
    atomic_uint inside;
    atomic_uint done;
    atomic_uint replied;
    atomic_uint open[GATES];
} gates_t;

static int pass_gate(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    gates_t *gates = arg;
    uint64_t number = number_at(data, size);
    check(number < GATES);
    atomic_fetch_add(&gates->inside, 1);
    await(&gates->open[number], 1);
    atomic_fetch_add(&gates->done, 1);
    reply_number(rq, number);
    atomic_fetch_add(&gates->replied, 1);
    return 0;
}

static int count_it(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    gates_t *gates = arg;
    (void)rq;
    (void)data;
    (void)size;
    atomic_fetch_add(&gates->done, 1);
    return 0;
}

static const method_t methods[] = {{.name = "gate", .handler = pass_gate},
                                   {.name = "count", .handler = count_it},
                                   {.name = "add", .handler = add_one}};

typedef struct scene {
    crew_t *crew;
    server_t *server;
    gates_t *gates;
    ferry_client_t *client;
} scene_t;

static scene_t prepare(unsigned threads) {
    scene_t s = {.gates = share(sizeof *s.gates)};
    s.server = new_server("many", threads, methods, sizeof methods / sizeof methods[0], s.gates);
    return s;
}

static void begin(scene_t *s, where_t where, const ferry_client_options_t *options) {
    s->crew = crew_of(where, s->server);
    s->client = open_client_with(crew_node(s->crew), "many", options, s->server->threads);
}

static void end(scene_t *s) {
    close_client(s->client);
    crew_end_with(s->crew, s->server);
}

static void open_all_gates(gates_t *gates) {
    for (unsigned i = 0; i < GATES; i++)
        atomic_store(&gates->open[i], 1);
}

static ferry_call_t *next_call(ferry_client_t *client) {
    ferry_call_t *call = NULL;
    check_is(ferry_client_next(client, PATIENCE, &call), 0);
    check(call != NULL);
    return call;
}

/* ---- order ---- */

static void answers_come_as_they_are_ready(where_t where) {
    scene_t s = prepare(4);
    begin(&s, where, NULL);
    for (unsigned i = 0; i < 4; i++) {
        ferry_call_t *call = start_call(s.client, "gate", i);
        ferry_call_set_context(call, &s.gates->open[i]);
    }
    await(&s.gates->inside, 4); /* each has a thread of its own */
    for (unsigned i = 4; i-- > 0;) {
        ferry_call_t *call = NULL;
        check_error(ferry_client_next(s.client, FERRY_NOW, &call), -EAGAIN, "");
        atomic_store(&s.gates->open[i], 1);
        call = next_call(s.client);
        check(ferry_call_context(call) == &s.gates->open[i]);
        check_is(finish_call(call), i);
    }
    ferry_call_t *none = NULL;
    check_error(ferry_client_next(s.client, PATIENCE, &none), -ENOENT, "many under way");
    end(&s);
}

static void the_call_that_is_waited_for_need_not_be_the_first(where_t where) {
    scene_t s = prepare(2);
    begin(&s, where, NULL);
    ferry_call_t *slow = start_call(s.client, "gate", 0);
    await(&s.gates->inside, 1);
    for (uint64_t i = 0; i < 20; i++) {
        ferry_call_t *quick = start_call(s.client, "add", i);
        check_is(finish_call(quick), i + 1);
        check_is(call_number(s.client, "add", i), i + 1);
    }
    check_error(ferry_call_wait(slow, 5 * MILLISECOND, NULL), -ETIMEDOUT, "many");
    check_error(ferry_call_wait(slow, FERRY_NOW, NULL), -EAGAIN, "");
    open_all_gates(s.gates);
    check_is(finish_call(slow), 0);
    end(&s);
}

/* Calls that have ended and are not taken are told of again, each in its turn. */
static void whoever_is_ready_has_his_turn(where_t where) {
    enum { CALLS = 5 };
    scene_t s = prepare(1);
    begin(&s, where, NULL);
    ferry_call_t *calls[CALLS];
    bool seen[CALLS] = {false};
    unsigned different = 0;
    for (unsigned i = 0; i < CALLS; i++)
        calls[i] = start_call(s.client, "add", i);
    for (int64_t limit = monotonic() + PATIENCE; different < CALLS;) {
        ferry_call_t *call = next_call(s.client);
        for (unsigned i = 0; i < CALLS; i++)
            if (calls[i] == call && !seen[i]) {
                seen[i] = true;
                different++;
            }
        check(monotonic() < limit);
    }
    ferry_call_t *round[CALLS];
    for (unsigned i = 0; i < CALLS; i++)
        round[i] = next_call(s.client);
    for (unsigned i = 0; i < 3 * CALLS; i++)
        check(next_call(s.client) == round[i % CALLS]);
    for (unsigned i = 0; i < CALLS; i++)
        check_is(finish_call(calls[i]), i + 1);
    end(&s);
}

/* ---- many ---- */

static void hundreds_of_calls_are_under_way_at_once(where_t where) {
    enum { CALLS = 1000 };
    static ferry_call_t *calls[CALLS];
    scene_t s = prepare(3);
    begin(&s, where, NULL);
    for (unsigned round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < CALLS; i++)
            calls[i] = start_call(s.client, "add", i);
        check_is(client_stats(s.client).calls, (round + 1) * CALLS);
        for (unsigned i = 0; i < CALLS; i++) {
            unsigned k = round % 2 ? CALLS - 1 - i : (i * 7) % CALLS;
            check_is(finish_call(calls[k]), k + 1);
        }
        ferry_client_stats_t stats = client_stats(s.client);
        check_is(stats.answers, (round + 1) * CALLS);
        check_is(stats.under_way, 0);
        check_is(stats.servers, 3);
        check_is(stats.retried, 0);
    }
    end(&s);
    check_is(s.server->stats.calls, 5 * CALLS);
    check_is(s.server->stats.errors + s.server->stats.refused + s.server->stats.expired, 0);
}

#define EACH 2000

/* Keeps 20 calls under way. */
static void call_and_check(ferry_t *node, void *arg) {
    enum { WINDOW = 20 };
    ferry_call_t *calls[WINDOW] = {NULL};
    ferry_client_t *client = open_client(node, "many", 1);
    uint64_t mine = (uint64_t)atomic_fetch_add((atomic_uint *)arg, 1) << 32;
    for (unsigned i = 0; i < EACH; i++) {
        if (calls[i % WINDOW])
            check_is(finish_call(calls[i % WINDOW]), mine + i - WINDOW + 1);
        calls[i % WINDOW] = start_call(client, "add", mine + i);
    }
    for (unsigned i = EACH; i < EACH + WINDOW; i++)
        check_is(finish_call(calls[i % WINDOW]), mine + i - WINDOW + 1);
    close_client(client);
}

static void run_clients(where_t where, unsigned clients, unsigned threads) {
    scene_t s = prepare(threads);
    atomic_uint *number = share(sizeof *number);
    crew_t *crew = crew_of(where, s.server);
    unsigned members[8];
    for (unsigned i = 0; i < clients; i++)
        members[i] = crew_add(crew, call_and_check, number);
    for (unsigned i = 0; i < clients; i++)
        crew_join(crew, members[i]);
    crew_node(crew);
    crew_end_with(crew, s.server);
    check_is(s.server->stats.calls, (uint64_t)clients * EACH);
}

static void many_clients_of_one_thread_get_their_own_answers(where_t where) {
    run_clients(where, 6, 1);
}

static void many_clients_of_many_threads_get_their_own_answers(where_t where) {
    run_clients(where, 4, 3);
}

/* ---- the descriptor ---- */

static bool is_readable(int fd, int64_t timeout) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&item, 1, (int)(timeout / MILLISECOND));
    while (ready < 0 && errno == EINTR);
    return ready == 1 && (item.revents & POLLIN);
}

/* By poll, epoll and ferry_poll. */
static void await_readable(int fd, int epoll, unsigned way) {
    struct epoll_event event;
    ferry_pollitem_t item = {.fd = fd, .events = FERRY_POLL_IN};
    if (way % 3 == 0)
        check(is_readable(fd, PATIENCE));
    else if (way % 3 == 1)
        check_is(epoll_wait(epoll, &event, 1, (int)(PATIENCE / MILLISECOND)), 1);
    else
        check_is(ferry_poll(&item, 1, PATIENCE), 1);
}

/* Takes all that are ready; returns how many. */
static unsigned take_ready(ferry_client_t *client) {
    unsigned count = 0;
    ferry_call_t *call = NULL;
    int answer;
    while ((answer = ferry_client_next(client, FERRY_NOW, &call)) == 0) {
        uint64_t want = (uint64_t)(uintptr_t)ferry_call_context(call);
        check_is(finish_call(call), want + 1);
        count++;
    }
    check(answer == -EAGAIN || answer == -ENOENT);
    return count;
}

static void the_descriptor_tells_of_every_answer(where_t where) {
    scene_t s = prepare(2);
    begin(&s, where, NULL);
    int fd = ferry_client_fd(s.client), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    check(fd >= 0);
    check_is(ferry_client_fd(s.client), fd);
    check(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (unsigned round = 0; round < 300; round++) {
        unsigned calls = 1 + round % 4, taken = 0;
        for (uint64_t i = 0; i < calls; i++)
            ferry_call_set_context(start_call(s.client, "add", i), (void *)(uintptr_t)i);
        for (int64_t limit = monotonic() + PATIENCE; taken < calls;) {
            await_readable(fd, epoll, round);
            taken += take_ready(s.client);
            check(monotonic() < limit);
        }
        check_is(taken, calls);
    }
    close(epoll);
    end(&s);
}

/* Level-triggered: readable as long as an answer waits, also one that was brought in by the wait for another. */
static void the_descriptor_is_readable_while_an_answer_waits(where_t where) {
    scene_t s = prepare(2);
    begin(&s, where, NULL);
    int fd = ferry_client_fd(s.client);
    check_is(call_number(s.client, "add", 1), 2);
    ferry_call_t *early = start_call(s.client, "add", 5);
    check(is_readable(fd, PATIENCE));
    check(is_readable(fd, PATIENCE));
    for (uint64_t i = 0; i < 10; i++)
        check_is(call_number(s.client, "add", i), i + 1); /* brings the other one in */
    check(is_readable(fd, PATIENCE));
    check(next_call(s.client) == early);
    check(is_readable(fd, PATIENCE)); /* told of, not taken */
    check_is(finish_call(early), 6);
    ferry_call_t *late = start_call(s.client, "gate", 0);
    ferry_call_t *none = NULL;
    await(&s.gates->inside, 1);
    unsigned calm = 0; /* it may tell for nothing at times, not all the time */
    for (unsigned i = 0; i < 50; i++) {
        check_error(ferry_client_next(s.client, FERRY_NOW, &none), -EAGAIN, "");
        calm += !is_readable(fd, MILLISECOND);
    }
    check(calm >= 40);
    open_all_gates(s.gates);
    check(is_readable(fd, PATIENCE));
    check_is(finish_call(late), 0);
    end(&s);
}

/* ---- limits ---- */

static int start_one(ferry_client_t *client, ferry_call_t **call) {
    uint64_t number = 0;
    return ferry_call_start(client, "gate", &number, sizeof number, 0, PATIENCE, call);
}

/* `limit` may be under way, and one more as soon as one has ended. The client may be closed then: all handlers have
 * replied, that of the call that was cancelled, too, which therefore has begun before. */
static void check_limit(scene_t *s, unsigned limit, const char *words) {
    ferry_call_t *calls[GATES], *more = NULL;
    unsigned before = atomic_load(&s->gates->replied);
    for (unsigned i = 0; i < limit; i++) {
        check_is(start_one(s->client, &calls[i]), 0);
        await(&s->gates->inside, before + 1);
    }
    check_error(start_one(s->client, &more), -EBUSY, words);
    check(more == NULL);
    check_error(ferry_call(s->client, "add", &limit, sizeof limit, PATIENCE, NULL), -EBUSY, words);
    check_is(client_stats(s->client).under_way, limit);
    check_is(ferry_call_cancel(calls[0]), 0);
    check_is(start_one(s->client, &more), 0);
    release_call(calls[0]);
    open_all_gates(s->gates);
    for (unsigned i = 1; i < limit; i++)
        check_is(finish_call(calls[i]), 0);
    check_is(finish_call(more), 0);
    await(&s->gates->replied, before + limit + 1);
    check_is(call_number(s->client, "add", 1), 2);
}

static void a_client_has_no_more_calls_under_way_than_it_wants(where_t where) {
    scene_t s = prepare(1);
    ferry_client_options_t options = {.calls = 3};
    begin(&s, where, &options);
    check_limit(&s, 3, "many 3 calls");
    end(&s);
}

static void a_client_has_no_more_calls_under_way_than_the_service_allows(where_t where) {
    scene_t s = prepare(2);
    s.server->options.queue = 5;
    begin(&s, where, NULL);
    check_limit(&s, 5, "many 5 queue");
    ferry_client_t *other = open_client(crew_node(s.crew), "many", 2); /* each has as many */
    ferry_client_t *mine = s.client;
    for (unsigned i = 0; i < GATES; i++)
        atomic_store(&s.gates->open[i], 0);
    s.client = other;
    check_limit(&s, 5, "many 5 queue");
    s.client = mine;
    close_client(other);
    end(&s);
}

/* ---- nobody answers ---- */

static void calls_that_nobody_answers_are_all_run(where_t where) {
    scene_t s = prepare(2);
    begin(&s, where, NULL);
    for (unsigned i = 0; i < 500; i++) {
        int answer;
        while ((answer = ferry_call_one_way(s.client, "count", &i, sizeof i, PATIENCE)) == -EBUSY)
            nap(MILLISECOND);
        check_is(answer, 0);
    }
    uint64_t undone = 1;
    check_is(ferry_client_close(s.client, PATIENCE, &undone), 0);
    check_is(undone, 0);
    check_is(atomic_load(&s.gates->done), 500);
    crew_end_with(s.crew, s.server);
}

static void what_is_not_done_when_the_client_closes_is_told(where_t where) {
    scene_t s = prepare(1);
    begin(&s, where, NULL);
    uint64_t gate = 0, undone = 0;
    for (unsigned i = 0; i < 4; i++)
        check_is(ferry_call_one_way(s.client, "gate", &gate, sizeof gate, PATIENCE), 0);
    await(&s.gates->inside, 1);
    check_is(ferry_client_close(s.client, 20 * MILLISECOND, &undone), 0);
    check_is(undone, 4);
    open_all_gates(s.gates);
    crew_end_with(s.crew, s.server);
    check(s.server->stats.calls <= 4);
}

/* A server that is stuck does not take in more than it allows. */
static void calls_that_nobody_answers_are_limited_too(where_t where) {
    scene_t s = prepare(1);
    s.server->options.queue = 10;
    begin(&s, where, NULL);
    uint64_t gate = 0;
    unsigned sent = 0;
    int answer = 0;
    while (answer == 0 && sent < 5000) {
        answer = ferry_call_one_way(s.client, "gate", &gate, sizeof gate, 50 * MILLISECOND);
        sent += answer == 0;
    }
    check_is(answer, -EBUSY);
    check(sent >= 10 && sent <= 12);
    open_all_gates(s.gates);
    uint64_t undone = 1;
    check_is(ferry_client_close(s.client, PATIENCE, &undone), 0);
    check_is(undone, 0);
    crew_end_with(s.crew, s.server);
}

static bool many_at_once_have_large_rings(void *client) {
    enum { AT_ONCE = 32, LARGE = 200 << 10 };
    ferry_call_t *calls[AT_ONCE];
    for (unsigned i = 0; i < AT_ONCE; i++)
        calls[i] = start_call(client, "add", i);
    for (unsigned i = 0; i < AT_ONCE; i++)
        check_is(finish_call(calls[i]), i + 1);
    return size_of_mappings("rw-s") > LARGE;
}

/* A thousand clients that call now and then must not take a ring of 256 KiB each. */
static void many_at_once_get_a_larger_ring_one_at_a_time_does_not(where_t where) {
    scene_t s = prepare(1);
    begin(&s, where, NULL);
    check_is(call_number(s.client, "add", 0), 1);
    size_t before = size_of_mappings("rw-s");
    for (uint64_t i = 0; i < 2000; i++)
        check_is(call_number(s.client, "add", i), i + 1);
    check_is(size_of_mappings("rw-s"), before);
    await_that(many_at_once_have_large_rings, s.client, "the rings of many calls at once are large");
    end(&s);
}

static void a_call_that_nobody_serves_is_not_sent(void) {
    ferry_t *node = open_node("test");
    ferry_client_t *client = open_client(node, "nobody", 0);
    ferry_call_t *call = NULL;
    ferry_msg_t *reply = NULL;
    check_error(ferry_call(client, "add", "x", 1, PATIENCE, &reply), -ENOENT, "nobody test serves");
    check_error(ferry_call_one_way(client, "add", "x", 1, PATIENCE), -ENOENT, "nobody test");
    check_error(ferry_call_start(client, "add", "x", 1, 0, PATIENCE, &call), -ENOENT, "nobody test");
    check_error(ferry_client_wait(client, 1, 5 * MILLISECOND), -ETIMEDOUT, "nobody");
    check_error(ferry_client_wait(client, 1, FERRY_NOW), -EAGAIN, "");
    check_error(ferry_client_next(client, PATIENCE, &call), -ENOENT, "nobody");
    check(call == NULL && reply == NULL);
    check_is(client_stats(client).calls, 0);
    close_client(client);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(answers_come_as_they_are_ready),
        TEST_BOTH(the_call_that_is_waited_for_need_not_be_the_first),
        TEST_BOTH(whoever_is_ready_has_his_turn),
        TEST_BOTH(hundreds_of_calls_are_under_way_at_once),
        TEST_BOTH(many_clients_of_one_thread_get_their_own_answers),
        TEST_ALL(many_clients_of_many_threads_get_their_own_answers),
        TEST_ALL(the_descriptor_tells_of_every_answer),
        TEST_BOTH(the_descriptor_is_readable_while_an_answer_waits),
        TEST_BOTH(a_client_has_no_more_calls_under_way_than_it_wants),
        TEST_BOTH(a_client_has_no_more_calls_under_way_than_the_service_allows),
        TEST_BOTH(calls_that_nobody_answers_are_all_run),
        TEST_BOTH(what_is_not_done_when_the_client_closes_is_told),
        TEST_BOTH(calls_that_nobody_answers_are_limited_too),
        TEST_BOTH(many_at_once_get_a_larger_ring_one_at_a_time_does_not),
        TEST(a_call_that_nobody_serves_is_not_sent),
    };
    return run_suite("call-many", tests, sizeof tests / sizeof tests[0], argc, argv);
}

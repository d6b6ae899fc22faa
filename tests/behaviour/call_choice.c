/* SPDX-License-Identifier: MIT
 *
 * call_choice.c - which of several servers takes a call: the one that will probably be done with it first.
 */
#include "calls.h"

/* What handlers and tests share. */
typedef struct tale {
    atomic_uint inside;
    atomic_uint go;
    atomic_uint run;
    int64_t nap;
} tale_t;

static int take_time(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->run, 1);
    nap(tale->nap);
    return add_one(rq, data, size, NULL);
}

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->inside, 1);
    await(&tale->go, 1);
    return add_one(rq, data, size, NULL);
}

static const method_t methods[] = {{.name = "take-time", .handler = take_time}, {.name = "hold", .handler = hold}};

typedef struct scene {
    crew_t *crew;
    server_t *slow, *quick;
    tale_t *slow_tale, *quick_tale;
} scene_t;

static scene_t prepare(where_t where, int64_t slow, int64_t quick) {
    scene_t s = {.slow_tale = share(sizeof *s.slow_tale), .quick_tale = share(sizeof *s.quick_tale)};
    s.slow_tale->nap = slow;
    s.quick_tale->nap = quick;
    s.slow = new_server("work", 1, methods, sizeof methods / sizeof methods[0], s.slow_tale);
    s.quick = new_server("work", 1, methods, sizeof methods / sizeof methods[0], s.quick_tale);
    s.crew = crew_of(where, s.slow);
    crew_add(s.crew, serve, s.quick);
    return s;
}

static void end(scene_t *s) {
    stop_server(s->slow);
    stop_server(s->quick);
    crew_end(s->crew);
}

/* One call after the other: both are idle whenever the next one is sent. */
static bool are_most_at_the_quick_one(where_t where) {
    scene_t s = prepare(where, 50 * MILLISECOND, MILLISECOND / 10);
    ferry_client_t *client = open_client(crew_node(s.crew), "work", 2);
    for (uint64_t i = 0; i < 200; i++)
        check_is(call_number(client, "take-time", i), i + 1);
    close_client(client);
    end(&s);
    check(atomic_load(&s.slow_tale->run) >= 1); /* nobody knew at first */
    return atomic_load(&s.slow_tale->run) <= 20;
}

static void most_calls_go_to_the_quick_one(where_t where) {
    check_in_some_try(are_most_at_the_quick_one, where, "most calls go to the quick one");
}

/* Many at once: the slow one gets about what it can do in the same time, a fifth of them. */
static bool is_a_heap_shared_out_by_speed(where_t where) {
    enum { CALLS = 400 };
    static ferry_call_t *calls[CALLS];
    scene_t s = prepare(where, 4 * MILLISECOND, MILLISECOND);
    ferry_client_t *client = open_client(crew_node(s.crew), "work", 2);
    for (uint64_t i = 0; i < 40; i++)
        check_is(call_number(client, "take-time", i), i + 1);
    for (uint64_t i = 0; i < CALLS; i++)
        calls[i] = start_call(client, "take-time", i);
    for (unsigned i = 0; i < CALLS; i++)
        check_is(finish_call(calls[i]), i + 1);
    close_client(client);
    end(&s);
    return atomic_load(&s.slow_tale->run) >= CALLS / 20 && atomic_load(&s.slow_tale->run) <= CALLS / 2;
}

static void a_heap_of_calls_is_shared_out_by_speed(where_t where) {
    check_in_some_try(is_a_heap_shared_out_by_speed, where, "the slow one gets what it can do in the same time");
}

typedef struct visitor {
    atomic_uint ready;
    atomic_uint go;
} visitor_t;

static void call_in_turn(ferry_t *node, void *arg) {
    visitor_t *visitor = arg;
    ferry_client_t *client = open_client(node, "work", 2);
    atomic_fetch_add(&visitor->ready, 1);
    await(&visitor->go, 1);
    for (uint64_t i = 0; i < 100; i++)
        check_is(call_number(client, "take-time", i), i + 1);
    close_client(client);
}

static bool do_several_prefer_the_quick_one(where_t where) {
    scene_t s = prepare(where, 50 * MILLISECOND, MILLISECOND);
    visitor_t *visitor = share(sizeof *visitor);
    for (unsigned i = 0; i < 4; i++)
        crew_add(s.crew, call_in_turn, visitor);
    crew_node(s.crew);
    await(&visitor->ready, 4);
    atomic_store(&visitor->go, 1);
    for (unsigned i = 0; i < 4; i++)
        crew_join(s.crew, 2 + i);
    end(&s);
    check_is(atomic_load(&s.slow_tale->run) + atomic_load(&s.quick_tale->run), 400);
    return atomic_load(&s.slow_tale->run) <= 80;
}

static void several_clients_prefer_the_quick_one(where_t where) {
    check_in_some_try(do_several_prefer_the_quick_one, where, "several clients prefer the quick one");
}

/* Another client keeps one of them busy, which this one cannot know from its own calls. */
static void an_idle_server_is_preferred_to_a_busy_one(where_t where) {
    scene_t s = prepare(where, MILLISECOND / 10, MILLISECOND / 10);
    ferry_client_t *other = open_client(crew_node(s.crew), "work", 2);
    ferry_client_t *client = open_client(crew_node(s.crew), "work", 2);
    int64_t begin = monotonic();
    for (uint64_t i = 0; i < 20; i++)
        check_is(call_number(client, "take-time", i), i + 1);
    int64_t usual = (monotonic() - begin) / 10; /* twice what it took */
    ferry_call_t *long_call = start_call(other, "hold", 1);
    while (atomic_load(&s.slow_tale->inside) + atomic_load(&s.quick_tale->inside) == 0)
        nap(MILLISECOND / 4);
    nap(200 * MILLISECOND + 4 * usual); /* longer than it usually takes, however busy the machine is */
    for (uint64_t i = 0; i < 100; i++)  /* each would wait for PATIENCE behind the other one */
        check_is(call_number(client, "take-time", i), i + 1);
    atomic_store(&s.slow_tale->go, 1);
    atomic_store(&s.quick_tale->go, 1);
    check_is(finish_call(long_call), 2);
    close_client(client);
    close_client(other);
    end(&s);
}

/* Servers of the same speed have their share each. */
static bool do_equal_servers_share_equally(where_t where) {
    enum { CALLS = 100 };
    static ferry_call_t *calls[CALLS];
    scene_t s = prepare(where, MILLISECOND / 2, MILLISECOND / 2);
    ferry_client_t *client = open_client(crew_node(s.crew), "work", 2);
    for (unsigned round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < CALLS; i++)
            calls[i] = start_call(client, "take-time", i);
        for (unsigned i = 0; i < CALLS; i++)
            check_is(finish_call(calls[i]), i + 1);
    }
    close_client(client);
    end(&s);
    /* half of them, but for a bad moment of one */
    return atomic_load(&s.slow_tale->run) >= CALLS / 2 && atomic_load(&s.quick_tale->run) >= CALLS / 2;
}

static void equal_servers_share_equally(where_t where) {
    check_in_some_try(do_equal_servers_share_equally, where, "servers of the same speed share equally");
}

/* ---- clients that come together ---- */

enum { TOGETHER = 24 };

typedef struct meeting {
    atomic_uint open;    /* both servers can be found */
    atomic_uint started; /* all calls are sent */
    atomic_uint finished;
    atomic_uint run[2];
} meeting_t;

static int count_one(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    atomic_fetch_add((atomic_uint *)arg, 1);
    return add_one(rq, data, size, NULL);
}

static void come_together(void *arg) {
    meeting_t *meeting = arg;
    ferry_client_t *clients[TOGETHER];
    ferry_call_t *calls[TOGETHER];
    await(&meeting->open, 1);
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < TOGETHER; i++)
        clients[i] = open_client(node, "work", 2);
    for (unsigned i = 0; i < TOGETHER; i++)
        calls[i] = start_call(clients[i], "count", i);
    atomic_store(&meeting->started, 1);
    for (unsigned i = 0; i < TOGETHER; i++)
        check_is(finish_call(calls[i]), i + 1);
    atomic_store(&meeting->finished, 1);
    for (unsigned i = 0; i < TOGETHER; i++)
        close_client(clients[i]);
    close_node(node);
}

static void serve_what_is_there(ferry_service_t *service) {
    int r = ferry_service_run(service, FERRY_NOW);
    check(r == 0 || r == -ETIMEDOUT || r == -EAGAIN);
}

/* Servers that nobody has seen at work are equal to each client: it is chance that spreads their first calls. */
static void clients_that_come_together_begin_with_different_servers(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t visitors = child_start(come_together, meeting);
    ferry_t *node = open_node("test"); /* of both: so all clients find them in the same order */
    ferry_service_t *services[2];
    for (unsigned i = 0; i < 2; i++) {
        services[i] = open_service(node, "work", NULL);
        add_method(services[i], "count", count_one, &meeting->run[i]);
        check(ferry_service_fd(services[i]) >= 0); /* from now on it is found; nobody serves yet */
    }
    atomic_store(&meeting->open, 1);
    await(&meeting->started, 1);
    int64_t end = monotonic() + PATIENCE;
    while (!atomic_load(&meeting->finished) && monotonic() < end) {
        serve_what_is_there(services[0]);
        serve_what_is_there(services[1]);
        nap(MILLISECOND / 4);
    }
    child_join(visitors);
    for (unsigned i = 0; i < 2; i++) {
        check(atomic_load(&meeting->run[i]) > 0); /* by chance once in eight million times */
        close_service(services[i]);
    }
    close_node(node);
}

/* ---- servers that leave ---- */

static ferry_service_t *open_slow(ferry_t *node, tale_t *tale) {
    ferry_service_t *service = open_service(node, "work", NULL);
    for (unsigned i = 0; i < sizeof methods / sizeof methods[0]; i++)
        add_method(service, methods[i].name, methods[i].handler, tale);
    check_is(ferry_service_start(service, 1), 0);
    return service;
}

/* Its handler still runs; it says at once that it takes no more calls. */
static void who_waits_for_servers_counts_none_that_leaves(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_service_t *leaving = open_slow(node, tale);
    ferry_client_t *first = open_client(other, "work", 1), *client = open_client(other, "work", 1);
    ferry_call_t *held = start_call(first, "hold", 1);
    await(&tale->inside, 1);
    check_is(ferry_service_stop(leaving), 0);
    check_error(ferry_call(client, "take-time", "12345678", 8, PATIENCE, NULL), -ENOENT, "work");
    check_error(ferry_client_wait(client, 1, FERRY_NOW), -EAGAIN, "work");
    check_error(ferry_client_wait(client, 1, 20 * MILLISECOND), -ETIMEDOUT, "work");
    ferry_service_t *coming = open_slow(node, tale);
    check_is(ferry_client_wait(client, 1, PATIENCE), 1);
    check_is(call_number(client, "take-time", 1), 2);
    atomic_store(&tale->go, 1);
    check_is(ferry_call_wait(held, PATIENCE, NULL), 0);
    release_call(held);
    close_client(first);
    close_client(client);
    close_service(leaving);
    close_service(coming);
    close_node(other);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(most_calls_go_to_the_quick_one),
        TEST_BOTH(a_heap_of_calls_is_shared_out_by_speed),
        TEST_BOTH(several_clients_prefer_the_quick_one),
        TEST_ALL(an_idle_server_is_preferred_to_a_busy_one),
        TEST(who_waits_for_servers_counts_none_that_leaves),
        TEST_BOTH(equal_servers_share_equally),
        TEST(clients_that_come_together_begin_with_different_servers),
    };
    return run_suite("call-choice", tests, sizeof tests / sizeof tests[0], argc, argv);
}

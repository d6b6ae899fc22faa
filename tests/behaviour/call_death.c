/* SPDX-License-Identifier: MIT
 *
 * call_death.c - a server or a client dies: between threads a thread just ends, between processes one is killed.
 */
#include "calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 64

/* What handlers and tests share. */
typedef struct tale {
    atomic_uint inside;
    atomic_uint die;
    atomic_uint go;
    atomic_uint noticed;
    atomic_uint highest_attempt;
    atomic_uint run[NUMBERS]; /* how often a call with this number was begun */
} tale_t;

/* ---- handlers ---- */

static void note(tale_t *tale, ferry_request_t *rq, const void *data, size_t size) {
    uint64_t number = number_at(data, size);
    uint32_t attempt = info_of_request(rq).attempt;
    check(number < NUMBERS);
    atomic_fetch_add(&tale->run[number], 1);
    if (attempt > atomic_load(&tale->highest_attempt))
        atomic_store(&tale->highest_attempt, attempt);
    atomic_fetch_add(&tale->inside, 1);
}

static int note_it(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    uint64_t number = number_at(data, size) + 1;
    note(arg, rq, data, size);
    int answer = ferry_reply(rq, &number, sizeof number);
    check(answer == 0 || answer == -EPIPE); /* of a client that has died meanwhile */
    return 0;
}

/* Dies in it; on its second attempt it lives. */
static int die_in_it(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    note(tale, rq, data, size);
    if (info_of_request(rq).attempt > 1)
        return add_one(rq, data, size, NULL);
    await(&tale->die, 1);
    crew_die();
}

static int answer_and_die(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    note(arg, rq, data, size);
    add_one(rq, data, size, NULL);
    crew_die();
}

/* It dies in it only when all its answers are there. */
static int say_more_and_die(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_reply_more(rq, data, size), 0);
    note(tale, rq, data, size);
    await(&tale->die, 1);
    crew_die();
}

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    note(tale, rq, data, size);
    await(&tale->go, 1);
    (void)ferry_reply(rq, data, size);
    return 0;
}

static int run_until_cancelled(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    note(tale, rq, data, size);
    for (int64_t end = monotonic() + PATIENCE; !ferry_request_is_cancelled(rq);) {
        check(monotonic() < end);
        nap(MILLISECOND / 4);
    }
    check_error(ferry_reply(rq, data, 5000), -EPIPE, "gone");
    atomic_fetch_add(&tale->noticed, 1);
    return 0;
}

static int count_mine(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    (void)arg;
    reply_number(rq, count_descriptors());
    return 0;
}

static const method_t methods[] = {{.name = "die", .handler = die_in_it},
                                   {.name = "die-again", .handler = die_in_it, .idempotent = 1},
                                   {.name = "answer-and-die", .handler = answer_and_die},
                                   {.name = "say-more-and-die", .handler = say_more_and_die, .streams = 1},
                                   {.name = "note", .handler = note_it},
                                   {.name = "hold", .handler = hold},
                                   {.name = "until-cancelled", .handler = run_until_cancelled},
                                   {.name = "descriptors", .handler = count_mine}};

typedef struct scene {
    where_t where;
    crew_t *crew;
    tale_t *tale;
    server_t *doomed; /* one thread */
    server_t *other;  /* comes when it is told to */
    unsigned doomed_member;
    ferry_client_t *client;
} scene_t;

static scene_t begin(where_t where) {
    scene_t s = {.where = where, .tale = share(sizeof *s.tale)};
    size_t count = sizeof methods / sizeof methods[0];
    s.doomed = new_server("mortal", 1, methods, count, s.tale);
    s.other = new_server("mortal", 1, methods, count, s.tale);
    atomic_store(&s.other->go, 0);
    s.crew = crew_begin(where);
    s.doomed_member = crew_add(s.crew, serve, s.doomed);
    crew_add(s.crew, serve, s.other);
    s.client = open_client(crew_node(s.crew), "mortal", 1);
    return s;
}

static void bring_the_other(scene_t *s) {
    atomic_store(&s->other->go, 1);
    check(ferry_client_wait(s->client, 2, PATIENCE) >= 2);
}

/* The doomed one is gone. */
static void bring_the_other_instead(scene_t *s) {
    atomic_store(&s->other->go, 1);
    check_is(ferry_client_wait(s->client, 1, PATIENCE), 1);
}

/* Only the thread has died, or the process with it. */
static void bury(scene_t *s) {
    if (s->where == IN_PROCESSES) {
        crew_bury(s->crew, s->doomed_member);
        return;
    }
    stop_server(s->doomed);
    crew_join(s->crew, s->doomed_member);
}

static bool is_alone(void *scene) {
    return client_stats(((scene_t *)scene)->client).servers == 1;
}

static void end(scene_t *s) {
    close_client(s->client);
    atomic_store(&s->other->go, 1);
    crew_end_with(s->crew, s->other);
}

/* At once: not when some time has passed. */
static int end_at_once(ferry_call_t *call) {
    int64_t begin = monotonic();
    int answer = end_of_call(call);
    check(monotonic() - begin < PATIENCE / 2);
    return answer;
}

/* ---- a server dies ---- */

static void whoever_waits_for_a_dead_server_is_told_at_once(where_t where) {
    scene_t s = begin(where);
    ferry_call_t *call = start_call(s.client, "die", 1);
    await(&s.tale->inside, 1);
    atomic_store(&s.tale->die, 1);
    check_is(end_at_once(call), -ECONNRESET);
    check(strstr(ferry_last_error(), "mortal") && strstr(ferry_last_error(), "die"));
    bury(&s);
    uint64_t number = 2;
    check_error(ferry_call(s.client, "note", &number, sizeof number, PATIENCE, NULL), -ENOENT, "mortal");
    bring_the_other_instead(&s);
    check_is(call_number(s.client, "note", 2), 3); /* the client lives on */
    end(&s);
    check_is(s.tale->run[1], 1);
    check_is(s.tale->run[2], 1);
}

static void what_a_dead_server_had_not_begun_is_not_run_when_there_is_no_other(where_t where) {
    scene_t s = begin(where);
    ferry_call_t *begun = start_call(s.client, "die", 1), *waiting[5];
    await(&s.tale->inside, 1);
    for (unsigned i = 0; i < 5; i++)
        waiting[i] = start_call(s.client, "note", 10 + i);
    atomic_store(&s.tale->die, 1);
    check_is(end_at_once(begun), -ECONNRESET);
    for (unsigned i = 0; i < 5; i++)
        check_is(end_at_once(waiting[i]), -ENOENT);
    bury(&s);
    bring_the_other_instead(&s);
    check_is(call_number(s.client, "note", 20), 21);
    end(&s);
    for (unsigned i = 0; i < 5; i++)
        check_is(s.tale->run[10 + i], 0); /* nor later, by whoever comes */
}

/* Nobody reads what a call was answered that has been released; and then no other call is answered. */
static void a_dead_server_keeps_nothing_here_by_answers_that_nobody_wants(void) {
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_server("mortal", 1, methods, sizeof methods / sizeof methods[0], tale);
    atomic_store(&server->go, 0);
    crew_t *crew = crew_begin(IN_PROCESSES);
    unsigned member = crew_add(crew, serve, server);
    ferry_client_t *client = open_client(crew_node(crew), "mortal", 0);
    check_is(count_mappings("r--s"), 0); /* memory of others */
    atomic_store(&server->go, 1);
    check_is(ferry_client_wait(client, 1, PATIENCE), 1);
    ferry_call_t *call = start_stream(client, "say-more-and-die", 1);
    await(&tale->inside, 1);
    release_call(call);
    check(count_mappings("r--s") > 0);
    atomic_store(&tale->die, 1);
    crew_bury(crew, member);
    for (int64_t limit = monotonic() + PATIENCE; count_mappings("r--s") > 0; nap(MILLISECOND)) {
        uint64_t number = 2;
        check(monotonic() < limit);
        check_error(ferry_call(client, "note", &number, sizeof number, PATIENCE, NULL), -ENOENT, "mortal");
    }
    close_client(client);
    crew_end(crew);
}

/* The doomed one has begun one call, others wait there. */
static void what_a_dead_server_had_not_begun_is_run_once_by_another(where_t where) {
    scene_t s = begin(where);
    ferry_call_t *begun = start_call(s.client, "die", 1), *waiting[20];
    await(&s.tale->inside, 1);
    for (unsigned i = 0; i < 20; i++)
        waiting[i] = start_call(s.client, "note", 10 + i);
    bring_the_other(&s);
    atomic_store(&s.tale->die, 1);
    check_is(end_at_once(begun), -ECONNRESET); /* not run twice */
    for (unsigned i = 0; i < 20; i++)
        check_is(finish_call(waiting[i]), 11 + i);
    bury(&s);
    check(client_stats(s.client).retried >= 20);
    end(&s);
    check_is(s.tale->run[1], 1);
    for (unsigned i = 0; i < 20; i++)
        check_is(s.tale->run[10 + i], 1);
    check_is(atomic_load(&s.tale->highest_attempt), 1);
    check_is(s.other->stats.refused, 1); /* what may have run */
}

static void what_does_no_harm_twice_is_tried_again_elsewhere(where_t where) {
    scene_t s = begin(where);
    ferry_call_t *begun = start_call(s.client, "die-again", 1);
    await(&s.tale->inside, 1);
    bring_the_other(&s);
    atomic_store(&s.tale->die, 1);
    check_is(finish_call(begun), 2);
    bury(&s);
    end(&s);
    check_is(s.tale->run[1], 2);
    check_is(atomic_load(&s.tale->highest_attempt), 2);
}

/* Nor is one that nobody waits for: it may have run. */
static void a_call_without_an_answer_is_tried_again_only_where_that_does_no_harm(where_t where) {
    for (uint64_t twice = 0; twice < 2; twice++) {
        scene_t s = begin(where);
        check_is(ferry_call_one_way(s.client, twice ? "die-again" : "die", &twice, sizeof twice, PATIENCE), 0);
        await(&s.tale->inside, 1);
        bring_the_other(&s);
        atomic_store(&s.tale->die, 1);
        bury(&s);
        await_that(is_alone, &s, "the dead server is still linked");
        end(&s); /* waits for what was sent back */
        check_is(s.tale->run[twice], 1 + twice);
        check_is(s.other->stats.refused, 1 - twice);
    }
}

static void a_retry_needs_another_server(where_t where) {
    scene_t s = begin(where);
    ferry_call_t *begun = start_call(s.client, "die-again", 1);
    await(&s.tale->inside, 1);
    atomic_store(&s.tale->die, 1);
    check_is(end_at_once(begun), -ECONNRESET);
    bury(&s);
    end(&s);
    check_is(s.tale->run[1], 1);
}

static void an_answer_given_before_the_death_counts(where_t where) {
    scene_t s = begin(where);
    (void)call_number(s.client, "descriptors", 0); /* from here on it is linked for answers: none waits in its memory */
    ferry_call_t *call = start_call(s.client, "answer-and-die", 5);
    if (where == IN_PROCESSES)
        crew_bury(s.crew, s.doomed_member); /* it is dead before anybody looks */
    check_is(finish_call(call), 6);
    if (where != IN_PROCESSES)
        bury(&s);
    end(&s);
}

/* Whoever waits for any call, or polls, is told, too. */
static void a_death_is_told_by_the_wait_for_any(where_t where) {
    for (unsigned by_descriptor = 0; by_descriptor < 2; by_descriptor++) {
        scene_t s = begin(where);
        ferry_call_t *call = start_call(s.client, "die", 1), *next = NULL;
        int fd = ferry_client_fd(s.client), answer;
        await(&s.tale->inside, 1);
        check_error(ferry_client_next(s.client, FERRY_NOW, &next), -EAGAIN, "");
        atomic_store(&s.tale->die, 1);
        for (int64_t limit = monotonic() + PATIENCE / 2;;) {
            ferry_pollitem_t item = {.fd = fd, .events = FERRY_POLL_IN};
            if (by_descriptor)
                check_is(ferry_poll(&item, 1, PATIENCE), 1);
            answer = ferry_client_next(s.client, by_descriptor ? FERRY_NOW : PATIENCE, &next);
            if (answer != -EAGAIN)
                break;
            check(monotonic() < limit);
        }
        check_is(answer, 0);
        check(next == call);
        check_is(ferry_call_wait(next, FERRY_NOW, NULL), -ECONNRESET);
        release_call(call);
        bury(&s);
        end(&s);
    }
}

/* ---- a thread of several ends ---- */

static bool is_idle(void *service) {
    return service_stats(service).running == 0;
}

/* The service goes on with the others. */
static void a_thread_that_ends_in_its_handler_takes_only_its_call_along(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "mortal", NULL);
    add_method(service, "die", die_in_it, tale);
    add_method(service, "note", note_it, tale);
    check_is(ferry_service_start(service, 3), 0);
    ferry_client_t *client = open_client(node, "mortal", 3);
    atomic_store(&tale->die, 1);
    for (unsigned i = 1; i <= 2; i++) {
        check_is(end_at_once(start_call(client, "die", i)), -ECONNRESET);
        for (unsigned k = 10; k < 30; k++)
            check_is(call_number(client, "note", k), k + 1);
        check_is(service_stats(service).threads, 3 - i);
        await_that(is_idle, service, "the service still runs something");
    }
    check_is(ferry_service_start(service, 1), 0); /* another one in its place */
    check(ferry_client_wait(client, 2, PATIENCE) >= 2);
    check_is(call_number(client, "note", 5), 6);
    close_client(client);
    close_service(service);
    close_node(node);
}

/* ---- a client dies ---- */

typedef struct caller {
    atomic_uint come;
    atomic_uint calling;
    atomic_uint die;
    const char *method;
} caller_t;

static void call_and_die(ferry_t *node, void *arg) {
    caller_t *caller = arg;
    static unsigned char bytes[30000];
    await(&caller->come, 1);
    ferry_client_t *client = open_client(node, "mortal", 1);
    (void)start_call(client, caller->method, 1);
    for (uint64_t i = 0; i < 4; i++) {
        ferry_call_t *call = NULL;
        (void)start_call(client, "note", 40 + i);
        check_is(ferry_call_start(client, "none", bytes, sizeof bytes, 0, FERRY_FOREVER, &call), 0);
    }
    check_is(ferry_call_one_way(client, "note", &(uint64_t){50}, 8, FERRY_FOREVER), 0);
    atomic_store(&caller->calling, 1);
    await(&caller->die, 1);
    crew_die();
}

static void the_server_of_a_dead_client_is_told(where_t where) {
    tale_t *tale = share(sizeof *tale);
    caller_t *caller = share(sizeof *caller);
    server_t *server = new_server("mortal", 1, methods, sizeof methods / sizeof methods[0], tale);
    caller->method = "until-cancelled";
    atomic_store(&caller->come, 1);
    crew_t *crew = crew_of(where, server);
    unsigned member = crew_add(crew, call_and_die, caller);
    ferry_client_t *client = open_client(crew_node(crew), "mortal", 1);
    await(&caller->calling, 1);
    await(&tale->inside, 1);
    check_is(atomic_load(&tale->noticed), 0);
    atomic_store(&caller->die, 1);
    crew_bury(crew, member);
    await(&tale->noticed, 1);
    check_is(call_number(client, "note", 2), 3);
    close_client(client);
    crew_end_with(crew, server);
}

/* A call that is answered ends when no server is left; those that are not wait for the next one. */
static void calls_that_nobody_answers_wait_for_the_next_server(void) {
    tale_t *tale = share(sizeof *tale);
    ferry_t *node = open_node("test");
    ferry_service_t *first = open_service(node, "mortal", NULL);
    uint64_t undone = 7;
    check(ferry_service_fd(first) >= 0); /* this thread serves, and begins none */
    ferry_client_t *client = open_client(node, "mortal", 1);
    for (uint64_t i = 0; i < 5; i++)
        check_is(ferry_call_one_way(client, "note", &(uint64_t){3}, 8, FERRY_FOREVER), 0);
    ferry_call_t *call = start_call(client, "note", 1);
    check_is(ferry_service_close(first, FERRY_NOW), 0);
    check_is(end_of_call(call), -ENOENT);
    ferry_service_t *second = open_service(node, "mortal", NULL);
    add_method(second, "note", note_it, tale);
    check_is(ferry_service_start(second, 1), 0);
    check_is(ferry_client_wait(client, 1, PATIENCE), 1);
    check_is(ferry_client_close(client, PATIENCE, &undone), 0);
    check_is(undone, 0);
    check_is(service_stats(second).calls, 5);
    close_service(second);
    close_node(node);
}

/* Serves, begins none, and leaves. */
static void *serve_and_leave(void *service) {
    check(ferry_service_fd(service) >= 0);
    nap(300 * MILLISECOND);
    check_is(ferry_service_close(service, FERRY_NOW), 0);
    return NULL;
}

/* What the client's quota is full of waits for a server; nobody else could make room. */
static void who_waits_for_room_learns_that_the_last_server_has_gone(void) {
    static const unsigned char bytes[300000];
    for (int one_way = 0; one_way < 2; one_way++) {
        ferry_t *node = open_node("test");
        ferry_service_t *service = open_service(node, "mortal", NULL);
        ferry_call_t *call = NULL;
        pthread_t thread;
        int answer = 0;
        check_is(pthread_create(&thread, NULL, serve_and_leave, service), 0);
        ferry_client_t *client = open_client_with(node, "mortal", &(ferry_client_options_t){.quota = 1u << 20}, 1);
        for (unsigned i = 0; answer == 0 && i < 10; i++)
            answer = one_way ? ferry_call_one_way(client, "note", bytes, sizeof bytes, PATIENCE)
                             : ferry_call_start(client, "note", bytes, sizeof bytes, 0, PATIENCE, &call);
        check_error(answer, -ENOENT, "nobody mortal");
        pthread_join(thread, NULL);
        (void)ferry_client_close(client, FERRY_NOW, NULL);
        close_node(node);
    }
}

/* Clients of a new node. */
static void come_and_go(void) {
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < 20; i++) {
        ferry_client_t *client = open_client(node, "mortal", 2);
        for (unsigned k = 0; k < 4; k++)
            check_is(call_number(client, "note", k), k + 1);
        close_client(client);
    }
    close_node(node);
}

/* The server has about as many as before: its second thread may have met this client only now. */
static void await_descriptors(ferry_client_t *client, uint64_t before) {
    for (int64_t limit = monotonic() + PATIENCE; call_number(client, "descriptors", 0) > before + 10;) {
        check(monotonic() < limit);
        nap(MILLISECOND);
    }
}

/* Processes only: they alone come and go with all they have. */
static void a_server_keeps_nothing_of_dead_clients(void) {
    enum { CALLERS = 12 };
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_server("mortal", 2, methods, sizeof methods / sizeof methods[0], tale);
    caller_t *callers = share(CALLERS * sizeof *callers);
    unsigned members[CALLERS];
    crew_t *crew = crew_of(IN_PROCESSES, server);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i].method = i % 2 ? "hold" : "note";
        members[i] = crew_add(crew, call_and_die, &callers[i]);
    }
    ferry_client_t *client = open_client(crew_node(crew), "mortal", 2);
    uint64_t before = call_number(client, "descriptors", 0);
    for (unsigned i = 0; i < CALLERS; i++)
        atomic_store(&callers[i].come, 1);
    for (unsigned i = 0; i < CALLERS; i++)
        await(&callers[i].calling, 1);
    atomic_store(&tale->go, 1);
    for (unsigned i = 0; i < CALLERS; i++) {
        atomic_store(&callers[i].die, 1);
        crew_bury(crew, members[i]);
    }
    await_descriptors(client, before);
    come_and_go();
    await_descriptors(client, before);
    close_client(client);
    crew_end_with(crew, server);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(calls_that_nobody_answers_wait_for_the_next_server),
        TEST(who_waits_for_room_learns_that_the_last_server_has_gone),
        TEST_ALL(whoever_waits_for_a_dead_server_is_told_at_once),
        TEST_ALL(what_a_dead_server_had_not_begun_is_not_run_when_there_is_no_other),
        TEST(a_dead_server_keeps_nothing_here_by_answers_that_nobody_wants),
        TEST_ALL(what_a_dead_server_had_not_begun_is_run_once_by_another),
        TEST_ALL(what_does_no_harm_twice_is_tried_again_elsewhere),
        TEST_BOTH(a_call_without_an_answer_is_tried_again_only_where_that_does_no_harm),
        TEST_BOTH(a_retry_needs_another_server),
        TEST_BOTH(an_answer_given_before_the_death_counts),
        TEST_BOTH(a_death_is_told_by_the_wait_for_any),
        TEST(a_thread_that_ends_in_its_handler_takes_only_its_call_along),
        TEST_ALL(the_server_of_a_dead_client_is_told),
        TEST(a_server_keeps_nothing_of_dead_clients),
    };
    return run_suite("call-death", tests, sizeof tests / sizeof tests[0], argc, argv);
}

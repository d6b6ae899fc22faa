/* SPDX-License-Identifier: MIT
 *
 * call_end.c - calls that end before their answer: their time passes, they are cancelled, or what they are answered
 * cannot be sent; singly and in storms.
 */
#include "calls.h"

#include <stdlib.h>
#include <string.h>

/* What handlers and tests share. */
typedef struct tale {
    atomic_uint run; /* handlers begun */
    atomic_uint inside;
    atomic_uint go;
    atomic_uint noticed; /* handlers that saw that nobody waits for them */
    _Atomic int64_t time_left[3];
    atomic_int inner;
    char sentence[512];
} tale_t;

/* ---- handlers ---- */

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->run, 1);
    atomic_fetch_add(&tale->inside, 1);
    await(&tale->go, 1);
    (void)ferry_reply(rq, data, size); /* perhaps nobody waits for it any more */
    return 0;
}

/* Until nobody waits for it any more. */
static int run_until_cancelled(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->run, 1);
    bool is_over = ferry_request_is_cancelled(rq);
    check(!is_over || info_of_request(rq).time_left <= 0); /* it may have begun in its last moment */
    atomic_fetch_add(&tale->inside, 1);
    for (int64_t end = monotonic() + PATIENCE; !ferry_request_is_cancelled(rq);) {
        check(monotonic() < end);
        nap(MILLISECOND / 4);
    }
    atomic_fetch_add(&tale->noticed, 1);
    await(&tale->go, 1);
    (void)ferry_reply(rq, data, size); /* too late */
    return 0;
}

static int count_and_echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    atomic_fetch_add(&((tale_t *)arg)->run, 1);
    (void)ferry_reply(rq, data, size);
    return 0;
}

static int add_for_whoever_waits(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    uint64_t number = number_at(data, size) + 1;
    (void)arg;
    (void)ferry_reply(rq, &number, sizeof number);
    return 0;
}

static int tell_time_left(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    int64_t left = info_of_request(rq).time_left;
    (void)data;
    (void)size;
    (void)arg;
    check_is(ferry_reply(rq, &left, sizeof left), 0);
    return 0;
}

static const method_t methods[] = {{.name = "hold", .handler = hold},
                                   {.name = "until-cancelled", .handler = run_until_cancelled},
                                   {.name = "echo", .handler = count_and_echo},
                                   {.name = "time-left", .handler = tell_time_left},
                                   {.name = "add", .handler = add_for_whoever_waits}};

typedef struct scene {
    crew_t *crew;
    server_t *server;
    tale_t *tale;
    ferry_client_t *client;
} scene_t;

static scene_t begin(where_t where, unsigned threads) {
    scene_t s = {.tale = share(sizeof *s.tale)};
    s.server = new_server("end", threads, methods, sizeof methods / sizeof methods[0], s.tale);
    s.crew = crew_of(where, s.server);
    s.client = open_client(crew_node(s.crew), "end", threads);
    return s;
}

static void end(scene_t *s) {
    close_client(s->client);
    crew_end_with(s->crew, s->server);
}

static int call_for(scene_t *s, const char *method, int64_t timeout) {
    uint64_t number = 3;
    return ferry_call(s->client, method, &number, sizeof number, timeout, NULL);
}

static ferry_call_t *start_for(scene_t *s, const char *method, int64_t timeout) {
    uint64_t number = 3;
    ferry_call_t *call = NULL;
    check_is(ferry_call_start(s->client, method, &number, sizeof number, 0, timeout, &call), 0);
    return call;
}

/* ---- deadlines ---- */

static void a_call_whose_time_passes_in_the_queue_is_not_started(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *first = start_for(&s, "hold", PATIENCE);
    await(&s.tale->inside, 1);
    check_error(call_for(&s, "echo", 10 * MILLISECOND), -ETIMEDOUT, "echo end passed");
    ferry_call_t *second = start_for(&s, "echo", 10 * MILLISECOND), *third = start_for(&s, "echo", PATIENCE);
    check_error(ferry_call_wait(second, PATIENCE, NULL), -ETIME, "echo end passed");
    check_error(ferry_call_wait(second, FERRY_NOW, NULL), -ETIME, "echo end passed");
    release_call(second);
    atomic_store(&s.tale->go, 1);
    check_is(finish_call(first), 3);
    check_is(finish_call(third), 3);
    end(&s);
    check_is(atomic_load(&s.tale->run), 2);
    check_is(s.server->stats.calls, 2);
    check_is(s.server->stats.expired, 2);
}

static void a_handler_sees_that_the_time_has_passed(where_t where) {
    scene_t s = begin(where, 1);
    unsigned late = 0;
    for (int64_t timeout = 100 * MILLISECOND; !atomic_load(&s.tale->inside);
         timeout *= 2) { /* until it has begun in time */
        check(timeout < PATIENCE);
        check_error(call_for(&s, "until-cancelled", timeout), -ETIMEDOUT, "until-cancelled");
        late += !atomic_load(&s.tale->inside);
    }
    await(&s.tale->noticed, 1);
    atomic_store(&s.tale->go, 1);
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
    check(s.server->stats.expired <= late); /* the last one was begun */
}

static void a_wait_that_ends_early_does_not_end_the_call(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start_for(&s, "hold", PATIENCE);
    await(&s.tale->inside, 1);
    for (unsigned i = 0; i < 3; i++) {
        check_error(ferry_call_wait(call, 2 * MILLISECOND, NULL), -ETIMEDOUT, "end");
        check_error(ferry_call_wait(call, FERRY_NOW, NULL), -EAGAIN, "");
    }
    check_is(client_stats(s.client).under_way, 1);
    atomic_store(&s.tale->go, 1);
    check_is(finish_call(call), 3);
    end(&s);
}

static void no_time_is_too_little(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = NULL;
    check_error(call_for(&s, "echo", FERRY_NOW), -ETIMEDOUT, "echo");
    int answer = ferry_call_start(s.client, "echo", NULL, 0, 0, FERRY_NOW, &call);
    check_error(answer, -ETIME, "echo");
    check_error(ferry_call_one_way(s.client, "echo", NULL, 0, FERRY_NOW), -ETIME, "echo");
    check(call == NULL);
    check_is(client_stats(s.client).under_way, 0);
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
    check_is(atomic_load(&s.tale->run), 0);
}

static void the_deadline_travels_with_the_call(where_t where) {
    scene_t s = begin(where, 1);
    ferry_msg_t *reply = NULL;
    for (int64_t timeout = 100 * SECOND; timeout <= 100000 * SECOND; timeout *= 10) {
        check_is(ferry_call(s.client, "time-left", NULL, 0, timeout, &reply), 0);
        int64_t left = (int64_t)number_in(reply);
        check(left <= timeout + 2 * MILLISECOND && left > timeout - PATIENCE);
        release(reply);
    }
    check_is(ferry_call(s.client, "time-left", NULL, 0, FERRY_FOREVER, &reply), 0);
    check_is((int64_t)number_in(reply), FERRY_FOREVER);
    release(reply);
    end(&s);
}

/* A client waits for its own calls' deadlines while it waits for any. */
static void a_passed_time_is_told_by_the_wait_for_any(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *first = start_for(&s, "hold", PATIENCE), *call = NULL;
    ferry_call_t *late[3];
    for (unsigned i = 0; i < 3; i++)
        late[i] = start_for(&s, "echo", (20 + 10 * (int64_t)(2 - i)) * MILLISECOND);
    for (unsigned i = 3; i-- > 0;) {
        check_is(ferry_client_next(s.client, PATIENCE, &call), 0);
        check_is(ferry_call_wait(call, FERRY_NOW, NULL), -ETIME);
        release_call(call);
        check(call == late[0] || call == late[1] || call == late[2]);
    }
    atomic_store(&s.tale->go, 1);
    check_is(finish_call(first), 3);
    end(&s);
}

/* ---- calls within calls ---- */

/* Asks the next service with no limit of its own, and notes how much time it has itself. */
static int ask(ferry_request_t *rq, tale_t *tale, unsigned depth, const char *service, const char *method) {
    ferry_t *node = open_node("test");
    ferry_client_t *client = open_client(node, service, 1);
    uint64_t number = 0;
    ferry_msg_t *reply = NULL;
    tale->time_left[depth] = info_of_request(rq).time_left;
    int answer = ferry_call(client, method, &number, sizeof number, FERRY_FOREVER, &reply);
    if (answer != 0 && depth == 1) {
        tale->inner = answer;
        strncpy(tale->sentence, ferry_last_error(), sizeof tale->sentence - 1);
    }
    if (answer == 0)
        (void)ferry_reply_msg(rq, reply);
    if (answer >= 0)
        (void)ferry_msg_release(reply);
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    close_node(node);
    return answer > 0 ? -EIO : answer;
}

static int ask_middle(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return ask(rq, arg, 0, "middle", "ask");
}

static int ask_last(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return ask(rq, arg, 1, "end", "note");
}

static int ask_last_for_ever(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    return ask(rq, arg, 1, "end", "until-cancelled");
}

static int note_time(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    ((tale_t *)arg)->time_left[2] = info_of_request(rq).time_left;
    return echo(rq, data, size, NULL);
}

typedef struct chain {
    crew_t *crew;
    server_t *servers[3];
    tale_t *tale;
    ferry_client_t *client;
} chain_t;

static chain_t begin_chain(where_t where, ferry_handler_t *middle) {
    chain_t c = {.tale = share(sizeof *c.tale)};
    const method_t first = {.name = "ask", .handler = ask_middle}, second = {.name = "ask", .handler = middle};
    const method_t last[] = {{.name = "note", .handler = note_time},
                             {.name = "until-cancelled", .handler = run_until_cancelled}};
    c.servers[0] = new_server("end", 1, last, 2, c.tale);
    c.servers[1] = new_server("middle", 1, &second, 1, c.tale);
    c.servers[2] = new_server("first", 1, &first, 1, c.tale);
    c.crew = crew_begin(where);
    for (unsigned i = 0; i < 3; i++)
        crew_add(c.crew, serve, c.servers[i]);
    c.client = open_client(crew_node(c.crew), "first", 1);
    return c;
}

static void end_chain(chain_t *c) {
    close_client(c->client);
    for (unsigned i = 3; i-- > 0;)
        stop_server(c->servers[i]);
    crew_end(c->crew);
}

static void calls_of_a_handler_have_no_more_time_than_its_own(where_t where) {
    chain_t c = begin_chain(where, ask_last);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(c.client, "ask", NULL, 0, PATIENCE, &reply), 0);
    release(reply);
    check(c.tale->time_left[0] > 0 && c.tale->time_left[0] <= PATIENCE + 2 * MILLISECOND);
    check(c.tale->time_left[1] > 0 && c.tale->time_left[1] <= c.tale->time_left[0]);
    check(c.tale->time_left[2] > 0 && c.tale->time_left[2] <= c.tale->time_left[1]);
    check_is(ferry_call(c.client, "ask", NULL, 0, FERRY_FOREVER, &reply), 0); /* and what came before is forgotten */
    release(reply);
    for (unsigned i = 0; i < 3; i++)
        check_is(c.tale->time_left[i], FERRY_FOREVER);
    end_chain(&c);
}

static void the_end_of_the_time_ends_all_of_a_chain(where_t where) {
    chain_t c = begin_chain(where, ask_last_for_ever);
    for (int64_t timeout = 3 * SECOND / 10; !atomic_load(&c.tale->inside);
         timeout *= 2) { /* until the last one has it in time */
        check(timeout < PATIENCE);
        check_error(ferry_call(c.client, "ask", NULL, 0, timeout, NULL), -ETIMEDOUT, "ask");
    }
    await(&c.tale->noticed, 1);
    atomic_store(&c.tale->go, 1);
    end_chain(&c);
    check_is(c.tale->inner, -ETIMEDOUT);
    check(strstr(c.tale->sentence, "until-cancelled"));
}

/* ---- cancelling ---- */

static void a_call_that_is_cancelled_in_the_queue_is_not_started(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *first = start_for(&s, "hold", PATIENCE), *second = start_for(&s, "echo", PATIENCE);
    await(&s.tale->inside, 1);
    ferry_call_t *third = start_for(&s, "add", PATIENCE);
    check_is(ferry_call_cancel(second), 0);
    check_error(ferry_call_cancel(second), -EALREADY, "echo ended");
    for (unsigned i = 0; i < 3; i++)
        check_error(ferry_call_wait(second, PATIENCE, NULL), -ECANCELED, "echo end cancelled");
    release_call(second);
    atomic_store(&s.tale->go, 1);
    check_is(finish_call(first), 3);
    check_is(finish_call(third), 4);
    end(&s);
    check_is(atomic_load(&s.tale->run), 1);
    check_is(s.server->stats.expired, 1);
}

static void a_handler_sees_that_it_is_cancelled(where_t where) {
    scene_t s = begin(where, 1);
    atomic_store(&s.tale->go, 1);
    for (unsigned i = 1; i <= 20; i++) {
        ferry_call_t *call = start_for(&s, "until-cancelled", i % 2 ? PATIENCE : FERRY_FOREVER);
        await(&s.tale->inside, i);
        if (i % 3 == 0) {
            release_call(call); /* cancels, too */
        } else {
            check_is(ferry_call_cancel(call), 0);
            check_is(end_of_call(call), -ECANCELED);
        }
        await(&s.tale->noticed, i);
        check_is(call_number(s.client, "add", i), i + 1); /* the late answer is not taken for this one's */
    }
    end(&s);
}

static void what_has_ended_cannot_be_cancelled(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start_for(&s, "add", PATIENCE);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_wait(call, PATIENCE, &reply), 0);
    check_error(ferry_call_cancel(call), -EALREADY, "add ended");
    check_is(number_in(reply), 4);
    release(reply);
    release_call(call);
    call = start_for(&s, "add", PATIENCE); /* its answer is there, and was not taken */
    ferry_call_t *next = NULL;
    check_is(ferry_client_next(s.client, PATIENCE, &next), 0);
    check_error(ferry_call_cancel(call), -EALREADY, "add ended");
    check_is(finish_call(call), 4);
    end(&s);
}

/* ---- storms ---- */

#define STORM (UNDER_SANITIZER ? 2000 : 10000)

/* Ended in any way but with a wrong answer. */
static void end_somehow(ferry_call_t *call, uint64_t number, int end) {
    ferry_msg_t *reply = NULL;
    int answer = ferry_call_wait(call, PATIENCE, &reply);
    check(answer == 0 || answer == end);
    if (answer == 0) {
        check_is(number_in(reply), number + 1);
        release(reply);
    }
    release_call(call);
}

static void check_calm(scene_t *s) {
    check_is(client_stats(s->client).under_way, 0);
    for (uint64_t i = 0; i < 100; i++)
        check_is(call_number(s->client, "add", i), i + 1);
    uint64_t sent = client_stats(s->client).calls;
    end(s);
    check(s->server->stats.calls + s->server->stats.expired <= sent); /* nor was any run twice */
}

static void a_storm_of_cancelled_calls_mixes_no_answers_up(where_t where) {
    enum { WINDOW = 16 };
    scene_t s = begin(where, 2);
    ferry_call_t *calls[WINDOW] = {NULL};
    uint64_t seed = 1, numbers[WINDOW] = {0};
    for (unsigned i = 0; i < STORM; i++) {
        unsigned k = (unsigned)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 33) % WINDOW;
        if (calls[k] && (seed >> 40) % 4) {
            int answer = ferry_call_cancel(calls[k]);
            check(answer == 0 || answer == -EALREADY);
        }
        if (calls[k])
            end_somehow(calls[k], numbers[k], -ECANCELED);
        numbers[k] = i;
        calls[k] = start_call(s.client, "add", i);
    }
    for (unsigned k = 0; k < WINDOW; k++)
        release_call(calls[k]);
    check_calm(&s);
}

static void a_storm_of_short_deadlines_mixes_no_answers_up(where_t where) {
    scene_t s = begin(where, 2);
    unsigned in_time = 0;
    for (uint64_t i = 0; i < STORM; i++) {
        ferry_msg_t *reply = NULL;
        int answer = ferry_call(s.client, "add", &i, sizeof i, (int64_t)(1 + i * 37 % 200000), &reply);
        check(answer == 0 || answer == -ETIMEDOUT);
        if (answer == 0) {
            check_is(number_in(reply), i + 1);
            release(reply);
            in_time++;
        }
    }
    check(in_time < STORM); /* a nanosecond is too little */
    check_calm(&s);
}

static void a_client_that_closes_in_a_storm_leaves_nothing(where_t where) {
    scene_t s = begin(where, 2);
    for (unsigned round = 0; round < 30; round++) {
        ferry_client_t *client = open_client(crew_node(s.crew), "end", 2);
        for (uint64_t i = 0; i < 50; i++)
            (void)start_call(client, "add", i);
        check_is(ferry_client_close(client, FERRY_NOW, NULL), 0); /* with all its calls */
    }
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
}

/* ---- answers that could not be sent ---- */

static void await_the_close(ferry_request_t *rq, tale_t *tale) {
    atomic_fetch_add(&tale->inside, 1);
    for (int64_t end = monotonic() + PATIENCE; !ferry_request_is_cancelled(rq);) {
        check(monotonic() < end);
        nap(MILLISECOND / 4);
    }
}

/* Each believes that all is well. */
static int say_half(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    check_is(ferry_reply_more(rq, data, size), 0);
    await_the_close(rq, arg);
    check_error(ferry_reply_more(rq, data, size), -ECANCELED, "closed");
    return 0;
}

static int say_much_too_late(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    static const unsigned char bytes[5000];
    (void)data;
    (void)size;
    await_the_close(rq, arg);
    check_error(ferry_reply(rq, bytes, sizeof bytes), -ECANCELED, "closed");
    return 0;
}

static int say_nonsense(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    (void)arg;
    check_is(ferry_reply(rq, NULL, 5), -EINVAL);
    return 0;
}

static void what_a_closing_service_could_not_say_is_no_success(void) {
    for (int streams = 0; streams < 2; streams++) {
        const ferry_method_options_t stream = {.streams = 1};
        tale_t *tale = share(sizeof *tale);
        ferry_t *node = open_node("test");
        ferry_service_t *service = open_service(node, "ends", NULL);
        ferry_msg_t *m = NULL;
        check_is(ferry_service_method(service, "half", say_half, tale, &stream), 0);
        add_method(service, "much", say_much_too_late, tale);
        check_is(ferry_service_start(service, 1), 0);
        ferry_client_t *client = open_client(node, "ends", 1);
        ferry_call_t *call = streams ? start_stream(client, "half", 1) : start_call(client, "much", 1);
        await(&tale->inside, 1);
        check_is(ferry_service_close(service, MILLISECOND), 0);
        if (streams) {
            check_is(ferry_call_wait(call, PATIENCE, &m), FERRY_CALL_MORE);
            release(m);
        }
        check_is(end_of_call(call), -ECANCELED);
        close_client(client);
        close_node(node);
    }
}

static void what_a_handler_says_wrongly_is_no_success(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "ends", NULL);
    ferry_msg_t *m = NULL;
    add_method(service, "nonsense", say_nonsense, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "ends", 1);
    check_is(ferry_call(client, "nonsense", NULL, 0, PATIENCE, &m), FERRY_CALL_FAILED);
    check_is(error_in(m).code, -EINVAL);
    release(m);
    close_client(client);
    close_service(service);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(a_call_whose_time_passes_in_the_queue_is_not_started),
        TEST_BOTH(a_handler_sees_that_the_time_has_passed),
        TEST_BOTH(a_wait_that_ends_early_does_not_end_the_call),
        TEST_BOTH(no_time_is_too_little),
        TEST_BOTH(the_deadline_travels_with_the_call),
        TEST_BOTH(a_passed_time_is_told_by_the_wait_for_any),
        TEST_BOTH(calls_of_a_handler_have_no_more_time_than_its_own),
        TEST_BOTH(the_end_of_the_time_ends_all_of_a_chain),
        TEST_ALL(a_call_that_is_cancelled_in_the_queue_is_not_started),
        TEST_BOTH(a_handler_sees_that_it_is_cancelled),
        TEST_BOTH(what_has_ended_cannot_be_cancelled),
        TEST_ALL(a_storm_of_cancelled_calls_mixes_no_answers_up),
        TEST_ALL(a_storm_of_short_deadlines_mixes_no_answers_up),
        TEST_BOTH(a_client_that_closes_in_a_storm_leaves_nothing),
        TEST(what_a_closing_service_could_not_say_is_no_success),
        TEST(what_a_handler_says_wrongly_is_no_success),
    };
    return run_suite("call-end", tests, sizeof tests / sizeof tests[0], argc, argv);
}

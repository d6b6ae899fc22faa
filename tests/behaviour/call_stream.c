/* SPDX-License-Identifier: MIT
 *
 * call_stream.c - several results of one call: their order, their end, a reader that is slow, stops, or dies.
 */
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* 1 GiB in the usual build. */
#if UNDER_SANITIZER
#define FLOOD 128
#else
#define FLOOD 1024
#endif

/* What is asked for: so many results of that size, the i-th filled with the pattern of i. */
typedef struct want {
    uint64_t count;
    uint64_t size;
} want_t;

/* What a handler tells of itself. */
typedef struct tale {
    atomic_uint sent;
    atomic_uint inside;
    atomic_int last;      /* what its last ferry_reply_more answered */
    atomic_int cancelled; /* and then ferry_request_is_cancelled */
    atomic_uint ended;
    atomic_ullong most_resident;
} tale_t;

/* ---- handlers ---- */

static want_t want_of(const void *data, size_t size) {
    want_t want;
    check_is(size, sizeof want);
    memcpy(&want, data, sizeof want);
    return want;
}

/* Bytes of memory that this process has in use. */
static uint64_t resident(void) {
    unsigned long long kib = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    check(status != NULL);
    while (fgets(line, sizeof line, status))
        (void)sscanf(line, "VmRSS: %llu kB", &kib);
    fclose(status);
    return kib * KIB;
}

static int send_results(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    want_t want = want_of(data, size);
    unsigned char *bytes = malloc(want.size + 1);
    int answer = 0;
    atomic_fetch_add(&tale->inside, 1);
    for (uint64_t i = 0; i < want.count && answer == 0; i++) {
        fill(bytes, want.size, i);
        answer = ferry_reply_more(rq, bytes, want.size);
        atomic_fetch_add(&tale->sent, answer == 0);
        if (want.size == MIB && resident() > atomic_load(&tale->most_resident))
            atomic_store(&tale->most_resident, resident());
    }
    free(bytes);
    atomic_store(&tale->last, answer);
    atomic_store(&tale->cancelled, ferry_request_is_cancelled(rq));
    atomic_fetch_add(&tale->ended, 1);
    return answer;
}

/* The same, each by pointer. */
static int send_by_pointer(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    want_t want = want_of(data, size);
    (void)arg;
    for (uint64_t i = 0; i < want.count; i++) {
        void *room = NULL;
        ferry_msg_t *m = NULL;
        check_is(ferry_reply_new(rq, want.size, &room, &m), 0);
        fill(room, want.size, i);
        check_is(ferry_reply_more_msg(rq, m), 0);
        release(m);
    }
    return 0;
}

/* Three results, then an error of its own. */
static int fail_in_the_middle(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    (void)arg;
    for (uint64_t i = 0; i < 3; i++)
        check_is(ferry_reply_more(rq, &i, sizeof i), 0);
    check_is(ferry_reply_error(rq, 77, "no more", "why", 3), 0);
    check_error(ferry_reply_more(rq, "x", 1), -EALREADY, "fails");
    return 0;
}

/* Three results, and a last one with the end. */
static int end_with_a_result(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)data;
    (void)size;
    (void)arg;
    for (uint64_t i = 0; i < 3; i++)
        check_is(ferry_reply_more(rq, &i, sizeof i), 0);
    reply_number(rq, 3);
    check_error(ferry_reply(rq, "x", 1), -EALREADY, "last answered");
    return 0;
}

/* Not marked as giving several. */
static int try_several(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    uint64_t number = number_at(data, size);
    atomic_store(&tale->last, ferry_reply_more(rq, &number, sizeof number));
    check(info_of_request(rq).streams || strstr(ferry_last_error(), "plain"));
    return 0;
}

static const method_t methods[] = {{.name = "results", .handler = send_results, .streams = 1},
                                   {.name = "by-pointer", .handler = send_by_pointer, .streams = 1},
                                   {.name = "fails", .handler = fail_in_the_middle, .streams = 1},
                                   {.name = "last", .handler = end_with_a_result, .streams = 1},
                                   {.name = "plain", .handler = try_several},
                                   {.name = "add", .handler = add_one}};

typedef struct scene {
    crew_t *crew;
    server_t *server;
    tale_t *tale;
    ferry_client_t *client;
} scene_t;

static scene_t begin(where_t where, unsigned threads) {
    scene_t s = {.tale = share(sizeof *s.tale)};
    s.server = new_server("stream", threads, methods, sizeof methods / sizeof methods[0], s.tale);
    s.crew = crew_of(where, s.server);
    s.client = open_client(crew_node(s.crew), "stream", threads);
    return s;
}

static void end(scene_t *s) {
    close_client(s->client);
    crew_end_with(s->crew, s->server);
}

static ferry_call_t *start(scene_t *s, const char *method, uint64_t count, uint64_t size) {
    want_t want = {count, size};
    ferry_call_t *call = NULL;
    check_is(ferry_call_start(s->client, method, &want, sizeof want, FERRY_CALL_STREAM, FERRY_FOREVER, &call), 0);
    return call;
}

static void take_result(ferry_call_t *call, uint64_t number, size_t size) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_wait(call, PATIENCE, &reply), FERRY_CALL_MORE);
    check_is(ferry_msg_size(reply), size);
    check(filled(ferry_msg_data(reply), size, number));
    release(reply);
}

static ferry_msg_t *const nothing = (ferry_msg_t *)(uintptr_t)1;

static void take_end(ferry_call_t *call) {
    for (unsigned i = 0; i < 3; i++) { /* as often as it is asked */
        ferry_msg_t *reply = nothing;
        check_is(ferry_call_wait(call, PATIENCE, &reply), 0);
        check(reply == NULL);
    }
    check_error(ferry_call_cancel(call), -EALREADY, "ended");
    release_call(call);
}

/* ---- results ---- */

static void results_come_in_order_and_then_the_end(where_t where) {
    scene_t s = begin(where, 1);
    static const struct {
        uint64_t count;
        size_t size;
    } wants[] = {{0, 0}, {1, 0}, {1, 8}, {2, 100}, {32, 8}, {33, 8}, {100, 5000}, {40, 300000}, {1000, 63}};
    for (unsigned k = 0; k < 2; k++)
        for (unsigned w = 0; w < sizeof wants / sizeof wants[0]; w++) {
            ferry_call_t *call = start(&s, k ? "by-pointer" : "results", wants[w].count, wants[w].size);
            for (uint64_t i = 0; i < wants[w].count; i++)
                take_result(call, i, wants[w].size);
            take_end(call);
        }
    end(&s);
}

static void tiny_results_flow(where_t where) {
    enum { COUNT = 30000 };
    scene_t s = begin(where, 1);
    ferry_call_t *call = start(&s, "results", COUNT, 8);
    for (uint64_t i = 0; i < COUNT; i++)
        take_result(call, i, 8);
    take_end(call);
    end(&s);
}

/* More is never under way than the caller has agreed to by taking. */
static void results_may_be_kept(where_t where) {
    static ferry_msg_t *kept[500];
    scene_t s = begin(where, 1);
    ferry_call_t *call = start(&s, "results", 500, 1000);
    for (unsigned i = 0; i < 500; i++)
        check_is(ferry_call_wait(call, PATIENCE, &kept[i]), FERRY_CALL_MORE);
    take_end(call);
    for (unsigned i = 500; i-- > 0;) {
        check(filled(ferry_msg_data(kept[i]), 1000, i));
        release(kept[i]);
    }
    end(&s);
}

static void a_last_result_may_come_with_the_end(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start_stream(s.client, "last", 0);
    for (uint64_t i = 0; i < 4; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call_wait(call, PATIENCE, &reply), i < 3 ? FERRY_CALL_MORE : 0);
        check_is(number_in(reply), i);
        release(reply);
    }
    take_end(call);
    end(&s);
}

static void an_error_comes_after_the_results_before_it(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start_stream(s.client, "fails", 0);
    ferry_msg_t *reply = NULL;
    for (uint64_t i = 0; i < 3; i++) {
        check_is(ferry_call_wait(call, PATIENCE, &reply), FERRY_CALL_MORE);
        check_is(number_in(reply), i);
        release(reply);
    }
    check_is(ferry_call_wait(call, PATIENCE, &reply), FERRY_CALL_FAILED);
    ferry_call_error_t error = error_in(reply);
    check_is(error.code, 77);
    check(strcmp(error.message, "no more") == 0 && error.detail_size == 3 && memcmp(error.detail, "why", 3) == 0);
    release(reply);
    check_is(ferry_call_wait(call, PATIENCE, NULL), FERRY_CALL_FAILED);
    release_call(call);
    end(&s);
}

static void whoever_wants_one_result_is_not_given_several(where_t where) {
    scene_t s = begin(where, 1);
    want_t want = {3, 3};
    ferry_msg_t *reply = NULL;
    ferry_call_t *call = NULL;
    check_error(ferry_call(s.client, "results", &want, sizeof want, PATIENCE, &reply), -ENOTSUP,
                "results ferry_call_start");
    check_is(ferry_call_start(s.client, "results", &want, sizeof want, 0, PATIENCE, &call), 0);
    check_error(ferry_call_wait(call, PATIENCE, &reply), -ENOTSUP, "results stream");
    release_call(call);
    check_is(atomic_load(&s.tale->inside), 0);
    uint64_t number = 5; /* the method does not say that it gives several, and finds out, and so does its caller */
    check_is(ferry_call(s.client, "plain", &number, sizeof number, PATIENCE, &reply), FERRY_CALL_FAILED);
    check_is(error_in(reply).code, -EPERM);
    release(reply);
    check_is(atomic_load(&s.tale->last), -EPERM);
    end(&s);
}

/* One result is a stream, too. */
static void whoever_takes_several_may_be_given_one(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start_stream(s.client, "add", 4);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_wait(call, PATIENCE, &reply), 0);
    check_is(number_in(reply), 5);
    release(reply);
    take_end(call);
    end(&s);
}

/* ---- a reader that does not read ---- */

static bool has_sent_what_it_may(void *arg) {
    tale_t *tale = arg;
    unsigned sent = atomic_load(&tale->sent);
    nap(100 * MILLISECOND);
    return sent >= 3 && atomic_load(&tale->sent) == sent;
}

/* However much is sent, what waits is little: at the server, and here. */
static void a_reader_that_stops_does_not_fill_the_memory(where_t where) {
    scene_t s = begin(where, 1);
    uint64_t before = resident(), most = 0;
    ferry_call_t *call = start(&s, "results", FLOOD, MIB);
    await_that(has_sent_what_it_may, s.tale, "the server did not send, or did not stop");
    check(atomic_load(&s.tale->sent) <= 5); /* 4 MiB, and one */
    for (unsigned i = 0; i < FLOOD; i++) {
        take_result(call, i, MIB);
        most = i % 32 == 0 && resident() > most ? resident() : most;
        if (i == FLOOD / 2) {
            await_that(has_sent_what_it_may, s.tale, "the server did not stop again");
            check(atomic_load(&s.tale->sent) <= i + 1 + 5);
        }
    }
    take_end(call);
    if (!UNDER_SANITIZER) { /* their own memory is large */
        check(before < 32 * MIB);
        check(most < 64 * MIB);
        check(atomic_load(&s.tale->most_resident) < 64 * MIB);
    }
    end(&s);
}

/* Nor does it stop other calls of the same client. */
static void a_stream_that_is_not_read_stops_no_other_call(where_t where) {
    scene_t s = begin(where, 2);
    ferry_call_t *idle = start(&s, "results", 200, 100000);
    for (uint64_t i = 0; i < 300; i++)
        check_is(call_number(s.client, "add", i), i + 1);
    for (uint64_t i = 0; i < 200; i++)
        take_result(idle, i, 100000);
    take_end(idle);
    end(&s);
}

static void two_streams_are_read_in_turn(where_t where) {
    for (unsigned threads = 1; threads <= 2; threads++) {
        scene_t s = begin(where, threads);
        ferry_call_t *a = start(&s, "results", 100, 3000), *b = start(&s, "results", 100, 50);
        if (threads == 1) /* the second begins after the first */
            for (uint64_t i = 0; i < 100; i++)
                take_result(a, i, 3000);
        for (uint64_t i = 0; i < 100; i++) {
            take_result(b, i, 50);
            if (threads == 2)
                take_result(a, i, 3000);
        }
        take_end(a);
        take_end(b);
        end(&s);
    }
}

/* By whichever has something. */
static void two_streams_are_read_by_what_is_ready(where_t where) {
    scene_t s = begin(where, 2);
    ferry_call_t *calls[2] = {start(&s, "results", 300, 700), start(&s, "results", 300, 9)};
    uint64_t taken[2] = {0, 0};
    for (unsigned open = 2; open > 0;) {
        ferry_call_t *call = NULL;
        ferry_msg_t *reply = NULL;
        check_is(ferry_client_next(s.client, PATIENCE, &call), 0);
        unsigned which = call == calls[1];
        check(call == calls[which]);
        int answer = ferry_call_wait(call, FERRY_NOW, &reply);
        if (answer == FERRY_CALL_MORE) {
            check(filled(ferry_msg_data(reply), which ? 9 : 700, taken[which]++));
            release(reply);
            continue;
        }
        check_is(answer, 0);
        check(reply == NULL);
        check_is(taken[which], 300);
        release_call(call);
        open--;
    }
    end(&s);
}

/* ---- stopped early ---- */

static void await_the_handlers_end(scene_t *s, int want) {
    await(&s->tale->ended, 1);
    check_is(atomic_load(&s->tale->last), want);
    check_is(atomic_load(&s->tale->cancelled), 1);
    check(atomic_load(&s->tale->sent) < 5000);
}

static void the_server_of_a_cancelled_stream_is_told(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start(&s, "results", 1000000, 100);
    for (uint64_t i = 0; i < 50; i++)
        take_result(call, i, 100);
    check_is(ferry_call_cancel(call), 0);
    check_error(ferry_call_wait(call, PATIENCE, NULL), -ECANCELED, "results");
    await_the_handlers_end(&s, -ECANCELED);
    check_error(ferry_call_cancel(call), -EALREADY, "results");
    release_call(call);
    check_is(call_number(s.client, "add", 1), 2); /* and takes the next one */
    end(&s);
}

static void the_server_of_a_released_stream_is_told(where_t where) {
    scene_t s = begin(where, 1);
    ferry_call_t *call = start(&s, "results", 1000000, 100);
    take_result(call, 0, 100);
    release_call(call);
    await_the_handlers_end(&s, -ECANCELED);
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
}

static void a_stream_has_no_more_time_than_its_call(where_t where) {
    scene_t s = begin(where, 1);
    want_t want = {1000000, 100};
    for (int64_t timeout = 100 * MILLISECOND; !atomic_load(&s.tale->inside);
         timeout *= 2) { /* until it has begun in time */
        ferry_call_t *call = NULL;
        check(timeout < PATIENCE);
        check_is(ferry_call_start(s.client, "results", &want, sizeof want, FERRY_CALL_STREAM, timeout, &call), 0);
        nap(timeout);
        int answer;
        do
            answer = ferry_call_wait(call, PATIENCE, NULL); /* what has come in time is given first */
        while (answer == FERRY_CALL_MORE);
        check_is(answer, -ETIME);
        release_call(call);
    }
    await_the_handlers_end(&s, -ETIME);
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
}

typedef struct doomed {
    atomic_uint reading;
    atomic_uint die;
} doomed_t;

static void read_some_and_die(ferry_t *node, void *arg) {
    doomed_t *doomed = arg;
    scene_t s = {.client = open_client(node, "stream", 1)};
    ferry_call_t *call = start(&s, "results", 1000000, 100);
    for (uint64_t i = 0; i < 50; i++)
        take_result(call, i, 100);
    atomic_store(&doomed->reading, 1);
    await(&doomed->die, 1);
    crew_die();
}

static void the_server_of_a_dead_reader_is_told(where_t where) {
    scene_t s = {.tale = share(sizeof *s.tale)};
    doomed_t *doomed = share(sizeof *doomed);
    s.server = new_server("stream", 1, methods, sizeof methods / sizeof methods[0], s.tale);
    s.crew = crew_of(where, s.server);
    unsigned member = crew_add(s.crew, read_some_and_die, doomed);
    s.client = open_client(crew_node(s.crew), "stream", 1);
    await(&doomed->reading, 1);
    atomic_store(&doomed->die, 1);
    crew_bury(s.crew, member);
    await_the_handlers_end(&s, -EPIPE);
    check_is(call_number(s.client, "add", 1), 2);
    end(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(results_come_in_order_and_then_the_end),
        TEST_BOTH(tiny_results_flow),
        TEST_BOTH(results_may_be_kept),
        TEST_BOTH(a_last_result_may_come_with_the_end),
        TEST_BOTH(an_error_comes_after_the_results_before_it),
        TEST_BOTH(whoever_wants_one_result_is_not_given_several),
        TEST_BOTH(whoever_takes_several_may_be_given_one),
        TEST_BOTH(a_reader_that_stops_does_not_fill_the_memory),
        TEST_BOTH(a_stream_that_is_not_read_stops_no_other_call),
        TEST_BOTH(two_streams_are_read_in_turn),
        TEST_ALL(two_streams_are_read_by_what_is_ready),
        TEST_BOTH(the_server_of_a_cancelled_stream_is_told),
        TEST_BOTH(the_server_of_a_released_stream_is_told),
        TEST_BOTH(a_stream_has_no_more_time_than_its_call),
        TEST_BOTH(the_server_of_a_dead_reader_is_told),
    };
    return run_suite("call-stream", tests, sizeof tests / sizeof tests[0], argc, argv);
}

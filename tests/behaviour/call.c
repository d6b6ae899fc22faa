/* SPDX-License-Identifier: MIT
 *
 * call.c - one argument, one result: every size, by copy and by pointer, and who may keep or change which bytes when.
 */
#include "calls.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define LARGE_QUOTA (512 * (uint64_t)MIB)

/* ---- handlers ---- */

/* Which memory the address lies in. */
static ferry_msg_place_t place_of(const void *data) {
    ferry_msg_place_t place = {.size = sizeof place};
    uintptr_t at = (uintptr_t)data;
    char *line = NULL;
    size_t room = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    check(maps != NULL);
    while (getline(&line, &room, maps) > 0) {
        uintptr_t from, to;
        uint64_t offset, inode;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %" SCNu64, &from, &to, &offset, &inode) == 4 &&
            from <= at && at < to) {
            place.inode = inode;
            place.offset = offset + (at - from);
        }
    }
    free(line);
    fclose(maps);
    return place;
}

/* The argument, by pointer. */
static int echo_by_pointer(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    void *room = NULL;
    ferry_msg_t *m = NULL;
    (void)arg;
    check_is(ferry_reply_new(rq, size, &room, &m), 0);
    if (size > 0)
        memcpy(room, data, size);
    check_is(ferry_reply_msg(rq, m), 0);
    release(m);
    return 0;
}

/* Where the argument's bytes are. */
static int tell_place(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    ferry_msg_place_t place = place_of(data);
    (void)size;
    (void)arg;
    check_is(ferry_reply(rq, &place, sizeof place), 0);
    return 0;
}

/* So many bytes, which begin with where they are. */
static int reply_in_place(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    void *room = NULL;
    ferry_msg_t *m = NULL;
    (void)arg;
    check_is(ferry_reply_new(rq, (size_t)number_at(data, size), &room, &m), 0);
    ferry_msg_place_t place = place_of(room);
    memcpy(room, &place, sizeof place);
    check_is(ferry_reply_msg(rq, m), 0);
    release(m);
    return 0;
}

static const method_t methods[] = {{.name = "echo", .handler = echo},
                                   {.name = "echo-by-pointer", .handler = echo_by_pointer},
                                   {.name = "tell-place", .handler = tell_place},
                                   {.name = "reply-in-place", .handler = reply_in_place}};

typedef struct scene {
    crew_t *crew;
    server_t *server;
    ferry_client_t *client;
} scene_t;

static scene_t begin_with(where_t where, unsigned threads, const method_t *list, size_t count, void *arg) {
    scene_t s = {.server = new_server("unary", threads, list, count, arg)};
    s.server->options.quota = LARGE_QUOTA;
    s.crew = crew_of(where, s.server);
    ferry_client_options_t options = {.quota = LARGE_QUOTA};
    s.client = open_client_with(crew_node(s.crew), "unary", &options, threads);
    return s;
}

static scene_t begin(where_t where) {
    return begin_with(where, 1, methods, sizeof methods / sizeof methods[0], NULL);
}

static void end(scene_t *s) {
    close_client(s->client);
    crew_end_with(s->crew, s->server);
}

/* ---- sizes ---- */

static void check_reply(ferry_msg_t *reply, size_t size, uint64_t seed) {
    check(reply != NULL);
    check_is(ferry_msg_size(reply), size);
    check(filled(ferry_msg_data(reply), size, seed));
    release(reply);
}

static void call_by_copy(ferry_client_t *client, const char *method, void *bytes, size_t size) {
    ferry_msg_t *reply = NULL;
    fill(bytes, size, size);
    check_is(ferry_call(client, method, bytes, size, PATIENCE, &reply), 0);
    check_reply(reply, size, size);
}

static void call_by_pointer(ferry_client_t *client, const char *method, size_t size) {
    void *data = NULL;
    ferry_msg_t *m = NULL, *reply = NULL;
    check_is(ferry_client_new_msg(client, size, PATIENCE, &data, &m), 0);
    fill(data, size, size + 1);
    check_is(ferry_call_msg(client, method, m, PATIENCE, &reply), 0);
    check_reply(reply, size, size + 1);
    check(filled(ferry_msg_data(m), size, size + 1)); /* it stays the caller's */
    release(m);
}

static void call_with_size(ferry_client_t *client, size_t size) {
    void *bytes = malloc(size + 1);
    check(bytes != NULL);
    call_by_copy(client, "echo", bytes, size);
    call_by_copy(client, "echo-by-pointer", bytes, size);
    call_by_pointer(client, "echo", size);
    call_by_pointer(client, "echo-by-pointer", size);
    free(bytes);
}

static void arguments_and_results_of_every_size_arrive_whole(where_t where) {
    scene_t s = begin(where);
    for (size_t size = 0; size <= 130; size++)
        call_with_size(s.client, size);
    for (size_t size = 1960; size <= 2100; size++) /* where messages begin to go by pointer */
        call_with_size(s.client, size);
    for (size_t size = 4 * KIB; size <= MIB; size *= 4) {
        call_with_size(s.client, size - 1);
        call_with_size(s.client, size);
        call_with_size(s.client, size + 1);
    }
    end(&s);
}

#if !UNDER_TSAN /* it notes each word of them, and finds nothing that it does not find with the sizes above */
static void an_argument_and_a_result_of_64_mib_arrive_whole(where_t where) {
    scene_t s = begin(where);
    void *bytes = malloc(64 * MIB);
    check(bytes != NULL);
    call_by_copy(s.client, "echo", bytes, 64 * MIB);
    call_by_pointer(s.client, "echo-by-pointer", 64 * MIB);
    free(bytes);
    end(&s);
}
#endif

static void nothing_is_a_result_too(where_t where) {
    scene_t s = begin(where);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(s.client, "echo", NULL, 0, PATIENCE, &reply), 0);
    check(reply != NULL);
    check_is(ferry_msg_size(reply), 0);
    release(reply);
    check_is(ferry_call(s.client, "echo", "x", 1, PATIENCE, NULL), 0); /* not wanted */
    end(&s);
}

/* ---- by pointer: the same memory ---- */

static void check_argument_place(ferry_client_t *client, size_t size) {
    ferry_msg_place_t mine = {.size = sizeof mine}, theirs;
    void *data = NULL;
    ferry_msg_t *m = NULL, *reply = NULL;
    check_is(ferry_client_new_msg(client, size, PATIENCE, &data, &m), 0);
    fill(data, size, 1);
    check_is(ferry_msg_place(m, &mine), 0);
    check(mine.inode != 0);
    check_is(ferry_call_msg(client, "tell-place", m, PATIENCE, &reply), 0);
    check_is(ferry_msg_size(reply), sizeof theirs);
    memcpy(&theirs, ferry_msg_data(reply), sizeof theirs);
    check_is(theirs.inode, mine.inode);
    check_is(theirs.offset, mine.offset);
    release(reply);
    release(m);
}

static void an_argument_by_pointer_is_read_where_it_was_written(where_t where) {
    scene_t s = begin(where);
    for (size_t size = 1; size <= 4 * MIB; size *= 8)
        check_argument_place(s.client, size);
    end(&s);
}

static void a_result_by_pointer_is_read_where_it_was_written(where_t where) {
    scene_t s = begin(where);
    for (uint64_t size = sizeof(ferry_msg_place_t); size <= 4 * MIB; size *= 8) {
        ferry_msg_place_t mine = {.size = sizeof mine}, theirs;
        ferry_msg_t *reply = NULL;
        check_is(ferry_call(s.client, "reply-in-place", &size, sizeof size, PATIENCE, &reply), 0);
        check_is(ferry_msg_size(reply), size);
        check_is(ferry_msg_place(reply, &mine), 0);
        memcpy(&theirs, ferry_msg_data(reply), sizeof theirs);
        check(mine.inode != 0);
        check_is(theirs.inode, mine.inode);
        check_is(theirs.offset, mine.offset);
        release(reply);
    }
    end(&s);
}

/* ---- while a server holds the argument ---- */

typedef struct hold {
    atomic_uint inside;
    atomic_uint go;
} hold_t;

/* Says that it has the argument, waits, and gives its bytes back. */
static int hold_then_echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    hold_t *hold = arg;
    atomic_fetch_add(&hold->inside, 1);
    await(&hold->go, 1);
    return echo(rq, data, size, NULL);
}

static const void *private_bytes(ferry_request_t *rq) {
    const void *bytes = NULL;
    check_is(ferry_request_private(rq, &bytes), 0);
    return bytes;
}

static int hold_private_then_echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    hold_t *hold = arg;
    const void *bytes = private_bytes(rq);
    check(bytes != data && memcmp(bytes, data, size) == 0);
    atomic_fetch_add(&hold->inside, 1);
    await(&hold->go, 1);
    check(private_bytes(rq) == bytes); /* copied once */
    return echo(rq, bytes, size, NULL);
}

static const method_t holding[] = {{.name = "hold", .handler = hold_then_echo},
                                   {.name = "hold-private", .handler = hold_private_then_echo}};

static scene_t begin_holding(where_t where, unsigned threads, hold_t **hold) {
    *hold = share(sizeof **hold);
    return begin_with(where, threads, holding, sizeof holding / sizeof holding[0], *hold);
}

static ferry_call_t *start_msg(ferry_client_t *client, const char *method, ferry_msg_t *m) {
    ferry_call_t *call = NULL;
    check_is(ferry_call_start_msg(client, method, m, 0, PATIENCE, &call), 0);
    return call;
}

static void finish_with(ferry_call_t *call, size_t size, uint64_t seed) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_wait(call, PATIENCE, &reply), 0);
    check_reply(reply, size, seed);
    release_call(call);
}

static void an_argument_that_is_edited_stays_as_it_was_for_the_server(where_t where) {
    for (size_t size = 100; size <= 100000; size *= 10) {
        hold_t *hold;
        scene_t s = begin_holding(where, 1, &hold);
        void *data = NULL;
        ferry_msg_t *m = NULL;
        check_is(ferry_client_new_msg(s.client, size, PATIENCE, &data, &m), 0);
        fill(data, size, 1);
        ferry_call_t *first = start_msg(s.client, "hold", m);
        await(&hold->inside, 1);
        check_is(ferry_msg_edit(m, &data), 1); /* one copy */
        check(filled(data, size, 1));
        fill(data, size, 2);
        ferry_call_t *second = start_msg(s.client, "hold", m);
        atomic_store(&hold->go, 1);
        finish_with(first, size, 1);
        finish_with(second, size, 2);
        check(filled(ferry_msg_data(m), size, 2));
        release(m);
        end(&s);
    }
}

static void one_message_is_the_argument_of_several_calls_at_once(where_t where) {
    hold_t *hold;
    scene_t s = begin_holding(where, 3, &hold);
    ferry_call_t *calls[6];
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_client_new_msg(s.client, 5000, PATIENCE, &data, &m), 0);
    fill(data, 5000, 7);
    for (unsigned i = 0; i < 6; i++)
        calls[i] = start_msg(s.client, "hold", m);
    await(&hold->inside, 3);
    check_is(ferry_call_cancel(calls[5]), 0); /* means none of the others, though they share their bytes */
    release_call(calls[5]);
    atomic_store(&hold->go, 1);
    for (unsigned i = 0; i < 5; i++)
        finish_with(calls[i], 5000, 7);
    release(m);
    end(&s);
}

/* What a hostile caller would do. */
static void private_bytes_are_out_of_the_callers_reach(where_t where) {
    hold_t *hold;
    scene_t s = begin_holding(where, 1, &hold);
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_client_new_msg(s.client, 5000, PATIENCE, &data, &m), 0);
    fill(data, 5000, 1);
    ferry_call_t *call = start_msg(s.client, "hold-private", m);
    await(&hold->inside, 1);
    fill(data, 5000, 2); /* without ferry_msg_edit */
    atomic_store(&hold->go, 1);
    finish_with(call, 5000, 1);
    release(m);
    end(&s);
}

/* ---- messages of others ---- */

static void a_message_that_was_received_is_sent_on_as_an_argument(where_t where) {
    scene_t s = begin(where);
    ferry_sender_t *tx = open_sender(crew_node(s.crew), "in", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(crew_node(s.crew), "in", FERRY_QUEUE, NULL);
    for (size_t size = 1; size <= MIB; size *= 4) {
        void *bytes = malloc(size);
        ferry_msg_t *reply = NULL, *again = NULL;
        fill(bytes, size, size);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        check_is(ferry_call_msg(s.client, "echo-by-pointer", m, PATIENCE, &reply), 0);
        release(m);
        check_is(ferry_call_msg(s.client, "echo", reply, PATIENCE, &again), 0); /* a result, too */
        check_reply(again, size, size);
        check_reply(reply, size, size);
        free(bytes);
    }
    close_sender(tx);
    close_receiver(rx);
    end(&s);
}

/* Asks another service, and gives its result as its own. */
static int ask_another(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    ferry_msg_t *reply = NULL;
    ferry_t *node = open_node("test");
    ferry_client_t *client = open_client(node, "unary", 1);
    (void)arg;
    check_is(ferry_call(client, "echo-by-pointer", data, size, PATIENCE, &reply), 0);
    check_is(ferry_reply_msg(rq, reply), 0);
    release(reply);
    close_client(client);
    close_node(node);
    return 0;
}

static void a_result_of_another_service_is_given_as_ones_own(where_t where) {
    const method_t ask = {.name = "ask", .handler = ask_another};
    server_t *inner = new_server("unary", 1, methods, sizeof methods / sizeof methods[0], NULL);
    server_t *outer = new_server("outer", 1, &ask, 1, NULL);
    crew_t *crew = crew_of(where, inner);
    crew_add(crew, serve, outer);
    ferry_client_t *client = open_client(crew_node(crew), "outer", 1);
    void *bytes = malloc(MIB);
    for (size_t size = 1; size <= MIB; size *= 16)
        call_by_copy(client, "ask", bytes, size);
    free(bytes);
    close_client(client);
    stop_server(outer);
    crew_end_with(crew, inner);
}

/* ---- results that are kept ---- */

#define KEPT 200

static size_t kept_size(unsigned i) {
    return i % 4 == 0 ? 20000 : i;
}

static void *release_every_other(void *arg) {
    ferry_msg_t **kept = arg;
    for (unsigned i = KEPT; i-- > 0;)
        if (i % 2)
            check_reply(kept[i], kept_size(i), i);
    return NULL;
}

static void results_are_kept_for_long_and_released_in_any_order_by_any_thread(where_t where) {
    static ferry_msg_t *kept[KEPT];
    static unsigned char bytes[20000];
    scene_t s = begin(where);
    pthread_t thread;
    for (unsigned i = 0; i < KEPT; i++) {
        fill(bytes, kept_size(i), i);
        check_is(ferry_call(s.client, "echo", bytes, kept_size(i), PATIENCE, &kept[i]), 0);
    }
    check_is(pthread_create(&thread, NULL, release_every_other, kept), 0);
    for (unsigned i = 0; i < KEPT / 2; i += 2)
        check_reply(kept[i], kept_size(i), i);
    pthread_join(thread, NULL);
    stop_server(s.server); /* the others outlive the server, and the client */
    check_is(ferry_client_close(s.client, PATIENCE, NULL), 0);
    for (unsigned i = KEPT / 2; i < KEPT; i += 2)
        check_reply(kept[i], kept_size(i), i);
    crew_end(s.crew);
}

static int reply_if_there_is_room(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    return ferry_reply(rq, data, size);
}

/* Results that nobody releases use up the server's memory for this client, and nothing else. */
static void a_client_that_keeps_its_results_stops_only_itself(where_t where) {
    static ferry_msg_t *kept[64];
    static unsigned char bytes[100000];
    unsigned count = 0;
    const method_t reply = {.name = "reply", .handler = reply_if_there_is_room};
    server_t *server = new_server("unary", 2, &reply, 1, NULL);
    server->options.quota = 1 << 20;
    crew_t *crew = crew_of(where, server);
    ferry_client_t *greedy = open_client(crew_node(crew), "unary", 2);
    ferry_client_t *other = open_client(crew_node(crew), "unary", 2);
    int answer = 0;
    while (answer == 0 && count < 64) {
        int64_t timeout =
            count < 2 ? PATIENCE : 300 * MILLISECOND; /* there is room for two, whenever the server runs */
        answer = ferry_call(greedy, "reply", bytes, sizeof bytes, timeout, &kept[count]);
        count += answer == 0;
    }
    if (answer == FERRY_CALL_FAILED) /* the server was told that this thread keeps what it waits for */
        release(kept[count]);
    check(count >= 2 && count < 64);
    for (unsigned i = 0; i < 50; i++)
        call_by_copy(other, "reply", bytes, sizeof bytes);
    for (unsigned i = 0; i < count; i++)
        release(kept[i]);
    call_by_copy(greedy, "reply", bytes, sizeof bytes);
    close_client(greedy);
    close_client(other);
    crew_end_with(crew, server);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(arguments_and_results_of_every_size_arrive_whole),
#if !UNDER_TSAN
        TEST_BOTH(an_argument_and_a_result_of_64_mib_arrive_whole),
#endif
        TEST_BOTH(nothing_is_a_result_too),
        TEST_ALL(an_argument_by_pointer_is_read_where_it_was_written),
        TEST_ALL(a_result_by_pointer_is_read_where_it_was_written),
        TEST_ALL(an_argument_that_is_edited_stays_as_it_was_for_the_server),
        TEST_BOTH(one_message_is_the_argument_of_several_calls_at_once),
        TEST_BOTH(private_bytes_are_out_of_the_callers_reach),
        TEST_BOTH(a_message_that_was_received_is_sent_on_as_an_argument),
        TEST_BOTH(a_result_of_another_service_is_given_as_ones_own),
        TEST_ALL(results_are_kept_for_long_and_released_in_any_order_by_any_thread),
        TEST_BOTH(a_client_that_keeps_its_results_stops_only_itself),
    };
    return run_suite("call", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_misuse.c - errors of procedures, and everything that can be done wrong: each has its number and its sentence.
 */
#include "calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int do_nothing(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)rq;
    (void)data;
    (void)size;
    (void)arg;
    return 0;
}

/* ---- errors of procedures ---- */

typedef struct failure {
    int32_t code;
    char message[40];
    char detail[40];
} failure_t;

static int fail_as_asked(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    failure_t f;
    (void)arg;
    check_is(size, sizeof f);
    memcpy(&f, data, sizeof f);
    check_is(ferry_reply_error(rq, f.code, f.message[0] ? f.message : NULL, f.detail, strlen(f.detail)), 0);
    return 0;
}

static int return_as_asked(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)rq;
    (void)arg;
    return -(int)number_at(data, size);
}

static int fail_at_length(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    return ferry_reply_error(rq, 1, "long", data, size);
}

static const method_t failing[] = {{.name = "fail", .handler = fail_as_asked},
                                   {.name = "return", .handler = return_as_asked},
                                   {.name = "at-length", .handler = fail_at_length},
                                   {.name = "nothing", .handler = do_nothing}};

static void an_error_of_a_procedure_arrives_with_all_it_says(where_t where) {
    static const failure_t failures[] = {{1, "", ""},
                                         {-1, "no", ""},
                                         {INT32_MAX, "too much", "detail"},
                                         {INT32_MIN, "", "only detail"},
                                         {-ENOENT, "like one of ours", "x"}};
    server_t *server = new_server("wrong", 1, failing, sizeof failing / sizeof failing[0], NULL);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    for (unsigned i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const failure_t *f = &failures[i];
        ferry_msg_t *reply = NULL;
        check_is(ferry_call(client, "fail", f, sizeof *f, PATIENCE, &reply), FERRY_CALL_FAILED);
        ferry_call_error_t error = error_in(reply);
        check_is(error.code, f->code);
        check(strcmp(error.message, f->message) == 0);
        check(error.detail_size == strlen(f->detail) && memcmp(error.detail, f->detail, error.detail_size) == 0);
        release(reply);
        check_is(ferry_call(client, "fail", f, sizeof *f, PATIENCE, NULL), FERRY_CALL_FAILED); /* not wanted */
    }
    close_client(client);
    crew_end_with(crew, server);
    check_is(server->stats.errors, 10);
    check_is(server->stats.calls, 10);
}

static void a_negative_return_is_an_error_with_its_usual_words(where_t where) {
    server_t *server = new_server("wrong", 1, failing, sizeof failing / sizeof failing[0], NULL);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    for (uint64_t code = 1; code < 40; code++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call(client, "return", &code, sizeof code, PATIENCE, &reply), FERRY_CALL_FAILED);
        ferry_call_error_t error = error_in(reply);
        check_is(error.code, -(int32_t)code);
        check(strcmp(error.message, strerror((int)code)) == 0);
        check_is(error.detail_size, 0);
        release(reply);
    }
    close_client(client);
    crew_end_with(crew, server);
}

static void a_detail_may_be_large(where_t where) {
    server_t *server = new_server("wrong", 1, failing, sizeof failing / sizeof failing[0], NULL);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    for (size_t size = 0; size <= 1 << 20; size = size * 4 + 1) {
        char *bytes = malloc(size + 1);
        ferry_msg_t *reply = NULL;
        fill(bytes, size, size);
        check_is(ferry_call(client, "at-length", bytes, size, PATIENCE, &reply), FERRY_CALL_FAILED);
        ferry_call_error_t error = error_in(reply);
        check_is(error.detail_size, size);
        check(filled(error.detail, size, size));
        release(reply);
        free(bytes);
    }
    close_client(client);
    crew_end_with(crew, server);
}

static void a_result_is_neither_read_as_an_error_nor_handed_back(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "wrong", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "wrong", 1);
    ferry_call_error_t error = {.code = 5};
    ferry_msg_t *reply = NULL;
    static const char forged[64] = {1, 0, 0, 0, 1, 0, 0, 0, 0};
    check_is(ferry_call(client, "echo", forged, sizeof forged, PATIENCE, &reply), 0);
    check_error(ferry_call_error(reply, &error), -EINVAL, "error");
    check_error(ferry_call_error(NULL, &error), -EBADF, "");
    check_error(ferry_call_error(reply, NULL), -EINVAL, "");
    check_is(error.code, 5);
    check_error(ferry_msg_reject(reply, 0), -EINVAL, "result of a call");
    check(memcmp(ferry_msg_data(reply), forged, sizeof forged) == 0);
    release(reply);
    close_client(client);
    close_service(service);
    close_node(node);
}

/* As a read() that has failed says how much it has read. */
static const size_t beyond[] = {(size_t)-1, (size_t)-7, (size_t)-8, (size_t)-32, (size_t)-33, (size_t)-64};
#define BEYOND (sizeof beyond / sizeof beyond[0])

static int answer_beyond_all(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    for (unsigned i = 0; i < BEYOND; i++) {
        void *room = NULL;
        ferry_msg_t *m = NULL;
        check_error(ferry_reply(rq, data, beyond[i]), -EMSGSIZE, "");
        check_error(ferry_reply_more(rq, data, beyond[i]), -EMSGSIZE, "");
        check_error(ferry_reply_error(rq, 1, "x", data, beyond[i]), -EMSGSIZE, "");
        check_error(ferry_reply_new(rq, beyond[i], &room, &m), -EMSGSIZE, "");
    }
    return ferry_reply(rq, data, size);
}

static void sizes_beyond_all_bounds_are_refused(where_t where) {
    const method_t method = {.name = "beyond", .handler = answer_beyond_all};
    server_t *server = new_server("wrong", 1, &method, 1, NULL);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    check_is(call_number(client, "beyond", 1), 1);
    for (unsigned i = 0; i < BEYOND; i++) {
        ferry_call_t *call = NULL;
        ferry_msg_t *m = NULL;
        void *room = NULL;
        check_error(ferry_call(client, "beyond", "x", beyond[i], PATIENCE, NULL), -EMSGSIZE, "");
        check_error(ferry_call_one_way(client, "beyond", "x", beyond[i], PATIENCE), -EMSGSIZE, "");
        check_error(ferry_call_start(client, "beyond", "x", beyond[i], 0, PATIENCE, &call), -EMSGSIZE, "");
        check_error(ferry_client_new_msg(client, beyond[i], PATIENCE, &room, &m), -EMSGSIZE, "");
    }
    check_is(call_number(client, "beyond", 2), 2);
    close_client(client);
    crew_end_with(crew, server);
    check_is(server->stats.calls, 2);
}

static void a_method_that_is_not_there_is_named(where_t where) {
    server_t *server = new_server("wrong", 1, failing, sizeof failing / sizeof failing[0], NULL);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    ferry_msg_t *reply = NULL;
    char longest[101] = "";
    memset(longest, 'x', 100);
    check_error(ferry_call(client, "faii", "x", 1, PATIENCE, &reply), -ENOSYS, "wrong faii");
    check_error(ferry_call(client, "", "x", 1, PATIENCE, &reply), -ENOSYS, "wrong");
    check_error(ferry_call(client, longest, "x", 1, PATIENCE, &reply), -ENOSYS, "wrong xxxxxx");
    check_is(ferry_call_one_way(client, "faii", "x", 1, PATIENCE), 0); /* nobody is told */
    check_is(end_of_call(start_call(client, "$other", 1)), -ENOSYS);
    check(reply == NULL);
    check_is(ferry_call(client, "nothing", "x", 1, PATIENCE, &reply), 0);
    release(reply);
    close_client(client);
    crew_end_with(crew, server);
    check_is(server->stats.refused, 5);
    check_is(server->stats.calls, 1);
}

static int answer_too_much(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    void *bytes = calloc(1, 2 << 20);
    (void)data;
    (void)size;
    (void)arg;
    int answer = ferry_reply(rq, bytes, 2 << 20);
    free(bytes);
    check_error(answer, -EMSGSIZE, "");
    return answer;
}

static void a_result_that_is_too_large_is_an_error(where_t where) {
    const method_t methods[] = {{.name = "much", .handler = answer_too_much}, {.name = "echo", .handler = echo}};
    server_t *server = new_server("wrong", 1, methods, 2, NULL);
    server->options.quota = 1 << 20;
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "wrong", 1);
    for (unsigned i = 0; i < 3; i++) {
        ferry_msg_t *reply = NULL;
        check_is(ferry_call(client, "much", NULL, 0, PATIENCE, &reply), FERRY_CALL_FAILED);
        check_is(error_in(reply).code, -EMSGSIZE);
        release(reply);
        check_is(call_number(client, "echo", i), i);
    }
    close_client(client);
    crew_end_with(crew, server);
}

/* ---- names and options ---- */

static void bad_names_and_options_are_refused(void) {
    static const char *const bad[] = {"", ".x", "a b", "a/b", "+x", "~x", "ä", NULL};
    ferry_t *node = open_node("test");
    ferry_service_t *service = NULL;
    ferry_client_t *client = NULL;
    char name[62];
    memset(name, 'n', 61);
    name[61] = '\0';
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_error(ferry_service_open(node, bad[i], NULL, &service), -EINVAL, "service name");
        check_error(ferry_client_open(node, bad[i], NULL, &client), -EINVAL, "service name");
    }
    check_error(ferry_service_open(node, name, NULL, &service), -EINVAL, "60");
    check_error(ferry_client_open(node, name, NULL, &client), -EINVAL, "60");
    ferry_service_options_t options = {.wait = (ferry_wait_t)77};
    ferry_client_options_t wants = {.wait = (ferry_wait_t)77};
    check_error(ferry_service_open(node, "s", &options, &service), -EINVAL, "wait 77");
    check_error(ferry_client_open(node, "s", &wants, &client), -EINVAL, "wait 77");
    options = (ferry_service_options_t){.descriptor_size = 3};
    check_error(ferry_service_open(node, "s", &options, &service), -EINVAL, "descriptor NULL");
    options = (ferry_service_options_t){.size = 3};
    check_error(ferry_service_open(node, "s", &options, &service), -EINVAL, "size");
    wants = (ferry_client_options_t){.size = 3};
    check_error(ferry_client_open(node, "s", &wants, &client), -EINVAL, "size");
    wants = (ferry_client_options_t){.calls = UINT32_MAX};
    check_error(ferry_client_open(node, "s", &wants, &client), -EINVAL, "calls");
    check_error(ferry_service_open(node, "s", NULL, NULL), -EINVAL, "ferry_service_open");
    check_error(ferry_client_open(node, "s", NULL, NULL), -EINVAL, "ferry_client_open");
    check_error(ferry_service_open(NULL, "s", NULL, &service), -EBADF, "");
    check(service == NULL && client == NULL);
    name[60] = '\0'; /* the longest */
    service = open_service(node, name, NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    client = open_client(node, name, 1);
    check_is(ferry_call(client, "echo", "x", 1, PATIENCE, NULL), 0);
    close_client(client);
    close_service(service);
    close_node(node);
}

static void bad_methods_are_refused(void) {
    static const char *const bad[] = {"", "$mine", "a b", "a\tb", "a\n", "\x7f", "\xc3\xa4", NULL};
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "s", NULL);
    char name[102];
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_error(ferry_service_method(service, bad[i], do_nothing, NULL, NULL), -EINVAL, "method s");
    memset(name, 'n', 101);
    name[101] = '\0';
    check_error(ferry_service_method(service, name, do_nothing, NULL, NULL), -EINVAL, "100");
    name[100] = '\0';
    add_method(service, name, do_nothing, NULL);
    check_error(ferry_service_method(service, name, do_nothing, NULL, NULL), -EEXIST, "nnnn");
    check_error(ferry_service_method(service, "m", NULL, NULL, NULL), -EINVAL, "m handler");
    ferry_method_options_t options = {.size = 3};
    check_error(ferry_service_method(service, "m", do_nothing, NULL, &options), -EINVAL, "size");
    for (unsigned i = 0; i < 200; i++) { /* as many as one likes */
        snprintf(name, sizeof name, "method/%u", i);
        add_method(service, name, do_nothing, NULL);
    }
    ferry_service_options_t poor = {.quota = (16 << 10) - 1};
    ferry_service_t *none = NULL;
    check_error(ferry_service_open(node, "s", &poor, &none), -EINVAL, "s 16383 16384");
    check_error(ferry_service_start(service, 0), -EINVAL, "256");
    check_error(ferry_service_start(service, 257), -EINVAL, "256");
    check_is(ferry_service_start(service, 1), 0);
    check_error(ferry_service_method(service, "late", do_nothing, NULL, NULL), -EBUSY, "served");
    ferry_client_t *client = open_client(node, "s", 1);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "method/%u", i);
        check_is(ferry_call(client, name, NULL, 0, PATIENCE, NULL), 0);
    }
    check_error(ferry_service_start(service, 256), -EAGAIN, "256");
    check_is(service_stats(service).threads, 1); /* it was all or none */
    close_client(client);
    close_service(service);
    close_node(node);
}

static void bad_arguments_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "s", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_options_t options = {.quota = 1 << 20};
    ferry_client_t *client = open_client_with(node, "s", &options, 1);
    ferry_call_t *call = NULL;
    ferry_msg_t *reply = NULL, *m = NULL;
    void *data = NULL;
    char *large = calloc(1, 3 << 20), name[102];
    memset(name, 'n', 101);
    name[101] = '\0';
    check_error(ferry_call(client, NULL, "x", 1, PATIENCE, &reply), -EINVAL, "method");
    check_error(ferry_call(client, "echo", NULL, 1, PATIENCE, &reply), -EINVAL, "NULL");
    check_error(ferry_call_msg(client, "echo", NULL, PATIENCE, &reply), -EINVAL, "message NULL");
    check_error(ferry_call_start(client, "echo", "x", 1, 8, PATIENCE, &call), -EINVAL, "flags 0x8");
    check_error(ferry_call_start(client, "echo", "x", 1, 0, PATIENCE, NULL), -EINVAL, "ferry_call_start");
    check_error(ferry_call_start(client, name, "x", 1, 0, PATIENCE, &call), -EINVAL, "method 100");
    check_error(ferry_client_next(client, PATIENCE, NULL), -EINVAL, "ferry_client_next");
    check_error(ferry_client_new_msg(client, 1, PATIENCE, NULL, &m), -EINVAL, "ferry_client_new_msg");
    check_error(ferry_call(client, "echo", large, 3 << 20, PATIENCE, &reply), -EMSGSIZE, "");
    check_error(ferry_client_new_msg(client, 3 << 20, PATIENCE, &data, &m), -EMSGSIZE, "");
    check(reply == NULL && call == NULL && m == NULL && data == NULL);
    check_is(ferry_client_new_msg(client, 100, PATIENCE, &data, &m), 0);
    release(m);
    check_is(client_stats(client).under_way, 0);
    check_is(ferry_call(client, "echo", large, 200000, PATIENCE, NULL), 0);
    free(large);
    close_client(client);
    close_service(service);
    close_node(node);
}

/* ---- requests ---- */

static ferry_request_t *kept; /* what a handler must not do */

static int answer_badly(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    void *room = NULL;
    ferry_msg_t *m = NULL;
    (void)arg;
    kept = rq;
    check_error(ferry_reply(rq, NULL, 1), -EINVAL, "NULL");
    check_error(ferry_reply_error(rq, 0, "no code", NULL, 0), -EINVAL, "code");
    check_error(ferry_reply_error(rq, 1, "no detail", NULL, 1), -EINVAL, "detail");
    check_error(ferry_reply_new(rq, 1, NULL, &m), -EINVAL, "ferry_reply_new");
    check_error(ferry_reply_new(rq, (size_t)1 << 40, &room, &m), -EMSGSIZE, "");
    check_error(ferry_reply_msg(rq, NULL), -EBADF, "message");
    check_error(ferry_reply_more(rq, "x", 1), -EPERM, "badly");
    check_error(ferry_request_info(rq, NULL), -EINVAL, "ferry_request_info");
    check_error(ferry_request_private(rq, NULL), -EINVAL, "ferry_request_private");
    check_is(ferry_reply_new(rq, 10, &room, &m), 0); /* given up */
    release(m);
    check_error(ferry_reply_msg(rq, m), -EBADF, "message");
    check_is(ferry_reply(rq, data, size), 0);
    check_error(ferry_reply(rq, data, size), -EALREADY, "badly answered");
    check_error(ferry_reply_error(rq, 1, "again", NULL, 0), -EALREADY, "badly");
    return -EIO; /* too late: it was answered */
}

static void requests_that_are_answered_badly_say_so(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "s", NULL);
    add_method(service, "badly", answer_badly, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "s", 1);
    check_is(call_number(client, "badly", 7), 7);
    close_service(service);
    const void *bytes = NULL;
    void *room = NULL;
    ferry_msg_t *m = NULL;
    ferry_request_info_t info = {.size = sizeof info};
    check_error(ferry_reply(kept, "x", 1), -EBADF, "request return");
    check_error(ferry_reply_more(kept, "x", 1), -EBADF, "request return");
    check_error(ferry_reply_error(kept, 1, "x", NULL, 0), -EBADF, "request return");
    check_error(ferry_reply_new(kept, 1, &room, &m), -EBADF, "request return");
    check_error(ferry_request_private(kept, &bytes), -EBADF, "request return");
    check_error(ferry_request_info(kept, &info), -EBADF, "request return");
    check_error(ferry_request_is_cancelled(kept), -EBADF, "request return");
    check_error(ferry_reply(NULL, "x", 1), -EBADF, "request");
    close_client(client);
    close_node(node);
}

/* ---- handles ---- */

static void closed_handles_are_known(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "s", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "s", 1);
    ferry_call_t *call = start_call(client, "echo", 1), *left = start_call(client, "echo", 2), *next = NULL;
    check_is(finish_call(call), 1);
    check_error(ferry_call_wait(call, PATIENCE, NULL), -EBADF, "released");
    check_error(ferry_call_cancel(call), -EBADF, "released");
    check_error(ferry_call_release(call), -EBADF, "released");
    check(ferry_call_context(call) == NULL);
    check_is(ferry_call_release(NULL), 0);
    check_error(ferry_call_wait(NULL, PATIENCE, NULL), -EBADF, "NULL");
    close_client(client);
    uint64_t undone = 5;
    ferry_client_stats_t stats = {.size = sizeof stats};
    check_error(ferry_call_wait(left, PATIENCE, NULL), -EBADF, "closed");
    check_error(ferry_call_release(left), -EBADF, "closed");
    check_error(ferry_call(client, "echo", "x", 1, PATIENCE, NULL), -EBADF, "client closed");
    check_error(ferry_call_start(client, "echo", "x", 1, 0, PATIENCE, &next), -EBADF, "client closed");
    check_error(ferry_call_one_way(client, "echo", "x", 1, PATIENCE), -EBADF, "client closed");
    check_error(ferry_client_wait(client, 1, PATIENCE), -EBADF, "client closed");
    check_error(ferry_client_next(client, PATIENCE, &next), -EBADF, "client closed");
    check_error(ferry_client_fd(client), -EBADF, "client closed");
    check_error(ferry_client_stats(client, &stats), -EBADF, "client closed");
    check_error(ferry_client_close(client, PATIENCE, &undone), -EBADF, "client closed");
    check_is(undone, 5);
    check_is(ferry_client_close(NULL, PATIENCE, &undone), 0);
    close_service(service);
    ferry_service_stats_t figures = {.size = sizeof figures};
    check_error(ferry_service_method(service, "m", do_nothing, NULL, NULL), -EBADF, "service closed");
    check_error(ferry_service_start(service, 1), -EBADF, "service closed");
    check_error(ferry_service_run(service, FERRY_NOW), -EBADF, "service closed");
    check_error(ferry_service_fd(service), -EBADF, "service closed");
    check_error(ferry_service_stop(service), -EBADF, "service closed");
    check_error(ferry_service_stats(service, &figures), -EBADF, "service closed");
    check_error(ferry_service_close(service, PATIENCE), -EBADF, "service closed");
    check_is(ferry_service_close(NULL, PATIENCE), 0);
    close_node(node);
}

typedef struct lent {
    ferry_client_t *client;
    ferry_call_t *call;
    ferry_t *node;
    atomic_uint stop;
} lent_t;

static void *stay_in_wait(void *arg) {
    lent_t *lent = arg;
    while (!atomic_load(&lent->stop)) {
        int answer = ferry_client_wait(lent->client, 5, 50 * MILLISECOND);
        check(answer == -ETIMEDOUT || answer == -EBUSY);
    }
    return NULL;
}

static bool client_is_busy(void *arg) {
    lent_t *lent = arg;
    return ferry_call(lent->client, "echo", "x", 1, PATIENCE, NULL) == -EBUSY;
}

static void two_threads_in_one_client_are_noticed(void) {
    lent_t lent = {.node = open_node("test")};
    ferry_service_t *service = open_service(lent.node, "s", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    lent.client = open_client(lent.node, "s", 1);
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, stay_in_wait, &lent), 0);
    await_that(client_is_busy, &lent, "nobody noticed two threads in one client");
    check(strstr(ferry_last_error(), "thread"));
    atomic_store(&lent.stop, 1);
    pthread_join(thread, NULL);
    check_is(ferry_client_close(lent.client, FERRY_NOW, NULL), 0);
    close_service(service);
    close_node(lent.node);
}

static void *call_and_end(void *arg) {
    lent_t *lent = arg;
    lent->client = open_client(lent->node, "s", 1);
    check_is(call_number(lent->client, "echo", 1), 1);
    lent->call = start_call(lent->client, "nothing", 2);
    return NULL;
}

static void a_client_whose_thread_has_ended_is_known(void) {
    lent_t lent = {.node = open_node("test")};
    ferry_service_t *service = open_service(lent.node, "s", NULL);
    ferry_call_t *next = NULL;
    add_method(service, "echo", echo, NULL);
    add_method(service, "nothing", do_nothing, NULL);
    check_is(ferry_service_start(service, 1), 0);
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, call_and_end, &lent), 0);
    pthread_join(thread, NULL);
    check_error(ferry_call(lent.client, "echo", "x", 1, PATIENCE, NULL), -EOWNERDEAD, "thread 'calls of s' ended");
    check_error(ferry_call_wait(lent.call, PATIENCE, NULL), -EOWNERDEAD, "thread 'replies of s' ended");
    check_error(ferry_call_start(lent.client, "echo", "x", 1, 0, PATIENCE, &next), -EOWNERDEAD, "thread ended");
    uint64_t undone = 7;
    check_is(ferry_client_close(lent.client, FERRY_NOW, &undone), 0);
    check_is(undone, 0);
    close_service(service);
    close_node(lent.node);
}

static void closing_none_leaves_nothing_undone(void) {
    uint64_t undone = 7, undelivered = 7;
    check_is(ferry_client_close(NULL, FERRY_NOW, &undone), 0);
    check_is(undone, 0);
    check_is(ferry_sender_close(NULL, FERRY_NOW, &undelivered), 0);
    check_is(undelivered, 0);
}

typedef struct inherited {
    ferry_t *node;
    ferry_service_t *service;
    ferry_client_t *client;
    ferry_call_t *call;
} inherited_t;

static void use_inherited(void *arg) {
    inherited_t *in = arg;
    ferry_service_t *service = NULL;
    ferry_client_t *client = NULL;
    ferry_call_t *call = NULL;
    ferry_service_stats_t figures = {.size = sizeof figures};
    ferry_client_stats_t stats = {.size = sizeof stats};
    check_error(ferry_service_open(in->node, "s", NULL, &service), -ECHILD, "fork open");
    check_error(ferry_client_open(in->node, "s", NULL, &client), -ECHILD, "fork open");
    check_error(ferry_service_method(in->service, "m", do_nothing, NULL, NULL), -ECHILD, "fork open");
    check_error(ferry_service_start(in->service, 1), -ECHILD, "fork open");
    check_error(ferry_service_run(in->service, FERRY_NOW), -ECHILD, "fork open");
    check_error(ferry_service_fd(in->service), -ECHILD, "fork open");
    check_error(ferry_service_stats(in->service, &figures), -ECHILD, "fork open");
    check_error(ferry_service_close(in->service, FERRY_NOW), -ECHILD, "fork open");
    check_error(ferry_call(in->client, "echo", "x", 1, PATIENCE, NULL), -ECHILD, "fork open");
    check_error(ferry_call_start(in->client, "echo", "x", 1, 0, PATIENCE, &call), -ECHILD, "fork open");
    check_error(ferry_client_next(in->client, PATIENCE, &call), -ECHILD, "fork open");
    check_error(ferry_client_stats(in->client, &stats), -ECHILD, "fork open");
    check_error(ferry_call_wait(in->call, PATIENCE, NULL), -ECHILD, "fork open");
    check_error(ferry_call_cancel(in->call), -ECHILD, "fork open");
    check_error(ferry_call_release(in->call), -ECHILD, "fork open");
    check_error(ferry_client_close(in->client, FERRY_NOW, NULL), -ECHILD, "fork open");
}

static void a_forked_child_is_told_to_open_its_own_node(void) {
    inherited_t in = {.node = open_node("test")};
    in.service = open_service(in.node, "s", NULL);
    add_method(in.service, "echo", echo, NULL);
    check_is(ferry_service_start(in.service, 1), 0);
    in.client = open_client(in.node, "s", 1);
    in.call = start_call(in.client, "echo", 3);
    while (service_stats(in.service).busy_ns == 0)
        nap(MILLISECOND);
    nap(50 * MILLISECOND); /* a sanitizer's child hangs if another thread was inside malloc at the fork */
    child_join(child_start(use_inherited, &in));
    check_is(finish_call(in.call), 3);
    for (uint64_t i = 0; i < 1000; i++)
        check_is(call_number(in.client, "echo", i), i);
    close_client(in.client);
    close_service(in.service);
    close_node(in.node);
}

static void closing_a_node_closes_its_clients_and_servers_and_names_them(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_service_t *service = open_service(node, "served", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(other, "served", 1);
    check_is(call_number(client, "echo", 1), 1);
    check(ferry_close(other) > 0);
    check(strstr(ferry_last_error(), "served"));
    check_error(ferry_call(client, "echo", "x", 1, PATIENCE, NULL), -EBADF, "closed");
    check_error(ferry_client_close(client, FERRY_NOW, NULL), -EBADF, "closed");
    close_service(service);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(an_error_of_a_procedure_arrives_with_all_it_says),
        TEST_BOTH(a_negative_return_is_an_error_with_its_usual_words),
        TEST_BOTH(a_detail_may_be_large),
        TEST(a_result_is_neither_read_as_an_error_nor_handed_back),
        TEST_BOTH(sizes_beyond_all_bounds_are_refused),
        TEST_BOTH(a_method_that_is_not_there_is_named),
        TEST_BOTH(a_result_that_is_too_large_is_an_error),
        TEST(bad_names_and_options_are_refused),
        TEST(bad_methods_are_refused),
        TEST(bad_arguments_are_refused),
        TEST(requests_that_are_answered_badly_say_so),
        TEST(closed_handles_are_known),
        TEST(two_threads_in_one_client_are_noticed),
        TEST(a_client_whose_thread_has_ended_is_known),
        TEST(closing_none_leaves_nothing_undone),
        TEST(a_forked_child_is_told_to_open_its_own_node),
        TEST(closing_a_node_closes_its_clients_and_servers_and_names_them),
    };
    return run_suite("call-misuse", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_tells.c - what services and clients tell of themselves: methods, figures, and what is seen from outside.
 */
#include "calls.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON, to see that it is some ---- */

typedef struct text {
    const char *at;
    unsigned depth;
} text_t;

static void skip_space(text_t *t) {
    t->at += strspn(t->at, " \t\r\n");
}

static void skip_string(text_t *t) {
    check(*t->at++ == '"');
    while (*t->at != '"') {
        check((unsigned char)*t->at >= ' ');
        if (*t->at++ == '\\') {
            check(*t->at && strchr("\"\\/bfnrtu", *t->at));
            for (unsigned i = 0; *t->at == 'u' && i < 4; i++)
                check(isxdigit((unsigned char)t->at[1 + i]));
            t->at++;
        }
    }
    t->at++;
}

static void skip_value(text_t *t);

static void skip_list(text_t *t, char end, bool named) {
    check(++t->depth < 10);
    t->at++;
    skip_space(t);
    while (*t->at != end) {
        if (named) {
            skip_string(t);
            skip_space(t);
            check(*t->at++ == ':');
        }
        skip_value(t);
        check(*t->at == ',' || *t->at == end);
        if (*t->at == ',') {
            t->at++;
            skip_space(t);
            check(*t->at != end);
        }
    }
    t->at++;
    t->depth--;
}

static void skip_value(text_t *t) {
    skip_space(t);
    if (*t->at == '"')
        skip_string(t);
    else if (*t->at == '{' || *t->at == '[')
        skip_list(t, *t->at == '{' ? '}' : ']', *t->at == '{');
    else if (strncmp(t->at, "true", 4) == 0 || strncmp(t->at, "null", 4) == 0)
        t->at += 4;
    else if (strncmp(t->at, "false", 5) == 0)
        t->at += 5;
    else
        check(!"a value that this test knows");
    skip_space(t);
}

/* The description, with its end; freed by the caller. */
static char *description_of(ferry_client_t *client) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, FERRY_METHOD_DESCRIBE, NULL, 0, PATIENCE, &reply), 0);
    char *json = strndup(ferry_msg_data(reply), ferry_msg_size(reply));
    check_is(strlen(json), ferry_msg_size(reply));
    release(reply);
    text_t t = {.at = json};
    skip_value(&t);
    check(*t.at == '\0');
    return json;
}

/* ---- methods ---- */

static void a_service_describes_itself_in_json(void) {
    ferry_t *node = open_node("test");
    ferry_service_options_t options = {
        .comment = "quotes \" and \\ and\nlines\x01", .descriptor = "types", .descriptor_size = 5};
    ferry_service_t *service = open_service(node, "told", &options);
    ferry_method_options_t one = {.idempotent = 1, .input = "a.In", .output = "a.Out", .comment = "says \"hello\""};
    ferry_method_options_t two = {.streams = 1};
    check_is(ferry_service_method(service, "zwei", echo, NULL, &two), 0);
    check_is(ferry_service_method(service, "eins\"\\", echo, NULL, &one), 0);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "told", 1);
    char *json = description_of(client);
    static const char *const words[] = {
        "\"service\": \"told\"", "\"comment\": \"quotes \\\" and \\\\ and\\u000alines\\u0001\"",
        "\"methods\": [",        "{\"name\": \"eins\\\"\\\\\", \"idempotent\": true, \"streams\": false",
        "\"input\": \"a.In\"",   "\"output\": \"a.Out\"",
        "says \\\"hello\\\"",    "{\"name\": \"zwei\", \"idempotent\": false, \"streams\": true"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        check(strstr(json, words[i]) != NULL);
    check(strstr(json, "eins") < strstr(json, "zwei")); /* sorted */
    check(!strchr(json, '$'));                          /* what every service has goes without saying */
    free(json);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, FERRY_METHOD_DESCRIPTOR, NULL, 0, PATIENCE, &reply), 0);
    check(ferry_msg_size(reply) == 5 && memcmp(ferry_msg_data(reply), "types", 5) == 0);
    release(reply);
    close_client(client);
    close_service(service);
    close_node(node);
}

/* Cut short, too long for what it says, half of a pair, beyond the last, lone. */
static void what_is_no_utf8_is_replaced_in_the_description(void) {
    ferry_t *node = open_node("test");
    ferry_service_options_t options = {.comment = "\xff|\xc3\xa9|\xe2\x82\xac|\xf0\x9f\x98\x80|\xc0\xaf|\xed\xa0\x80|"
                                                  "\xf4\x90\x80\x80|\x80|\xe2\x82"};
    ferry_service_t *service = open_service(node, "odd", &options);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "odd", 1);
    char *json = description_of(client);
    check(strstr(json, "\"\\ufffd|\xc3\xa9|\xe2\x82\xac|\xf0\x9f\x98\x80|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|"
                       "\\ufffd\\ufffd\\ufffd\\ufffd|\\ufffd|\\ufffd\\ufffd\""));
    free(json);
    close_client(client);
    close_service(service);
    close_node(node);
}

static void a_service_without_methods_describes_itself_too(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "bare", NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "bare", 1);
    char *json = description_of(client);
    check(strstr(json, "\"methods\": []"));
    free(json);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, FERRY_METHOD_DESCRIPTOR, NULL, 0, PATIENCE, &reply), 0);
    check_is(ferry_msg_size(reply), 0);
    release(reply);
    close_client(client);
    close_service(service);
    close_node(node);
}

static void a_description_may_be_long(void) {
    enum { METHODS = 1000 };
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "long", NULL);
    char name[64];
    for (unsigned i = 0; i < METHODS; i++) {
        ferry_method_options_t options = {.comment = "One of a thousand, which all do the same."};
        snprintf(name, sizeof name, "method.%04u", i);
        check_is(ferry_service_method(service, name, echo, NULL, &options), 0);
    }
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "long", 1);
    char *json = description_of(client);
    for (unsigned i = 0; i < METHODS; i += 111) {
        snprintf(name, sizeof name, "{\"name\": \"method.%04u\",", i);
        check(strstr(json, name) != NULL);
    }
    free(json);
    close_client(client);
    close_service(service);
    close_node(node);
}

/* ---- figures ---- */

typedef struct gate {
    atomic_uint inside;
    atomic_uint go;
} gate_t;

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    gate_t *gate = arg;
    atomic_fetch_add(&gate->inside, 1);
    await(&gate->go, 1);
    return echo(rq, data, size, NULL);
}

static int nap_and_fail(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)rq;
    (void)data;
    (void)size;
    (void)arg;
    nap(10 * MILLISECOND);
    return -EIO;
}

static void the_figures_of_a_service_add_up(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    gate_t *gate = share(sizeof *gate);
    ferry_service_t *service = open_service(node, "counted", NULL);
    add_method(service, "hold", hold, gate);
    add_method(service, "fail", nap_and_fail, NULL);
    add_method(service, "add", add_one, NULL);
    check_is(service_stats(service).threads, 0);
    check_is(ferry_service_start(service, 2), 0);
    ferry_client_t *client = open_client(other, "counted", 2);
    for (unsigned i = 0; i < 90; i++)
        check_is(call_number(client, "add", i), i + 1);
    for (unsigned i = 0; i < 10; i++)
        check_is(ferry_call(client, "fail", NULL, 0, PATIENCE, NULL), FERRY_CALL_FAILED);
    check_is(ferry_call(client, "none", NULL, 0, PATIENCE, NULL), -ENOSYS);
    ferry_call_t *held[2] = {start_call(client, "hold", 1)};
    await(&gate->inside, 1);
    nap(SECOND); /* by now the other thread is expected to be done first, however long it was held up before */
    held[1] = start_call(client, "hold", 2);
    await(&gate->inside, 2);
    ferry_service_stats_t stats = service_stats(service);
    check_is(stats.calls, 102);
    check_is(stats.errors, 10);
    check_is(stats.refused, 1);
    check_is(stats.expired, 0);
    check_is(stats.threads, 2);
    check_is(stats.running, 2);
    check(stats.busy_ns >= 100 * (uint64_t)MILLISECOND);
    check(stats.p50_ns > 0 && stats.p50_ns <= stats.p99_ns);
    check(stats.p99_ns >= 8 * (uint64_t)MILLISECOND); /* ten of a hundred took ten */
    check_is(client_stats(client).calls, 103);
    check_is(client_stats(client).answers, 100);
    check_is(client_stats(client).under_way, 2);
    check_is(client_stats(client).servers, 2);
    atomic_store(&gate->go, 1);
    check_is(finish_call(held[0]), 1);
    check_is(finish_call(held[1]), 2);
    check_is(ferry_service_stats(service, NULL), -EINVAL);
    check_is(ferry_client_stats(client, NULL), -EINVAL);
    close_client(client);
    close_service(service);
    close_node(other);
    close_node(node);
}

/* ---- from outside ---- */

typedef struct seen {
    const ferry_look_service_t *servers[4], *clients[4];
    unsigned server_count, client_count;
} seen_t;

static seen_t see(const ferry_look_t *look, const char *name) {
    seen_t s = {.server_count = 0};
    for (size_t i = 0; i < ferry_look_services(look); i++) {
        const ferry_look_service_t *one = ferry_look_service(look, i);
        if (strcmp(one->name, name) != 0)
            continue;
        check(s.client_count < 4 && s.server_count < 4);
        if (one->is_client)
            s.clients[s.client_count++] = one;
        else
            s.servers[s.server_count++] = one;
    }
    return s;
}

static bool client_is_settled(void *arg) {
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    seen_t s = see(look, arg);
    bool settled = s.client_count == 1 && s.clients[0]->under_way == 1;
    ferry_look_close(look);
    return settled;
}

static void services_and_clients_are_shown(where_t where) {
    gate_t *gate = share(sizeof *gate);
    const method_t methods[] = {{.name = "hold", .handler = hold}, {.name = "fail", .handler = nap_and_fail}};
    server_t *server = new_server("shown", 2, methods, 2, gate);
    crew_t *crew = crew_of(where, server);
    ferry_client_t *client = open_client(crew_node(crew), "shown", 2);
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_call(client, "fail", NULL, 0, PATIENCE, NULL), FERRY_CALL_FAILED);
    check_is(ferry_call(client, "none", NULL, 0, PATIENCE, NULL), -ENOSYS);
    ferry_call_t *call = start_call(client, "hold", 5);
    await(&gate->inside, 1);
    await_that(client_is_settled, (void *)(uintptr_t) "shown", "the client is not shown with one call under way");
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    seen_t s = see(look, "shown");
    check_is(s.server_count, 2);
    check_is(s.client_count, 1);
    check_is(s.servers[0]->calls + s.servers[1]->calls, 4);
    check_is(s.servers[0]->errors + s.servers[1]->errors, 3);
    check_is(s.servers[0]->refused + s.servers[1]->refused, 1);
    check_is(s.servers[0]->under_way + s.servers[1]->under_way, 1);
    check(s.servers[0]->busy_ns + s.servers[1]->busy_ns >= 30 * (uint64_t)MILLISECOND);
    check_is(s.servers[0]->links, 1);
    check_is(s.servers[1]->links, 1);
    check_is(s.clients[0]->links, 2);
    check_is(s.clients[0]->calls, 5);
    check_is(s.clients[0]->node, ferry_node_id(crew_node(crew)));
    check(s.servers[0]->age_ns > 0 && s.clients[0]->age_ns > 0);
    check_is(ferry_look_ends(look), 0); /* their channels are not listed among the ends */
    ferry_look_close(look);
    atomic_store(&gate->go, 1);
    check_is(finish_call(call), 5);
    close_client(client);
    crew_end_with(crew, server);
}

static int tell_all(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    ferry_request_info_t info = info_of_request(rq);
    (void)arg;
    check(strcmp(info.method, "tell") == 0);
    check_is(info.attempt, 1);
    check_is(info.one_way, 0);
    check_is(info.streams, 0);
    check_is(number_at(data, size), info.client_node);
    reply_number(rq, info.client);
    return 0;
}

static void a_request_tells_who_calls(where_t where) {
    const method_t method = {.name = "tell", .handler = tell_all};
    server_t *server = new_server("asked", 1, &method, 1, NULL);
    crew_t *crew = crew_of(where, server);
    ferry_t *node = crew_node(crew);
    ferry_client_t *a = open_client(node, "asked", 1), *b = open_client(node, "asked", 1);
    uint64_t first = call_number(a, "tell", ferry_node_id(node)), second = call_number(b, "tell", ferry_node_id(node));
    check(first != second);
    check_is(call_number(a, "tell", ferry_node_id(node)), first);
    close_client(a);
    close_client(b);
    crew_end_with(crew, server);
}

/* Its handler does not look whether it could answer. */
static int answer_unseen(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    static const char bytes[300000];
    (void)data;
    (void)size;
    (void)arg;
    check_is(ferry_reply(rq, bytes, sizeof bytes), -EMSGSIZE);
    return 0;
}

static void what_could_not_be_answered_is_no_empty_result(void) {
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "wrong", &(ferry_service_options_t){.quota = 200000});
    add_method(service, "too-much", answer_unseen, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "wrong", 1);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, "too-much", NULL, 0, PATIENCE, &reply), FERRY_CALL_FAILED);
    check_is(error_in(reply).code, -EMSGSIZE);
    release(reply);
    close_client(client);
    close_service(service);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_could_not_be_answered_is_no_empty_result),
        TEST(a_service_describes_itself_in_json),
        TEST(what_is_no_utf8_is_replaced_in_the_description),
        TEST(a_service_without_methods_describes_itself_too),
        TEST(a_description_may_be_long),
        TEST(the_figures_of_a_service_add_up),
        TEST_ALL(services_and_clients_are_shown),
        TEST_BOTH(a_request_tells_who_calls),
    };
    return run_suite("call-tells", tests, sizeof tests / sizeof tests[0], argc, argv);
}

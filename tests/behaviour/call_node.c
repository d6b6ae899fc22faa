/* SPDX-License-Identifier: MIT
 *
 * call_node.c - a node is closed while its services and clients are open; and what sentences call the channels of a
 * service.
 */
#include "calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct tale {
    ferry_t *node;
    atomic_uint begun, over;
    atomic_int refusal;
} tale_t;

/* Returns a while after it has seen that nobody wants it any more. */
static int go_on(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    (void)data;
    (void)size;
    atomic_store(&tale->begun, 1);
    while (!ferry_request_is_cancelled(rq))
        nap(MILLISECOND);
    nap(20 * MILLISECOND);
    atomic_store(&tale->over, 1);
    return -ECANCELED;
}

static int close_my_node(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    (void)data;
    (void)size;
    atomic_store(&tale->refusal, ferry_close(tale->node));
    check(strstr(ferry_last_error(), "handler"));
    return ferry_reply(rq, NULL, 0);
}

static void a_node_is_closed_with_its_services_which_it_names(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_service_t *service = open_service(node, "served", NULL), *idle = open_service(node, "idle", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 3), 0);
    ferry_client_t *client = open_client(other, "served", 3), *own = open_client(node, "served", 3);
    for (uint64_t i = 0; i < 20; i++) {
        check_is(call_number(client, "echo", i), i);
        check_is(call_number(own, "echo", i), i);
    }
    check_is(ferry_close(node), 2); /* the service that has threads, and the client */
    check(strstr(ferry_last_error(), ": served, served"));
    check_error(ferry_service_close(service, FERRY_NOW), -EBADF, "closed before");
    check_error(ferry_client_close(own, FERRY_NOW, NULL), -EBADF, "closed before");
    check_error(ferry_service_start(idle, 1), -EBADF, "closed");
    check_is(ferry_service_close(idle, FERRY_NOW), 0);
    check_error(ferry_call(client, "echo", "x", 1, PATIENCE, NULL), -ENOENT, "served");
    close_client(client);
    close_node(other);
}

static void it_waits_for_handlers_which_see_their_calls_cancelled(void) {
    tale_t tale = {.node = open_node("test")};
    ferry_t *other = open_node("test");
    ferry_service_t *service = open_service(tale.node, "busy", NULL);
    add_method(service, "go-on", go_on, &tale);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(other, "busy", 1);
    ferry_call_t *call = start_call(client, "go-on", 1);
    await(&tale.begun, 1);
    check_is(ferry_close(tale.node), 1);
    check_is(atomic_load(&tale.over), 1);
    check_is(end_of_call(call), -ECANCELED);
    close_client(client);
    close_node(other);
}

static void a_handler_cannot_close_its_node(void) {
    tale_t tale = {.node = open_node("test")};
    ferry_service_t *service = open_service(tale.node, "suicidal", NULL);
    add_method(service, "end", close_my_node, &tale);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(tale.node, "suicidal", 1);
    check_is(ferry_call(client, "end", NULL, 0, PATIENCE, NULL), 0);
    check_is(atomic_load(&tale.refusal), -EDEADLK);
    check_is(call_number(client, "echo", 7), 7);
    close_client(client);
    close_service(service);
    close_node(tale.node);
}

/* ---- sentences ---- */

static int answer_too_much(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    void *bytes = calloc(1, 2 << 20);
    (void)data;
    (void)size;
    (void)arg;
    int answer = ferry_reply(rq, bytes, 2 << 20);
    free(bytes);
    check_error(answer, -EMSGSIZE, "the quota of 'replies of a.b-c' (1048576 bytes)");
    return answer;
}

static void sentences_name_the_service_and_not_its_channels(void) {
    const ferry_service_options_t small = {.quota = 1 << 20};
    const ferry_client_options_t smaller = {.quota = 1 << 19};
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "a.b-c", &small);
    add_method(service, "much", answer_too_much, NULL);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client_with(node, "a.b-c", &smaller, 1);
    unsigned char *bytes = calloc(1, 1 << 20);
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_error(ferry_call(client, "much", bytes, 1 << 20, PATIENCE, NULL), -EMSGSIZE, "the quota of 'calls of a.b-c'");
    check_error(ferry_client_new_msg(client, 1 << 20, PATIENCE, &data, &m), -EMSGSIZE, "'calls of a.b-c' allows");
    check_is(ferry_call(client, "much", NULL, 0, PATIENCE, NULL), FERRY_CALL_FAILED);
    ferry_shutdown(node);
    check_error(ferry_call(client, "much", bytes, 1, PATIENCE, NULL), -ESHUTDOWN, "'calls of a.b-c'");
    free(bytes);
    close_client(client);
    close_service(service);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_node_is_closed_with_its_services_which_it_names),
        TEST(it_waits_for_handlers_which_see_their_calls_cancelled),
        TEST(a_handler_cannot_close_its_node),
        TEST(sentences_name_the_service_and_not_its_channels),
    };
    return run_suite("call-node", tests, sizeof tests / sizeof tests[0], argc, argv);
}

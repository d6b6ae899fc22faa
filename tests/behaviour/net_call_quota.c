/* SPDX-License-Identifier: MIT
 *
 * net_call_quota.c - a client whose servers are all on other machines, and whose memory is full.
 */
#include "calls.h"
#include "engine.h"

#include <errno.h>

#define LARGE 200000u
#define MOST 16 /* more than the quota has room for */

typedef struct remote {
    engine_t *engine;
    atomic_uint serving;
    atomic_uint stop;
} remote_t;

static void serve_there(void *arg) {
    remote_t *r = arg;
    engine_machine(r->engine, "b");
    ferry_t *node = open_node(engine_space(r->engine));
    ferry_service_t *service = open_service(node, "bank", NULL);
    add_method(service, "echo", echo, NULL);
    check_is(ferry_service_start(service, 1), 0);
    atomic_store(&r->serving, 1);
    await(&r->stop, 1);
    close_service(service);
    close_node(node);
}

/* Nobody but the program itself can make room: it is told so at once. */
static void a_full_quota_is_told_as_one(void) {
    const ferry_client_options_t options = {.quota = 1 << 20};
    remote_t *remote = share(sizeof *remote);
    ferry_msg_t *held[MOST];
    void *data;
    unsigned count = 0;
    int answer;

    remote->engine = engine_start();
    pid_t pid = child_start(serve_there, remote);
    await(&remote->serving, 1);
    engine_machine(remote->engine, "a");
    ferry_t *node = open_node(engine_space(remote->engine));
    ferry_client_t *client = open_client_with(node, "bank", &options, 1);
    do
        answer = ferry_client_new_msg(client, LARGE, FERRY_FOREVER, &data, &held[count]);
    while (answer == 0 && ++count < MOST);
    check_error(answer, -EDQUOT, "client of \"bank\" messages release");
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_msg(client, "echo", held[0], PATIENCE, &reply), 0);
    check_is(ferry_msg_size(reply), LARGE);
    release(reply);
    release(held[0]);
    check_is(ferry_client_new_msg(client, LARGE, FERRY_FOREVER, &data, &held[0]), 0);
    while (count > 0)
        release(held[--count]);
    close_client(client);
    close_node(node);
    atomic_store(&remote->stop, 1);
    child_join(pid);
    engine_stop(remote->engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {TEST(a_full_quota_is_told_as_one)};
    return run_suite("net_call_quota", tests, sizeof tests / sizeof tests[0], argc, argv);
}

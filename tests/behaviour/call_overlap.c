/* SPDX-License-Identifier: MIT
 *
 * call_overlap.c - two threads at once: in one client, which takes one at a time, and with a service that one of them
 * closes.
 */
#include "calls.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- a service is closed between two runs ---- */

#define CLOSINGS 1000u

static void *run_again_and_again(void *arg) {
    int answer;
    do {
        answer = ferry_service_run(arg, 1);
    } while (answer == -ETIMEDOUT);
    check(answer == 0 || answer == -EBADF || answer == -ECANCELED);
    return NULL;
}

/* The runner's last call meets a service that is being taken apart, once in some hundred rounds. */
static void a_service_may_be_closed_between_two_runs(void) {
    ferry_t *node = open_node("test");
    for (unsigned round = 0; round < CLOSINGS; round++) {
        ferry_service_t *service = open_service(node, "s", NULL);
        pthread_t thread;
        add_method(service, "echo", echo, NULL);
        check_is(pthread_create(&thread, NULL, run_again_and_again, service), 0);
        nap(rand() % 300 * 1000LL);
        check_is(ferry_service_close(service, FERRY_NOW), 0);
        pthread_join(thread, NULL);
    }
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_service_may_be_closed_between_two_runs),
    };
    return run_suite("call-overlap", tests, sizeof tests / sizeof tests[0], argc, argv);
}

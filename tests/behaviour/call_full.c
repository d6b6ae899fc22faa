/* SPDX-License-Identifier: MIT
 *
 * call_full.c - a client dies while a handler waits for room to answer it: the thread is free again.
 */
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define QUOTA (1u << 20)
#define LARGE 200000u /* six of them do not fit */
#define CALLS 12u
#define MOMENT (50 * MILLISECOND)

typedef struct tale {
    bool stops; /* the client stands still as soon as it has called, so it is not linked for answers */
    atomic_uint begun, answered, die, staying, stay_no_more;
    atomic_uint called, client; /* its process */
    atomic_uint refusal;        /* what the handler was told last */
} tale_t;

static int overfill(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    static const unsigned char bytes[LARGE];
    tale_t *tale = arg;
    (void)data;
    (void)size;
    atomic_fetch_add(&tale->begun, 1);
    int answer = ferry_reply(rq, bytes, sizeof bytes);
    if (answer == 0)
        atomic_fetch_add(&tale->answered, 1);
    else
        atomic_store(&tale->refusal, (unsigned)-answer);
    return 0;
}

static int stay(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    (void)rq;
    (void)data;
    (void)size;
    atomic_store(&tale->staying, 1);
    await(&tale->stay_no_more, 1);
    return 0;
}

static const method_t methods[] = {
    {.name = "overfill", .handler = overfill}, {.name = "stay", .handler = stay}, {.name = "add", .handler = add_one}};

/* Calls without a deadline, and takes no answers. */
static void call_and_die(ferry_t *node, void *arg) {
    tale_t *tale = arg;
    ferry_call_t *call;
    await(&tale->staying, 1);
    ferry_client_t *client = open_client(node, "full", 1);
    for (unsigned i = 0; i < CALLS; i++)
        check_is(ferry_call_start(client, "overfill", NULL, 0, 0, FERRY_FOREVER, &call), 0);
    atomic_store(&tale->client, (unsigned)getpid());
    atomic_store(&tale->called, 1);
    if (tale->stops)
        (void)raise(SIGSTOP);
    await(&tale->die, 1);
    crew_die();
}

static bool has_answered(void *tale) {
    return atomic_load(&((tale_t *)tale)->answered) >= 2;
}

/* Until one handler waits for room. */
static void await_the_wait(tale_t *tale) {
    await_that(has_answered, tale, "nothing is answered");
    for (unsigned last = 0; last != atomic_load(&tale->answered);) {
        last = atomic_load(&tale->answered);
        nap(MOMENT);
    }
    check(atomic_load(&tale->answered) < CALLS);
    check_is(atomic_load(&tale->refusal), 0);
}

static void a_client_dies(where_t where, bool stops) {
    tale_t *tale = share(sizeof *tale);
    server_t *server = new_server("full", 1, methods, sizeof methods / sizeof methods[0], tale);
    server->options.quota = QUOTA;
    tale->stops = stops;
    crew_t *crew = crew_of(where, server);
    unsigned member = crew_add(crew, call_and_die, tale);
    ferry_client_t *client = open_client(crew_node(crew), "full", 1);
    ferry_call_t *call = start_call(client, "stay", 1);
    await(&tale->called, 1);
    nap(stops ? MOMENT : 0); /* else it is linked after all, which is as good */
    atomic_store(&tale->stay_no_more, 1);
    await_the_wait(tale);
    atomic_store(&tale->die, 1);
    if (stops)
        check_is(kill((pid_t)atomic_load(&tale->client), SIGKILL), 0);
    crew_bury(crew, member);
    check_is(call_number(client, "add", 7), 8);
    check_is(atomic_load(&tale->refusal), EPIPE);
    release_call(call);
    close_client(client);
    crew_end_with(crew, server);
}

static void a_client_that_dies_sets_the_thread_free_that_answers_it(where_t where) {
    a_client_dies(where, false);
}

static void so_does_one_that_was_never_linked_for_answers(void) {
    a_client_dies(IN_PROCESSES, true);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(a_client_that_dies_sets_the_thread_free_that_answers_it),
        TEST(so_does_one_that_was_never_linked_for_answers),
    };
    return run_suite("call-full", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_mortal.c - servers die one after the other, in the middle of their work, while clients keep many calls under
 * way:
 * each call ends once, nothing is run twice, and how a call ends says whether it was run.
 */
#include "calls.h"

#include <stdlib.h>
#include <string.h>

#define SERVERS 8
#define CLIENTS 2
#define WINDOW 24
#define NUMBERS (1u << 23)

/* What all share. */
typedef struct tale {
    atomic_uint stop;
    atomic_uint next; /* the next call's number */
    atomic_uint answered, not_run, perhaps_run;
    atomic_uchar run[NUMBERS];
} tale_t;

/* One server's. */
typedef struct mortal {
    tale_t *tale;
    server_t *server;
    atomic_uint calls;
    unsigned last; /* it dies in this call; 0: in none */
    bool answers;  /* before it dies */
    atomic_uint dying;
} mortal_t;

static int work(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    mortal_t *mortal = arg;
    uint64_t number = number_at(data, size);
    check(number < NUMBERS);
    atomic_fetch_add(&mortal->tale->run[number], 1);
    nap(MILLISECOND / 50); /* numbers shall not run out while a server takes its time to come */
    bool dies = atomic_fetch_add(&mortal->calls, 1) + 1 == mortal->last;
    if (!dies || mortal->answers)
        reply_number(rq, number);
    if (!dies)
        return 0;
    atomic_store(&mortal->dying, 1);
    crew_die();
}

/* ---- clients ---- */

static void end_one(tale_t *tale, ferry_call_t *call) {
    uint64_t number = (uint64_t)(uintptr_t)ferry_call_context(call);
    ferry_msg_t *reply = NULL;
    int answer = ferry_call_wait(call, PATIENCE, &reply);
    unsigned run = atomic_load(&tale->run[number]);
    if (answer == 0) {
        check_is(number_in(reply), number);
        check_is(run, 1);
        release(reply);
        atomic_fetch_add(&tale->answered, 1);
    } else if (answer == -ENOENT) {
        check_is(run, 0);
        atomic_fetch_add(&tale->not_run, 1);
    } else {
        check_is(answer, -ECONNRESET);
        check(run <= 1);
        atomic_fetch_add(&tale->perhaps_run, 1);
    }
    release_call(call);
}

static ferry_call_t *start_one(tale_t *tale, ferry_client_t *client) {
    ferry_call_t *call = NULL;
    uint64_t number = atomic_fetch_add(&tale->next, 1);
    check(number < NUMBERS);
    int answer = ferry_call_start(client, "work", &number, sizeof number, 0, PATIENCE, &call);
    if (answer == 0) {
        ferry_call_set_context(call, (void *)(uintptr_t)number);
        return call;
    }
    check_is(answer, -ENOENT);
    answer = ferry_client_wait(client, 1, 5 * MILLISECOND);
    check(answer >= 0 || answer == -ETIMEDOUT);
    return NULL;
}

static void call_until_the_end(ferry_t *node, void *arg) {
    tale_t *tale = arg;
    ferry_call_t *calls[WINDOW] = {NULL};
    ferry_client_t *client = open_client(node, "mortal", 1);
    for (unsigned i = 0; !atomic_load(&tale->stop); i = (i + 1) % WINDOW) {
        if (calls[i])
            end_one(tale, calls[i]);
        calls[i] = start_one(tale, client);
    }
    for (unsigned i = 0; i < WINDOW; i++)
        if (calls[i])
            end_one(tale, calls[i]);
    check_is(client_stats(client).under_way, 0);
    close_client(client);
}

/* ---- servers ---- */

static mortal_t *new_mortal(tale_t *tale, unsigned last, bool answers) {
    mortal_t *mortal = share(sizeof *mortal);
    const method_t method = {.name = "work", .handler = work};
    mortal->tale = tale;
    mortal->last = last;
    mortal->answers = answers;
    mortal->server = new_server("mortal", 1, &method, 1, mortal);
    atomic_store(&mortal->server->go, 0);
    return mortal;
}

static void bury(crew_t *crew, where_t where, unsigned member, mortal_t *mortal) {
    if (where == IN_PROCESSES) {
        crew_bury(crew, member);
        return;
    }
    stop_server(mortal->server);
    crew_join(crew, member);
}

/* `together`: how many serve at a time. */
static void outlive(where_t where, unsigned together) {
    tale_t *tale = share(sizeof *tale);
    mortal_t *mortals[SERVERS + 1];
    unsigned members[SERVERS + 1], clients[CLIENTS];
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i <= SERVERS; i++) {
        mortals[i] = new_mortal(tale, i < SERVERS ? 300 + 77 * i : 0, i % 2);
        members[i] = crew_add(crew, serve, mortals[i]->server);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = crew_add(crew, call_until_the_end, tale);
    crew_node(crew);
    for (unsigned i = 0; i < together; i++)
        atomic_store(&mortals[i]->server->go, 1);
    for (unsigned i = 0; i < SERVERS; i++) {
        await(&mortals[i]->dying, 1);
        if (i + together <= SERVERS)
            atomic_store(&mortals[i + together]->server->go, 1);
        bury(crew, where, members[i], mortals[i]);
    }
    await(&mortals[SERVERS]->calls, 500); /* the last one works on its own */
    atomic_store(&tale->stop, 1);
    for (unsigned i = 0; i < CLIENTS; i++)
        crew_join(crew, clients[i]);
    crew_end_with(crew, mortals[SERVERS]->server);
    for (unsigned i = 0; i < NUMBERS; i++)
        check(atomic_load(&tale->run[i]) <= 1);
    check(atomic_load(&tale->answered) >= SERVERS * 300);
    /* Each took one call along; on a busy machine also those that it had answered before it was linked with their
     * client. */
    check(atomic_load(&tale->perhaps_run) <= SERVERS * CLIENTS * WINDOW);
}

static void nothing_is_run_twice_when_others_take_over(where_t where) {
    outlive(where, 3);
}

static void nothing_is_run_twice_when_nobody_is_left_for_a_while(where_t where) {
    outlive(where, 1);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(nothing_is_run_twice_when_others_take_over),
        TEST_ALL(nothing_is_run_twice_when_nobody_is_left_for_a_while),
    };
    return run_suite("call-mortal", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * call_step.c - a client, or a server, is killed at one instruction after the other of a call's way.
 *
 *   a client dies     two servers and another client go on; the call has run once, or not
 *   a server dies     another one takes over what can be run again; what cannot is told to its caller, and was not run
 *                     twice; the other client notices nothing
 */
#include "calls.h"
#include "helpers.h"
#include "stepping.h"

#include <stdio.h>

#define LARGE 2200u /* more than a ring takes; a copying instruction is one step for each piece */

/* Shared by the leader, his victims and his helpers. */
struct trial;
typedef struct world {
    calls_t calls;
    const struct trial *trial; /* forked, all have it at the same place */
    uint32_t number;           /* of the victim's call, or of the one that the victim serves */
    atomic_uint warm;
    atomic_uint ended; /* the victim's call has returned */
} world_t;

static world_t *world;

typedef struct trial {
    const char *name;
    void (*prepare)(void);
    void (*act)(void);
    const char *method;
    ask_t ask;     /* of the call that is killed */
    bool sleeper;  /* its caller sleeps meanwhile */
    bool by_calls; /* from one system call to the next */
} trial_t;

/* A victim's, or a helper's: each has its own copy. */
static struct {
    ferry_t *node;
    ferry_client_t *client;
    ferry_service_t *service;
    ferry_msg_t *m;
    ferry_call_t *call;
    ask_t ask;
    unsigned char argument[ARGUMENT_MAX];
} me;

static bool is_idempotent(const char *method) {
    return method[0] == 'o' && method[1] == 'f';
}

/* ---- killing ---- */

static void be_victim(void *arg) {
    (void)arg;
    me.node = open_node("test");
    world->trial->prepare();
    stepping_mark();
    world->trial->act();
    stepping_mark();
}

static pid_t start_victim(const trial_t *trial) {
    world->trial = trial;
    world->number = calls_number(&world->calls, is_idempotent(trial->method));
    atomic_store(&world->ended, 0);
    return stepping_start(be_victim, NULL);
}

static way_t way; /* of the trial */

/* Kills it after so many steps; true when the call had returned before. */
static bool kill_after(pid_t pid, unsigned steps, bool by_call) {
    enum stopped at = stepping_go(pid, &way, steps, by_call, PATIENCE);
    check(at == AT_STEP || at == AT_MARK);
    stepping_kill(pid);
    return at == AT_MARK;
}

static unsigned count_steps(pid_t pid, bool by_call) {
    unsigned steps;
    enum stopped at = stepping_walk(pid, &way, by_call, PATIENCE, &steps);
    check_is(at, AT_MARK); /* however slow the machine: one that is left in the middle has not answered */
    stepping_kill(pid);
    return steps;
}

/* One victim; `steps` UINT_MAX: to the end, which is returned. */
typedef unsigned attempt_t(helper_t *helpers, const trial_t *trial, unsigned steps);

static void hunt(helper_t *helpers, const trial_t *trial, attempt_t *attempt, unsigned points) {
    unsigned steps = attempt(helpers, trial, UINT32_MAX), count = 0;
    unsigned stride = steps / points + 1;
    for (unsigned at = 0; at <= steps + stride; at += way.strayed ? 0 : stride, count++)
        attempt(helpers, trial, at);
    printf("# %-44s %6u %s, killed after every %u: %u times\n", trial->name, steps,
           trial->by_calls ? "doors of system calls" : "instructions", stride, count);
    fflush(stdout);
}

/* ---- what helpers do ---- */

static int be_server(helper_t *h) {
    world = h->world;
    me.service = calls_open_service(h->node, &world->calls, NULL);
    return ferry_service_start(me.service, 1);
}

static int serve_no_more(helper_t *h) {
    (void)h;
    ferry_service_t *service = me.service;
    me.service = NULL;
    return ferry_service_close(service, PATIENCE);
}

static int open_client(helper_t *h) {
    world = h->world;
    check_is(ferry_client_open(h->node, SERVICE, NULL, &me.client), 0);
    return 0;
}

static int close_client(helper_t *h) {
    (void)h;
    return ferry_client_close(me.client, PATIENCE, NULL);
}

static int await_two_servers(helper_t *h) {
    (void)h;
    check_is(ferry_client_wait(me.client, 2, PATIENCE), 2);
    return 0;
}

static bool has_no_server(void *client) {
    ferry_client_stats_t stats = {.size = sizeof stats};
    check_is(ferry_client_stats(client, &stats), 0);
    return stats.servers == 0;
}

/* Of those that were there before. */
static int await_no_server(helper_t *h) {
    (void)h;
    await_that(has_no_server, me.client, "a client keeps a server that is not there");
    return 0;
}

static int call_some(helper_t *h, unsigned count) {
    (void)h;
    for (unsigned i = 0; i < count; i++) {
        ferry_msg_t *m = NULL;
        ask_t ask = {.number = calls_number(&world->calls, false), .size = i ? 100 : LARGE, .answer = 50};
        ask_write(me.argument, &ask);
        int r = ferry_call(me.client, "once", me.argument, ask.size, PATIENCE, &m);
        if (r < 0)
            return r;
        result_check(&ask, m, 0);
        release(m);
        calls_judge(&world->calls, ask.number, r);
    }
    return 0;
}

/* Whoever dies beside us, and whomever of the dead and the living we send it to. */
static int call_undisturbed(helper_t *h) {
    return call_some(h, 3);
}

/* ---- a client dies ---- */

static void write_argument(void *to) {
    me.ask = world->trial->ask;
    me.ask.number = world->number;
    ask_write(to, &me.ask);
}

static void open_victims_client(void) {
    me.client = calls_open_client(me.node, 2);
    check_is(call_some(NULL, 4), 0); /* both servers know us */
    write_argument(me.argument);
}

static void make_message(void) {
    void *data;
    open_victims_client();
    check_is(ferry_client_new_msg(me.client, world->trial->ask.size, PATIENCE, &data, &me.m), 0);
    write_argument(data);
}

static void act_call(void) {
    ferry_msg_t *m = NULL;
    check_is(ferry_call(me.client, world->trial->method, me.argument, me.ask.size, PATIENCE, &m), 0);
    check_is(ferry_msg_size(m), me.ask.answer); /* to look at each byte would take most of the steps */
    atomic_store(&world->ended, 1);
}

static void act_call_msg(void) {
    ferry_msg_t *m = NULL;
    check_is(ferry_call_msg(me.client, world->trial->method, me.m, PATIENCE, &m), 0);
    atomic_store(&world->ended, 1);
    release(m);
}

static void start_call(unsigned flags) {
    check_is(ferry_call_start(me.client, world->trial->method, me.argument, me.ask.size, flags, PATIENCE, &me.call), 0);
}

static void act_stream(void) {
    start_call(FERRY_CALL_STREAM);
    check_is(calls_finish(me.call, &me.ask, PATIENCE), 0);
    atomic_store(&world->ended, 1);
}

static void act_cancel(void) {
    start_call(0);
    int r = ferry_call_cancel(me.call);
    check(r == 0 || r == -EALREADY);
    check_is(ferry_call_release(me.call), 0);
}

static void act_one_way(void) {
    check_is(ferry_call_one_way(me.client, world->trial->method, me.argument, me.ask.size, PATIENCE), 0);
}

static void act_close(void) {
    start_call(0);
    check_is(ferry_client_close(me.client, PATIENCE, NULL), 0);
}

#define SMALL                                                                                                          \
    { .size = 100, .answer = 100 }

static const trial_t calling[] = {
    {"ferry_call", open_victims_client, act_call, "once", SMALL, false, false},
    {"ferry_call, large", open_victims_client, act_call, "once", {.size = LARGE, .answer = 100}, false, false},
    {"ferry_call_msg", make_message, act_call_msg, "once", {.size = LARGE, .answer = 100}, false, false},
    {"a stream of 3",
     open_victims_client,
     act_stream,
     "stream",
     {.size = 100, .answer = 100, .results = 3},
     false,
     false},
    {"ferry_call_start, _cancel, _release", open_victims_client, act_cancel, "once", SMALL, false, false},
    {"ferry_call_one_way", open_victims_client, act_one_way, "once", SMALL, false, false},
    {"ferry_call_start, ferry_client_close", open_victims_client, act_close, "once", SMALL, false, true},
};

enum { SERVER_A, SERVER_B, OTHER_CLIENT, WITH_A_DYING_CLIENT };

static unsigned kill_a_client(helper_t *helpers, const trial_t *trial, unsigned steps) {
    pid_t pid = start_victim(trial);
    if (steps == UINT32_MAX)
        steps = count_steps(pid, trial->by_calls);
    else
        (void)kill_after(pid, steps, trial->by_calls);
    check_is(helper_do(&helpers[OTHER_CLIENT], call_undisturbed), 0);
    unsigned ran = atomic_load(&world->calls.ran[world->number]);
    check(ran <= 1 && (ran == 1 || !atomic_load(&world->ended)));
    return steps;
}

static void a_client_killed_after_any_instruction_of_a_call_disturbs_nobody(void) {
    world = share(sizeof *world);
    unsigned points = fire_count("FERRY_FIRE_POINTS", "points in each call", 5, 5);
    helper_t *helpers = helpers_start(WITH_A_DYING_CLIENT, world);
    holdings_t before[WITH_A_DYING_CLIENT];
    check_is(helper_do(&helpers[SERVER_A], be_server), 0);
    check_is(helper_do(&helpers[SERVER_B], be_server), 0);
    check_is(helper_do(&helpers[OTHER_CLIENT], open_client), 0);
    check_is(helper_do(&helpers[OTHER_CLIENT], await_two_servers), 0);
    for (unsigned i = 0; i < 6; i++) /* until both have its memory */
        check_is(helper_do(&helpers[OTHER_CLIENT], call_undisturbed), 0);
    for (unsigned i = 0; i < WITH_A_DYING_CLIENT; i++)
        before[i] = holdings_at_rest(helpers[i].pid);
    for (unsigned i = 0; i < sizeof calling / sizeof calling[0]; i++)
        hunt(helpers, &calling[i], kill_a_client, points);
    for (unsigned i = 0; i < WITH_A_DYING_CLIENT; i++)
        expect_holdings_about(helpers[i].pid, i == OTHER_CLIENT ? "the other client" : "a server", &before[i], 1);
    check_is(helper_do(&helpers[OTHER_CLIENT], close_client), 0);
    check_is(helper_do(&helpers[SERVER_A], serve_no_more), 0);
    check_is(helper_do(&helpers[SERVER_B], serve_no_more), 0);
    calls_judge_all(&world->calls);
    helpers_end(helpers, WITH_A_DYING_CLIENT);
}

/* ---- a server dies ---- */

static void serve_what_is_there(void) {
    check_is(ferry_service_run(me.service, FERRY_NOW), -EAGAIN);
}

static void open_victims_service(void) {
    me.service = calls_open_service(me.node, &world->calls, NULL);
    serve_what_is_there(); /* clients find us from here on */
}

/* The caller has called before: it has its way back already. */
static void serve_once_before(void) {
    open_victims_service();
    int64_t end = clock_ns() + PATIENCE;
    while (!atomic_load(&world->warm)) {
        check_is(ferry_service_run(me.service, 2 * MILLISECOND), -ETIMEDOUT);
        check(clock_ns() < end);
    }
}

static const trial_t serving[] = {
    {"serving one", serve_once_before, serve_what_is_there, "once", SMALL, false, false},
    {"serving one, its caller sleeps", serve_once_before, serve_what_is_there, "once", SMALL, true, false},
    {"serving one that is idempotent", serve_once_before, serve_what_is_there, "often", SMALL, false, false},
    {"serving one with a large result",
     serve_once_before,
     serve_what_is_there,
     "often",
     {.size = 100, .answer = LARGE},
     false,
     false},
    {"serving one, ferry_reply_msg",
     serve_once_before,
     serve_what_is_there,
     "once",
     {.size = LARGE, .answer = LARGE, .by_pointer = 1},
     true,
     false},
    {"serving a stream of 3",
     serve_once_before,
     serve_what_is_there,
     "stream",
     {.size = 100, .answer = 100, .results = 3},
     false,
     false},
    {"serving a client's first call", open_victims_service, serve_what_is_there, "often", SMALL, true, true},
};

enum { CALLER, SECOND_SERVER, SECOND_CLIENT, WITH_A_DYING_SERVER };

static int call_before(helper_t *h) {
    check_is(ferry_client_wait(me.client, 1, PATIENCE), 1);
    int r = call_some(h, 2);
    atomic_store(&world->warm, 1);
    return r;
}

static int begin_call(helper_t *h) {
    (void)h;
    check_is(ferry_client_wait(me.client, 1, PATIENCE), 1);
    write_argument(me.argument);
    start_call(me.ask.results ? FERRY_CALL_STREAM : 0);
    return 0;
}

/* How it ends; with another server there, what can be run again is. */
static int end_call(helper_t *h) {
    (void)h;
    int r = calls_finish(me.call, &me.ask, PATIENCE);
    calls_judge(&world->calls, me.ask.number, r);
    check(r == 0 || (r == -ECONNRESET && !is_idempotent(world->trial->method)));
    return r;
}

static void see_the_second_server_off(helper_t *helpers) {
    check_is(helper_do(&helpers[SECOND_SERVER], serve_no_more), 0);
    check_is(helper_do(&helpers[CALLER], await_no_server), 0);
    check_is(helper_do(&helpers[SECOND_CLIENT], await_no_server), 0);
}

/* All know each other, and have looked at what the dead have left. */
static void meet_once(helper_t *helpers) {
    check_is(helper_do(&helpers[SECOND_SERVER], be_server), 0);
    check_is(helper_do(&helpers[CALLER], call_before), 0);
    check_is(helper_do(&helpers[SECOND_CLIENT], call_before), 0);
    see_the_second_server_off(helpers);
}

static unsigned kill_a_server(helper_t *helpers, const trial_t *trial, unsigned steps) {
    helper_t *caller = &helpers[CALLER];
    atomic_store(&world->warm, 0);
    if (trial->prepare == serve_once_before)
        helper_ask(caller, call_before);
    pid_t pid = start_victim(trial);
    if (trial->prepare == serve_once_before)
        check_is(helper_answer(caller), 0);
    check_is(helper_do(caller, begin_call), 0);
    check_is(helper_do(&helpers[SECOND_SERVER], be_server), 0);
    check_is(helper_do(caller, await_two_servers), 0);
    check_is(helper_do(&helpers[SECOND_CLIENT], await_two_servers), 0);
    if (trial->sleeper)
        helper_ask(caller, end_call);
    bool completed = true;
    if (steps == UINT32_MAX)
        steps = count_steps(pid, trial->by_calls);
    else
        completed = kill_after(pid, steps, trial->by_calls);
    int ended = trial->sleeper ? helper_answer(caller) : helper_do(caller, end_call);
    check(ended == 0 || !completed);
    check_is(helper_do(&helpers[SECOND_CLIENT], call_undisturbed), 0);
    see_the_second_server_off(helpers);
    return steps;
}

static void a_server_killed_after_any_instruction_leaves_no_call_without_an_end(void) {
    world = share(sizeof *world);
    unsigned points = fire_count("FERRY_FIRE_POINTS", "points in each call", 5, 5);
    helper_t *helpers = helpers_start(WITH_A_DYING_SERVER, world);
    holdings_t before[WITH_A_DYING_SERVER];
    check_is(helper_do(&helpers[CALLER], open_client), 0);
    check_is(helper_do(&helpers[SECOND_CLIENT], open_client), 0);
    meet_once(helpers);
    for (unsigned i = 0; i < WITH_A_DYING_SERVER; i++)
        before[i] = holdings_at_rest(helpers[i].pid);
    for (unsigned i = 0; i < sizeof serving / sizeof serving[0]; i++) {
        hunt(helpers, &serving[i], kill_a_server, points);
        meet_once(helpers);
        for (unsigned k = 0; k < WITH_A_DYING_SERVER; k++)
            expect_holdings_about(helpers[k].pid, k == SECOND_SERVER ? "the second server" : "a client", &before[k], 1);
    }
    check_is(helper_do(&helpers[CALLER], close_client), 0);
    check_is(helper_do(&helpers[SECOND_CLIENT], close_client), 0);
    calls_judge_all(&world->calls);
    helpers_end(helpers, WITH_A_DYING_SERVER);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_client_killed_after_any_instruction_of_a_call_disturbs_nobody),
        TEST(a_server_killed_after_any_instruction_leaves_no_call_without_an_end),
    };
    return run_suite("call step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

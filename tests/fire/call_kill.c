/* SPDX-License-Identifier: MIT
 *
 * call_kill.c - SIGKILL at random moments, some hundred times or thousands, for clients and servers under load.
 *
 *   survivors   a server, two clients
 *   victims     two servers and two clients, each replaced by another one when it was killed
 *
 * With a server that survives, every call has an end: a call that can be run again has its result, any other its result
 * or word that it may have run. Whatever happens, what must not be run again is not.
 */
#include "calls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT (100 * SECOND) /* however slow the machine */
#define SLOTS 4u
#define CLIENTS 2u /* that survive */

enum op {
    IN_PROGRAM,
    IN_OPEN_NODE,
    IN_OPEN_CLIENT,
    IN_CALL,
    IN_CALL_LARGE,
    IN_CALL_MSG,
    IN_START,
    IN_WAIT,
    IN_NEXT,
    IN_CANCEL,
    IN_ONE_WAY,
    IN_CLOSE_CLIENT,
    IN_OPEN_SERVICE,
    IN_RUN,
    IN_HANDLER,
    IN_REPLY,
    IN_CLOSE_SERVICE,
    IN_CLOSE_NODE,
    OPS
};

static const char *const op_names[OPS] = {
    [IN_PROGRAM] = "the program itself",
    [IN_OPEN_NODE] = "ferry_open",
    [IN_OPEN_CLIENT] = "ferry_client_open, _wait",
    [IN_CALL] = "ferry_call",
    [IN_CALL_LARGE] = "ferry_call (pool)",
    [IN_CALL_MSG] = "ferry_call_msg",
    [IN_START] = "ferry_call_start",
    [IN_WAIT] = "ferry_call_wait",
    [IN_NEXT] = "ferry_client_next",
    [IN_CANCEL] = "ferry_call_cancel",
    [IN_ONE_WAY] = "ferry_call_one_way",
    [IN_CLOSE_CLIENT] = "ferry_client_close",
    [IN_OPEN_SERVICE] = "ferry_service_open, _start",
    [IN_RUN] = "serving, between handlers",
    [IN_HANDLER] = "a handler",
    [IN_REPLY] = "a reply",
    [IN_CLOSE_SERVICE] = "ferry_service_close",
    [IN_CLOSE_NODE] = "ferry_close",
};

enum stage { WORK, QUIET, LEAVE };

typedef struct slot {
    atomic_uint op;    /* the call it is in */
    atomic_uint calls; /* calls, or requests, that are done */
    uint64_t seed;
    bool serves;
} slot_t;

typedef struct world {
    calls_t calls;
    atomic_uint stage;
    atomic_uint ready;
    rest_t rest;  /* of the clients that survive */
    bool certain; /* a server survives */
    atomic_ullong may_have_run, with_result, retried;
    atomic_llong slowest;
    slot_t slots[SLOTS];
    slot_t surviving[CLIENTS];
} world_t;

/* One client, victim or not. */
typedef struct self {
    world_t *w;
    dice_t dice;
    ferry_client_t *client;
    bool certain; /* there is always a server */
    unsigned char argument[ARGUMENT_MAX];
} self_t;

static slot_t *mine;

static void in(enum op op) {
    atomic_store(&mine->op, op);
}

static int out(int result) {
    atomic_store(&mine->op, IN_PROGRAM);
    return result;
}

static void is_done(void) {
    atomic_fetch_add(&mine->calls, 1);
}

/* ---- calls of every sort ---- */

static uint32_t some_size(self_t *s, uint32_t least) {
    uint64_t kind = dice_below(&s->dice, 16);
    return least + (uint32_t)dice_below(&s->dice, kind < 11 ? 150 : kind < 15 ? 3000 : 40000);
}

static ask_t some_ask(self_t *s, bool idempotent) {
    ask_t ask = {.number = calls_number(&s->w->calls, idempotent)};
    ask.size = some_size(s, sizeof ask);
    ask.answer = some_size(s, 8);
    ask.pause_us = dice_below(&s->dice, 5) ? 0 : (uint32_t)dice_below(&s->dice, 1000);
    ask.by_pointer = dice_below(&s->dice, 2) != 0;
    return ask;
}

/* Only without a server that survives. */
static bool knows_nobody(const self_t *s, int r) {
    return r == -ENOENT && !s->certain;
}

/* How a call may end, when it was not cancelled. */
static void ended(self_t *s, const ask_t *ask, int r) {
    bool idempotent = atomic_load(&s->w->calls.repeats[ask->number]);
    bool good = r == 0 || r == -ECONNRESET || knows_nobody(s, r);
    if (!good)
        fprintf(stderr, "# a call ended with %d: %s\n", r, ferry_last_error());
    check(good);
    check(r == 0 || r == -ENOENT || !s->certain || !idempotent ||
          ask->results > 0); /* of a stream, some had been seen */
    atomic_fetch_add(r == 0 ? &s->w->with_result : &s->w->may_have_run, 1);
    calls_judge(&s->w->calls, ask->number, r);
    is_done();
}

static const char *one_method(bool idempotent) {
    return idempotent ? "often" : "once";
}

static void call_now(self_t *s, bool idempotent) {
    ferry_msg_t *m = NULL;
    ask_t ask = some_ask(s, idempotent);
    ask_write(s->argument, &ask);
    in(ask.size > 2000 ? IN_CALL_LARGE : IN_CALL);
    int r = out(ferry_call(s->client, one_method(idempotent), s->argument, ask.size, PATIENCE, &m));
    if (r == 0) {
        result_check(&ask, m, 0);
        release(m);
    }
    ended(s, &ask, r);
}

static void call_by_pointer(self_t *s, bool idempotent) {
    ferry_msg_t *m = NULL, *argument = NULL;
    void *data;
    ask_t ask = some_ask(s, idempotent);
    check_is(ferry_client_new_msg(s->client, ask.size, PATIENCE, &data, &argument), 0);
    ask_write(data, &ask);
    in(IN_CALL_MSG);
    int r = out(ferry_call_msg(s->client, one_method(idempotent), argument, PATIENCE, &m));
    release(argument);
    if (r == 0) {
        result_check(&ask, m, 0);
        release(m);
    }
    ended(s, &ask, r);
}

/* NULL: nobody serves, which has been judged. */
static ferry_call_t *start(self_t *s, const char *method, const ask_t *ask) {
    ferry_call_t *call = NULL;
    ask_write(s->argument, ask);
    in(IN_START);
    int r = out(ferry_call_start(s->client, method, s->argument, ask->size, ask->results ? FERRY_CALL_STREAM : 0,
                                 FERRY_FOREVER, &call));
    check(r == 0 || knows_nobody(s, r));
    if (r < 0)
        ended(s, ask, r);
    return call;
}

static void call_stream(self_t *s, bool idempotent) {
    ask_t ask = some_ask(s, idempotent);
    ask.results = 1 + (uint32_t)dice_below(&s->dice, 60);
    ferry_call_t *call = start(s, idempotent ? "restream" : "stream", &ask);
    if (!call)
        return;
    in(IN_WAIT);
    int r = out(calls_finish(call, &ask, PATIENCE));
    ended(s, &ask, r);
}

#define SEVERAL 12u

static void call_several(self_t *s, bool idempotent) {
    ask_t asks[SEVERAL];
    unsigned open = 0;
    for (unsigned i = 0; i < SEVERAL; i++) {
        asks[i] = some_ask(s, idempotent);
        ferry_call_t *call = start(s, one_method(idempotent), &asks[i]);
        ferry_call_set_context(call, &asks[i]);
        open += call != NULL;
    }
    for (; open > 0; open--) {
        ferry_call_t *call = NULL;
        in(IN_NEXT);
        check_is(out(ferry_client_next(s->client, PATIENCE, &call)), 0);
        const ask_t *ask = ferry_call_context(call);
        ended(s, ask, calls_finish(call, ask, PATIENCE));
    }
}

/* It may run or not, or have its result already; only once all the same. */
static void call_and_cancel(self_t *s) {
    ask_t ask = some_ask(s, false);
    ferry_call_t *call = start(s, "once", &ask);
    if (!call)
        return;
    in(IN_CANCEL);
    int r = out(ferry_call_cancel(call));
    check(r == 0 || r == -EALREADY);
    check_is(ferry_call_release(call), 0);
    is_done();
}

static void call_one_way(self_t *s) {
    ask_t ask = some_ask(s, false);
    ask_write(s->argument, &ask);
    in(IN_ONE_WAY);
    int r = out(ferry_call_one_way(s->client, "once", s->argument, ask.size, PATIENCE));
    check(r == 0 || knows_nobody(s, r));
    is_done();
}

static void call_something(self_t *s) {
    bool idempotent = dice_below(&s->dice, 2);
    switch (dice_below(&s->dice, 8)) {
    case 0:
        call_by_pointer(s, idempotent);
        return;
    case 1:
        call_stream(s, idempotent);
        return;
    case 2:
    case 3:
        call_several(s, idempotent);
        return;
    case 4:
        call_one_way(s);
        return;
    case 5:
        call_and_cancel(s);
        return;
    default:
        call_now(s, idempotent);
    }
}

static void open_client(self_t *s, ferry_t *node) {
    int r;
    in(IN_OPEN_CLIENT);
    while (calls_lock_was_kept(r = ferry_client_open(node, SERVICE, NULL, &s->client)))
        continue;
    check_is(r, 0);
    check(out(ferry_client_wait(s->client, s->certain, PATIENCE)) >= s->certain);
}

static void start_service(ferry_service_t *service) {
    int r;
    while (calls_lock_was_kept(r = ferry_service_start(service, 1)))
        continue;
    check_is(r, 0);
}

/* ---- victims ---- */

static ferry_t *open_victims_node(void) {
    ferry_t *node = NULL;
    int r;
    in(IN_OPEN_NODE);
    while (calls_lock_was_kept(r = ferry_open("test", NULL, &node)))
        continue;
    check_is(out(r), 0);
    return node;
}

static void call_for_ever(world_t *w, slot_t *v) {
    static self_t s;
    s = (self_t){.w = w, .dice = {v->seed}, .certain = true};
    ferry_t *node = open_victims_node();
    for (;;) {
        open_client(&s, node);
        for (uint64_t calls = dice_below(&s.dice, 60); calls > 0; calls--)
            call_something(&s);
        in(IN_CLOSE_CLIENT);
        check_is(out(ferry_client_close(s.client, MILLISECOND, NULL)), 0);
    }
}

static void note_stage(unsigned stage) {
    static const enum op ops[] = {IN_RUN, IN_HANDLER, IN_REPLY};
    in(ops[stage]);
    if (stage == 0)
        is_done();
}

/* Each with a thread of its own, or by the program's thread, for a while or until it is killed. */
static void serve_for_ever(world_t *w, slot_t *v) {
    dice_t dice = {v->seed};
    ferry_t *node = open_victims_node();
    for (;;) {
        in(IN_OPEN_SERVICE);
        ferry_service_t *service = calls_open_service(node, &w->calls, note_stage);
        if (dice_below(&dice, 2))
            start_service(service);
        in(IN_RUN);
        for (unsigned i = 0; i < 4; i++)
            check_is(ferry_service_run(service, 5 * MILLISECOND), -ETIMEDOUT);
        in(IN_CLOSE_SERVICE);
        check_is(ferry_service_close(service, PATIENCE), 0);
    }
}

typedef struct victim_arg {
    world_t *w;
    slot_t *v;
} victim_arg_t;

static void run_victim(void *arg) {
    victim_arg_t *a = arg;
    mine = a->v;
    if (a->v->serves)
        serve_for_ever(a->w, a->v);
    else
        call_for_ever(a->w, a->v);
}

/* ---- survivors ---- */

static void serve_on(void *arg) {
    world_t *w = arg;
    ferry_t *node = open_node("test");
    ferry_service_t *service = calls_open_service(node, &w->calls, NULL);
    start_service(service);
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->stage) != LEAVE)
        nap(10 * MILLISECOND);
    check_is(ferry_service_close(service, PATIENCE), 0);
    close_node(node);
}

static void call_on(void *arg) {
    static self_t s;
    const victim_arg_t *a = arg;
    world_t *w = a->w;
    uint64_t undone = 0;
    mine = a->v;
    s = (self_t){.w = w, .dice = {mine->seed}, .certain = w->certain};
    ferry_t *node = open_node("test");
    open_client(&s, node);
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->stage) != LEAVE) {
        rest_when_asked(&w->rest);
        int64_t begin = clock_ns();
        call_something(&s);
        if (!s.certain && atomic_load(&w->stage) == WORK)
            check(ferry_client_wait(s.client, 1, PATIENCE) >= 1);
        int64_t took = clock_ns() - begin;
        if (took > atomic_load(&w->slowest))
            atomic_store(&w->slowest, took);
        nap(MILLISECOND / (atomic_load(&w->stage) == WORK ? 10 : 1));
    }
    ferry_client_stats_t stats = {.size = sizeof stats};
    check_is(ferry_client_stats(s.client, &stats), 0);
    check_is(stats.under_way, 0);
    atomic_fetch_add(&w->retried, stats.retried);
    check_is(ferry_client_close(s.client, PATIENCE, &undone), 0);
    check(undone == 0 || !s.certain);
    close_node(node);
}

/* ---- the run ---- */

enum { SERVER, CLIENT, SURVIVORS = CLIENT + CLIENTS };

typedef struct run {
    world_t *w;
    dice_t dice;
    pid_t survivors[SURVIVORS];
    holdings_t before[SURVIVORS];
    pid_t victims[SLOTS];
    int64_t started[SLOTS];
    unsigned deaths;
    unsigned histogram[OPS];
} run_t;

static const char *name_of(unsigned survivor) {
    return survivor == SERVER ? "surviving server" : "surviving client";
}

static void start_clients(run_t *r) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        slot_t *v = &r->w->surviving[i];
        victim_arg_t arg = {r->w, v};
        v->seed = dice_roll(&r->dice);
        r->survivors[CLIENT + i] = child_start(call_on, &arg);
        await(&r->w->ready, r->w->certain + 1 + i);
    }
}

static void expect_survivors_alive(const run_t *r) {
    for (unsigned i = r->w->certain ? SERVER : CLIENT; i < SURVIVORS; i++) {
        int status;
        if (waitpid(r->survivors[i], &status, WNOHANG) == 0)
            continue;
        fprintf(stderr, "# the %s has ended (status %#x) after %u deaths\n", name_of(i), (unsigned)status, r->deaths);
        exit(1);
    }
}

/* Every surviving client has ended two more calls from here on: the first one may have begun before. */
static void expect_progress(const run_t *r) {
    unsigned before[CLIENTS];
    int64_t end = clock_ns() + PATIENCE;
    for (unsigned i = 0; i < CLIENTS; i++)
        before[i] = atomic_load(&r->w->surviving[i].calls);
    for (unsigned i = 0; i < CLIENTS; i++)
        while (atomic_load(&r->w->surviving[i].calls) < before[i] + 2) {
            expect_survivors_alive(r);
            if (clock_ns() > end) {
                fprintf(stderr, "# after %u deaths a client hangs in %s\n", r->deaths,
                        op_names[atomic_load(&r->w->surviving[i].op)]);
                threads_print("the client", r->survivors[CLIENT + i]);
                exit(1);
            }
            nap(MILLISECOND / 8);
        }
}

static void start_victim(run_t *r, unsigned i) {
    slot_t *v = &r->w->slots[i];
    memset(v, 0, sizeof *v);
    v->seed = dice_roll(&r->dice);
    v->serves = i % 2 == 0;
    victim_arg_t arg = {r->w, v};
    r->victims[i] = child_start(run_victim, &arg);
    r->started[i] = clock_ns();
}

/* Lets the victim come to its work, or not even that. */
static void wait_for_moment(run_t *r, unsigned i) {
    bool early = dice_below(&r->dice, 4) == 0;
    int64_t range = (early ? 3 : 6) * MILLISECOND * (FIRE_SLOW ? 4 : 1);
    if (!early)
        while (atomic_load(&r->w->slots[i].calls) < 3 && clock_ns() - r->started[i] < SECOND)
            nap(MILLISECOND / 8);
    nap((int64_t)dice_below(&r->dice, (uint64_t)range));
}

static void kill_victim(run_t *r, unsigned i) {
    int status;
    check(kill(r->victims[i], SIGKILL) == 0);
    check(waitpid(r->victims[i], &status, 0) == r->victims[i]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "# a %s had ended by itself, status %#x\n", r->w->slots[i].serves ? "server" : "client",
                (unsigned)status);
        exit(1);
    }
    r->histogram[atomic_load(&r->w->slots[i].op)]++;
    r->deaths++;
}

/* One of the victims; now and then two at once. */
static void one_round(run_t *r) {
    unsigned i = (unsigned)dice_below(&r->dice, SLOTS), k = (i + 1 + (unsigned)dice_below(&r->dice, 3)) % SLOTS;
    bool both = dice_below(&r->dice, 6) == 0;
    wait_for_moment(r, i);
    kill_victim(r, i);
    if (both)
        kill_victim(r, k);
    expect_progress(r);
    start_victim(r, i);
    if (both)
        start_victim(r, k);
}

static void print_histogram(const run_t *r) {
    const world_t *w = r->w;
    unsigned inside = r->deaths - r->histogram[IN_PROGRAM];
    printf("# killed in:\n");
    for (unsigned i = 0; i < OPS; i++)
        printf("# %6u  %s\n", r->histogram[i], op_names[i]);
    printf(
        "# %u of %u deaths inside a call of Ferry's; %u calls, %llu with a result, %llu that may have run, %llu sent "
        "again; slowest %.1f ms\n",
        inside, r->deaths, atomic_load(&w->calls.next), (unsigned long long)atomic_load(&w->with_result),
        (unsigned long long)atomic_load(&w->may_have_run), (unsigned long long)atomic_load(&w->retried),
        (double)atomic_load(&w->slowest) / 1e6);
    fflush(stdout);
    check(2 * inside >= r->deaths);
    check(r->deaths < 60 ||
          (atomic_load(&w->retried) > 0 && atomic_load(&w->may_have_run) > 0)); /* a few may miss one */
}

#define MORE_MEMORY 10u /* rings and pools that have grown */

static void end_survivors(run_t *r) {
    atomic_store(&r->w->stage, QUIET);
    for (unsigned i = 0; i < SURVIVORS; i++)
        expect_holdings_about(r->survivors[i], name_of(i), &r->before[i], MORE_MEMORY);
    expect_progress(r);
    atomic_store(&r->w->stage, LEAVE);
    for (unsigned i = 1; i <= SURVIVORS; i++) /* the server last, though all are told */
        child_join(r->survivors[i % SURVIVORS]);
    calls_judge_all(&r->w->calls);
    if (names_with("") > 0)
        names_print();
    check_is(names_with(""), 0);
}

static void killed_at_any_moment_no_call_is_lost_and_none_runs_twice(void) {
    static run_t r;
    unsigned kills = fire_count("FERRY_FIRE_KILLS", "kills", 100, 30);
    r.w = share(sizeof *r.w);
    r.dice = dice_new("the moments and the calls");
    r.w->certain = true;
    r.survivors[SERVER] = child_start(serve_on, r.w);
    await(&r.w->ready, 1);
    start_clients(&r);
    for (unsigned i = 0; i < 50; i++) /* until all know each other */
        expect_progress(&r);
    rest_begin(&r.w->rest, CLIENTS);
    for (unsigned i = 0; i < SURVIVORS; i++)
        r.before[i] = holdings_at_rest(r.survivors[i]);
    rest_end(&r.w->rest);
    for (unsigned i = 0; i < SLOTS; i++)
        start_victim(&r, i);
    int64_t end = clock_ns() + LIMIT;
    while (r.deaths < kills && clock_ns() < end)
        one_round(&r);
    if (r.deaths < kills)
        printf("# this machine managed %u kills in the time there is\n", r.deaths);
    check(r.deaths >= kills / 8);
    for (unsigned i = 0; i < SLOTS; i++) {
        kill_victim(&r, i);
        expect_progress(&r);
    }
    end_survivors(&r);
    print_histogram(&r);
}

/* Of two servers, both are killed, at once or one after the other; then there is none for a while. */
static void when_all_servers_are_killed_every_call_ends(void) {
    static run_t r;
    unsigned rounds = fire_count("FERRY_FIRE_ROUNDS", "times that all servers are killed", 25, 12);
    r.w = share(sizeof *r.w);
    r.dice = dice_new("the moments and the calls");
    start_clients(&r);
    for (unsigned round = 0; round < rounds; round++) {
        start_victim(&r, 0);
        start_victim(&r, 2);
        expect_progress(&r);
        for (unsigned i = 0; i <= 2; i += 2) {
            nap((int64_t)dice_below(&r.dice, 3 * (uint64_t)MILLISECOND));
            kill_victim(&r, i);
        }
    }
    atomic_store(&r.w->stage, QUIET); /* without servers, all that is under way must end */
    start_victim(&r, 0);
    expect_progress(&r);
    kill_victim(&r, 0);
    atomic_store(&r.w->stage, LEAVE);
    for (unsigned i = CLIENT; i < SURVIVORS; i++)
        child_join(r.survivors[i]);
    calls_judge_all(&r.w->calls);
    printf("# %u calls, %llu with a result, %llu that may have run or were not run\n", atomic_load(&r.w->calls.next),
           (unsigned long long)atomic_load(&r.w->with_result), (unsigned long long)atomic_load(&r.w->may_have_run));
    check(atomic_load(&r.w->with_result) > 0 && atomic_load(&r.w->may_have_run) > 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_at_any_moment_no_call_is_lost_and_none_runs_twice),
        TEST(when_all_servers_are_killed_every_call_ends),
    };
    return run_suite("call kill", tests, sizeof tests / sizeof tests[0], argc, argv);
}

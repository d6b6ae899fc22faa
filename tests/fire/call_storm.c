/* SPDX-License-Identifier: MIT
 *
 * call_storm.c - thousands of calls whose time passes, or that are cancelled, against a server that is too slow for
 * them; and programs that have no descriptors or no memory left. Each call ends exactly once, and nothing hangs.
 */
#include "calls.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define CLIENTS 3u
#define AT_ONCE 200u

typedef struct world {
    calls_t calls;
    unsigned rounds; /* or descriptors */
    atomic_uint ready, leave;
    atomic_uint results, late, cancelled, other;
    atomic_int busy;  /* who is inside a handler */
    atomic_uint hold; /* whoever is stays there */
} world_t;

static world_t *world;

static void note_busy(unsigned stage) {
    if (stage != HANDLING)
        return;
    atomic_store(&world->busy, getpid());
    while (atomic_load(&world->hold))
        nap(MILLISECOND);
}

static void serve(world_t *w, unsigned threads) {
    world = w;
    ferry_t *node = open_node("test");
    ferry_service_t *service = calls_open_service(node, &w->calls, note_busy);
    check_is(ferry_service_start(service, threads), 0);
    atomic_fetch_add(&w->ready, 1);
    while (!atomic_load(&w->leave))
        nap(MILLISECOND);
    check_is(ferry_service_close(service, PATIENCE), 0);
    close_node(node);
}

static void serve_with_two_threads(void *arg) {
    serve(arg, 2);
}

/* ---- storms ---- */

typedef struct one {
    ask_t ask;
    ferry_call_t *call;
    unsigned ends; /* times that it was seen to have ended */
    int ended;
} one_t;

static void count_end(world_t *w, int r) {
    atomic_uint *count = r == 0 ? &w->results : r == -ETIME ? &w->late : r == -ECANCELED ? &w->cancelled : &w->other;
    atomic_fetch_add(count, 1);
}

/* What ferry_client_next has named: a result, or the end; which must be the same if it is asked again. */
static void take_end(one_t *one) {
    ferry_msg_t *m = NULL;
    int r = ferry_call_wait(one->call, FERRY_NOW, &m);
    check(r == 0 || r == -ETIME || r == -ECANCELED);
    check(one->ends == 0 || (r == one->ended && m == NULL));
    if (r == 0 && one->ends == 0) {
        result_check(&one->ask, m, 0);
        release(m);
    }
    one->ended = r;
    one->ends++;
}

static void start_all(world_t *w, ferry_client_t *client, dice_t *dice, one_t *ones) {
    static unsigned char argument[ARGUMENT_MAX];
    for (unsigned i = 0; i < AT_ONCE; i++) {
        one_t *one = &ones[i];
        bool idempotent = dice_below(dice, 2);
        int64_t time = dice_below(dice, 8) ? (int64_t)dice_below(dice, 30 * (uint64_t)MILLISECOND) + 1 : PATIENCE;
        *one = (one_t){.ask = {.number = calls_number(&w->calls, idempotent), .answer = 100}};
        one->ask.size = dice_below(dice, 8) ? 100 : 5000;
        one->ask.pause_us = dice_below(dice, 4) ? 0 : 300;
        ask_write(argument, &one->ask);
        int r = ferry_call_start(client, idempotent ? "often" : "once", argument, one->ask.size, 0, time, &one->call);
        check(r == 0 || r == -ETIME); /* even before it was sent */
        if (r == 0)
            ferry_call_set_context(one->call, one);
        one->ends = r < 0;
        one->ended = r;
    }
}

static void cancel_some(dice_t *dice, one_t *ones) {
    for (unsigned i = 0; i < AT_ONCE; i++) {
        one_t *one = &ones[i];
        if (!one->call || one->ends || dice_below(dice, 3))
            continue;
        int r = ferry_call_cancel(one->call);
        check(r == 0 || r == -EALREADY);
        check_is(ferry_call_cancel(one->call), -EALREADY);
    }
}

static void end_all(world_t *w, ferry_client_t *client, one_t *ones) {
    ferry_call_t *call;
    unsigned named = 0;
    for (unsigned i = 0; i < AT_ONCE; i++)
        named += ones[i].ends != 0;
    while (named < AT_ONCE) {
        check_is(ferry_client_next(client, PATIENCE, &call), 0);
        one_t *one = ferry_call_context(call);
        check(one >= ones && one < ones + AT_ONCE && one->call == call);
        named += one->ends == 0;
        take_end(one);
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        if (ones[i].call)
            take_end(&ones[i]);
        check_is(ferry_call_release(ones[i].call), 0);
        calls_judge(&w->calls, ones[i].ask.number, ones[i].ended);
        count_end(w, ones[i].ended);
    }
}

static void storm(void *arg) {
    static one_t ones[AT_ONCE];
    world_t *w = arg;
    dice_t dice = {(uint64_t)getpid()};
    ferry_t *node = open_node("test");
    ferry_client_t *client = calls_open_client(node, 2);
    for (unsigned round = 0; round < w->rounds; round++) {
        start_all(w, client, &dice, ones);
        if (round % 2)
            nap((int64_t)dice_below(&dice, 5 * (uint64_t)MILLISECOND));
        cancel_some(&dice, ones);
        end_all(w, client, ones);
        ferry_client_stats_t stats = {.size = sizeof stats};
        check_is(ferry_client_stats(client, &stats), 0);
        check_is(stats.under_way, 0);
    }
    check_is(ferry_client_close(client, PATIENCE, NULL), 0);
    close_node(node);
}

static void in_a_storm_of_deadlines_and_cancelling_each_call_ends_once(void) {
    pid_t clients[CLIENTS];
    world_t *w = share(sizeof *w);
    w->rounds = fire_count("FERRY_FIRE_ROUNDS", "rounds of 200 calls for each of 3 clients", 8, 3);
    pid_t server = child_start(serve_with_two_threads, w);
    await(&w->ready, 1);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = child_start(storm, w);
    for (unsigned i = 0; i < CLIENTS; i++)
        child_join(clients[i]);
    atomic_store(&w->leave, 1);
    child_join(server);
    calls_judge_all(&w->calls);
    printf("# %u results, %u too late, %u cancelled\n", w->results, w->late, w->cancelled);
    fflush(stdout);
    check(w->results > 0 && w->late > 0 && w->cancelled > 0 && w->other == 0);
    check_is(w->results + w->late + w->cancelled, w->rounds * AT_ONCE * CLIENTS);
}

/* ---- nothing left ---- */

static unsigned highest_descriptor(void) {
    int fd = dup(2);
    check(fd >= 0 && close(fd) == 0);
    return (unsigned)fd; /* all below are taken */
}

static int call_once(world_t *w, ferry_client_t *client, uint32_t size, uint32_t answer, int64_t timeout) {
    static unsigned char argument[ARGUMENT_MAX];
    ferry_msg_t *m = NULL;
    ask_t ask = {.number = calls_number(&w->calls, false), .size = size, .answer = answer};
    ask_write(argument, &ask);
    int r = ferry_call(client, "once", argument, size, timeout, &m);
    if (r == 0) {
        result_check(&ask, m, 0);
        release(m);
    }
    check(r == 0 || (r < 0 && ferry_last_error()[0]));
    calls_judge(&w->calls, ask.number, r);
    return r;
}

static int call_one(world_t *w, ferry_client_t *client, uint32_t size, uint32_t answer) {
    int r = call_once(w, client, size, answer, PATIENCE);
    check(r != -ETIMEDOUT); /* it has hung */
    return r;
}

/* One descriptor more each time, until it succeeds. */
static void call_with_few_descriptors(void *arg) {
    world_t *w = arg;
    unsigned failed = 0;
    for (unsigned more = 0;; more++) {
        ferry_t *node = open_node("test");
        ferry_client_t *client = NULL;
        allow_descriptors(highest_descriptor() + more);
        int r = ferry_client_open(node, SERVICE, NULL, &client);
        if (r == 0) {
            r = call_one(w, client, 100, 100);
            r = r < 0 ? r : call_one(w, client, 5000, 5000);
        }
        allow_descriptors(1024);
        check(r == 0 || r == -EMFILE || r == -ENOENT || r == -ECONNRESET);
        if (client)
            check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
        close_node(node);
        failed += r != 0;
        if (r == 0 && more > 0)
            break;
        check(more < 100);
    }
    printf("# %u times in vain\n", failed);
    check(failed > 0);
}

static void a_client_without_descriptors_is_told_and_does_not_hang(void) {
    world_t *w = share(sizeof *w);
    pid_t server = child_start(serve_with_two_threads, w);
    await(&w->ready, 1);
    child_join(child_start(call_with_few_descriptors, w));
    atomic_store(&w->leave, 1);
    child_join(server);
}

/* It has its service open, and room for so many descriptors more. */
static void serve_with_few_descriptors(void *arg) {
    world_t *w = arg;
    ferry_t *node = open_node("test");
    ferry_service_t *service = calls_open_service(node, &w->calls, NULL);
    check_is(ferry_service_start(service, 1), 0);
    allow_descriptors(highest_descriptor() + w->rounds);
    atomic_fetch_add(&w->ready, 1);
    while (!atomic_load(&w->leave))
        nap(MILLISECOND);
    allow_descriptors(1024);
    check_is(ferry_service_close(service, PATIENCE), 0);
    close_node(node);
}

static void call_the_needy(void *arg) {
    world_t *w = arg;
    ferry_t *node = open_node("test");
    ferry_client_t *client = NULL;
    check_is(ferry_client_open(node, SERVICE, NULL, &client), 0);
    for (unsigned i = 0; i < 2; i++) {
        int r = call_one(w, client, 100, 100);
        r = r < 0 ? r : call_one(w, client, 5000, 5000);
        if (r != 0 && r != -ECONNRESET && r != -ENOENT && r != FERRY_CALL_FAILED)
            fprintf(stderr, "# with %u descriptors: %s\n", w->rounds, ferry_last_error());
        check(r == 0 || r == -ECONNRESET || r == -ENOENT || r == FERRY_CALL_FAILED);
        atomic_fetch_add(r == 0 ? &w->results : &w->other, 1);
    }
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    close_node(node);
}

static void a_server_without_descriptors_tells_its_clients(void) {
    world_t *w = share(sizeof *w);
    for (w->rounds = 0; w->rounds < 24; w->rounds += FIRE_SLOW ? 4 : 1) {
        atomic_store(&w->ready, 0);
        atomic_store(&w->leave, 0);
        pid_t server = child_start(serve_with_few_descriptors, w);
        await(&w->ready, 1);
        child_join(child_start(call_the_needy, w));
        atomic_store(&w->leave, 1);
        child_join(server);
    }
    printf("# %u calls with a result, %u with an error\n", w->results, w->other);
    check(w->results > 0 && w->other > 0);
}

/* Its server dies, inside a call, when there are no descriptors to take the calls back with. */
static void lose_a_server_without_descriptors(void *arg) {
    world_t *w = arg;
    ferry_t *node = open_node("test");
    ferry_client_t *client = calls_open_client(node, 2);
    ferry_call_t *calls[20];
    ask_t asks[20];
    static unsigned char argument[ARGUMENT_MAX];
    for (unsigned i = 0; i < 20; i++)
        (void)call_one(w, client, 100, 100); /* both can answer */
    atomic_store(&w->busy, 0);
    atomic_store(&w->hold, 1);
    for (unsigned i = 0; i < 20; i++) {
        asks[i] = (ask_t){.number = calls_number(&w->calls, false), .size = 100, .answer = 100};
        ask_write(argument, &asks[i]);
        check_is(ferry_call_start(client, "once", argument, 100, 0, FERRY_FOREVER, &calls[i]), 0);
    }
    allow_descriptors(3);
    atomic_store(&w->ready, 10);
    for (unsigned i = 0; i < 20; i++) {
        int r = calls_finish(calls[i], &asks[i], PATIENCE);
        check(r == 0 || r == -ECONNRESET || r == -ENOENT);
        calls_judge(&w->calls, asks[i].number, r);
        atomic_fetch_add(r == 0 ? &w->results : &w->other, 1);
    }
    allow_descriptors(1024);
    check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    close_node(node);
}

static void serve_with_one_thread(void *arg) {
    serve(arg, 1);
}

static void calls_that_cannot_be_taken_back_end(void) {
    pid_t servers[2];
    world_t *w = share(sizeof *w);
    for (unsigned i = 0; i < 2; i++) {
        servers[i] = child_start(serve_with_one_thread, w);
        await(&w->ready, i + 1);
    }
    pid_t client = child_start(lose_a_server_without_descriptors, w);
    await(&w->ready, 10);
    int64_t end = clock_ns() + PATIENCE;
    while (atomic_load(&w->busy) == 0)
        check(clock_ns() < end);
    bool first = atomic_load(&w->busy) == servers[0];
    child_kill(servers[first ? 0 : 1]);
    atomic_store(&w->hold, 0);
    child_join(client);
    atomic_store(&w->leave, 1);
    child_join(servers[first ? 1 : 0]);
    printf("# %u calls with a result, %u with an error\n", w->results, w->other);
    check(w->other > 0);
    check_is(w->results + w->other, 20);
}

/* ---- no memory ---- */

static void limit_memory(rlim_t more) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (more) {
        limit.rlim_cur = (rlim_t)(status_of(getpid(), "VmSize:") * 1024 + more);
    }
    check_is(setrlimit(RLIMIT_AS, &limit), 0);
}

static void call_with_little_memory(void *arg) {
    world_t *w = arg;
    unsigned failed = 0;
    ferry_t *node = open_node("test");
    for (rlim_t more = 4096; more < (64u << 20); more *= 2) {
        ferry_client_t *client = NULL;
        limit_memory(more);
        int r = ferry_client_open(node, SERVICE, NULL, &client);
        if (r == 0) {
            r = call_once(w, client, 100, 100, PATIENCE / 4);
            r = r < 0 ? r : call_once(w, client, 60000, 60000, PATIENCE / 4);
        }
        limit_memory(0);
        /* -ETIMEDOUT: it could not even tell the server that it has no memory for answers. */
        if (r != 0 && r != -ENOMEM && r != -ENOENT && r != -ECONNRESET && r != -ETIMEDOUT)
            fprintf(stderr, "# %s\n", ferry_last_error());
        check(r == 0 || r == -ENOMEM || r == -ENOENT || r == -ECONNRESET || r == -ETIMEDOUT);
        failed += r != 0;
        if (client)
            check_is(ferry_client_close(client, FERRY_NOW, NULL), 0);
    }
    printf("# %u times in vain\n", failed);
    check(failed > 0);
    close_node(node);
}

static void a_client_without_memory_is_told_and_does_not_hang(void) {
    if (UNDER_SANITIZER) {
        printf("# a sanitizer needs more address space than there is\n");
        return;
    }
    world_t *w = share(sizeof *w);
    pid_t server = child_start(serve_with_two_threads, w);
    await(&w->ready, 1);
    child_join(child_start(call_with_little_memory, w));
    atomic_store(&w->leave, 1);
    child_join(server);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(in_a_storm_of_deadlines_and_cancelling_each_call_ends_once),
        TEST(a_client_without_descriptors_is_told_and_does_not_hang),
        TEST(a_server_without_descriptors_tells_its_clients),
        TEST(calls_that_cannot_be_taken_back_end),
        TEST(a_client_without_memory_is_told_and_does_not_hang),
    };
    return run_suite("call storm", tests, sizeof tests / sizeof tests[0], argc, argv);
}

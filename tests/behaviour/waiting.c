/* SPDX-License-Identifier: MIT
 *
 * waiting.c - every wait ends: by what it waits for, by its timeout, by a signal, by shutdown.
 */
#include "objects.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

/*
 * One thread with every end that can wait: a receiver without messages, a sender that is full, one without receivers,
 * and an object of each kind with another handle in its way.
 */
typedef struct ends {
    ferry_t *node;
    ferry_receiver_t *idle;
    ferry_sender_t *full;
    ferry_sender_t *lonely;
    object_t objects[KINDS];
    object_t obstacles[KINDS];
} ends_t;

static void open_objects(ends_t *ends, ferry_wait_t wait) {
    /* One thread that waits for itself is a deadlock, which shall not be the reason why a wait ends. */
    ferry_sync_options_t options = {.wait = wait, .deadlock_after = -1};
    for (kind_t kind = 0; kind < KINDS; kind++) {
        char name[16];
        snprintf(name, sizeof name, "object-%u", (unsigned)kind);
        ends->obstacles[kind] = obstacle_open(ends->node, kind, name);
        ends->objects[kind] = object_open(ends->node, kind, name, &options);
    }
}

static void close_objects(ends_t *ends) {
    for (kind_t kind = 0; kind < KINDS; kind++) {
        obstacle_close(&ends->obstacles[kind]);
        object_close(&ends->objects[kind]);
    }
}

static ends_t open_ends(ferry_wait_t wait) {
    ends_t ends = {.node = open_node("test")};
    ferry_receiver_options_t options = {.wait = wait};
    ferry_contract_t contract = {.capacity = 1, .wait = wait};
    ends.idle = open_receiver(ends.node, "idle", FERRY_QUEUE, &options);
    ends.full = open_sender(ends.node, "full", FERRY_QUEUE, &contract);
    ends.lonely = open_sender(ends.node, "lonely", FERRY_QUEUE, &contract);
    send_number(ends.full, 1);
    open_objects(&ends, wait);
    return ends;
}

static void close_ends(ends_t *ends) {
    close_objects(ends);
    close_receiver(ends->idle);
    check_is(drop_sender(ends->full), 1);
    check_is(drop_sender(ends->lonely), 0);
    close_node(ends->node);
}

/* ---- the calls that wait, each under one name ---- */

static int wait_recv(ends_t *ends, int64_t timeout) {
    ferry_msg_t *m = NULL;
    return ferry_recv(ends->idle, timeout, &m);
}

static int wait_recv_into(ends_t *ends, int64_t timeout) {
    char buf[8];
    size_t len;
    return ferry_recv_into(ends->idle, buf, sizeof buf, timeout, &len);
}

static int wait_recv_batch(ends_t *ends, int64_t timeout) {
    ferry_msg_t *m[4];
    return ferry_recv_batch(ends->idle, m, 4, timeout);
}

static int wait_send(ends_t *ends, int64_t timeout) {
    return ferry_send(ends->full, "x", 1, timeout);
}

static int wait_claim(ends_t *ends, int64_t timeout) {
    void *data;
    return ferry_claim(ends->full, 1, timeout, &data);
}

static int wait_flush(ends_t *ends, int64_t timeout) {
    return ferry_sender_flush(ends->full, timeout);
}

static int wait_for_receivers(ends_t *ends, int64_t timeout) {
    return ferry_sender_wait(ends->lonely, 1, timeout);
}

static int wait_poll(ends_t *ends, int64_t timeout) {
    ferry_pollitem_t items[] = {{.receiver = ends->idle, .events = FERRY_POLL_IN},
                                {.sender = ends->full, .events = FERRY_POLL_OUT}};
    return ferry_poll(items, 2, timeout);
}

/* clang-format off */
#define WAIT_FOR_OBJECT(name, kind)                                                                                    \
    static int name(ends_t *ends, int64_t timeout) { return object_take(&ends->objects[kind], timeout); }
/* clang-format on */

WAIT_FOR_OBJECT(wait_mutex, MUTEX)
WAIT_FOR_OBJECT(wait_writer, WRITER)
WAIT_FOR_OBJECT(wait_reader, READER)
WAIT_FOR_OBJECT(wait_owned_unit, OWNED)
WAIT_FOR_OBJECT(wait_plain_unit, PLAIN)
WAIT_FOR_OBJECT(wait_barrier, BARRIER)
WAIT_FOR_OBJECT(wait_event, EVENT)
WAIT_FOR_OBJECT(wait_auto_event, AUTO_EVENT)
WAIT_FOR_OBJECT(wait_later_set, LATER_SET)

typedef struct waiting_call {
    const char *name;
    int (*call)(ends_t *ends, int64_t timeout);
} waiting_call_t;

static const waiting_call_t calls[] = {
    {"recv", wait_recv},
    {"recv_into", wait_recv_into},
    {"recv_batch", wait_recv_batch},
    {"send", wait_send},
    {"claim", wait_claim},
    {"flush", wait_flush},
    {"wait", wait_for_receivers},
    {"poll", wait_poll},
    {"mutex", wait_mutex},
    {"writer", wait_writer},
    {"reader", wait_reader},
    {"owned unit", wait_owned_unit},
    {"plain unit", wait_plain_unit},
    {"barrier", wait_barrier},
    {"event", wait_event},
    {"auto-reset event", wait_auto_event},
    {"later set", wait_later_set},
};
#define CALLS (sizeof calls / sizeof calls[0])

static const ferry_wait_t policies[] = {FERRY_WAIT_ADAPTIVE, FERRY_WAIT_SPIN, FERRY_WAIT_BLOCK};

/* ---- timeouts ---- */

static void a_call_that_may_not_wait_says_so_at_once(void) {
    for (unsigned p = 0; p < 3; p++) {
        ends_t ends = open_ends(policies[p]);
        for (unsigned i = 0; i < CALLS; i++)
            check_is(calls[i].call(&ends, FERRY_NOW), calls[i].call == wait_poll ? 0 : -EAGAIN);
        close_ends(&ends);
    }
}

static void wait_long_enough(ends_t *ends, const waiting_call_t *call) {
    int64_t begin = monotonic();
    check_is(call->call(ends, 3 * MILLISECOND), call->call == wait_poll ? 0 : -ETIMEDOUT);
    check(monotonic() - begin >= 3 * MILLISECOND);
}

static void a_call_that_waited_long_enough_says_so(void) {
    for (unsigned p = 0; p < 3; p++) {
        ends_t ends = open_ends(policies[p]);
        for (unsigned i = 0; i < CALLS; i++)
            wait_long_enough(&ends, &calls[i]);
        close_ends(&ends);
    }
}

static void the_shortest_timeout_is_no_special_case(void) {
    ends_t ends = open_ends(FERRY_WAIT_BLOCK);
    for (unsigned i = 0; i < CALLS; i++)
        check_is(calls[i].call(&ends, 1), calls[i].call == wait_poll ? 0 : -ETIMEDOUT);
    close_ends(&ends);
}

/* Whoever gave up is forgotten: the object is free for others, and for itself. */
static void a_wait_that_ended_without_success_leaves_nothing_behind(void) {
    ends_t ends = open_ends(FERRY_WAIT_BLOCK);
    for (kind_t kind = 0; kind < BARRIER; kind++) {
        check_is(object_take(&ends.objects[kind], MILLISECOND), -ETIMEDOUT);
        obstacle_remove(&ends.obstacles[kind]);
        for (unsigned i = 0; i < 3; i++) {
            check_is(object_take(&ends.obstacles[kind], FERRY_NOW), 0);
            check_is(object_give(&ends.obstacles[kind]), 0);
            check_is(object_take(&ends.objects[kind], FERRY_NOW), 0);
            check_is(object_give(&ends.objects[kind]), 0);
        }
    }
    check_is(object_take(&ends.objects[BARRIER], MILLISECOND), -ETIMEDOUT);
    check_is(object_take(&ends.obstacles[BARRIER], FERRY_NOW), -EAGAIN);
    check_is(object_take(&ends.objects[AUTO_EVENT], MILLISECOND), -ETIMEDOUT);
    check_is(ferry_event_set(ends.obstacles[AUTO_EVENT].event), 0);
    check_is(object_take(&ends.obstacles[AUTO_EVENT], FERRY_NOW), 0);
    close_ends(&ends);
}

/* ---- signals ---- */

static atomic_int caught;
static ferry_t *node_to_shut_down;

static void catch_signal(int number) {
    (void)number;
    atomic_fetch_add(&caught, 1);
}

static void shut_down_from_handler(int number) {
    (void)number;
    atomic_fetch_add(&caught, 1);
    ferry_shutdown(node_to_shut_down);
}

typedef struct pest {
    pthread_t victim;
    atomic_uint stop;
} pest_t;

/* Signals again and again: one signal could come just before the call. */
static void *pester(void *arg) {
    pest_t *pest = arg;
    while (!atomic_load(&pest->stop)) {
        pthread_kill(pest->victim, SIGUSR1);
        nap(3 * MILLISECOND);
    }
    return NULL;
}

static void install(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    check_is(sigaction(number, &action, NULL), 0);
}

static void wait_under_signals(ends_t *ends, const waiting_call_t *call) {
    pthread_t thread;
    pest_t pest = {.victim = pthread_self()};
    check_is(pthread_create(&thread, NULL, pester, &pest), 0);
    int answer = call->call(ends, PATIENCE);
    atomic_store(&pest.stop, 1);
    pthread_join(thread, NULL);
    check_error(answer, -EINTR, "signal");
}

static void a_signal_ends_every_wait(void) {
    install(SIGUSR1, catch_signal);
    for (unsigned p = 0; p < 3; p++) {
        if (policies[p] == FERRY_WAIT_SPIN)
            continue; /* never in the kernel, so never interrupted */
        ends_t ends = open_ends(policies[p]);
        for (unsigned i = 0; i < CALLS; i++)
            wait_under_signals(&ends, &calls[i]);
        close_ends(&ends);
    }
    check(atomic_load(&caught) > 0);
}

static void a_signal_ends_the_linger_and_the_sender_is_still_open(void) {
    pthread_t thread;
    pest_t pest = {.victim = pthread_self()};
    install(SIGUSR1, catch_signal);
    ends_t ends = open_ends(FERRY_WAIT_BLOCK);
    uint64_t undelivered = 77;
    check_is(pthread_create(&thread, NULL, pester, &pest), 0);
    check_error(ferry_sender_close(ends.full, PATIENCE, &undelivered), -EINTR, "");
    atomic_store(&pest.stop, 1);
    pthread_join(thread, NULL);
    check_is(undelivered, 77);
    check_is(sender_stats(ends.full).unreleased, 1);
    close_ends(&ends);
}

static void a_signal_that_comes_while_messages_flow_loses_none(void) {
    pthread_t thread;
    pest_t pest = {.victim = pthread_self()};
    install(SIGUSR1, catch_signal);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    check_is(pthread_create(&thread, NULL, pester, &pest), 0);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t got = 0;
        size_t len = 0;
        int answer;
        do
            answer = ferry_send(tx, &i, sizeof i, PATIENCE);
        while (answer == -EINTR);
        check_is(answer, 0);
        do
            answer = ferry_recv_into(rx, &got, sizeof got, PATIENCE, &len);
        while (answer == -EINTR);
        check_is(answer, 0);
        check_is(got, i);
    }
    atomic_store(&pest.stop, 1);
    pthread_join(thread, NULL);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- shutdown ---- */

typedef struct sleeper {
    const waiting_call_t *call;
    ends_t *ends;
    int answer;
} sleeper_t;

static void *sleep_in_call(void *arg) {
    sleeper_t *sleeper = arg;
    sleeper->answer = sleeper->call->call(sleeper->ends, PATIENCE);
    return NULL;
}

static void shutdown_ends_every_wait_now_and_from_now_on(void) {
    for (unsigned p = 0; p < 3; p++) {
        for (unsigned i = 0; i < CALLS; i++) {
            ends_t ends = open_ends(policies[p]);
            sleeper_t sleeper = {.call = &calls[i], .ends = &ends};
            pthread_t thread;
            check_is(pthread_create(&thread, NULL, sleep_in_call, &sleeper), 0);
            nap(5 * MILLISECOND);
            check_is(ferry_shutdown(ends.node), 0);
            pthread_join(thread, NULL);
            check_is(sleeper.answer, -ESHUTDOWN);
            check(ferry_close(ends.node) >= 0); /* some of its ends were open, and one's last thread has ended */
        }
    }
}

static void a_shut_down_node_can_be_closed_end_by_end(void) {
    ends_t ends = open_ends(FERRY_WAIT_ADAPTIVE);
    ferry_receiver_t *late = NULL;
    object_t object;
    check_is(ferry_shutdown(ends.node), 0);
    check_is(ferry_shutdown(ends.node), 0);
    for (unsigned i = 0; i < CALLS; i++)
        check_error(calls[i].call(&ends, PATIENCE), -ESHUTDOWN, "shut");
    check_error(ferry_receiver_open(ends.node, "late", FERRY_QUEUE, NULL, &late), -ESHUTDOWN, "shut");
    for (kind_t kind = 0; kind < KINDS; kind++)
        check_error(object_try_open(ends.node, kind, "late", NULL, &object), -ESHUTDOWN, "shut");
    uint64_t undelivered = 0;
    check_is(ferry_sender_close(ends.full, PATIENCE, &undelivered), 0); /* does not linger any more */
    check_is(undelivered, 1);
    check_is(drop_sender(ends.lonely), 0);
    close_receiver(ends.idle);
    close_objects(&ends);
    close_node(ends.node);
}

static void shutdown_may_come_from_a_signal_handler(void) {
    for (unsigned p = 0; p < 3; p++) {
        ends_t ends = open_ends(policies[p]);
        node_to_shut_down = ends.node;
        install(SIGALRM, shut_down_from_handler);
        struct itimerval timer = {.it_value = {.tv_usec = 5000}};
        check_is(setitimer(ITIMER_REAL, &timer, NULL), 0);
        int answer;
        do
            answer = wait_recv(&ends, PATIENCE);
        while (answer == -EINTR);
        check_is(answer, -ESHUTDOWN);
        check_is(wait_send(&ends, PATIENCE), -ESHUTDOWN);
        close_ends(&ends);
    }
}

/* ---- receivers come ---- */

static void come_and_go(ferry_t *node, void *arg) {
    atomic_uint *stage = arg;
    await(stage, 1);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    await(stage, 2);
    close_receiver(rx);
    atomic_store(stage, 3);
}

static void a_sender_waits_for_its_receivers(where_t where) {
    atomic_uint *stage = share(sizeof *stage);
    crew_t *crew = crew_begin(where);
    crew_add(crew, come_and_go, stage);
    crew_add(crew, come_and_go, stage);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 0, FERRY_NOW), 0);
    check_error(ferry_sender_wait(tx, 2, FERRY_NOW), -EAGAIN, "");
    atomic_store(stage, 1);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    check_is(sender_stats(tx).receivers, 2);
    check_error(ferry_sender_wait(tx, 3, 5 * MILLISECOND), -ETIMEDOUT, "");
    atomic_store(stage, 2);
    close_sender(tx);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_call_that_may_not_wait_says_so_at_once),
        TEST(a_call_that_waited_long_enough_says_so),
        TEST(the_shortest_timeout_is_no_special_case),
        TEST(a_wait_that_ended_without_success_leaves_nothing_behind),
        TEST(a_signal_ends_every_wait),
        TEST(a_signal_ends_the_linger_and_the_sender_is_still_open),
        TEST(a_signal_that_comes_while_messages_flow_loses_none),
        TEST(shutdown_ends_every_wait_now_and_from_now_on),
        TEST(a_shut_down_node_can_be_closed_end_by_end),
        TEST(shutdown_may_come_from_a_signal_handler),
        TEST_BOTH(a_sender_waits_for_its_receivers),
    };
    return run_suite("waiting", tests, sizeof tests / sizeof tests[0], argc, argv);
}

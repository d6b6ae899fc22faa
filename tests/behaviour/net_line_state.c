/* SPDX-License-Identifier: MIT
 *
 * net_line_state.c - what the engine keeps, and calls, over lines that end at random: a durable queue, cells,
 * procedures.
 */
#include "calls.h"
#include "cells.h"
#include "lines.h"

#define MESSAGES 20000u
#define CUTS 3u

/* The machine at the other end, until it is told to go. */
static pid_t start_there(lines_t *s, void (*run)(void *arg)) {
    pid_t there = child_start(run, s);
    await(&s->ready, 1);
    return there;
}

static void lose(lines_t *s, uint64_t each) {
    relay_lose_each(s->near, each);
    relay_lose_each(s->far, each);
}

/* ---- durable queues ---- */

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

static void receive_durable(void *arg) {
    static unsigned char seen[MESSAGES];
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "there", s->far);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    atomic_store(&s->ready, 1);
    unsigned got = 0;
    while (atomic_load(&s->sent) == 0 || got < atomic_load(&s->sent)) {
        ferry_msg_t *m;
        if (ferry_recv(rx, MILLISECOND, &m) < 0)
            continue;
        uint64_t number = number_in(m);
        check(number < MESSAGES && (seen[number] == 0 || info_of(m).attempt > 1));
        got += seen[number] == 0;
        seen[number] = 1;
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

/* On the way to the engine: what is lost on the way from there comes again, but only after seconds. */
static void a_durable_queue_stores_each_message(void) {
    lines_t *s = lines_new();
    pid_t there = start_there(s, receive_durable);
    ferry_t *node = lines_node(s, "here", s->near);
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    uint64_t i = 0;
    relay_lose_each(s->near, 20000);
    for (; relay_cuts(s->near) < CUTS && i < MESSAGES; i++) {
        send_number(tx, i);
        if (i % 20 == 0)
            nap(MILLISECOND);
    }
    relay_lose_each(s->near, 0);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    atomic_store(&s->sent, (unsigned)i);
    child_join(there);
    close_sender(tx);
    close_node(node);
    lines_end(s);
}

/* ---- cells ---- */

#define EACH 30

static void count_up(lines_t *s, const char *machine, const relay_t *line) {
    const ferry_cell_options_t options = {.patience = PATIENCE};
    ferry_t *node = lines_node(s, machine, line);
    ferry_cell_t *cell = open_cell(node, "count", &options);
    for (int i = 0; i < EACH;) {
        uint64_t number = 0, version = 0;
        size_t len;
        int r = ferry_cell_get(cell, &number, sizeof number, &len, &version);
        check(r == 0 || r == -ENODATA);
        number = r == 0 ? number + 1 : 1;
        r = ferry_cell_cas(cell, version, &number, sizeof number, NULL);
        check(r == 0 || r == -ESTALE);
        i += r == 0;
    }
    close_cell(cell);
    close_node(node);
}

static void count_there(void *arg) {
    lines_t *s = arg;
    atomic_store(&s->ready, 1);
    await(&s->sent, 1);
    count_up(s, "there", s->far);
}

static void no_increment_of_a_cell_is_lost_or_made_twice(void) {
    lines_t *s = lines_new();
    pid_t there = start_there(s, count_there);
    lose(s, 8000);
    atomic_store(&s->sent, 1);
    count_up(s, "here", s->near);
    child_join(there);
    lose(s, 0);
    check(relay_cuts(s->near) + relay_cuts(s->far) > 0);
    ferry_t *node = lines_node(s, "last", s->near);
    ferry_cell_t *cell = open_cell(node, "count", NULL);
    check_is(get_number(cell, 0, NULL), 2 * EACH);
    close_cell(cell);
    close_node(node);
    lines_end(s);
}

/* ---- calls ---- */

static int run(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    lines_t *s = arg;
    atomic_fetch_add(&s->received, 1);
    return ferry_reply(rq, data, size);
}

static void serve_there(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "there", s->far);
    ferry_service_t *service = open_service(node, "bank", NULL);
    const ferry_method_options_t idempotent = {.idempotent = 1};
    check_is(ferry_service_method(service, "again", run, s, &idempotent), 0);
    add_method(service, "once", run, s);
    check_is(ferry_service_start(service, 2), 0);
    atomic_store(&s->ready, 1);
    while (atomic_load(&s->sent) == 0)
        nap(MILLISECOND);
    close_service(service);
    close_node(node);
}

/* Its result, or what became of it: nothing (nobody could be reached), or it is not known. */
static void call_one(lines_t *s, ferry_client_t *client, uint64_t number, bool once) {
    unsigned before = atomic_load(&s->received);
    ferry_msg_t *m = NULL;
    int r = ferry_call(client, once ? "once" : "again", &number, sizeof number, PATIENCE, &m);
    unsigned runs = atomic_load(&s->received) - before;
    if (r == 0) {
        check_is(number_in(m), number);
        check(once ? runs == 1 : runs >= 1);
        release(m);
    } else if (r == -ENOENT) {
        check_is(runs, 0);
    } else {
        check_is(r, -ECONNRESET);
        check(once && runs <= 1);
    }
}

static void a_call_is_answered_or_says_what_became_of_it(void) {
    lines_t *s = lines_new();
    pid_t there = start_there(s, serve_there);
    ferry_t *node = lines_node(s, "here", s->near);
    ferry_client_t *client = open_client(node, "bank", 0);
    lose(s, 15000);
    for (uint64_t i = 0; i < 4000 && relay_cuts(s->near) + relay_cuts(s->far) < 2; i++)
        call_one(s, client, i, i % 2 == 0);
    lose(s, 0);
    while (ferry_call(client, "again", "", 0, PATIENCE, NULL) != 0)
        nap(MILLISECOND); /* it has recovered; else this test hangs */
    atomic_store(&s->sent, 1);
    child_join(there);
    close_client(client);
    close_node(node);
    lines_end(s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_durable_queue_stores_each_message),
        TEST(no_increment_of_a_cell_is_lost_or_made_twice),
        TEST(a_call_is_answered_or_says_what_became_of_it),
    };
    return run_suite("net_line_state", tests, sizeof tests / sizeof tests[0], argc, argv);
}

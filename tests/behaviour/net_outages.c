/* SPDX-License-Identifier: MIT
 *
 * net_outages.c - queues, topics and calls while a line to the server is gone: refused, half open, or for so long that
 * its node is given up.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "calls.h"
#include "lines.h"

#define MESSAGES 3000u

static atomic_uint *tries;

static bool do_all_come_in_a_second_try(void) {
    lines_t *s = lines_new();
    numbers_t n = numbers_begin(s);
    numbers_send(s, &n, 10);
    return numbers_end(s, &n) && atomic_fetch_add(tries, 1) > 0;
}

/* What others here ask of a machine that stands still now and then. */
static void two_machines_can_be_tried_again(void) {
    tries = share(sizeof *tries);
    check_in_some_process(do_all_come_in_a_second_try, "two machines can be tried again");
}

static bool does_what_is_sent_without_a_server_come(void) {
    lines_t *s = lines_new();
    numbers_t n = numbers_begin(s);
    numbers_send(s, &n, 100);
    relay_refuse(s->near, true);
    numbers_send(s, &n, 2000);
    int64_t before = monotonic();
    check_error(ferry_sender_flush(n.queue, 300 * MILLISECOND), -ETIMEDOUT, "");
    check(monotonic() - before < PATIENCE / 2);
    relay_refuse(s->far, true); /* and the other side, too */
    relay_refuse(s->near, false);
    numbers_send(s, &n, MESSAGES);
    nap(100 * MILLISECOND);
    relay_refuse(s->far, false);
    return numbers_end(s, &n);
}

static void what_is_sent_while_no_server_can_be_reached_waits(void) {
    check_in_some_process(does_what_is_sent_without_a_server_come,
                          "what is sent while no server can be reached comes, and no node is given up");
}

static bool does_all_come_over_half_open_lines(void) {
    lines_t *s = lines_new();
    numbers_t n = numbers_begin(s);
    numbers_send(s, &n, 1000);
    relay_swallow(s->near, true);
    numbers_send(s, &n, 2000);
    nap(800 * MILLISECOND);
    relay_swallow(s->far, true);
    nap(800 * MILLISECOND);
    relay_swallow(s->near, false);
    numbers_send(s, &n, MESSAGES);
    nap(800 * MILLISECOND);
    relay_swallow(s->far, false);
    return numbers_end(s, &n);
}

/* Where the machine stands still, its two seconds may pass: this is not asked here. */
static void half_open_lines_are_noticed_and_nothing_is_lost(void) {
    check_in_some_process(does_all_come_over_half_open_lines,
                          "over half open lines all comes, and no node is given up");
}

/* ---- for longer than a node may be silent ---- */

#define MISSED 10u

/* Each number, but for those that it is told it has missed: until so many are, or, with 0, until the others have
 * gone. */
static void receive_news(lines_t *s, unsigned until_missed) {
    const ferry_receiver_options_t stays = {.size = sizeof stays, .senders = UINT32_MAX};
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, &stays);
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    uint64_t next = 0, missed = 0;
    atomic_store(&s->ready, 1);
    while (check_is(ferry_receiver_stats(rx, &stats), 0), stats.senders == 0)
        nap(MILLISECOND);
    atomic_store(&s->ready, 2);
    while (until_missed ? missed < until_missed : !atomic_load(&s->over)) {
        ferry_msg_t *m;
        if (ferry_recv(rx, 10 * MILLISECOND, &m) < 0)
            continue;
        uint64_t number = number_in(m);
        check_is(info_of(m).lost_before, number - next);
        missed += number - next;
        next = number + 1;
        release(m);
        atomic_store(&s->received, (unsigned)next);
    }
    check_is(ferry_receiver_stats(rx, &stats), 0);
    check_is(stats.lost, missed);
    atomic_store(&s->given_up, missed > 0);
    close_receiver(rx);
    close_node(node);
}

static void receive_until_some_were_missed(void *arg) {
    receive_news(arg, MISSED);
    lines_t *s = arg;
    atomic_store(&s->over, 1);
}

static void receive_until_over(void *arg) {
    receive_news(arg, 0);
}

static bool is_linked_with_nobody(void *arg) {
    ferry_sender_stats_t stats = {.size = sizeof stats};
    check_is(ferry_sender_stats(arg, &stats), 0);
    return stats.receivers == 0;
}

static void send_next(lines_t *s, ferry_sender_t *tx) {
    send_number(tx, atomic_fetch_add(&s->sent, 1));
}

static void check_missing(unsigned before) {
    lines_t *s = lines_new();
    pid_t receiver = child_start(receive_until_some_were_missed, s);
    await(&s->ready, 1);
    ferry_t *node = lines_node(s, "sender", s->near);
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, NULL);
    await(&s->ready, 2);
    while (atomic_load(&s->sent) < before)
        send_next(s, tx);
    await(&s->received, before);
    relay_refuse(s->far, true);
    await_that(is_linked_with_nobody, tx, "the sender's node has not given up the receiver's");
    while (atomic_load(&s->sent) < before + MISSED)
        send_next(s, tx);
    relay_refuse(s->far, false);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (int64_t end = monotonic() + PATIENCE; !atomic_load(&s->over) && monotonic() < end; nap(MILLISECOND))
        send_next(s, tx);
    check(atomic_load(&s->over));
    child_join(receiver);
    (void)drop_sender(tx);
    close_node(node);
    lines_end(s);
}

static void a_receiver_that_was_given_up_is_told_what_it_has_missed(void) {
    check_missing(100);
}

static void a_receiver_that_was_given_up_before_it_got_anything_is_told_so(void) {
    check_missing(0);
}

static void send_until_over(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "sender", s->near);
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, NULL);
    await(&s->ready, 2);
    for (; !atomic_load(&s->over); nap(MILLISECOND))
        send_next(s, tx);
    (void)drop_sender(tx);
    close_node(node);
}

/* It hears that the other's connection is gone, then nothing while it is stopped; what came meanwhile it hears in any
 * order. */
static bool does_who_was_stopped_give_up_nobody(void) {
    lines_t *s = lines_new();
    pid_t receiver = child_start(receive_until_over, s);
    await(&s->ready, 1);
    pid_t sender = child_start(send_until_over, s);
    await(&s->received, 100);
    relay_refuse(s->far, true);
    nap(400 * MILLISECOND);
    check_is(kill(sender, SIGSTOP), 0);
    relay_refuse(s->far, false);
    nap(2500 * MILLISECOND);
    check_is(kill(sender, SIGCONT), 0);
    await(&s->received, atomic_load(&s->sent) + 500);
    atomic_store(&s->over, 1);
    child_join(sender);
    child_join(receiver);
    lines_end(s);
    return !atomic_load(&s->given_up);
}

static void who_was_stopped_itself_gives_nobody_up_for_that(void) {
    check_in_some_process(does_who_was_stopped_give_up_nobody, "who was stopped itself gives up nobody");
}

/* ---- while an end is opened ---- */

static const ferry_contract_t frames = {.size = sizeof frames, .type_name = "frame"};
static const ferry_contract_t poses = {.size = sizeof poses, .type_name = "pose"};

static void open_what_contradicts(void *arg) {
    lines_t *s = arg;
    ferry_sender_t *tx = NULL;
    ferry_t *node = lines_node(s, "sender", s->far);
    atomic_store(&s->ready, 1);
    int r = ferry_sender_open(node, "cam", FERRY_QUEUE, &poses, &tx);
    check(r == 0 || r == -EPROTOTYPE);
    atomic_store(&s->over, r == -EPROTOTYPE);
    if (r == 0)
        (void)drop_sender(tx);
    close_node(node);
}

/* First the server is asked what kind of channel that is, for 0.4 s, then others. Their answer comes while it is
 * stopped, for longer than it waits otherwise. */
static bool is_who_was_stopped_told_of_a_contradiction(void) {
    const ferry_receiver_options_t wants = {.size = sizeof wants, .contract = &frames};
    lines_t *s = lines_new();
    relay_delay(s->far, 200 * MILLISECOND);
    pid_t other = child_start(open_what_contradicts, s);
    ferry_t *node = lines_node(s, "receiver", s->near);
    ferry_receiver_t *rx = open_receiver(node, "cam", FERRY_QUEUE, &wants);
    await(&s->ready, 1);
    nap(600 * MILLISECOND);
    check_is(kill(other, SIGSTOP), 0);
    nap(2000 * MILLISECOND);
    check_is(kill(other, SIGCONT), 0);
    child_join(other);
    close_receiver(rx);
    close_node(node);
    bool told = atomic_load(&s->over);
    lines_end(s);
    return told;
}

static void who_was_stopped_while_it_opened_an_end_is_told_of_a_contradiction(void) {
    check_in_some_process(is_who_was_stopped_told_of_a_contradiction,
                          "who was stopped while it opened an end is told of a contradiction");
}

/* ---- calls that are kept ---- */

#define LOADS 72u
#define LOAD 400000u /* bytes: all of them take 3.6 s on a line of 8 MB/s, longer than a silent server is waited for */

typedef struct depot {
    lines_t *lines;
    server_t *server;
    atomic_uint unloaded, one_way;
} depot_t;

static int unload(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    depot_t *depot = arg;
    (void)data;
    atomic_fetch_add(size == LOAD ? &depot->unloaded : &depot->one_way, size > 0);
    return ferry_reply(rq, NULL, 0);
}

static void serve_depot(void *arg) {
    depot_t *depot = arg;
    ferry_t *node = lines_node(depot->lines, "depot", depot->lines->far);
    serve(node, depot->server);
    close_node(node);
}

static depot_t *new_depot(void) {
    const method_t method = {.name = "unload", .handler = unload};
    depot_t *depot = share(sizeof *depot);
    depot->lines = lines_new();
    depot->server = new_server("depot", 1, &method, 1, depot);
    return depot;
}

/* Once there is a connection again, what was kept before is still in the way. */
static void call_behind_the_loads(depot_t *depot, ferry_client_t *client) {
    check_error(ferry_call_one_way(client, "unload", "", 1, 100 * MILLISECOND), -ETIME, "not sent");
    relay_throttle(depot->lines->near, 8000000);
    relay_refuse(depot->lines->near, false);
    int64_t limit = monotonic() + PATIENCE;
    while (atomic_load(&depot->unloaded) == 0 && monotonic() < limit)
        nap(10 * MILLISECOND);
    int r = ferry_call_one_way(client, "unload", "", 1, 100 * MILLISECOND);
    check(r == -ETIME || r == 0);
    nap(200 * MILLISECOND);
    check_is(atomic_load(&depot->one_way), r == 0); /* now, or never */
}

/* False: the machine stood still for so long that the connection was given up again, and an answer was lost with it, as
 * its caller was told. */
static bool are_all_answered(ferry_call_t *const *calls) {
    bool all = true;
    for (unsigned i = 0; i < LOADS; i++) {
        int r = ferry_call_wait(calls[i], 2 * PATIENCE, NULL);
        check(r == 0 || r == -ECONNRESET);
        all = all && r == 0;
        release_call(calls[i]);
    }
    return all;
}

static bool is_what_is_kept_run(void) {
    static unsigned char load[LOAD];
    ferry_call_t *calls[LOADS];
    depot_t *depot = new_depot();
    pid_t server = child_start(serve_depot, depot);
    ferry_t *node = lines_node(depot->lines, "caller", depot->lines->near);
    ferry_client_t *client = open_client(node, "depot", 1);
    relay_refuse(depot->lines->near, true);
    while (ferry_call(client, "unload", NULL, 0, 50 * MILLISECOND, NULL) == 0 || !strstr(ferry_last_error(), "not run"))
        continue;
    for (unsigned i = 0; i < LOADS; i++)
        check_is(ferry_call_start(client, "unload", load, LOAD, 0, 2 * PATIENCE, &calls[i]), 0);
    call_behind_the_loads(depot, client);
    bool answered = are_all_answered(calls);
    check(atomic_load(&depot->unloaded) <= LOADS && (atomic_load(&depot->unloaded) == LOADS || !answered));
    close_client(client);
    close_node(node);
    stop_server(depot->server);
    child_join(server);
    lines_end(depot->lines);
    return answered;
}

static void what_is_kept_without_a_connection_is_run_once_or_in_time(void) {
    check_in_some_process(is_what_is_kept_run, "what is kept without a connection is run, and answered");
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(two_machines_can_be_tried_again),
        TEST(what_is_sent_while_no_server_can_be_reached_waits),
        TEST(half_open_lines_are_noticed_and_nothing_is_lost),
        TEST(a_receiver_that_was_given_up_is_told_what_it_has_missed),
        TEST(a_receiver_that_was_given_up_before_it_got_anything_is_told_so),
        TEST(who_was_stopped_itself_gives_nobody_up_for_that),
        TEST(who_was_stopped_while_it_opened_an_end_is_told_of_a_contradiction),
        TEST(what_is_kept_without_a_connection_is_run_once_or_in_time),
    };
    return run_suite("net_outages", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_way.c - the connection on which durable messages come and go: what it keeps in memory, what is still on its way
 * there when a receiver leaves, and what was asked on one that has ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay.h"
#include "stranger.h"
#include "traces.h"

#define LARGE ((size_t)1 << 20)
#define MIB 1024 /* in KiB */

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE, .quota = 128 * LARGE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

/* What the processes of a test share. */
typedef struct stage {
    engine_t *engine;
    relay_t *line; /* of the receiver */
    atomic_uint step;
} stage_t;

static stage_t *stage_new(void) {
    engine_t *engine = engine_start();
    relay_t *line = relay_start(engine);
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    s->line = line;
    return s;
}

static ferry_t *on(const stage_t *s, const char *machine) {
    engine_machine(s->engine, machine);
    return open_node(engine_space(s->engine));
}

static ferry_t *behind_line(const stage_t *s) {
    engine_machine(s->engine, "far");
    return open_node(relay_space(s->line));
}

static void stage_end(stage_t *s) {
    relay_stop(s->line);
    engine_stop(s->engine);
}

static void send_numbers(ferry_t *node, unsigned count) {
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    for (unsigned i = 0; i < count; i++)
        send_number(tx, i);
    close_sender(tx);
}

static void take_numbers(ferry_receiver_t *rx, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        release(receive(rx));
}

/* ---- memory ---- */

#define SENDERS 4
#define EACH 8

/* What waits does so with its sender, not once more in the connection. */
static void what_a_server_does_not_take_is_not_kept_twice(void) {
    static const unsigned char bytes[LARGE / 2];
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        tx[i] = open_sender(node, "jobs", FERRY_QUEUE, &durable);
        check_is(ferry_send(tx[i], bytes, sizeof bytes, PATIENCE), 0);
        check_is(ferry_sender_flush(tx[i], PATIENCE), 0);
    }
    engine_freeze(s->engine);
    long before = own_memory();
    for (int i = 0; i < SENDERS * EACH; i++)
        check_is(ferry_send(tx[i % SENDERS], bytes, sizeof bytes, PATIENCE), 0);
    nap(100 * MILLISECOND);
    check(UNDER_SANITIZER /* it has memory of its own for each byte */ || own_memory() - before < 5 * MIB); /* of 16 */
    engine_thaw(s->engine);
    for (int i = 0; i < SENDERS; i++)
        close_sender(tx[i]);
    close_node(node);
    stage_end(s);
}

/* ---- leaving ---- */

#define NUMBERS 600u

static void take_some_and_leave(void *arg) {
    stage_t *s = arg;
    ferry_t *node = behind_line(s);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    take_numbers(rx, NUMBERS / 3);
    close_receiver(rx);
    atomic_store(&s->step, 1);
    close_node(node);
}

/* The engine has counted it as delivered: nobody would get it for six seconds. */
static void what_is_on_its_way_to_who_leaves_goes_to_others_at_once(void) {
    stage_t *s = stage_new();
    pid_t receiver = child_start(take_some_and_leave, s);
    relay_delay(s->line, 10 * MILLISECOND);
    ferry_t *node = on(s, "a");
    send_numbers(node, NUMBERS);
    await(&s->step, 1);
    int64_t before = monotonic();
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    take_numbers(rx, NUMBERS - NUMBERS / 3);
    check(monotonic() - before < 4 * SECOND);
    child_join(receiver);
    close_receiver(rx);
    close_node(node);
    stage_end(s);
}

/* What is said on two connections the server may hear in any order: if it is given back a message before it knows that
 * nobody listens there any more, it delivers it there once more, or begins to count anew. */
static void what_who_leaves_had_comes_to_others_as_the_next_attempt(void) {
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a"), *b = on(s, "b");
    ferry_sender_t *tx = open_sender(a, "jobs", FERRY_QUEUE, &durable);
    for (unsigned i = 0; i < 8; i++) {
        ferry_receiver_t *rx = open_receiver(a, "jobs", FERRY_QUEUE, &takes_durable);
        send_number(tx, i);
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, 1);
        check_is(ferry_receiver_close(rx), 1);
        release(m);
        nap(50 * MILLISECOND);
        rx = open_receiver(b, "jobs", FERRY_QUEUE, &takes_durable);
        m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, 2);
        release(m);
        close_receiver(rx);
    }
    close_sender(tx);
    close_node(a);
    close_node(b);
    stage_end(s);
}

/* With an id of its own: a server that was started anew takes it again. */
static void put_again(stage_t *s) {
    static const char head[] = "NATS/1.0\r\nNats-Msg-Id: 00000000000000aa-1-1\r\n\r\n";
    char text[STRANGER_TEXT], frame[300];
    int fd = stranger_new(s->engine, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n");
    snprintf(frame, sizeof frame, "HPUB ferry.test.q.jobs.other %zu %zu\r\n%s12345678\r\n", sizeof head - 1,
             sizeof head - 1 + 8, head);
    stranger_say(fd, frame, strlen(frame));
    (void)stranger_hears(fd, text);
    close(fd);
}

static void release_and_leave(void *arg) {
    stage_t *s = arg;
    ferry_t *node = behind_line(s);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    atomic_store(&s->step, 1);
    release(receive(rx));
    atomic_store(&s->step, 2);
    await(&s->step, 3);
    release(receive(rx)); /* it is there, and asks again */
    relay_delay(s->line, 150 * MILLISECOND);
    atomic_store(&s->step, 4);
    await(&s->step, 5);
    close_receiver(rx);
    close_node(node);
}

/* What comes again is acknowledged by who has released it, also if he is just leaving. */
static void what_was_released_by_who_leaves_does_not_go_to_others(void) {
    stage_t *s = stage_new();
    pid_t receiver = child_start(release_and_leave, s);
    await(&s->step, 1);
    put_again(s);
    await(&s->step, 2);
    nap(100 * MILLISECOND);
    engine_restart(s->engine);
    ferry_t *node = on(s, "a");
    send_numbers(node, 1);
    atomic_store(&s->step, 3);
    await(&s->step, 4);
    put_again(s);
    nap(50 * MILLISECOND);
    atomic_store(&s->step, 5);
    child_join(receiver);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    ferry_msg_t *m;
    check_error(ferry_recv(rx, 300 * MILLISECOND, &m), -ETIMEDOUT, "");
    close_receiver(rx);
    close_node(node);
    stage_end(s);
}

/* ---- a connection that has ended ---- */

static void hold_what_comes(void *arg) {
    stage_t *s = arg;
    ferry_t *node = behind_line(s);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    nap(700 * MILLISECOND); /* the first question is short */
    atomic_store(&s->step, 1);
    await(&s->step, 2);
    close_receiver(rx);
    close_node(node);
}

/* Of ten, that is, since the other one has two ahead, and no more. */
static void check_that_eight_come_here(stage_t *s, pid_t holder) {
    ferry_t *node = on(s, "a");
    send_numbers(node, 10);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    take_numbers(rx, 8);
    atomic_store(&s->step, 2);
    child_join(holder);
    close_receiver(rx);
    close_node(node);
    stage_end(s);
}

static bool is_made_anew(void *arg) {
    return relay_accepted(arg) == 6;
}

/* The server would send what was asked for there to who asks anew, besides what that one asks for. */
static void what_was_asked_on_a_connection_that_has_ended_holds_no_more(void) {
    stage_t *s = stage_new();
    pid_t holder = child_start(hold_what_comes, s);
    await(&s->step, 1);
    relay_cut(s->line);
    await_that(is_made_anew, s->line, "the connections have not been made anew");
    nap(200 * MILLISECOND);
    check_that_eight_come_here(s, holder);
}

/* Places of a node's connections, in the order in which they are made. */
enum { CONTROL, BULK, WAY };

/* What was asked on the way holds still: who asked again would have twice as much sent to him. */
static void the_loss_of_another_connection_does_not_ask_twice(void) {
    stage_t *s = stage_new();
    pid_t holder = child_start(hold_what_comes, s);
    await(&s->step, 1);
    for (unsigned i = CONTROL; i <= BULK; i++) {
        unsigned before = relay_accepted(s->line);
        relay_cut_one(s->line, i);
        while (relay_accepted(s->line) == before)
            nap(5 * MILLISECOND);
        nap(100 * MILLISECOND);
    }
    check_that_eight_come_here(s, holder);
}

/* Takes one, and makes it known that it is slow: so nothing more is asked for than was before. */
static void reject_after_a_loss(void *arg) {
    stage_t *s = arg;
    ferry_t *node = behind_line(s);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    nap(700 * MILLISECOND); /* the first question is short */
    atomic_store(&s->step, 1);
    ferry_msg_t *slow = receive(rx);
    nap(600 * MILLISECOND);
    atomic_store(&s->step, 2);
    ferry_msg_t *m = receive(rx);
    release(slow);
    nap(50 * MILLISECOND);
    relay_cut(s->line);
    await_that(is_made_anew, s->line, "the connections have not been made anew");
    nap(150 * MILLISECOND);
    check_is(ferry_msg_reject(m, 0), 0);
    m = receive(rx);
    check_is(number_in(m), 1);
    check_is(info_of(m).attempt, 2);
    release(m);
    close_receiver(rx);
    close_node(node);
}

/* The server would deliver again to who is there no more, and begin to count anew. */
static void attempts_are_counted_on_after_a_loss(void) {
    stage_t *s = stage_new();
    pid_t receiver = child_start(reject_after_a_loss, s);
    await(&s->step, 1);
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    send_number(tx, 0);
    await(&s->step, 2);
    send_number(tx, 1);
    close_sender(tx);
    child_join(receiver);
    close_node(node);
    stage_end(s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_a_server_does_not_take_is_not_kept_twice),
        TEST(what_is_on_its_way_to_who_leaves_goes_to_others_at_once),
        TEST(what_who_leaves_had_comes_to_others_as_the_next_attempt),
        TEST(what_was_released_by_who_leaves_does_not_go_to_others),
        TEST(what_was_asked_on_a_connection_that_has_ended_holds_no_more),
        TEST(the_loss_of_another_connection_does_not_ask_twice),
        TEST(attempts_are_counted_on_after_a_loss),
    };
    return run_suite("net_way", tests, sizeof tests / sizeof tests[0], argc, argv);
}

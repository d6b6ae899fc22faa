/* SPDX-License-Identifier: MIT
 *
 * net_work.c - what receivers may ask of a queue and of a topic, between machines: to try again later, a time to
 * acknowledge, dead letters, no more at once than can be done, the newest only.
 *
 * Each test has a server of its own; both machines' nodes are this process's (engine.h).
 */
#include <string.h>

#include "engine.h"

#define TAGS 20u
#define ROUNDS 50u

typedef struct pair {
    engine_t *engine;
    ferry_t *here, *there;
} pair_t;

static ferry_t *on(const pair_t *p, const char *machine) {
    engine_machine(p->engine, machine);
    return open_node(engine_space(p->engine));
}

static pair_t pair_open(void) {
    pair_t p = {.engine = engine_start()};
    p.here = on(&p, "here");
    p.there = on(&p, "there");
    return p;
}

static void pair_close(pair_t *p) {
    close_node(p->here);
    close_node(p->there);
    engine_stop(p->engine);
}

static void expect_nothing(ferry_receiver_t *rx) {
    ferry_msg_t *none;
    check_error(ferry_recv(rx, 20 * MILLISECOND, &none), -ETIMEDOUT, "");
}

/* ---- queues ---- */

static void what_is_rejected_elsewhere_comes_again_when_it_shall(void) {
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(p.there, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 3; i++) {
        send_number(tx, i);
    }
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 0);
    int64_t rejected = monotonic();
    check_is(ferry_msg_reject(m, 60 * MILLISECOND), 0);
    check_is(receive_number(rx), 1);
    check_is(receive_number(rx), 2);
    check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN); /* its sender has it still */
    m = receive(rx);
    check(monotonic() - rejected >= 60 * MILLISECOND);
    check_is(number_in(m), 0);
    check_is(info_of(m).attempt, 2);
    check_is(info_of(m).sequence, 1);
    release(m);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(rx);
    pair_close(&p);
}

static void reject_thrice(ferry_receiver_t *rx, uint64_t number, int64_t delay) {
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), number);
        check_is(info_of(m).attempt, attempt);
        check_is(ferry_msg_reject(m, attempt == 3 ? delay : 0), 0);
    }
}

static void what_waits_elsewhere_for_its_next_attempt_goes_to_another_machine_when_its_receiver_closes(void) {
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *far = open_receiver(p.there, "work", FERRY_QUEUE, NULL);
    send_number(tx, 7);
    int64_t before = monotonic();
    reject_thrice(far, 7, 200 * MILLISECOND);
    send_number(tx, 8);
    send_number(tx, 9);
    check_is(receive_number(far), 8);
    ferry_receiver_t *near = open_receiver(p.here, "work", FERRY_QUEUE, NULL);
    close_receiver(far); /* it has not taken the last one */
    ferry_msg_t *m = receive(near);
    check_is(number_in(m), 9);
    check_is(info_of(m).attempt, 1);
    release(m);
    m = receive(near);
    check(monotonic() - before >= 200 * MILLISECOND);
    check_is(number_in(m), 7);
    check_is(info_of(m).attempt, 4);
    release(m);
    close_sender(tx);
    close_receiver(near);
    pair_close(&p);
}

typedef struct stage {
    engine_t *engine;
    atomic_uint step;
} stage_t;

static void reject_and_be_killed(void *arg) {
    stage_t *s = arg;
    engine_machine(s->engine, "mortal");
    ferry_t *node = open_node(engine_space(s->engine));
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_store(&s->step, 1);
    reject_thrice(rx, 7, 3600 * SECOND);
    atomic_store(&s->step, 2);
    check_is(receive_number(rx), 8);
    (void)receive(rx);
    atomic_store(&s->step, 3);
    nap(60 * SECOND);
}

static void a_machine_that_dies_takes_neither_its_releases_nor_its_rejections_back(void) {
    stage_t *s = share(sizeof *s);
    s->engine = engine_start();
    pid_t mortal = child_start(reject_and_be_killed, s);
    await(&s->step, 1);
    engine_machine(s->engine, "here");
    ferry_t *node = open_node(engine_space(s->engine));
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 7);
    await(&s->step, 2);
    send_number(tx, 8);
    send_number(tx, 9);
    await(&s->step, 3);
    while (sender_stats(tx).unreleased != 2) { /* it has heard that 8 is released, though 7 is not */
        nap(10 * MILLISECOND);
    }
    child_kill(mortal);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 9);
    check_is(info_of(m).attempt, 2);
    release(m);
    check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN); /* 7 is to be tried in an hour */
    check_is(drop_sender(tx), 1);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void dead_letters_say_from_which_machine_they_come(void) {
    const ferry_receiver_options_t twice = {.max_attempts = 2, .dead_letter = "dead"};
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(p.there, "work", FERRY_QUEUE, &twice);
    ferry_receiver_t *dead = open_receiver(p.here, "dead", FERRY_QUEUE, NULL);
    ferry_msg_origin_t origin = {.size = sizeof origin};
    ferry_msg_t *none;
    send_number(tx, 6);
    send_number(tx, 7);
    release(receive(rx));
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    check_is(ferry_msg_reject(receive(rx), 0), 0);
    while (receiver_stats(rx).dead_letters == 0) {
        check(ferry_recv(rx, 10 * MILLISECOND, &none) < 0);
    }
    ferry_msg_t *m = receive(dead);
    check_is(number_in(m), 7);
    check_is(ferry_msg_size(m), 8);
    check_is(ferry_msg_origin(m, &origin), 0);
    check(strcmp(origin.queue, "work") == 0);
    check_is(origin.attempts, 2);
    check_is(origin.sequence, 2);
    check_is(origin.sender_node, ferry_node_id(p.here));
    check_is(ferry_sender_flush(tx, FERRY_NOW), -EAGAIN); /* until it is released, its sender has it */
    release(m);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(dead);
    pair_close(&p);
}

static void who_overstays_elsewhere_loses_the_message_to_another(void) {
    const ferry_receiver_options_t brief = {.ack_within = 150 * MILLISECOND, .prefetch = 1};
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *slow = open_receiver(p.there, "work", FERRY_QUEUE, &brief);
    send_number(tx, 7);
    ferry_msg_t *held = receive(slow);
    ferry_receiver_t *other = open_receiver(p.there, "work", FERRY_QUEUE, &brief);
    for (int i = 0; i < 6; i++) {
        check_is(ferry_msg_progress(held), 0);
        ferry_msg_t *none;
        check_error(ferry_recv(other, 40 * MILLISECOND, &none), -ETIMEDOUT, "");
    }
    ferry_msg_t *m = receive(other);
    check_is(number_in(m), 7);
    check_is(info_of(m).attempt, 2);
    check_error(ferry_msg_progress(held), -ESTALE, "");
    check_error(ferry_msg_release(held), -ESTALE, "");
    release(m);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(slow);
    close_receiver(other);
    pair_close(&p);
}

static void nobody_waits_behind_slow_work_on_another_machine(void) {
    const ferry_receiver_options_t one = {.prefetch = 1};
    pair_t p = pair_open();
    ferry_receiver_t *far = open_receiver(p.there, "work", FERRY_QUEUE, &one);
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    bool seen[10] = {false};
    send_number(tx, 0);
    ferry_msg_t *slow = receive(far);
    ferry_receiver_t *second = open_receiver(p.there, "work", FERRY_QUEUE, &one);
    send_number(tx, 1);
    check_is(receive_number(second), 1); /* the machine gets more, */
    close_receiver(second);              /* and less again */
    ferry_receiver_t *near = open_receiver(p.here, "work", FERRY_QUEUE, &one);
    for (uint64_t i = 2; i < 10; i++) {
        send_number(tx, i);
    }
    for (int i = 0; i < 7; i++) { /* one may have been sent before that was heard of */
        ferry_msg_t *m = receive(near);
        check(!seen[number_in(m)] && number_in(m) > 1);
        seen[number_in(m)] = true;
        release(m);
    }
    release(slow);
    ferry_msg_t *last = NULL;
    while (ferry_recv(near, MILLISECOND, &last) < 0 && ferry_recv(far, MILLISECOND, &last) < 0) {
    }
    release(last);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(far);
    close_receiver(near);
    pair_close(&p);
}

/* Between two looks of the machine's own at what is released are 64 ms, once a message has been held for some 100. */
static void the_next_comes_as_soon_as_slow_work_is_done_on_another_machine(void) {
    const ferry_receiver_options_t one = {.prefetch = 1};
    pair_t p = pair_open();
    ferry_receiver_t *rx = open_receiver(p.there, "work", FERRY_QUEUE, &one);
    ferry_sender_t *tx = open_sender(p.here, "work", FERRY_QUEUE, NULL);
    send_number(tx, 0);
    ferry_msg_t *m = receive(rx);
    unsigned in_a_row = 0; /* a busy machine spoils some */
    for (uint64_t i = 1; i < 60 && in_a_row < 6; i++) {
        send_number(tx, i);
        nap(135 * MILLISECOND);
        int64_t begin = monotonic();
        release(m);
        m = receive(rx);
        in_a_row = monotonic() - begin < 10 * MILLISECOND ? in_a_row + 1 : 0;
        check_is(number_in(m), i);
    }
    check_is(in_a_row, 6);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    pair_close(&p);
}

/* ---- topics ---- */

static void the_newest_comes_from_another_machine(void) {
    const ferry_receiver_options_t newest = {.newest = FERRY_NEWEST_ONLY};
    const ferry_receiver_options_t deep = {.depth = 5};
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "prices", FERRY_TOPIC, NULL);
    ferry_receiver_t *last = open_receiver(p.there, "prices", FERRY_TOPIC, &newest);
    ferry_receiver_t *few = open_receiver(p.there, "prices", FERRY_TOPIC, &deep);
    ferry_receiver_t *all = open_receiver(p.there, "prices", FERRY_TOPIC, NULL);
    for (uint64_t i = 0; i < 100; i++) {
        send_number(tx, i);
        check_is(receive_number(all), i);
    }
    ferry_msg_t *m = receive(last);
    check_is(number_in(m), 99);
    check_is(info_of(m).lost_before, 99);
    release(m);
    expect_nothing(last);
    for (uint64_t i = 95; i < 100; i++) {
        m = receive(few);
        check_is(number_in(m), i);
        check_is(info_of(m).lost_before, i == 95 ? 95 : 0);
        release(m);
    }
    expect_nothing(few);
    close_sender(tx);
    close_receiver(last);
    close_receiver(few);
    close_receiver(all);
    pair_close(&p);
}

static void the_newest_of_each_tag_comes_from_another_machine(void) {
    const ferry_receiver_options_t per_tag = {.newest = FERRY_NEWEST_PER_TAG};
    pair_t p = pair_open();
    ferry_sender_t *tx = open_sender(p.here, "book", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(p.there, "book", FERRY_TOPIC, &per_tag);
    ferry_receiver_t *all = open_receiver(p.there, "book", FERRY_TOPIC, NULL);
    bool seen[TAGS] = {false};
    for (uint64_t i = 0; i < ROUNDS * TAGS; i++) {
        ferry_msg_t *m;
        void *data;
        check_is(ferry_msg_new(tx, sizeof i, PATIENCE, &data, &m), 0);
        memcpy(data, &i, sizeof i);
        check_is(ferry_msg_set_tag(m, 1 + i % TAGS), 0);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
        check_is(receive_number(all), i);
    }
    uint64_t lost = 0;
    for (uint64_t i = 0; i < TAGS; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t tag = info_of(m).tag - 1;
        check(tag < TAGS && !seen[tag]);
        seen[tag] = true;
        check_is(number_in(m), (ROUNDS - 1) * TAGS + tag);
        lost += info_of(m).lost_before;
        release(m);
    }
    expect_nothing(rx);
    check_is(lost, (ROUNDS - 1) * TAGS);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(all);
    pair_close(&p);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_is_rejected_elsewhere_comes_again_when_it_shall),
        TEST(what_waits_elsewhere_for_its_next_attempt_goes_to_another_machine_when_its_receiver_closes),
        TEST(a_machine_that_dies_takes_neither_its_releases_nor_its_rejections_back),
        TEST(dead_letters_say_from_which_machine_they_come),
        TEST(who_overstays_elsewhere_loses_the_message_to_another),
        TEST(nobody_waits_behind_slow_work_on_another_machine),
        TEST(the_next_comes_as_soon_as_slow_work_is_done_on_another_machine),
        TEST(the_newest_comes_from_another_machine),
        TEST(the_newest_of_each_tag_comes_from_another_machine),
    };
    return run_suite("net_work", tests, sizeof tests / sizeof tests[0], argc, argv);
}

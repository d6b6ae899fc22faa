/* SPDX-License-Identifier: MIT
 *
 * ask.c - how long a node is asked from outside: as it has time to answer, not as the clock runs.
 */
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "node/ask.h"
#include "node/wire.h"

#define MS INT64_C(1000000)
#define PATIENCE (500 * MS)

static struct {
    int64_t now;
    int asked;            /* the other end of the connection */
    int64_t stands_still; /* the machine, in the first wait, for so long */
    int64_t every;        /* 0, or: a frame comes each time when so much has passed in a wait */
    unsigned waits;       /* so far */
    unsigned answers_in;  /* this wait the answer comes; 0: never */
    unsigned interrupted; /* in this wait a signal comes; 0: never */
} world;

int64_t virtual_now_ns(void) {
    return world.now;
}

static void say(enum fi_frame_type type) {
    const fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = (uint16_t)type};
    assert_int_equal(send(world.asked, &f, sizeof f, 0), sizeof f);
}

int virtual_poll(struct pollfd *items, nfds_t count, int timeout) {
    assert_true(count == 1 && items->events == POLLIN && timeout >= 0);
    world.waits++;
    if (world.waits == world.answers_in) {
        world.now += MS;
        say(FI_LOOK_DONE);
        return 1;
    }
    if (world.waits == world.interrupted)
        return -1;
    if (world.every > 0 && timeout * MS >= world.every) {
        world.now += world.every;
        say(FI_LOOK_NODE);
        return 1;
    }
    world.now += timeout * MS + (world.waits == 1 ? world.stands_still : 0);
    return 0;
}

static bool is_not_the_last(const fi_frame_t *f, void *arg) {
    (void)arg;
    return f->type != FI_LOOK_DONE;
}

static int ask(void) {
    const fi_frame_t question = {.magic = FI_WIRE_MAGIC, .type = FI_LOOK};
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    world.now = 1000 * MS;
    world.waits = 0;
    world.asked = ends[1];
    int all = fi_ask_on(ends[0], &question, PATIENCE, is_not_the_last, NULL);
    close(ends[0]);
    close(ends[1]);
    return all;
}

static void who_does_not_answer_is_waited_for_as_long_as_was_said(void **state) {
    (void)state;
    world.answers_in = 0;
    assert_int_equal(ask(), 0);
    assert_int_equal(world.now, 1000 * MS + PATIENCE);
}

static void a_machine_that_stands_still_uses_no_patience_up(void **state) {
    (void)state;
    world.stands_still = 60000 * MS;
    world.answers_in = 3;
    assert_int_equal(ask(), 1);
    world.answers_in = 0; /* but somebody who never answers is given up all the same */
    assert_int_equal(ask(), 0);
    world.stands_still = 0;
}

static void a_signal_ends_no_wait(void **state) {
    (void)state;
    world.interrupted = 1;
    world.answers_in = 2;
    assert_int_equal(ask(), 1);
    world.interrupted = world.answers_in = 0;
}

static void who_says_something_now_and_then_is_not_waited_for_longer(void **state) {
    (void)state;
    world.every = 20 * MS;
    assert_int_equal(ask(), 0);
    assert_true(world.now <= 1000 * MS + PATIENCE + world.every);
    world.every = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_answer_is_waited_for_as_long_as_was_said),
        cmocka_unit_test(a_machine_that_stands_still_uses_no_patience_up),
        cmocka_unit_test(a_signal_ends_no_wait),
        cmocka_unit_test(who_says_something_now_and_then_is_not_waited_for_longer),
    };
    return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}

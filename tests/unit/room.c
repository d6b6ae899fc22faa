/* SPDX-License-Identifier: MIT
 *
 * room.c - a sender that is about to sleep for room, when something is released in just that moment.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "channel/sender.h"
#include "ferry/ferry.h"

typedef struct scene {
    char directory[64];
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
} scene_t;

static void set_up(scene_t *s) {
    static const ferry_contract_t contract = {.wait = FERRY_WAIT_BLOCK};

    snprintf(s->directory, sizeof s->directory, "/tmp/ferry-unit-room-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    assert_int_equal(setenv("FERRY_DIR", s->directory, 1), 0);
    assert_int_equal(ferry_open("test", NULL, &s->node), 0);
    assert_int_equal(ferry_sender_open(s->node, "q", FERRY_QUEUE, &contract, &s->tx), 0);
    assert_int_equal(ferry_receiver_open(s->node, "q", FERRY_QUEUE, NULL, &s->rx), 0);
    assert_int_equal(ferry_sender_wait(s->tx, 1, FERRY_FOREVER), 1);
}

static void tear_down(const scene_t *s) {
    char command[sizeof s->directory + 16];

    assert_int_equal(ferry_receiver_close(s->rx), 0);
    assert_int_equal(ferry_sender_close(s->tx, FERRY_NOW, NULL), 0);
    assert_int_equal(ferry_close(s->node), 0);
    snprintf(command, sizeof command, "rm -r %s", s->directory);
    assert_int_equal(system(command), 0);
}

/* A look whether the wait is over. At the last one before the sleep what waits finds room, and nothing waits any more;
 * but not all is done. */
static int look(fi_sender_t *tx, void *arg) {
    unsigned *looks = arg;

    switch (++*looks) {
    case 1:
        return -EAGAIN;
    case 2:
        fi_backlog_watch(tx);
        assert_int_equal(tx->backlog_count, 0);
        return -EAGAIN;
    case 3: /* it has not slept for what could wake nobody */
        assert_int_equal(tx->stats.waits, 0);
        return -EAGAIN;
    default: /* and would sleep now */
        assert_true(tx->waiting);
        return 0;
    }
}

static void who_sleeps_is_armed(void **state) {
    scene_t s;
    unsigned looks = 0;
    uint64_t number = 7;
    ferry_msg_t *m;
    (void)state;

    set_up(&s);
    assert_int_equal(fi_end_enter(&s.tx->end, FI_END_SENDER), 0);
    fi_item_t item = {.data = &number, .size = sizeof number, .seq = ++s.tx->seq, .attempt = 1};
    assert_int_equal(fi_backlog_add(s.tx, &item), 0);
    assert_int_equal(fi_sender_wait_until(s.tx, look, &looks, FERRY_FOREVER, false), 0);
    fi_end_leave(&s.tx->end);
    assert_int_equal(looks, 4);
    assert_int_equal(ferry_recv(s.rx, FERRY_FOREVER, &m), 0);
    assert_int_equal(ferry_msg_release(m), 0);
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_sleeps_is_armed)};

    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}

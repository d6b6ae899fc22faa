/* SPDX-License-Identifier: MIT
 *
 * checked.c - FERRY_CHECK=1 finds a sender that writes into a sent message without ferry_msg_edit.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

typedef struct checked {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    ferry_msg_t *m;
    unsigned char *data;
} checked_t;

static checked_t send_checked(size_t size) {
    checked_t c = {0};
    void *data = NULL;
    check_is(setenv("FERRY_CHECK", "1", 1), 0);
    c.node = open_node("test");
    c.tx = open_sender(c.node, "q", FERRY_QUEUE, NULL);
    c.rx = open_receiver(c.node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_msg_new(c.tx, size, PATIENCE, &data, &c.m), 0);
    fill(data, size, 1);
    check_is(ferry_send_msg(c.tx, c.m, PATIENCE), 0);
    c.data = data;
    return c;
}

static void close_checked(checked_t *c) {
    drop_sender(c->tx);
    ferry_receiver_close(c->rx);
    close_node(c->node);
}

static void the_editor_is_told_when_it_edits(void) {
    checked_t c = send_checked(5000);
    void *data = NULL;
    c.data[4999] ^= 1;
    check_error(ferry_msg_edit(c.m, &data), -EBADMSG, "edit");
    check(data == NULL);
    ferry_msg_release(c.m);
    close_checked(&c);
}

static void the_sender_is_told_when_it_sends_again(void) {
    checked_t c = send_checked(5000);
    c.data[0] ^= 1;
    check_error(ferry_send_msg(c.tx, c.m, PATIENCE), -EBADMSG, "edit");
    ferry_msg_release(c.m);
    close_checked(&c);
}

static void the_sender_is_told_when_it_releases(void) {
    checked_t c = send_checked(5000);
    c.data[2500] ^= 1;
    check_error(ferry_msg_release(c.m), -EBADMSG, "edit");
    close_checked(&c);
}

static void the_receiver_is_told_when_it_releases(void) {
    checked_t c = send_checked(5000);
    ferry_msg_t *got = receive(c.rx);
    c.data[2500] ^= 1;
    check_error(ferry_msg_release(got), -EBADMSG, "");
    check_is(receiver_stats(c.rx).held, 0); /* given back all the same */
    ferry_msg_release(c.m);
    close_checked(&c);
}

static void whoever_edits_properly_hears_nothing(void) {
    static const size_t sizes[] = {8, 100, 5000, 1 << 20};
    for (unsigned i = 0; i < 4; i++) {
        checked_t c = send_checked(sizes[i]);
        void *data = NULL;
        ferry_msg_t *got = receive(c.rx);
        check(ferry_msg_edit(c.m, &data) >= 0);
        fill(data, sizes[i], 2);
        check_is(ferry_send_msg(c.tx, c.m, PATIENCE), 0);
        check(filled(ferry_msg_data(got), sizes[i], 1));
        release(got);
        got = receive(c.rx);
        check(filled(ferry_msg_data(got), sizes[i], 2));
        release(got);
        check(ferry_msg_edit(c.m, &data) >= 0);
        fill(data, sizes[i], 3);
        release(c.m);
        close_sender(c.tx);
        close_receiver(c.rx);
        close_node(c.node);
    }
}

static void without_the_variable_nothing_is_checked(void) {
    checked_t c = send_checked(5000);
    close_checked(&c);
    check_is(unsetenv("FERRY_CHECK"), 0);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(tx, 5000, PATIENCE, &data, &m), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    ((unsigned char *)data)[0] ^= 1;
    release(m);
    check_is(drop_sender(tx), 1);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(the_editor_is_told_when_it_edits),     TEST(the_sender_is_told_when_it_sends_again),
        TEST(the_sender_is_told_when_it_releases),  TEST(the_receiver_is_told_when_it_releases),
        TEST(whoever_edits_properly_hears_nothing), TEST(without_the_variable_nothing_is_checked),
    };
    return run_suite("checked", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * net_outages.c - queues and topics while a line to the server is gone: refused, half open, or stuck.
 */
#include <string.h>

#include "lines.h"

#define MESSAGES 3000u

static void what_is_sent_while_no_server_can_be_reached_waits(void) {
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
    numbers_end(s, &n);
}

static void half_open_lines_are_noticed_and_nothing_is_lost(void) {
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
    numbers_end(s, &n);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_is_sent_while_no_server_can_be_reached_waits),
        TEST(half_open_lines_are_noticed_and_nothing_is_lost),
    };
    return run_suite("net_outages", tests, sizeof tests / sizeof tests[0], argc, argv);
}

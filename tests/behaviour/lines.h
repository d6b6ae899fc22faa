/* SPDX-License-Identifier: MIT
 *
 * lines.h - two machines whose lines to the server go through a relay each, and numbers that go from one to the other,
 * on a queue and on a topic at once.
 */
#ifndef FERRY_TESTS_LINES_H
#define FERRY_TESTS_LINES_H

#include "relay.h"

/** What the processes of a test share. */
typedef struct lines {
    engine_t *engine;
    relay_t *near, *far; /**< of the sender and of the receiver */
    atomic_uint ready;
    atomic_uint sent; /**< all that there will be, once the senders have closed */
    atomic_uint received;
    atomic_uint closed;   /**< so the end may come */
    atomic_uint over;     /**< nothing is to be received any more */
    atomic_uint given_up; /**< the receiver was told so */
} lines_t;

lines_t *lines_new(void);
/** Opens a node on this machine, by way of that line. */
ferry_t *lines_node(lines_t *s, const char *machine, const relay_t *line);
void lines_end(lines_t *s);

typedef struct numbers {
    pid_t receiver;
    ferry_t *node;
    ferry_sender_t *queue, *topic;
} numbers_t;

/** Starts the machine that receives: each number once, in order, on both; then their ends. Opens the senders here. */
numbers_t numbers_begin(lines_t *s);
/** Sends both from where it stopped up to this number. */
void numbers_send(lines_t *s, numbers_t *n, unsigned to);
/**
 * Waits until all has arrived, and ends both machines and the stage. False: a machine stood still for longer than the
 * two seconds after which its node is given up, so that what it had not got came again, or was lost to it; it was told,
 * and nothing else is known.
 */
bool numbers_end(lines_t *s, numbers_t *n);

#endif

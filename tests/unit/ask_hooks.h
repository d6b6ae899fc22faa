/* SPDX-License-Identifier: MIT
 *
 * ask_hooks.h - what is included first by src/node/ask.c, which ask.c compiles once more: its waits and its time are
 * the test's.
 */
#ifndef FERRY_TESTS_ASK_HOOKS_H
#define FERRY_TESTS_ASK_HOOKS_H

#include <poll.h>

#include "platform/clock.h"

int virtual_poll(struct pollfd *items, nfds_t count, int timeout);
int64_t virtual_now_ns(void);

#define poll virtual_poll
#define fi_now_ns virtual_now_ns

#endif

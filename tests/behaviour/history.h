/* SPDX-License-Identifier: MIT
 *
 * history.h - who held a lock between machines when, written down by all who had it, and a checker that knows nothing
 * else.
 */
#ifndef FERRY_TESTS_HISTORY_H
#define FERRY_TESTS_HISTORY_H

#include "harness.h"

typedef struct history history_t;

/** Lies in memory that all processes of the test share. */
history_t *history_new(void);
/** Takes the mutex "history" again and again, writes each time down, and rests for `pause` ns; until history_end. */
void history_write(history_t *history, ferry_t *node, int64_t pause);
void history_end(history_t *history);
/** How many have opened it to write. */
unsigned history_writers(history_t *history);
/** How often it was held until now. */
unsigned history_count(history_t *history);
/** Fails unless all tokens are different and, in their order, nobody begins before the one before ends. */
void history_check(history_t *history);

#endif

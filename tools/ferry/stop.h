/* SPDX-License-Identifier: MIT
 *
 * stop.h - Ctrl-C and its like. The first SIGINT, SIGTERM or SIGHUP asks the command to end in good order; the second
 * ends it at once.
 */
#ifndef FERRY_TOOL_STOP_H
#define FERRY_TOOL_STOP_H

#include <ferry/ferry.h>

/* Watches for signals on behalf of `node`: on the first one, every wait on the node ends with -ESHUTDOWN. */
void stop_watch(ferry_t *node);

/* Forgets the node, before it is closed. Signals are still noted. */
void stop_forget_node(void);

/* The signal that asked the command to end, or 0. */
int stop_signal(void);

/*
 * Ends the process by the signal that was noted, if any, so that a shell sees what happened (128 and the signal's
 * number); else returns `status`.
 */
int stop_or(int status);

#endif

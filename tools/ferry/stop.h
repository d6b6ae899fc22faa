/* SPDX-License-Identifier: MIT
 *
 * stop.h - Ctrl-C and its like. The first SIGINT, SIGTERM or SIGHUP asks the command to end in good order; the second
 * ends it at once.
 */
#ifndef FERRY_TOOL_STOP_H
#define FERRY_TOOL_STOP_H

#include <stdbool.h>
#include <sys/types.h>

#include <ferry/ferry.h>

/* Watches for signals on behalf of `node`: on the first one, every wait on the node ends with -ESHUTDOWN. */
void stop_watch(ferry_t *node);

/* Forgets the node, before it is closed. Signals are still noted. */
void stop_forget_node(void);

/*
 * From now on signals are for the child process `child`: SIGTERM and SIGHUP are passed on to it; SIGINT and SIGQUIT are
 * left to it, since a terminal sends them to both of us. 0: they are for us again. Whoever forks blocks these four
 * first.
 */
void stop_pass_on(pid_t child);

/* Ends the process by `signal`, without a dump of memory, so that whoever started it sees that; returns if it
 * cannot. */
void stop_by(int signal);

/* Waits until a signal asks the command to end. */
void stop_wait(void);

/* From now on only the third signal ends the command at once; the second one asks it to hurry. */
void stop_in_two_steps(void);
bool stop_hurried(void);

/* From now on SIGUSR1 asks the command to do once more what it does. */
void stop_note_again(void);
/* Waits for that, and returns true; false: the command is asked to end. */
bool stop_wait_or_again(void);

/* The signal that asked the command to end, or 0. */
int stop_signal(void);

/*
 * Ends the process by the signal that was noted, if any, so that a shell sees what happened (128 and the signal's
 * number); else returns `status`.
 */
int stop_or(int status);

#endif

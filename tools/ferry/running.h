/* SPDX-License-Identifier: MIT
 *
 * running.h - running the command of `ferry lock` and `ferry sem`, and ending as it did.
 */
#ifndef FERRY_TOOL_RUNNING_H
#define FERRY_TOOL_RUNNING_H

#include <stdbool.h>

#include <ferry/ferry.h>

/* How the command ended. */
typedef struct outcome {
    int status; /* exit status for this process */
    int signal; /* that ended the command, or 0 */
} outcome_t;

/* What is to be looked at now and then while a command runs. */
typedef struct lookout {
    void (*look)(void *arg);
    void *arg;
} lookout_t;

/*
 * Runs `command` (a NULL after its last word) and waits until it has ended. Meanwhile signals are for the command, and
 * Ferry knows that this thread waits for it. `tied`: the kernel kills the command when this process dies. It starts
 * with the signals as they were when the tool was started, and with all descriptors that are not close-on-exec.
 * `lookout` may be NULL; else it is called by this thread twice a second, about.
 */
outcome_t run_command(ferry_t *node, char **command, bool tied, const lookout_t *lookout);

/*
 * For a lookout: `checked` is what ferry_rwlock_check, or its like, has just answered. If what is held is lost, says
 * so, with `what` before its name. In a space that spans machines others may take it, once they have not heard of this
 * one for too long. Returns whether it is lost.
 */
bool say_if_lost(int checked, const char *what, const char *name);

/* Ends the process as the command ended if that was by a signal, or else by the signal that was noted, or returns the
 * status. */
int end_as(outcome_t outcome);

#endif

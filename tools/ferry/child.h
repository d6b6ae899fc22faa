/* SPDX-License-Identifier: MIT
 *
 * child.h - a command that is fed, read and watched, and killed when nobody wants its output any more. Any thread may
 * have one; the kernel kills the command when that thread ends, and so when the process is killed.
 *
 * The command leads a process group of its own, which signals reach as a whole; where there is a warden, it dies with
 * us as a whole, too.
 */
#ifndef FERRY_TOOL_CHILD_H
#define FERRY_TOOL_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { CHILD_TAIL = 4096 };

typedef struct child {
    /* before child_start */
    char *const *command; /* a NULL after its last word */
    char *const *environment;
    const sigset_t *mask; /* of signals, in the command */
    const void *input;    /* for its standard input; stays the caller's, until the end */
    size_t input_size;
    bool echo; /* what it says on standard error is said on ours, too */
    bool (*is_unwanted)(void *arg);
    void *arg;

    /* afterwards */
    int error; /* errno value when it could not be started, else 0 */
    pid_t pid;
    int in, out, err; /* our ends; -1: closed */
    char tail[CHILD_TAIL];
    size_t tail_size; /* of what it said last on standard error */
} child_t;

/* Starts it. False: `error` says why not. */
bool child_start(child_t *c);

/* Waits until there is something to read from `out`, or its end. 0, or -ECANCELED: it is unwanted. */
int child_wait_output(child_t *c);

/*
 * Waits until it has ended, when its output was read to the end. Returns its exit status, 128 and the number of the
 * signal that ended it, or -ECANCELED: it was unwanted, and so it was killed.
 */
int child_end(child_t *c);

/* Ends it and its group: SIGTERM, and SIGKILL for what is there after two seconds. */
void child_kill(child_t *c);

#endif

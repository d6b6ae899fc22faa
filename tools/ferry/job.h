/* SPDX-License-Identifier: MIT
 *
 * job.h - a command that does the work of one record, which is its standard input; what it writes goes where it likes.
 *
 * It leads a process group of its own, which dies with us as a whole where there is a warden.
 */
#ifndef FERRY_TOOL_JOB_H
#define FERRY_TOOL_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct job {
    pid_t pid;
    int fd;          /* readable when it has ended; -1: it has not been started */
    int64_t kill_at; /* ns: when its group gets the next signal; INT64_MAX: never */
    int strikes;     /* signals it got from us */
} job_t;

typedef struct job_plan {
    char *const *command; /* a NULL after its last word */
    const sigset_t *mask; /* of signals, in the command */
    int output;           /* descriptor for its standard output; -1: ours */
    int64_t timeout;      /* ns it may take; negative: as long as it likes */
} job_plan_t;

/* Starts one. 0, or the errno value that tells why not; `*cannot_run`: the command itself is to blame. */
int job_start(job_t *job, const job_plan_t *plan, const void *input, size_t size, bool *cannot_run);

/* Ends it and its group: SIGTERM the first time, SIGKILL the next; names the time of the next. */
void job_strike(job_t *job);

/* Waits until it has ended, as `fd` tells it has. Its exit status, or 128 and the number of the signal. */
int job_end(job_t *job);

#endif

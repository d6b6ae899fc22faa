/* SPDX-License-Identifier: MIT
 *
 * work.h - one run of `ferry work`.
 */
#ifndef FERRY_TOOL_WORK_H
#define FERRY_TOOL_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "job.h"
#include "options.h"
#include "progress.h"

enum { MOST_JOBS = 1000 };

enum { LONGEST_NAME = 100 }; /* of a channel */

/* A record that is being worked on. */
typedef struct task {
    job_t job;
    ferry_msg_t *msg;
    uint32_t attempt;
} task_t;

typedef struct working {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    const char *queue;
    const char *dead; /* NULL: what fails for good is reported, and gone */
    const char *output;
    bool report, follow, durable;
    uint64_t jobs, retries;
    uint64_t count; /* end after so many records; 0: no limit */
    int64_t delay;
    job_plan_t plan;

    /* the run */
    ferry_t *node;
    ferry_receiver_t *rx;
    sigset_t mask; /* as the tool was started with: the commands get it */
    progress_t progress;
    task_t *tasks; /* `jobs` of them; the first `running` are in use */
    ferry_pollitem_t *items;
    size_t running;
    uint64_t begun, done, bytes, failures, given_up;
    bool ended; /* all senders have */
    int status; /* not 0: no more is begun, and this is how it ends */
} working_t;

/* Works until the end, or a signal. Returns the exit status, all said. (work_run.c) */
int work_run(working_t *w);

/*
 * Where all senders have ended, waits until somebody has received what failed for good, of which there is no other copy
 * then, or a signal comes. Returns how many nobody has received. (work_letters.c)
 */
uint64_t work_see_letters_off(const working_t *w);
/* Says what has become of them, at the end. */
void work_tell_failures(const working_t *w, uint64_t left);

#endif

/* SPDX-License-Identifier: MIT
 *
 * receiving.h - one run of `ferry recv` or `ferry sub`: a receiver, what it was asked to do, and what it has done.
 */
#ifndef FERRY_TOOL_RECEIVING_H
#define FERRY_TOOL_RECEIVING_H

#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "options.h"
#include "progress.h"
#include "records_out.h"

typedef struct receiving {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    const char *channel;
    ferry_kind_t kind;
    bool nul, whole, framed, follow, may_lose, no_history, tap, plain, durable;
    const char *type;
    uint64_t count, senders, max_held, depth;
    int newest;              /* ferry_newest_t */
    const char *replay_text; /* NULL: not given */
    ferry_replay_t replay;
    uint64_t replay_from;
    int64_t idle, timeout;

    /* the run */
    ferry_t *node;
    ferry_receiver_t *rx;
    records_out_t out;
    progress_t progress;
    bool on_terminal; /* records appear where the passing line does */
    int64_t started, last_message;
    uint64_t taken; /* messages taken from the channel */
    bool broken;    /* a sender broke the rules and was expelled */
} receiving_t;

/* How a step of the run ends. */
typedef enum step {
    STEP_ON,     /* go on */
    STEP_ENDED,  /* as it should: all senders have ended, --count or --idle was reached, nobody reads the output */
    STEP_STATUS, /* with the exit status in `*status`, all said */
} step_t;

/* Opens the receiver. Returns 0 or a negative errno. */
int receiving_open(receiving_t *r);

/*
 * Receives and writes records until the command is over, and returns its exit status. Records that were not written
 * are still held then.
 */
int receiving_run(receiving_t *r);

#endif

/* SPDX-License-Identifier: MIT
 *
 * sending.h - one run of `ferry send` or `ferry pub`: a sender, what it was asked to do, and what it has done.
 */
#ifndef FERRY_TOOL_SENDING_H
#define FERRY_TOOL_SENDING_H

#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "options.h"
#include "progress.h"
#include "records_in.h"

typedef struct sending {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    const char *channel;
    ferry_kind_t kind;
    bool nul, whole, framed, detach;
    int64_t detach_for;
    const char *detach_log;
    bool durable, rendezvous, plain;
    list_t files;
    char **arguments; /* records from the command line */
    size_t n_arguments;
    const char *type;
    uint64_t quota, capacity, retain, wait_for, token;
    int hold; /* 0: no opinion, else a ferry_hold_t */
    int64_t linger, timeout, stay, retain_age;

    /* the run */
    ferry_t *node;
    ferry_sender_t *tx;
    progress_t progress;
    int64_t started;
    int64_t slice; /* how long one wait for room may last */
    records_in_t in;
    bool look; /* look again whether anybody listens */
    bool warned, nobody_listens;
    uint64_t records, bytes, to_nobody;
} sending_t;

/* Bytes a sender may hold: its quota, or the library's default. */
uint64_t sending_limit(const sending_t *s);

/* True once --timeout has passed; says so. */
bool sending_timed_out(const sending_t *s);

/*
 * What to do about a negative result of a call that waits. 0: nothing has happened, call again; else the exit status,
 * with the reason said (or none to say: a signal asked us to end).
 */
int sending_retry(sending_t *s, int result);

/* What to do about a negative result that waiting does not change: the exit status, with the reason said. */
int sending_refused(const sending_t *s, int result);

/* Computes anew how long one wait may last: until the next draw, or until --timeout. */
void sending_set_slice(sending_t *s);

/* Around a record that is sent by other means than sending_put: looks whether anybody listens, and counts it. */
void sending_before(sending_t *s);
void sending_after(sending_t *s, size_t len);

/* Sends one record, waiting for room. Returns 0 or an exit status. */
int sending_put(sending_t *s, const record_t *record);

/* Sends all the input there is: arguments, files or standard input. Returns 0 or an exit status. */
int sending_feed(sending_t *s);

/* Opens the sender on s->node, and waits for as many receivers as were asked for. Returns 0 or an exit status. */
int sending_open(sending_t *s);

/* Closes the sender, and says what a person or a script must know. Returns the exit status. */
int sending_close(sending_t *s, int status);

/* Leaves a process in the background that has all the input, and keeps it until it is delivered. Returns the exit
 * status. */
int sending_detach(sending_t *s);

/* Waits until all is delivered, as far as --linger, --timeout and signals allow. Returns 0 or an exit status. */
int sending_linger(sending_t *s);

#endif

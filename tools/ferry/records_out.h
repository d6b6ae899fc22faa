/* SPDX-License-Identifier: MIT
 *
 * records_out.h - writing received messages as records, and acknowledging each once it is written out.
 *
 * A message belongs to the writer from records_out_add on, and is released as soon as the system has taken its last
 * byte. What was not written stays unreleased, so that closing the receiver gives it back to the others.
 */
#ifndef FERRY_TOOL_RECORDS_OUT_H
#define FERRY_TOOL_RECORDS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "records.h"

enum { RECORDS_OUT_HELD = 4096 };

typedef struct held {
    ferry_msg_t *message;
    uint64_t end; /* where the record ends in the stream of bytes written; UINT64_MAX: it is not formatted yet */
} held_t;

typedef struct records_out {
    int fd;
    framing_t framing;
    uint64_t records; /* written and released */
    uint64_t bytes;   /* of their contents */

    char *buffer;
    size_t used;
    uint64_t written; /* bytes the system has taken so far; the buffer's first byte comes next */
    bool owes_delimiter;
    held_t *held;
    size_t n_held;
} records_out_t;

/* 0 or -ENOMEM. */
int records_out_init(records_out_t *out, int fd, framing_t framing);

/* How many messages records_out_add takes now; at least 1 after a flush. */
size_t records_out_room(const records_out_t *out);

/*
 * Takes `n` messages and formats them; writes when the buffer is full. 0 or a negative errno as records_out_flush,
 * plus -EFBIG: a record is too long for a length of four bytes.
 */
int records_out_add(records_out_t *out, ferry_msg_t **messages, size_t n);

/*
 * Writes everything and releases it. 0; -EPIPE nobody reads the output any more; -ESHUTDOWN a signal asked us to end;
 * or another negative errno of the write.
 */
int records_out_flush(records_out_t *out);

/* Frees everything; handles still held are dropped, so close the receiver first. */
void records_out_done(records_out_t *out);

#endif

/* SPDX-License-Identifier: MIT
 *
 * records_in.h - reading records from a descriptor.
 */
#ifndef FERRY_TOOL_RECORDS_IN_H
#define FERRY_TOOL_RECORDS_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "records.h"

/* Valid until the next call on its reader. */
typedef struct record {
    const char *data;
    size_t len;
    uint64_t tag; /* 0, TAG_WHOLE or TAG_LAST */
} record_t;

/*
 * Called before every read of more input: everything read so far has been handed out. 0: go on; a negative errno ends
 * the reading with that result.
 */
typedef int records_before_read_t(void *arg, int fd);

typedef struct records_in {
    framing_t framing;
    uint64_t limit; /* the longest record that could be sent */
    records_before_read_t *before_read;
    void *arg;

    int fd;
    const char *name; /* of the input, for sentences */
    uint64_t count;   /* records handed out */
    char *buffer;
    size_t capacity, begin, end;
    size_t scanned; /* bytes after `begin` that are known to hold no delimiter */
    bool ended;     /* the input has no more bytes */
    char error[256];
} records_in_t;

/* Starts with `fd`, which stays the caller's; the buffer is kept from one input to the next. */
void records_in_start(records_in_t *in, int fd, const char *name);

/*
 * Takes the next record. Returns 1; 0 at the end of the input; or a negative errno: -EINTR a signal ended a read (call
 * again), what before_read returned, or else `error` says in a sentence what was wrong.
 */
int records_in_next(records_in_t *in, record_t *record);

void records_in_done(records_in_t *in);

#endif

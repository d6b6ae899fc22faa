/* SPDX-License-Identifier: MIT
 *
 * The buffer holds what was read and not yet handed out: [begin, end). A record that is not complete moves to the
 * front when more is read, and the buffer grows while one record fills it, up to the longest that could be sent.
 */
#include "records_in.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_CAPACITY = 512 * 1024, LENGTH_BYTES = 4 };

void records_in_start(records_in_t *in, int fd, const char *name) {
    in->fd = fd;
    in->name = name;
    in->count = 0;
    in->begin = in->end = in->scanned = 0;
    in->ended = false;
    in->error[0] = '\0';
}

void records_in_done(records_in_t *in) {
    free(in->buffer);
    in->buffer = NULL;
    in->capacity = 0;
}

static int too_long(records_in_t *in, const char *what, uint64_t bytes) {
    snprintf(in->error, sizeof in->error,
             "record %" PRIu64 " of %s %s %" PRIu64 " bytes, more than this sender may hold (%" PRIu64
             "); give it more with --quota",
             in->count + 1, in->name, what, bytes, in->limit);
    return -EMSGSIZE;
}

/* Makes room for at least one more byte, better for `wanted` bytes after `begin`. */
static int make_room(records_in_t *in, size_t wanted) {
    if (in->begin > 0) {
        memmove(in->buffer, in->buffer + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
    }
    size_t capacity = in->capacity > 0 ? in->capacity : FIRST_CAPACITY;
    while (capacity <= in->end || capacity < wanted)
        capacity *= 2;
    if (capacity == in->capacity)
        return 0;
    char *buffer = realloc(in->buffer, capacity);
    if (buffer == NULL) {
        snprintf(in->error, sizeof in->error, "no memory for a record of %zu bytes from %s", capacity, in->name);
        return -ENOMEM;
    }
    in->buffer = buffer;
    in->capacity = capacity;
    return 0;
}

/* Reads once. 0, also at the end of the input (`ended`), or a negative errno. */
static int read_more(records_in_t *in, size_t wanted) {
    int result = make_room(in, wanted);

    if (result < 0)
        return result;
    if (in->before_read != NULL) {
        result = in->before_read(in->arg, in->fd);
        if (result < 0)
            return result;
    }
    ssize_t n = read(in->fd, in->buffer + in->end, in->capacity - in->end);
    if (n < 0) {
        int error = errno;
        if (error == EAGAIN) /* somebody made it non-blocking, and it is not ours alone to change */
            poll(&(struct pollfd){.fd = in->fd, .events = POLLIN}, 1, -1);
        if (error == EINTR || error == EAGAIN)
            return -EINTR;
        snprintf(in->error, sizeof in->error, "cannot read %s: %s", in->name, strerror(error));
        return -error;
    }
    in->end += (size_t)n;
    in->ended = n == 0;
    return 0;
}

static int hand_out(records_in_t *in, size_t skip, size_t len, size_t behind, uint64_t tag, record_t *record) {
    *record = (record_t){.data = in->buffer + in->begin + skip, .len = len, .tag = tag};
    in->begin += skip + len + behind;
    in->scanned = 0;
    in->count++;
    return 1;
}

static int next_delimited(records_in_t *in, int delimiter, record_t *record) {
    for (;;) {
        size_t have = in->end - in->begin;
        const char *from = have > 0 ? in->buffer + in->begin : NULL;
        const char *at = have > in->scanned ? memchr(from + in->scanned, delimiter, have - in->scanned) : NULL;
        if (at != NULL)
            return hand_out(in, 0, (size_t)(at - from), 1, 0, record);
        in->scanned = have;
        if (in->ended)
            return have > 0 ? hand_out(in, 0, have, 0, TAG_LAST, record) : 0;
        if (have > in->limit)
            return too_long(in, "has at least", have);
        int result = read_more(in, 0);
        if (result < 0)
            return result;
    }
}

static int next_whole(records_in_t *in, record_t *record) {
    while (!in->ended) {
        if (in->end > in->limit)
            return too_long(in, "has at least", in->end);
        int result = read_more(in, 0);
        if (result < 0)
            return result;
    }
    if (in->count > 0)
        return 0;
    return hand_out(in, 0, in->end, 0, TAG_WHOLE, record);
}

static int next_framed(records_in_t *in, record_t *record) {
    for (;;) {
        size_t have = in->end - in->begin;
        size_t wanted = LENGTH_BYTES;
        if (have >= LENGTH_BYTES) {
            const unsigned char *b = (const unsigned char *)in->buffer + in->begin;
            uint32_t len = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
            if (len > in->limit)
                return too_long(in, "says it has", len);
            wanted += len;
            if (have >= wanted)
                return hand_out(in, LENGTH_BYTES, len, 0, 0, record);
        }
        if (in->ended && have == 0)
            return 0;
        if (in->ended) {
            snprintf(in->error, sizeof in->error, "%s ends within record %" PRIu64 ", after %zu of its %zu bytes",
                     in->name, in->count + 1, have, wanted);
            return -EBADMSG;
        }
        int result = read_more(in, wanted);
        if (result < 0)
            return result;
    }
}

int records_in_next(records_in_t *in, record_t *record) {
    switch (in->framing) {
    case FRAMING_LINES:
        return next_delimited(in, '\n', record);
    case FRAMING_NULS:
        return next_delimited(in, '\0', record);
    case FRAMING_WHOLE:
        return next_whole(in, record);
    case FRAMING_FRAMED:
        return next_framed(in, record);
    }
    return -EINVAL;
}

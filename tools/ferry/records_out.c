/* SPDX-License-Identifier: MIT */
#include "records_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer.h"

/* A record of at least LARGE bytes is written from where it lies; smaller ones are gathered to spare system calls. */
enum { BUFFER = 256 * 1024, LARGE = 32 * 1024 };

int records_out_init(records_out_t *out, int fd, framing_t framing) {
    *out = (records_out_t){.fd = fd, .framing = framing};
    out->buffer = malloc(BUFFER);
    out->held = calloc(RECORDS_OUT_HELD, sizeof *out->held);
    if (out->buffer != NULL && out->held != NULL)
        return 0;
    records_out_done(out);
    return -ENOMEM;
}

void records_out_done(records_out_t *out) {
    for (size_t i = 0; i < out->n_held; i++)
        ferry_msg_release(out->held[i].message);
    free(out->held);
    free(out->buffer);
    *out = (records_out_t){.fd = -1};
}

size_t records_out_room(const records_out_t *out) {
    return RECORDS_OUT_HELD - out->n_held;
}

/* Releases the records that are written to their last byte: they stand first, in the order of the stream. */
static void release_written(records_out_t *out) {
    size_t n = 0;

    while (n < out->n_held && out->held[n].end <= out->written) {
        out->bytes += ferry_msg_size(out->held[n].message);
        ferry_msg_release(out->held[n].message);
        n++;
    }
    out->records += n;
    out->n_held -= n;
    memmove(out->held, out->held + n, out->n_held * sizeof *out->held);
}

int records_out_flush(records_out_t *out) {
    int result = write_fully(out->fd, out->buffer, out->used, &out->written);

    out->used = 0;
    release_written(out);
    return result;
}

static int put_bytes(records_out_t *out, const void *data, size_t len) {
    int result = 0;

    if (len > BUFFER - out->used || len >= LARGE)
        result = records_out_flush(out);
    if (result < 0)
        return result;
    if (len >= LARGE)
        return write_fully(out->fd, data, len, &out->written);
    if (len > 0)
        memcpy(out->buffer + out->used, data, len);
    out->used += len;
    return 0;
}

static int put_delimiter(records_out_t *out) {
    return put_bytes(out, out->framing == FRAMING_NULS ? "\0" : "\n", 1);
}

static int put_length(records_out_t *out, size_t len) {
    unsigned char bytes[4];

    if (len > UINT32_MAX)
        return -EFBIG;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(len >> (8 * i));
    return put_bytes(out, bytes, sizeof bytes);
}

static int put_record(records_out_t *out, ferry_msg_t *message) {
    ferry_msg_info_t info = {.size = sizeof info};
    size_t len = ferry_msg_size(message);
    bool delimited = out->framing == FRAMING_LINES || out->framing == FRAMING_NULS;
    int result = ferry_msg_info(message, &info);

    if (result == 0 && out->framing == FRAMING_FRAMED)
        result = put_length(out, len);
    if (result == 0 && out->owes_delimiter)
        result = put_delimiter(out);
    if (result == 0)
        result = put_bytes(out, ferry_msg_data(message), len);
    if (result == 0 && delimited && info.tag != TAG_LAST && info.tag != TAG_WHOLE)
        result = put_delimiter(out);
    out->owes_delimiter = delimited && info.tag == TAG_LAST;
    return result;
}

int records_out_add(records_out_t *out, ferry_msg_t **messages, size_t n) {
    int result = 0;

    for (size_t i = 0; i < n; i++)
        out->held[out->n_held++] = (held_t){.message = messages[i], .end = UINT64_MAX};
    /* A flush inside shortens the list from its front, so the next one to format is found from its end. */
    for (size_t left = n; left > 0 && result == 0; left--) {
        result = put_record(out, messages[n - left]);
        if (result == 0)
            out->held[out->n_held - left].end = out->written + out->used;
    }
    return result;
}

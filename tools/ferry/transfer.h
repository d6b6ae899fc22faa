/* SPDX-License-Identifier: MIT
 *
 * transfer.h - moving bytes from and to descriptors until all are moved, or a signal asks the command to end.
 */
#ifndef FERRY_TOOL_TRANSFER_H
#define FERRY_TOOL_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Writes all of it; `*written` (may be NULL) is raised by what the system has taken. 0; -EPIPE nobody reads it any
 * more; -ESHUTDOWN a signal asked us to end; or another negative errno of the write.
 */
int write_fully(int fd, const void *data, size_t len, uint64_t *written);

/* Reads `size` bytes, or what there is; how many, -ESHUTDOWN, or a negative errno of the read. */
ssize_t read_fully(int fd, void *data, size_t size);

/*
 * Writes to standard output. Returns 0, or the exit status, all said. With nobody there to read it the command is over,
 * and that is no failure: STATUS_OK and `*over`, which may be NULL.
 */
int write_output(const void *data, size_t len, bool *over);

/* A stream of bytes that the user named: "-" is standard input. */
typedef struct source {
    const char *name; /* for sentences */
    int fd;
    int64_t size; /* bytes that are left in it, if it is a plain file that says so; else -1 */
} source_t;

/* Opens it. Returns 0, or the exit status, all said. */
int source_open(source_t *source, const char *name);
void source_close(source_t *source);

/* Reads up to `size` bytes, fewer at the end only. Returns how many, or -1 with the reason said (a signal needs
 * none). */
ssize_t source_read(const source_t *source, void *data, size_t size);

/*
 * Reads all of it, up to `limit` bytes, into memory that the caller frees. Returns 0, or the exit status, all said: it
 * is longer than `limit` (STATUS_NO), or cannot be read.
 */
int source_read_all(const source_t *source, size_t limit, char **data, size_t *len);

#endif

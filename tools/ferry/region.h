/* SPDX-License-Identifier: MIT
 *
 * region.h - one run of `ferry region ACTION`: which region, and how what goes wrong with it is told.
 */
#ifndef FERRY_TOOL_REGION_H
#define FERRY_TOOL_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "options.h"
#include "patience.h"
#include "transfer.h"

typedef struct region_run {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    const char *name;
    uint64_t offset;

    /* the run */
    patience_t patience;
    ferry_t *node;
    ferry_region_t *region;
    char *root; /* of root_bytes bytes */
    uint64_t root_bytes;
} region_run_t;

/* Which regions of a name there are now. */
typedef struct region_kinds {
    bool shared, published;
    bool any_version; /* of the published one */
} region_kinds_t;

/* Checks the name. `most` is how many operands there may be. Returns 0 or STATUS_USAGE. */
int region_check(region_run_t *r, const operands_t *operands, size_t most);

/* Looks which there are. Returns 0 or an exit status, all said. */
int region_kinds(const region_run_t *r, region_kinds_t *kinds);

/* Opens the shared region with `r->node`. Returns what the library does. */
int region_open(region_run_t *r, uint64_t bytes, const ferry_region_options_t *options);

/* What that result means: 0, and `root` is found, or an exit status, all said. */
int region_opened(region_run_t *r, int result);

/* Opens node and shared region, does `act`, closes both, and returns the exit status of the command. */
int region_do(region_run_t *r, bool read_only, int (*act)(region_run_t *r, void *arg), void *arg);

/* Whether `--offset` lies in the `bytes` bytes there are: 0, or STATUS_NO, and that was said. */
int region_check_offset(const region_run_t *r, uint64_t bytes);

/*
 * Reads the source into the root object, from `--offset` on. What is known to be too long is refused before anything is
 * written. Returns 0 or an exit status, all said.
 */
int region_fill(const region_run_t *r, const source_t *source);

/*
 * How many bytes the file has, for a region that shall be as large. What does not say so is read, into `*read`, which
 * the caller frees. Returns 0 or an exit status, all said.
 */
int region_size_of(const char *file, uint64_t *size, char **read);

/* --- the actions --- */

int region_ls(int argc, char **argv);
int region_create(int argc, char **argv);
int region_cat(int argc, char **argv);
int region_put(int argc, char **argv);
int region_publish(int argc, char **argv);
int region_rm(int argc, char **argv);

#endif

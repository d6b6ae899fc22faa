/* SPDX-License-Identifier: MIT
 *
 * cell.h - one run of `ferry cell ACTION`: which cell, what was asked for, and how what goes wrong is told.
 */
#ifndef FERRY_TOOL_CELL_H
#define FERRY_TOOL_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "holders.h"
#include "options.h"
#include "patience.h"

#define CELL_NOT_SAID UINT64_MAX

typedef struct cell_run {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    patience_t patience; /* of those that wait */
    const char *name;
    uint64_t at;          /* index */
    uint64_t size, count; /* for one that is not there yet; if not said CELL_NOT_SAID, from cell_check on 0 */

    /* the run */
    ferry_t *node;
    ferry_cell_t *cell;
    ferry_cell_info_t info;
} cell_run_t;

/* --- options that several actions have --- */

option_t cell_option_at(cell_run_t *c);
option_t cell_option_size(cell_run_t *c);
option_t cell_option_count(cell_run_t *c);

/* Checks the name and the numbers. `most` is how many operands there may be. Returns 0 or STATUS_USAGE. */
int cell_check(cell_run_t *c, const operands_t *operands, size_t most);

/* --- the run --- */

/* Opens the cell with `node`; `make`: also when nobody has it open. Returns what the library does. */
int cell_open(cell_run_t *c, ferry_t *node, bool make);
/* What that result means: 0, and `info` is filled, or an exit status, all said. */
int cell_opened(cell_run_t *c, int result);

/* Says what the negative result of a call on the cell means; returns the exit status. */
int cell_failed(const cell_run_t *c, int result);

/* Opens node and cell, does `act`, closes both, and returns the exit status of the command. */
int cell_do(cell_run_t *c, bool make, int (*act)(cell_run_t *c, void *arg), void *arg);

/* --- in a space that spans machines, where the engine keeps the cells (cell_far.c) --- */

/* Stores those whose names match (NULL: all). 0, or an exit status, all said; cell_far_list_done in any case. */
int cell_far_list(const common_t *common, const char *pattern, holdings_t *all);
void cell_far_list_done(holdings_t *all);
int cell_far_remove(const common_t *common, const char *name);

/* --- the actions --- */

int cell_put(int argc, char **argv);
int cell_cas(int argc, char **argv);
int cell_get(int argc, char **argv);
int cell_wait(int argc, char **argv);
int cell_watch(int argc, char **argv);
int cell_ls(int argc, char **argv);
int cell_rm(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT
 *
 * keeper.h - keeping a cell, a region or what waits in a queue, which would be gone with this process: by staying
 * (--hold), or by leaving a process in the background (--detach), a keeper. A keeper is a node that is called so:
 * everybody sees it in `ferry ls`, and `ferry cell rm`, `ferry region rm` or SIGTERM end it.
 */
#ifndef FERRY_TOOL_KEEPER_H
#define FERRY_TOOL_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "options.h"
#include "tool.h"

enum { KEEPER_FIGURES = 4 };

typedef struct keeping {
    bool hold, detach; /* as the options say; neither: not at all */
    const common_t *common;
    const char *kind; /* "cell", "region", "queue" */
    const char *name;
    /* Opens what is to be kept with `node`, and puts into it what it shall have. Returns 0, or the exit status, all
     * said. */
    int (*prepare)(void *arg, ferry_t *node, uint64_t *figures);
    /* Tells the user what has become of it. */
    int (*tell)(void *arg, const uint64_t *figures);
    /* What it does in the background; it ends with this, and with the exit status returned. NULL: it waits to be
     * ended. */
    int (*stay)(void *arg);
    void *arg;
} keeping_t;

/* The options --hold and --detach. */
enum { KEEPER_OPTIONS = 2 };
void keeper_options(keeping_t *k, option_t *options);

/* What stands before NAME in the names of keepers' nodes. */
void keeper_prefix(const char *kind, char *text, size_t cap);

/* Prepares, tells, and then ends, stays or leaves a keeper, as it was asked for. Returns the exit status. */
int keeper_run(const keeping_t *k);

#endif

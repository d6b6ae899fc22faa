/* SPDX-License-Identifier: MIT
 *
 * target.h - a node as a user names it: by its process, by the id that `ferry ls --json` shows, or by its name, where
 * no other process in the space has the same.
 */
#ifndef FERRY_TOOL_TARGET_H
#define FERRY_TOOL_TARGET_H

#include <stdint.h>

#include "options.h"

enum { TARGET_IDS = 64 };

/* The nodes that were meant: one, or those of one process. */
typedef struct target {
    uint64_t ids[TARGET_IDS];
    size_t n;
    char host[64]; /* the machine that it is on, if it is another one */
} target_t;

/* Finds them in the space. Returns 0, or the exit status, all said. */
int target_find(const common_t *common, const char *word, target_t *target);

#endif

/* SPDX-License-Identifier: MIT
 *
 * holders.h - who has a cell or a region open, as a look at the space shows.
 */
#ifndef FERRY_TOOL_HOLDERS_H
#define FERRY_TOOL_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "tool.h"

/*
 * Looks at the one space that the command is about. True: `*look` is the picture, or NULL when there is no such space,
 * which is as good as an empty picture; false: the exit status is in `*status`, all said.
 */
bool look_at_space(const common_t *common, ferry_look_t **look, int *status);

/* The node of that id, or NULL. */
const ferry_look_node_t *holder_node(const ferry_look_t *look, uint64_t id);

/* The next node that has the object open: from the `*at`-th object of the picture on, which moves behind it; or
 * NULL. */
const ferry_look_node_t *holder_next(const ferry_look_t *look, const char *kind, const char *name, size_t *at);
bool holders_any(const ferry_look_t *look, const char *kind, const char *name);

/* Whether a node that has the object open is a keeper of it. */
bool holder_is_keeper(const ferry_look_node_t *node, const char *kind, const char *name);

/* A cell or a region, and all who have it open. */
typedef struct holding {
    const char *name; /* the picture's, as is `type` */
    const char *type;
    uint64_t bytes;
    uint32_t count;
    uint32_t holders; /* nodes */
    uint32_t keepers; /* of these */
} holding_t;

typedef struct holdings {
    holding_t *items; /* sorted by name */
    size_t n;
} holdings_t;

/* The objects of this kind whose name matches `pattern` (NULL: all). False: no memory, and that was said. */
bool holdings_take(const ferry_look_t *look, const char *kind, const char *pattern, holdings_t *all);
void holdings_done(holdings_t *all);

#endif

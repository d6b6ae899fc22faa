/* SPDX-License-Identifier: MIT
 *
 * looks.h - what `ferry ls` found: for each space one look, or two a moment apart, from which rates follow.
 */
#ifndef FERRY_TOOL_LOOKS_H
#define FERRY_TOOL_LOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "tool.h"

typedef struct space_look {
    char *name;
    ferry_look_t *before; /* NULL: no rates */
    ferry_look_t *now;
    int64_t before_ns, now_ns;
    /* the ends of `now` that were asked for, sorted by channel, kind and role */
    const ferry_look_end_t **ends;
    size_t n_ends;
} space_look_t;

/* Was an object, region, channel or service of this name asked for? */
struct looks;
bool looks_asks_for(const struct looks *looks, const char *name);

typedef struct looks {
    const common_t *common;
    const char *channel; /* only what has a name that matches this pattern; NULL: all */
    bool rates;
    bool all;         /* every space that is there, not one that was named */
    char nobody[400]; /* why nobody of the named space, which spans machines, is shown; "": that is not so */
    space_look_t *spaces;
    size_t n;
} looks_t;

/*
 * Looks at the space `space`, or at all of them when it is NULL. Returns 0 or an exit status, with the reason said.
 * Spaces where nothing was found are left out.
 */
int looks_take(looks_t *looks, const char *space);
void looks_done(looks_t *looks);

/* Whether the node has any end that was asked for (without a pattern every node counts). */
bool looks_shows_node(const looks_t *looks, const space_look_t *space, const ferry_look_node_t *node);

/* The node of that id, or NULL. */
const ferry_look_node_t *looks_node(const space_look_t *space, uint64_t id);

/* The node an end belongs to, or NULL. */
const ferry_look_node_t *looks_node_of(const space_look_t *space, const ferry_look_end_t *end);

/* The node's process, for a cell of a table. */
void looks_pid_text(const ferry_look_node_t *node, char *cell);

/* Messages and bytes a second between the two looks; false when there is nothing to compare with. */
bool looks_rate(const space_look_t *space, const ferry_look_end_t *end, double *messages, double *bytes);

#endif

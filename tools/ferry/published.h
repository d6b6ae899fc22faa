/* SPDX-License-Identifier: MIT
 *
 * published.h - published regions as a look at the space shows them: a writer and its readers are ends of a channel
 * that is called as the region is, with a mark before it that no name of a user's channel can have.
 */
#ifndef FERRY_TOOL_PUBLISHED_H
#define FERRY_TOOL_PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

/* Whether the end is a published region's, and its name, or the channel's, as users know it. */
bool published_is(const ferry_look_end_t *end);
const char *published_name(const ferry_look_end_t *end);

typedef struct published {
    const char *name;               /* the picture's */
    const ferry_look_end_t *writer; /* NULL: there is none now */
    uint32_t readers;
} published_t;

typedef struct published_list {
    published_t *items; /* sorted by name */
    size_t n;
} published_list_t;

/* Those whose name matches `pattern` (NULL: all). False: no memory, and that was said. */
bool published_take(const ferry_look_t *look, const char *pattern, published_list_t *all);
void published_done(published_list_t *all);

#endif

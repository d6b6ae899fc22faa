/* SPDX-License-Identifier: MIT
 *
 * description.h - what a service tells of itself, as its method "$describe" answers.
 */
#ifndef FERRY_TOOL_DESCRIPTION_H
#define FERRY_TOOL_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct method {
    char *name;
    char *input, *output; /* names of types; NULL: bytes */
    char *comment;        /* NULL: none */
    bool idempotent, streams;
} method_t;

typedef struct description {
    char *comment;   /* NULL: none */
    bool descriptor; /* it has one, so the types are known */
    method_t *methods;
    size_t n;
} description_t;

/* Reads it. 0; -EPROTO it is none; -ENOMEM. What is read may come from a stranger, and is made plain for a terminal. */
int description_read(description_t *d, const void *data, size_t len);
void description_done(description_t *d);

/* The method of that name, or NULL. */
const method_t *description_method(const description_t *d, const char *name);
/* The name that was probably meant, or NULL. */
const char *description_nearest(const description_t *d, const char *name);

#endif

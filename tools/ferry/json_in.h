/* SPDX-License-Identifier: MIT
 *
 * json_in.h - reading JSON that somebody else has written: value by value, as the caller asks for them.
 *
 *     json_in_enter(&in, '{');
 *     while ((key = json_in_member(&in)) != NULL) {
 *         if (strcmp(key, "name") == 0)
 *             name = json_in_text(&in);
 *         else
 *             json_in_skip(&in);
 *         free(key);
 *     }
 *
 * The first thing that is wrong, or lack of memory, sets `bad`; from then on every call returns nothing at once, so
 * that it is enough to look at the end. Depth is bounded, and each call moves forward or sets `bad`.
 */
#ifndef FERRY_TOOL_JSON_IN_H
#define FERRY_TOOL_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct json_in {
    const char *at, *end;
    bool fresh; /* an object or array has just begun, so no comma is due */
    bool bad;
} json_in_t;

json_in_t json_in_of(const void *data, size_t len);

/* Goes into an object '{' or an array '['. */
void json_in_enter(json_in_t *in, char bracket);
/* The key of the next member, which the caller frees, or NULL: the object has ended, and was left. */
char *json_in_member(json_in_t *in);
/* Whether another item stands in the array; false: it has ended, and was left. */
bool json_in_item(json_in_t *in);

/* A string, which the caller frees; NULL if it is bad. One that contains a NUL character is bad. */
char *json_in_text(json_in_t *in);
bool json_in_bool(json_in_t *in);
/* Any value. */
void json_in_skip(json_in_t *in);

/* Nothing but white space follows. */
bool json_in_is_over(json_in_t *in);

#endif

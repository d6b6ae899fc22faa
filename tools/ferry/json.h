/* SPDX-License-Identifier: MIT
 *
 * json.h - writing JSON to a stream. The writer knows where commas belong and how strings are escaped; the caller
 * opens and closes objects and arrays in pairs.
 */
#ifndef FERRY_TOOL_JSON_H
#define FERRY_TOOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct json {
    FILE *out;
    bool follows; /* something stands before, so a comma is due */
} json_t;

/* `key` is NULL in an array and at the top. */
void json_open(json_t *j, const char *key, char bracket); /* '{' or '[' */
void json_close(json_t *j, char bracket);                 /* '}' or ']' */
void json_text(json_t *j, const char *key, const char *value);
void json_count(json_t *j, const char *key, uint64_t value);
void json_signed(json_t *j, const char *key, int64_t value);
void json_number(json_t *j, const char *key, double value);
void json_bool(json_t *j, const char *key, bool value);
/* Any bytes: as the text "value" if they are UTF-8, else in "base64". */
void json_bytes(json_t *j, const void *data, size_t len);

#endif

/* SPDX-License-Identifier: MIT
 *
 * typed.h - JSON to the bytes of a protobuf message and back, for services that have a descriptor. What can do it is a
 * module (ferry-json.h), which is loaded when it is needed: the tool itself knows nothing of protobuf.
 */
#ifndef FERRY_TOOL_TYPED_H
#define FERRY_TOOL_TYPED_H

#include <stddef.h>

#include "ferry-json.h"

typedef struct typed {
    const ferry_json_api_t *json; /* NULL: not open */
    ferry_json_schema_t *schema;
} typed_t;

/* Loads the module, and reads the descriptor. Returns 0, or the exit status, all said. */
int typed_open(typed_t *t, const void *descriptor, size_t size);
void typed_close(typed_t *t);

/* Text to bytes, and bytes to a line of text with a NUL byte behind it; the caller frees them. 0, or the exit
 * status. */
int typed_encode(const typed_t *t, const char *type, const char *text, size_t len, char **bytes, size_t *size);
int typed_decode(const typed_t *t, const char *type, const void *bytes, size_t size, char **text, size_t *len);

#endif

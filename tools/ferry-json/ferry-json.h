/* SPDX-License-Identifier: MIT
 *
 * ferry-json.h - JSON text to the bytes of a protobuf message and back, as a descriptor says.
 *
 * It is a module, so that the tool needs libprotobuf only when somebody speaks JSON to a typed service. How to load it:
 *
 *     void *module = dlopen(PATH, RTLD_NOW | RTLD_LOCAL);
 *     const ferry_json_api_t *json = dlsym(module, FERRY_JSON_SYMBOL);
 *     if (json == NULL || json->version != FERRY_JSON_VERSION) { ... }
 *
 * PATH is FERRY_JSON_FILE beside the tool (in the build directory), else in ../lib/ferry/ seen from there (installed).
 * Never dlclose it: libprotobuf does not bear that.
 *
 * Descriptor, JSON and bytes may come from a stranger: all of it is checked, and what is read or made is bounded by the
 * limits below. No exception leaves the module, nothing is printed. Each function may be called by any thread; one
 * schema by one thread at a time.
 */
#ifndef FERRY_JSON_H
#define FERRY_JSON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FERRY_JSON_FILE "ferry-json.so"
#define FERRY_JSON_SYMBOL "ferry_json_api"
#define FERRY_JSON_VERSION 1u

#define FERRY_JSON_DESCRIPTOR_MOST ((size_t)16 << 20) /**< bytes of a descriptor */
#define FERRY_JSON_MOST ((size_t)256 << 20)           /**< bytes of a message, or of its text, in or out */
#define FERRY_JSON_DEPTH 64                           /**< of messages within messages */

/* Flags of decode. */
/** Many lines, indented, for people; else one line without an end of line. */
#define FERRY_JSON_LINES 1u
/** Fields that are not set and have a default are shown, too. */
#define FERRY_JSON_UNSET 2u
/** Field names as in the .proto; else in the usual camel case. Encode takes both. */
#define FERRY_JSON_PROTO 4u

/** A descriptor that was read. */
typedef struct ferry_json_schema ferry_json_schema_t;

/** What the module offers. Whatever is called `error` gets one malloc'ed sentence without an end of line when the
 * function fails, and is untouched else; NULL is allowed. */
typedef struct ferry_json_api {
    uint32_t version; /**< FERRY_JSON_VERSION */
    uint32_t reserved;

    /** Reads a serialized google.protobuf.FileDescriptorSet, as "$descriptor" gives it: every import is in it, or is
     * one of google/protobuf/ (timestamp.proto and so on). Errors: -EINVAL it is none, or wrong; -EMSGSIZE; -ENOMEM. */
    int (*open)(const void *descriptor, size_t size, ferry_json_schema_t **schema, char **error);

    /**
     * JSON text to the bytes of a message. `type` is the full name of its type ("bank.v1.OpenRequest"), with or without
     * a leading dot. Empty text is an empty message. The bytes are malloc'ed, not NULL even if there are none:
     * free_bytes. Errors: -ENOENT no such type; -EINVAL the text is not JSON of this type: the sentence says why;
     * -EMSGSIZE; -ENOMEM.
     */
    int (*encode)(ferry_json_schema_t *schema, const char *type, const char *text, size_t text_size, void **bytes,
                  size_t *size, char **error);

    /**
     * The bytes of a message to JSON text, malloc'ed, with a '\0' after its `*text_size` bytes (NULL: not wanted).
     * Errors: -ENOENT no such type; -EINVAL the bytes are none of this type; -EMSGSIZE; -ENOMEM.
     */
    int (*decode)(ferry_json_schema_t *schema, const char *type, const void *bytes, size_t size, uint32_t flags,
                  char **text, size_t *text_size, char **error);

    /** Frees what open made. NULL is allowed. */
    void (*close)(ferry_json_schema_t *schema);
    /** Frees bytes, text or sentence (as free does: the tool may use that). NULL is allowed. */
    void (*free_bytes)(void *bytes);
} ferry_json_api_t;

#ifdef __cplusplus
}
#endif
#endif

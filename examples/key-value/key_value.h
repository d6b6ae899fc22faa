/* SPDX-License-Identifier: MIT
 *
 * key_value.h - the service "key-value" in the space of the same name: what server and client must agree on.
 *
 *     put       argument: put_t    result: version_t. Stores a value; compares and sets, if a version is expected
 *     get       argument: the key  result: value_reply_t
 *     remove    argument: the key  result: none
 *     list      argument: a prefix results: each key that begins so, in order
 *
 * Each value has a version, a number that no other value of the server has or had.  A key is 1 to KEY_MOST bytes
 * without a zero byte.
 */
#ifndef KEY_VALUE_H
#define KEY_VALUE_H

#include "store.h"

#include <ferry/ferry.h>

#define KEY_VALUE "key-value"

/** Errors of the service's own. */
#define NO_SUCH_KEY 1
#define OTHER_VERSION 2 /**< its detail: version_t, the one that there is, or 0 */

typedef struct put {
    uint64_t expected; /**< version, 0 (no value) or ANY_VERSION */
    uint32_t key_size;
    uint32_t reserved;
    char bytes[]; /**< the key, then the value */
} put_t;

typedef struct value_reply {
    uint64_t version;
    char bytes[];
} value_reply_t;

typedef uint64_t version_t;

/* ---- the server ---- */

/** Opens the service over a store. Negative errno; to be started by ferry_service_start. */
int key_value_open(ferry_t *node, store_t *store, ferry_service_t **service);

/* ---- the client: a function for each method ----
 *
 * Each returns what ferry_call does, and -EPROTO if the result is none of this service's.
 */

typedef struct key_value {
    ferry_client_t *client;
    int64_t timeout; /**< nanoseconds for each call: its deadline */
} key_value_t;

/**
 * Takes memory for a value of `size` bytes, to be written at `*value` and sent by key_value_put. The server reads it
 * there: a large value is not copied on the way. `expected`: a version, 0 (no value) or ANY_VERSION.
 */
int key_value_new(key_value_t *kv, const char *key, uint64_t expected, size_t size, void **value, ferry_msg_t **m);
/** Sends and releases it. `*version` becomes the new one; FERRY_CALL_FAILED, OTHER_VERSION: the one that there is. */
int key_value_put(key_value_t *kv, ferry_msg_t *m, uint64_t *version);

#define SMALL_VALUE 1024u
/** Without an answer, and copied: values of up to SMALL_VALUE bytes. */
int key_value_put_one_way(key_value_t *kv, const char *key, const void *value, size_t size);

/** A value that stands in a message, which is to be released. */
typedef struct got {
    ferry_msg_t *m;
    uint64_t version;
    const char *value;
    size_t size;
} got_t;
/** FERRY_CALL_FAILED: NO_SUCH_KEY, and there is nothing to be released. */
int key_value_get(key_value_t *kv, const char *key, got_t *got);
/** The same. */
int key_value_remove(key_value_t *kv, const char *key);

typedef int each_key_t(const char *key, size_t size, void *arg);
/** Calls `each` for every key, as they come, until it returns something else than 0; returns that then. */
int key_value_list(key_value_t *kv, const char *prefix, each_key_t *each, void *arg);

#endif

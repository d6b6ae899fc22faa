/* SPDX-License-Identifier: MIT
 *
 * store.h - keys and their values, for many threads of one process; this file knows nothing of Ferry.
 *
 * A value does not change once it is in the store: who puts another one under the same key replaces it.  So whoever has
 * got a value reads it without a lock, for as long as he holds it.
 */
#ifndef STORE_H
#define STORE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_MOST 255u /**< bytes of a key */

/** A value. Whoever holds one gives it back with value_release. */
typedef struct value {
    atomic_uint holders;
    uint64_t version; /**< which value of this store it is, from 1 */
    size_t size;
    char bytes[];
} value_t;

/** A value of `size` bytes to be filled in. NULL: no memory. */
value_t *value_new(size_t size);
/** NULL is allowed. */
void value_release(value_t *v);

typedef struct store store_t;

/** NULL: no memory. */
store_t *store_new(void);
void store_free(store_t *s);

/** The key's value, to be released; NULL: there is none. */
value_t *store_get(store_t *s, const char *key, size_t size);

/** Any version, for store_put. */
#define ANY_VERSION UINT64_MAX
/**
 * Puts a value, which is the store's from then on, if the key's version is `expected` (0: it has no value). Returns 0
 * and the new version; -EAGAIN, and the version that there is; -ENOMEM. On failure the value stays the caller's.
 */
int store_put(store_t *s, const char *key, size_t size, value_t *v, uint64_t expected, uint64_t *version);

/** 0, or -ENOENT: there was none. */
int store_remove(store_t *s, const char *key, size_t size);

/**
 * All keys that begin with `prefix`, in order: each with a zero byte at its end, an empty one after the last. To be
 * freed. NULL: no memory.
 */
char *store_keys(store_t *s, const char *prefix, size_t size);

#endif

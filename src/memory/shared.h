/* SPDX-License-Identifier: MIT
 *
 * shared.h - a counted mapping of a sealed memfd: this process's own memory, or a peer's.
 *
 * Own memory is mapped writable and keeps its descriptor, to be handed to peers.  A peer's memory is mapped read-only,
 * and its descriptor is closed once mapped.  Threads of one node share the owner's mapping by taking a reference, so
 * memory outlives its owner's handle for as long as a reader looks at it.
 */
#ifndef FI_SHARED_H
#define FI_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fi_shared {
    uint32_t refs;
    bool own;
    int fd;        /* what can be handed on: own memory, and what all write; else -1 */
    int companion; /* a descriptor that goes wherever this memory goes, and lives as long; else -1 */
    void *map;
    size_t bytes;
    uint64_t inode;
} fi_shared_t;

/* Allocates `bytes` (rounded up to pages) of sealed, fully allocated, zeroed memory. Errors: -ENOMEM, -EMFILE, ... */
int fi_shared_new(const char *label, size_t bytes, fi_shared_t **out);

/* Maps a peer's memory after checking seals, size and allocation; takes `fd` over in any case. -EPROTO: unfit. */
int fi_shared_accept(int fd, size_t min_bytes, size_t max_bytes, fi_shared_t **out);

/* The same two for memory that all its holders write; who accepts it keeps the descriptor, to hand it on. */
int fi_shared_new_for_all(const char *label, size_t bytes, fi_shared_t **out);
int fi_shared_accept_for_all(int fd, size_t min_bytes, size_t max_bytes, fi_shared_t **out);

/*
 * Of the latter: moves the mapping so that it has room for `bytes` bytes, before anybody has an address in it. What
 * lies beyond the file's end must not be touched before the file has grown.
 */
int fi_shared_reach(fi_shared_t *s, size_t bytes);

/* Any thread. */
fi_shared_t *fi_shared_ref(fi_shared_t *s);
void fi_shared_unref(fi_shared_t *s); /* NULL is allowed */

#endif

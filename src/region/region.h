/* SPDX-License-Identifier: MIT
 *
 * region.h - handles on shared regions.
 *
 * A region is an object (node/object.h) whose memory the program uses itself.  In its memory stand, in this order: the
 * object's head, the heap's notes, the region's own words, and the heap, with the root object as its first block.
 *
 *   0             128              +heap's notes        first                                          bytes        limit
 *   +-------------+----------------+--------------------+-----------------------------------------------+ - - - - - - +
 *   | object head | heap's notes   | root, sweep, ...   | blocks: root | ...                            | may grow     |
 *   +-------------+----------------+--------------------+-----------------------------------------------+ - - - - - - +
 *
 * Each process maps `limit` bytes from the start, so growing moves nothing: who finds no room makes the file longer,
 * under the heap's lock, then tells the heap.  The others find out when they meet a reference, or a heap, that reaches
 * further than they know, and ask the kernel how long the file is.  It never becomes shorter, so what was asked once
 * stays true.
 *
 * Every handle has a *hand* in the heap's notes: the block that it is just being given, or gives back.  When its owner
 * dies, the stewards mark the hand (FI_DIED) and set `sweep`; whoever has the heap's lock next finishes what the dead
 * one had in hand.
 */
#ifndef FI_REGION_H
#define FI_REGION_H

#include "ferry/region.h"
#include "lock/lock.h"
#include "store/heap.h"

#define FI_REGION_MAGIC FI_LOCK_MAGIC('r')

/* In shared memory, behind the heap's notes. */
typedef struct fi_region_words {
    uint64_t root;  /* reference; written once, before anybody else sees it */
    uint32_t sweep; /* some hand's owner has died */
} fi_region_words_t;

struct ferry_region {
    fi_lock_t base;
    fi_heap_t heap; /* its `bytes` grow under the heap's lock */
    fi_region_words_t *words;
    const char *seen;    /* where the program sees it: heap.base, or a mapping for reading only */
    uint64_t mapped;     /* bytes, there and at heap.base */
    uint64_t seen_bytes; /* relaxed; as far as is known; any thread */
    uint64_t root;
    uint32_t hand;
    bool read_only;
    bool huge_pages;
    int64_t patience;
    void *held; /* of a space that spans machines (net/region.h); NULL: none */
};

extern const fi_object_ops_t fi_region_ops;

int fi_region_open(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                   bool must_exist, ferry_region_t **region);
int fi_region_close(ferry_region_t *r);

/* Is it an open handle that may change the region? 0, -EBADF, -ECHILD, -EROFS. */
int fi_region_check_writable(const ferry_region_t *r);

/* Begins a step of the allocator: the heap's lock is ours. 0, or why not. `where`: the program's call. */
int fi_region_begin(ferry_region_t *r, const void *where);
/* Ends it, with its result. */
int fi_region_end(ferry_region_t *r, int result);

int fi_region_alloc(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, const void *where);
int fi_region_resize(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, const void *where);
int fi_region_free(ferry_region_t *r, ferry_ref_t *place, const void *where);

/*
 * If 0 stands in `*place`: allocates `bytes` bytes, lets `fill` write all of them, and stores the reference there.
 * Nobody else comes between; a death leaves both or neither. 0, or as ferry_region_alloc.
 */
int fi_region_make_once(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, void (*fill)(void *block, void *arg),
                        void *arg, const void *where);

/* The address of `bytes` bytes at `ref`, for this process's program; NULL. Any thread. */
void *fi_region_span(const ferry_region_t *r, uint64_t ref, uint64_t bytes);
/* How far the region reaches by now; noted for fi_region_span. Any thread. */
uint64_t fi_region_reach(const ferry_region_t *r);
/* The reference of an address; 0: outside. */
uint64_t fi_region_ref(const ferry_region_t *r, const void *address);

/* ---- locks inside (inside.c) ---- */

/* Fills in where the lock stands, after checking that no other kind does. */
int fi_region_place(ferry_region_t *r, ferry_ref_t place, uint32_t kind, fi_opening_t *o);

#endif

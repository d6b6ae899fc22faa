/* SPDX-License-Identifier: MIT
 *
 * pool.h - a sender's memory for messages: size classes inside sealed, pre-faulted segments, under one quota.
 *
 * Used by whoever holds the sender's end, one thread at a time.  Nothing in here is shared: the segments hold message
 * bytes only, and reference counts stay private to the sender, so neither a crash nor a lying peer can harm them.
 *
 * A block is free, or in use with refs > 0: one for each handle of the program, one for each record in a ring and each
 * message in the backlog that points at it.  Sealed memory cannot be punched, so memory goes back to the system by
 * whole segments, when the quota is needed for another size.
 */
#ifndef FI_POOL_H
#define FI_POOL_H

#include "base/list.h"
#include "memory/rotation.h"
#include "memory/shared.h"

#define FI_POOL_CLASSES 48 /* 64, 128, 192, 256 B, then four sizes for each doubling, up to 256 KiB */
#define FI_BLOCK_ALIGN 64u

struct fi_pool;
struct fi_segment;

typedef struct fi_block {
    struct fi_segment *segment;
    struct fi_block *next_free;
    uint64_t offset; /* in the segment */
    uint64_t size;   /* of the message in it */
    uint64_t sum;    /* checksum of a sent message, with FERRY_CHECK=1 */
    uint32_t refs;
    uint32_t lent; /* of these, records that a receiver has not released */
} fi_block_t;

typedef struct fi_segment {
    struct fi_list link;
    fi_shared_t *memory;
    fi_block_t *blocks;
    uint64_t block_bytes;
    uint32_t id; /* never used twice in a pool */
    uint32_t count;
    uint32_t used;
    int cls;    /* -1: one large block */
    bool alone; /* it goes back to the system with its block */
} fi_segment_t;

/* The blocks of one size. */
typedef struct fi_pool_class {
    fi_block_t *free;
    uint64_t bytes; /* of its segments */
} fi_pool_class_t;

/* What the owner is told, to pass it on to those who map the pool. */
typedef struct fi_pool_events {
    void (*removed)(void *owner, fi_segment_t *s);
    bool (*yield)(void *owner); /* the quota is used up: gives a block back that is not needed. False: there is none */
    void *owner;
} fi_pool_events_t;

typedef struct fi_pool {
    struct fi_list segments;
    fi_pool_class_t *classes; /* FI_POOL_CLASSES; all senders share empty ones until they need their own */
    fi_block_t *free_large;   /* used last stands first */
    fi_rotation_t rotation;   /* which of these is taken next */
    uint64_t large_bytes;     /* of segments with one large block */
    fi_pool_events_t events;
    uint64_t quota;
    bool overdraft;      /* what was accepted already must find room, whatever the quota says */
    uint64_t charged;    /* bytes of segments */
    uint64_t idle_bytes; /* of those of which no block is in use */
    uint64_t blocks;     /* in use */
    uint64_t bytes;      /* of these blocks */
    uint32_t next_id;
} fi_pool_t;

void fi_pool_init(fi_pool_t *p, uint64_t quota, const fi_pool_events_t *events);
/* Frees all segments, also those with blocks in use. */
void fi_pool_done(fi_pool_t *p);

/* A block of at least `size` bytes with one reference. Errors: -EDQUOT, -ENOMEM, those of fi_shared_new. */
int fi_pool_alloc(fi_pool_t *p, uint64_t size, fi_block_t **out);
/* The same, if one is free; the pool does not grow. NULL: none. */
fi_block_t *fi_pool_take(fi_pool_t *p, uint64_t size);
/* A block for which a segment is made, and which goes back with it. It begins a page, and is zero. Errors as above. */
int fi_pool_alloc_alone(fi_pool_t *p, uint64_t size, fi_block_t **out);
/* Would a block of `size` bytes be had now? */
bool fi_pool_has_room(const fi_pool_t *p, uint64_t size);
void fi_pool_unref(fi_pool_t *p, fi_block_t *b);
/* Counts memory that is not the pool's against its quota. False: there is no room for it. */
bool fi_pool_charge(fi_pool_t *p, uint64_t bytes);
void fi_pool_discharge(fi_pool_t *p, uint64_t bytes);

static inline unsigned char *fi_block_data(const fi_block_t *b) {
    return (unsigned char *)b->segment->memory->map + b->offset;
}

#endif

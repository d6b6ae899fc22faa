/* SPDX-License-Identifier: MIT
 *
 * store/buffer.h - a ring of slots between producers and consumers, in memory that all of them write.
 *
 *   0     magic | slots | item_bytes                   written before anybody else sees it; copied and checked once
 *   64    lock | head | tail | consumers | producers | ended        change under the lock only
 *   128   filled                                       auto-reset event: a waiting consumer shall look
 *   192   emptied                                      auto-reset event: a waiting producer shall look
 *   256   slot 0 | slot 1 | ...                        length, bytes; each rounded up to 16
 *
 * Items head .. tail - 1 are in it, item n in slot n % slots.  `consumers` and `producers` count those who wait.
 *
 * What a death leaves.  Length and bytes are written into a free slot first; then one store, of tail + 1, puts the
 * item. It is copied out first; then one store, of head + 1, takes it.  So whoever gets the lock from a dead one finds
 * an item that was put or was not, was taken or was not, and nothing to repair.  A count may be too high by one who
 * died waiting:
 * that costs a look at the event for each put or get, and nothing else.  It is never too low.
 *
 *   consumer                                              producer (the other way round, the same)
 *   lock; finds it empty; consumers + 1; unlock           lock; puts; unlock
 *   waits for `filled`, which resets it                   consumers > 0: sets `filled`
 *   lock; finds an item: consumers - 1; takes it; unlock
 *   something is left, and consumers > 0: sets `filled`
 *
 * Why no wake-up is lost.  A look is owed to the consumers when `filled` is set; when somebody has put something or
 * ended it, and is on his way to set `filled`; or when one who waited has reset `filled`, and is on his way to the
 * lock.  The invariant, whenever the lock is free: if somebody waits and it is not empty, or has ended, a look is owed.
 *   - Who begins to wait has found it empty, and is counted before he unlocks.
 *   - Who puts something, or ends it, finds whoever waits counted, and owes a look.  (Is `filled` set already, and
 *     nobody sleeps there, he leaves it at that: who resets it will get the lock after him.)
 *   - Who looks leaves it empty, or nobody else waits, or he owes the next look.
 *   - Who gives up while he waits has not reset `filled`.  If he has, and cannot get the lock, he sets it again.
 *   - Who takes something without having waited can only make it empty: then a look that is owed finds nothing.
 *   - A look that was owed by one who dies is owed by nobody.  So the stewards, after each death and when they have
 *     freed the lock, set both events.
 * And what the events are told, sleepers hear: sync/acquire.h.  A process that is stopped after it was woken holds
 * nobody up: its wake-up counts for one item, and the next put wakes the next one.
 *
 * Who finds nothing looks again and again for some microseconds before he says that he waits, and gives way once.
 * Where both sides run, nobody sets an event; and where many share few processors, those who run meanwhile fill or
 * empty it.
 */
#ifndef FI_STORE_BUFFER_H
#define FI_STORE_BUFFER_H

#include "sync/event.h"
#include "sync/mutex.h"

#define FI_BUFFER_MAGIC UINT64_C(0x3172656666754266) /* "fBuffer1" */

typedef struct fi_buffer_slot {
    uint64_t length;
    unsigned char bytes[];
} fi_buffer_slot_t;

typedef struct fi_buffer_memory {
    uint64_t magic;
    uint64_t slots;
    uint64_t item_bytes;
    uint64_t pad[5];
    fi_mutex_t lock;
    uint64_t head;
    uint64_t tail;
    uint64_t consumers;
    uint64_t producers;
    uint64_t ended;
    uint64_t pad2;
    uint64_t filled;
    uint64_t pad3[7];
    uint64_t emptied;
    uint64_t pad4[7];
    unsigned char slot[];
} fi_buffer_memory_t;

_Static_assert(__builtin_offsetof(fi_buffer_memory_t, lock) == 64, "as drawn");
_Static_assert(__builtin_offsetof(fi_buffer_memory_t, filled) == 128, "as drawn");
_Static_assert(__builtin_offsetof(fi_buffer_memory_t, emptied) == 192, "as drawn");
_Static_assert(sizeof(fi_buffer_memory_t) == 256, "as drawn");

#define FI_BUFFER_ALIGN 64u                   /* of the memory, so that what is apart in it is on lines of its own */
#define FI_BUFFER_LARGEST ((uint64_t)1 << 44) /* bytes of memory */

/* As a process sees it: its size is its own knowledge. */
typedef struct fi_buffer {
    fi_buffer_memory_t *shared;
    uint64_t slots;
    uint64_t mask; /* slots - 1, if that is a power of two; else 0 */
    uint64_t item_bytes;
} fi_buffer_t;

/* Who calls. */
typedef struct fi_buffer_user {
    uint64_t me;
    fi_waiter_t *waiter;
    int64_t patience; /* with FERRY_NOW: how long to wait for one who was stopped while he has the lock */
} fi_buffer_user_t;

/* Bytes of memory that it takes; 0: there can be none with these numbers. */
uint64_t fi_buffer_bytes(uint64_t slots, uint64_t item_bytes);
/* Makes one in memory of that size, which is zero. */
void fi_buffer_init(void *memory, uint64_t slots, uint64_t item_bytes);
/* Finds one in `bytes` bytes of memory. 0; -EPROTOTYPE: there is none. */
int fi_buffer_find(fi_buffer_t *b, void *memory, uint64_t bytes);

/*
 * 0; -EAGAIN, -ETIMEDOUT, -EINTR, -ESHUTDOWN; -EPIPE it was ended; -EMSGSIZE `len` is more than an item may have;
 * -EPROTO what stands in the memory is nonsense; -EDEADLK `me` has the lock already. -ETIMEDOUT with FERRY_NOW:
 * somebody keeps the lock. (The lock is had for moments only, so a call whose time is over waits for it that long.)
 */
int fi_buffer_put(const fi_buffer_t *b, const fi_buffer_user_t *user, const void *data, uint64_t len, int64_t timeout);
/* The same, but -EPIPE it was ended and is empty; -EMSGSIZE the item has more than `cap` bytes, `*len`, and stays. */
int fi_buffer_get(const fi_buffer_t *b, const fi_buffer_user_t *user, void *buf, uint64_t cap, uint64_t *len,
                  int64_t timeout);
/* 0; -ETIMEDOUT, -EINTR, -ESHUTDOWN, -EPROTO as above. */
int fi_buffer_end(const fi_buffer_t *b, const fi_buffer_user_t *user);
/* How many items are in it; -EPROTO. */
int64_t fi_buffer_count(const fi_buffer_t *b);

/* After a death; any thread. */
void fi_buffer_bury(const fi_buffer_t *b, fi_is_dead_fn *is_dead, void *arg);
/* Everybody shall look whether his wait must end. */
void fi_buffer_wake(const fi_buffer_t *b);

#endif

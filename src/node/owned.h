/* SPDX-License-Identifier: MIT
 *
 * owned.h - what a thread owns: a thread that ends is dead for it, although its process lives.
 */
#ifndef FI_OWNED_H
#define FI_OWNED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/list.h"

struct ferry;

typedef struct fi_owned {
    struct fi_list link; /* in its thread's list */
    struct ferry *node;
    uintptr_t owner; /* fi_thread_mark() of the thread that used it last */
    int32_t tid;     /* the same thread, as the kernel calls it */
    uint32_t orphan; /* 1: that thread has ended */
    uint32_t buried; /* 1: and what it held is given to others. For ever; written with the owners' lock */
} fi_owned_t;

/* An address that differs between living threads: where each has its control block. One instruction on most
 * machines. */
static inline uintptr_t fi_thread_mark(void) {
    return (uintptr_t)__builtin_thread_pointer();
}

static inline bool fi_is_own(const fi_owned_t *o) {
    return __atomic_load_n(&o->owner, __ATOMIC_RELAXED) == fi_thread_mark();
}

static inline int32_t fi_owner_tid(const fi_owned_t *o) {
    return __atomic_load_n(&o->tid, __ATOMIC_RELAXED);
}

static inline bool fi_is_orphan(const fi_owned_t *o) {
    return fi_load_acquire32(&o->orphan) != 0;
}

static inline bool fi_is_buried(const fi_owned_t *o) {
    return fi_load_acquire32(&o->buried) != 0;
}

void fi_owned_init(fi_owned_t *o, struct ferry *node);
/* Makes the calling thread the owner. False: the one before has ended, and what it had is being taken apart. */
bool fi_own(fi_owned_t *o);
/* The same for what an ended thread may have left: it is no orphan any more. False: it is buried. */
bool fi_own_again(fi_owned_t *o);
/* Of an orphan, with the owners' lock, and before anybody else may get what it held: he shall find it buried. */
static inline void fi_own_bury(fi_owned_t *o) {
    fi_store_release32(&o->buried, 1);
}
/* Nobody owns it any more. */
void fi_disown(fi_owned_t *o);

/* Around fork(). */
void fi_own_lock(void);
void fi_own_unlock(void);

#endif

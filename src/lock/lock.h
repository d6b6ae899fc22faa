/* SPDX-License-Identifier: MIT
 *
 * lock.h - handles on synchronization objects: whose they are, what they hold, how they wait.
 *
 * The quick way of a call is one compare-and-set on the object's word, when the handle is this thread's own.
 * Everything else enters: it finds out why not, makes this thread the owner, and keeps other threads out while it
 * waits.
 */
#ifndef FI_LOCK_H
#define FI_LOCK_H

#include "base/assert.h"
#include "ferry/look.h"
#include "ferry/sync.h"
#include "node/node.h"
#include "sync/barrier.h"
#include "sync/event.h"
#include "sync/mutex.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"

#define FI_LOCK_CLOSED 0x586b636cu /* "lckX" */

/* Magic numbers of handles are the letters of their objects, with a mark. */
#define FI_LOCK_MAGIC(kind) (0x6b636c00u | (uint32_t)(kind))

typedef struct fi_lock {
    fi_handle_t handle;
    fi_waiter_t waiter;
    fi_blocked_t blocked; /* listed while it waits for long */
    bool detects;         /* looks for deadlocks */
    uint32_t what;        /* ferry_wait_for_t of the wait that goes on */
    const void *where;    /* the program's call */
} fi_lock_t;

struct ferry_mutex {
    fi_lock_t base;
    fi_mutex_t *mutex;
    uint64_t token;
    bool unrepaired;
};

struct ferry_rwlock {
    fi_lock_t base;
    fi_rwlock_t *rwlock;
    uint64_t token;
    uint32_t slot;
    bool reads;
    bool unrepaired;
};

struct ferry_semaphore {
    fi_lock_t base;
    fi_semaphore_t semaphore;
    uint32_t at;
};

struct ferry_barrier {
    fi_lock_t base;
    fi_barrier_t barrier;
};

struct ferry_event {
    fi_lock_t base;
    fi_event_t event;
};

extern const fi_object_ops_t fi_mutex_ops, fi_rwlock_ops, fi_semaphore_ops, fi_barrier_ops, fi_event_ops;

static inline fi_semaphore_t fi_semaphore_of(const fi_object_t *o) {
    return (fi_semaphore_t){.shared = fi_object_of(o), .units = o->spec.flags ? o->spec.count : 0};
}
static inline fi_barrier_t fi_barrier_of(const fi_object_t *o) {
    return (fi_barrier_t){.shared = fi_object_of(o), .parties = o->spec.count};
}
static inline fi_event_t fi_event_of(const fi_object_t *o) {
    return (fi_event_t){.word = fi_object_of(o), .auto_reset = o->spec.flags != 0};
}

/* A user's handle as a lock: it stands first in all. NULL stays NULL. */
static inline fi_lock_t *fi_lock_of(const void *handle) {
    return (fi_lock_t *)(uintptr_t)handle;
}

/* What is asked for in an open call. */
typedef struct fi_opening {
    ferry_t *node;
    const char *name;
    uint32_t kind;
    uint32_t flags;
    uint32_t count;
    uint64_t size; /* these as in fi_object_spec_t */
    uint64_t limit;
    uint64_t type_size;
    const char *type; /* NULL: no opinion */
    bool must_exist;
    fi_object_t *inside; /* a region; then without a name, at `at` in its memory */
    uint64_t at;
    uint64_t place; /* what the program calls it by there */
    const ferry_sync_options_t *options;
    const fi_object_ops_t *ops;
    size_t bytes; /* of the handle */
} fi_opening_t;

/* -EINVAL. NULL is allowed. */
int fi_lock_check_options(const ferry_sync_options_t *o);

/* Makes a handle that is open, or none. */
int fi_lock_open(const fi_opening_t *o, fi_lock_t **out);

/* The same for one kind; `o` says where it is, its options and its count. */
int fi_mutex_open(fi_opening_t *o, ferry_mutex_t **mutex);
int fi_event_open(fi_opening_t *o, ferry_event_t **event);
int fi_semaphore_open(fi_opening_t *o, ferry_semaphore_t **semaphore);
int fi_semaphore_check_count(const char *name, uint32_t count, bool owned);

/* May this thread take the quick way? */
static inline bool fi_lock_is_mine(const fi_lock_t *l, uint32_t magic) {
    return fi_likely(l && l->handle.magic == magic && fi_is_own(&l->handle.own) &&
                     fi_load_relaxed32(&l->handle.busy) == 0);
}

/* Begins a call: 0, -EBADF, -EBUSY, -ECHILD, -EOWNERDEAD. */
int fi_lock_enter(fi_lock_t *l, uint32_t magic);
/* Ends it, with its result. */
int fi_lock_leave(fi_lock_t *l, int r);

/* Is it an open handle of this process? 0, -EBADF, -ECHILD. */
int fi_lock_check(const fi_lock_t *l, uint32_t magic);

/* How a wait ended, in words. Returns `r`. */
int fi_lock_explain(const fi_lock_t *l, int r, int64_t timeout);

/* The part that is the same wherever the object is: of the `word` ("mutex") called `name`. Returns `r`. */
int fi_wait_explain(int r, const char *word, const char *name);

/* -EPERM or -EALREADY: this handle does not hold it. */
int fi_lock_not_held(const fi_lock_t *l, uint64_t word);

/* 0: it is held by this handle; -EPERM: it is not; and the errors of fi_lock_enter. */
int fi_lock_check_held(fi_lock_t *l, uint32_t magic);

/* What was taken from a dead owner is whole again. 0, -EPERM, -EINVAL. */
int fi_lock_repaired(const fi_lock_t *l, bool *unrepaired);

/* Closes the handle; `held` says what must be given back first (NULL: nothing is held). */
int fi_lock_close(fi_lock_t *l, uint32_t magic, const char *held);

/* The node is closed: a handle that is open in it (there is one), and its end; what it holds is left by a dead one. */
fi_lock_t *fi_lock_of_node(fi_node_t *n);
void fi_lock_drop(fi_lock_t *l);

static inline const char *fi_lock_name(const fi_lock_t *l) {
    return l->handle.object->spec.name;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * object.h - a named object that several processes share: memory that all of them write.
 *
 * Whoever opens a name first makes the object, every holder serves it, and it is gone with the last.  The names stand
 * in the space's directory, one small file for each node that holds the object:
 *
 *     o-NAME:KIND:NODE:INSTANCE         o-ledger:m:00c0ffee00c0ffee:1f2e3d4c5b6a7988
 *
 * INSTANCE is the object's random number.  At any moment all names of one object have the same instance, because names
 * are written under the space's lock only, and
 *   - a new instance is made only while no living node holds the name;
 *   - who has been given the memory by a holder writes his name only while that holder's name still stands there; if it
 *     does not, he throws the memory away and begins anew.
 *
 * A death must wake those who sleep in the object, and the dead one may be anybody who has touched it.  So all holders
 * are connected with each other: before a newcomer touches the object, he has connected to every holder whose name he
 * found when he wrote his own; those who come later connect to him.
 *
 *   newcomer                            holder
 *   OBJECT_ASK name            ->   <-  OBJECT (memory), or OBJECT_NONE: not held (any more)
 *   writes his name
 *   OBJECT_JOINED name         ->       to all holders
 *   OBJECT_LEFT name           ->       when he closes it
 *   OBJECT_CHANGED name        ->       somebody waits by descriptor for a change, and this is one
 *
 * Inside a region there may stand further objects.  They have no names in the directory: a node knows those that it has
 * open itself, and their holders are the region's.
 */
#ifndef FI_OBJECT_H
#define FI_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "memory/shared.h"
#include "node/owned.h"
#include "node/peer.h"
#include "node/space.h"
#include "sync/word.h"

struct ferry;

/* What all who open a name must agree on; where no opinion is possible, the maker's becomes that of all. */
typedef struct fi_object_spec {
    char name[128];
    uint32_t kind;      /* a letter: m, w, s, b, e, c, r; inside a region also q */
    uint32_t flags;     /* of its kind */
    uint32_t count;     /* of its kind; FI_COUNT_ANY: no opinion */
    bool must_exist;    /* do not make it */
    uint64_t size;      /* of its kind; 0: no opinion */
    uint64_t limit;     /* it may grow to; 0: no opinion, and the maker means `size` */
    uint64_t type_size; /* 0: no opinion */
    uint64_t place;     /* inside a region: what its openers gave, by which it is named */
    char type[64];      /* "": no opinion */
} fi_object_spec_t;

#define FI_COUNT_ANY UINT32_MAX

/* Stands first in the memory; the object itself follows. */
typedef struct fi_object_head {
    uint64_t magic;
    uint64_t instance;
    uint32_t kind;
    uint32_t flags;
    uint32_t count;
    uint32_t pad;
    uint64_t size;
    uint64_t limit;
    uint64_t type_size;
    char type[64];
    uint64_t end;
} fi_object_head_t;

_Static_assert(sizeof(fi_object_head_t) == 128, "the object begins on a line of its own");

#define FI_OBJECT_MAGIC 0x32626f7965726663ull

struct fi_object;
struct fi_handle;

/* What is done to objects of one kind. */
typedef struct fi_object_ops {
    const char *word; /* "mutex" */
    /* Of its memory, behind the head; how much address space it gets from the start, if that is more (NULL: it is
     * not). */
    size_t (*bytes)(const fi_object_spec_t *spec);
    size_t (*reach)(const fi_object_spec_t *spec);
    void (*init)(const struct fi_object *o); /* in new memory, which is zero; NULL: it stays so */
    /* Somebody died or may have died: takes out who is dead, wakes all. */
    void (*bury)(const struct fi_object *o, fi_is_dead_fn *is_dead, void *arg);
    /* This node opens it, or has closed its last handle on it. NULL: nothing to note in the memory. -EUSERS: too many
     * do. */
    int (*opened)(const struct fi_object *o);
    void (*closed)(const struct fi_object *o);
    /* A node that had it open has died. NULL: does not matter. */
    void (*holder_died)(const struct fi_object *o, uint64_t node);
    void (*wake)(const struct fi_object *o); /* all shall look again */
    void (*dropped)(struct fi_handle *h);    /* a handle is closed: what is its own. NULL: nothing */
} fi_object_ops_t;

#define FI_EXILES_MAX 64u /* as many as are remembered of those that were expelled */

typedef struct fi_object {
    struct fi_list link;    /* in the node's list */
    struct fi_list handles; /* fi_handle_t; guarded by the node's lock, as is all that follows */
    struct ferry *node;
    const fi_object_ops_t *ops;
    fi_object_spec_t spec;    /* as agreed, once it is ready */
    struct fi_object *region; /* it stands inside this one; NULL: it has memory and holders of its own */
    uint64_t at;              /* where in the memory it stands */
    uint32_t refs;
    bool ready;
    bool repair; /* somebody has died */
    uint64_t instance;
    fi_shared_t *memory;
    uint64_t *holders; /* other nodes that have it open */
    size_t holder_count;

    /* while it is opened */
    uint64_t exiles[FI_EXILES_MAX]; /* holders without a name, as we were told */
    uint32_t exile_count;
    struct fi_mail *offer; /* memory that came */
    uint32_t refusals;
    uint32_t asked;
} fi_object_t;

/* A user's handle on an object; stands first in each of them. */
typedef struct fi_handle {
    uint32_t magic;
    uint32_t busy; /* a thread is inside a call that waits, or changes what is held */
    fi_owned_t own;
    fi_object_t *object;
    struct fi_list link; /* in the object's list */
    uint64_t me;         /* as words name it */
    uint32_t held;       /* relaxed; how much it holds; user's thread, or the steward once that has ended */
    int wake_fd;         /* eventfd that tells of changes; -1: nobody asked for one; set once, with the node's lock */
} fi_handle_t;

static inline uint32_t fi_held(const fi_handle_t *h) {
    return fi_load_relaxed32(&h->held);
}
static inline void fi_set_held(fi_handle_t *h, uint32_t held) {
    fi_store_relaxed32(&h->held, held);
}

static inline void *fi_object_of(const fi_object_t *o) {
    return (char *)o->memory->map + o->at;
}

/*
 * Finds or makes the object and adds `h` to its handles. Errors: -EPROTOTYPE another kind, count or flags; -ENOENT
 * FI_COUNT_ANY and nobody holds it; -ETIMEDOUT its holders do not answer; -ESHUTDOWN; -EMFILE, -ENFILE, -ENOMEM; those
 * of writing a name.
 */
int fi_object_open(struct ferry *n, const fi_object_spec_t *spec, const fi_object_ops_t *ops, fi_handle_t *h);
/*
 * The same for an object at `at` in the memory of `region`, which this node has open; the region lives as long as it.
 * Its bytes are whatever stands there. Error: -EPROTOTYPE this node has another kind open there; -ENOMEM, -ESHUTDOWN.
 */
int fi_object_open_inside(fi_object_t *region, uint64_t at, const fi_object_spec_t *spec, const fi_object_ops_t *ops,
                          fi_handle_t *h);
/* Has this node something open inside it? The node's lock is taken. */
bool fi_object_is_inhabited(const fi_object_t *region);
void fi_object_close(struct ferry *n, fi_handle_t *h);
/* What the handle holds becomes that of somebody who died. The node's lock is taken, or nobody else knows the node. */
void fi_object_abandon(fi_handle_t *h);
/*
 * It has changed: makes the wake_fd of all handles on it readable, in this node and, by their stewards, in all others.
 * Any thread, no locks held.
 */
void fi_object_changed(fi_object_t *o);
/* Puts back names that somebody swept. `all`: the node's own name was gone, too. False: not yet possible. */
bool fi_objects_republish(struct ferry *n, bool all);

/* Steward, the node's lock taken. */
int fi_object_asked(struct ferry *n, struct fi_mail *m);
int fi_object_answered(struct ferry *n, struct fi_mail *m); /* 1: took the mail over */
int fi_object_joined(struct ferry *n, struct fi_mail *m);
int fi_object_left(struct ferry *n, struct fi_mail *m);
int fi_object_exile(struct ferry *n, struct fi_mail *m);
int fi_object_is_changed(struct ferry *n, struct fi_mail *m);

/* ---- between object.c and object_open.c; the node's lock taken ---- */

fi_object_t *fi_object_find(struct ferry *n, const char *name);
int fi_object_add_holder(fi_object_t *o, uint64_t id);
bool fi_object_is_holder(const fi_object_t *o, uint64_t id);
void fi_object_tell_holders(struct ferry *n, const fi_object_t *o, uint32_t frame_type);
/* We do not have it any more: removes our name, and tells its holders. */
void fi_object_leave(struct ferry *n, const fi_object_t *o);
/* Our name on it, in the directory. With the space's lock held. */
int fi_object_write_name(struct ferry *n, const fi_object_t *o);
void fi_object_forget(fi_object_t *o);
fi_object_t *fi_object_new(struct ferry *n, const fi_object_spec_t *spec, const fi_object_ops_t *ops);
/* Adds the handle, under a number of its own. */
void fi_object_add_handle(fi_object_t *o, fi_handle_t *h);
void fi_object_ring_handles(const fi_object_t *o);
/* The one whose memory and holders it has. */
static inline fi_object_t *fi_object_outer(fi_object_t *o) {
    return o->region ? o->region : o;
}

/* ---- deaths (repair.c); steward, the node's lock taken ---- */

/* A peer is gone. True: it must be heard of when its process dies, for what it holds, and can still take. */
bool fi_objects_need_death_of(struct ferry *n, uint64_t id);
/* A peer is dead, or nobody needs to hear of that: what it held must be looked at. */
void fi_objects_peer_gone(struct ferry *n, uint64_t id, bool dead);
/* It is connected again: it may have changed something meanwhile, and could not say so. */
void fi_objects_peer_back(struct ferry *n, uint64_t id);
/* Does what such events demand. False: not possible now, try again a little later. */
bool fi_objects_repair(struct ferry *n);
/* Handles whose thread has ended. */
void fi_objects_bury_orphans(struct ferry *n);
/* Does a handle of this node hold something? */
bool fi_objects_are_held(const struct ferry *n);
/* Shutdown: whoever sleeps shall look. True: some thread is inside a call. */
bool fi_objects_wake(struct ferry *n);

/* ---- names (object_names.c) ---- */

#define FI_OBJECT_NAME_MAX 160

typedef struct fi_object_entry {
    char name[104];
    uint32_t kind;
    uint64_t node;
    uint64_t instance;
} fi_object_entry_t;

void fi_object_entry_name(const fi_object_entry_t *e, char name[FI_OBJECT_NAME_MAX]);
/* Calls `each` for every holder of `name`, or of all names (NULL), until it returns something else than 0. */
int fi_object_each(fi_space_t *s, const char *name, int (*each)(const fi_object_entry_t *e, void *arg), void *arg);
/* With the space's lock held. Errors of writing, with a sentence. */
int fi_object_entry_write(fi_space_t *s, const fi_object_entry_t *e);
void fi_object_entry_remove(fi_space_t *s, const fi_object_entry_t *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * net/lock_state.h - a synchronization object of a networked space, as one value: who holds it, who waits for it, who
 * has it open.
 *
 * The value is one message (value.h), and is changed as a whole: whoever wants something computes what it would then
 * be, here, and puts that in the place of what it was.  Nothing here talks to anybody.
 *
 * Order: who waits stands in a line, in the order in which they came, up to FI_LEASE_LINE of them.  A lock that becomes
 * free is reserved for the head of the line (readers go in together, units go to as many as there are); whoever asks
 * meanwhile waits behind them.  So nobody starves that stands in the line; more than FI_LEASE_LINE wait outside it, in
 * no order.
 *
 * A holder's death leaves a mutex or a writer's lock with FI_LEASE_DIED until somebody has given it back repaired, or
 * makes it FI_LEASE_BROKEN by giving it back as it was.
 *
 * On the wire: the head, the openers, the entries; little-endian, no gaps.
 */
#ifndef FI_NET_LOCK_STATE_H
#define FI_NET_LOCK_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FI_LEASE_VERSION 1u
#define FI_LEASE_OPENERS 1024u /* nodes that have one object open */
#define FI_LEASE_LINE 256u
#define FI_LEASE_ENTRIES (4096u + FI_LEASE_LINE)
#define FI_LEASE_RECENT 8u
#define FI_LEASE_COUNT_MASK 0x3fffffffu

enum fi_lease_flag {
    FI_LEASE_DIED = 1,   /* a holder died: see above */
    FI_LEASE_BROKEN = 2, /* mutex, reader-writer lock: unusable; barrier: until it is reset */
    FI_LEASE_GONE = 4,   /* closed by the last: this value never changes again, a new object takes its place */
    FI_LEASE_SET = 8,    /* event */
};

enum fi_lease_role {
    FI_LEASE_WRITE = 1, /* holds a mutex, or a reader-writer lock to write */
    FI_LEASE_READ = 2,
    FI_LEASE_UNIT = 3,    /* of a semaphore; plain ones: such an entry only waits */
    FI_LEASE_ARRIVED = 4, /* at a barrier */
    FI_LEASE_WAITS = 16   /* this added: waits to become that */
};

typedef struct fi_lease_operation {
    uint64_t node;
    uint64_t number;
} fi_lease_operation_t;

typedef struct fi_lease_entry {
    uint64_t node;
    uint64_t number; /* of the node's operation that made it */
    int64_t since;   /* ns of the wall clock, as its node has it */
    uint32_t handle; /* of that node */
    int32_t tid;
    int32_t pid;
    uint16_t role;
    uint16_t units; /* held; FI_LEASE_UNIT */
} fi_lease_entry_t;

typedef struct fi_lease_head {
    uint8_t version;
    uint8_t kind;    /* m, w, s, b, e */
    uint8_t options; /* semaphore: owned; event: auto_reset */
    uint8_t flags;   /* enum fi_lease_flag */
    uint32_t count;  /* semaphore: units at first; barrier: parties */
    uint32_t value;  /* plain semaphore: units free; event: how often it was set */
    uint32_t round;  /* barrier */
    uint64_t spoilt; /* barrier: bit i: the round that ended i + 1 rounds ago did not become complete */
    uint64_t base;   /* tokens are this and the number of the message */
    uint32_t openers;
    uint32_t entries;
    fi_lease_operation_t recent[FI_LEASE_RECENT]; /* the last changes, newest first */
} fi_lease_head_t;

_Static_assert(sizeof(fi_lease_entry_t) == 40 && sizeof(fi_lease_head_t) == 40 + 16 * FI_LEASE_RECENT, "no gaps");

typedef struct fi_lease_state {
    fi_lease_head_t head;
    uint64_t *openers;
    fi_lease_entry_t *entries; /* holders among waiters, in the order in which they came */
    size_t room_openers, room_entries;
    bool changed;
    bool short_of_memory; /* a change could not be made: the value must not be used */
} fi_lease_state_t;

/* Who wants something, by which operation. */
typedef struct fi_lease_who {
    uint64_t node;
    uint64_t number;
    int64_t now;
    uint32_t handle;
    int32_t tid;
    int32_t pid;
    bool died; /* what this handle may still have there is left by a dead one */
} fi_lease_who_t;

void fi_lease_init(fi_lease_state_t *s, uint32_t kind, uint32_t options, uint32_t count, uint64_t base);
void fi_lease_free(fi_lease_state_t *s);
/* `to` becomes the same; unchanged so far. False: no memory. */
bool fi_lease_copy(fi_lease_state_t *to, const fi_lease_state_t *from);

/* The message; its length, or 0: `cap` is too small. */
size_t fi_lease_encode(const fi_lease_state_t *s, void *buffer, size_t cap);
static inline size_t fi_lease_bytes(const fi_lease_state_t *s) {
    return sizeof s->head + s->head.openers * sizeof *s->openers + s->head.entries * sizeof *s->entries;
}
/* 0; -EPROTO it is no such message; -EPROTONOSUPPORT another version of Ferry wrote it; -ENOMEM. */
int fi_lease_decode(fi_lease_state_t *s, const void *message, size_t len);

/* ---- who has it open ---- */

bool fi_lease_has_opener(const fi_lease_state_t *s, uint64_t node);
/* -EUSERS. */
int fi_lease_add_opener(fi_lease_state_t *s, uint64_t node);
/* It closes it: its entries go, and what it still held is left by a dead one. The last to go makes the object GONE. */
void fi_lease_part(fi_lease_state_t *s, uint64_t node);
/* Nobody who has it open lives: begins anew, for `node`. Who died holding it is not forgotten. */
void fi_lease_renew(fi_lease_state_t *s, uint32_t options, uint32_t count, uint64_t node);

/* The change is noted; was that one among the last? */
void fi_lease_sign(fi_lease_state_t *s, uint64_t node, uint64_t number);
bool fi_lease_is_signed(const fi_lease_state_t *s, uint64_t node, uint64_t number);

/* ---- taking and giving back ---- */

#define FI_LEASE_TAKEN 1
#define FI_LEASE_TAKEN_FROM_DEAD 2

/* Would it be this handle's turn? */
bool fi_lease_may_take(const fi_lease_state_t *s, uint32_t role, uint64_t node, uint32_t handle);
/* Takes it, or else gets into the line (`queue`; if there is room). Taken; 0: it waits; -EAGAIN it does not;
 * -ENOTRECOVERABLE. */
int fi_lease_take(fi_lease_state_t *s, uint32_t role, const fi_lease_who_t *who, bool queue);
/* The wait ends. */
void fi_lease_unqueue(fi_lease_state_t *s, uint64_t node, uint32_t handle);
/* What is held, one unit of it. `unrepaired`: as it was taken from a dead one. -ESTALE: it is not held any more. */
int fi_lease_give(fi_lease_state_t *s, uint64_t node, uint32_t handle, bool unrepaired);
const fi_lease_entry_t *fi_lease_holding(const fi_lease_state_t *s, uint64_t node, uint32_t handle);
/* Does anybody hold it? */
bool fi_lease_is_held(const fi_lease_state_t *s);
uint32_t fi_lease_free_units(const fi_lease_state_t *s);
/* Plain semaphore. -EOVERFLOW. */
int fi_lease_add_unit(fi_lease_state_t *s, uint32_t limit);

/* ---- barriers and events ---- */

/* 1: it was the last one; 0: waits for the others in `*round`; -EAGAIN (not the last, `alone`); -EOWNERDEAD. */
int fi_lease_arrive(fi_lease_state_t *s, const fi_lease_who_t *who, bool alone, uint32_t *round);
/* How the round ended: 1 complete, 0 not yet, -EOWNERDEAD. */
int fi_lease_round(const fi_lease_state_t *s, uint32_t round);
/* Does not wait any more: -ETIMEDOUT is allowed then; or the same as fi_lease_round. */
int fi_lease_withdraw(fi_lease_state_t *s, uint64_t node, uint32_t handle, uint32_t round);
void fi_lease_reset_barrier(fi_lease_state_t *s);

void fi_lease_set_event(fi_lease_state_t *s);
bool fi_lease_reset_event(fi_lease_state_t *s);
/* Lets one through? */
bool fi_lease_pass_event(fi_lease_state_t *s);

/* ---- deaths ---- */

/* That entry, if it is still there, is of somebody who died (`died`), or does not know of it any more. */
void fi_lease_evict(fi_lease_state_t *s, const fi_lease_entry_t *e, bool died);
/* A handle is closed: whatever it has there goes. `died`: as if somebody had died holding it. */
void fi_lease_drop(fi_lease_state_t *s, uint64_t node, uint32_t handle, bool died);
/* The node has died. */
void fi_lease_evict_node(fi_lease_state_t *s, uint64_t node);

/* Who stands in the way of this handle's wait: calls `each` for every entry. False from `each` ends it. */
void fi_lease_each_obstacle(const fi_lease_state_t *s, uint64_t node, uint32_t handle,
                            bool (*each)(const fi_lease_entry_t *e, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT
 *
 * store/cell.h - named, versioned values, many under one name, in memory that all of them write.
 *
 *   +------+-----------+-----------+-- ... --+--------+-- ... --+-------------+-------------+-- ... --+-------------+--
 *   | head | control 0 | control 1 |         | turn 0 |         | buffer 0, 0 | buffer 0, 1 |         | buffer 1, 0 |
 *   +------+-----------+-----------+-- ... --+--------+-- ... --+-------------+-------------+-- ... --+-------------+--
 *     head      word, an event: some cell has changed; `wanted`: who wants to be told of that
 *     control   word, an event: its count is the lower half of the newest version; `version`, see below; lengths
 *     turn      who may put; `awaited`
 *     buffer    bytes: those of version v stand in buffer v % 4 of the cell
 *
 * Each begins on a cache line.  Controls stand together, so that all of them are looked through quickly; a line has one
 * of them only, so that who puts into one cell does not slow the next one.  The turn has a line of its own because
 * those who look at the word would take it away from who puts.
 *
 * Putting, in one's turn:  writes the buffer and the length of the next version, and publishes it by setting the
 * control's event: one compare-and-set makes the version the newest and wakes those who wait for it.  So a death before
 * that leaves the version before, a death after it leaves the new one, and there is nothing to repair.
 *
 * Getting:  looks which version is the newest, copies its buffer out, and looks again.  Version v + 4 is written into
 * the same buffer once v + 3 is the newest: if it is not yet, what was copied is whole.  Nobody waits for anybody.
 * Under puts that come faster than that, a get takes its turn with them.
 *
 *   putter                                              getter
 *   release fence                                (R2)   version = control.version, acquire                (A3)
 *   bytes, length                                       count of the word, acquire                        (A1)
 *   control.version = version, release           (R3)   length, bytes
 *   compare-and-set of the word                  (R1)   acquire fence                                     (A2)
 *                                                       is control.version still less than v + 3?
 *
 *   R1, A1  Who has read the word sees length and bytes of that version, or newer ones.
 *   R2, A2  Who has read a single byte or the length of version v + 4 sees what was before that put: also the
 *           control.version of v + 3, since putters have their turns one after the other.
 *   R3, A3  Who reads control.version sees a word that is at most one version behind.
 *
 * Versions have 64 bits, so no number of puts between two instructions of a getter makes it take one for another.  The
 * word has the lower half; control.version is the newest one, or the next one (about to be published, or never, if who
 * wrote it has died).  The version of a word that was read after it is the one near it that has this lower half; and
 * that no more than a few puts went by is seen when control.version is looked at again.
 *
 * The bytes themselves are copied while they may change; what was copied counts only after the last look.
 * ThreadSanitizer cannot judge such a race (Boehm, "Can seqlocks get along with programming language memory models?",
 * 2012).  For it, and for the model of interleavings, they are copied by relaxed atomic words, which is the same but
 * slower.
 *
 * Watching any of them:  the watcher sets its flag in `wanted`, looks at all cells, then sleeps on the head's event.  A
 * putter looks at `wanted` after it has published, takes the flags back, and tells.  Both store, then load the other's,
 * with a full fence in between: so the watcher sees the new version, or the putter sees the flag.
 *
 * Deaths:  after each one all stewards call fi_cells_bury.
 *   - In its turn: the word of the turn names the dead one.  It may have died after publishing and before waking, so
 *     first those who wait for the version are woken, then its turn is ended: if a steward dies in between, the next
 *     one finds the name still there.
 *   - Between giving up its turn and waking the next one, or woken and not yet looking: everybody who waits for a turn
 *     is woken.  Turns that nobody has ever waited for (`awaited`) are passed over: with a million cells, a death must
 *     not cost a million wake-ups.
 *   - Between taking flags back and telling: the head's event is set, so that watchers look at all cells again and set
 *     their flag anew.
 */
#ifndef FI_STORE_CELL_H
#define FI_STORE_CELL_H

#include "base/assert.h"
#include "base/copy.h"
#include "platform/cpu.h"
#include "sync/event.h"
#include "sync/mutex.h"

#define FI_CELL_BUFFERS 4u

/* Bits of `wanted`: somebody wants to be told of the next put, whichever cell it is. Set for nothing: slow. */
#define FI_CELLS_WATCHED UINT64_C(1) /* by the head's event */
#define FI_CELLS_POLLED UINT64_C(2)  /* by descriptors */

typedef struct fi_cells_head {
    uint64_t word;
    uint64_t wanted;
    uint64_t pad[6];
} fi_cells_head_t;

typedef struct fi_cell_control {
    uint64_t word;
    uint64_t version;                 /* the newest one, or the next one */
    uint32_t length[FI_CELL_BUFFERS]; /* of the value in each buffer, and 1; 0: there was none */
    uint64_t fence;                   /* largest token that was used; who has his turn reads and writes it */
    uint64_t pad[3];
} fi_cell_control_t;

typedef struct fi_cell_turn {
    fi_mutex_t mutex;
    uint64_t awaited; /* 1: somebody has waited for it, once at least */
    uint64_t pad[5];
} fi_cell_turn_t;

_Static_assert(sizeof(fi_cells_head_t) == FI_CACHE_LINE, "as drawn");
_Static_assert(sizeof(fi_cell_control_t) == FI_CACHE_LINE, "as drawn");
_Static_assert(sizeof(fi_cell_turn_t) == FI_CACHE_LINE, "as drawn");

/* As one process sees them: private, and checked. */
typedef struct fi_cells {
    fi_cells_head_t *head;
    fi_cell_control_t *control; /* of the first cell, as are these */
    fi_cell_turn_t *turn;
    unsigned char *buffer;
    uint64_t buffer_bytes;
    uint64_t max_bytes;
    uint64_t few_bytes; /* up to here a value is copied without a call */
    uint32_t count;
} fi_cells_t;

/* Bytes of memory for `count` cells; any numbers up to 2^32 and 2^29. */
uint64_t fi_cells_bytes(uint64_t count, uint64_t max_bytes);
/* Finds its way in memory of so many bytes, on a cache line; new memory is zero, and needs nothing else. */
void fi_cells_find(fi_cells_t *c, void *memory, uint32_t count, uint64_t max_bytes);

static inline unsigned char *fi_cell_buffer(const fi_cells_t *c, uint32_t index, uint64_t version) {
    return c->buffer + ((uint64_t)index * FI_CELL_BUFFERS + version % FI_CELL_BUFFERS) * c->buffer_bytes;
}

/* ---- bytes that may change meanwhile ---- */

#ifndef FI_CELL_BY_WORDS
#define FI_CELL_BY_WORDS FI_TSAN
#endif

#if FI_CELL_BY_WORDS

/* The shared side begins on a multiple of 8, and has room for whole words. */
static inline void fi_cell_copy_out(void *to, const unsigned char *from, uint64_t n) {
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t word = fi_load_relaxed64((const uint64_t *)(const void *)(from + i));
        memcpy((unsigned char *)to + i, &word, n - i < 8 ? n - i : 8);
    }
}

static inline void fi_cell_copy_few_out(void *to, const unsigned char *from, uint64_t n) {
    fi_cell_copy_out(to, from, n);
}

static inline void fi_cell_copy_in(unsigned char *to, const void *from, uint64_t n) {
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const unsigned char *)from + i, n - i < 8 ? n - i : 8);
        fi_store_relaxed64((uint64_t *)(void *)(to + i), word);
    }
}

#else

/* The fences around it keep the compiler from looking at the shared side at any other moment. */
static inline void fi_cell_copy_out(void *to, const unsigned char *from, uint64_t n) {
    if (n > 0) {
        memcpy(to, from, n);
    }
}

static inline void fi_cell_copy_few_out(void *to, const unsigned char *from, uint64_t n) {
    fi_copy_few(to, from, n);
}

static inline void fi_cell_copy_in(unsigned char *to, const void *from, uint64_t n) {
    if (n <= FI_COPY_FEW) {
        fi_copy_few(to, from, n);
    } else {
        memcpy(to, from, n);
    }
}

#endif

/* ---- getting; any thread ---- */

/* What a look at a cell shows. */
typedef struct fi_cell_look {
    uint64_t version;
    uint64_t len; /* not checked; none: more than any value has */
} fi_cell_look_t;

static inline fi_cell_look_t fi_cell_look(const fi_cell_control_t *control) {
    fi_cell_look_t l = {fi_load_acquire64(&control->version), 0};         /* A3 */
    uint32_t count = (uint32_t)(fi_load_acquire64(&control->word) >> 32); /* A1 */

    l.version += (uint64_t)(int64_t)(int32_t)(count - (uint32_t)l.version);
    l.len = fi_load_relaxed32(&control->length[l.version % FI_CELL_BUFFERS]) - 1u;
    return l;
}

/* Is what was read since then of that version? */
static inline bool fi_cell_was_whole(const fi_cell_control_t *control, uint64_t version) {
    fi_fence_acquire(); /* A2 */
    return fi_load_relaxed64(&control->version) - version < FI_CELL_BUFFERS - 1;
}

/*
 * The usual case. `few`: up to few_bytes, and calls nobody. False: fi_cell_get does it, or tells why not; `buf` may
 * have been written to.
 */
static inline bool fi_cell_get_quick(const fi_cells_t *c, uint32_t index, bool few, void *buf, uint64_t cap,
                                     fi_cell_look_t *l) {
    const fi_cell_control_t *control = &c->control[index];

    *l = fi_cell_look(control);
    if (fi_unlikely(l->len > cap || l->len > (few ? c->few_bytes : c->max_bytes))) {
        return false;
    }
    if (few) {
        fi_cell_copy_few_out(buf, fi_cell_buffer(c, index, l->version), l->len);
    } else {
        fi_cell_copy_out(buf, fi_cell_buffer(c, index, l->version), l->len);
    }
    return fi_likely(fi_cell_was_whole(control, l->version));
}

/*
 * 0; -ENODATA nothing was put yet; -EMSGSIZE it has more than `cap`; -ETIMEDOUT it has waited for its turn in vain;
 * -EPROTO what stands in the memory is nonsense. `me` may be in use by other threads that get, and one that puts.
 */
int fi_cell_get(const fi_cells_t *c, uint32_t index, uint64_t me, fi_wait_t *w, void *buf, uint64_t cap,
                fi_cell_look_t *l);

/* The newest version; 0: none. */
uint64_t fi_cell_version(const fi_cells_t *c, uint32_t index);

/* Until the version is larger than `after`: 0, or how the wait ended. */
int fi_cell_wait(const fi_cells_t *c, uint32_t index, uint64_t after, fi_wait_t *w);

/* ---- putting ---- */

static inline bool fi_cell_try_turn(const fi_cells_t *c, uint32_t index, uint64_t me) {
    return fi_mutex_try(&c->turn[index].mutex, me);
}
/* FI_TAKEN, FI_TAKEN_FROM_DEAD; -EPROTO the turn is no turn any more; or how the wait ended. */
int fi_cell_take_turn(const fi_cells_t *c, uint32_t index, uint64_t me, fi_wait_t *w);
static inline void fi_cell_end_turn(const fi_cells_t *c, uint32_t index, uint64_t me) {
    fi_mutex_unlock(&c->turn[index].mutex, me);
}
/* In one's turn: the version that it became. `len` is at most max_bytes. */
uint64_t fi_cell_publish(const fi_cells_t *c, uint32_t index, const void *data, uint64_t len);

/*
 * In one's turn, before publishing: false: a larger token than this one was used. Who dies after this has raised the
 * fence and put nothing, which keeps out whom the next put would have kept out, too.
 */
static inline bool fi_cell_raise_fence(const fi_cells_t *c, uint32_t index, uint64_t token) {
    uint64_t *fence = &c->control[index].fence;

    if (fi_load_relaxed64(fence) > token) {
        return false;
    }
    fi_store_relaxed64(fence, token);
    return true;
}

/* ---- telling of any change ---- */

/* After a publication: takes back the flags of those who are to be told. */
static inline uint64_t fi_cells_take_wanted(const fi_cells_t *c) {
    fi_fence_after_cas();
    return fi_unlikely(fi_load_relaxed64(&c->head->wanted)) ? fi_exchange64(&c->head->wanted, 0) : 0;
}
static inline fi_event_t fi_cells_event(const fi_cells_t *c) {
    return (fi_event_t){.word = &c->head->word};
}
/* Tells those who watch. */
static inline void fi_cells_tell(const fi_cells_t *c) {
    fi_event_t e = fi_cells_event(c);

    fi_event_set(&e);
}
/* From now on a put is told; what was put before is to be looked for, afterwards. */
void fi_cells_want(const fi_cells_t *c, uint64_t flag);

/*
 * Compares all versions with `seen`, from cell `from` on and round, and stores up to `max` indices of those that differ
 * in `changed` and their versions in `seen`. Returns how many.
 */
uint32_t fi_cells_scan(const fi_cells_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, uint32_t from);
/* Waits until some do: how many, or how the wait ended. */
int fi_cells_watch(const fi_cells_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, uint32_t from, fi_wait_t *w);

/* ---- deaths and shutdown; any thread ---- */

void fi_cells_bury(const fi_cells_t *c, fi_is_dead_fn *is_dead, void *arg);
/* Wakes those who wait for or in this cell, or for any. */
void fi_cells_wake(const fi_cells_t *c, uint32_t index);

#endif

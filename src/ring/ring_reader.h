/* SPDX-License-Identifier: MIT
 *
 * ring_reader.h - the receiver's side of a ring.
 *
 * Single thread at a time.  Everything read from the ring is a peer's word: it is loaded once, checked against the
 * reader's own bounds, and only the checked value is used.  The reader owns its position; a lying writer can make it
 * see wrong bytes or -EPROTO, never leave the mapping or loop.
 */
#ifndef FI_RING_READER_H
#define FI_RING_READER_H

#include <errno.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "platform/cpu.h"
#include "ring/ring_layout.h"

typedef struct fi_ringr {
    const struct fi_ring_head *head;
    const unsigned char *data;
    uint32_t lines;
    uint32_t idx;
    uint64_t pos;
    uint32_t lap; /* pos / lines, cut to 32 bits as in the release map */
} fi_ringr_t;

/* One checked record. */
typedef struct fi_seen {
    uint64_t pos; /* of its header */
    uint64_t seq;
    uint32_t idx;
    uint32_t lap;
    uint32_t len;
    uint32_t lines;
    uint8_t kind;
    uint8_t flags;
    uint16_t attempt;
    const unsigned char *payload;
} fi_seen_t;

/* Checks the identification of `bytes` bytes at `map` and starts at `start`. Returns 0 or -EPROTO. */
int fi_ringr_init(fi_ringr_t *r, const void *map, size_t bytes, uint64_t start);

static inline const struct fi_record *fi_ringr_line(const fi_ringr_t *r, uint32_t idx) {
    return (const struct fi_record *)(const void *)(r->data + (size_t)idx * FI_LINE);
}

static inline const struct fi_record *fi_ringr_at(const fi_ringr_t *r) {
    return fi_ringr_line(r, r->idx);
}

/* True when a record seems to be there; the line after it is fetched meanwhile, since most records have two. */
static inline bool fi_ringr_ready(const fi_ringr_t *r) {
    const struct fi_record *rec = fi_ringr_at(r);
    bool ready = fi_load_relaxed64(&rec->word) != 0;
    fi_prefetch((const unsigned char *)rec + FI_LINE);
    return ready;
}

/* Looks at the next record without taking it. Returns 1 and fills `*s`, 0 when there is none, -EPROTO. Skips
 * padding. */
static inline int fi_ringr_peek(fi_ringr_t *r, fi_seen_t *s) {
    const struct fi_record *rec = fi_ringr_at(r);
    uint64_t word = fi_load_acquire64(&rec->word); /* A1 */

    if (word == 0) {
        /* Most records have two lines: with both asked for, their transfers overlap when the record comes. */
        fi_prefetch((const unsigned char *)rec + FI_LINE);
        return 0;
    }
    if (fi_unlikely(fi_word_kind(word) == FI_REC_PAD)) {
        if (r->idx == 0) {
            return -EPROTO;
        }
        r->pos += r->lines - r->idx;
        r->idx = 0;
        r->lap++;
        rec = fi_ringr_at(r);
        word = fi_load_acquire64(&rec->word); /* A1 */
        if (word == 0) {
            return 0;
        }
    }
    unsigned flags = fi_word_flags(word);
    uint64_t lines = fi_record_lines(fi_word_len(word), flags);
    if (fi_unlikely(lines > r->lines - r->idx || fi_word_kind(word) > FI_REC_VOID || fi_word_kind(word) == FI_REC_PAD ||
                    fi_word_kind(word) == FI_REC_NONE)) {
        return -EPROTO;
    }
    s->pos = r->pos;
    s->idx = r->idx;
    s->lap = r->lap;
    s->seq = fi_load_relaxed64(&rec->seq);
    s->len = fi_word_len(word);
    s->lines = (uint32_t)lines;
    s->kind = (uint8_t)fi_word_kind(word);
    s->flags = (uint8_t)flags;
    s->attempt = fi_word_attempt(word);
    s->payload = (const unsigned char *)rec + fi_payload_offset(flags);
    return 1;
}

/* Takes a record that has these many lines, and was checked. */
static inline void fi_ringr_advance(fi_ringr_t *r, uint32_t lines) {
    uint32_t next = r->idx + lines;
    r->pos += lines;
    if (fi_unlikely(next == r->lines)) {
        next = 0;
        r->lap++;
    }
    r->idx = next;
}

/* Goes to where another reader of the same ring stands. */
static inline void fi_ringr_go_to(fi_ringr_t *r, const fi_ringr_t *there) {
    r->pos = there->pos;
    r->idx = there->idx;
    r->lap = there->lap;
}

/*
 * In a stream: puts lines that were read, from `from` up to `to`, out of all caches.  The writer, when it comes round
 * again, then finds a line that nobody has.  A line that we had still would have to be taken away from us first, one at
 * a time, each for about as long as it takes to write two messages (near cores) or ten (distant ones).  See give_up.h.
 */
static inline void fi_ringr_flush(const fi_ringr_t *r, uint64_t from, uint64_t to) {
    uint64_t count = to - from < r->lines ? to - from : r->lines;
    uint32_t idx = (uint32_t)(from % r->lines);

    for (; count > 0; count--) {
        fi_flush_line(fi_ringr_line(r, idx));
        idx = idx + 1 < r->lines ? idx + 1 : 0;
    }
}

/* Has the writer begun to overwrite the record at `pos`? Call after copying it. */
static inline bool fi_ringr_overtaken(const fi_ringr_t *r, uint64_t pos) {
    fi_fence_acquire();
    return fi_load_acquire64(&r->head->shared.reserve) > pos + r->lines; /* A4 */
}

/* After an overtaking: goes on at the oldest record that is still whole. Returns 0 or -EPROTO. */
int fi_ringr_catch_up(fi_ringr_t *r);

/* The extension of a record that has one (flag FI_REC_EXT), read once. */
static inline struct fi_record_ext fi_seen_ext(const fi_ringr_t *r, uint32_t idx) {
    const struct fi_record_ext *e =
        (const struct fi_record_ext *)(const void *)(r->data + (size_t)idx * FI_LINE + sizeof(struct fi_record));
    struct fi_record_ext copy = {fi_load_relaxed64(&e->tag), fi_load_relaxed64(&e->time_ns)};
    return copy;
}

/* The same as the program is told. */
static inline struct fi_record_ext fi_told_ext(const fi_ringr_t *r, uint32_t idx, unsigned flags) {
    struct fi_record_ext ext = fi_seen_ext(r, idx);

    if (flags & FI_REC_PROBE) {
        ext.time_ns = 0;
    }
    return ext;
}

/* The receiver's control area: cursor, taken, held slots, release map. */
typedef struct fi_ctl {
    struct fi_ctl_head *head;
    uint32_t *released;
    uint64_t *due; /* NULL: none */
} fi_ctl_t;

/* Initialises `bytes` = fi_ctl_bytes(lines, due) zeroed bytes; everything below `start` counts as released. */
void fi_ctl_init(fi_ctl_t *c, void *bytes, uint32_t lines, uint64_t start, bool due);

/* The sender's view of a peer's control area. Returns 0 or -EPROTO. */
int fi_ctl_view(fi_ctl_t *c, const void *map, size_t bytes, uint32_t lines);

static inline void fi_ctl_release(fi_ctl_t *c, uint32_t idx, uint32_t lap) {
    fi_store_release32(&c->released[idx], lap); /* R3 */
}

static inline bool fi_ctl_is_released(const fi_ctl_t *c, uint32_t idx, uint32_t lap) {
    return fi_load_acquire32(&c->released[idx]) == lap; /* A3 */
}

#endif

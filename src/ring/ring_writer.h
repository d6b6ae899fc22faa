/* SPDX-License-Identifier: MIT
 *
 * ring_writer.h - the sender's side of a ring.
 *
 * Single thread at a time.  Given its bytes; never blocks, never allocates, never reads what a peer wrote: how far it
 * may write is told by `limit`, which its owner derives from the readers' cursors.
 *
 * States of a line: free -> (being written, header word 0) -> published -> free again once every reader's cursor has
 * passed.  A line that held payload may become a header in the next lap; therefore the writer clears the header that
 * follows a record before it publishes the record, and never fills the ring to the last line.  It may do so one record
 * ahead of need (`ahead`); that line then stays 0 because only the next record is written before it counts.
 */
#ifndef FI_RING_WRITER_H
#define FI_RING_WRITER_H

#include "base/assert.h"
#include "base/atomic.h"
#include "platform/cpu.h"
#include "ring/ring_layout.h"

#define FI_OWN_AHEAD 16u /* lines */

typedef struct fi_ringw {
    struct fi_ring_head *head;
    unsigned char *data; /* line 0 */
    uint64_t pos;        /* next record */
    uint64_t limit;      /* no line at or above this position may be touched */
    uint64_t silent; /* at most `limit`: nor, at or above this one, before readers that may be overtaken were told */
    uint64_t ahead;  /* position whose header was cleared ahead of need and is still 0; one that was passed: none */
    uint32_t idx;    /* pos % lines */
    uint32_t lines;
} fi_ringw_t;

/* Initialises `bytes` = fi_ring_bytes(lines) zeroed bytes as an empty ring. */
void fi_ringw_init(fi_ringw_t *w, void *bytes, uint32_t lines);

static inline struct fi_record *fi_ringw_at(const fi_ringw_t *w, uint32_t idx) {
    return (struct fi_record *)(void *)(w->data + (size_t)idx * FI_LINE);
}

/* Lines from `pos` that a record needs, with the padding before it and the cleared header after it. */
static inline uint64_t fi_ringw_need(const fi_ringw_t *w, uint64_t record_lines) {
    uint64_t left = w->lines - w->idx;
    return (record_lines > left ? left : 0) + record_lines + 1;
}

/* One line always stays for SWITCH: a sender whose ring is full of held messages must be able to leave it. */
static inline bool fi_ringw_fits(const fi_ringw_t *w, uint64_t record_lines) {
    return w->pos + fi_ringw_need(w, record_lines) + 1 <= w->limit;
}

static inline bool fi_ringw_can_switch(const fi_ringw_t *w) {
    return w->pos + 2 <= w->limit;
}

static inline uint32_t fi_ringw_step(const fi_ringw_t *w, uint32_t idx, uint32_t lines) {
    uint32_t next = idx + lines;
    return next >= w->lines ? next - w->lines : next;
}

/* Where a record goes, and what follows it. */
typedef struct fi_place {
    struct fi_record *rec;
    struct fi_record *after;
    uint32_t lines;
    uint32_t next; /* line of `after` */
} fi_place_t;

static inline fi_place_t fi_ringw_place(const fi_ringw_t *w, uint32_t lines) {
    uint32_t next = fi_ringw_step(w, w->idx, lines);
    fi_place_t p = {fi_ringw_at(w, w->idx), fi_ringw_at(w, next), lines, next};
    return p;
}

/* Writes the header of a record whose payload is in place, and moves on. The caller has checked fi_ringw_fits. */
static inline void fi_ringw_publish_at(fi_ringw_t *w, fi_place_t p, uint64_t word, uint64_t seq) {
    if (w->pos + p.lines != w->ahead) {
        fi_store_relaxed64(&p.after->word, 0);
    }
    fi_store_relaxed64(&p.rec->seq, seq);
    fi_store_release64(&p.rec->word, word); /* R1 */
    w->pos += p.lines;
    w->idx = p.next;
}

/*
 * The next record will probably have as many lines: clears what it would have to clear before it could be published,
 * and touches the line behind.  Both are owned by the time they are needed; asking for them with a prefetch is not as
 * good.  Not beyond what readers that may be overtaken were told: these lines may hold what one of them still reads.
 */
static inline void fi_ringw_clear_ahead(fi_ringw_t *w, uint32_t lines) {
    if (fi_likely(w->pos + lines + 2 <= w->silent)) {
        uint32_t idx = fi_ringw_step(w, w->idx, lines);
        w->ahead = w->pos + lines;
        fi_store_relaxed64(&fi_ringw_at(w, idx)->word, 0);
        fi_store_relaxed64(&fi_ringw_at(w, fi_ringw_step(w, idx, 1))->word, 0);
    }
}

/* Somebody else writes payload, and may write beyond what is published in the end. */
static inline void fi_ringw_lend(fi_ringw_t *w) {
    w->ahead = 0;
}

static inline void fi_ringw_publish(fi_ringw_t *w, uint64_t word, uint64_t seq) {
    fi_ringw_publish_at(w, fi_ringw_place(w, (uint32_t)fi_record_lines(fi_word_len(word), fi_word_flags(word))), word,
                        seq);
}

/*
 * In a stream: owns two lines that will be written some messages later.  A store waits for the line it goes to, all
 * stores after it wait with it, and taking a line away from a distant reader's core takes as long as writing ten
 * messages.
 */
static inline void fi_ringw_own_ahead(const fi_ringw_t *w) {
    const unsigned char *ahead = (const unsigned char *)fi_ringw_at(w, w->idx) + (size_t)FI_OWN_AHEAD * FI_LINE;

    fi_prefetch_to_write(ahead);
    fi_prefetch_to_write(ahead + FI_LINE);
}

/* Leaves the first lines of an empty ring, in which nothing was written yet, unused. */
static inline void fi_ringw_skip(fi_ringw_t *w, uint64_t lines) {
    fi_assert(w->pos == w->lines && lines < w->lines);
    w->pos += lines;
    w->idx += (uint32_t)lines;
}

/* Skips to line 0 of the next lap. */
void fi_ringw_pad(fi_ringw_t *w);

/* Where the next record's header goes; pads first when `record_lines` would not fit before the end of the lap. */
static inline struct fi_record *fi_ringw_begin(fi_ringw_t *w, uint64_t record_lines) {
    fi_assert(w->pos + fi_ringw_need(w, record_lines) <= w->limit);
    if (fi_unlikely(record_lines > w->lines - w->idx)) {
        fi_ringw_pad(w);
    }
    return fi_ringw_at(w, w->idx);
}

/* Header word of the record at `pos`, which must not have been overwritten; steps `*pos` to the next one. */
uint64_t fi_ringw_walk(const fi_ringw_t *w, uint64_t *pos);

#endif

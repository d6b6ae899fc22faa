/* SPDX-License-Identifier: MIT
 *
 * ring_layout.h - the bytes of a ring and of its reader's control area, as two processes see them.
 *
 * A ring is a log of 64-byte lines written by one sender.  Positions count lines and never wrap; line `pos % lines` of
 * the data holds position `pos`, and `pos / lines` is its lap.  The first position is `lines` (lap 1), so that a
 * zeroed release map means "nothing released".
 *
 *   ring (the sender's memory, read-only for everybody else)
 *   +--------+--------+--------+--------+-- ... --+
 *   | ident  | shared | line 0 | line 1 |         |     2 + lines lines
 *   +--------+--------+--------+--------+-- ... --+
 *   and behind them, of no use to readers: starts[lines], 4 bytes each: the lower half of the position of the record that
 *   began on the line last
 *
 *   record: the header stands in the first 16 bytes of its first line
 *    0     4    5     6       8        16                       (16|32)                      or 64
 *   +-----+----+-----+-------+--------+------------------------+----------- ... ---+  +---- ... ----+
 *   | len |kind|flags|attempt|  seq   | tag, time if FI_REC_EXT| payload           |  | payload ... |
 *   +-----+----+-----+-------+--------+------------------------+----------- ... ---+  +---- ... ----+
 *   The payload follows the header, or begins on the next line (FI_REC_NEXT_LINE) where that costs no line more.
 *
 *   control (the receiver's memory, read-only for the sender)
 *   +--------+--------+--------+------------------+------------------------------+
 *   | ident  | cursor | taken  | held[64]         | released[lines], 4 bytes each |
 *   +--------+--------+--------+------------------+------------------------------+
 *   and, if its ident says so, due[lines], 8 bytes each: until when the message that begins there may be held
 *
 * Ordering edges (release -> acquire)
 *   R1 the writer publishes a record by storing the first word of its header  -> A1 the reader loads that word
 *   R2 the reader publishes its cursor after its last look at what it frees   -> A2 the writer loads the cursor
 *   R3 a releaser stores released[i] after its last look at the payload       -> A3 the writer loads released[i]
 *   R4 an overtaking writer raises `reserve` before it overwrites (fence)     -> A4 the reader loads it after copying
 *   R5 an overtaken reader stores held[k], full fence, looks at `reserve`     -> A5 the writer raises `reserve`, full
 *      fence, looks at held[]: at least one of the two sees the other (Dekker; M. Michael's hazard pointers, 2004)
 *   R7 the writer marks a record as returned after it has kept a copy        -> A7 the reader sees the mark
 *   R9 the reader stores due[i], then `taken`, which passes it               -> A9 the writer loads them the other way round
 *   R10 the reader stores `left` after its last look at what it lets go      -> A10 the writer loads `left`, then `taken`
 */
#ifndef FI_RING_LAYOUT_H
#define FI_RING_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

#define FI_LINE 64u
#define FI_RING_MAGIC 0x676e69725f796566ull /* "fey_ring" */
#define FI_CTL_MAGIC 0x6c74635f5f796566ull  /* "fey__ctl" */
#define FI_LAYOUT_VERSION 1u
#define FI_HELD_SLOTS 64u

/* Fixes what both sides must have in common: line size, header size, slots. */
#define FI_LAYOUT_FINGERPRINT (FI_LINE | 16u << 8 | FI_HELD_SLOTS << 16)

enum fi_record_kind {
    FI_REC_NONE = 0,    /* nothing published here yet */
    FI_REC_INLINE = 1,  /* the payload is the message */
    FI_REC_POINTER = 2, /* the payload is a struct fi_pointer, and perhaps an annex */
    FI_REC_PAD = 3,     /* skip to the first line of the next lap */
    FI_REC_SWITCH = 4,  /* the sender goes on in its next ring */
    FI_REC_ASKED = 5,   /* in a queue's ring: the sender is about to decide whether it takes this message back */
    FI_REC_VOID = 6     /* likewise: it has taken it back */
};

enum fi_record_flags {
    FI_REC_NEXT_LINE = 1,
    FI_REC_EXT = 2,
    /* Set after the record was published, by its writer, in a queue's ring: its message was taken back, and goes to
     * somebody else. To release it only frees its lines. */
    FI_REC_RETURNED = 4,
    FI_REC_ORIGIN = 8, /* the message ends with a struct fi_origin, which does not count as its bytes */
    FI_REC_MEET = 16,  /* its sender waits until it is taken, and may take it back before */
    FI_REC_PROBE =
        32, /* the extension's time is for the receiver itself, to see how long it took; not for its program */
    FI_REC_RETURNING =
        64 /* as RETURNED: it is being taken back; see channel/held.c. With it: it was held for too long */
};

enum fi_ctl_flags { FI_CTL_DUE = 1 /* a deadline for each line follows the release map */ };
/* How far the reader is done with the ring: of use to a sender who does not hear of it in another way. */
enum fi_ctl_left {
    FI_CTL_READS = 0,      /* it may take more */
    FI_CTL_ONLY_HOLDS = 1, /* it takes no more: what is below `taken` and not released is held */
    FI_CTL_HOLDS_NOTHING = 2
};
#define FI_DUE_SETTLING 1u /* in its place: the message is being released or rejected */

struct fi_ident {
    uint64_t magic;
    uint32_t version;
    uint32_t fingerprint;
    uint32_t lines;
    uint32_t flags; /* enum fi_ctl_flags */
    uint32_t reserved[10];
};

#define FI_WANT_MEET (1ull << 63)

struct fi_ring_shared {
    uint64_t
        want; /* number of the sender's sleep that the next release shall end; 0: it does not sleep. FI_WANT_MEET: it
                         wants to know who waits for a message, and when one is taken that it waits for */
    uint64_t reserve; /* with readers that may be overtaken: positions below reserve - lines may be overwritten */
    uint64_t oldest;  /* likewise: a record boundary at or above reserve - lines */
    uint64_t latest;  /* latest_layout.h: 1 + the id of the pool's segment that has the table; 0: there is none */
    uint64_t reserved[4];
};

struct fi_ring_head {
    struct fi_ident ident;
    struct fi_ring_shared shared;
};

struct fi_record {
    uint64_t word; /* len | kind << 32 | flags << 40 | attempt << 48; stored last, 0 while unpublished */
    uint64_t seq;
};

struct fi_record_ext {
    uint64_t tag;
    uint64_t time_ns;
};

struct fi_pointer {
    uint64_t offset; /* in the segment */
    uint64_t size;
    uint32_t segment;
    uint32_t reserved;
};

/* Where a dead letter comes from. */
struct fi_origin {
    uint64_t node;
    uint64_t end;
    uint64_t seq;
    uint32_t attempts;
    uint32_t reserved;
    char queue[104];
};

/* What may stand behind a pointer: a few words that the sender can go on changing while the message is held. */
#define FI_ANNEX 32u

struct fi_ctl_head {
    struct fi_ident ident;
    uint64_t cursor; /* everything below is released */
    uint64_t cursor_pad[7];
    uint64_t taken; /* everything below was given to the program */
    uint64_t left;  /* enum fi_ctl_left */
    uint64_t taken_pad[6];
    uint64_t held[FI_HELD_SLOTS]; /* positions an overtaken reader still holds by pointer; 0: free */
};

_Static_assert(sizeof(struct fi_ident) == 64, "ident fills a line");
_Static_assert(offsetof(struct fi_ident, lines) == 16, "layout");
_Static_assert(sizeof(struct fi_ring_shared) == 64, "shared fills a line");
_Static_assert(sizeof(struct fi_ring_head) == 2 * FI_LINE, "two lines before the data");
_Static_assert(sizeof(struct fi_record) == 16, "header");
_Static_assert(sizeof(struct fi_record_ext) == 16, "extension");
_Static_assert(sizeof(struct fi_pointer) == 24, "pointer");
_Static_assert(sizeof(struct fi_origin) == 136, "layout");
_Static_assert(offsetof(struct fi_ctl_head, cursor) == 64, "cursor on a line of its own");
_Static_assert(offsetof(struct fi_ctl_head, taken) == 128, "taken on a line of its own");
_Static_assert(offsetof(struct fi_ctl_head, held) == 192, "layout");
_Static_assert(sizeof(struct fi_ctl_head) == 192 + 8 * FI_HELD_SLOTS, "layout");
_Static_assert(__atomic_always_lock_free(8, 0), "64-bit words must be lock-free between processes");

static inline size_t fi_ring_bytes(uint32_t lines) {
    return sizeof(struct fi_ring_head) + (size_t)lines * FI_LINE;
}

/* With what the writer notes for itself, where nobody else can write it, and where it needs no page of its own. */
static inline size_t fi_ring_bytes_with_starts(uint32_t lines) {
    return fi_ring_bytes(lines) + (size_t)lines * sizeof(uint32_t);
}

static inline uint32_t *fi_ring_starts(void *map, uint32_t lines) {
    return (uint32_t *)((unsigned char *)map + fi_ring_bytes(lines));
}

/* Where the deadlines begin: behind the release map, aligned. */
static inline size_t fi_ctl_due_offset(uint32_t lines) {
    return (sizeof(struct fi_ctl_head) + (size_t)lines * sizeof(uint32_t) + 7) & ~(size_t)7;
}

static inline size_t fi_ctl_bytes(uint32_t lines, bool due) {
    return due ? fi_ctl_due_offset(lines) + (size_t)lines * sizeof(uint64_t)
               : sizeof(struct fi_ctl_head) + (size_t)lines * sizeof(uint32_t);
}

static inline uint64_t fi_record_word(uint32_t len, unsigned kind, unsigned flags, uint16_t attempt) {
    return (uint64_t)len | (uint64_t)kind << 32 | (uint64_t)flags << 40 | (uint64_t)attempt << 48;
}

/* The same record, as one of another kind. */
static inline uint64_t fi_word_of_kind(uint64_t word, unsigned kind) {
    return (word & ~(0xffull << 32)) | (uint64_t)kind << 32;
}

static inline uint32_t fi_word_len(uint64_t word) {
    return (uint32_t)word;
}
static inline unsigned fi_word_kind(uint64_t word) {
    return (unsigned)(word >> 32 & 0xff);
}
static inline unsigned fi_word_flags(uint64_t word) {
    return (unsigned)(word >> 40 & 0xff);
}
static inline uint16_t fi_word_attempt(uint64_t word) {
    return (uint16_t)(word >> 48);
}

/* A pointer record's payload. Its writer may be overtaking the reader, so each word is loaded and stored once. */
static inline void fi_pointer_store(void *payload, struct fi_pointer p) {
    struct fi_pointer *to = payload;
    fi_store_relaxed64(&to->offset, p.offset);
    fi_store_relaxed64(&to->size, p.size);
    fi_store_relaxed32(&to->segment, p.segment);
    fi_store_relaxed32(&to->reserved, 0);
}

static inline struct fi_pointer fi_pointer_load(const void *payload) {
    const struct fi_pointer *from = payload;
    return (struct fi_pointer){fi_load_relaxed64(&from->offset), fi_load_relaxed64(&from->size),
                               fi_load_relaxed32(&from->segment), 0};
}

static inline bool fi_pointer_fits(uint32_t len) {
    return len == sizeof(struct fi_pointer) || len == sizeof(struct fi_pointer) + FI_ANNEX;
}

/* The annex behind the pointer in a payload of `len` bytes; NULL: there is none. */
static inline unsigned char *fi_pointer_annex(const void *payload, uint32_t len) {
    return len == sizeof(struct fi_pointer) ? NULL : (unsigned char *)(uintptr_t)payload + sizeof(struct fi_pointer);
}

/* Where the payload begins, in bytes from the header. */
static inline uint32_t fi_payload_offset(unsigned flags) {
    if (flags & FI_REC_NEXT_LINE) {
        return FI_LINE;
    }
    return flags & FI_REC_EXT ? 32u : 16u;
}

/* Lines that a record of `len` payload bytes takes; 64 bits, so that a lying length cannot overflow. */
static inline uint64_t fi_record_lines(uint64_t len, unsigned flags) {
    return (fi_payload_offset(flags) + len + FI_LINE - 1) / FI_LINE;
}

/* The payload goes to a line of its own where that costs no line more: readers then walk whole lines. */
static inline unsigned fi_record_place(uint64_t len, bool ext) {
    unsigned flags = ext ? FI_REC_EXT : 0;
    return fi_record_lines(len, flags) < fi_record_lines(len, flags | FI_REC_NEXT_LINE) ? flags
                                                                                        : flags | FI_REC_NEXT_LINE;
}

#endif

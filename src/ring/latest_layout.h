/* SPDX-License-Identifier: MIT
 *
 * latest_layout.h - the newest messages of each tag that were pushed out of a topic's ring, as two processes see them.
 *
 *   a block of the sender's pool (its own segment; read-only for everybody else)
 *   +--------+--------+--------+-- ... --+
 *   | head   | slot 0 | slot 1 |         |    64 bytes each; the number of slots is a power of two
 *   +--------+--------+--------+-- ... --+
 *
 * The slots are a hash table with linear probing.  A tag stays in its slot for as long as the table exists.  What a
 * slot says of its tag's message changes under the readers' eyes:
 *
 *   sender                                            reader
 *   saves what a ring is about to lose here,          finds that the ring has lost a message (A4), looks here
 *   then raises the ring's `reserve` (R4)
 *   seq = 0; fence; where the message is;             seq (A8); where the message is, and its bytes; fence;
 *   seq = its number (R8); only then the bytes        seq once more: the same? Then they were whole
 *   of the one before may be overwritten
 */
#ifndef FI_LATEST_LAYOUT_H
#define FI_LATEST_LAYOUT_H

#include "ring/ring_layout.h"

#define FI_LATEST_MAGIC 0x7473656c5f796566ull /* "fey_lest" */
#define FI_LATEST_MAX_SLOTS (1u << 17)        /* half of them are used at most */

struct fi_latest_head {
    uint64_t magic;
    uint32_t slots;
    uint32_t reserved[13];
};

struct fi_latest {
    uint64_t seq; /* number of the message; 0: there is none now */
    uint64_t tag;
    uint64_t time_ns;
    uint64_t offset; /* of its bytes in the segment */
    uint64_t size;
    uint32_t segment;
    uint32_t serial; /* of the ring it stood in; 0: the slot was never used */
    uint64_t reserved[2];
};

_Static_assert(sizeof(struct fi_latest_head) == FI_LINE, "head fills a line");
_Static_assert(sizeof(struct fi_latest) == FI_LINE, "a slot fills a line");

static inline size_t fi_latest_bytes(uint32_t slots) {
    return sizeof(struct fi_latest_head) + (size_t)slots * sizeof(struct fi_latest);
}

/* Where the search for a tag begins. `slots`: a power of two. */
static inline uint32_t fi_latest_hash(uint64_t tag, uint32_t slots) {
    return (uint32_t)(tag * 0x9e3779b97f4a7c15ull >> 32) & (slots - 1);
}

#endif

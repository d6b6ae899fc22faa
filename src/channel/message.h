/* SPDX-License-Identifier: MIT
 *
 * message.h - the handle behind ferry_msg_t.
 *
 * A sender's handle (FI_MSG_SENT) refers to a block of the sender's pool.  A receiver's handle (FI_MSG_TAKEN) refers to
 * a record in a sender's ring: to its bytes there, to the pool block that it points at, or, where the record could be
 * overtaken, to a copy.  Handles are recycled within their end, so a stale one is recognised by its magic.
 */
#ifndef FI_MESSAGE_H
#define FI_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "ferry/message.h"
#include "memory/pool.h"

#define FI_MSG_SENT 0x5367734du  /* "MsgS" */
#define FI_MSG_TAKEN 0x5467734du /* "MsgT" */
#define FI_MSG_FREE 0x4667734du  /* "MsgF" */

#define FI_LEAST_ACK_WITHIN_NS 1000000

/* How long a message may be held, in ns; what is too short to be looked for again and again counts as the least. */
static inline int64_t fi_ack_within(uint64_t asked) {
    int64_t ns = asked < (uint64_t)INT64_MAX ? (int64_t)asked : INT64_MAX;

    return ns > 0 && ns < FI_LEAST_ACK_WITHIN_NS ? FI_LEAST_ACK_WITHIN_NS : ns;
}

struct fi_rxlink;
struct fi_rxlog;
struct fi_rxsegment;
struct fi_record;

struct ferry_msg {
    uint32_t magic;
    uint32_t refs;       /* handles; a taken message's may be touched by any thread */
    uint32_t generation; /* of the process that made the handle: a forked child's is another one */
    bool plain;          /* taken: nothing but lines of the ring to give back; see fi_taken_recycle */
    const unsigned char *data;
    uint64_t size;
    struct fi_list held;    /* taken: among its log's unreleased messages, in order; sent: among its sender's handles */
    struct ferry_msg *next; /* free, or given back by another thread */

    /* taken */
    struct fi_rxlink *link;
    struct fi_rxlog *log;
    struct fi_rxsegment *segment; /* NULL: the bytes are in the ring, or copied */
    const unsigned char *annex;   /* of a message by pointer, FI_ANNEX bytes in the ring; NULL: it has none */
    const unsigned char *origin;  /* of a dead letter, a struct fi_origin, not aligned; NULL: it is none */
    uint64_t pos;
    uint32_t idx;
    uint32_t lap;
    int16_t slot; /* held slot of an overtaken reader, or -1 */
    uint16_t attempt;
    uint32_t reply; /* of a reply to a call (src/rpc), its kind */
    const struct fi_record
        *record; /* where the rest is to be read from; NULL: it was copied, since it may be overtaken */
    uint64_t seq;
    uint64_t tag;
    uint64_t time_ns;
    uint64_t lost;
    uint64_t sum;        /* checksum when taken, with FERRY_CHECK=1 */
    unsigned char *copy; /* private bytes: recorded out, edited, or made private; kept for the next use of the handle */
    uint64_t copy_cap;

    /* sent */
    struct ferry_sender *sender;
    fi_block_t *block;
    uint64_t capacity; /* bytes asked for */
    bool sent;
};

#endif

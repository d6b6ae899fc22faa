/* SPDX-License-Identifier: MIT
 *
 * net/published.h - published regions in a space that spans machines: what their writer and the copies elsewhere
 * (mirrors) say to each other.
 *
 *   writer's machine                                        another machine
 *   writer -> images                                        mirror: a writer of the same name there  ->  images -> its readers
 *               publisher  -- what changed, in parts -->    (one for all readers of the machine)
 *                          <-- what has come ----------
 *
 *     ferry.SPACE.pub.NAME             to the writer: ASK, HELLO, ACK, BYE
 *     ferry.SPACE.pubnews.NAME         from writers to all: OPENED, CLOSED, YIELD
 *     ferry.SPACE.pubto.NAME.NODE      from the writer to one mirror: BEGIN, PART, NUDGE
 *
 *   HELLO epoch, number    "I have this version of that writer's": answered with INFO, and from now on it is sent versions
 *   BEGIN transfer, number, bytes, type; then PART 0, 1, 2...; the last one is marked
 *   ACK transfer, seq      so many parts have come; with FI_PUB_DONE: the version has been published there
 *   NUDGE                  "all has come there: publish it", while the mirror has not, since its readers hold too much
 *   ASK                    "who writes this?": answered with INFO
 *   YIELD                  "I want to write this", or "its writer is gone": whoever has a mirror of a writer that is
 *                          gone gives it up
 *
 * A part holds ranges (first granule, count) and their bytes, together packed by LZ4 where that makes them smaller.  Up
 * to WINDOW parts are under way to one mirror; a new transfer is begun when the one before is done, from the version
 * that is then the newest, with all that changed since the version that the mirror has: so a slow one skips versions,
 * and the writer never waits for any.  A version is published at the mirror when its last part has come: readers see
 * whole ones.
 *
 * Parts that are lost (with a connection) are noticed by their numbers, or by silence; the transfer is then sent again
 * from its beginning: what a mirror has of an unfinished one is only what will be written over.
 *
 * On the wire: little-endian structs as they are, cut behind what their kind needs.
 */
#ifndef FI_NET_PUBLISHED_H
#define FI_NET_PUBLISHED_H

#include <stdint.h>

#include "net/net.h"

#define FI_PUB_VERSION 1u
#define FI_PUB_PART_BYTES (256u << 10) /* of ranges and bytes, before they are packed */
#define FI_PUB_RANGES 4096u            /* in one part */

enum fi_pub_kind {
    FI_PUB_ASK = 1,
    FI_PUB_INFO,
    FI_PUB_HELLO,
    FI_PUB_BYE,
    FI_PUB_ACK,
    FI_PUB_BEGIN,
    FI_PUB_PART,
    FI_PUB_OPENED,
    FI_PUB_CLOSED,
    FI_PUB_YIELD,
    FI_PUB_NUDGE
};

enum fi_pub_flags {
    FI_PUB_OPENING = 1, /* INFO: not open yet */
    FI_PUB_PACKS = 2,   /* HELLO: parts may be packed */
    FI_PUB_PACKED = 4,  /* PART */
    FI_PUB_LAST = 8,    /* PART */
    FI_PUB_DONE = 16    /* ACK */
};

typedef struct fi_pub_frame {
    uint8_t version; /* FI_PUB_VERSION */
    uint8_t kind;
    uint8_t flags;
    uint8_t pad;
    uint32_t transfer;
    uint32_t seq;    /* PART: its number; ACK: how many have come */
    uint32_t ranges; /* PART */
    uint64_t node;   /* who says it */
    uint64_t epoch;  /* of the writer: random; 0: none */
    uint64_t number; /* of the version; 0: none */
    uint64_t bytes;  /* of the region; PART: of ranges and bytes, unpacked */
    uint64_t check;  /* PART: of what follows this head */
    /* INFO and BEGIN only */
    char type[64];
    char host[64];
} fi_pub_frame_t;

#define FI_PUB_HEAD 56u
_Static_assert(__builtin_offsetof(fi_pub_frame_t, type) == FI_PUB_HEAD, "as it is on the wire");
_Static_assert(sizeof(fi_pub_frame_t) == 184, "as it is on the wire");

/* A run of granules: 40 bits of the first one, 24 of how many. */
static inline uint64_t fi_pub_range(uint64_t first, uint64_t count) {
    return first << 24 | count;
}
#define FI_PUB_RANGE_MAX 0xffffffu

/* "ferry.SPACE.pubto.NAME.NODE" */
void fi_pub_subject_to(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *name, uint64_t node);
/* Takes a frame from the wire: false, it is none. `*rest` and `*rest_bytes` (may be NULL): what follows its head. */
bool fi_pub_take(natsMsg *msg, fi_pub_frame_t *f, const char **rest, size_t *rest_bytes);
/* Is it in our version? If not: -EPROTO, with a sentence. */
int fi_pub_check_version(const fi_pub_frame_t *f, const char *name);
/* A frame of ours. */
fi_pub_frame_t fi_pub_frame(const fi_net_t *net, enum fi_pub_kind kind, uint64_t epoch);
/* Says to all: OPENED, CLOSED or YIELD. Who is not connected then does not hear it. */
void fi_pub_announce(fi_net_t *net, const char *name, enum fi_pub_kind kind, uint64_t epoch);
/* Asks the writer of `name`, if there is one, waiting `ms` at most. 1: `*info` is its answer; 0: there is none;
 * -ETIMEDOUT, -ENOTCONN, -EPROTO, ... */
int fi_pub_ask(fi_net_t *net, const char *name, const fi_pub_frame_t *question, int64_t ms, fi_pub_frame_t *info);

/* ---- packing, by liblz4 if it is there ---- */

bool fi_pack_can(void);
/* How many bytes it has become in `to`, which has `cap`; 0: not fewer than an eighth less. */
size_t fi_pack(const void *from, size_t bytes, void *to, size_t cap);
/* Into exactly `bytes` bytes. */
bool fi_unpack(const void *from, size_t packed, void *to, size_t bytes);

#endif

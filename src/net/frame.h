/* SPDX-License-Identifier: MIT
 *
 * net/frame.h - what nodes on different machines say to each other about channels.
 *
 *   sender's node N                                        receiver's node M
 *     SEEK channel (to all)              ->                                    "I have a sender; who receives?"
 *                                        <-  HAVE channel, SETTLED
 *   or
 *                                        <-  HAVE channel (to all)            "I have receivers; who sends?"
 *     SETTLED                            ->
 *   then, for each sender and M:
 *     OPEN tx, token, contract           ->                                    M makes a sender of its own that stands for tx
 *                                        <-  READY (to a topic M has subscribed by now), or REFUSED with a sentence
 *     LIVE first                         ->                                    what is taken from now on has these numbers
 *     DATA first, records                ->
 *                                        <-  ACK received, released, bytes     also on its own, when something was released
 *     SHUT last                          ->                                    the sender has closed
 *                                        <-  FATE runs                         what is released, or which attempt is next
 *                                        <-  GONE channel                      no receiver is left
 *   at any time: HELLO, CARD (an answer), BYE; PROBE, ALIVE; LOST token (I know no such link)
 *
 * What a sender's node takes from a sender for M is counted 1, 2, 3... on that link: `number`.  M takes numbers in
 * order only, so what comes twice is dropped and what is missing is noticed; N keeps everything until M has
 * acknowledged it, and sends it again from the first number that M lacks.
 *
 * On the wire: little-endian structs as they are.  A frame may be cut behind its last field that is not zero, but has
 * at least FI_FAR_HEAD bytes.
 */
#ifndef FI_NET_FRAME_H
#define FI_NET_FRAME_H

#include <stdint.h>

#include "node/contract.h"

#define FI_FAR_MAGIC 0x52524546u /* "FERR" */
#define FI_FAR_HEAD 64u

enum fi_far_type {
    FI_FAR_HELLO = 1,
    FI_FAR_CARD,
    FI_FAR_BYE,
    FI_FAR_SEEK,
    FI_FAR_HAVE,
    FI_FAR_SETTLED,
    FI_FAR_GONE,
    FI_FAR_OPEN,
    FI_FAR_READY,
    FI_FAR_REFUSED,
    FI_FAR_LIVE,
    FI_FAR_ACK,
    FI_FAR_SHUT,
    FI_FAR_PROBE,
    FI_FAR_ALIVE,
    FI_FAR_LOST,
    FI_FAR_DATA,
    FI_FAR_FATE,
};

enum fi_far_flags {
    FI_FAR_MAY_LOSE = 1,
    FI_FAR_NO_HISTORY = 2,  /* HAVE */
    FI_FAR_TO_RECEIVER = 1, /* LOST: said by the sender's node */
    FI_FAR_OVER = 1,        /* FATE: nobody receives there any more, and nothing above `b` was tried */
    FI_FAR_MISSES = 1,
    FI_FAR_PROBED = 2 /* ACK: something is missing; it answers a PROBE */
};

/* The first FI_FAR_HEAD bytes of every frame; magic, version, type and node stand there in all versions. */
typedef struct fi_far_head {
    uint32_t magic;
    uint8_t version; /* FI_NET_VERSION */
    uint8_t type;
    uint16_t kind; /* enum ferry_kind */
    uint64_t node; /* who speaks */
    uint64_t tx;   /* the sending end, in the sender's node */
    uint64_t token;
    uint64_t
        a; /* SETTLED: links that will come; LIVE, DATA: number of the first record; ACK: received; SHUT: last number;
              OPEN: sequence number of the message before the first; FATE: how many runs there are */
    uint64_t
        b; /* ACK: released; OPEN: messages retained; DATA: offset in a message in pieces; PROBE, ALIVE: its number;
              HELLO: the same; CARD: of the HELLO that it answers;
              HAVE: messages of one sender that the queue's receivers there may have at once, 0: no limit */
    uint64_t
        c; /* ACK: bytes received of the message that is coming; DATA: size of a message in pieces, 0: whole records;
              HAVE: grows with each, since one may overtake another; HELLO, CARD, ALIVE: process id */
    uint32_t flags;
    uint32_t asker; /* SEEK, HAVE: number of the asking, if the end is just being opened, so that a sender has sent
                       nothing yet; SETTLED: the same */
} fi_far_head_t;

_Static_assert(sizeof(fi_far_head_t) == FI_FAR_HEAD, "no gaps");

#define FI_FAR_FATES 16u

/* FATE: of messages `first` and so many in all. */
typedef struct fi_far_fate {
    uint64_t first;
    uint32_t count;
    uint32_t next;  /* which attempt would be their next; 0: they are released */
    uint64_t delay; /* ns until it is wanted */
} fi_far_fate_t;

typedef struct fi_far_frame {
    fi_far_head_t head;
    fi_contract_t contract;
    char channel[104];
    char text[256];                    /* REFUSED: why */
    fi_far_fate_t fates[FI_FAR_FATES]; /* FATE */
} fi_far_frame_t;

enum fi_far_described_bits {
    FI_FAR_DESCRIBED = 1, /* a fi_far_described_t follows */
    FI_FAR_ORIGIN = 2     /* a dead letter: its last bytes are a struct fi_origin */
};

/* DATA: before each record's bytes, which are padded to 8. In a message in pieces there is one, whose size is the
 * piece's. */
typedef struct fi_far_record {
    uint32_t size;
    uint16_t attempt;
    uint16_t described; /* enum fi_far_described_bits */
    uint64_t seq;
} fi_far_record_t;

typedef struct fi_far_described {
    uint64_t tag;
    uint64_t time_ns;
} fi_far_described_t;

/* What stands before the bytes of a frame's first record, at most. */
#define FI_FAR_LEAD (FI_FAR_HEAD + sizeof(fi_far_record_t) + sizeof(fi_far_described_t))

#endif

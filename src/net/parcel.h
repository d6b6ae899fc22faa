/* SPDX-License-Identifier: MIT
 *
 * net/parcel.h - durable messages that are larger than the engine takes: in pieces.
 *
 *     stream    FERRY=SPACE=qb=NAME (a topic's: dtb)        the newest message of each subject
 *     subjects  ferry.SPACE.qb.NAME.NODE-END.SEQUENCE.I     piece number I, from 0
 *               ferry.SPACE.qb.NAME.NODE-END.SEQUENCE.done  its sender knows that the head is stored
 *     head      in the channel's own stream, in the message's place, without bytes; "Ferry-Parcel: SIZE-PIECE" in hex
 *
 * The sender puts all pieces there first, then the head, then the mark; only then is the message stored, for it.  So
 * who meets a head finds all pieces, and a message of which there is no head is delivered to nobody.  To put a piece a
 * second time does no harm.  After a lost connection the sender begins with the first piece again, and a queue's head
 * that the engine had before gets a new id, since it may have been dropped meanwhile.
 *
 * Of a queue, who acknowledges the head removes the pieces; of a topic, bounds drop them, as they drop heads.  What a
 * sender leaves that dies before the mark is swept by the next one that opens the queue (fi_parcels_sweep): as long as
 * there is no mark, nobody was told that the message is stored.
 *
 * The receiving side fetches the pieces of one message at a time, up to a window ahead, into the memory from which it
 * is delivered.
 */
#ifndef FI_NET_PARCEL_H
#define FI_NET_PARCEL_H

#include "base/bits.h"
#include "net/deposit.h"

#define FI_PARCEL_MOST (1ull << 30) /* bytes of a durable message */

/* A server that takes less than that takes no heads either. Another one, or the same after a restart, may take more or
 * less than the last; so this changes with the way, on which all that is not stored goes once more. */
static inline uint64_t fi_parcel_most(const fi_net_t *net) {
    return fi_max((uint64_t)fi_load_relaxed32(&net->way.most), 2ull * FI_DURABLE_HEAD);
}

/* The bytes of a piece. */
static inline uint64_t fi_parcel_piece(const fi_net_t *net) {
    return fi_min(fi_parcel_most(net), (uint64_t)FI_FAR_PIECE) - FI_DURABLE_HEAD;
}

static inline bool fi_is_parcel(const fi_net_t *net, uint64_t size) {
    return size > fi_parcel_most(net) - FI_DURABLE_HEAD;
}

/* "ferry.SPACE.qb.NAME", with its stream in `stream`. */
void fi_parcel_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                     char stream[FI_SUBJECT_MAX]);

/* ---- parcel_out.c: the sending side. The deposit's end is held. ---- */

/* True: all pieces of the message with this number are stored, and its head may follow. Else goes on with them. */
bool fi_parcel_put(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, uint64_t number, int64_t now);
/* The header of a head. */
natsStatus fi_parcel_head(const fi_bridge_t *b, natsMsg *msg, uint64_t size);
/* The head is stored: puts the mark. */
void fi_parcel_mark(fi_bridge_t *b, const fi_deposit_t *p, const fi_depositor_t *d, uint64_t number);
/* An answer about the stream ("s"), or piece `word` ("NUMBER-I") of a message. */
void fi_parcel_answer(fi_bridge_t *b, fi_depositor_t *d, const char *word, bool refused, int64_t now);
/* What is to be removed with a head: messages by their numbers, since a purge by subject spoils the server's books
 * (2.9.10). */
typedef struct fi_pieces {
    uint64_t *seqs;
    uint32_t count;
    char subject[FI_SUBJECT_MAX + 64]; /* for the mark */
} fi_pieces_t;
/* Removes them, and frees `*pieces`. NULL is allowed. */
void fi_parcel_remove(fi_bridge_t *b, const char *queue, fi_pieces_t *pieces);
void fi_pieces_free(fi_pieces_t *pieces);
/* The mark has come that is to be removed. */
void fi_parcel_remove_mark(fi_bridge_t *b, natsMsg *mark);
/* The number of a message that was got from its stream; 0: it was not there. */
uint64_t fi_parcel_seq(natsMsg *msg);
/* Removes what dead senders have left. By a thread of the program's; what cannot be asked is left alone. */
void fi_parcels_sweep(fi_net_t *net, const char *queue);

/* ---- parcel_in.c: the receiving side ---- */

typedef enum fi_parcel_state {
    FI_PARCEL_GOING,   /* pieces are to come */
    FI_PARCEL_WHOLE,   /* `block` has all */
    FI_PARCEL_MISSING, /* pieces are gone: it was delivered before, or was dropped */
    FI_PARCEL_UNFIT    /* it is larger than the receivers take */
} fi_parcel_state_t;

typedef struct fi_parcel {
    struct fi_list link; /* in the bridge's, while it goes on */
    uint32_t number;     /* of fetches, ever; 0: none goes on */
    ferry_kind_t kind;
    char channel[104];
    fi_sender_t *tx;
    uint64_t size;
    uint64_t piece;
    uint32_t count;
    uint32_t asked;                    /* the next to be asked for */
    uint32_t first;                    /* that has not come */
    uint64_t *seqs;                    /* by piece: its number in the stream; 0: it has not come */
    fi_block_t *block;                 /* with FI_DURABLE_MORE bytes behind it */
    char subject[FI_SUBJECT_MAX + 64]; /* "...NODE-END.SEQUENCE" */
    int64_t answered_at;               /* ns */
    int64_t missing_since;             /* 0: nothing is */
} fi_parcel_t;

/* "...NODE-END.SEQUENCE" of what a head stands for. False: it does not say. */
bool fi_parcel_subject(const fi_net_t *net, ferry_kind_t kind, const char *channel, natsMsg *head,
                       char subject[FI_SUBJECT_MAX + 64]);
/* Is this a head? Then `*size` is what it stands for. False also if it is malformed. */
bool fi_parcel_is_head(natsMsg *msg, uint64_t *size);
/* Goes on with fetching what `head` stands for, into the memory of `tx`, whose end is held; `kind`, `channel` and `tx`
 * are set. */
fi_parcel_state_t fi_parcel_fetch(fi_bridge_t *b, fi_parcel_t *f, natsMsg *head, int64_t now);
/* ns until a fetch is to be looked at again, or -1. */
int64_t fi_parcel_due(const fi_parcel_t *f, int64_t now);
/* To be called before the first fetch. */
int fi_parcel_listen(fi_bridge_t *b);
/* A piece has come for the fetch of some number, by the last words of its subject, "NUMBER.I". */
void fi_parcel_arrived(fi_bridge_t *b, natsMsg *msg);
/* What is to be removed once it is done with; allocated. NULL: no memory. It is whole. */
fi_pieces_t *fi_parcel_pieces(fi_parcel_t *f);
/* It is delivered or given up. The end is held. */
void fi_parcel_end(fi_parcel_t *f);

#endif

/* SPDX-License-Identifier: MIT
 *
 * net/deposit.h - what deposit.c and deposit_send.c share: senders of a durable channel, and their messages on the way
 * into its stream.
 */
#ifndef FI_NET_DEPOSIT_H
#define FI_NET_DEPOSIT_H

#include "net/durable.h"

#define FI_DEPOSIT_WINDOW 4096u /* messages published and not answered, at most */

typedef struct fi_put {
    ferry_msg_t *msg; /* NULL: stored */
    uint64_t seq;     /* the sender's */
    uint64_t tag;
    uint64_t token; /* see token.h; 0: none */
    uint64_t size;
    uint32_t losses; /* of connections, when it was first published by this id, */
    uint32_t again;  /* which is its so manieth further one */
} fi_put_t;

/* A large message on its way in pieces (parcel.h). */
typedef struct fi_put_out {
    uint64_t number; /* of the put; 0: there was none yet */
    uint32_t count;  /* of its pieces */
    uint32_t sent, stored;
    uint32_t losses; /* of connections, when it began */
    bool asked;      /* for the stream, */
    bool there;      /* and it is */
    int64_t answered_at;
} fi_put_out_t;

/* What must be known before a message with a token can be published. */
typedef struct fi_chain {
    enum {
        FI_CHAIN_NONE,
        FI_CHAIN_LAST,
        FI_CHAIN_FENCE,
        FI_CHAIN_LINKED
    } state;         /* asked for the last number, the fence */
    uint32_t round;  /* grows when it begins anew: what was said of an earlier one is not true any more */
    uint64_t token;  /* of what may be published now */
    uint64_t last;   /* number at which the stream then ends */
    uint64_t before; /* the sender's number of the message there; 0: somebody else's */
    uint32_t again;  /* of its id */
    int64_t asked_at;
    uint64_t gone; /* of the fence: see fi_ask_is_gone */
} fi_chain_t;

/* From this number on a sender's messages have this token. */
typedef struct fi_mark {
    struct fi_list link;
    uint64_t tx;
    uint64_t from;
    uint64_t token;
} fi_mark_t;

/* One sender's messages, numbered from 1. */
typedef struct fi_depositor {
    struct fi_list link;
    struct fi_deposit *deposit;
    fi_way_ear_t ear; /* for answers: its subject's last word, "*", is a message's own in each */
    uint64_t tx;
    uint32_t number; /* in the subjects of answers */
    bool ended;      /* its sender has closed, and all was taken */
    char subject[FI_SUBJECT_MAX];
    fi_put_t *puts; /* circular, from `stored` + 1 on; cap is a power of two */
    uint32_t cap;
    uint64_t gone;   /* number of the last that receivers have released, as far as known */
    uint64_t stored; /* of the last up to which all is stored */
    uint64_t sent;   /* of the last that was published */
    uint64_t most;   /* the largest that `sent` ever was: it goes back when something is to be published again */
    uint64_t taken;  /* of the last there is */
    uint64_t gone_bytes, stored_bytes, sent_bytes;
    uint64_t capacity, quota; /* of what is published and not gone */
    uint32_t window;
    fi_put_out_t parcel;
    fi_chain_t chain;
    uint32_t losses;     /* of connections, when something was last put on its way */
    int64_t answered_at; /* ns: when an answer last came, or one was first waited for */
    int64_t paused_until;
    int64_t pause;
    int64_t ask_at; /* when to ask how much is there; 0: nobody needs to know */
    int64_t ask_pause;
    uint64_t released; /* messages: of those that are stored, some may stand behind one that is not */
    uint64_t woken;    /* `released` when its sender was last woken, if it waited for room */
    int64_t wake_at;   /* when it is to be woken, 0: no more is released than then */
} fi_depositor_t;

typedef struct fi_deposit {
    struct fi_list link;
    fi_bridge_t *bridge;
    fi_receiver_t *rx;
    char channel[104];
    ferry_kind_t kind;
    fi_kept_bounds_t kept; /* of a topic: as an own sender has stated it last */
    struct fi_list depositors;
    struct fi_list marks; /* in order */
    uint32_t senders;     /* own ones that are open */
    uint32_t changed;     /* atomic: links came or went */
    fi_intake_t intake;
    fi_mending_t mending;
} fi_deposit_t;

static inline fi_put_t *fi_put_at(const fi_depositor_t *d, uint64_t number) {
    return &d->puts[number & (d->cap - 1)];
}

#define FI_MESSAGE_ID 64u

/* By which the engine knows a message; `seq`: the sender's number; `again`: see stored(). */
void fi_deposit_id(const fi_depositor_t *d, uint64_t seq, uint32_t again, char id[FI_MESSAGE_ID]);
/* Releases a message: it is stored, or shall not be. The end is held. */
void fi_depositor_settle(fi_depositor_t *d, uint64_t number);

/* Why the engine does not take messages now: for those who wait. */
void fi_deposit_note(fi_bridge_t *b, const fi_deposit_t *p, const char *words, int64_t now);

/* Takes what the engine says, on the way, of its messages: an ear's. */
void fi_depositor_hear(void *depositor, natsMsg *msg);

/* Publishes what may be published now. Returns ns until this one is to be looked at again, or -1. The deposit's end is
 * held. */
int64_t fi_depositor_tend(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, int64_t now);

#endif

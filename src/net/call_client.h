/* SPDX-License-Identifier: MIT
 *
 * net/call_client.h - clients whose calls go far: what the files that ask and hear for them share.
 */
#ifndef FI_NET_CALL_CLIENT_H
#define FI_NET_CALL_CLIENT_H

#include "net/calls.h"

#define FI_CALLS_ASK_NS 100000000ll       /* a call that takes longer is asked after */
#define FI_CALLS_ASK_AGAIN_NS 250000000ll /* then so often */
#define FI_CALLS_MOST_TRIES 200u
#define FI_CALLS_KNOWN_NS 2000000000ll /* how long it is believed that others serve */
#define FI_CALLS_CLIENTS_OWN 0         /* the number of no call: what is asked by the client itself */

/* A message that has come. */
typedef struct fi_heard {
    struct fi_heard *next;
    natsMsg *msg;
    uint64_t id;
    uint32_t attempt;
    bool probe; /* of a probe, not of the call */
} fi_heard_t;

typedef struct fi_far_client {
    struct fi_list link;
    fi_calls_t *calls;
    ferry_client_t *k;
    uint64_t number;
    uint32_t some; /* messages have come; atomic */
    bool waits;    /* in `upload`; guarded by the lock, as is what was heard */
    fi_heard_t *first;
    fi_heard_t *last;
    uint64_t heard_bytes;

    bool polled; /* its descriptor is; guarded by the lock */

    int cancel;    /* whether its thread could be cancelled before the call that it is in */
    uint32_t open; /* calls of its that are far; written by its thread */
    uint64_t held; /* bytes of their arguments */
    int64_t usual; /* ns that they take; 0: not known */
    int64_t known_at;
    int64_t sought_at;
    natsSubscription *direct_sub; /* read by the client's thread; NULL: not yet */
    char direct_inbox[96];
    struct fi_far_call *direct; /* the call whose answer goes there */
    bool nobody;                /* the last one-way call found nobody */
    bool unknown;               /* nor has anybody on the server, Ferry or not, such a name */
    bool served;                /* somebody has answered, who may be on the way back where nobody is found */
    fi_foreign_t *foreign;
    char prefix[FI_SUBJECT_MAX];
} fi_far_client_t;

typedef struct fi_far_call {
    ferry_call_t *c;
    unsigned char *data;
    uint64_t size;
    uint32_t flags;
    uint32_t attempt;
    uint32_t tries;
    uint32_t times_up; /* the network's when its request was sent; atomic */
    uint32_t denials;
    uint64_t server; /* the node that has it; 0: not known */
    int64_t begun;
    int64_t ask_at;
    int64_t again_at; /* to be sent again; 0: not */
    uint32_t silent;  /* questions, one after the other, that were not answered */
    bool cut;         /* there was no connection since it was sent */
    uint32_t unheard; /* times that it found nobody */
    int64_t look_at;  /* while it is `direct`, and the thread waits for other things, too; 0: it does not */
    int64_t look_after;
    bool foreign;
    uint32_t sent;                /* 1: somebody may have its request; atomic */
    struct fi_kept_message *kept; /* its request, which waits for a connection; NULL: it does not. call_kept.c's */
    bool over;
    bool uploaded; /* the server has said that it has the whole argument */
    bool given;    /* it was sent the whole argument */
    uint32_t results;
    uint32_t consumed;
    ferry_msg_t *coming; /* a large answer */
    fi_reply_kind_t kind;
    uint64_t serial;
    uint64_t source;
    uint64_t have;
    uint64_t wanted; /* asked for, so far */
    int64_t came_at;
} fi_far_call_t;

/* What net knows of a client. */
static inline fi_far_client_t *fi_far_of(const ferry_client_t *k) {
    return k->far;
}

/* ---- call_client.c ---- */

/* The inbox, once the first call goes far. While there is no connection it has a name only. */
int fi_far_open_inbox(fi_calls_t *calls);
/* "CLIENT.ID.ATTEMPT", with ".p" if it is about a probe. */
bool fi_far_read_token(const char *token, uint64_t *client, fi_heard_t *h);

/* ---- call_far.c ---- */

/* Where a call's answers go. */
void fi_far_reply_subject(const fi_far_client_t *fk, uint64_t id, uint32_t attempt, bool probe,
                          char out[FI_SUBJECT_MAX]);
/* An endpoint of the service of another make; NULL: it has none of that name. */
const fi_foreign_t *fi_far_find_foreign(const fi_far_client_t *fk, const char *method);
/* Says in a request's headers how much time is left. */
natsStatus fi_far_tell_deadline(natsMsg *msg, int64_t deadline);
/* Sends the request. */
int fi_far_call_send(fi_far_client_t *fk, fi_far_call_t *fc);
/* Sends a frame about the call to the node `to`, or, with 0, to all. */
void fi_far_call_frame(fi_far_client_t *fk, const fi_far_call_t *fc, uint64_t to, fi_call_frame_t f, bool answered,
                       bool probe);
/* The argument is not needed any more. */
void fi_far_call_over(fi_far_client_t *fk, fi_far_call_t *fc);
void fi_far_call_tell_cancelled(fi_far_client_t *fk, const fi_far_call_t *fc);
/* It is over, with an error. */
void fi_far_call_ends(fi_far_client_t *fk, fi_far_call_t *fc, int result);
/* Nobody has it any more: perhaps it has run. Whoever is next runs it if that does no harm. */
void fi_far_call_try_next(fi_far_client_t *fk, fi_far_call_t *fc);

/* ---- call_answers.c ---- */

/* Takes a message that has come. */
void fi_far_client_take_one(fi_far_client_t *fk, const fi_heard_t *h);
/* Nobody has subscribed to what was sent. */
void fi_far_call_nobody(fi_far_client_t *fk, fi_far_call_t *fc);
/* Asks for the next pieces of a large answer. */
void fi_far_call_pull(fi_far_client_t *fk, fi_far_call_t *fc);

/* ---- call_tend.c ---- */

/* Takes what has come to the thread's own inbox. */
void fi_far_client_look_direct(fi_far_client_t *fk);
/* Can the thread wait for this call's answer alone? */
bool fi_far_call_is_alone(fi_far_client_t *fk, const fi_far_call_t *fc, uint32_t flags);

#endif

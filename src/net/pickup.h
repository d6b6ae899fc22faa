/* SPDX-License-Identifier: MIT
 *
 * net/pickup.h - what pickup.c, pickup_ask.c and pickup_late.c share: what a node takes from a durable queue for its
 * receivers.
 */
#ifndef FI_NET_PICKUP_H
#define FI_NET_PICKUP_H

#include "net/parcel.h"

#define FI_PICKUP_AHEAD 1024u         /* messages asked for and not released */
#define FI_PICKUP_SLOW_NS 500000000ll /* held for longer: less */
#define FI_PICKUP_BUCKETS 1024u
#define FI_PICKUP_PULLS 2u

/* A message that is with own receivers, or waits for room with them. */
typedef struct fi_picked {
    struct fi_list link;   /* of all, oldest first */
    struct fi_list bucket; /* of those with the like number */
    natsMsg *msg;          /* until it is put into a ring */
    fi_identity_t id;
    uint64_t seq, time; /* of its fi_delivery_t */
    uint32_t attempt;
    uint32_t round; /* the last in which it was seen with a receiver */
    uint64_t size;
    bool begun;          /* a receiver has taken it */
    int64_t since;       /* ns */
    int64_t told;        /* when the engine last heard that it is being worked on */
    fi_pieces_t *pieces; /* a large one's, to be removed with it; else NULL */
    char ack[];          /* the subject for saying so */
} fi_picked_t;

typedef struct fi_pickup {
    struct fi_list link;
    fi_bridge_t *bridge;
    uint32_t receivers; /* own ones that are open */
    char channel[104];
    char next[FI_DURABLE_API_MAX]; /* where to ask, */
    fi_way_ear_t ear;              /* and where answers come */
    fi_sender_t *tx;
    struct fi_list held;    /* fi_picked_t in own receivers' hands */
    struct fi_list waiting; /* fi_picked_t without room there yet */
    struct fi_list buckets[FI_PICKUP_BUCKETS];
    fi_known_t *known;
    uint32_t count; /* held and waiting, */
    uint32_t slow;  /* and, of these, being worked on for long: they do not keep others from being asked for */
    uint64_t bytes;
    uint64_t usual_size; /* of a message: the largest of late */
    uint32_t ahead;      /* how much may be asked for and not released, */
    uint32_t most;       /* and with one question, as the engine says */
    uint32_t round;
    struct {
        uint32_t left; /* messages asked for that have not come */
        int64_t asked; /* ns */
        int64_t until; /* ns: then the question was lost */
    } pulls[FI_PICKUP_PULLS];
    uint32_t lost; /* of the way, when it was last asked */
    bool heard;    /* the consumer has said something since the last question that was lost */
    int64_t paused_until;
    fi_mending_t mending;
    fi_parcel_t parcel; /* the first that waits, if it is large */
} fi_pickup_t;

#define FI_PICKUP_LATER_NS 20000000ll /* what is handed back by who leaves comes then: see fi_pickup_take_back */

/* The message is somebody else's, after so many ns. */
void fi_pickup_hand_back(fi_bridge_t *b, const char *ack, int64_t delay);

/* ---- pickup_late.c ---- */

/* Ends the ear; what is still on its way there is handed back, unless it was released here: `known`, which is taken
 * over. False: it is not, for want of memory. */
bool fi_pickup_listen_late(fi_bridge_t *b, fi_way_ear_t *ear, fi_known_t *known);
/* It was released: for what comes again. */
void fi_pickup_acknowledge_again(fi_bridge_t *b, const char *ack);

/* ---- pickup_ask.c ---- */

/* Asks when it is worth a question: for half of what may be ahead, or if nothing is asked for. Returns ns until it is
 * to ask again, or -1. */
int64_t fi_pickup_pull(fi_bridge_t *b, fi_pickup_t *p, int64_t now);
/* Has the engine forget what those asked who do not listen any more. */
void fi_pickup_take_back(fi_bridge_t *b, const fi_pickup_t *p);
/* The consumer has said something. */
void fi_pickup_hear(fi_pickup_t *p, int64_t now);
/* What the oldest question asks for still. */
uint32_t *fi_pickup_oldest(fi_pickup_t *p);
uint32_t *fi_pickup_newest(fi_pickup_t *p);

#endif

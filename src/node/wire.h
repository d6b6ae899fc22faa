/* SPDX-License-Identifier: MIT
 *
 * wire.h - frames: what nodes say to each other when they meet, join, grow and part.  Never on the data path.
 *
 * Every frame has the same size and travels as one SOCK_SEQPACKET message, with at most two descriptors.
 *
 *   opener                                                peer
 *     HELLO (pidfd, node bell)        ->   <-             HELLO            both at once, first on every connection
 *     MEET_SENDER tx                  ->                                   "I have this sender; who receives?"
 *                                     <-  MEET_RECEIVER rx (page, bell)    one for each receiver on the channel
 *                                     <-  SETTLED tx, count
 *     MEET_SENDER tx (for taps)       ->                                   "who looks at what I send?"
 *                                     <-  MEET_RECEIVER rx (page, bell)    one for each tap
 *                                     <-  SETTLED tx, count
 *   or
 *     MEET_RECEIVER rx (page, bell)   ->                                   "I have this receiver; who sends?"
 *                                     <-  OFFER tx rx (ring)               one for each sender on the channel
 *                                     <-  SETTLED rx, count                0 also for one that may not be linked
 *   then, sender -> receiver: OFFER (ring), receiver -> sender: ACCEPT (control area) or REFUSE, sender -> receiver: LIVE
 *   later: SEGMENT (memory), UNSEGMENT, RING (ring), RING_OK (control area) and, if it may lose, LIVE, REJECT (receiver),
 *   END (sender), CLOSE (receiver), EXPEL
 */
#ifndef FI_WIRE_H
#define FI_WIRE_H

#include <stdint.h>

#include "node/contract.h"

/* "rie5": the digit is the version; it grows when a frame, or something in it, means something else. */
#define FI_WIRE_MAGIC 0x35656972u

enum fi_frame_type {
    FI_HELLO = 1,
    FI_MEET_SENDER,
    FI_MEET_RECEIVER,
    FI_SETTLED,
    FI_OFFER,
    FI_ACCEPT,
    FI_REFUSE,
    FI_LIVE,
    FI_SEGMENT,
    FI_UNSEGMENT,
    FI_RING,
    FI_RING_OK,
    FI_END,
    FI_CLOSE,
    FI_EXPEL,
    FI_REJECT,
    FI_OBJECT_ASK, /* object.h */
    FI_OBJECT,
    FI_OBJECT_NONE,
    FI_OBJECT_JOINED,
    FI_OBJECT_LEFT,
    FI_OBJECT_CHANGED,
    FI_LOOK,      /* what `ferry ls` asks */
    FI_LOOK_NODE, /* and is told */
    FI_LOOK_END,
    FI_LOOK_OBJECT,
    FI_LOOK_WAIT, /* waits.h */
    FI_LOOK_KEYS,
    FI_LOOK_DONE,
    FI_LEAVES,  /* a node closes, and tells those who stay */
    FI_PURGE,   /* what `ferry purge` asks */
    FI_PURGING, /* and is told: by the node */
    FI_PURGED,  /* and by each sender */
    FI_KICK,    /* what `ferry kick` asks: expel node a */
    FI_KICKED,  /* and is told: a: connections that were given up; error: why not */
    FI_SKIP,    /* a sender asks its receiver to leave out what it has not taken */
    FI_SKIPPED,
    FI_LOOK_LINK,    /* links.h */
    FI_LOOK_ENGINE,  /* between machines only (net/tell.h): connection to the engine, */
    FI_LOOK_FAR,     /* link with another node, */
    FI_LOOK_VIA,     /* through whose receivers a full channel leads, */
    FI_LOOK_LEASE,   /* who holds a lock */
    FI_LOOK_BESIDE,  /* waits.h: another node of the process */
    FI_OBJECT_EXILE, /* who is asked for an object tells of a holder that has no name any more, and lives: a, pidfd */
    FI_FRAME_TYPES,
    /* never on the wire: made by the node for its own ends */
    FI_PEER_GONE = 100, /* a: 1: its process is known dead, perhaps later than the first time; 0: it may live */
    FI_ROOM,            /* a receiver may have made room */
    FI_COUNT,           /* bring the figures up to date */
    FI_ABANDON,         /* the owning thread has ended */
    FI_DUE,             /* the moment has come that the end has named */
    FI_TELL,            /* tell of your links who asks */
    FI_DENIED,          /* the engine does not let its messages leave this machine; text: its words */
    FI_UNTRIED, /* what a hidden receiver has from this place on (`a`, figure 0: the ring's place) was not tried by anybody */
    FI_RATION, /* a hidden receiver may have so many messages at once from now on (`a`; 0: no limit) */
};

enum fi_hello_flags { FI_HELLO_ASYMMETRIC = 1 };
enum fi_meet_flags {
    FI_MEET_MAY_LOSE = 1,
    FI_MEET_NO_HISTORY = 2,
    FI_MEET_HIDDEN = 4,
    FI_MEET_TAP = 8,
    FI_MEET_PER_TAG = 16
};
/* PURGE: also what hidden senders pass on, which senders on other machines have sent; nothing else. PURGED: it was
 * that */
enum fi_purge_flags { FI_PURGE_PASSED_ON = 1, FI_PURGE_NOT_OWN = 2 };
enum fi_offer_flags {
    FI_OFFER_LOSSY = 1,
    FI_OFFER_COUNTED = 2, /* not lossy, but a number that is missing is a message that is lost */
    /* Messages may come that have smaller numbers than the first one: they were sent before, and wait for others. */
    FI_OFFER_LATE = 4
};
enum fi_reject_flags {
    FI_REJECT_UNCOUNTED = 1, /* this was no attempt */
    FI_REJECT_BURIED = 2,    /* it is kept aside: a copy is in the dead-letter queue */
    FI_REJECT_TRIED = 8,     /* so often as figure 1 says: its receiver has passed it on (to another machine) */
    FI_REJECT_DONE = 4,      /* that has been released: `a` is the sequence number of one that was buried */
    FI_REJECT_PURGED = 16,   /* DONE, but nobody has had it: it was purged */
    FI_REJECT_REFUSED = 32 /* the dead-letter queue does not take it: nobody is to try it while its receiver is there */
};
enum fi_look_end_flags { FI_LOOK_END_TAP = 1 };
/* LINKS: of the channel that `text` names; STAY: who asks wants to be told, too, when the node leaves;
 * WITH_BESIDE: goes on to other spaces */
enum fi_look_flags { FI_LOOK_WAITS_ONLY = 1, FI_LOOK_LINKS = 2, FI_LOOK_STAY = 4, FI_LOOK_WITH_BESIDE = 8 };
enum fi_beside_flags { FI_BESIDE_MORE = 1 };
enum fi_wait_frame_flags { FI_WAIT_NEEDS_ALL = 1, FI_WAIT_DETECTS = 2, FI_WAIT_LEASE = 4, FI_WAIT_STIRS = 8 };

#define FI_NODE_NOW 9       /* of LOOK_NODE: what time the node has; 1 to 8: links.h */
#define FI_NODE_PID 10      /* its process as it sees itself, */
#define FI_NODE_PIDS_IN 11  /* and in which PID namespace: its inode, or 0 */
#define FI_FIGURE_DEPTH 4   /* of LOOK_END: messages that wait, or are held */
#define FI_KEYS_IN_FRAME 10 /* figures of LOOK_WAIT and LOOK_KEYS that are keys; `rx` says how many */

typedef struct fi_frame {
    uint32_t magic;
    uint16_t type;
    uint16_t kind; /* enum ferry_kind */
    uint64_t tx;   /* number of the sending end within its node; 0: none */
    uint64_t rx;   /* number of the receiving end within its node; 0: none */
    uint64_t a, b; /* by type: see below */
    uint32_t flags;
    int32_t error; /* REFUSE: negative errno */
    fi_contract_t contract;
    char text[104];       /* HELLO: node name; MEET: channel; REFUSE, EXPEL: reason; zero-terminated */
    uint64_t figures[12]; /* mostly of LOOK_* */
} fi_frame_t;

/* a, b by type
 *   LOOK_WAIT      since, thread id and process id that is waited for; tx: its number; the last figures: thread's name
 *                  FI_WAIT_LEASE: no keys; figures 7 to 9: handle, role, instance of the object (net/value.h)
 *   LOOK_KEYS      more keys of wait tx; tx 0: pairs of key and thread id
 *   LOOK_NODE      node id, peers; figures: its process's number, a profile (links.h), what time it has, its PID there
 *   LOOK_ENGINE    text: URL; figures as in ferry_look_engine_t
 *   LOOK_FAR       to: node id, round trip; text, type name: name and host of `to`; figures as in ferry_look_link_t
 *   LOOK_VIA       to: node id, 0: the engine; rx: the end that stands for receivers there; kind, text: channel
 *   LOOK_BESIDE    node id; text: its space's directory, or a piece of its path and FI_BESIDE_MORE
 *   LOOK_LEASE     key, thread id; figures: token, ns since it was taken
 *   HELLO          node id, process id (figures: fi_process_program)
 *                                              SETTLED    count of links to come
 *   OFFER          start position, first serial (figures: next sequence number; for whom: node and end) RING       serial of the new ring
 *   MEET_RECEIVER  - (figures: prefetch, ack_within; of a hidden one also the node it leads to)
 *   ACCEPT         -                            RING_OK    serial
 *   LIVE           serial of the ring whose control area the sender sees; 0: of none
 *   END            number of the last message that was sent, for a reader that may lose; 0: it is not said
 *   PURGING        senders that were asked      PURGED     messages purged; those that a receiver was asked to leave out
 *   SKIP           last sequence number, purge (figures: serial of the last ring, position there that is behind it)
 *                                              SKIPPED    messages, purge
 *   SEGMENT        id                           UNSEGMENT  id
 *   REJECT         position, delay in ns (figures: the ring's place, attempts); flags: enum fi_reject_flags
 *   MEET_RECEIVER  messages it asks to be kept
 */

_Static_assert(sizeof(fi_frame_t) <= 512, "a frame stays small");

#endif

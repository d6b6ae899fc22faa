/* SPDX-License-Identifier: MIT
 *
 * net/bridge.h - queues and topics between machines.
 *
 * Rings and pools stay as they are; one thread of the node's, the bridge, takes part in its channels as other ends do:
 *
 *   outward  a hidden receiver that takes what own senders send for receivers elsewhere: one for each queue and node
 *            that receives from it, one for each topic
 *   flow     one own sender's messages on an outward's way, numbered, kept until all who shall have them have said so
 *   arm      a flow's way to one node
 *   inward   a hidden sender that stands for a sender elsewhere: its messages are those, and go to own receivers
 *
 * So a message waits in its sender's memory, under its quota, until the receiver far away has released it; what a lost
 * node had not released goes to another receiver; a topic is taken once and published once.  What hidden ends cannot
 * see of each other cannot go round in circles.
 *
 * Who acts: the bridge's thread alone, on everything here.  Others only put mail into its box: the library's threads
 * what has arrived, users' threads which ends they open and close.  It never waits for anything but its descriptors.
 */
#ifndef FI_NET_BRIDGE_H
#define FI_NET_BRIDGE_H

#include "ferry/watch.h"

#include "channel/receiver.h"
#include "channel/sender.h"
#include "net/frame.h"
#include "net/net.h"
#include "platform/clock.h"
#include "platform/patience.h"

#define FI_FAR_WINDOW (4u << 20)        /* bytes on their way to one node, for each sender, at most */
#define FI_FAR_LEAST (128u << 10)       /* the same at first, after a lost connection, and where they take long */
#define FI_FAR_KEPT (8u << 20)          /* bytes taken from one sender and not released */
#define FI_FAR_BATCH (64u << 10)        /* bytes of small messages that travel together */
#define FI_FAR_PIECE (1u << 20)         /* bytes of a message in pieces */
#define FI_FAR_PROBE_NS 1000000000ll    /* between questions to a node with which there are links */
#define FI_FAR_IMPATIENT_NS 250000000ll /* the same while something is not acknowledged */
#define FI_OWN_LINK_NS                                                                                                 \
    20000000000ll /* how long a durable topic's sender waits for a link to its own node: machines stall */
#define FI_FAR_SETTLE_NS 1000000000ll /* patience of an open with nodes elsewhere */

/* What channels have exchanged with a node. */
typedef struct fi_far_traffic {
    uint64_t bytes_sent, messages_sent, resent;
    uint64_t bytes_received, messages_received;
} fi_far_traffic_t;

typedef struct fi_far_node {
    struct fi_list link;
    uint64_t id;
    char name[104];
    char host[64];
    uint32_t pid;
    bool named;           /* it has said what it is called, and who watches was told of it */
    int64_t heard_at;     /* ns: when anything last came from it */
    int64_t asked_at;     /* when it was last asked whether it is there */
    int64_t silent_since; /* its connection has been gone since; 0: it is not */
    int64_t timing;       /* a question with this number, when it was asked, is on its way there and back; 0: none */
    int64_t round_trip;   /* of the last one that came back; 0: none yet */
    int64_t timed_at;
    fi_far_traffic_t traffic;
} fi_far_node_t;

/* An end that the program has open on this node. */
typedef struct fi_own {
    struct fi_list link;
    uint64_t id;
    bool is_sender;
    uint32_t kind;
    uint32_t flags; /* enum fi_far_flags */
    bool plain;     /* clients that are not Ferry's have part in it */
    uint32_t retain;
    uint64_t quota;
    uint64_t capacity;     /* UINT64_MAX: no limit */
    uint32_t prefetch;     /* receivers of queues; 0: no limit */
    fi_kept_bounds_t kept; /* durable topics: a sender's, */
    fi_replay_t replay;    /* a receiver's */
    fi_contract_t contract;
    char channel[104];
} fi_own_t;

/* An open that waits until it has met who is there. */
typedef struct fi_asking {
    struct fi_list link;
    uint32_t number;
    uint64_t end;
    bool is_sender;
    uint32_t kind;
    char channel[104];
    uint32_t unanswered;    /* nodes that have not said how many links will come */
    uint32_t expected;      /* links that those who did have announced */
    fi_patience_t patience; /* with nodes elsewhere */
    int64_t link_by;        /* ns: until then this node's own threads may link it, if it needs that */
    bool durable;
    bool plain;
    bool done;      /* guarded by the bridge's lock, with what follows */
    bool abandoned; /* nobody waits for it any more: whoever ends it frees it */
    int error;
    char text[256];
} fi_asking_t;

struct fi_outward;
struct fi_flow;

/* A node that an outward serves. */
typedef struct fi_dest {
    struct fi_list link;
    fi_far_node_t *node;
    bool no_history;
    uint64_t said; /* number of what it said last about its receivers */
} fi_dest_t;

typedef struct fi_arm {
    struct fi_list link;
    fi_dest_t *dest;
    uint64_t token;
    bool live;         /* M is ready */
    uint64_t received; /* number of the last that has arrived there; at first, of the last that it shall not have */
    uint64_t released;
    uint64_t got;       /* bytes that have arrived of the one after `received` */
    uint64_t again;     /* topics: number from which it is to be sent anew, to this node alone; 0: none */
    uint64_t probed;    /* what was sent when it was last asked, */
    uint64_t probed_to; /* and bytes of the one after it */
} fi_arm_t;

/* A message on its way, or, for those who come late to a topic, a copy of one that was. */
typedef struct fi_kept {
    ferry_msg_t *msg; /* NULL: released; `copy` has its bytes, if it is retained */
    void *copy;
    uint64_t size;
    uint64_t seq;
    uint64_t tag;
    uint64_t time_ns;
    uint32_t attempt;
    bool origin;       /* its last bytes say where it comes from */
    uint32_t attempts; /* which would be its next, if it came back now; 0: not known */
    int64_t due;       /* when that is wanted, then; 0: at once */
} fi_kept_t;

typedef struct fi_flow {
    struct fi_list link;
    struct fi_outward *outward;
    uint64_t tx;
    uint32_t retain;
    bool ended; /* its sender has closed, and all was taken */
    bool shut;  /* that was told */
    struct fi_list arms;
    fi_kept_t *kept; /* circular, by number; kept_cap is a power of two */
    uint32_t kept_cap;
    uint64_t first;      /* number of the oldest that is kept */
    uint64_t before;     /* sequence number of the one before that */
    uint64_t held;       /* number of the oldest that is not released */
    uint64_t next;       /* number that the next one taken gets */
    uint64_t sent;       /* number of the last that was sent */
    uint64_t most;       /* the largest that `sent` ever was: it goes back when something is to be sent again */
    uint64_t piece;      /* bytes sent of the one after it */
    uint64_t acked;      /* number of the last that all live arms have received */
    uint64_t held_bytes; /* of what is not released */
    uint64_t way_bytes;  /* of what was sent and not acked */
    uint64_t window;     /* which these may be */
    uint64_t timed;      /* number of the one whose way is measured; 0: none */
    uint64_t timed_to;   /* its bytes that were sent then */
    int64_t timed_at;    /* ns */
} fi_flow_t;

/* Of a hidden receiver. */
typedef struct fi_intake {
    bool readable; /* its bell has rung, and it was not empty since */
    bool held_up;  /* as many messages are held as can be, or there is no memory: to be tried again after a nap */
} fi_intake_t;

typedef struct fi_outward {
    struct fi_list link;
    struct fi_bridge *bridge;
    fi_receiver_t *rx;
    uint32_t kind;
    char channel[104];
    struct fi_list dests;
    struct fi_list flows;
    uint32_t changed; /* atomic: senders came or went */
    fi_intake_t intake;
    bool rationed; /* how much its node may have at once has changed since it was opened */
} fi_outward_t;

/* What one node sends on one topic. */
typedef struct fi_hearing {
    struct fi_list link;
    uint64_t node;
    uint32_t users;
    natsSubscription *sub;
    char channel[104];
} fi_hearing_t;

/* What has arrived, and is not with own receivers yet: a batch of messages, or one that came in pieces. */
typedef struct fi_arrived {
    struct fi_list link;
    natsMsg *msg;   /* NULL: it came in pieces */
    size_t at;      /* in its data: the next record */
    uint32_t left;  /* records */
    fi_item_t item; /* came in pieces */
} fi_arrived_t;

/* What was so when its sender was last told of single messages (fate.c). */
typedef struct fi_told {
    int64_t at;        /* ns: when it was last looked at */
    uint64_t returned; /* messages that had come back here */
    uint64_t released;
    uint64_t waiting; /* not released, if it was counted */
    bool again;       /* it may not have heard of that */
} fi_told_t;

typedef struct fi_inward {
    struct fi_list link;
    struct fi_bridge *bridge;
    fi_far_node_t *node; /* NULL: it has gone */
    uint64_t tx;
    uint64_t token;
    uint32_t kind;
    char channel[104];
    fi_sender_t *sender;
    fi_hearing_t *hearing; /* topics */
    bool live;
    bool linked;            /* with all who were there when it began; they may be slow to notice */
    int64_t began;          /* ns */
    uint64_t received;      /* number of the last that has arrived in order */
    uint64_t put;           /* of the last that own receivers can take */
    uint64_t released;      /* up to which own receivers have released all; topics: put */
    struct fi_list waiting; /* fi_arrived_t */
    fi_item_t pieces;       /* of the message that is coming in pieces; no block: none is */
    uint64_t got;           /* bytes of it */
    uint64_t *seqs;         /* sequence numbers of what is put and not released: circular, by number; power of two */
    uint32_t seqs_cap;
    uint64_t told_received, told_released, told_got;
    int64_t told_at;   /* ns */
    uint64_t untold;   /* bytes that have arrived since */
    bool keeps_silent; /* it will be told soon */
    uint64_t shut;     /* number of the last one there will be; UINT64_MAX: not known */
    bool cut_off;      /* since one of the two nodes was given up */
    uint32_t must_ack; /* enum fi_far_flags, and bit 31 */
    bool complained;   /* that something is missing, since the last that was not */
    fi_told_t told_fates;
} fi_inward_t;

enum fi_box_kind {
    FI_BOX_MSG,
    FI_BOX_OPENED,
    FI_BOX_CLOSING,
    FI_BOX_UP,
    FI_BOX_STORED,
    FI_BOX_READ,
    FI_BOX_HEARD,
    FI_BOX_PIECE,
    FI_BOX_DENIED,
    FI_BOX_INQUIRY,
    FI_BOX_WATCH,
    FI_BOX_TOKEN
};

typedef struct fi_box_item {
    struct fi_list link;
    enum fi_box_kind kind;
    natsMsg *msg;
    uint32_t number; /* PICKED, READ, HEARD: whose */
    fi_own_t own;
    fi_asking_t *asking;
    uint64_t from, token;       /* FI_BOX_TOKEN: what this sender sends from this number on */
    char *text;                 /* FI_BOX_DENIED: the server's words; allocated */
    struct fi_far_watch *watch; /* FI_BOX_WATCH: it begins or ends */
} fi_box_item_t;

#define FI_BRIDGE_DROPPED 2048u

typedef struct fi_bridge {
    fi_net_t *net;
    pthread_t thread;
    int epoll;
    int bell; /* eventfd */
    fi_net_watch_t watch;
    natsSubscription *direct, *all, *replies;

    pthread_mutex_t lock; /* guards box, askings' answers, stopping, refusal */
    pthread_cond_t answered;
    struct fi_list box;
    bool stopping;

    struct fi_list nodes;
    uint32_t node_count; /* atomic: for who closes */
    struct fi_list owns;
    struct fi_list askings;
    struct fi_list inquiries; /* tell.c */
    struct fi_list watches;   /* watched.c */
    uint64_t hellos;          /* greetings said ever */
    struct fi_list outwards;
    struct fi_list inwards;
    struct fi_list hearings;
    struct fi_list noted; /* heard.c */
    uint32_t noted_count;
    struct fi_list deposits, pickups, lates, readers; /* durable.h */
    struct fi_list plains, ears;                      /* plain.h */
    struct fi_list parcels;                           /* fetches that go on: parcel.h */
    natsSubscription *pieces;
    struct { /* the newest of the engine's to store a message */
        char channel[104];
        char words[160];
        int64_t at; /* ns */
    } refusal;
    natsSubscription *answers; /* for deposits; NULL: there was none yet */
    uint32_t depositors_ever, pickups_ever, readers_ever, parcels_ever, ears_ever;
    uint32_t askings_ever;
    uint64_t haves_ever;
    unsigned char *buffer; /* for one batch */
    size_t piece;          /* bytes of it that are used at most */
    bool progress;         /* in this turn */
    bool dense;            /* the engine's messages about durable channels come so: they are taken together */
    int64_t singles;       /* of these, since */
    int64_t counted_at;    /* ns */
    natsMsg *dropped[FI_BRIDGE_DROPPED]; /* see fi_bridge_drop() */
    uint32_t dropped_count;
    size_t dropped_bytes;
} fi_bridge_t;

/* Of two times to wait, in ns: -1 is without end. */
static inline int64_t fi_sooner(int64_t a, int64_t b) {
    return a < 0 ? b : b < 0 ? a : fi_earlier(a, b);
}

int fi_bridge_open(fi_net_t *net);
void fi_bridge_close(fi_net_t *net);

/* bridge.c */
void fi_bridge_post(fi_bridge_t *b, fi_box_item_t *item);
/* Is the caller its thread? */
bool fi_bridge_is_its_thread(const fi_bridge_t *b);
/* It takes one more turn. Any thread. */
void fi_bridge_wake(const fi_bridge_t *b);
/* Puts an arrived message into the box. Any thread. */
void fi_bridge_post_message(fi_bridge_t *b, enum fi_box_kind kind, uint32_t number, natsMsg *msg);
/* Destroys a message, or NULL, soon. Bridge's thread. */
void fi_bridge_drop(fi_bridge_t *b, natsMsg *msg);
/* A subscription whose messages come into the box. */
int fi_bridge_listen(fi_bridge_t *b, const char *subject, natsSubscription **sub);

/* own.c */
extern const fi_far_t fi_far_ops;
/* From now on the sender's messages have this token; by its thread, which holds it. -ENOMEM, -ETIMEDOUT. */
int fi_bridge_set_token(fi_net_t *net, fi_sender_t *tx, uint64_t token);

/* permit.c: does the server let us do what an end of this channel needs? By the thread that opens it, which has asked
 * others, and waits for the server's word. `denials`: as before that. 0, also without a connection; -EACCES, with the
 * server's words. */
int fi_permit_end(fi_bridge_t *b, fi_end_t *e, uint32_t denials);
/* -EACCES, with the server's words. */
int fi_permit_refuse(const char *channel, const char *words);

/* bridge.c, tell.c: somebody wants to know all of this node. Takes the message over. Any thread of the library's. */
void fi_bridge_ask_all(fi_net_t *net, natsMsg *msg);
void fi_inquiry_begin(fi_bridge_t *b, natsMsg *msg);
/* purge.c: is it a request to drop something? That was done, then. */
bool fi_purge_is_asked(fi_bridge_t *b, natsMsg *msg);
/* Answers once round trips have been measured, or that takes too long. Returns ns until the next deadline, or -1. */
int64_t fi_inquiry_turn(fi_bridge_t *b);
void fi_inquiry_end_all(fi_bridge_t *b);

/* nodes.c: who is there. */
fi_far_node_t *fi_far_find(fi_bridge_t *b, uint64_t id);
/* Sends a frame to a node, or to all (`to` 0). */
void fi_far_send(fi_bridge_t *b, uint64_t to, fi_far_frame_t *f);
/* To each node that is known, in order with what else is sent to it; what goes to all may overtake that. */
void fi_far_send_each(fi_bridge_t *b, fi_far_frame_t *f);
fi_far_frame_t fi_far_frame(const fi_bridge_t *b, enum fi_far_type type, uint32_t kind, const char *channel);
/* A frame about nodes: HELLO, CARD, BYE, PROBE, ALIVE. False: it is about something else. */
bool fi_far_node_frame(fi_bridge_t *b, const fi_far_frame_t *f);
/* Measures the way there and back, where that was not done lately. */
void fi_far_measure(fi_bridge_t *b);
/* Its connection is gone, says the server. Gives up one for which it has said so for too long. */
void fi_far_silent(fi_bridge_t *b, uint64_t id);
/* Asks who must be asked. Returns ns until it is to be called again, or -1. */
int64_t fi_far_look_after(fi_bridge_t *b);
void fi_far_hello(fi_bridge_t *b);
void fi_far_introduce(fi_bridge_t *b, uint64_t to);
/* For the thread that opens the space: until those who are there have said so, or for as long as a server answers and a
 * bit. 0. */
int fi_far_wait_for_cards(fi_bridge_t *b);
void fi_far_forget(fi_bridge_t *b, fi_far_node_t *n, ferry_change_t how);

/* watched.c: watches of this node's program (fi_far_t). */
void *fi_far_watch(fi_net_t *net, fi_far_changed_t *changed, void *arg);
void fi_far_unwatch(fi_net_t *net, void *watch);
void fi_far_watch_changed(fi_bridge_t *b, struct fi_far_watch *w); /* it begins, or ends */
/* By its answer to that greeting of ours; UINT64_MAX: by one of its own. */
void fi_far_named(fi_bridge_t *b, fi_far_node_t *n, uint64_t hello);
void fi_far_gone(fi_bridge_t *b, const fi_far_node_t *n, ferry_change_t how);
void fi_far_watches_end(fi_bridge_t *b);

/* meet.c: who receives, who sends. */
/* Must an open wait until the bridge's own end is linked with this one? */
bool fi_meet_needs_link(const fi_own_t *own);
void fi_meet_own(fi_bridge_t *b, fi_box_item_t *item);
void fi_meet_closing(fi_bridge_t *b, uint64_t end);
void fi_meet_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f);
/* Tells a node, or all (0), anew what is open here. */
void fi_meet_again(fi_bridge_t *b, uint64_t to);
/* Tells who waits for it, which is not in the list any more, if it ever was. */
void fi_asking_end(fi_bridge_t *b, fi_asking_t *a);
/* Ends askings that are answered or have waited for too long. Returns ns until the next deadline, or -1. */
int64_t fi_meet_settle(fi_bridge_t *b);
/* The server does not let us ask. */
void fi_meet_denied(fi_bridge_t *b, const char *words);
void fi_meet_node_gone(fi_bridge_t *b, const fi_far_node_t *n);
bool fi_meet_has_receivers(fi_bridge_t *b, uint32_t kind, const char *channel);
fi_own_t *fi_own_find(fi_bridge_t *b, uint64_t id);

/* out.c: own messages on their way. */
void fi_out_serve(fi_bridge_t *b, const fi_far_frame_t *have, fi_far_node_t *n);
void fi_out_unserve(fi_bridge_t *b, uint32_t kind, const char *channel, const fi_far_node_t *n);
void fi_out_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f);
/* One turn: takes, sends, releases. True: more can be taken at once. `*waits` becomes true if it is to be called again
 * after a nap. */
bool fi_out_turn(fi_bridge_t *b, bool *waits);
void fi_out_again(fi_bridge_t *b);
/* An own sender has been opened; it may have been linked before we were told of it. */
void fi_out_opened(fi_bridge_t *b, const fi_own_t *own);
/* Is every arm of this sender's flows open? */
bool fi_out_settled(fi_bridge_t *b, uint64_t tx, uint32_t kind, const char *channel);
/* Does anything wait for this node's word? */
bool fi_out_awaits(fi_bridge_t *b, fi_far_node_t *n);
bool fi_out_serves(fi_bridge_t *b, fi_far_node_t *n);
/* It is being asked: its answer will say what of all that was sent until now it lacks. */
void fi_out_probed(fi_bridge_t *b, fi_far_node_t *n);
void fi_out_node_gone(fi_bridge_t *b, const fi_far_node_t *n);
/* The server has denied a permission: senders whose messages cannot leave for it are told. */
void fi_out_denied(fi_bridge_t *b, const char *words);
/* Tells an own sender, if those words deny that subject. */
void fi_far_tell_denied(fi_bridge_t *b, uint64_t tx, const char *words, const char *subject);
void fi_out_end(fi_bridge_t *b);

/*
 * A receiver of this node's own senders, which nobody else sees. `changed` is called with `whole` when senders come and
 * go, by any thread. The intake is zero to begin with.
 */
typedef struct fi_hidden {
    const char *channel;
    uint32_t kind;
    uint32_t prefetch;
    uint64_t to_node;
    void *whole;
    void (*changed)(void *whole);
    fi_intake_t *intake;
    bool rings_late; /* see fi_rxpart_t */
} fi_hidden_t;

int fi_hidden_receiver_open(fi_bridge_t *b, const fi_hidden_t *h, fi_receiver_t **rx);
/* Its next message; NULL: none now. Its end is held. */
ferry_msg_t *fi_hidden_receiver_take(fi_receiver_t *rx, fi_intake_t *intake);
void fi_hidden_receiver_close(fi_bridge_t *b, fi_receiver_t *rx); /* NULL is allowed */

/* send.c */
void fi_far_topic_subject(const fi_bridge_t *b, char out[FI_SUBJECT_MAX], const char *channel, uint64_t node);

/* fate.c. The ends are held. Is there something to be said of single messages? `over`: of all, since nobody here takes
 * any. */
bool fi_in_has_fates(fi_inward_t *in, bool over);
void fi_in_tell_fates(fi_bridge_t *b, fi_inward_t *in, bool over);
/* What the other side says of that. */
void fi_flow_fate(fi_flow_t *f, const fi_arm_t *arm, const fi_far_frame_t *frame);
/* Hands back, to be tried by somebody else, what was told of. */
void fi_flow_hand_back(fi_flow_t *f);

/* heard.c: topics of other machines. Listens where that node publishes, until the last user ends it; NULL: no
 * memory. */
fi_hearing_t *fi_hear(fi_bridge_t *b, const char *channel, uint64_t node);
void fi_heard_end(fi_bridge_t *b, fi_hearing_t *h); /* NULL is allowed */
/* Has every receiver that was open here before it been linked with it, or refused? What is put into its ring passes by
 * those that will be. Its end is held. */
bool fi_heard_by_all(const fi_sender_t *passes_on);
/* Notes how far a sender elsewhere was heard that is cut off; `passes_on`: its messages, here. */
void fi_heard_note(fi_bridge_t *b, const fi_sender_t *passes_on);
/* A topic's sender elsewhere is being opened, and hears that there are receivers here: they shall have all of it. */
void fi_heard_promise(fi_bridge_t *b, const fi_far_frame_t *seek);
/* A sender elsewhere begins. Was it cut off, or promised receivers, before? Then `*seq` becomes the number of the last
 * message that was passed on here. */
bool fi_heard_goes_on(fi_bridge_t *b, uint64_t node, uint64_t end, uint64_t *seq);
/* Nobody here has heard anything of it, or, with NULL, of any. */
void fi_heard_forget(fi_bridge_t *b, const char *channel);

/* in.c: what others send. */
/* Its node is being asked: acknowledgements go with the question, so that it can say what it does not know any more. */
void fi_in_probed(fi_bridge_t *b, const fi_far_node_t *n);
void fi_in_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f);
/* Takes the message over. */
void fi_in_data(fi_bridge_t *b, fi_far_node_t *n, const fi_far_head_t *h, natsMsg *msg);
/* One turn: what waited, releases, acknowledgements. True: something is not released or waits for room. */
bool fi_in_turn(fi_bridge_t *b);
bool fi_in_serves(fi_bridge_t *b, const fi_far_node_t *n);
uint32_t fi_in_count(fi_bridge_t *b, uint32_t kind, const char *channel);
/* Nobody here receives any more. */
void fi_in_close_channel(fi_bridge_t *b, uint32_t kind, const char *channel);
void fi_in_node_gone(fi_bridge_t *b, const fi_far_node_t *n);
void fi_in_end(fi_bridge_t *b);

#endif

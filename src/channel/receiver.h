/* SPDX-License-Identifier: MIT
 *
 * receiver.h - the receiving end.
 *
 *   receiver ── links (one for each sender) ── logs (that sender's rings) ── held (messages taken, not released)
 *
 * A link is attached (OFFER), read in turn with the others, ended (END, peer gone) and dropped once it is drained; it
 * stays in memory until the last message taken from it is released.
 *
 * The cursor tells the sender what it may overwrite: everything before the oldest held message, or everything taken.
 * It is published in batches, and at once when nothing more is there or the sender sleeps for room.  Single releases
 * are published at once in the release map, whatever their order and thread.
 */
#ifndef FI_RECEIVER_H
#define FI_RECEIVER_H

#include "channel/message.h"
#include "channel/part.h"
#include "channel/sample.h"
#include "channel/wait.h"
#include "ferry/channel.h"
#include "node/node.h"
#include "ring/give_up.h"
#include "ring/ring_reader.h"

#define FI_MESSAGE_OVERHEAD 64          /* what the smallest message counts against the quantum */
#define FI_RX_LOGS 4u                   /* as many as a sender's outlet has in use */
#define FI_TELL_NS INT64_C(60000000000) /* what lasts is told a program once in that time */

typedef struct fi_dead fi_dead_t;

typedef struct fi_rxlog {
    fi_ringr_t r;
    fi_ctl_t ctl;
    fi_shared_t *ring;
    fi_shared_t *ctl_memory;
    uint64_t published; /* cursor */
    uint64_t batch;     /* lines after which it is published */
    fi_give_up_t give_up;
    struct fi_list held;
    uint64_t end;        /* once the sender has ended: it cannot have written beyond; 0 before */
    bool done;           /* the sender goes on in the next ring */
    uint32_t place;      /* of the ring among its outlet's; of a link that may lose: among its own */
    uint32_t theirs;     /* its number among its sender's */
    bool skips;          /* of the rings before, this reader was not told of all */
    bool seen;           /* its sender sees what is held here */
    struct fi_list link; /* among all of its link */
} fi_rxlog_t;

#define FI_SEGMENT_BUCKETS 64u

typedef struct fi_rxsegment {
    struct fi_rxsegment *next; /* in its bucket */
    uint32_t id;
    fi_shared_t *memory;
    uint32_t held;
    bool gone; /* the sender has given it up */
} fi_rxsegment_t;

typedef struct fi_pick fi_pick_t; /* pick.h */

typedef struct fi_rxlink {
    struct fi_list link; /* when detached */
    struct ferry_receiver *rx;
    fi_peer_t *peer; /* counted */
    uint64_t tx;
    fi_rxlog_t *log; /* the one being read */
    fi_rxlog_t
        *logs[FI_RX_LOGS]; /* those that are read now and next; one that is left stays while something is held there */
    uint32_t serial;       /* of `log`; counted from its sender's number of the first, without a gap */
    uint32_t newest;       /* of the newest one that is known, */
    uint32_t theirs;       /* and its number among its sender's */
    fi_shared_t *later;    /* a ring that was offered, and for which there is no place among `logs` yet; NULL: none */
    uint32_t later_theirs;
    uint64_t later_start;
    struct fi_list all; /* its rings; of a link that may lose, also those that have lost their place among `logs` */
    uint64_t rung;      /* the sender's sleep that was ended from here */
    uint64_t number;    /* of this receiver's links, in the order in which they came */
    uint64_t next_seq;
    uint64_t last_seq;    /* of what its sender has sent, when it closed; 0: it has not said */
    uint64_t forsaken;    /* number of the last message whose sender went before its memory came here; 0: none */
    uint64_t first_seq;   /* messages with smaller numbers were sent before, and are passed over; 0: none can come any
                           more. A lossy link keeps it: that costs a comparison, since it counts and is not quick anyway */
    struct fi_pick *pick; /* which of its messages are wanted; NULL: all */
    void *far;            /* a hidden receiver's: what the network knows of it */
    uint64_t from_node;   /* who sends, as the receiver's program is told */
    uint64_t from_end;
    fi_latency_t latency;
    uint32_t fruitless; /* turns in a row in which it was overtaken and gave nothing */
    bool lossy;
    bool counts; /* lossy ones too: where a number is missing, that message is lost */
    bool fence;  /* its sender or this process does not take part in membarrier */
    bool live;
    bool ended;
    bool still;    /* ended, and its sender writes no more: it has closed, or is dead */
    bool detached; /* dropped from the receiver, kept for its held messages */
    uint32_t segment_count;
    fi_rxsegment_t **segments; /* by id % FI_SEGMENT_BUCKETS; NULL: none has come yet */
} fi_rxlink_t;

/* Between what was stored for the sender and a look at whether it sleeps. */
static inline void fi_rxlink_fence(const fi_rxlink_t *l) {
    if (fi_unlikely(l->fence)) {
        fi_fence_seq_cst();
    } else {
        fi_compiler_barrier();
    }
}

#define FI_CREATED_MAX 40

/* Where a receiver of a durable topic begins. */
typedef struct fi_replay {
    char created[FI_CREATED_MAX]; /* when the stream was made whose numbers these are, as the engine says it */
    uint64_t first;               /* number in the stream; 0: by time */
    uint64_t since;               /* ns since 1970 */
    uint64_t latest; /* number of what is stored next when it is opened: a time begins there at the latest */
} fi_replay_t;

/* How a receiver sends to its dead-letter queue, where that is not as usual. */
typedef struct fi_dead_end {
    ferry_contract_t contract;
    fi_part_t part;
} fi_dead_end_t;

/* What a receiver can be part of, and which goes with it. Everything may be 0. */
typedef struct fi_rxpart {
    void *whole;
    void (*ends)(void *whole);  /* the receiver is closed */
    void (*loses)(void *whole); /* a sender has gone. The end is held; any thread */
    void (*gains)(void *whole); /* a sender is linked. Likewise */
    const fi_end_ops_t *ops;    /* instead of a receiver's own */
    uint32_t queue;             /* for its page */
    bool alone;                 /* for its end, as is in_haste */
    bool in_haste;
    bool hidden;
    bool rings_late;  /* its owner says when senders that wait for room are woken, with fi_receiver_ring_senders */
    uint64_t to_node; /* a hidden one: to which its messages go on; 0: to several */
    bool stays;       /* also when the thread ends that used it last: what is held stays where it is */
    bool unchecked;   /* FERRY_CHECK=1: what it takes may change */
    const fi_dead_end_t *dead; /* while it is opened; NULL: as usual */
    fi_replay_t replay;        /* for the bridge */
    bool plain;                /* likewise: it gets what clients that are not Ferry's publish, too */
} fi_rxpart_t;

/* What the header of a small message says of how it stands in the ring: messages in a row mostly have one in common. */
typedef struct fi_seen_form {
    uint64_t word;
    uint32_t offset; /* of its bytes, from there */
    uint32_t lines;
} fi_seen_form_t;

struct ferry_receiver {
    fi_end_t end;

    fi_rxlink_t **links;
    uint32_t link_count;
    uint32_t turn;
    fi_rxlink_t *quick; /* the link of this turn, if nothing about it or the receiver needs a closer look */
    int64_t quantum_left;
    uint32_t quantum;
    uint32_t streak;        /* small messages taken since the thread last waited for long, or sent something */
    uint64_t kept_off_at;   /* messages taken when it last kept off, or that it will not before */
    uint32_t returned_some; /* 1: other threads have given messages back */
    fi_seen_form_t form;    /* of the small message taken last */
    struct ferry_msg *free_handles;
    struct ferry_msg *too_large; /* taken, but larger than the program's buffer: the next one to be given */
    struct fi_receiver_page *page;
    uint64_t settled; /* messages released, of stats.messages taken */
    uint32_t max_held;
    uint32_t depth; /* of each sender's messages that were not taken yet, so many are wanted, the newest; 0: all */
    bool per_tag;   /* the newest with each tag */
    uint32_t prefetch;
    int64_t ack_within;      /* ns; 0: messages may be held for ever */
    fi_dead_t *dead_letters; /* NULL: it tries for ever */
    uint64_t awaited;        /* senders to be seen before there can be an end */
    uint32_t epoch;          /* of sleeps */
    uint64_t slept_at;       /* messages taken when it last slept */
    fi_spinner_t spinner;
    ferry_receiver_stats_t stats;

    fi_bell_t bell;
    fi_shared_t *page_memory;
    bool fd_mode;    /* the program polls the bell itself */
    bool bell_full;  /* fd_mode: the bell holds a byte */
    bool bell_stale; /* otherwise: it may hold what was rung for an earlier sleep */
    bool may_lose;
    bool no_history;
    bool tap;     /* it only looks: what it is shown it copies, and holds nothing of */
    bool dead;    /* its thread has ended */
    bool gave_up; /* a sender, for that reason: */
    int starved; /* what a sender announced cannot be had: -ENOMEM, -EMFILE, -ENFILE, -EFBIG (a limit); to be told. Or, of no
                     sender: -EPROTOTYPE, a dead letter was refused */
    int64_t starved_at; /* ns: when a lack was told last that mends itself; 0: never */
    uint32_t fence_bit;
    bool check; /* FERRY_CHECK=1 */

    pthread_mutex_t returned_lock; /* guards returned, parked, and closing */
    struct ferry_msg *returned;
    struct ferry_msg *parked; /* rejected, and not known to be with their senders yet */
    uint32_t parked_count;
    bool closed;
    struct fi_list detached; /* links kept for their held messages */
    uint64_t links_ever;

    uint32_t nudged; /* 1: the next wait ends with -EALREADY; any thread */

    fi_rxpart_t part;
};

typedef struct ferry_receiver fi_receiver_t;

_Static_assert(offsetof(struct ferry_receiver, end) == 0, "see fi_end_of");

static inline fi_receiver_t *fi_receiver_of(fi_end_t *e) {
    return fi_container(e, fi_receiver_t, end);
}

/* Messages taken and not released. Any thread: a snapshot. */
static inline uint64_t fi_receiver_held(const fi_receiver_t *rx) {
    uint64_t settled = fi_load_acquire64(&rx->settled); /* first: it never passes the other one */
    return fi_load_relaxed64(&rx->stats.messages) - settled;
}

/* receiver.c. What is wrong with options is found out without opening anything. */
int fi_receiver_check(const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                      fi_contract_t *contract);
int fi_receiver_new(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                    fi_receiver_t **out);
int fi_receiver_new_part(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                         const fi_rxpart_t *part, fi_receiver_t **out);
int fi_receiver_close(fi_receiver_t *rx);
/* Frees a closed receiver of which messages are still held: their handles become stale. */
void fi_receiver_discard(fi_receiver_t *rx);
void fi_receiver_bury(fi_receiver_t *rx);
void fi_receiver_stats(fi_receiver_t *rx, ferry_receiver_stats_t *stats);
int fi_receiver_fd(fi_receiver_t *rx);
void fi_receiver_figures(fi_end_t *e, fi_frame_t *f);

/* recv.c: taking messages. The end is held. */
int fi_receiver_recv(fi_receiver_t *rx, int64_t timeout, ferry_msg_t **out);
int fi_receiver_recv_into(fi_receiver_t *rx, void *buf, size_t cap, int64_t timeout, size_t *len);
/* Waits for something else than a message, of which others tell by ringing the bell if this receiver sleeps. The end is
 * held. 0, -ETIMEDOUT, -EINTR, -ESHUTDOWN. */
int fi_receiver_await(fi_receiver_t *rx, bool (*there)(void *arg), void *arg, int64_t deadline);
/* Has that wait, which is listed, become a deadlock (node/waits.h)? Who rings meanwhile has ended it. The end is
 * held. */
int fi_receiver_judge(fi_receiver_t *rx, bool (*there)(void *arg), void *arg, const fi_blocked_t *b, int64_t deadline);
/* Ends the wait that goes on, or the next one, with -EALREADY. Any thread; async-signal-safe. */
void fi_receiver_nudge(fi_receiver_t *rx);
/* Looks at the only link for a few hundred nanoseconds; false: nothing came, or this is not the way to wait. */
bool fi_receiver_take_soon(fi_receiver_t *rx, ferry_msg_t **out);
/* Is a message, the end or an error there? */
bool fi_receiver_ready(fi_receiver_t *rx);
bool fi_receiver_at_end(const fi_receiver_t *rx);
/* Around a sleep on the bell: after arm, a message rings it. Returns false when one is there already. */
bool fi_receiver_arm(fi_receiver_t *rx);
void fi_receiver_disarm(fi_receiver_t *rx);
/* Leaves the bell as a program that polls it expects: readable, or armed with nothing there. */
void fi_receiver_settle_bell(fi_receiver_t *rx, bool empty);

/* recv.c: may the current link's next small message be taken the quick way (quick.h)? */
void fi_receiver_find_quick(fi_receiver_t *rx);

/* take.c: the next message of the quick link, of whatever form; false: look closer. */
bool fi_receiver_take_unlike(fi_receiver_t *rx, ferry_msg_t **out);
/* Before the first: an unwritten line's header is of no form. */
void fi_receiver_form_nothing(fi_receiver_t *rx);
/* One link's next message: 1, 0, or -EPROTO. */
int fi_link_take(fi_rxlink_t *l, ferry_msg_t **out);
bool fi_link_ready(fi_rxlink_t *l);
/* Of a link that has ended, and of which nothing more can be taken: messages lost that no later one could tell of. */
uint64_t fi_link_lost_at_end(const fi_rxlink_t *l);
/* Releases, without giving it to anybody, what the sender sent up to this number and stands before position `end` of
 * ring `serial`. Returns how many messages. */
uint64_t fi_link_skip(fi_rxlink_t *l, uint64_t seq, uint64_t serial, uint64_t end);
/* Is its next message one whose memory is on its way? */
bool fi_link_awaits_memory(const fi_rxlink_t *l);

/* taken.c */
ferry_msg_t *fi_taken_new(fi_receiver_t *rx);
void fi_taken_recycle(fi_receiver_t *rx, ferry_msg_t *m);
/* Releases a message while the end is held. */
void fi_taken_release_held(ferry_msg_t *m);
/* Lets go of a message without releasing it: it stays the sender's to deliver. The link is detached. */
void fi_taken_give_back(ferry_msg_t *m);
int fi_taken_reserve_copy(ferry_msg_t *m, uint64_t size);
/* Announces that the message at `pos`, which may be overtaken, is held. Returns the slot, or -EDQUOT. */
int fi_rxlog_hold(const fi_rxlog_t *log, uint64_t pos);
/* After a release: publishes the cursor, in batches or at once, and ends the sender's sleep for room. */
void fi_rxlog_settle(fi_rxlink_t *l, fi_rxlog_t *log, bool at_once);
void fi_receiver_collect(fi_receiver_t *rx);
/* Publishes the cursor; in a stream, gives up the lines that it passes. */
void fi_rxlog_publish(const fi_receiver_t *rx, fi_rxlog_t *log);
void fi_receiver_publish(fi_receiver_t *rx);
/* Wakes those who wait for room, of which there is more: where the owner says when. The end is held. */
void fi_receiver_ring_senders(fi_receiver_t *rx);

/* Takes a message of a closed receiver out of the books, which takes the receiver along if it was the last. Called with
 * returned_lock taken, which it gives back. */
void fi_taken_settle_closed(fi_receiver_t *rx, ferry_msg_t *m);

/* reject.c. Any thread that may use the handle, of which there is one; `flags`: enum fi_reject_flags. -EPIPE,
 * -ENOMEM. */
int fi_taken_reject(ferry_msg_t *m, int64_t delay, uint32_t flags);
/* Likewise what others had from it in vain, to whom it was passed on, so often. */
int fi_taken_hand_back(ferry_msg_t *m, int64_t delay, uint32_t attempts);
/* Likewise, for the program: -ESTALE: it was held for too long, and its handle is gone. */
int fi_taken_reject_held(ferry_msg_t *m, int64_t delay);
void fi_taken_park(fi_receiver_t *rx, ferry_msg_t *m);
/* Frees the lines of rejected messages that their senders have. The end is held. */
void fi_receiver_unpark(fi_receiver_t *rx);
/* Likewise all of them, when the links are gone. */
void fi_receiver_forget_parked(fi_receiver_t *rx);

/* held.c: holding against a deadline, on links that have one. Any thread that may use the handle. */
uint64_t fi_held_until(const fi_receiver_t *rx);
/* Says what is to happen with it: FI_DUE_SETTLING, or a later deadline. 0; -ESTALE: it was given to somebody else;
 * -EAGAIN: the sender does not say. */
int fi_held_settle(const ferry_msg_t *m, uint64_t due);
/* Before it is released or rejected: likewise, with a sentence. */
int fi_held_end(const ferry_msg_t *m);
int fi_taken_progress(ferry_msg_t *m);

/* dead.c: sending to the queue `queue` what was tried so often. The end is held. */
int fi_dead_open(fi_receiver_t *rx, const char *queue, uint32_t max_attempts);
void fi_dead_close(fi_receiver_t *rx);
/* Of its dead letters, those that nobody has released yet, and nobody has purged. */
uint64_t fi_dead_waiting(const fi_receiver_t *rx);
/* Is this attempt the last one? */
bool fi_dead_soon(const ferry_msg_t *m);
/* Why a dead letter was refused: -EPROTOTYPE. */
int fi_dead_tell_refusal(const fi_receiver_t *rx);
/* Was this message, just taken, tried so often? Then it is the program's not to have. */
bool fi_dead_takes(fi_receiver_t *rx, ferry_msg_t *m);

/* attach.c */
void fi_receiver_deliver(fi_end_t *e, fi_mail_t *m);
int fi_receiver_introduce(fi_end_t *e, fi_peer_t *p);
/* Tells a sender of this node's that `prefetch` has changed since they met. For hidden receivers. The end is held. */
void fi_receiver_ration(fi_receiver_t *rx, const fi_rxlink_t *l);
void fi_receiver_wake(fi_end_t *e);
/* A message is not held any more: one that holds as many as it may is woken. */
static inline void fi_receiver_holds_less(fi_receiver_t *rx) {
    if (fi_unlikely(rx->max_held)) {
        fi_fence_seq_cst(); /* before its sleep is looked at; fi_receiver_arm has the other half */
        fi_receiver_wake(&rx->end);
    }
}
bool fi_receiver_stirs(const fi_end_t *e);
void fi_receiver_expel(fi_receiver_t *rx, fi_rxlink_t *l, const char *why);
/* What is held goes on as private copies: its senders may write over it once the links are gone. */
void fi_receiver_keep_held(fi_receiver_t *rx);
/* Tells all senders that the receiver closes, and drops its links. */
void fi_receiver_part(fi_receiver_t *rx);
void fi_receiver_detach(fi_receiver_t *rx, fi_rxlink_t *l);
/* Likewise where it has ended, and nothing more can be read of it: what was sent besides is lost, and counted. */
void fi_receiver_detach_drained(fi_receiver_t *rx, fi_rxlink_t *l);
void fi_rxlink_drop_segment(fi_rxlink_t *l, fi_rxsegment_t *s);
static inline fi_rxsegment_t *fi_rxlink_segment(const fi_rxlink_t *l, uint32_t id) {
    fi_rxsegment_t *s = l->segments ? l->segments[id % FI_SEGMENT_BUCKETS] : NULL;

    while (s && s->id != id) {
        s = s->next;
    }
    return s;
}
void fi_rxlink_free(fi_rxlink_t *l);
/* The oldest message of the link that is held; NULL: none. */
ferry_msg_t *fi_rxlink_first_held(const fi_rxlink_t *l);
void fi_rxlog_free(fi_rxlink_t *l, fi_rxlog_t *log);
/* A ring that has come, and for which there was no place, takes its place, if there is one now. */
void fi_rxlink_put_later(fi_rxlink_t *l);

#endif

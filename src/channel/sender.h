/* SPDX-License-Identifier: MIT
 *
 * sender.h - the sending end.
 *
 *   sender ── outlet ── log (ring) ── links (readers)
 *
 * An outlet is a chain of rings with the same readers.  A topic's sender has one outlet, read by all its links; a
 * queue's sender has one for each link, with that one reader.  The chain grows when the ring proves too small for the
 * traffic, or when a message held long ago pins it: the sender goes on in a new ring, and the old one is freed once its
 * readers have released everything in it.
 *
 * A message is in exactly one state:
 *   waiting   in the backlog: no receiver yet, or it came back from one; or for the moment from which it may be tried again
 *   sent      a record in a ring; its block, if it has one, counts a reference
 *   released  by every reader of the outlet; the record's lines may be written again
 *
 * Everything here is done by whoever holds the end (node/end.h).
 */
#ifndef FI_SENDER_H
#define FI_SENDER_H

#include "channel/message.h"
#include "channel/part.h"
#include "channel/sample.h"
#include "channel/stall.h"
#include "channel/wait.h"
#include "channel/window.h"
#include "ferry/channel.h"
#include "memory/pool.h"
#include "node/node.h"
#include "ring/ring_reader.h"
#include "ring/ring_writer.h"

#define FI_LOGS 4u               /* rings of one outlet that may be in use at once */
#define FI_SMALL_RING_LINES 118u /* two pages with its head and starts: what an idle link costs */
#define FI_LARGE_RING_LINES 4094u
#define FI_MAX_RING_LINES 65534u   /* for receivers that hold very many messages */
#define FI_LINES_PER_MESSAGE 4ull  /* of a ring that shall keep so many messages */
#define FI_BACKLOG_INLINE_MAX 240u /* what waited goes out by pointer, unless it is this small */
#define FI_MIN_QUOTA (16ull << 10)
#define FI_INLINE_MAX 2048u /* larger results of calls count as long */

/* A record that points into the pool, until it is released. */
typedef struct fi_lent {
    uint64_t pos;
    fi_block_t *block; /* NULL: given back out of order */
} fi_lent_t;

typedef struct fi_log {
    fi_ringw_t w;
    fi_shared_t *memory;
    uint32_t serial;
    uint32_t *starts;         /* in the same memory: a reader's cursor is checked against it */
    struct fi_log *next_kept; /* ghosts.c: only ghosts read it */
    fi_lent_t *lent;          /* circular, lent_cap a power of two */
    uint32_t lent_cap;
    uint64_t lent_head; /* oldest */
    uint64_t lent_tail;
    uint64_t start;       /* where a reader begins that comes from the ring before */
    uint64_t freed;       /* min of the readers' cursors, as last seen */
    uint64_t oldest;      /* with readers that may be overtaken: first record that is still whole */
    uint64_t next_return; /* position at which is looked again for what was lent and has come back */
} fi_log_t;

struct fi_outlet;

typedef struct fi_txlink {
    struct fi_outlet *outlet;
    fi_remote_t *remote;   /* counted */
    bool live;             /* the receiver has accepted */
    bool lossy;            /* it may be overtaken */
    bool tap;              /* it only looks: it holds nothing, not even what it announces to hold */
    uint64_t depth;        /* messages that it asks to be kept for it, then */
    bool per_tag;          /* then: it wants the newest message with each tag */
    bool no_history;       /* it does not want what is kept for late comers */
    uint32_t prefetch;     /* messages that it may have at once; 0: no limit */
    int64_t ack_within;    /* ns for which it may hold one; 0: for ever */
    bool overdue;          /* it has held one for longer, and had not let go of it when last looked at */
    uint32_t first;        /* serial of the ring it began with */
    uint32_t offered;      /* of the newest one that it was offered, */
    uint32_t known;        /* and accepted; 0: none yet */
    uint64_t start;        /* position it began at in that ring */
    uint32_t last;         /* a ghost: serial of the last ring that it may read */
    fi_shared_t *looks[2]; /* per_tag: the rings `known` and `offered`, in which it looks for what was saved */
    struct fi_txlink *next_ghost;
    fi_ctl_t ctl[FI_LOGS];
    fi_shared_t *ctl_memory[FI_LOGS];
    uint64_t seen[FI_LOGS]; /* its cursor, as last looked at */
    fi_pace_seen_t pace;
    fi_window_t window;
    bool hidden;         /* who reads it takes messages to other machines */
    uint64_t to_node;    /* likewise: to this node; 0: to several */
    uint64_t *announced; /* bits: segments of the pool that it was told of */
    uint32_t announced_bits;
    bool behind;            /* some of that has not left this process yet, or had not when last looked at */
    uint64_t purged_to;     /* what was sent up to this number, and is not taken, goes to nobody, */
    uint32_t purged_serial; /* if it stands in this ring before this position, or in an older one */
    uint64_t purged_pos;
    uint32_t untried_serial; /* what it took in this ring at this position (0: none) and behind it, it passed on: */
    uint64_t untried_pos;    /* nobody has tried it */
    uint64_t purging;        /* messages that its reader was asked to leave out, and has not answered for */
} fi_txlink_t;

typedef struct fi_saved fi_saved_t;
typedef struct fi_parted fi_parted_t;

typedef struct fi_outlet {
    struct ferry_sender *tx;
    fi_log_t *logs[FI_LOGS]; /* by serial % FI_LOGS */
    uint32_t first;          /* serials first..current are in use */
    uint32_t current;
    uint32_t awaiting;    /* links that have not accepted the next ring yet, and are waited for */
    bool growing;         /* a next ring was offered: serial current + 1 */
    uint64_t next_look;   /* position in the current ring at which old ones are looked at again */
    uint32_t quick_fulls; /* times the ring was full and soon had room: it is too small */
    fi_txlink_t **links;
    const uint32_t **sleep; /* of each: the word in its page that is looked at after every message */
    uint32_t link_count;
    uint32_t lossy_count;   /* of these and the ghosts, that may be overtaken */
    uint32_t strict_count;  /* that may not; of ghosts, those that may read the current ring */
    fi_txlink_t *ghosts;    /* ghosts.c: links that have gone, whose programs may go on reading */
    fi_log_t *kept;         /* likewise: rings for them */
    fi_parted_t *parted;    /* parted.c: what is held in rings that have gone */
    struct fi_outlet *next; /* among its sender's haunted ones */
    bool is_for_taps;       /* it repeats what went out by others */
    uint64_t unlooked;      /* overtake.c: messages lost since all that was lent was looked at */
    uint32_t per_tag_count;
    fi_saved_t *saved; /* latest.c; NULL: nothing was pushed out that a reader wants */
} fi_outlet_t;

/* A message without a ring. */
typedef struct fi_waiting {
    struct fi_list link;
    fi_block_t *block; /* one reference */
    uint64_t size, seq, tag, time_ns;
    uint16_t attempt;
    bool annexed;
    bool origin;
    const fi_txlink_t *buried_by; /* buried: whose receiver has a copy in its dead-letter queue; delayed: has none */
    int64_t due;                  /* delayed: when it may be tried again */
    _Alignas(8) unsigned char annex[FI_ANNEX];
} fi_waiting_t;

/* What is to be put into a ring. */
typedef struct fi_item {
    const void *data;  /* inline bytes; NULL: the claim's bytes are in place, or `block` */
    fi_block_t *block; /* by pointer */
    const void *annex; /* by pointer: FI_ANNEX bytes that go with it; NULL: none */
    uint64_t size;
    uint64_t seq;
    uint64_t tag;
    uint64_t time_ns;
    uint16_t attempt;
    bool origin; /* its last bytes are a struct fi_origin */
    bool meet;   /* its sender waits until it is taken */
    bool probe;  /* `time_ns` is for the receiver itself */
} fi_item_t;

/* How a small message of one size is put into a ring. */
typedef struct fi_form {
    uint64_t size; /* FI_NO_FORM: none */
    uint64_t word; /* the record's header */
    uint32_t lines;
    uint32_t offset; /* of the payload in the record */
} fi_form_t;

#define FI_NO_FORM UINT64_MAX

typedef struct fi_claim {
    bool open;
    fi_outlet_t *outlet; /* in a ring; NULL: in a block */
    fi_block_t *block;
    uint64_t size;
    unsigned flags; /* where the payload begins */
    unsigned char *data;
} fi_claim_t;

/* A message that is sent when it is taken (rendezvous.c). */
typedef struct fi_meet {
    bool open;  /* there is one: the call that sends it goes on */
    bool taken; /* by a receiver that has gone since */
    uint64_t seq;
    fi_outlet_t *outlet; /* where it stands; NULL: nowhere now */
    uint32_t serial;     /* of the ring there */
    uint64_t pos;
} fi_meet_t;

/* Who has asked last that what waits be dropped. */
typedef struct fi_purge {
    fi_peer_t *asker; /* counted; NULL: nobody, or all is told */
    uint64_t number;  /* of purges */
} fi_purge_t;

struct ferry_sender {
    fi_end_t end;

    fi_txlink_t **links; /* a queue's live links */
    uint32_t link_count;
    int64_t scan_due;  /* when it is to be looked whether one is held for too long; FI_NEVER: no need to */
    uint32_t rationed; /* links, offered ones too, that may have so many messages at once */
    uint32_t windows;  /* links that may have as many as they work off soon (dispatch.c) */
    bool deals;        /* links have windows, but for quick ones */
    uint32_t turn;
    fi_outlet_t *topic; /* a topic's only outlet */
    fi_outlet_t *quick; /* the only outlet, if nothing about it or the sender needs a closer look */
    fi_log_t *quick_log;
    fi_form_t form; /* of the last small message that went this way */
    uint64_t seq;
    uint64_t largest;     /* message: what contract, quota and the part leave */
    uint64_t capacity;    /* messages unreleased at most; UINT64_MAX: no limit */
    uint64_t free_to;     /* number up to which the books need not be looked at: room in `capacity`, no sample due */
    uint32_t waits;       /* of the thread, when the stream began that may be under way */
    uint64_t stream_from; /* sequence number above which it counts as one */
    uint32_t inline_max;
    uint32_t backlog_count;
    uint32_t aside_count; /* delayed and buried */
    uint32_t room;        /* futex: grows whenever something may have changed */
    bool stalled;         /* the receivers did not make room while we spun: messages may go to the backlog */
    bool stuck;           /* nor have they released anything since, as far as is known */
    uint32_t waiting;     /* 1: a release shall ring the node's bell */
    uint32_t tends;       /* 1: its thread sleeps for room, and sends what waits when it wakes */
    uint64_t sleeps;      /* number of the current sleep, as the rings' `want` has it */
    fi_stall_t stall;     /* why the wait that goes on takes so long */
    fi_spinner_t spinner;
    fi_sampling_t sampling;
    ferry_sender_stats_t stats; /* by fi_sender_stats; `messages` is seq, copies_made what was copied again */

    fi_outlet_t **outlets; /* all outlets: the topic's, or one for each link, offered ones too */
    uint32_t outlet_count;
    fi_outlet_t *haunted;          /* not among them; a queue's, with ghosts only */
    fi_outlet_t *taps;             /* likewise; NULL: nobody looks at what is sent */
    struct fi_list backlog;        /* fi_waiting_t, in the order of their numbers */
    struct fi_list *backlog_place; /* where one was put last that came back, or the list's head */
    struct fi_list delayed;        /* likewise, rejected ones that are not to be tried yet: by `due` */
    struct fi_list buried;         /* likewise, those whose copies are in a dead-letter queue */
    fi_pool_t pool;
    fi_claim_t claim;
    fi_meet_t meet;
    struct fi_list handles; /* ferry_msg_t of the program */
    struct ferry_msg *free_handles;
    int room_fd; /* eventfd for ferry_poll; -1: none yet */

    ferry_overflow_t overflow;
    uint32_t first_lines; /* of an outlet's first ring */
    uint32_t retain;
    uint64_t *retained; /* positions of the last `retain` records, circular */
    uint64_t retained_count;
    uint64_t forsaken;  /* of these, the oldest ones that are not kept any more, since the quota was used up */
    bool keeps_history; /* it is never given up for room */
    bool timestamps;
    bool rendezvous; /* every message is sent when it is taken */
    bool check;      /* FERRY_CHECK=1 */
    bool abandoned;  /* its thread has ended: nothing more can be sent */
    bool denied; /* what was sent could not leave this machine, or was refused for its token: the next call says so */
    fi_fencing_t fencing;
    uint64_t depth;       /* unreleased messages, when last counted */
    uint64_t unpublished; /* messages that foreign clients were not given, though it is plain; atomic */
    fi_purge_t purge;

    fi_part_t part;
    char denial[104]; /* why, in the engine's words */
};

typedef struct ferry_sender fi_sender_t;

_Static_assert(offsetof(struct ferry_sender, end) == 0, "see fi_end_of");

/* Whoever reads the link could end the wait. */
static inline void fi_blocked_by(fi_blocked_t *b, const fi_txlink_t *l) {
    b->keys[b->key_count++] = fi_key_of_end(l->remote->peer->id, l->remote->end);
}

static inline fi_sender_t *fi_sender_of(fi_end_t *e) {
    return fi_container(e, fi_sender_t, end);
}

/* sender.c: opening, closing, statistics. What is wrong with a contract is found out without opening anything. */
int fi_sender_check(const fi_node_t *n, ferry_kind_t kind, const ferry_contract_t *c, fi_contract_t *shared);
int fi_sender_new(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c, fi_sender_t **out);
int fi_sender_new_part(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c,
                       const fi_part_t *part, fi_sender_t **out);
int fi_sender_close(fi_sender_t *tx, int64_t timeout, uint64_t *undelivered);
/* Closes without lingering and without regard to owner and thread: for ferry_close. */
void fi_sender_drop(fi_sender_t *tx);
uint64_t fi_sender_unreleased(fi_sender_t *tx, bool exactly);
/* Calls `each` with sequence numbers of messages that are not released: of the first on each receiver's link, and of the
 * first of those that wait for one; once some have come back, which stand anywhere since, of all. The end is held. */
void fi_sender_each_oldest(fi_sender_t *tx, void (*each)(uint64_t seq, void *arg), void *arg);
int fi_sender_flush(fi_sender_t *tx, int64_t timeout);
/* -EACCES: messages could not leave this machine meanwhile; -ESTALE: its token is refused; else 0. The end is held. */
int fi_sender_take_denial(fi_sender_t *tx);
/* Another thread's word, before these messages are released: so many were refused for their token. */
void fi_sender_fenced(fi_node_t *n, uint64_t id, uint64_t token, uint64_t newer, uint64_t count);
int fi_sender_wait(fi_sender_t *tx, unsigned receivers, int64_t timeout);
void fi_sender_stats(fi_sender_t *tx, ferry_sender_stats_t *stats);
/* After the contract has become more definite. */
void fi_sender_set_limits(fi_sender_t *tx);

/* sent.c: finds out whose blocks no receiver holds any more. */
void fi_sender_reclaim(fi_sender_t *tx);
/* For closing: is any message changed that was sent; and no handle is valid any more. */
int fi_messages_check(fi_sender_t *tx);
void fi_messages_forget(fi_sender_t *tx);

/* send.c: putting messages in. The end is held. */
int fi_sender_send_copy(fi_sender_t *tx, const void *data, uint64_t size, uint64_t tag, int64_t timeout);
int fi_sender_claim(fi_sender_t *tx, uint64_t size, int64_t timeout, void **data);
int fi_sender_commit(fi_sender_t *tx, uint64_t size);
int fi_sender_abort(fi_sender_t *tx);
/* Puts one item into a ring with room, bypassing the backlog. -EAGAIN: none has room, or there is none. */
int fi_sender_put(fi_sender_t *tx, const fi_item_t *item);
/* `annex`: FI_ANNEX bytes that go with it, or NULL. */
int fi_sender_send_block(fi_sender_t *tx, fi_block_t *block, uint64_t size, uint64_t tag, const void *annex,
                         int64_t timeout);
/* Sends what another sender has sent, as `item` says. Does not wait: -EAGAIN. Copies bytes, unless it has a block. */
int fi_sender_forward(fi_sender_t *tx, fi_item_t *item);
bool fi_sender_has_room(fi_sender_t *tx);
/* Are as many messages unreleased as `capacity` allows? */
bool fi_sender_is_over_capacity(fi_sender_t *tx);

/* No ring, where a message goes that may not go the quick way. Never written. */
extern fi_log_t fi_no_log;
/* Looks whether the next message may go the quick way (quick.h). */
void fi_sender_find_quick(fi_sender_t *tx);
/* Looks whether a small message of this size may, and makes its form. */
bool fi_sender_find_form(fi_sender_t *tx, uint64_t size);
/* Something has happened: look closer next time. */
static inline void fi_sender_forget_form(fi_sender_t *tx) {
    tx->form.size = FI_NO_FORM;
    tx->form.lines = UINT32_MAX; /* whoever asks for as many bytes finds no room for them */
}

static inline void fi_sender_forget_quick(fi_sender_t *tx) {
    tx->quick = NULL;
    tx->quick_log = &fi_no_log;
    fi_sender_forget_form(tx);
}

/* Its one reader takes messages to other machines: room comes when those have answered, so spinning is in vain. */
bool fi_sender_is_read_far_away(const fi_sender_t *tx);
/* room.c: waiting for room, quota, releases. The end is held. `try` returns 0, -EAGAIN, or another error. */
typedef int fi_try_fn(fi_sender_t *tx, void *arg);
int fi_sender_wait_until(fi_sender_t *tx, fi_try_fn *try, void *arg, int64_t timeout, bool fail_at_once);
void fi_sender_arm(fi_sender_t *tx);
void fi_sender_disarm(fi_sender_t *tx);
bool fi_sender_wants_room(fi_end_t *e);
bool fi_sender_tends(fi_end_t *e);
void fi_sender_wake(fi_end_t *e);
int fi_sender_alloc_now(fi_sender_t *tx, uint64_t size, fi_block_t **out);
int fi_sender_alloc(fi_sender_t *tx, uint64_t size, int64_t timeout, fi_block_t **out);

/* backlog.c */
int fi_backlog_add(fi_sender_t *tx, const fi_item_t *item);
/* Sends what waits for as long as there is room; 0 when nothing waits any more, else -EAGAIN. */
int fi_backlog_pump(fi_sender_t *tx);
/* The same, for fi_sender_wait_until. */
int fi_backlog_try(fi_sender_t *tx, void *arg);
/* Pumps, and lets releases call the steward for what is left. */
void fi_backlog_watch(fi_sender_t *tx);
void fi_backlog_drop(fi_sender_t *tx);
/* Drops what somebody is to try, now or later; what is on its way to a dead-letter queue stays. Returns how many. */
uint64_t fi_backlog_purge(fi_sender_t *tx);
/* Sequence number of the first that waits; UINT64_MAX: none does. */
uint64_t fi_backlog_oldest(const fi_sender_t *tx);
/* A queue's message that was not released, where it stands in this process's own memory. */
typedef struct fi_unreleased {
    const fi_txlink_t *link; /* NULL: it waits for one */
    unsigned char *data;
    uint64_t size;
    uint64_t seq;
    unsigned char *annex; /* NULL: it has none */
    bool begun, taken;    /* a receiver has taken it, this one or an earlier one; this one */
    uint16_t attempt;
    int64_t due; /* it waits until then, at least */
} fi_unreleased_t;

/* Calls `each` for them, until it returns true. The end is held. */
void fi_backlog_each(fi_sender_t *tx, bool (*each)(const fi_unreleased_t *u, void *arg), void *arg);
/* Drops what waits, where `is_stale` says so. The end is held. */
void fi_backlog_forget(fi_sender_t *tx, bool (*is_stale)(const fi_unreleased_t *u, void *arg), void *arg);
/* One record of an own ring as an item; of one that is a pointer, `data` is where that stands. */
void fi_log_item(const fi_log_t *log, uint64_t pos, uint64_t word, fi_item_t *item);
/* The first of `lent` that stands at or above a position: they are in that order. */
uint64_t fi_log_lent_from(const fi_log_t *log, uint64_t pos);
/* Room to note so many more. 0, -ENOMEM. */
int fi_log_lent_reserve(fi_log_t *log, uint64_t count);
/* The record that is about to be published points at this block. There is room to note it. */
void fi_log_lend(fi_log_t *log, fi_block_t *block);
/* The record there holds its block no more. */
void fi_log_unlend(fi_outlet_t *o, fi_log_t *log, uint64_t pos);
/* Takes back what the reader of a queue's outlet has not released. */
void fi_backlog_take_back(fi_sender_t *tx, fi_outlet_t *o, fi_txlink_t *l);
/* Messages that the reader of a queue's outlet has not taken, and is not being asked to leave out. */
uint64_t fi_backlog_untaken(fi_sender_t *tx, fi_outlet_t *o, const fi_txlink_t *l);
/* Takes one record back, whose header is `word`: it waits in its place. NULL: no memory. */
fi_waiting_t *fi_backlog_take_record(fi_sender_t *tx, const fi_log_t *log, uint64_t pos, uint64_t word,
                                     uint32_t attempts);
/* From the backlog to others that are not to be tried now, behind `before`; back to its place; and for good. */
void fi_backlog_put_aside(fi_sender_t *tx, fi_waiting_t *w, struct fi_list *before);
void fi_backlog_return(fi_sender_t *tx, fi_waiting_t *w);
void fi_backlog_free(fi_sender_t *tx, fi_waiting_t *w);

/* returned.c: messages that a receiver has handed back. */
/* A queue's reader wants somebody to try one again, says the frame. */
void fi_returned_rejected(fi_sender_t *tx, fi_txlink_t *l, const fi_frame_t *f);
/* Where the part gives back: keeps a message for it that was tried in vain, to be tried again from `due` on. */
void fi_returned_keep(fi_sender_t *tx, fi_waiting_t *w, int64_t due);
/* Takes the first of these out. False: there is none. The end is held. */
bool fi_returned_next(fi_sender_t *tx, uint64_t *seq, int64_t *due);
/* A message was sent that may be held for too long. */
void fi_returned_watch(fi_sender_t *tx);
/* A receiver has gone: what it has buried, or could not, is to be tried again. */
void fi_returned_exhume(fi_sender_t *tx, const fi_txlink_t *l);
/* The moment has come that was named: what may be tried again waits in the backlog. */
void fi_returned_due(fi_sender_t *tx);

/* taps.c: those who look at what is sent. The end is held. */
int fi_taps_met(fi_sender_t *tx, fi_mail_t *m);
/* Shows them a message that was accepted. Only where there are any. */
void fi_taps_show(fi_sender_t *tx, const fi_item_t *item);
void fi_taps_drop(fi_sender_t *tx, fi_txlink_t *l);
void fi_taps_peer_gone(fi_sender_t *tx, const fi_peer_t *p);
/* Takes back the oldest memory that they have not looked at yet. False: there is none. */
bool fi_taps_yield(void *tx);
/* Takes this block back, and what they were shown before it. */
void fi_taps_let_go(fi_sender_t *tx, const fi_block_t *b);

/* purge.c: dropping what waits. The end is held. */
void fi_purge_asked(fi_sender_t *tx, const fi_mail_t *m);
/* A reader has left out what it was asked to. */
void fi_purge_skipped(fi_sender_t *tx, fi_txlink_t *l, const fi_frame_t *f);
/* A reader that was asked has gone; `count` messages were dropped instead of being taken back. */
void fi_purge_link_gone(fi_sender_t *tx, fi_txlink_t *l, uint64_t count);
void fi_purge_forget(fi_sender_t *tx);
/* Was this record purged, if it is not taken? */
bool fi_link_has_purged(const fi_txlink_t *l, const fi_log_t *log, uint64_t pos, uint64_t seq);
/* Is a reader still to say how many it left out? Until then what it has released is not known to be delivered. */
bool fi_purge_goes_on(const fi_sender_t *tx);

/* overdue.c: takes back what was held for too long. Returns when to look again; FI_NEVER: nothing is held. */
int64_t fi_overdue_look(fi_sender_t *tx);
/* When something that is sent now is held for too long, at the earliest. */
int64_t fi_overdue_soonest(const fi_sender_t *tx);
/* Has its receiver not let go yet of what was taken back for this reason? */
bool fi_link_is_overdue(const fi_txlink_t *l);

/* outlet.c */
int fi_log_new(fi_outlet_t *o, uint32_t serial, uint32_t lines);
void fi_log_free(fi_outlet_t *o, fi_log_t *log);
int fi_outlet_new(fi_sender_t *tx, uint32_t lines, fi_outlet_t **out);
void fi_outlet_free(fi_outlet_t *o);
/* Puts one message into the current ring and rings sleeping readers. -EAGAIN: no room. */
int fi_outlet_put(fi_outlet_t *o, const fi_item_t *item);
/* Room for `size` inline bytes in the ring, where they will be read; NULL: none. */
unsigned char *fi_outlet_claim(fi_outlet_t *o, uint64_t size, bool ext, unsigned *flags);
void fi_outlet_commit(fi_outlet_t *o, const fi_item_t *item, unsigned flags);
/* Where a link begins in a ring. */
uint64_t fi_link_start(const fi_txlink_t *l, const fi_log_t *log);
/* A reader's cursor in a ring, checked. */
uint64_t fi_link_cursor(fi_txlink_t *l, const fi_log_t *log);
/* Looks at the readers' cursors; true when there is more room than before. */
bool fi_outlet_refresh(fi_outlet_t *o);
/* The same by every single release, not only by cursors, which come in batches. */
bool fi_outlet_refresh_exactly(fi_outlet_t *o);
/* Does this reader, or anybody, still hold the record at `pos` of the ring? */
bool fi_link_holds(const fi_txlink_t *l, const fi_log_t *log, uint64_t pos);
bool fi_outlet_holds(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos);
/* Does a reader that the sender waits for: one that may not be overtaken? */
bool fi_outlet_waits_for(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos);
/* Is it a message, and was it not taken back? */
static inline bool fi_word_is_owed(uint64_t word) {
    unsigned kind = fi_word_kind(word);

    return (kind == FI_REC_INLINE || kind == FI_REC_POINTER) && !(fi_word_flags(word) & FI_REC_RETURNED);
}
/* Is the record at `pos`, whose header is `word`, a message that its readers, and nobody else, are still to release? */
static inline bool fi_outlet_owes(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos, uint64_t word) {
    return fi_word_is_owed(word) && fi_outlet_waits_for(o, log, pos);
}
/* Does a record begin at this position of the ring? */
bool fi_log_is_boundary(const fi_log_t *log, uint64_t pos);
/* Gives blocks back whose records are released; `all`: also those released out of order. */
void fi_log_reclaim(fi_outlet_t *o, fi_log_t *log, bool all);
void fi_outlet_reclaim(fi_outlet_t *o, bool all);
void fi_outlet_ring(fi_outlet_t *o);
/* Messages not released by readers that the sender waits for; or more: what no cursor has passed. One look per reader. */
uint64_t fi_outlet_unreleased(fi_outlet_t *o, bool exactly);
/* Sequence number of the oldest message not released; UINT64_MAX: there is none. */
uint64_t fi_outlet_oldest(const fi_outlet_t *o);
int fi_outlet_add_link(fi_outlet_t *o, fi_txlink_t *l);
void fi_outlet_remove_link(fi_outlet_t *o, fi_txlink_t *l);

/* overtake.c: readers that may be overtaken. */
/* The first such reader begins at `start`. */
void fi_log_may_be_overtaken_from(fi_log_t *log, uint64_t start);
/* Announces to them that lines below `end` will be written. */
void fi_outlet_make_way(fi_outlet_t *o, fi_log_t *log, uint64_t end);
/* Takes from them the oldest message in the pool that nobody else has, or what was saved, to make room under the quota.
 * False: there is none. */
bool fi_outlet_lose_oldest(fi_outlet_t *o);
/* Takes from them what stands before `to`, a record, in a ring in which nothing is written any more. */
void fi_log_lose(fi_log_t *log, uint64_t to);
/* Likewise all that stands in it: they keep what they announce, and find the way on. */
void fi_log_lose_all(fi_outlet_t *o, fi_log_t *old);
/* Readers that have not begun to look at what stands before log->oldest will not find it any more. */
void fi_log_lose_before_oldest(fi_log_t *log);

/* grow.c */
/* The ring was full: asks the readers to accept another one, when that would help. */
void fi_outlet_consider_growth(fi_outlet_t *o, bool soon_had_room);
void fi_outlet_ring_accepted(fi_outlet_t *o, fi_txlink_t *l, uint32_t serial, fi_shared_t *ctl);
/* Goes on in the next ring if every reader has it; frees old rings that nobody reads any more. */
void fi_outlet_turn_over(fi_outlet_t *o);
void fi_outlet_free_old(fi_outlet_t *o);
/* Tells a link of the ring that it is to know next, if there is one. */
void fi_outlet_offer_next(fi_outlet_t *o, fi_txlink_t *l);

/* links.c: what the mail says about links. */
void fi_sender_deliver(fi_end_t *e, fi_mail_t *m);
void fi_txlink_offer(fi_sender_t *tx, fi_txlink_t *l);
void fi_txlink_tell(fi_sender_t *tx, const fi_remote_t *r, enum fi_frame_type type);
void fi_txlink_free(fi_txlink_t *l);
void fi_sender_unlink_all(fi_sender_t *tx);
int fi_sender_add_outlet(fi_sender_t *tx, uint32_t lines, fi_outlet_t **out);
void fi_sender_forget_outlet(fi_sender_t *tx, fi_outlet_t *o);
/* Something has been released: sends what waits, and frees what is needed no more. */
void fi_sender_take_room(fi_sender_t *tx);
void fi_sender_retire(void *tx, fi_segment_t *s);
/*
 * Hands the segment to every reader of the outlet that does not have it yet.  -EAGAIN: one of them is slow to read what
 * its node is told.  No record may point into the segment before: a sender that is killed takes along what it has queued,
 * and what it has sent must be there nevertheless.  Readers that may lose messages are not waited for.
 */
int fi_outlet_announce(fi_outlet_t *o, const fi_segment_t *s);
/* The same for one reader, which is not waited for. */
int fi_link_announce(fi_sender_t *tx, fi_txlink_t *l, const fi_segment_t *s);

/* Was this reader told of the segment? */
static inline bool fi_txlink_knows(const fi_txlink_t *l, uint32_t id) {
    return id < l->announced_bits && l->announced[id / 64] & 1ull << id % 64;
}

static inline bool fi_outlet_announced(const fi_outlet_t *o, uint32_t segment) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (fi_unlikely(o->links[i]->behind || !fi_txlink_knows(o->links[i], segment))) {
            return false;
        }
    }
    return true;
}

static inline void fi_log_note_start(fi_log_t *log) {
    log->starts[log->w.idx] = (uint32_t)log->w.pos;
}

static inline fi_log_t *fi_outlet_log(const fi_outlet_t *o) {
    return o->logs[o->current % FI_LOGS];
}

/* What may be written without a word to readers that may be overtaken. */
static inline void fi_log_set_silent(const fi_outlet_t *o, fi_log_t *log) {
    uint64_t reserve = fi_load_relaxed64(&log->w.head->shared.reserve);

    log->w.silent = o->lossy_count > 0 && reserve < log->w.limit ? reserve : log->w.limit;
}

/* After `freed` has changed. */
static inline void fi_log_set_limit(const fi_outlet_t *o, fi_log_t *log) {
    log->w.limit = log->freed + log->w.lines;
    fi_log_set_silent(o, log);
}

void fi_remote_ring(fi_remote_t *r, uint32_t sleep);

/* Rings a receiver's doorbell if it sleeps. True: it does. */
static inline bool fi_remote_wake(fi_remote_t *r) {
    uint32_t sleep = fi_load_relaxed32(&r->page->sleep);

    if (fi_unlikely(sleep & FI_SLEEP_FENCE)) {
        fi_fence_seq_cst();
        sleep = fi_load_relaxed32(&r->page->sleep);
    }
    if (fi_unlikely(sleep & FI_SLEEP_ASLEEP)) {
        fi_remote_ring(r, sleep);
        return true;
    }
    return false;
}

#endif

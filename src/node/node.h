/* SPDX-License-Identifier: MIT
 *
 * node.h - one process's membership in a space: its ends, its peers, its steward.
 *
 * The steward is the node's one background thread.  It blocks all signals and sleeps in epoll_wait until a socket, a
 * pidfd, the node's bell or the directory watch has something.  Everything that crosses from one end or one peer to
 * another goes through it, so that no thread ever holds two ends.
 *
 * Lock order: node->lock, then an end's chores lock, then a peer's lock or node->mail_lock (leaves).  Whoever holds an
 * end must not take node->lock.
 */
#ifndef FI_NODE_H
#define FI_NODE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "ferry/space.h"
#include "node/end.h"
#include "node/entry.h"
#include "node/object.h"
#include "node/peer.h"
#include "node/space.h"
#include "node/waits.h"
#include "node/watch.h"
#include "platform/bell.h"

#define FI_NODE_MAGIC 0x65646f4eu /* "Node" */
#define FI_NODE_CLOSED 0x6465736cu
#define FI_SETTLE_NS 1000000000ll /* how long an open waits for those it meets */
#define FI_SETTLE_TAPS_NS                                                                                              \
    50000000ll              /* and for those who only look: they shall see the first message, if they are awake */
#define FI_EXPELLED_MAX 64u /* nodes remembered, so that they do not come back */
#define FI_MEET_TRIES 100u
#define FI_REPUBLISH_TRIES 100u
#define FI_HANDSHAKE_NS 2000000000ll /* how long a connection may stay without a HELLO */

/* What an epoll event is about; anything else is a fi_peer_t, with bit 0 set for its pidfd. */
enum fi_source { FI_SOURCE_BELL = 2, FI_SOURCE_LISTENER = 4, FI_SOURCE_WATCH = 6, FI_SOURCE_LAST = 8 };

/* Measuring the host (host.h): at most once for each node. */
enum fi_measure { FI_MEASURE_NOT, FI_MEASURE_WANTED, FI_MEASURE_TRIED };

struct fi_net;

/* What a space that spans machines wants to know of a node's ends. Called by the user's thread, which holds nothing. */
struct ferry_watch_event;
typedef void fi_far_changed_t(void *arg, const struct ferry_watch_event *e);

typedef struct fi_far {
    /* An end has been opened; returns once those far away have been met, or did not answer. Errors: it shall not be
     * open. */
    int (*opened)(struct fi_net *net, fi_end_t *e);
    void (*closing)(struct fi_net *net, fi_end_t *e);
    /* Calls `changed`, by another thread, with nodes on other machines that are there, come and go, until `unwatch`
     * returns. NULL: no memory. */
    void *(*watch)(struct fi_net *net, fi_far_changed_t *changed, void *arg);
    void (*unwatch)(struct fi_net *net, void *watch);
} fi_far_t;

typedef struct fi_routes {
    const fi_route_t *thread; /* to ends of this node */
    const fi_route_t *shm;    /* to other nodes on this machine */
} fi_routes_t;

struct ferry {
    uint32_t magic;
    uint32_t forked;   /* this is a child's copy */
    uint32_t shutdown; /* ferry_shutdown was called, or it was expelled */
    uint32_t expelled; /* 1: by somebody who may; it has no names any more, and no peers */
    uint32_t measure;  /* enum fi_measure */
    uint32_t orphans;  /* ends whose thread has ended wait for the steward */
    uint64_t id;
    uint64_t program; /* fi_process_program */
    fi_space_t space;
    struct fi_net *net; /* what spans machines; NULL: the space does not */
    const fi_far_t *far;
    char name[104];
    char other_version[320]; /* see version.h; written once */
    uint32_t has_other_version;
    uint32_t max_peers;
    uint32_t max_links;
    uint64_t max_memory;
    fi_routes_t routes;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* an end's open counters, or the set of peers */
    struct fi_list ends;
    struct fi_list held; /* closed receivers whose messages are still held */
    struct fi_list peers;
    struct fi_list dying; /* lost peers whose process still lives: swept when it dies */
    struct fi_list lost;  /* peers lost in this turn of the steward: their events may still be in hand */
    fi_peer_t *self;
    struct fi_list objects; /* fi_object_t */
    struct fi_list waits;   /* fi_blocked_t; guarded as waits.c says */
    uint64_t next_end;
    uint32_t next_handle;
    bool repair; /* somebody has died: objects want to be looked after */
    uint32_t peer_count;
    uint32_t losses;                  /* of peers, ever */
    uint64_t banned[FI_EXPELLED_MAX]; /* nodes that were expelled last, circular */
    uint32_t banned_count;            /* ever */
    uint32_t end_count;

    pthread_mutex_t mail_lock;
    struct fi_list mail; /* between ends of this node */

    pthread_t steward;
    uint32_t stopping;
    uint32_t timed;        /* ends that have named a time */
    uint64_t due;          /* ns: when the steward looks at them, unless it is called before */
    uint32_t lacking;      /* 1: some end `lacks` */
    int64_t lacking_until; /* ns: when the steward looks at those; 0: it has not begun to wait for that */
    int epoll;
    int listener;
    bool listener_paused; /* no descriptors left to accept with */
    bool resend;          /* a peer's queue waits for the kernel to have room for descriptors, or a peer is starved */
    uint32_t meet_tries;  /* left, to dial nodes that were too busy */
    uint32_t republish_tries; /* left, while the directory is being swept */
    int watch;                /* inotify; -1 when the system has none left */
    int pidfd;
    int halt; /* eventfd, readable for ever once shut down */
    fi_bell_t bell;

    struct fi_list all;    /* in the process's list of nodes */
    struct fi_list member; /* likewise, of those that tell of waits */
};

typedef struct ferry fi_node_t;

int fi_node_open(const char *space, const ferry_options_t *o, const fi_routes_t *routes, fi_node_t **out);
void fi_node_close(fi_node_t *n);
void fi_node_free(fi_node_t *n);

static inline bool fi_node_is_forked(const fi_node_t *n) {
    return fi_load_relaxed32(&n->forked) != 0;
}
static inline bool fi_node_is_shut(const fi_node_t *n) {
    return fi_load_relaxed32(&n->shutdown) != 0;
}

/* Then it is shut as well, and what its peers had sent it is others'. */
static inline bool fi_node_is_expelled(const fi_node_t *n) {
    return fi_load_relaxed32(&n->expelled) != 0;
}

/* What has become of a node that is shut, for a sentence about it. */
static inline const char *fi_node_end_word(const fi_node_t *n) {
    return fi_node_is_expelled(n) ? "was expelled from its space (`ferry kick`; close it, open another)"
                                  : "was shut down";
}

/* Async-signal-safe. */
void fi_node_shutdown(fi_node_t *n);
/* An end's thread has ended; called with the ownership lock taken. */
void fi_node_orphaned(fi_node_t *n);
/* Puts mail from one end of this node to another on its way. Any thread. Takes it over. */
void fi_node_post(fi_node_t *n, fi_mail_t *m);
/* Takes an arrived frame in: dispatches to the ends it concerns. Steward only. Takes the mail over. -EPROTO. */
int fi_node_dispatch(fi_node_t *n, fi_mail_t *m);

/* Opening and closing an end (join.c). */
int fi_node_join(fi_node_t *n, fi_end_t *e);
/* For one that joined in haste: waits as others do in fi_node_join. Any thread; the end may be closed meanwhile. */
int fi_node_settle(fi_node_t *n, fi_end_t *e, int64_t timeout);
/* An open sender meets once more those who are in the directory; who has answered, has introduced its receivers. Any
 * thread. */
void fi_node_meet_anew(fi_node_t *n, fi_end_t *e);
bool fi_node_has_met(fi_node_t *n, const fi_end_t *e);
/* Have those that it has met been linked, too, or refused? */
bool fi_node_is_settled(fi_node_t *n, const fi_end_t *e);
/* After this the steward no longer knows the end. */
void fi_node_part(fi_node_t *n, fi_end_t *e);
/* A closed receiver whose messages are still held: kept until they are released, or the node is closed. */
void fi_node_keep_held(fi_node_t *n, fi_end_t *e);
void fi_node_forget_held(fi_node_t *n, fi_end_t *e);
/* Counts links that came or fell through, for the thread that opens `e`. The steward holds the node's lock. */
void fi_node_count_link(fi_end_t *e);
void fi_node_count_tap(fi_end_t *e);
/* Descriptors or memory ran out while a link was made: an open that waits for it fails with this. Any thread. */
void fi_end_note_error(fi_end_t *e, int r);
/* Some link of it could not be made or was given up, for want of descriptors or memory: it meets the others once more
 * when there are some (lacks.c). Any thread that holds it. */
void fi_end_lacks(fi_end_t *e);
/* Meets anew where it is time; returns when it is to be looked again, or FI_NEVER. Steward only. */
int64_t fi_node_look_lacking(fi_node_t *n);

/* Peers (dial.c). The node's lock is taken. */
fi_peer_t *fi_node_find_peer(fi_node_t *n, uint64_t id);
/* Connects to the node `id`, or finds it. Errors: -ECONNREFUSED it is dead (and its names were removed), ... */
int fi_node_dial(fi_node_t *n, uint64_t id, fi_peer_t **out);
int fi_node_add_peer(fi_node_t *n, int fd, uint64_t id, fi_peer_t **out);
/* The peer has died or left (-EPIPE) or was expelled (-EPROTO, ...): tells every end. Steward. */
void fi_node_lose_peer(fi_node_t *n, fi_peer_t *p, int why);
/* Removes the names of nodes that died without anybody having met them. */
void fi_node_sweep(fi_node_t *n);
void fi_node_bury_peer(fi_node_t *n, fi_peer_t *p);
/* From now on the steward hears of the death of the peer's process. -errno: it does not. */
int fi_node_await_death(fi_node_t *n, fi_peer_t *p);
/* The pidfd of a lost node, or of one that is just being lost, that has no name any more and lives; -1: it is none. */
int fi_node_exile(fi_node_t *n, uint64_t id);
/* Remembers such a one, of whom others have told. Takes the pidfd over, unless it says false: there is no memory. */
bool fi_node_note_exile(fi_node_t *n, uint64_t id, int pidfd);
/* Is so much remembered of lost connections of this process that it shall have no other one? */
bool fi_node_keeps_enough_of(const fi_node_t *n, pid_t pid);
/* The deadline of a lost peer has come. True: it is waited for on, since its process lives and may hold something. */
bool fi_node_look_again(fi_node_t *n, fi_peer_t *p);
/* Dials the node with this short number, and returns its id. 0: none lives in the space. */
uint64_t fi_node_meet_stranger(fi_node_t *n, uint32_t number);
/* The process of a node that was dialled, has never answered, and has too few descriptors left to. 0: there is none. */
pid_t fi_node_find_starving(const fi_node_t *n);
int fi_node_send_hello(fi_node_t *n, fi_peer_t *p);
/* Somebody asks that a node be expelled, this one or a peer (expel.c). Steward. */
int fi_node_kick_asked(fi_node_t *n, fi_mail_t *m);
bool fi_node_is_banned(const fi_node_t *n, uint64_t id);
void fi_node_poll_peer(fi_node_t *n, fi_peer_t *p, bool writable);

/* Calls the ends whose time has come (due.c). Steward, the node's lock is taken. Returns when the next one's comes. */
int64_t fi_node_look_due(fi_node_t *n);

/* The steward's thread (steward.c). */
void *fi_steward_main(void *node);
/* Takes in all connections and greetings that wait. Steward, the node's lock is taken. */
void fi_steward_catch_up(fi_node_t *n);

/* Publishing this node's names (publish.c). The node's lock is taken. */
int fi_node_listen(fi_node_t *n); /* -ESTALE: the name is swept already */
/* Watches the directory. Where the system's instances are used up, a sweep is noticed at the next open only. */
int fi_node_watch(fi_node_t *n);
bool fi_node_republish(fi_node_t *n);                   /* false: not yet possible */
int fi_node_watch_name(fi_node_t *n, const char *name); /* -ESTALE: it has vanished already */
bool fi_node_is_missing(const fi_node_t *n, const char *name);
int fi_node_publish(fi_node_t *n, fi_end_t *e);
/* Would the contract of such an end be refused by those that are open on this machine? -EPROTOTYPE, with a sentence; else
 * 0. The lock is not taken. */
int fi_node_would_refuse(fi_node_t *n, const char *channel, uint32_t kind, bool sender, const fi_contract_t *c);
void fi_node_unpublish(fi_node_t *n, fi_end_t *e);
int fi_node_meet(fi_node_t *n, fi_end_t *e);
int fi_node_meet_named(fi_node_t *n, fi_end_t *e); /* only who has counterparts in the directory, this node included */
void fi_node_meet_again(fi_node_t *n);

/* Answering `ferry ls` (figures.c). Steward, the node's lock is taken. */
void fi_node_tell(fi_node_t *n, fi_peer_t *p, const fi_frame_t *asked);
/* One end has told `p` of its links; the last one to do so ends the answer. Any thread. */
void fi_node_told(fi_peer_t *p);

/* Tells those who watch that it was closed, and has not died. Its name is gone, so nobody comes any more; the node's
 * lock is taken, or its steward has ended. */
void fi_node_say_goodbye(fi_node_t *n);

/* Closed handles stay for a while, so that their use is noticed (graveyard.c). Takes memory from malloc over. */
void fi_graveyard_add(void *closed);
/* Around fork(). */
void fi_graveyard_lock(void);
void fi_graveyard_unlock(void);

/* The process's nodes, for fork and exit (process.c). */
extern uint32_t fi_process_generation; /* grows in every forked child */
uint32_t fi_process_stewards(void);    /* nodes that are open, each with its thread */
uint64_t fi_process_number(void);      /* random, of this process alone */
void fi_process_add(fi_node_t *n);
void fi_process_remove(fi_node_t *n);

#endif

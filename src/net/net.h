/* SPDX-License-Identifier: MIT
 *
 * net/net.h - a node's part in a space that spans machines: its connections to the engine, and how it names things
 * there.
 *
 * Two connections: `control` carries requests, leases and calls, `bulk` what channels carry, in large pieces.  Both
 * send every message as soon as they can, and come back by themselves when a server is lost, for as long as the node is
 * open.
 *
 * Where there are durable channels, one more carries what goes into streams and out of queues: the way (way.h).
 *
 *     ferry.SPACE.who                  "who is there?": every node answers with its fi_net_card_t
 *     ferry.SPACE.all                  frames to every node (bridge.h)
 *     ferry.SPACE.n.NODE               frames to one node
 *     ferry.SPACE.n.NODE.ping          is it there? Answered at once; "no responders" when its connection is gone
 *     ferry.SPACE.KIND.NAME            objects, streams' subjects: each in the header of its file
 *
 * A name's dots, which separate words in a subject, are written as '~', which no name of Ferry's holds.  NODE is 16 hex
 * digits.
 *
 * Threads: everything here may be called by any thread.  Callbacks of the library's threads run with all signals
 * blocked.
 */
#ifndef FI_NET_NET_H
#define FI_NET_NET_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/handshake.h"
#include "net/library.h"
#include "net/way.h"
#include "node/address.h"
#include "node/node.h"

#define FI_NET_ASK_MS 500           /* for an answer of the engine, before it is asked again */
#define FI_NET_WRITE_MS 4000        /* a server that takes nothing for so long is lost: whoever writes waits for it */
#define FI_NET_DEAD_NS 2000000000ll /* "no responders" for so long, while we are connected: the node has gone */

/* Told when the connection is lost (`up` false) and when it is there again, and, if `denied` is not NULL, when the
 * server has denied a permission, in its words, and if `torn` is not NULL, when a way has ended. By a thread of the
 * library; must not block. */
typedef struct fi_net_watch {
    struct fi_list link;
    void (*changed)(void *arg, bool up);
    void (*denied)(void *arg, const char *words);
    void (*torn)(void *arg);
    void *arg;
} fi_net_watch_t;

struct fi_bridge;
struct fi_leases;
struct fi_shares;

typedef struct fi_net {
    fi_node_t *node;
    fi_address_t address;
    char space[64]; /* as a word of a subject */
    natsConnection *control;
    natsConnection *bulk;
    fi_way_t way;
    natsOptions *options; /* of the newest connection */
    jsCtx *js;            /* of `control`; NULL: the engine has no JetStream (see fi_net_stream_check) */
    size_t max_payload;   /* bytes that one message may have */
    uint32_t up;          /* `control` and `bulk` are there; atomic */
    uint32_t leaves;      /* 1: it is being closed; atomic */
    int64_t leave_by;     /* ns: until then it waits for a connection, to say what is to be said last; atomic */
    uint32_t times_up;    /* grows whenever they come back; atomic */
    uint32_t times_lost;  /* atomic, as the next one */
    int64_t changed_at;   /* ns, when they were lost or came back */
    int64_t lost_at;      /* ns, when they were lost; 0: they are there; atomic */
    int64_t round_trip;   /* ns, to the server and back, when the space was opened */

    bool silent;                              /* while the space is opened: a server was, after its greeting */
    fi_handshake_t control_again, bulk_again; /* from when a connection is lost until it is there again, or closed */

    pthread_mutex_t lock;
    pthread_cond_t closed;
    unsigned open;          /* connections whose last callback has not run; guarded by lock */
    struct fi_list watches; /* guarded by lock */
    struct fi_list ended;   /* subscriptions, see endings.c; guarded by */
    pthread_mutex_t ended_lock;
    char denied[256]; /* the newest permission that was denied, in the server's words; guarded by lock */
    uint32_t denials; /* how many; atomic */
    char deaf[256];   /* why this node cannot hear others (bridge.h): as `denied`; "": it can; guarded by lock */
    natsSubscription *who, *ping;
    struct fi_leases *leases; /* NULL until one is opened */
    struct fi_bridge *bridge;
    bool answers;             /* the bridge takes inquiries; guarded by lock */
    struct fi_shares *shares; /* net/shares.h */
    struct fi_calls *calls;
    char warning[400];      /* what was doubtful when it was opened; see fi_net_warning */
    char strangers[900];    /* the same, and of a node of another version; written once */
    uint32_t has_strangers; /* atomic */
} fi_net_t;

/* Asked in `who`: a node answers with its card, and then, if the question has a body, with all it has (tell.h). */
typedef struct fi_net_question {
    uint32_t version; /* FI_NET_VERSION */
    uint32_t flags;   /* FI_NET_PURGE: it is a request */
} fi_net_question_t;

enum { FI_NET_PURGE = 1 };

/* Asked in `who`, too: what waits in a channel shall be dropped (purge.h). */
typedef struct fi_net_request {
    fi_net_question_t question;
    uint64_t asker; /* node */
    uint64_t only;  /* by this node; 0: by all */
    char channel[104];
} fi_net_request_t;

/* What a node says of itself. On the wire as it is: little-endian, no gaps. */
typedef struct fi_net_card {
    uint64_t node;
    uint32_t version; /* FI_NET_VERSION */
    uint32_t pid;
    char name[104];
    char host[64];
} fi_net_card_t;

#define FI_NET_VERSION 3u /* grows when what nodes say to each other means something else */

/* A node of another version was seen; what it says is not for us. Any thread. */
void fi_net_meet_stranger(fi_net_t *net, const fi_net_card_t *card);
/* For ferry_warning. */
const char *fi_net_warning(const fi_net_t *net);

/* Connects `n`, waiting up to five seconds for a server that does not answer. Errors: -ENOPKG no library; -ECHILD see
 * fi_nats_load; -ECONNREFUSED, -ETIMEDOUT no server answers; -EACCES wrong credentials; -EKEYREJECTED TLS: not trusted;
 * -EINVAL a file cannot be read; -ENOMEM. */
int fi_net_open(fi_node_t *n, const fi_address_t *a, const ferry_options_t *o, fi_net_t **out);
/* From now on no server is waited for for long. */
void fi_net_leave(fi_net_t *net);
/* Nobody is inside a call of the node's any more, and it has been left. */
void fi_net_close(fi_net_t *net);

/* For the bridge's thread: grows with each connection that was lost, and with what was on its way there. */
static inline uint32_t fi_net_losses(const fi_net_t *net) {
    return fi_load_acquire32(&net->times_lost) + net->way.lost;
}

/* ---- for those who make connections: connect.c, way.c ---- */

#define FI_NET_PING_MS 500 /* a cut line is noticed in 1 to 1.5 s (FI_NET_PINGS of them unanswered) */
#define FI_NET_PINGS 2
#define FI_NET_HANDSHAKES 4 /* are begun with a server that answers, but not in time, before that is an error */

/* One more connection, as `net->options` say. */
int fi_net_connect(fi_net_t *net, natsConnection **c, unsigned handshakes);
/* What `s` means there, as an error with its sentence. */
int fi_net_explain(const fi_net_t *net, natsStatus s);
/* One that was never made is not missing. */
bool fi_net_is_connected(natsConnection *c);
/* The last that is heard of a connection; `net` is the net's. */
void fi_net_closed(natsConnection *c, void *net);
/* The way has ended: so all that watch are told. */
void fi_net_tell_torn(fi_net_t *net);

/* How long to wait for another node's answer: `ns` where lines are short. The way there may be as long as ours to the
 * server, and twice. */
static inline int64_t fi_net_patience(const fi_net_t *net, int64_t ns) {
    return ns + 4 * net->round_trip;
}

static inline bool fi_net_is_up(const fi_net_t *net) {
    return fi_load_acquire32(&net->up) != 0;
}

void fi_net_watch(fi_net_t *net, fi_net_watch_t *w);
void fi_net_unwatch(fi_net_t *net, fi_net_watch_t *w);

/* calls.c: services and clients, for fi_net_open and _close. */
int fi_calls_open(fi_net_t *net);
void fi_calls_close(fi_net_t *net);

/* This node can be found, and cannot any more. For fi_net_open and _close. */
int fi_net_present(fi_net_t *net);
void fi_net_absent(fi_net_t *net);

/* ---- names ---- */

/* A name as one word of a subject. */
void fi_net_word(const char *name, char *out, size_t cap);

/* "ferry.SPACE.KIND" or, with a name, "ferry.SPACE.KIND.NAME". */
void fi_net_subject(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *kind, const char *name);
/* "ferry.SPACE.n.NODE", and with `what` ".WHAT" after it. */
void fi_net_node_subject(const fi_net_t *net, char out[FI_SUBJECT_MAX], uint64_t node, const char *what);
/* A stream's name: "FERRY=SPACE=KIND=NAME", dots written as in subjects; no name has a '='. */
void fi_net_stream(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *kind, const char *name);

/* ---- talking ---- */

/* What a status means: a negative errno, with a sentence "cannot DOING 'WHAT': why". NATS_OK: 0. A denied permission
 * says so. */
int fi_net_fail(fi_net_t *net, natsStatus s, const char *doing, const char *what);

/* What the library says of an error that it has just answered to this thread. */
const char *fi_net_words(natsStatus s);

/* Is a denial about that subject? */
bool fi_net_denies(const char *words, const char *subject);
/* The newest denial, in the server's words. False: there was none since `net->denials` was `before`. */
bool fi_net_newest_denial(fi_net_t *net, uint32_t before, char words[256]);
/* Was it about that subject? */
bool fi_net_was_denied(fi_net_t *net, uint32_t before, const char *subject);
int fi_net_send(fi_net_t *net, natsConnection *c, const char *subject, const void *data, size_t len);
/* Waits for a connection that is coming back. Is there one? */
bool fi_net_await(const fi_net_t *net, int64_t deadline);
/* Waits for up to `ms` until what was sent has reached the server. While there is no connection libnats is not asked: it
 * holds its caller for as long as it connects. */
bool fi_net_flush(const fi_net_t *net, natsConnection *c, int64_t ms);
/* Subscribes; `queue` may be NULL. The callback runs on a thread of this subscription's own, one message after another,
 * and owns the message (natsMsg_Destroy). There is no limit on what may wait. */
int fi_net_subscribe(fi_net_t *net, natsConnection *c, const char *subject, const char *queue, natsMsgHandler cb,
                     void *arg, natsSubscription **sub);
/* endings.c. Ends it, waiting for a callback that runs; `c`: whose it is. NULL is allowed. */
void fi_net_unsubscribe(fi_net_t *net, natsConnection *c, natsSubscription *sub);
/* Unsubscribes it; what the server has sent by the time it hears of that still comes, as far as it comes within
 * FI_NET_DEAD_NS. False: it cannot be. */
bool fi_net_drain(natsSubscription *sub);
/* Destroys one that is unsubscribed already: in place of the library's, which is too early. */
void fi_net_destroy(fi_net_t *net, natsConnection *c, natsSubscription *sub);
/* When there are no connections any more. */
void fi_net_destroy_all(fi_net_t *net);

/* 0, or -ENOTSUP with a sentence: the engine runs without JetStream, which `what` needs. */
int fi_net_stream_check(fi_net_t *net, const char *what);

/* Around calls of the library's that start threads: those must have all signals blocked. */
void fi_net_signals_off(sigset_t *before);
void fi_net_signals_restore(const sigset_t *before);

/* ---- who is there ---- */

/* 1: the node answers; 0: its connection is gone; -ETIMEDOUT no answer in `timeout` ns; -ENOTCONN we are not
 * connected; -EACCES with a sentence: the server does not let us ask, so nothing is known. */
int fi_net_is_there(fi_net_t *net, uint64_t node, int64_t timeout);
/* Asks all nodes and calls `each` for every card, this node's too, until they have been silent for `patience` ns.
 * Returns how many. */
int fi_net_each_node(fi_net_t *net, int64_t patience, void (*each)(const fi_net_card_t *card, void *arg), void *arg);
/* Adds what is on other machines to a picture of this one. */
struct ferry_look;
int fi_net_look(fi_net_t *net, struct ferry_look *look);
/* Is that node on this machine, in the same directory? Then shared memory reaches it. */
bool fi_net_is_near(const fi_net_t *net, uint64_t node);
/* A card from the wire, with its strings ended. False: it is none. */
bool fi_net_take_card(natsMsg *msg, fi_net_card_t *card);

/* Can others on the way read what the connections carry? */
static inline bool fi_net_is_exposed(const fi_net_t *net) {
    return !net->address.tls && !net->address.local;
}

#endif

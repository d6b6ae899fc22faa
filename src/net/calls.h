/* SPDX-License-Identifier: MIT
 *
 * net/calls.h - calls between machines.
 *
 *     ferry.SPACE.svc.SERVICE.METHOD     a request, to one of those that serve it (queue group "q")
 *     ferry.SPACE.calls                  a frame to all nodes that serve something
 *     ferry.SPACE.n.NODE.calls           a frame to one of them
 *     _INBOX.X.CLIENT.ID.ATTEMPT         answers to a call: X is the calling node's, the others are hex numbers
 *     $SRV.PING|INFO|STATS[.NAME[.ID]]   as NATS' ADR-32 has it
 *
 * A request is a NATS request: the argument's bytes, or nothing.  The result comes back as its answer; an error of the
 * procedure's has the headers Nats-Service-Error and Nats-Service-Error-Code and the details as its bytes.  So any NATS
 * client can call.  What Ferry's clients say beyond that stands in headers:
 *
 *     Ferry-Deadline-Ns: N               the time that is left. Others may say that, too
 *     Ferry-Method: NAME                 where the subject cannot hold the name
 *     Ferry-Call: 1 NODE CLIENT ID ATTEMPT FLAGS TOTAL     (hex) version first; TOTAL: of an argument that is still to come
 *
 * and what they are answered:
 *
 *     Ferry-Result: more SEQ             one of several results
 *                   end SEQ              there are no more
 *                   error                the bytes are a fi_error_head_t and what follows
 *                   refused ERRNO        it was not run, or may have run elsewhere
 *                   large KIND SEQ NODE SERIAL TOTAL         an answer to be fetched from NODE by FI_FRAME_PULL
 *                   chunk SERIAL AT      a piece of it
 *                   has NODE STATE       the call is there: 1 queued or running, 2 the same, and the answer goes where
 *                                        the question came from; 0 it is not
 *                   pull NODE AT LEN     NODE wants a piece of the argument; LEN 0: it has all
 *
 * An argument or a result that is larger than a message is fetched by whoever needs it, piece by piece; who has it
 * keeps it until the other one has all.  So nothing is lost with a connection, and nobody is sent what he cannot take.
 *
 * A thread that waits for one answer, and nothing else, has it sent to an inbox that it reads itself; if it does not
 * come soon, it is sent to where the others go, so that the thread can wait for everything.
 *
 * Death.  A client that has waited for 100 ms asks who has the call, then that node, every quarter of a second, and
 * at once when a lost connection is there again.  A node sends an answer before it says that it has the call no more,
 * and on the same way; so then the answer was lost.  A call that nobody has is sent again with the next attempt number:
 * who has the earlier one after all goes on with that and says so; anybody else runs it if the method is idempotent,
 * else answers that it may have run.
 */
#ifndef FI_NET_CALLS_H
#define FI_NET_CALLS_H

#include "net/net.h"
#include "rpc/service.h"

#define FI_CALLS_VERSION 1u
#define FI_CALLS_WINDOW 4u                         /* pieces that are asked for at once */
#define FI_CALLS_HEADERS 1024u                     /* bytes of a message that are kept for headers */
#define FI_CALLS_MOST_COMING (UINT64_C(256) << 20) /* bytes of arguments that a node keeps while they come */
#define FI_CALLS_BUCKETS 256u

enum fi_call_frame_type {
    FI_FRAME_PROBE = 1, /* who has it? `a`: results consumed. Answered by whoever has it, and by the one asked alone */
    FI_FRAME_CANCEL,
    FI_FRAME_CONSUMED, /* `a` results, in all */
    FI_FRAME_PULL,     /* `a`: serial, `b`: from where, `c`: how much at most */
    FI_FRAME_GOT,      /* `a`: serial: it is not needed any more */
    FI_FRAME_CHUNK,    /* `b`: where the bytes that follow belong in the argument */
    FI_FRAME_CARD /* who serves? The service's name follows; nothing: any. Answered with fi_call_card_t, one each */
};

typedef struct fi_call_frame {
    uint8_t version; /* FI_CALLS_VERSION */
    uint8_t type;
    uint16_t moves; /* of FI_FRAME_PROBE, 1: the answer shall be sent to where this one's reply goes, without ".p" */
    uint32_t attempt;
    uint64_t node; /* the caller's */
    uint64_t client;
    uint64_t id;
    uint64_t a;
    uint64_t b;
    uint64_t c;
} fi_call_frame_t;

/* A service of a node. */
typedef struct fi_call_card {
    uint32_t version;
    uint32_t threads;
    uint64_t node;
    uint64_t calls;
    uint64_t errors;
    uint64_t refused;
    uint64_t busy_ns;
    uint64_t p50_ns;
    uint64_t p99_ns;
    uint64_t age_ns;
    uint32_t number;
    uint32_t running;
    char name[64];
} fi_call_card_t;

struct fi_served;
struct fi_far_service;
struct fi_far_client;

/* A result that waits to be fetched. */
typedef struct fi_outgoing {
    struct fi_list link;
    uint64_t serial;
    uint64_t node;
    uint64_t client;
    uint64_t id;
    uint64_t size;
    int64_t used_at;
    unsigned char *bytes;
} fi_outgoing_t;

/* What waits for a connection; call_kept.c. */
typedef struct fi_calls_kept {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    struct fi_list list;
    uint64_t bytes;
    uint32_t count; /* atomic, written with the lock */
    bool sending;   /* there is a thread that sends them */
} fi_calls_kept_t;

/* A node's. It outlives the node's network while requests are under way: then it is `closed`. */
typedef struct fi_calls {
    fi_net_t *net;
    uint32_t refs;
    uint32_t users; /* inside, with `net`; atomic */
    uint32_t closed;
    fi_net_watch_t watch;
    int64_t back_at; /* when a lost connection was there again; 0: never; atomic */
    fi_calls_kept_t kept;

    /* held while a service's frames, and answers, are subscribed to: that may take long */
    pthread_mutex_t opening, hearing;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    struct fi_list clients;
    struct fi_list services;
    struct fi_list served[FI_CALLS_BUCKETS];
    struct fi_list outgoing;
    uint64_t outgoing_bytes;
    uint64_t coming_bytes;
    uint64_t last_serial;
    uint32_t last_service;
    pthread_t watcher; /* makes polled descriptors readable; if `watching` */
    bool watching;
    bool resting;                 /* nobody polls for an answer; guarded by the lock */
    char inbox[96];               /* "": not yet */
    natsSubscription *replies;    /* atomic */
    natsSubscription *all, *mine; /* frames; once it serves */
    natsSubscription *srv;        /* $SRV.* */
} fi_calls_t;

/* ---- calls.c ---- */

/* Until fi_calls_leave, the network is there. False: it is closed. */
bool fi_calls_enter(fi_calls_t *calls);
void fi_calls_leave(fi_calls_t *calls);
void fi_calls_ref(fi_calls_t *calls);
void fi_calls_unref(fi_calls_t *calls);
/* Subscribes on the control connection with a reference to `arg` that `unref` gives back after the last callback. */
int fi_calls_subscribe(fi_calls_t *calls, const char *subject, const char *queue, natsMsgHandler cb, void *arg,
                       void (*unref)(void *arg), natsSubscription **sub);
/* Numbers in hex behind `word`, with one space before each. False: it is something else. */
bool fi_calls_parse(const char *text, const char *word, uint64_t *numbers, unsigned count);
/* A header's text; NULL: there is none. */
const char *fi_calls_header(natsMsg *msg, const char *name);
/* A method as a word of a subject. */
void fi_calls_method(const char *method, char *out, size_t cap);
/* Sends a frame to a node, or, with 0, to all; `reply` may be NULL. */
int fi_calls_send_frame(fi_calls_t *calls, natsConnection *c, uint64_t to, fi_call_frame_t *f, const char *reply,
                        const void *bytes, size_t size);
/* Bytes of a piece. */
static inline size_t fi_calls_piece(const fi_calls_t *calls) {
    size_t most = calls->net->max_payload;
    return most > 2 * FI_CALLS_HEADERS ? most - FI_CALLS_HEADERS : most / 2;
}
/* The time since which a connection is there again is so short that others may not be back yet. */
bool fi_calls_is_settling(const fi_calls_t *calls, int64_t now);
/* Asks who serves `service` (NULL: anything), and calls `each` for every card; until nothing has come for `patience`
 * ns. */
int fi_calls_each_card(fi_calls_t *calls, const char *service, int64_t patience,
                       void (*each)(const fi_call_card_t *card, void *arg), void *arg);

/* ---- call_kept.c: what is sent, now or when there is a connection again; none of it waits for that ---- */

struct fi_far_call;

/* NATS_OK: it is sent, or kept. NATS_INSUFFICIENT_BUFFER: too much is kept. `reply` may be NULL. */
natsStatus fi_calls_publish(fi_calls_t *calls, natsConnection *c, const char *subject, const char *reply,
                            const void *data, size_t size);
/* The same; a message that is kept is taken over, and `*msg` NULL. */
natsStatus fi_calls_publish_msg(fi_calls_t *calls, natsConnection *c, natsMsg **msg);
/* The same for a request, which is not sent after its deadline. `call`: who waits for the answer; NULL: nobody does. */
natsStatus fi_calls_publish_request(fi_calls_t *calls, natsMsg **msg, struct fi_far_call *call, int64_t deadline);
/* There is a connection, and nothing is before what is sent now. */
bool fi_calls_goes_at_once(const fi_calls_t *calls);
/* The call's request is not sent any more, if it is kept. The client's thread. */
void fi_calls_take_back(fi_calls_t *calls, struct fi_far_call *call);
#define FI_CALLS_MUCH (UINT64_C(1) << 20) /* bytes: as long as so much is still being sent, no more is begun */
/* While there is a connection: waits until fewer than `few` bytes are kept (FI_CALLS_MUCH, or 0: until none is), but not
 * beyond `deadline`, and for 4 s at most. Under load what is kept would never be sent else. */
void fi_calls_await_few(fi_calls_t *calls, uint64_t few, int64_t deadline);
/* Does not wait for a callback that runs: what that uses is given back after it. NULL is allowed. */
void fi_calls_unsubscribe(fi_calls_t *calls, natsSubscription *sub);
/* While there is a connection, and until `deadline`: waits until all that was sent has reached the server. */
void fi_calls_flush(fi_calls_t *calls, int64_t deadline);

void fi_kept_init(fi_calls_kept_t *all);
/* The connection was lost or is there again, or the network is closed. */
void fi_kept_look(fi_calls_kept_t *all);
/* Before it is closed: answers that were given have some time to leave. */
void fi_kept_send_last(fi_calls_t *calls);
/* Is there anything? */
bool fi_kept_any(fi_calls_t *calls);
/* When it is closed, and nobody is inside: drops what is left. */
void fi_kept_drop(fi_calls_t *calls);
void fi_kept_done(fi_calls_kept_t *all);

/* call_tell.c: tells a looking process which of its threads run calls from afar. Any thread. */
void fi_calls_tell(fi_net_t *net, fi_peer_t *p);

/* call_entry.c: what rpc/ is given. */
extern const fi_far_calls_t fi_calls_table;

/* ---- call_client.c ---- */

int fi_far_client_open(ferry_client_t *k);
void fi_far_client_close(ferry_client_t *k);
int fi_far_call_start(ferry_client_t *k, ferry_call_t *c, const fi_wish_t *wish, const fi_call_head_t *head);
int fi_far_client_watch(ferry_client_t *k);
bool fi_far_client_take_in(ferry_client_t *k);
bool fi_far_client_take_direct(ferry_client_t *k, int64_t timeout);
int64_t fi_far_client_tend(ferry_client_t *k, int64_t now);
void fi_far_call_cancel(ferry_call_t *c);
void fi_far_call_consumed(ferry_call_t *c, uint32_t count);
void fi_far_call_forget(ferry_call_t *c);
uint64_t fi_far_call_holder(const ferry_call_t *c);
int64_t fi_far_client_expected(ferry_client_t *k);
unsigned fi_far_client_servers(ferry_client_t *k, int64_t deadline);
/* For the subscription of answers. */
void fi_far_client_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *calls);

/* ---- call_service.c ---- */

int fi_far_service_begins(ferry_service_t *s);
void fi_far_service_drains(ferry_service_t *s);
void fi_far_service_ends(ferry_service_t *s);
int fi_far_service_reply(const ferry_request_t *rq, fi_far_request_t *f, fi_reply_kind_t kind, int error,
                         const void *data, uint64_t size);
void fi_far_service_done(fi_far_request_t *f);
/* For the subscriptions of frames. */
void fi_far_service_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *calls);

/* ---- call_srv.c ---- */

typedef struct fi_far_service {
    struct fi_list link; /* in calls->services */
    fi_calls_t *calls;
    ferry_service_t *service; /* NULL: it has ended; guarded by the lock of `calls` */
    uint32_t refs;
    uint32_t number;
    int64_t since;      /* ns */
    int64_t wall_since; /* s */
    size_t prefix;      /* bytes of its subject before the method */
    char subject[FI_SUBJECT_MAX];
    char name[FI_SERVICE_NAME_MAX + 1]; /* as ADR-32 allows it */
    char id[40];
    natsSubscription *requests, *srv_name, *srv_id;
    struct fi_endpoint *endpoints;
    uint32_t endpoint_count;
    char **methods;
    uint64_t waiting; /* requests that are here; guarded by the lock of `calls`, as the next ones */
    bool drained;     /* nothing more comes, or soon */
    bool refuses;     /* nobody will serve what comes */
} fi_far_service_t;

/* What became of a method's requests from afar; guarded by the lock of `calls`. */
typedef struct fi_endpoint {
    const fi_method_t *method;         /* as long as the service is there */
    uint64_t hash;                     /* its own, which requests that come while the service is closed may look at, */
    char name[FI_METHOD_NAME_MAX + 1]; /* and its name */
    uint64_t calls;
    uint64_t errors;
    uint64_t ns;
} fi_endpoint_t;

/* Gives a reference back. */
void fi_far_service_unref(void *service);

int fi_srv_open(fi_far_service_t *fs);
void fi_srv_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *service);
void fi_srv_hear_all(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *calls);

/* ---- call_foreign.c: services that were not made with Ferry ---- */

typedef struct fi_foreign {
    char *name;
    char *subject;
    struct fi_foreign *next;
} fi_foreign_t;

/* "$SRV.VERB.SERVICE", as it is asked. */
void fi_foreign_subject(const char *verb, const char *service, char subject[FI_SUBJECT_MAX]);
/* Asks for the endpoints of `service` that are not Ferry's, for a second, and until the deadline. NULL: there are none
 * that are known. False: the server says that nobody has that name. */
bool fi_foreign_find(fi_calls_t *calls, const char *service, int64_t deadline, fi_foreign_t **list);
void fi_foreign_free(fi_foreign_t *list);
/* What $describe answers for it; to be freed. */
char *fi_foreign_describe(const char *service, const fi_foreign_t *list, size_t *len);

#endif

/* SPDX-License-Identifier: MIT
 *
 * rpc/service.h - who serves: a table of methods, and threads that take calls one at a time.
 *
 * Each thread has a receiver of the queue "+SERVICE" of its own, and for each client that has called it a sender of
 * that client's replies; so threads share nothing but the table, which does not change while anybody serves.
 *
 *   call      taken ── refused (cancelled, too late, no such method, may have run) ──────────────> answered, released
 *                └── begun: the handler runs ── it answers, or returns ── the last answer is sent ─┘
 *
 * The answer is sent before the call is released.  So whenever the thread dies, the client has the answer, or still has
 * the call and knows that it was taken.
 *
 * A thread stops by saying so in its page (clients send to others from then on), serving what was sent to it, and
 * closing its receiver: what comes in between goes back untouched.
 */
#ifndef FI_RPC_SERVICE_H
#define FI_RPC_SERVICE_H

#include <pthread.h>

#include "channel/messages.h"
#include "channel/quick.h"
#include "ferry/rpc.h"
#include "rpc/client.h"
#include "rpc/far.h"
#include "rpc/times.h"
#include "rpc/wire.h"

#define FI_SERVICE_MAGIC 0x5363704bu /* "KpcS" */
#define FI_REQUEST_MAGIC 0x5263704bu /* "KpcR" */
#define FI_WORKERS 256u
#define FI_CLIENT_BUCKETS 64u

/* A stream's caller may lag behind by so much. */
#define FI_STREAM_RESULTS 32u
#define FI_STREAM_BYTES (UINT64_C(4) << 20)

typedef struct fi_method {
    uint64_t hash;
    char name[FI_METHOD_NAME_MAX + 1];
    ferry_handler_t *handler;
    void *arg;
    bool idempotent;
    bool streams;
    char *input; /* NULL: bytes */
    char *output;
    char *comment;
} fi_method_t;

struct fi_worker;

/* Where replies to one client go. */
typedef struct fi_caller {
    struct fi_caller *next; /* in its bucket */
    struct fi_worker *worker;
    uint64_t node;
    uint64_t end;
    fi_sender_t *tx;   /* NULL: it was closed with the node */
    uint32_t gone;     /* 1: the client takes no more replies; set by whoever holds the end */
    uint32_t owes;     /* 1: calls are owed */
    ferry_msg_t *owed; /* calls that are not released yet, since their answers wait in the backlog */
    ferry_msg_t *last_owed;
} fi_caller_t;

struct ferry_request {
    uint32_t magic;
    struct fi_worker *worker;
    const fi_method_t *method;
    ferry_msg_t *m;             /* NULL: it came from afar */
    fi_far_request_t *far;      /* NULL: of this machine */
    const fi_call_head_t *head; /* in the client's memory: it changes */
    fi_call_head_t call;        /* as it was read once */
    const unsigned char *data;
    uint64_t size;
    fi_caller_t *caller;
    bool answered;
    bool waits;  /* some answer is in the backlog */
    bool failed; /* with an error */
    int unsaid;  /* why the last answer could not be sent; 0: it could, or there was none */
    uint32_t attempt;
    uint32_t base;                     /* results that the caller had consumed before, of another server */
    uint32_t sent;                     /* results of a stream */
    uint64_t waiting;                  /* bytes of those not consumed yet, as far as is known */
    uint32_t consumed;                 /* as last seen */
    uint32_t sizes[FI_STREAM_RESULTS]; /* of the last results */
};

typedef struct fi_worker {
    struct ferry_service *service;
    fi_receiver_t *rx; /* NULL: closed */
    pthread_t thread;  /* if it is the service's own */
    bool own_thread;
    bool inherited;   /* from a thread that has ended; guarded by the service's lock */
    uint32_t inside;  /* 1: the thread is inside ferry_service_run */
    uint32_t serving; /* 1: inside a handler */
    uint32_t sweep;   /* 1: some client has gone */
    uint32_t left;    /* calls to be served, if that is limited; else UINT32_MAX */
    int64_t until;    /* when it shall serve no more; FI_NEVER */
    fi_caller_t *last_caller;
    fi_caller_t *callers[FI_CLIENT_BUCKETS];
    ferry_request_t request;

    /* its thread writes, anybody reads */
    uint64_t calls;
    uint64_t errors;
    uint64_t refused;
    uint64_t expired;
    uint64_t busy_ns;
    fi_times_t times;
} fi_worker_t;

struct ferry_service {
    uint32_t magic;
    uint32_t generation;
    fi_node_t *node;
    char name[FI_SERVICE_NAME_MAX + 1];
    ferry_wait_t wait;
    uint32_t queue;
    uint64_t quota;
    char *comment;
    void *descriptor;
    size_t descriptor_size;
    fi_method_t **methods; /* by hash, open addressing; `room` is a power of two */
    uint32_t room;
    uint32_t method_count;
    fi_far_queue_t far;
    void *reach; /* what net/ knows of it; NULL: nobody can call it from afar. Guarded by the lock */
    uint32_t stopping;
    uint32_t hurry;       /* 1: calls under way count as cancelled */
    uint64_t close_by;    /* ferry_service_close waits so long; 0: it was not called */
    uint32_t nudging;     /* threads that look through the workers to wake them */
    pthread_mutex_t lock; /* guards what follows, and the table until somebody serves */
    pthread_cond_t changed;
    uint32_t worker_count; /* read by ferry_service_stop without the lock */
    fi_worker_t *workers[FI_WORKERS];
};

/* ---- service.c ---- */

int fi_service_check(const ferry_service_t *s);
int fi_service_open(fi_node_t *n, const char *name, const ferry_service_options_t *o, ferry_service_t **out);
int fi_service_method(ferry_service_t *s, const char *name, ferry_handler_t *handler, void *arg,
                      const ferry_method_options_t *o);
const fi_method_t *fi_service_find(const ferry_service_t *s, uint64_t hash);
int fi_service_stop(ferry_service_t *s);
int fi_service_close(ferry_service_t *s, int64_t timeout);
/* One that a thread of this node's serves, or may serve again; NULL: none. */
ferry_service_t *fi_service_of_node(fi_node_t *n);
int fi_service_stats(ferry_service_t *s, ferry_service_stats_t *stats);

/* ---- describe.c: the methods that every service has ---- */

int fi_describe(ferry_request_t *rq, const void *data, size_t size, void *service);
int fi_describe_types(ferry_request_t *rq, const void *data, size_t size, void *service);

/* ---- threads.c: its own threads, and the program's ---- */

int fi_service_start(ferry_service_t *s, unsigned threads);
int fi_service_run(ferry_service_t *s, int64_t timeout);
int fi_service_fd(ferry_service_t *s);
/* Is the calling thread inside a handler of this service (NULL: of any)? */
bool fi_service_is_mine(const ferry_service_t *s);
/* Is it inside one of a service of this node's? */
bool fi_service_is_of_mine(const fi_node_t *n);
/* Takes apart what a worker of a thread that serves no more has open. */
void fi_worker_close(fi_worker_t *w);

/* ---- serve.c: one call after the other ---- */

/* Serves until `deadline`, or the service stops: 0; FERRY_NOW as `timeout`: what is there, then -EAGAIN. */
int fi_worker_serve(fi_worker_t *w, int64_t timeout);

/* ---- callers.c: where replies go ---- */

/* NULL: no reply can be sent, and the client was told. */
fi_caller_t *fi_caller_find(fi_worker_t *w, uint64_t node, uint64_t end);
/* The call is released when the caller's backlog is empty. */
void fi_caller_owe(fi_caller_t *c, ferry_msg_t *m);
/* Something has happened to a client: the thread shall sweep. Any thread. */
void fi_worker_call_for_sweep(fi_worker_t *w);
/* Releases what is not owed any more, and closes what belongs to clients that have left. */
void fi_callers_sweep(fi_worker_t *w);
/* Before the receiver is closed, and after that: calls that are still owed then go back to their clients. */
void fi_callers_close(fi_worker_t *w);
void fi_callers_free(fi_worker_t *w);

/* ---- reply.c ---- */

/* The last answer, or one of several; `m`: by pointer, or a copy. */
int fi_reply(ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data, uint64_t size);
int fi_reply_msg(ferry_request_t *rq, fi_reply_kind_t kind, ferry_msg_t *m);
int fi_reply_new(ferry_request_t *rq, size_t size, void **data, ferry_msg_t **m);
int fi_reply_error(ferry_request_t *rq, int32_t code, const char *words, const void *detail, size_t detail_size);
/* An answer could not be sent, and why: unless another one is, that is told. `rq` may be none. Returns `r`. */
int fi_reply_unsaid(ferry_request_t *rq, int r);
bool fi_request_is_cancelled(const ferry_request_t *rq);
/* The same, by the caller: whether this service is being closed does not count. */
bool fi_request_is_over(const ferry_request_t *rq);
int fi_request_check(const ferry_request_t *rq);

#endif

/* SPDX-License-Identifier: MIT
 *
 * rpc/far.h - calls to and from other machines, as far as rpc must know of them: net/ does the rest.
 *
 * A request from afar waits in its service's queue for the first thread that is free; a worker looks there between any
 * two calls of this machine's.  Its answers go out by the thread that gives them, through `reply`.  A client's call
 * that goes far has `far` set; what comes for it is put into the client's books by `take_in`, on the client's thread,
 * which is nudged.
 */
#ifndef FI_RPC_FAR_H
#define FI_RPC_FAR_H

#include <pthread.h>

#include "ferry/rpc.h"
#include "rpc/wire.h"

struct ferry_service;
struct fi_worker;
struct fi_wish;

typedef struct fi_far_request {
    struct fi_far_request *next; /* in its service's queue */
    struct fi_worker *worker;    /* that runs it; guarded by the queue's lock */
    fi_call_head_t head;         /* `consumed` and FI_CALL_CANCELLED change */
    const unsigned char *data;   /* nobody else writes there */
    uint64_t size;
    uint64_t node; /* who calls; 0: none of ours */
    uint64_t client;
    uint32_t attempt;
    uint32_t failed; /* it was answered with an error */
} fi_far_request_t;

/* Of a service. */
typedef struct fi_far_queue {
    pthread_mutex_t lock;
    uint32_t waiting; /* atomic; written with the lock */
    uint32_t turn;
    fi_far_request_t *first;
    fi_far_request_t *last;
} fi_far_queue_t;

typedef struct fi_far_calls {
    /* Its first thread serves, perhaps again. 0, or it cannot be reached from afar. */
    int (*service_begins)(struct ferry_service *s);
    /* It is being stopped: returns when what was sent to it is in its queue, and nothing more will come; or soon. */
    void (*service_drains)(struct ferry_service *s);
    /* No thread of its will serve any more: what waits is told so. */
    void (*service_ends)(struct ferry_service *s);
    /* As fi_reply. By the thread that runs it. */
    int (*reply)(const ferry_request_t *rq, fi_far_request_t *f, fi_reply_kind_t kind, int error, const void *data,
                 uint64_t size);
    /* It is done with: frees it. */
    void (*done)(fi_far_request_t *f);

    int (*client_open)(ferry_client_t *k);
    /* Forgets the client and its calls. */
    void (*client_close)(ferry_client_t *k);
    /* Sends it, outside of any end. `c` NULL: one way. */
    int (*start)(ferry_client_t *k, ferry_call_t *c, const struct fi_wish *wish, const fi_call_head_t *head);
    /* Puts what has come into the client's books. False: nothing had. */
    bool (*take_in)(ferry_client_t *k);
    /* Waits a moment for the answer to the only call under way, without a nudge. False: nothing came. */
    bool (*take_direct)(ferry_client_t *k, int64_t timeout);
    /* The client's descriptor is polled: calls that wait long make it readable now and then. 0, or -EAGAIN: no
     * thread. */
    int (*watch)(ferry_client_t *k);
    /* Looks after calls that wait long; returns when that is to be done again. */
    int64_t (*tend)(ferry_client_t *k, int64_t now);
    void (*cancel)(ferry_call_t *c);
    /* The program has taken so many more results. */
    void (*consumed)(ferry_call_t *c, uint32_t count);
    void (*forget)(ferry_call_t *c);
    /* The key (node/waits.h) of whoever has the call; 0: not known. */
    uint64_t (*holder)(const ferry_call_t *c);
    /* ns that a call there takes from start to end; negative: nobody is known there. */
    int64_t (*expected)(ferry_client_t *k);
    /* How many server threads are there; waits for no more than a moment, or, where no service of Ferry's answers, a
     * second, and not beyond the deadline. */
    unsigned (*servers)(ferry_client_t *k, int64_t deadline);
} fi_far_calls_t;

/* Set before the first networked space is opened. */
extern const fi_far_calls_t *fi_far_calls;

/* The service can be reached from afar, takes in what is on its way, and cannot be reached any more, where its space
 * spans machines. */
int fi_far_offer(struct ferry_service *s);
void fi_far_drain(struct ferry_service *s);
void fi_far_withdraw(struct ferry_service *s);

/* Any thread. */
void fi_far_push(struct ferry_service *s, fi_far_request_t *f);
/* NULL: none waits. It is this worker's from now on. */
fi_far_request_t *fi_far_take(struct ferry_service *s, struct fi_worker *w);
/* The worker has returned from it. */
void fi_far_end(struct ferry_service *s, fi_far_request_t *f);
/* The thread that runs it has ended. Any thread. */
bool fi_far_has_died(struct ferry_service *s, const fi_far_request_t *f);
/* The thread that runs it; 0: none does. Any thread. */
int32_t fi_far_thread(struct ferry_service *s, const fi_far_request_t *f);
/* The head has changed: if its worker sleeps for that, it looks again. Any thread. */
void fi_far_changed(struct ferry_service *s, fi_far_request_t *f);

#endif

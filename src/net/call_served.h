/* SPDX-License-Identifier: MIT
 *
 * net/call_served.h - requests from afar while they are here: what the files that take, answer and look after them
 * share.
 */
#ifndef FI_NET_CALL_SERVED_H
#define FI_NET_CALL_SERVED_H

#include "net/calls.h"

#define FI_CALLS_USUAL_QUOTA (UINT64_C(64) << 20)
#define FI_CALLS_IDLE_NS 10000000000ll /* a transfer of which nothing has been heard for so long may be given up */

/* A request. Its bytes follow it, or are `whole`. */
typedef struct fi_served {
    fi_far_request_t f;
    struct fi_list link; /* in calls->served, if `ours` */
    fi_calls_t *calls;
    fi_far_service_t *fs;
    fi_endpoint_t *endpoint; /* NULL: there is no such method */
    bool ours;               /* a client of Ferry's calls */
    bool coming;             /* its argument is not all here */
    bool answering;          /* its last answer is on its way; guarded by the lock, as is `reply` */
    uint32_t known_as;       /* the attempt by which its client knows it: the last one; guarded by the lock */
    uint32_t results;
    int64_t begun;
    int64_t heard_at;
    uint64_t have;
    uint64_t asked; /* of the argument, so far */
    unsigned char *whole;
    char reply[FI_SUBJECT_MAX];
} fi_served_t;

static inline fi_served_t *fi_served_of(fi_far_request_t *f) {
    return fi_container(f, fi_served_t, f);
}

/* What is sent back. */
typedef struct fi_far_answer {
    const char *result; /* Ferry-Result; NULL: none */
    char code[16];      /* Nats-Service-Error-Code; "": none */
    const char *error;
    const void *data;
    size_t size;
} fi_far_answer_t;

/* ---- call_service.c ---- */

/* With the lock. `attempt` 0: any. */
fi_served_t *fi_served_find(fi_calls_t *calls, const fi_call_frame_t *q, uint32_t attempt);
/* With the lock: takes it out of the lists. */
void fi_served_take_out(fi_served_t *v);
/* It is in no list any more. */
void fi_served_free(fi_served_t *v);
/* With the lock: asks for the next pieces of an argument. */
void fi_served_ask(fi_served_t *v);

/* ---- call_frames.c ---- */

/* With the lock: the client has sent again what is here already, and hears so. False: it is not here, or cannot go
 * on. */
bool fi_served_is_again(fi_calls_t *calls, const fi_served_t *again);

/* ---- call_replies.c ---- */

int fi_far_answer_send(fi_calls_t *calls, const char *subject, const fi_far_answer_t *a);
/* Says to a client, one of Ferry's if it is `ours`, that its call is not run, and why: a negative errno. */
int fi_far_answer_refuse(fi_calls_t *calls, const char *subject, bool ours, int why);
/* With the lock, as the next one: a result that waits to be fetched. NULL: it is not there any more. */
fi_outgoing_t *fi_outgoing_find(fi_calls_t *calls, uint64_t serial);
void fi_outgoing_drop(fi_calls_t *calls, fi_outgoing_t *o);

#endif

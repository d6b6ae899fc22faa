/* SPDX-License-Identifier: MIT
 *
 * What is answered to requests from afar.  A result that is larger than a message is kept here until the client has
 * fetched it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/call_served.h"
#include "platform/clock.h"

#define LOOK_NS 250000000ll

/* ---- answering ---- */

/* A header is one line, and not empty: libnats takes the next one for what an empty one says. */
static void one_line(const char *from, char *to, size_t cap) {
    size_t i = 0;

    for (; from[i] && i + 1 < cap; i++) {
        to[i] = (unsigned char)from[i] < ' ' || from[i] == 0x7f ? ' ' : from[i];
    }
    to[i] = '\0';
    if (to[strspn(to, " ")] == '\0') {
        snprintf(to, cap, "the procedure gives no reason");
    }
}

int fi_far_answer_send(fi_calls_t *calls, const char *subject, const fi_far_answer_t *a) {
    natsConnection *c = calls->net->control;
    natsMsg *msg = NULL;
    char line[512];

    if (!a->result && !a->code[0]) {
        natsStatus s = fi_calls_publish(calls, c, subject, NULL, a->data, a->size);
        return s == NATS_OK ? 0 : fi_net_fail(calls->net, s, "answer", subject);
    }
    natsStatus s = fi_nats.natsMsg_Create(&msg, subject, NULL, a->data, (int)a->size);
    if (s == NATS_OK && a->result) {
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Result", a->result);
    }
    if (s == NATS_OK && a->code[0]) {
        one_line(a->error, line, sizeof line);
        s = fi_nats.natsMsgHeader_Set(msg, "Nats-Service-Error", line);
        s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Service-Error-Code", a->code) : s;
    }
    s = s == NATS_OK ? fi_calls_publish_msg(calls, c, &msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s == NATS_OK ? 0 : fi_net_fail(calls->net, s, "answer", subject);
}

int fi_far_answer_refuse(fi_calls_t *calls, const char *subject, bool ours, int why) {
    static const struct {
        int why;
        const char *code;
        const char *words;
    } reasons[] = {
        {ENOSYS, "404", "the service has no such method"},
        {EBUSY, "429", "the client has as many calls under way as the service allows"},
        {ECONNRESET, "409", "it may have run on another server"},
        {ENOTSUP, "406", "the method answers with several results"},
        {ESHUTDOWN, "503", "the server is stopping"},
        {ECANCELED, "503", "the server is stopping"},
        {EMSGSIZE, "413", "the argument is too large"},
        {EPROTO, "400", "this node and the caller's are of two versions of Ferry that do not understand each other"},
    };
    char result[32];
    fi_far_answer_t a = {.code = "500", .error = "the call was refused"};

    if (!subject[0]) {
        return 0;
    }
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].why == -why) {
            snprintf(a.code, sizeof a.code, "%s", reasons[i].code);
            a.error = reasons[i].words;
        }
    }
    snprintf(result, sizeof result, "refused %x", (unsigned)-why);
    a.result = ours ? result : NULL;
    return fi_far_answer_send(calls, subject, &a);
}

/* ---- results that are fetched ---- */

void fi_outgoing_drop(fi_calls_t *calls, fi_outgoing_t *o) {
    fi_list_remove(&o->link);
    calls->outgoing_bytes -= o->size;
    pthread_cond_broadcast(&calls->changed);
    free(o->bytes);
    free(o);
}

fi_outgoing_t *fi_outgoing_find(fi_calls_t *calls, uint64_t serial) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &calls->outgoing) {
        fi_outgoing_t *o = fi_container(at, fi_outgoing_t, link);
        if (o->serial == serial) {
            return o;
        }
    }
    return NULL;
}

/* Without the lock: a node that has gone fetches nothing. Each node is asked once. */
static void look_after_outgoing(fi_calls_t *calls) {
    uint64_t node = 0;
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&calls->lock);
    fi_list_each(at, after, &calls->outgoing) {
        const fi_outgoing_t *o = fi_container(at, fi_outgoing_t, link);
        if (fi_now_ns() - o->used_at > FI_CALLS_IDLE_NS) {
            node = o->node;
            break;
        }
    }
    pthread_mutex_unlock(&calls->lock);
    if (node == 0) {
        return;
    }
    bool gone = fi_net_is_there(calls->net, node, LOOK_NS) == 0 && !fi_calls_is_settling(calls, fi_now_ns());
    pthread_mutex_lock(&calls->lock);
    fi_list_each(at, after, &calls->outgoing) {
        fi_outgoing_t *o = fi_container(at, fi_outgoing_t, link);
        if (o->node == node && gone) {
            fi_outgoing_drop(calls, o);
        } else if (o->node == node) {
            o->used_at = fi_now_ns(); /* not again at once */
        }
    }
    pthread_mutex_unlock(&calls->lock);
}

static int over(const ferry_request_t *rq) {
    return fi_fail(fi_load_acquire32(&rq->head->flags) & FI_CALL_CANCELLED ? -ECANCELED : -ETIME,
                   "nobody waits for the answer of \"%s\" any more", rq->method->name);
}

/* Waits until `serial` is not there any more (0: until there is room for `size`). With the lock. */
static int await_outgoing(fi_calls_t *calls, const ferry_request_t *rq, uint64_t serial, uint64_t size) {
    uint64_t quota = rq->worker->service->quota ? rq->worker->service->quota : FI_CALLS_USUAL_QUOTA;

    for (;;) {
        bool there = serial ? fi_outgoing_find(calls, serial) == NULL : calls->outgoing_bytes + size <= quota;
        if (there) {
            return 0;
        }
        if (calls->closed) {
            return fi_fail(-EPIPE, "the node was closed: nobody hears the answer of \"%s\"", rq->method->name);
        }
        pthread_mutex_unlock(&calls->lock);
        bool is_over = fi_request_is_cancelled(rq);
        look_after_outgoing(calls);
        pthread_mutex_lock(&calls->lock);
        if (is_over) {
            return over(rq);
        }
        if (serial ? fi_outgoing_find(calls, serial) == NULL : calls->outgoing_bytes + size <= quota) {
            return 0;
        }
        struct timespec until = fi_timespec(fi_earlier(rq->call.deadline, fi_now_ns() + LOOK_NS));
        (void)pthread_cond_timedwait(&calls->changed, &calls->lock, &until);
    }
}

static int offer(fi_served_t *v, const ferry_request_t *rq, fi_reply_kind_t kind, const void *data, uint64_t size) {
    fi_calls_t *calls = v->calls;
    uint64_t quota = rq->worker->service->quota ? rq->worker->service->quota : FI_CALLS_USUAL_QUOTA;
    char result[160];
    fi_far_answer_t a = {.result = result};

    if (size > quota) {
        return fi_fail(-EMSGSIZE, "a result of %llu bytes is larger than the service's `quota` allows (%llu bytes)",
                       (unsigned long long)size, (unsigned long long)quota);
    }
    fi_outgoing_t *o = malloc(sizeof *o);
    unsigned char *bytes = o ? malloc(size) : NULL;
    if (!bytes) {
        free(o);
        return fi_fail(-ENOMEM, "no memory for a result of %llu bytes", (unsigned long long)size);
    }
    memcpy(bytes, data, size);
    *o = (fi_outgoing_t){.node = v->f.node,
                         .client = v->f.client,
                         .id = v->f.head.id,
                         .size = size,
                         .used_at = fi_now_ns(),
                         .bytes = bytes};
    pthread_mutex_lock(&calls->lock);
    int r = await_outgoing(calls, rq, 0, size);
    if (r < 0) {
        pthread_mutex_unlock(&calls->lock);
        free(bytes);
        free(o);
        return r;
    }
    uint64_t serial = o->serial = ++calls->last_serial;
    fi_list_add_tail(&calls->outgoing, &o->link);
    calls->outgoing_bytes += size;
    pthread_mutex_unlock(&calls->lock);
    snprintf(result, sizeof result, "large %x %x %" PRIx64 " %" PRIx64 " %" PRIx64, (unsigned)kind, v->results,
             calls->net->node->id, serial, size);
    r = fi_far_answer_send(calls, v->reply, &a);
    pthread_mutex_lock(&calls->lock);
    if (r < 0 && (o = fi_outgoing_find(calls, serial)) != NULL) {
        fi_outgoing_drop(calls, o);
    }
    if (r == 0 && kind == FI_REPLY_MORE) {
        r = await_outgoing(calls, rq, serial, 0); /* what follows must not overtake it */
    }
    pthread_mutex_unlock(&calls->lock);
    return r;
}

/* ---- answers of a handler ---- */

static int answer_error(fi_served_t *v, const unsigned char *data, uint64_t size) {
    fi_error_head_t head;
    fi_far_answer_t a = {.result = v->ours ? "error" : NULL, .data = data, .size = size};

    memcpy(&head, data, sizeof head);
    a.error = (const char *)data + sizeof head;
    snprintf(a.code, sizeof a.code, "%d", (int)head.code);
    if (!v->ours) {
        uint64_t before = fi_error_detail_at(head.words);
        a.data = data + before;
        a.size = size - before;
        if (a.size > fi_calls_piece(v->calls)) {
            a.size = 0;
        }
    }
    return fi_far_answer_send(v->calls, v->reply, &a);
}

static int answer(fi_served_t *v, const ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data,
                  uint64_t size) {
    char result[48];
    fi_far_answer_t a = {.data = data, .size = size};

    if (kind == FI_REPLY_REFUSED) {
        return fi_far_answer_refuse(v->calls, v->reply, v->ours, error);
    }
    if (size > fi_calls_piece(v->calls) && v->ours) {
        return offer(v, rq, kind, data, size);
    }
    switch (kind) {
    case FI_REPLY_MORE:
        snprintf(result, sizeof result, "more %x", v->results);
        a.result = result;
        break;
    case FI_REPLY_END:
        snprintf(result, sizeof result, "end %x", v->results);
        a.result = v->ours ? result : NULL;
        break;
    case FI_REPLY_ERROR:
        return answer_error(v, data, size);
    default:
        break;
    }
    if (size > v->calls->net->max_payload) {
        (void)fi_far_answer_refuse(v->calls, v->reply, false, -EMSGSIZE);
        return fi_fail(-EMSGSIZE, "a result of %llu bytes is larger than the NATS server's limit of %zu bytes",
                       (unsigned long long)size, v->calls->net->max_payload);
    }
    return fi_far_answer_send(v->calls, v->reply, &a);
}

int fi_far_service_reply(const ferry_request_t *rq, fi_far_request_t *f, fi_reply_kind_t kind, int error,
                         const void *data, uint64_t size) {
    fi_served_t *v = fi_served_of(f);

    pthread_mutex_lock(&v->calls->lock);
    v->answering = true; /* from here on `reply` does not change */
    pthread_mutex_unlock(&v->calls->lock);
    if (!v->reply[0]) {
        return 0;
    }
    if (!fi_calls_enter(v->calls)) {
        return fi_fail(-EPIPE, "the node was closed: nobody hears the answer of \"%s\"", rq->method->name);
    }
    int r = answer(v, rq, kind, error, data, size);
    v->results += r == 0 && kind == FI_REPLY_MORE;
    fi_calls_leave(v->calls);
    return r;
}

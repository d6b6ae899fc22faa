/* SPDX-License-Identifier: MIT
 *
 * A call that goes far, from its start to its end.  The calling thread sends the request, with the whole argument, and
 * what is to be said about it later.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/call_client.h"
#include "platform/cancel.h"
#include "platform/clock.h"
#include "platform/patience.h"

#define USUAL_QUOTA (UINT64_C(64) << 20)
#define SEEK_NS INT64_C(1000000000) /* patience with servers that do not answer */
#define SEEK_AGAIN_NS 10000000

/* ---- sending ---- */

void fi_far_reply_subject(const fi_far_client_t *fk, uint64_t id, uint32_t attempt, bool probe,
                          char out[FI_SUBJECT_MAX]) {
    snprintf(out, FI_SUBJECT_MAX, "%s.%" PRIx64 ".%" PRIx64 ".%x%s", fk->calls->inbox, fk->number, id, attempt,
             probe ? ".p" : "");
}

natsStatus fi_far_tell_deadline(natsMsg *msg, int64_t deadline) {
    char text[32];

    if (deadline == FI_NEVER) {
        return NATS_OK;
    }
    snprintf(text, sizeof text, "%" PRId64, fi_time_left(deadline));
    return fi_nats.natsMsgHeader_Set(msg, "Ferry-Deadline-Ns", text);
}

static natsStatus set_headers(const fi_far_client_t *fk, const fi_far_call_t *fc, uint64_t id, const char *method,
                              const char *word, int64_t deadline, bool is_large, natsMsg *msg) {
    char text[160];
    natsStatus s = NATS_OK;

    snprintf(text, sizeof text, "1 %" PRIx64 " %" PRIx64 " %" PRIx64 " %x %x %" PRIx64, fk->calls->net->node->id,
             fk->number, id, fc->attempt, fc->flags, is_large ? fc->size : 0);
    s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Call", text);
    s = s == NATS_OK ? fi_far_tell_deadline(msg, deadline) : s;
    if (s == NATS_OK && strcmp(word, method) != 0) {
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Method", method);
    }
    return s;
}

const fi_foreign_t *fi_far_find_foreign(const fi_far_client_t *fk, const char *method) {
    const fi_foreign_t *f = fk->foreign;

    while (f && strcmp(f->name, method) != 0) {
        f = f->next;
    }
    return f;
}

/* To whoever takes it. `id` 0: one way. */
static int send_request(fi_far_client_t *fk, fi_far_call_t *fc, uint64_t id, const char *method, int64_t deadline) {
    fi_net_t *net = fk->calls->net;
    char subject[FI_SUBJECT_MAX + FI_METHOD_NAME_MAX + 2];
    char word[FI_METHOD_NAME_MAX + 1];
    char reply[FI_SUBJECT_MAX];
    bool is_large = fc->size > fi_calls_piece(fk->calls);
    const fi_foreign_t *foreign = fk->foreign ? fi_far_find_foreign(fk, method) : NULL;
    natsMsg *msg = NULL;

    fi_calls_method(method, word, sizeof word);
    if (word[0] == '\0') {
        return -ENOSYS; /* no subject ends with a dot, no method has no name */
    }
    snprintf(subject, sizeof subject, "%s.%s", fk->prefix, word);
    fi_far_reply_subject(fk, id, fc->attempt, false, reply);
    fc->foreign = foreign != NULL;
    if (fk->direct == fc && id != FI_CALLS_CLIENTS_OWN && fc->look_at == 0) {
        snprintf(reply, sizeof reply, "%s.%" PRIx64 ".%" PRIx64 ".%x", fk->direct_inbox, fk->number, id, fc->attempt);
    }
    if (foreign && is_large) {
        return fi_fail(-EMSGSIZE,
                       "an argument of %" PRIu64 " bytes is larger than a message of the NATS server's may be",
                       fc->size);
    }
    natsStatus s = fi_nats.natsMsg_Create(&msg, foreign ? foreign->subject : subject, reply, (const char *)fc->data,
                                          is_large ? 0 : (int)fc->size);
    if (s == NATS_OK) {
        s = foreign ? fi_far_tell_deadline(msg, deadline)
                    : set_headers(fk, fc, id, method, word, deadline, is_large, msg);
    }
    s = s == NATS_OK ? fi_calls_publish_request(fk->calls, &msg, fc->c ? fc : NULL, deadline) : s;
    fi_nats.natsMsg_Destroy(msg);
    int r = s == NATS_OK ? 0 : fi_net_fail(net, s, "call", fk->k->service);
    return r == -ETIMEDOUT ? -ENOTCONN : r; /* it is the line that was not ready in time */
}

int fi_far_call_send(fi_far_client_t *fk, fi_far_call_t *fc) {
    fi_calls_take_back(fk->calls, fc); /* it is sent once */
    fc->again_at = 0;
    fc->server = 0;
    fc->silent = 0;
    fc->cut = false;
    fc->ask_at = fi_now_ns() + FI_CALLS_ASK_NS;
    return send_request(fk, fc, fc->c->id, fc->c->method, fc->c->deadline);
}

void fi_far_call_frame(fi_far_client_t *fk, const fi_far_call_t *fc, uint64_t to, fi_call_frame_t f, bool answered,
                       bool probe) {
    char reply[FI_SUBJECT_MAX];

    fi_far_reply_subject(fk, fc->c->id, fc->attempt, probe, reply);
    f.node = fk->calls->net->node->id;
    f.client = fk->number;
    f.id = fc->c->id;
    f.attempt = fc->attempt;
    (void)fi_calls_send_frame(fk->calls, fk->calls->net->control, to, &f, answered ? reply : NULL, NULL, 0);
}

/* ---- a call's end ---- */

static void drop_coming(fi_far_call_t *fc) {
    if (fc->coming) {
        (void)fi_alone_release(fc->coming);
        fc->coming = NULL;
    }
}

/* What is answered there is not wanted any more, and must not be taken for something else. */
static void leave_direct(fi_far_client_t *fk, const fi_far_call_t *fc) {
    if (fk->direct == fc) {
        fk->direct = NULL;
        fi_calls_unsubscribe(fk->calls, fk->direct_sub);
        fk->direct_sub = NULL;
    }
}

/* The argument is not needed any more. */
void fi_far_call_over(fi_far_client_t *fk, fi_far_call_t *fc) {
    if (!fc->over) {
        fc->over = true;
        fi_calls_take_back(fk->calls, fc);
        fc->c->unsent = !fi_load_acquire32(&fc->sent);
        if (fc->attempt > 1) { /* the first one may still be answered */
            leave_direct(fk, fc);
        }
        fk->direct = fk->direct == fc ? NULL : fk->direct;
        fi_store_release32(&fk->open, fk->open - 1);
        fk->held -= fc->size;
        free(fc->data);
        fc->data = NULL;
        drop_coming(fc);
    }
}

void fi_far_call_tell_cancelled(fi_far_client_t *fk, const fi_far_call_t *fc) {
    if (!fc->foreign && fi_load_acquire32(&fc->sent)) {
        fi_far_call_frame(fk, fc, fc->server, (fi_call_frame_t){.type = FI_FRAME_CANCEL}, false, false);
    }
}

void fi_far_call_ends(fi_far_client_t *fk, fi_far_call_t *fc, int result) {
    fi_far_call_over(fk, fc);
    fi_call_end(fc->c, result);
}

void fi_far_call_cancel(ferry_call_t *c) {
    fi_far_call_t *fc = c->far;
    fi_far_client_t *fk = fi_far_of(c->client);

    if (!fc->over) {
        leave_direct(fk, fc);
        fi_far_call_over(fk, fc);
        fi_far_call_tell_cancelled(fk, fc);
    }
}

void fi_far_call_forget(ferry_call_t *c) {
    fi_far_call_t *fc = c->far;

    fi_far_call_cancel(c);
    c->far = NULL;
    free(fc);
}

void fi_far_call_consumed(ferry_call_t *c, uint32_t count) {
    fi_far_call_t *fc = c->far;

    fc->consumed += count;
    if (!fc->over) {
        fi_far_call_frame(fi_far_of(c->client), fc, fc->server,
                          (fi_call_frame_t){.type = FI_FRAME_CONSUMED, .a = fc->consumed}, false, false);
    }
}

/* Nobody has it any more: perhaps it has run. Whoever is next runs it if that does no harm. */
void fi_far_call_try_next(fi_far_client_t *fk, fi_far_call_t *fc) {
    fi_far_client_look_direct(fk);
    if (fc->over) {
        return;
    }
    bool may_retry = !(fc->c->streams && fc->c->results > 0) && ++fc->tries <= FI_CALLS_MOST_TRIES && !fc->foreign;

    drop_coming(fc);
    if (!may_retry) {
        fi_far_call_tell_cancelled(fk, fc);
        fi_far_call_ends(fk, fc, -ECONNRESET);
        return;
    }
    fc->attempt += fc->given || fc->size <= fi_calls_piece(fk->calls);
    fc->given = fc->uploaded = false;
    fc->results = 0;
    int r = fi_far_call_send(fk, fc);
    if (r < 0) {
        fi_far_call_ends(fk, fc, -ECONNRESET);
    }
}

/* ---- starting ---- */

/* The whole argument goes over before the call counts as started. */
static int upload(fi_far_client_t *fk, fi_far_call_t *fc) {
    fi_calls_t *calls = fk->calls;
    const ferry_call_t *c = fc->c;

    while (c->open && !fc->uploaded) {
        fi_cancel_chance(fk->cancel);
        int64_t now = fi_now_ns();
        if (now >= c->deadline) {
            return fi_fail(-ETIMEDOUT, "the time for \"%s\" has passed before its argument was sent", c->method);
        }
        if (fi_node_is_shut(calls->net->node)) {
            return fi_fail(-ESHUTDOWN, "the node was shut down while \"%s\" was called", c->method);
        }
        int64_t next = fi_far_client_tend(fk->k, now);
        pthread_mutex_lock(&calls->lock);
        fk->waits = true;
        if (!fk->first) {
            struct timespec until = fi_timespec(fi_earlier(fi_earlier(next, c->deadline), now + FI_CALLS_ASK_NS));
            (void)pthread_cond_timedwait(&calls->changed, &calls->lock, &until);
        }
        fk->waits = false;
        pthread_mutex_unlock(&calls->lock);
        (void)fi_far_client_take_in(fk->k);
    }
    return 0;
}

static uint64_t quota_of(const ferry_client_t *k) {
    return k->tx->pool.quota ? k->tx->pool.quota : USUAL_QUOTA;
}

static int check_size(const fi_far_client_t *fk, uint64_t size) {
    uint64_t quota = quota_of(fk->k);

    if (size > quota) {
        return fi_fail(-EMSGSIZE,
                       "an argument of %" PRIu64 " bytes is larger than the client's `quota` allows (%" PRIu64
                       " bytes)",
                       size, quota);
    }
    if (size > quota - fk->held) {
        return fi_fail(-EDQUOT,
                       "the client's `quota` is used up by arguments of calls under way: wait for some to end");
    }
    return 0;
}

#define UP_LOOK_NS 5000000

/* Until it is looked for a connection again. -EINTR: who has all the time must be able to give it up. */
static int wait_a_little(const fi_far_client_t *fk, const char *method, int64_t until) {
    struct pollfd halt = {.fd = fk->calls->net->node->halt, .events = POLLIN};
    struct timespec t = fi_timespec(fi_time_left(until));

    return ppoll(&halt, 1, &t, NULL) >= 0
               ? 0
               : fi_fail(-EINTR, "a signal came before there was a connection to send \"%s\" of the service \"%s\" by",
                         method, fk->k->service);
}

/* What is not answered is sent while there is a connection, at once, or not at all: nobody would hear that it was
 * lost, and it must not run after its time. */
static int await_connection(const fi_far_client_t *fk, const char *method, int64_t deadline) {
    const fi_net_t *net = fk->calls->net;

    while (!fi_calls_goes_at_once(fk->calls)) {
        fi_cancel_chance(fk->cancel);
        int64_t now = fi_now_ns();
        if (now >= deadline) {
            return fi_fail(-ETIME,
                           "there was no connection to a server until the time for \"%s\" of the service \"%s\" had "
                           "passed: it was not sent",
                           method, fk->k->service);
        }
        if (fi_node_is_shut(net->node)) {
            return fi_fail(-ESHUTDOWN, "the node was shut down while \"%s\" was called", method);
        }
        int r = 0;
        if (fi_net_is_up(net)) {
            fi_calls_await_few(fk->calls, 0, fi_earlier(deadline, now + FI_CALLS_ASK_NS));
        } else {
            r = wait_a_little(fk, method, fi_earlier(deadline, now + UP_LOOK_NS));
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Servers on a busy machine answer late, and come back later than we; else that nobody has such a name is told at once. */
static int find_servers(fi_far_client_t *fk, const char *method, int64_t deadline) {
    fi_patience_t patience = {.left = SEEK_NS};

    do {
        int r = await_connection(fk, method, deadline);
        if (r < 0) {
            return r;
        }
        (void)fi_patience_slice(&patience); /* asking takes time, too */
        if (fi_far_client_servers(fk->k, deadline) > 0) {
            return 0;
        }
        if (fk->unknown && !fi_calls_is_settling(fk->calls, fi_now_ns())) {
            break;
        }
        if (fi_now_ns() >= deadline) {
            return fi_fail(-ETIME, "the time for \"%s\" has passed before anybody said that he serves \"%s\"", method,
                           fk->k->service);
        }
        fi_sleep_until(fi_now_ns() + SEEK_AGAIN_NS);
    } while (fi_patience_goes_on(&patience));
    return fi_fail(-ENOENT, "nobody serves \"%s\" in the space \"%s\": start a server", fk->k->service,
                   fk->calls->net->address.space);
}

static int start_one_way(fi_far_client_t *fk, const fi_wish_t *wish, const fi_call_head_t *head) {
    fi_far_call_t fc = {.data = (unsigned char *)(uintptr_t)(wish->m ? wish->m->data : wish->data),
                        .size = wish->m ? wish->m->size : wish->size,
                        .flags = head->flags & (FI_CALL_ONE_WAY | FI_CALL_STREAMS),
                        .attempt = 1};

    char method[FI_METHOD_NAME_MAX + 1];
    snprintf(method, sizeof method, "%s", wish->method);
    int r = await_connection(fk, method, head->deadline);
    if (r == 0 && (fk->nobody || fi_now_ns() - fk->known_at > FI_CALLS_KNOWN_NS)) {
        (void)fi_far_client_take_in(fk->k);
        r = find_servers(fk, method, head->deadline);
    }
    if (r < 0) {
        return r;
    }
    r = send_request(fk, &fc, FI_CALLS_CLIENTS_OWN, method, head->deadline);
    return r == -ENOSYS ? fi_fail(r, "the service \"%s\" has no method without a name", fk->k->service) : r;
}

static fi_far_call_t *new_call(fi_far_client_t *fk, ferry_call_t *c, const fi_wish_t *wish, uint32_t flags) {
    fi_far_call_t *fc = calloc(1, sizeof *fc);
    const void *data = wish->m ? wish->m->data : wish->data;

    if (!fc) {
        return NULL;
    }
    fc->c = c;
    fc->size = wish->m ? wish->m->size : wish->size;
    fc->data = malloc(fc->size ? fc->size : 1);
    if (!fc->data) {
        free(fc);
        return NULL;
    }
    if (fc->size > 0) {
        memcpy(fc->data, data, fc->size);
    }
    fc->flags = flags;
    fc->attempt = 1;
    fc->begun = fi_now_ns();
    fc->denials = fi_load_acquire32(&fk->calls->net->denials);
    fk->held += fc->size;
    fi_store_release32(&fk->open, fk->open + 1);
    if (fk->k->rx->fd_mode) {
        pthread_mutex_lock(&fk->calls->lock);
        if (fk->calls->resting) {
            fk->calls->resting = false;
            pthread_cond_broadcast(&fk->calls->changed);
        }
        pthread_mutex_unlock(&fk->calls->lock);
    }
    c->far = fc;
    return fc;
}

static int start(fi_far_client_t *fk, ferry_call_t *c, const fi_wish_t *wish, uint32_t flags, uint32_t awaited) {
    fi_far_call_t *fc = new_call(fk, c, wish, flags);

    if (!fc) {
        return fi_fail(-ENOMEM, "no memory for a call of the service \"%s\"", fk->k->service);
    }
    if (fi_far_call_is_alone(fk, fc, awaited)) {
        fk->direct = fc;
    }
    int r = fi_far_call_send(fk, fc);
    if (r == -ENOSYS) {
        fi_far_call_ends(fk, fc, r);
        return 0;
    }
    return r == 0 && fc->size > fi_calls_piece(fk->calls) ? upload(fk, fc) : r;
}

/* One whose argument needs several messages: it is a call until it is there. */
static int start_large_one_way(fi_far_client_t *fk, const fi_wish_t *wish, const fi_call_head_t *head) {
    ferry_call_t *c = fi_call_new(fk->k);

    if (!c) {
        return fi_fail(-ENOMEM, "no memory for a call of the service \"%s\"", fk->k->service);
    }
    c->method = wish->method;
    c->number = fi_method_hash(wish->method, wish->length);
    c->deadline = head->deadline;
    c->streams = false;
    c->awaited = true;
    int r = start(fk, c, wish, FI_CALL_ONE_WAY, 0);
    if (r == 0 && !c->open) {
        r = c->result;
        (void)fi_call_tell_result(c);
    } else if (r == 0) {
        fi_far_call_over(fk, c->far); /* it goes on without us */
    }
    fi_call_end(c, r);
    fi_call_free(c);
    return r;
}

int fi_far_call_start(ferry_client_t *k, ferry_call_t *c, const fi_wish_t *wish, const fi_call_head_t *head) {
    fi_far_client_t *fk = fi_far_of(k);
    uint64_t size = wish->m ? wish->m->size : wish->size;

    if (wish->m && wish->m->magic != FI_MSG_SENT && wish->m->magic != FI_MSG_TAKEN) {
        return fi_fail(-EBADF, "this message handle was released before, or is none");
    }
    if (fi_node_is_shut(fk->calls->net->node)) {
        return fi_fail(-ESHUTDOWN, "the node was shut down: nothing can be called any more");
    }
    fi_calls_await_few(fk->calls, FI_CALLS_MUCH, head->deadline);
    int r = check_size(fk, size);
    r = r == 0 ? fi_far_open_inbox(fk->calls) : r;
    if (r < 0) {
        return r;
    }
    if (!c) {
        return size > fi_calls_piece(fk->calls) ? start_large_one_way(fk, wish, head) : start_one_way(fk, wish, head);
    }
    return start(fk, c, wish, head->flags & FI_CALL_STREAMS, head->flags & FI_CALL_AWAITED);
}

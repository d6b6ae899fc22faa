/* SPDX-License-Identifier: MIT
 *
 * One call after the other: taken, looked at, run, answered, released.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "platform/clock.h"
#include "rpc/service.h"
#include "rpc/take.h"

/* ---- may it be run ---- */

/* Who called. */
static int describe(fi_worker_t *w, ferry_request_t *rq, int64_t *now) {
    const fi_rxlink_t *l = rq->m->link;
    fi_caller_t *c = w->last_caller;

    rq->attempt = fi_taken_attempt(rq->m);
    if (rq->call.flags & FI_CALL_ONE_WAY) {
        rq->caller = NULL;
        return 0;
    }
    if (fi_unlikely(!c || c->end != l->tx || c->node != l->peer->id)) {
        c = fi_caller_find(w, l->peer->id, l->tx);
        *now = fi_now_about(); /* a way for its answers may have been opened */
    }
    rq->caller = c;
    return c ? 0 : -EPIPE;
}

/* 0, or why it is not to be run. */
static int look_at(const ferry_request_t *rq, int64_t now) {
    if (fi_unlikely(rq->call.flags & FI_CALL_CANCELLED)) {
        return -ECANCELED;
    }
    if (fi_unlikely(now >= rq->call.deadline)) {
        return -ETIME;
    }
    if (fi_unlikely(!rq->method)) {
        return -ENOSYS;
    }
    if (fi_unlikely(rq->attempt > 1 && !rq->method->idempotent)) {
        return -ECONNRESET;
    }
    bool takes_one = !(rq->call.flags & (FI_CALL_STREAMS | FI_CALL_ONE_WAY));
    return fi_unlikely(rq->method->streams && takes_one) ? -ENOTSUP : 0;
}

/* Nobody waits for the answer to what was cancelled or has expired: its caller knows that by itself. */
static void refuse(fi_worker_t *w, ferry_request_t *rq, int why) {
    static const fi_method_t unknown = {.name = "?"};
    bool is_late = why == -ECANCELED || why == -ETIME;
    uint64_t *count = is_late ? &w->expired : &w->refused;

    fi_store_relaxed64(count, *count + 1);
    if (!is_late) {
        rq->method = rq->method ? rq->method : &unknown;
        (void)fi_reply(rq, FI_REPLY_REFUSED, why, NULL, 0);
    }
}

/* ---- running it ---- */

/* The client cannot be answered, and must not wait for ever: it loses its link, and with that learns what it has
 * lost. */
static void expel(fi_worker_t *w, const ferry_request_t *rq, const char *why) {
    if (rq->m && fi_end_enter(&w->rx->end, FI_END_RECEIVER) == 0) {
        if (!rq->m->link->detached) {
            fi_receiver_expel(w->rx, rq->m->link, why);
        }
        fi_end_leave(&w->rx->end);
    }
}

/* What is left to be said after the handler has returned `r`. */
static void finish(fi_worker_t *w, ferry_request_t *rq, int r) {
    if (rq->answered) {
        return;
    }
    r = r == 0 ? rq->unsaid : r; /* what could not be said is no empty result */
    if (r == 0) {
        bool streams = (rq->call.flags & FI_CALL_STREAMS) && rq->method->streams;
        r = fi_reply(rq, streams ? FI_REPLY_END : FI_REPLY_RESULT, 0, NULL, 0);
    } else if (r == -ECANCELED) {
        r = fi_reply(rq, FI_REPLY_REFUSED, r, NULL, 0);
    } else {
        r = fi_reply_error(rq, r, strerror(r < 0 ? -r : r), NULL, 0);
    }
    if (fi_unlikely(r < 0 && !fi_request_is_over(rq))) {
        expel(w, rq, "the server could not answer");
    }
}

static __thread const fi_worker_t *inside __attribute__((tls_model("initial-exec")));

bool fi_service_is_mine(const ferry_service_t *s) {
    return inside && (!s || inside->service == s);
}

bool fi_service_is_of_mine(const fi_node_t *n) {
    return inside && inside->service->node == n;
}

static void run(fi_worker_t *w, ferry_request_t *rq, int64_t now) {
    fi_store_relaxed64(&w->calls, w->calls + 1);
    fi_store_relaxed64(&w->rx->page->busy_since, (uint64_t)now);
    fi_store_relaxed32(&w->serving, 1);
    fi_serving_until = rq->call.deadline;
    inside = w;
    finish(w, rq, rq->method->handler(rq, rq->data, rq->size, rq->method->arg));
    inside = NULL;
    fi_serving_until = FI_NEVER;
    fi_store_relaxed32(&w->serving, 0);
}

/* A handler has returned, after so many ns. */
static void count(fi_worker_t *w, struct fi_receiver_page *page, uint64_t spent) {
    uint64_t usual = fi_load_relaxed64(&page->usual_ns);

    fi_store_relaxed64(&page->usual_ns, usual == 0 ? spent + 1 : usual - usual / 8 + spent / 8);
    if (w->request.failed) {
        fi_store_relaxed64(&w->errors, w->errors + 1);
    }
    fi_store_relaxed64(&w->busy_ns, w->busy_ns + spent);
    fi_times_add(&w->times, spent);
}

/* The bytes and the head, as far as they can be believed. */
static bool read_call(fi_worker_t *w, ferry_msg_t *m) {
    ferry_request_t *rq = &w->request;
    uint64_t size;
    const fi_call_head_t *head = fi_head_of(m, &size);

    if (fi_unlikely(!head)) {
        return false;
    }
    rq->m = m;
    rq->head = head;
    rq->call.id = head->id; /* each is read once */
    rq->call.deadline = (int64_t)fi_load_relaxed64((const uint64_t *)&head->deadline);
    rq->call.method = fi_load_relaxed64(&head->method);
    rq->call.flags = fi_load_relaxed32(&head->flags);
    if (rq->call.flags & FI_CALL_ONE_WAY) {
        rq->call.flags &= ~FI_CALL_STREAMS;
    }
    rq->base = fi_load_relaxed32(&head->consumed);
    m->size = size;
    rq->data = m->data;
    rq->size = size;
    rq->answered = false;
    rq->failed = false;
    rq->unsaid = 0;
    rq->sent = rq->consumed = 0;
    rq->waiting = 0;
    return true;
}

/* True: its handler has run. */
static bool serve_one(fi_worker_t *w, ferry_msg_t *m, int64_t now) {
    ferry_request_t *rq = &w->request;

    rq->waits = false;
    if (fi_unlikely(!read_call(w, m))) {
        return false;
    }
    rq->magic = FI_REQUEST_MAGIC;
    rq->method = fi_service_find(w->service, rq->call.method);
    int r = describe(w, rq, &now);
    if (fi_unlikely(r < 0)) {
        expel(w, rq, "the server has no memory or descriptors left to answer with");
    } else {
        r = look_at(rq, now);
        if (fi_likely(r == 0)) {
            run(w, rq, now);
        } else {
            refuse(w, rq, r);
        }
    }
    rq->magic = FI_RPC_ENDED;
    return r == 0;
}

/* ---- from afar ---- */

static bool has_far(const fi_worker_t *w) {
    return fi_load_acquire32(&w->service->far.waiting) != 0;
}

static void read_far(ferry_request_t *rq, fi_far_request_t *f) {
    rq->m = NULL;
    rq->far = f;
    rq->head = &f->head;
    rq->call.id = f->head.id;
    rq->call.deadline = f->head.deadline;
    rq->call.method = f->head.method;
    rq->call.flags = fi_load_acquire32(&f->head.flags);
    rq->data = f->data;
    rq->size = f->size;
    rq->caller = NULL;
    rq->answered = rq->waits = rq->failed = false;
    rq->unsaid = 0;
    rq->attempt = f->attempt;
    rq->base = rq->sent = rq->consumed = 0;
    rq->waiting = 0;
}

/* Serves one, if there is any. */
static void serve_far(fi_worker_t *w) {
    ferry_service_t *s = w->service;
    ferry_request_t *rq = &w->request;
    fi_far_request_t *f = fi_far_take(s, w);

    if (!f) {
        return;
    }
    int64_t now = fi_now_about();
    read_far(rq, f);
    rq->magic = FI_REQUEST_MAGIC;
    rq->method = fi_service_find(s, rq->call.method);
    int r = look_at(rq, now);
    if (fi_likely(r == 0)) {
        run(w, rq, now);
    } else {
        refuse(w, rq, r);
    }
    rq->magic = FI_RPC_ENDED;
    rq->far = NULL;
    f->failed = rq->failed;
    fi_far_end(s, f);
    fi_far_calls->done(f);
    int64_t then = fi_now_about();
    const fi_receiver_t *rx = fi_load_relaxed_ptr(&w->rx);
    if (r == 0 && rx) {
        count(w, rx->page, then > now ? (uint64_t)(then - now) : 0);
        fi_store_relaxed64(&rx->page->busy_since, (uint64_t)-then);
    }
    w->left -= w->left != UINT32_MAX;
}

/* ---- one after the other ---- */

static int take(fi_worker_t *w, int64_t timeout, ferry_msg_t **m) {
    fi_receiver_t *rx = fi_load_relaxed_ptr(&w->rx);

    if (fi_unlikely(!rx)) {
        return fi_fail(-EBADF, "the node of the service \"%s\" was closed", w->service->name);
    }
    return fi_take(rx, timeout, m);
}

static bool is_stopping(const fi_worker_t *w) {
    return fi_load_acquire32(&w->service->stopping) != 0;
}

static bool is_hurried(const fi_worker_t *w) {
    return fi_load_acquire32(&w->service->hurry) != 0;
}

static bool is_enough(const fi_worker_t *w) {
    return w->left == 0 || (w->until != FI_NEVER && fi_now_about() >= w->until);
}

/* The call is done with; returns the next one, if that is there already and nothing else is to be done before. */
static ferry_msg_t *release_and_take(fi_worker_t *w, ferry_msg_t *m) {
    bool goes_on = !fi_load_acquire32(&w->sweep) && !has_far(w) && !is_stopping(w) && !is_enough(w);
    fi_receiver_t *rx = m->link->rx;
    ferry_msg_t *next = NULL;

    if (fi_unlikely(w->request.waits && w->request.caller)) {
        fi_caller_owe(w->request.caller, m);
        return NULL;
    }
    if (fi_unlikely(fi_end_enter(&rx->end, FI_END_RECEIVER) < 0)) {
        (void)fi_taken_release(m);
        return NULL;
    }
    fi_taken_release_inside(rx, m);
    if (goes_on) {
        (void)fi_receiver_take_quick(rx, &next);
    }
    fi_end_leave(&rx->end);
    return next;
}

/* Serves this call, and those that are there when it is done. One look at the clock is the end of one and the beginning
 * of the next. */
static void serve(fi_worker_t *w, ferry_msg_t *m) {
    int64_t now = fi_now_about();

    while (m) {
        bool has_run = serve_one(w, m, now);
        w->left -= w->left != UINT32_MAX;
        m = release_and_take(w, m);
        int64_t then = fi_now_about();
        const fi_receiver_t *rx = fi_load_relaxed_ptr(&w->rx); /* NULL: the node was closed */
        if (fi_likely(has_run && rx)) {
            count(w, rx->page, then > now ? (uint64_t)(then - now) : 0);
            fi_store_relaxed64(&rx->page->busy_since, (uint64_t)-then);
        }
        now = then;
    }
}

/* Clients send to others from now on; what they have sent is done, also what is on its way from other machines. */
static int wind_up(fi_worker_t *w) {
    ferry_msg_t *m = NULL;
    int r;

    fi_store_release32(&w->rx->page->leaves, 1);
    fi_fence_seq_cst();
    do {
        r = is_hurried(w) ? -EAGAIN : take(w, FERRY_NOW, &m);
        if (r == 0) {
            serve(w, m);
        }
    } while (r == 0 || r == -EALREADY || r == -EPROTO);
    if (!is_hurried(w)) {
        fi_far_drain(w->service);
    }
    while (has_far(w) && !is_hurried(w)) {
        serve_far(w);
    }
    return r == -EAGAIN ? 0 : r;
}

/* Of the calls from afar, one between any two of this machine's. */
static bool serve_one_far(fi_worker_t *w) {
    fi_fence_seq_cst(); /* that it is free, before what waits: see wake_one */
    if (!has_far(w) || is_enough(w)) {
        return false;
    }
    serve_far(w);
    return true;
}

#define MOST_AT_ONCE 1000u /* calls served by FERRY_NOW: others may come all the time */

int fi_worker_serve(fi_worker_t *w, int64_t timeout) {
    w->until = timeout > 0 ? fi_deadline(timeout) : FI_NEVER;
    w->left = timeout == FERRY_NOW ? MOST_AT_ONCE : UINT32_MAX;
    for (;;) {
        ferry_msg_t *m = NULL;
        if (fi_unlikely(fi_load_acquire32(&w->sweep))) {
            fi_callers_sweep(w);
        }
        if (fi_unlikely(is_stopping(w))) {
            return wind_up(w);
        }
        int64_t wait = w->until == FI_NEVER ? timeout : fi_time_left(w->until);
        bool is_far = fi_unlikely(fi_load_acquire_ptr(&w->service->reach) != NULL) && serve_one_far(w);
        int r = is_enough(w) ? -EAGAIN : take(w, is_far ? FERRY_NOW : wait, &m);
        if (fi_likely(r == 0)) {
            serve(w, m);
        } else if (is_far && r == -EAGAIN) {
            continue;
        } else if ((r == -EAGAIN && timeout != FERRY_NOW) || r == -ETIMEDOUT) {
            return fi_fail(-ETIMEDOUT, "the time for which \"%s\" was to be served is over", w->service->name);
        } else if (r != -EALREADY && r != -EPROTO) {
            return r;
        }
    }
}

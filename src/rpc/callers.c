/* SPDX-License-Identifier: MIT
 *
 * Where replies go: one sender for each client that has called this thread.  It is opened at the client's first call,
 * and closed when the client has left.
 *
 * A client that is stopped, or slow to answer, must not keep the thread: the sender is opened without waiting for it,
 * and what it does not take waits in the sender's backlog.  That is this process's own memory, which goes with it; so a
 * call whose answer waits there is not released yet, but *owed*: if this process dies, the client's sender still has
 * the call.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "platform/clock.h"
#include "rpc/service.h"

#define MEETING_NS 5000000            /* for a client that answers as usual, this is long */
#define LINGER_NS INT64_C(1000000000) /* for replies that wait in a backlog, unless ferry_service_close says how long */
#define SLICE_NS INT64_C(50000000)

static fi_caller_t **bucket_of(fi_worker_t *w, uint64_t node, uint64_t end) {
    uint64_t mixed = (node ^ end * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

    return &w->callers[(mixed >> 32) % FI_CLIENT_BUCKETS];
}

static void ended(void *whole) {
    fi_caller_t *c = whole;

    c->tx = NULL;
}

void fi_worker_call_for_sweep(fi_worker_t *w) {
    fi_receiver_t *rx = fi_load_acquire_ptr(&w->rx);

    fi_store_release32(&w->sweep, 1);
    if (rx) {
        fi_receiver_nudge(rx);
    }
}

/* The client takes no more replies. */
static void lost(void *whole) {
    fi_caller_t *c = whole;

    fi_store_release32(&c->gone, 1);
    fi_worker_call_for_sweep(c->worker);
}

/* Its replies stand where it finds them, whatever becomes of this process. */
static void drained(void *whole) {
    const fi_caller_t *c = whole;

    if (fi_load_relaxed32(&c->owes)) {
        fi_worker_call_for_sweep(c->worker);
    }
}

/* The link through which the call came. Of a caller that was never linked for answers, it alone tells that it has
 * gone. */
static bool has_ended(const ferry_request_t *rq) {
    return rq->m && __atomic_load_n(&rq->m->link->ended, __ATOMIC_RELAXED);
}

/* The handler that waits for room to answer in: nobody waits for the answer any more. */
static bool is_over(const void *whole) {
    const fi_caller_t *c = whole;
    const ferry_request_t *rq = &c->worker->request;

    return rq->magic == FI_REQUEST_MAGIC && rq->caller == c &&
           (fi_load_acquire32(&c->gone) || has_ended(rq) || fi_load_acquire32(&c->worker->service->hurry) ||
            (fi_load_acquire32(&rq->head->flags) & FI_CALL_CANCELLED));
}

static fi_caller_t *open_caller(fi_worker_t *w, uint64_t node, uint64_t end) {
    const ferry_service_t *s = w->service;
    const ferry_contract_t contract = {.quota = s->quota, .wait = s->wait};
    char channel[104];

    fi_caller_t *c = calloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    const fi_part_t part = {
        .whole = c, .ends = ended, .loses = lost, .drained = drained, .is_over = is_over, .in_haste = true};
    c->worker = w;
    c->node = node;
    c->end = end;
    snprintf(channel, sizeof channel, "%c%s.%016" PRIx64 ".%" PRIu64, FI_REPLIES, s->name, node, end);
    fi_sender_t *tx = NULL;
    if (fi_sender_new_part(s->node, channel, FERRY_QUEUE, &contract, &part, &tx) < 0) {
        free(c);
        return NULL;
    }
    c->tx = tx;
    (void)fi_node_settle(s->node, &tx->end, MEETING_NS); /* if it takes longer, replies wait */
    fi_store_release32(&w->sweep, 1);                    /* others may have left before their sender was linked */
    return c;
}

fi_caller_t *fi_caller_find(fi_worker_t *w, uint64_t node, uint64_t end) {
    fi_caller_t **bucket = bucket_of(w, node, end);
    fi_caller_t *c = *bucket;

    while (c && (c->node != node || c->end != end)) {
        c = c->next;
    }
    if (!c) {
        c = open_caller(w, node, end);
        if (c) {
            c->next = *bucket;
            *bucket = c;
        }
    }
    if (c) {
        w->last_caller = c;
    }
    return c;
}

/* ---- calls whose answers wait ---- */

void fi_caller_owe(fi_caller_t *c, ferry_msg_t *m) {
    m->next = NULL;
    if (c->owed) {
        c->last_owed->next = m;
    } else {
        c->owed = m;
    }
    c->last_owed = m;
    fi_store_relaxed32(&c->owes, 1);
    fi_store_release32(&c->worker->sweep, 1); /* they may have gone out meanwhile */
}

/* They are done with: as released, or, when their answers are lost, as the client's again. */
static void settle(fi_caller_t *c) {
    while (c->owed) {
        ferry_msg_t *m = c->owed;
        c->owed = m->next;
        (void)fi_taken_release(m);
    }
    fi_store_relaxed32(&c->owes, 0);
}

static bool has_drained(const fi_caller_t *c) {
    bool drained_now = true;

    if (c->tx && fi_end_enter(&c->tx->end, FI_END_SENDER) == 0) {
        drained_now = c->tx->backlog_count == 0;
        fi_end_leave(&c->tx->end);
    }
    return drained_now;
}

/* ---- who has left ---- */

/* The link through which it calls. The receiver's end is held. */
static fi_rxlink_t *link_of(const fi_worker_t *w, const fi_caller_t *c) {
    for (uint32_t i = 0; i < w->rx->link_count; i++) {
        fi_rxlink_t *l = w->rx->links[i];
        if (l->tx == c->end && l->peer->id == c->node && !l->ended) {
            return l;
        }
    }
    return NULL;
}

/* A client that calls, but takes no replies, shall not wait for them: it loses its link, and gets its calls back. */
static void cut_off(fi_worker_t *w, const fi_caller_t *c) {
    if (fi_end_enter(&w->rx->end, FI_END_RECEIVER) == 0) {
        fi_rxlink_t *l = link_of(w, c);
        if (l) {
            fi_receiver_expel(w->rx, l, "takes no replies");
        }
        fi_end_leave(&w->rx->end);
    }
}

/* One that was never linked, and does not call any more. */
static bool never_came(fi_worker_t *w, const fi_caller_t *c) {
    bool linked = true;
    bool calls = true;

    if (c->tx && fi_end_enter(&c->tx->end, FI_END_SENDER) == 0) {
        linked = c->tx->link_count > 0;
        fi_end_leave(&c->tx->end);
    }
    if (!linked && fi_end_enter(&w->rx->end, FI_END_RECEIVER) == 0) {
        calls = link_of(w, c) != NULL;
        fi_end_leave(&w->rx->end);
    }
    return !linked && !calls;
}

static void close_sender(fi_caller_t *c) {
    if (c->tx && fi_end_enter(&c->tx->end, FI_END_SENDER) == 0) {
        (void)fi_sender_close(c->tx, FERRY_NOW, NULL); /* what is in its rings stays readable */
    } else if (c->tx) {
        fi_sender_drop(c->tx); /* its thread has ended */
    }
}

static bool is_done_with(fi_worker_t *w, fi_caller_t *c) {
    if (fi_load_acquire32(&c->gone)) {
        cut_off(w, c);
        return true;
    }
    if (c->owed && has_drained(c)) {
        settle(c);
    }
    return never_came(w, c);
}

void fi_callers_sweep(fi_worker_t *w) {
    if (!fi_load_acquire_ptr(&w->rx)) {
        return; /* the node was closed */
    }
    fi_store_release32(&w->sweep, 0);
    w->last_caller = NULL;
    for (uint32_t i = 0; i < FI_CLIENT_BUCKETS; i++) {
        fi_caller_t **at = &w->callers[i];
        while (*at) {
            fi_caller_t *c = *at;
            if (!is_done_with(w, c)) {
                at = &c->next;
                continue;
            }
            *at = c->next;
            settle(c);
            close_sender(c);
            free(c);
        }
    }
}

/* ---- the end ---- */

static bool may_linger(const ferry_service_t *s, int64_t since) {
    int64_t close_by = (int64_t)fi_load_acquire64(&s->close_by);

    return fi_now_ns() < (close_by ? close_by : since + LINGER_NS);
}

/* Gives replies that wait time to go out, while their client may come for them. */
static void linger(fi_worker_t *w, const fi_caller_t *c) {
    int64_t since = fi_now_ns();
    int r = -ETIMEDOUT;

    while (r == -ETIMEDOUT && c->owed && c->tx && !fi_load_acquire32(&c->gone) && may_linger(w->service, since) &&
           !(fi_load_acquire_ptr(&w->rx) && never_came(w, c)) && fi_end_enter(&c->tx->end, FI_END_SENDER) == 0) {
        c->tx->stall.bears_it = true;
        r = fi_sender_wait_until(c->tx, fi_backlog_try, NULL, SLICE_NS, false);
        c->tx->stall.bears_it = false;
        fi_end_leave(&c->tx->end);
    }
}

void fi_callers_close(fi_worker_t *w) {
    for (uint32_t i = 0; i < FI_CLIENT_BUCKETS; i++) {
        for (fi_caller_t *c = w->callers[i]; c; c = c->next) {
            linger(w, c);
            if (has_drained(c)) {
                settle(c);
            }
            close_sender(c);
        }
    }
}

void fi_callers_free(fi_worker_t *w) {
    w->last_caller = NULL;
    for (uint32_t i = 0; i < FI_CLIENT_BUCKETS; i++) {
        while (w->callers[i]) {
            fi_caller_t *c = w->callers[i];
            w->callers[i] = c->next;
            settle(c);
            free(c);
        }
    }
}

/* SPDX-License-Identifier: MIT
 *
 * Where replies go: one sender for each client that has called this thread.  It is opened at the client's first call, and
 * closed when the client has left.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "rpc/service.h"

#define LINGER_NS INT64_C(1000000000) /* for replies that wait for room; those in a ring need none */

static fi_caller_t **bucket_of(fi_worker_t *w, uint64_t node, uint64_t end) {
    uint64_t mixed = (node ^ end * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

    return &w->callers[(mixed >> 32) % FI_CLIENT_BUCKETS];
}

static void ended(void *whole) {
    fi_caller_t *c = whole;

    c->tx = NULL;
}

/* The client has left; this thread shall close what it has for it. The end is held. */
static void lost(void *whole) {
    fi_caller_t *c = whole;
    fi_receiver_t *rx = fi_load_acquire_ptr(&c->worker->rx);

    fi_store_release32(&c->gone, 1);
    fi_store_release32(&c->worker->sweep, 1);
    if (rx) {
        fi_receiver_nudge(rx);
    }
}

static int hook(fi_caller_t *c) {
    int r = fi_end_enter(&c->tx->end, FI_END_SENDER);

    if (r < 0) {
        return r;
    }
    c->tx->whole_loses = lost;
    c->tx->whole_ends = ended;
    c->tx->whole = c;
    if (c->tx->link_count == 0) {
        c->gone = 1; /* before it could be told */
        fi_store_release32(&c->worker->sweep, 1);
    }
    return fi_end_leave(&c->tx->end);
}

static fi_caller_t *open_caller(fi_worker_t *w, uint64_t node, uint64_t end) {
    const ferry_service_t *s = w->service;
    ferry_contract_t contract = {.quota = s->quota, .wait = s->wait};
    char channel[104];

    fi_caller_t *c = calloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    c->worker = w;
    c->node = node;
    c->end = end;
    snprintf(channel, sizeof channel, "%c%s.%016" PRIx64 ".%" PRIu64, FI_REPLIES, s->name, node, end);
    if (fi_sender_new(s->node, channel, FERRY_QUEUE, &contract, &c->tx) < 0) {
        free(c);
        return NULL;
    }
    if (hook(c) < 0) {
        fi_sender_drop(c->tx);
        free(c);
        return NULL;
    }
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

static void close_caller(fi_caller_t *c) {
    if (c->tx) {
        int r = fi_end_enter(&c->tx->end, FI_END_SENDER);
        if (r == 0) {
            int64_t linger = c->tx->backlog_count > 0 && c->tx->link_count > 0 ? LINGER_NS : FERRY_NOW;
            while (fi_sender_close(c->tx, linger, NULL) == -EINTR) {
                linger = FERRY_NOW;
            }
        } else {
            fi_sender_drop(c->tx); /* its thread has ended */
        }
    }
    free(c);
}

static void close_some(fi_worker_t *w, bool all) {
    w->last_caller = NULL;
    for (uint32_t i = 0; i < FI_CLIENT_BUCKETS; i++) {
        fi_caller_t **at = &w->callers[i];
        while (*at) {
            fi_caller_t *c = *at;
            if (all || fi_load_acquire32(&c->gone)) {
                *at = c->next;
                close_caller(c);
            } else {
                at = &c->next;
            }
        }
    }
}

void fi_callers_sweep(fi_worker_t *w) {
    fi_store_release32(&w->sweep, 0);
    close_some(w, false);
}

void fi_callers_close(fi_worker_t *w) {
    close_some(w, true);
}

/* SPDX-License-Identifier: MIT
 *
 * The queue of requests from afar.
 */
#include "rpc/far.h"

#include "rpc/service.h"

const fi_far_calls_t *fi_far_calls;

/* Its receiver does not go away meanwhile: see fi_worker_close. */
static fi_receiver_t *hold(ferry_service_t *s, const fi_worker_t *w) {
    fi_add32(&s->nudging, 1);
    fi_fence_seq_cst();
    return fi_load_acquire_ptr(&w->rx);
}

static void let_go(ferry_service_t *s) {
    fi_sub32(&s->nudging, 1);
}

static bool nudge(ferry_service_t *s, const fi_worker_t *w) {
    fi_receiver_t *rx = hold(s, w);

    if (rx) {
        fi_receiver_nudge(rx);
    }
    let_go(s);
    return rx != NULL;
}

/*
 * One that is free, in turn; where all of them are busy, each looks when it is done.  Threads of the program's that are
 * not inside ferry_service_run may poll their descriptors: those are all told.
 */
static void wake_one(ferry_service_t *s, const fi_worker_t *not_this) {
    uint32_t count = fi_load_acquire32(&s->worker_count);
    uint32_t turn = fi_add32(&s->far.turn, 1);

    fi_fence_seq_cst(); /* what waits, before who is free; fi_worker_serve has the other half */
    for (uint32_t i = 0; i < count; i++) {
        const fi_worker_t *w = s->workers[(turn + i) % count];
        if (w != not_this && fi_load_acquire32(&w->inside) && !fi_load_acquire32(&w->serving) && nudge(s, w)) {
            return;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!fi_load_acquire32(&s->workers[i]->inside)) {
            (void)nudge(s, s->workers[i]);
        }
    }
}

void fi_far_push(ferry_service_t *s, fi_far_request_t *f) {
    fi_far_queue_t *q = &s->far;

    f->next = NULL;
    pthread_mutex_lock(&q->lock);
    if (q->first) {
        q->last->next = f;
    } else {
        q->first = f;
    }
    q->last = f;
    fi_store_release32(&q->waiting, q->waiting + 1);
    pthread_mutex_unlock(&q->lock);
    wake_one(s, NULL);
}

fi_far_request_t *fi_far_take(ferry_service_t *s, fi_worker_t *w) {
    fi_far_queue_t *q = &s->far;

    pthread_mutex_lock(&q->lock);
    fi_far_request_t *f = q->first;
    if (f) {
        q->first = f->next;
        f->worker = w;
        fi_store_release32(&q->waiting, q->waiting - 1);
    }
    bool more = q->first != NULL;
    pthread_mutex_unlock(&q->lock);
    if (more) {
        wake_one(s, w);
    }
    return f;
}

void fi_far_end(ferry_service_t *s, fi_far_request_t *f) {
    pthread_mutex_lock(&s->far.lock);
    f->worker = NULL;
    pthread_mutex_unlock(&s->far.lock);
}

bool fi_far_has_died(ferry_service_t *s, const fi_far_request_t *f) {
    pthread_mutex_lock(&s->far.lock);
    const fi_receiver_t *rx = f->worker ? hold(s, f->worker) : NULL;
    bool died = rx && fi_is_orphan(&rx->end.own);
    if (f->worker) {
        let_go(s);
    }
    pthread_mutex_unlock(&s->far.lock);
    return died;
}

int32_t fi_far_thread(ferry_service_t *s, const fi_far_request_t *f) {
    int32_t tid = 0;

    pthread_mutex_lock(&s->far.lock);
    const fi_receiver_t *rx = f->worker ? hold(s, f->worker) : NULL;
    tid = rx ? fi_owner_tid(&rx->end.own) : 0;
    if (f->worker) {
        let_go(s);
    }
    pthread_mutex_unlock(&s->far.lock);
    return tid;
}

void fi_far_changed(ferry_service_t *s, fi_far_request_t *f) {
    pthread_mutex_lock(&s->far.lock);
    if (f->worker) {
        fi_receiver_t *rx = hold(s, f->worker);
        if (rx) {
            fi_fence_seq_cst(); /* the head before its sleep; sleep_until_there has the other half */
            fi_receiver_wake(&rx->end);
        }
        let_go(s);
    }
    pthread_mutex_unlock(&s->far.lock);
}

int fi_far_offer(ferry_service_t *s) {
    return s->node->net ? fi_far_calls->service_begins(s) : 0;
}

void fi_far_drain(ferry_service_t *s) {
    if (fi_load_acquire_ptr(&s->reach)) {
        fi_far_calls->service_drains(s);
    }
}

void fi_far_withdraw(ferry_service_t *s) {
    if (fi_load_acquire_ptr(&s->reach)) {
        fi_far_calls->service_ends(s);
    }
}

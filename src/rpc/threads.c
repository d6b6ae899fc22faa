/* SPDX-License-Identifier: MIT
 *
 * The threads that serve: the service's own, and those of the program that call ferry_service_run.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "platform/cancel.h"
#include "rpc/service.h"

/* ---- a worker ---- */

static void receiver_ends(void *whole) {
    fi_worker_t *w = whole;

    fi_store_release_ptr(&w->rx, NULL);
}

/* A client has left. */
static void receiver_loses(void *whole) {
    fi_worker_call_for_sweep(whole);
}

static void figures(fi_end_t *e, fi_frame_t *f) {
    const fi_worker_t *w = fi_receiver_of(e)->part.whole;
    uint64_t sums[FI_TIMES] = {0};

    fi_receiver_figures(e, f);
    fi_times_sum(&w->times, sums);
    f->figures[0] = fi_load_relaxed64(&w->calls);
    f->figures[1] = fi_load_relaxed64(&w->busy_ns);
    f->figures[2] = fi_load_relaxed64(&w->errors);
    f->figures[3] = fi_load_relaxed64(&w->refused) + fi_load_relaxed64(&w->expired);
    f->figures[5] = fi_load_relaxed32(&w->serving);
    f->figures[6] = fi_times_percentile(sums, 500);
    f->figures[7] = fi_times_percentile(sums, 990);
}

static const fi_end_ops_t server_ops = {
    .deliver = fi_receiver_deliver,
    .wake = fi_receiver_wake,
    .introduce = fi_receiver_introduce,
    .figures = figures,
    .stirs = fi_receiver_stirs,
};

/* What a thread that has ended left. Without the service's lock, which is taken by who has that of the calls from
 * afar. */
static void clear_away(fi_worker_t *w) {
    if (w->inherited) {
        fi_worker_close(w);
        fi_store_relaxed32(&w->serving, 0);
        pthread_mutex_lock(&w->service->lock);
        w->inherited = false;
        pthread_mutex_unlock(&w->service->lock);
    }
}

/* By the thread that will serve. */
static int open_receiver(fi_worker_t *w) {
    const ferry_service_t *s = w->service;
    const ferry_receiver_options_t options = {.wait = s->wait, .senders = UINT32_MAX};
    const fi_rxpart_t part = {.whole = w,
                              .ends = receiver_ends,
                              .loses = receiver_loses,
                              .ops = &server_ops,
                              .queue = s->queue,
                              .alone = true,
                              .in_haste = true, /* it can serve at once */
                              .unchecked = true};
    fi_receiver_t *rx = NULL;
    char channel[104];

    clear_away(w);
    snprintf(channel, sizeof channel, "%c%s", FI_CALLS, s->name);
    int r = fi_receiver_new_part(s->node, channel, FERRY_QUEUE, &options, &part, &rx);
    if (r < 0) {
        return fi_fail(r, "the service \"%s\" cannot be served: %s", s->name, fi_error_text());
    }
    fi_store_release_ptr(&w->rx, rx);
    return 0;
}

void fi_worker_close(fi_worker_t *w) {
    ferry_service_t *s = w->service;
    fi_receiver_t *rx = fi_load_acquire_ptr(&w->rx);

    fi_callers_close(w);
    fi_store_release_ptr(&w->rx, NULL);
    fi_fence_seq_cst();
    while (fi_load_acquire32(&s->nudging)) { /* somebody may have it in hand */
        sched_yield();
    }
    if (rx) {
        int r = fi_end_enter(&rx->end, FI_END_RECEIVER);
        if (r == 0 || r == -EOWNERDEAD) {
            (void)fi_receiver_close(rx);
        }
    }
    fi_callers_free(w);
    if (w->request.magic == FI_REQUEST_MAGIC) {
        /* Its thread has ended in the handler; the call went back to its client. */
        w->request.magic = FI_RPC_ENDED;
        if (w->request.m) {
            (void)fi_taken_release(w->request.m);
        } else {
            fi_far_end(s, w->request.far);
            fi_far_calls->done(w->request.far);
            w->request.far = NULL;
        }
    }
}

static bool has_died(const fi_worker_t *w) {
    const fi_receiver_t *rx = fi_load_acquire_ptr(&w->rx);

    return rx && fi_is_orphan(&rx->end.own);
}

/* Its thread, of the program's, serves no more. With the service's lock. */
static bool is_spare(const fi_worker_t *w) {
    bool closed = !fi_load_acquire_ptr(&w->rx) && !w->inside;

    return !w->own_thread && !w->inherited && (closed || has_died(w));
}

/* Its counts go on. With the service's lock. */
static fi_worker_t *find_spare(ferry_service_t *s) {
    for (uint32_t i = 0; i < s->worker_count; i++) {
        fi_worker_t *w = s->workers[i];
        if (is_spare(w)) {
            w->inherited = has_died(w);
            return w;
        }
    }
    return NULL;
}

static int too_many(const ferry_service_t *s) {
    return fi_fail(-EAGAIN, "the service \"%s\" would be served by more than %u threads, which is as many as can be",
                   s->name, FI_WORKERS);
}

/* None is started where not all can be. */
static int check_room(ferry_service_t *s, unsigned threads) {
    unsigned room = FI_WORKERS;

    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        room -= !is_spare(s->workers[i]);
    }
    pthread_mutex_unlock(&s->lock);
    return threads > room ? too_many(s) : 0;
}

/* With the service's lock. */
static int add_worker(ferry_service_t *s, fi_worker_t **out) {
    if (s->node->magic != FI_NODE_MAGIC) {
        return fi_fail(-EBADF, "the node of the service \"%s\" was closed: close the service, too", s->name);
    }
    if (fi_load_relaxed32(&s->stopping)) {
        return fi_fail(-ECANCELED, "the service \"%s\" was stopped: close it, and open a new one", s->name);
    }
    fi_worker_t *spare = find_spare(s);
    if (spare) {
        fi_store_release32(&spare->inside, 1);
        *out = spare;
        return 0;
    }
    if (s->worker_count == FI_WORKERS) {
        return too_many(s);
    }
    fi_worker_t *w = calloc(1, sizeof *w);
    if (!w) {
        return fi_fail(-ENOMEM, "no memory for a thread of the service \"%s\"", s->name);
    }
    w->service = s;
    w->request.worker = w;
    fi_store_release32(&w->inside, 1);
    s->workers[s->worker_count] = w;
    fi_store_release32(&s->worker_count, s->worker_count + 1);
    *out = w;
    return 0;
}

/* Of a service that was stopped: then it cannot be reached from afar any more. */
static bool is_last(ferry_service_t *s, const fi_worker_t *w) {
    bool others = !fi_load_acquire32(&s->stopping);

    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        others |= s->workers[i] != w && fi_load_acquire32(&s->workers[i]->inside);
    }
    pthread_mutex_unlock(&s->lock);
    return !others;
}

static void leave(fi_worker_t *w) {
    ferry_service_t *s = w->service;

    if (fi_unlikely(fi_load_acquire_ptr(&s->reach) != NULL) && is_last(s, w)) {
        fi_far_withdraw(s);
    }
    pthread_mutex_lock(&s->lock);
    fi_store_release32(&w->inside, 0);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the service's own threads ---- */

struct start {
    fi_worker_t *worker;
    int result; /* 1: not known yet; guarded by the service's lock */
    char sentence[FI_ERROR_TEXT_MAX];
};

static void tell_start(struct start *st, int result) {
    ferry_service_t *s = st->worker->service;

    pthread_mutex_lock(&s->lock);
    snprintf(st->sentence, sizeof st->sentence, "%s", result < 0 ? fi_error_text() : "");
    st->result = result;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *serve(void *arg) {
    struct start *st = arg;
    fi_worker_t *w = st->worker;
    char name[16];

    snprintf(name, sizeof name, "ferry-%.9s", w->service->name);
    (void)pthread_setname_np(pthread_self(), name);
    int r = open_receiver(w);
    tell_start(st, r);
    if (r == 0) {
        while ((r = fi_worker_serve(w, FERRY_FOREVER)) == -EINTR) {
        }
        fi_worker_close(w);
    }
    leave(w);
    return NULL;
}

static int create_thread(struct start *st) {
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&st->worker->thread, NULL, serve, st);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0
               ? 0
               : fi_fail_errno(error, "no more threads can be started for the service \"%s\" " FI_SEE_THREAD_LIMITS,
                               st->worker->service->name);
}

/* Starts one, and waits until clients can find it. */
static int start_one(ferry_service_t *s) {
    struct start st = {.result = 1};

    pthread_mutex_lock(&s->lock);
    int r = add_worker(s, &st.worker);
    if (r == 0) {
        r = create_thread(&st);
        st.worker->own_thread = r == 0;
        fi_store_release32(&st.worker->inside, r == 0);
    }
    while (r == 0 && st.result > 0) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    fi_receiver_t *rx = r == 0 ? fi_load_acquire_ptr(&st.worker->rx) : NULL;
    pthread_mutex_unlock(&s->lock);
    if (r < 0 || st.result < 0) {
        return r < 0 ? r : fi_fail(st.result, "%s", st.sentence);
    }
    r = fi_far_offer(s);
    if (r < 0) {
        return r;
    }
    return rx ? fi_node_settle(s->node, &rx->end, FI_SETTLE_NS) : 0; /* it may have been stopped already */
}

int fi_service_start(ferry_service_t *s, unsigned threads) {
    if (threads == 0 || threads > FI_WORKERS) {
        return fi_fail(-EINVAL, "the service \"%s\" cannot be served by %u threads: from 1 to %u are possible", s->name,
                       threads, FI_WORKERS);
    }
    int r = check_room(s, threads);
    for (unsigned i = 0; r == 0 && i < threads; i++) {
        r = start_one(s);
    }
    return r;
}

/* ---- threads of the program ---- */

/* The calling thread's worker; with the service's lock. */
static fi_worker_t *find_mine(const ferry_service_t *s) {
    for (uint32_t i = 0; i < s->worker_count; i++) {
        const fi_receiver_t *rx = fi_load_acquire_ptr(&s->workers[i]->rx);
        if (rx && !s->workers[i]->own_thread && fi_is_own(&rx->end.own) && !fi_is_orphan(&rx->end.own)) {
            return s->workers[i];
        }
    }
    return NULL;
}

/* Finds it, or makes one; it counts as inside until `leave`. */
static int enter(ferry_service_t *s, fi_worker_t **out) {
    int r;

    if (fi_service_is_mine(NULL)) {
        return fi_fail(-EDEADLK, "a handler cannot serve \"%s\" itself: its own call would wait for that", s->name);
    }
    pthread_mutex_lock(&s->lock);
    r = fi_service_check(s); /* it may have been closed since the call began: its workers are taken apart then */
    fi_worker_t *w = r == 0 ? find_mine(s) : NULL;
    bool is_new = !w;
    if (r == 0 && is_new) {
        r = add_worker(s, &w);
    } else if (r == 0) {
        fi_store_release32(&w->inside, 1);
    }
    pthread_mutex_unlock(&s->lock);
    if (r == 0 && is_new) {
        r = open_receiver(w);
        r = r == 0 ? fi_far_offer(s) : r;
        if (r < 0) {
            leave(w);
        }
    }
    *out = w;
    return r;
}

int fi_service_run(ferry_service_t *s, int64_t timeout) {
    fi_worker_t *w = NULL;

    int cancel = fi_cancel_here();
    int r = enter(s, &w);
    if (r == 0) {
        r = fi_worker_serve(w, timeout);
        if (r == 0 || r == -ESHUTDOWN) {
            fi_worker_close(w);
        }
        leave(w);
    }
    fi_cancel_restore(cancel);
    return r == -ECANCELED ? 0 : r;
}

int fi_service_fd(ferry_service_t *s) {
    fi_worker_t *w = NULL;

    int r = enter(s, &w);
    if (r < 0) {
        return r;
    }
    r = fi_end_enter(&w->rx->end, FI_END_RECEIVER);
    if (r == 0) {
        r = fi_receiver_fd(w->rx);
        fi_end_leave(&w->rx->end);
    }
    leave(w);
    return r;
}

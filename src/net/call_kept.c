/* SPDX-License-Identifier: MIT
 *
 * What calls send: at once, or, while there is no connection, later.
 *
 * libnats makes a lost connection anew with its lock held, and whoever sends meanwhile waits for that, however little
 * time his call has.  So it is not asked then: what is to be sent is kept here, in order, and a thread sends it when
 * there is a connection again.  That thread exists as long as something is kept, and as long as it does, what is sent
 * goes behind.  A request that is taken back, or whose time passes here, has not run.
 */
#include <stdlib.h>

#include "net/call_client.h"
#include "platform/clock.h"

#define MOST_KEPT (UINT64_C(64) << 20) /* bytes */

typedef struct kept {
    struct fi_list link;
    natsConnection *c;
    natsMsg *msg; /* NULL: `over` is to be ended */
    natsSubscription *over;
    fi_far_call_t *call; /* whose request it is; NULL: nobody waits for it */
    uint64_t size;
} kept_t;

/* ---- sending it ---- */

static void end_subscription(const fi_calls_t *calls, natsSubscription *sub) {
    (void)fi_nats.natsSubscription_Unsubscribe(sub);
    fi_net_destroy(calls->net, calls->net->control, sub);
}

static void send_kept(fi_calls_t *calls, const kept_t *k) {
    if (k->over) {
        end_subscription(calls, k->over);
        return;
    }
    if (k->call) {
        (void)fi_far_open_inbox(calls); /* where it is answered */
    }
    (void)fi_nats.natsConnection_PublishMsg(k->c, k->msg);
}

/* With the lock. Less time is left by now. False: none is. */
static bool is_in_time(const kept_t *k) {
    if (!k->call) {
        return true;
    }
    int64_t deadline = k->call->c->deadline;
    bool goes = fi_time_left(deadline) > 0 && fi_far_tell_deadline(k->msg, deadline) == NATS_OK;
    if (goes) {
        fi_store_release32(&k->call->sent, 1);
    }
    return goes;
}

/* With the lock. It is in the list no more. */
static void forget(fi_calls_kept_t *all, kept_t *k) {
    all->bytes -= k->size;
    fi_store_release32(&all->count, all->count - 1);
    fi_nats.natsMsg_Destroy(k->msg);
    free(k);
}

/* With the lock, which is let go of meanwhile. */
static void send_first(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;
    kept_t *k = fi_container(all->list.next, kept_t, link);

    fi_list_remove(&k->link);
    if (is_in_time(k)) {
        pthread_mutex_unlock(&all->lock);
        send_kept(calls, k);
        pthread_mutex_lock(&all->lock);
    }
    forget(all, k);
}

static bool is_closed(const fi_calls_t *calls) {
    return __atomic_load_n(&calls->closed, __ATOMIC_SEQ_CST) != 0;
}

static void *send_all(void *arg) {
    fi_calls_t *calls = arg;
    fi_calls_kept_t *all = &calls->kept;

    (void)pthread_setname_np(pthread_self(), "ferry-kept");
    pthread_mutex_lock(&all->lock);
    while (!is_closed(calls) && !fi_list_empty(&all->list)) {
        if (fi_net_is_up(calls->net)) {
            send_first(calls);
        } else {
            pthread_cond_wait(&all->changed, &all->lock);
        }
    }
    all->sending = false;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    fi_calls_leave(calls);
    return NULL;
}

/* ---- keeping it ---- */

/* With the lock. False: no thread can be started, or the network is closed. */
static bool see_to_sending(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;
    sigset_t before;
    pthread_t thread;

    if (all->sending || !fi_calls_enter(calls)) {
        return all->sending;
    }
    fi_net_signals_off(&before);
    all->sending = pthread_create(&thread, NULL, send_all, calls) == 0;
    fi_net_signals_restore(&before);
    if (all->sending) {
        pthread_detach(thread);
    } else {
        fi_calls_leave(calls);
    }
    return all->sending;
}

static natsStatus keep(fi_calls_t *calls, const kept_t *what) {
    fi_calls_kept_t *all = &calls->kept;
    natsStatus s = NATS_INSUFFICIENT_BUFFER;
    kept_t *k = malloc(sizeof *k);

    if (!k) {
        return NATS_NO_MEMORY;
    }
    *k = *what;
    pthread_mutex_lock(&all->lock);
    if (all->bytes + k->size <= MOST_KEPT) {
        s = see_to_sending(calls) ? NATS_OK : NATS_CONNECTION_DISCONNECTED;
    }
    if (s == NATS_OK) {
        fi_list_add_tail(&all->list, &k->link);
        all->bytes += k->size;
        fi_store_release32(&all->count, all->count + 1);
    } else {
        free(k);
    }
    pthread_mutex_unlock(&all->lock);
    return s;
}

static bool goes_at_once(const fi_calls_t *calls) {
    return fi_net_is_up(calls->net) && fi_load_acquire32(&calls->kept.count) == 0;
}

/* ---- for the others ---- */

natsStatus fi_calls_publish_msg(fi_calls_t *calls, natsConnection *c, natsMsg **msg, fi_far_call_t *call) {
    natsStatus s;

    if (goes_at_once(calls)) {
        s = fi_nats.natsConnection_PublishMsg(c, *msg);
        if (call && s == NATS_OK) {
            fi_store_release32(&call->sent, 1);
        }
        return s;
    }
    uint64_t size = sizeof(kept_t) + (uint64_t)fi_nats.natsMsg_GetDataLength(*msg);
    s = keep(calls, &(kept_t){.c = c, .msg = *msg, .call = call, .size = size});
    *msg = s == NATS_OK ? NULL : *msg;
    return s;
}

natsStatus fi_calls_publish(fi_calls_t *calls, natsConnection *c, const char *subject, const char *reply,
                            const void *data, size_t size) {
    natsMsg *msg = NULL;

    if (goes_at_once(calls)) {
        return reply ? fi_nats.natsConnection_PublishRequest(c, subject, reply, data, (int)size)
                     : fi_nats.natsConnection_Publish(c, subject, data, (int)size);
    }
    natsStatus s = fi_nats.natsMsg_Create(&msg, subject, reply, data, (int)size);
    s = s == NATS_OK ? fi_calls_publish_msg(calls, c, &msg, NULL) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s;
}

void fi_calls_unsubscribe(fi_calls_t *calls, natsSubscription *sub) {
    if (sub && (fi_net_is_up(calls->net) || keep(calls, &(kept_t){.over = sub}) != NATS_OK)) {
        end_subscription(calls, sub);
    }
}

void fi_calls_take_back(fi_calls_t *calls, const fi_far_call_t *call) {
    fi_calls_kept_t *all = &calls->kept;
    struct fi_list *at;
    struct fi_list *after;

    if (fi_load_acquire32(&all->count) == 0) {
        return;
    }
    pthread_mutex_lock(&all->lock);
    fi_list_each(at, after, &all->list) {
        kept_t *k = fi_container(at, kept_t, link);
        if (k->call == call) {
            fi_list_remove(&k->link);
            forget(all, k);
        }
    }
    pthread_mutex_unlock(&all->lock);
}

void fi_calls_flush(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;
    int64_t end = fi_now_ns() + FI_NET_ASK_MS * 1000000ll;
    struct timespec until = fi_timespec(end);

    pthread_mutex_lock(&all->lock);
    while (all->sending && fi_net_is_up(calls->net) && fi_now_ns() < end) {
        (void)pthread_cond_timedwait(&all->changed, &all->lock, &until);
    }
    pthread_mutex_unlock(&all->lock);
    if (fi_net_is_up(calls->net)) {
        (void)fi_net_flush(calls->net, calls->net->control, fi_time_left(end) / 1000000);
    }
}

/* ---- beginning and end ---- */

void fi_kept_init(fi_calls_kept_t *all) {
    pthread_condattr_t attributes;

    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    fi_list_init(&all->list);
}

void fi_kept_look(fi_calls_kept_t *all) {
    pthread_mutex_lock(&all->lock);
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void fi_kept_send_last(fi_calls_t *calls) {
    pthread_mutex_lock(&calls->kept.lock);
    bool any = calls->kept.bytes > 0;
    pthread_mutex_unlock(&calls->kept.lock);
    if (any && fi_net_await(calls->net, calls->net->leave_by)) {
        fi_calls_flush(calls);
    }
}

void fi_kept_drop(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;

    pthread_mutex_lock(&all->lock);
    while (!fi_list_empty(&all->list)) {
        kept_t *k = fi_container(all->list.next, kept_t, link);
        fi_list_remove(&k->link);
        if (k->over) {
            end_subscription(calls, k->over);
        }
        forget(all, k);
    }
    pthread_mutex_unlock(&all->lock);
}

void fi_kept_done(fi_calls_kept_t *all) {
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
}

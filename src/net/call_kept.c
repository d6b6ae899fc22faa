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
#include "platform/condition.h"

#define MOST_KEPT (UINT64_C(64) << 20) /* bytes */
#define LONG_NS 4000000000ll           /* longer nobody waits for others to be sent */
#define MESSAGE_BYTES 640u             /* that a message takes, its headers and names with it */
#define AGAIN_NS 20000000ll            /* until what the library had no room for is tried again */

typedef struct fi_kept_message {
    struct fi_list link;
    natsConnection *c;
    natsMsg *msg; /* NULL: `over` is to be ended */
    natsSubscription *over;
    fi_far_call_t *call; /* whose request it is; NULL: nobody waits for it, or not any more */
    int64_t deadline;    /* of a request */
    uint64_t size;
    bool is_asked; /* it is a request that is answered */
    bool goes;     /* it is being sent: without the lock, and still in the list */
} fi_kept_message_t;

/* ---- sending it ---- */

static void end_subscription(const fi_calls_t *calls, natsSubscription *sub) {
    (void)fi_nats.natsSubscription_Unsubscribe(sub);
    fi_net_destroy(calls->net, calls->net->control, sub);
}

/* Is there a place where requests are answered? */
static bool has_inbox(fi_calls_t *calls) {
    return fi_far_open_inbox(calls) == 0 && fi_load_acquire_ptr(&calls->replies);
}

/* False: it is to be tried again. What the library has not taken has not been sent. */
static bool send_it(fi_calls_t *calls, const fi_kept_message_t *k, bool is_asked) {
    if (k->over) {
        end_subscription(calls, k->over);
        return true;
    }
    return (!is_asked || has_inbox(calls)) &&
           fi_nats.natsConnection_PublishMsg(k->c, k->msg) != NATS_INSUFFICIENT_BUFFER;
}

/* With the lock. It is in the list no more. Who waits for fewer to be kept is woken when they are, not by each one. */
static void forget(fi_calls_kept_t *all, fi_kept_message_t *k) {
    fi_list_remove(&k->link);
    if (k->call) {
        fi_store_release_ptr(&k->call->kept, NULL);
    }
    bool was_much = all->bytes >= FI_CALLS_MUCH;
    all->bytes -= k->size;
    fi_store_release32(&all->count, all->count - 1);
    if (all->count == 0 || (was_much && all->bytes < FI_CALLS_MUCH)) {
        pthread_cond_broadcast(&all->changed);
    }
    fi_nats.natsMsg_Destroy(k->msg);
    free(k);
}

/* With the lock: less time is left by now. False: none is, or nobody wants it any more. */
static bool is_in_time(const fi_kept_message_t *k) {
    return (!k->is_asked || k->call) &&
           (k->deadline == FI_NEVER ||
            (fi_time_left(k->deadline) > 0 && fi_far_tell_deadline(k->msg, k->deadline) == NATS_OK));
}

/* With the lock, of a call that lives: from here on its request may have been seen; or, after all, was not. */
static void mark_sent(const fi_calls_t *calls, fi_far_call_t *call, uint32_t sent) {
    if (call) {
        fi_store_relaxed32(&call->times_up, fi_load_acquire32(&calls->net->times_up));
        fi_store_release32(&call->sent, sent);
    }
}

/* With the lock, which is let go of meanwhile. False: not now. */
static bool send_first(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;
    fi_kept_message_t *k = fi_container(all->list.next, fi_kept_message_t, link);
    uint32_t before = k->call ? fi_load_relaxed32(&k->call->sent) : 0;

    if (!is_in_time(k)) {
        forget(all, k);
        return true;
    }
    mark_sent(calls, k->call, 1);
    k->goes = true;
    pthread_mutex_unlock(&all->lock);
    bool sent = send_it(calls, k, k->is_asked);
    pthread_mutex_lock(&all->lock);
    k->goes = false;
    if (sent) {
        forget(all, k);
    } else {
        mark_sent(calls, k->call, before);
    }
    return sent;
}

static bool is_closed(const fi_calls_t *calls) {
    return __atomic_load_n(&calls->closed, __ATOMIC_SEQ_CST) != 0;
}

/* With the lock. */
static void wait_until(fi_calls_kept_t *all, int64_t at) {
    struct timespec until = fi_timespec(at);

    (void)pthread_cond_timedwait(&all->changed, &all->lock, &until);
}

static void *send_all(void *arg) {
    fi_calls_t *calls = arg;
    fi_calls_kept_t *all = &calls->kept;

    (void)pthread_setname_np(pthread_self(), "ferry-kept");
    pthread_mutex_lock(&all->lock);
    while (!is_closed(calls) && !fi_list_empty(&all->list)) {
        if (!fi_net_is_up(calls->net)) {
            pthread_cond_wait(&all->changed, &all->lock);
        } else if (!send_first(calls)) {
            wait_until(all, fi_now_ns() + AGAIN_NS);
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

static natsStatus keep(fi_calls_t *calls, const fi_kept_message_t *what) {
    fi_calls_kept_t *all = &calls->kept;
    natsStatus s = NATS_INSUFFICIENT_BUFFER;
    fi_kept_message_t *k = malloc(sizeof *k);

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
        if (k->call) {
            fi_store_release_ptr(&k->call->kept, k);
        }
    } else {
        free(k);
    }
    pthread_mutex_unlock(&all->lock);
    return s;
}

/* ---- for the others ---- */

bool fi_calls_goes_at_once(const fi_calls_t *calls) {
    return fi_net_is_up(calls->net) && fi_load_acquire32(&calls->kept.count) == 0;
}

static natsStatus keep_message(fi_calls_t *calls, natsConnection *c, natsMsg **msg, fi_far_call_t *call,
                               int64_t deadline) {
    const fi_kept_message_t k = {.c = c,
                                 .msg = *msg,
                                 .call = call,
                                 .is_asked = call != NULL,
                                 .deadline = deadline,
                                 .size = MESSAGE_BYTES + (uint64_t)fi_nats.natsMsg_GetDataLength(*msg)};

    natsStatus s = keep(calls, &k);
    *msg = s == NATS_OK ? NULL : *msg;
    return s;
}

natsStatus fi_calls_publish_request(fi_calls_t *calls, natsMsg **msg, fi_far_call_t *call, int64_t deadline) {
    natsConnection *c = calls->net->control;

    if (!fi_calls_goes_at_once(calls) || (call && !has_inbox(calls))) {
        return keep_message(calls, c, msg, call, deadline);
    }
    natsStatus s = fi_nats.natsConnection_PublishMsg(c, *msg);
    mark_sent(calls, s == NATS_OK ? call : NULL, 1);
    return s;
}

natsStatus fi_calls_publish_msg(fi_calls_t *calls, natsConnection *c, natsMsg **msg) {
    return fi_calls_goes_at_once(calls) ? fi_nats.natsConnection_PublishMsg(c, *msg)
                                        : keep_message(calls, c, msg, NULL, FI_NEVER);
}

natsStatus fi_calls_publish(fi_calls_t *calls, natsConnection *c, const char *subject, const char *reply,
                            const void *data, size_t size) {
    natsMsg *msg = NULL;

    if (fi_calls_goes_at_once(calls)) {
        return reply ? fi_nats.natsConnection_PublishRequest(c, subject, reply, data, (int)size)
                     : fi_nats.natsConnection_Publish(c, subject, data, (int)size);
    }
    natsStatus s = fi_nats.natsMsg_Create(&msg, subject, reply, data, (int)size);
    s = s == NATS_OK ? fi_calls_publish_msg(calls, c, &msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s;
}

void fi_calls_unsubscribe(fi_calls_t *calls, natsSubscription *sub) {
    if (sub &&
        (fi_net_is_up(calls->net) || keep(calls, &(fi_kept_message_t){.over = sub, .deadline = FI_NEVER}) != NATS_OK)) {
        end_subscription(calls, sub);
    }
}

void fi_calls_take_back(fi_calls_t *calls, fi_far_call_t *call) {
    fi_calls_kept_t *all = &calls->kept;

    if (!fi_load_acquire_ptr(&call->kept)) {
        return;
    }
    pthread_mutex_lock(&all->lock);
    fi_kept_message_t *k = call->kept;
    if (k && k->goes) { /* it may be seen, and is not tried again */
        k->call = NULL;
        fi_store_release_ptr(&call->kept, NULL);
    } else if (k) {
        forget(all, k);
    }
    pthread_mutex_unlock(&all->lock);
}

void fi_calls_await_few(fi_calls_t *calls, uint64_t few, int64_t deadline) {
    fi_calls_kept_t *all = &calls->kept;
    int64_t end = fi_earlier(deadline, fi_now_ns() + LONG_NS);

    if (fi_load_acquire32(&all->count) == 0) {
        return;
    }
    pthread_mutex_lock(&all->lock);
    while (all->count > 0 && all->bytes >= few && fi_net_is_up(calls->net) && !fi_node_is_shut(calls->net->node) &&
           fi_now_ns() < end) {
        wait_until(all, fi_earlier(end, fi_now_ns() + FI_CALLS_ASK_NS));
    }
    pthread_mutex_unlock(&all->lock);
}

void fi_calls_flush(fi_calls_t *calls, int64_t deadline) {
    fi_calls_kept_t *all = &calls->kept;

    pthread_mutex_lock(&all->lock);
    while (all->sending && fi_net_is_up(calls->net) && fi_now_ns() < deadline) {
        wait_until(all, deadline);
    }
    pthread_mutex_unlock(&all->lock);
    if (fi_net_is_up(calls->net)) {
        (void)fi_net_flush(calls->net, calls->net->control, fi_time_left(deadline) / 1000000);
    }
}

/* ---- beginning and end ---- */

void fi_kept_init(fi_calls_kept_t *all) {
    pthread_mutex_init(&all->lock, NULL);
    fi_condition_init(&all->changed);
    fi_list_init(&all->list);
}

void fi_kept_look(fi_calls_kept_t *all) {
    pthread_mutex_lock(&all->lock);
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

bool fi_kept_any(fi_calls_t *calls) {
    pthread_mutex_lock(&calls->kept.lock);
    bool any = calls->kept.bytes > 0;
    pthread_mutex_unlock(&calls->kept.lock);
    return any;
}

void fi_kept_send_last(fi_calls_t *calls) {
    if (fi_kept_any(calls) && fi_net_await(calls->net, calls->net->leave_by)) {
        fi_calls_flush(calls, calls->net->leave_by);
    }
}

void fi_kept_drop(fi_calls_t *calls) {
    fi_calls_kept_t *all = &calls->kept;

    pthread_mutex_lock(&all->lock);
    while (!fi_list_empty(&all->list)) {
        fi_kept_message_t *k = fi_container(all->list.next, fi_kept_message_t, link);
        if (k->over) { /* it ends with its connection */
            fi_net_destroy(calls->net, calls->net->control, k->over);
        }
        forget(all, k);
    }
    pthread_mutex_unlock(&all->lock);
}

void fi_kept_done(fi_calls_kept_t *all) {
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
}

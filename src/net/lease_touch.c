/* SPDX-License-Identifier: MIT
 *
 * How a holder knows, without asking those who wait, that they cannot have taken what it holds.
 *
 * A node that holds something asks its server four times a second, on a subject that nobody listens to, so that the
 * server itself answers ("no responders").  With that, as with all that it asks about its leases, it notes when it SENT
 * the last question that was answered: until then its line was whole, so whoever waits has counted nothing against it
 * yet.  FI_LEASE_NS later its leases are over, unless the lock's own value says otherwise; others take them
 * FI_NET_DEAD_NS later at the earliest.  It does not matter how late an answer came, in which way a line was lost, or
 * when that was noticed.
 *
 *     ferry.SPACE.n.NODE.touch           nobody listens here
 *     ferry.SPACE.n.NODE.touched.TIME    where the answer goes
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "net/bridge.h"
#include "net/lease.h"
#include "platform/clock.h"

#define TOUCH_NS INT64_C(250000000)

/* ---- what is known ---- */

/* With the lock taken. After a gap it is not known what has become of what was held before. */
static void note(fi_leases_t *leases, int64_t sent, int64_t now) {
    leases->gaps += now - leases->answered > FI_LEASE_NS;
    leases->answered = leases->answered > sent ? leases->answered : sent;
}

void fi_lease_note_contact(fi_leases_t *leases, int64_t sent) {
    pthread_mutex_lock(&leases->lock);
    note(leases, sent, fi_now_ns());
    pthread_mutex_unlock(&leases->lock);
}

void fi_lease_note_held(fi_lease_t *l, int64_t sent) {
    fi_leases_t *leases = l->object->leases;

    pthread_mutex_lock(&leases->lock);
    int64_t now = fi_now_ns();
    note(leases, sent, now);
    l->gaps =
        leases->gaps - (now - sent > FI_LEASE_NS); /* the answer lay here for too long to say anything about now */
    pthread_mutex_unlock(&leases->lock);
}

bool fi_lease_is_over(const fi_lease_t *l, int64_t *since) {
    fi_leases_t *leases = l->object->leases;

    pthread_mutex_lock(&leases->lock);
    bool over = l->gaps != leases->gaps || fi_now_ns() > leases->answered + FI_LEASE_NS;
    *since = l->gaps == leases->gaps ? leases->answered + FI_LEASE_NS : 0;
    pthread_mutex_unlock(&leases->lock);
    return over;
}

/* ---- asking ---- */

static bool holds_any(fi_leases_t *leases) {
    struct fi_list *at, *after, *h, *h_after;
    bool holds = false;

    pthread_mutex_lock(&leases->lock);
    fi_list_each(at, after, &leases->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_lease_object_t, link)->handles) {
            holds |= fi_load_relaxed32(&fi_container(h, fi_lease_t, link)->held) != 0;
        }
    }
    pthread_mutex_unlock(&leases->lock);
    return holds;
}

/* Who begins to hold stores that, then looks at `touching`; here it is the other way round: one of us sees the
 * other. */
static bool is_to_go_on(fi_leases_t *leases) {
    if (holds_any(leases)) {
        return true;
    }
    __atomic_store_n(&leases->touching, 0, __ATOMIC_SEQ_CST);
    fi_fence_seq_cst();
    if (!holds_any(leases)) {
        return false;
    }
    __atomic_store_n(&leases->touching, 1, __ATOMIC_SEQ_CST);
    return true;
}

void fi_lease_touch_begins(fi_leases_t *leases) {
    fi_fence_seq_cst();
    if (!__atomic_exchange_n(&leases->touching, 1, __ATOMIC_SEQ_CST)) {
        fi_bridge_wake(leases->net->bridge);
    }
}

/* ns until a question is due; 0: now; -1: none is. */
static int64_t due(fi_leases_t *leases, int64_t now) {
    if (!__atomic_load_n(&leases->touching, __ATOMIC_SEQ_CST)) {
        return -1;
    }
    if (now < leases->touch_at) {
        return leases->touch_at - now;
    }
    if (!is_to_go_on(leases)) {
        return -1;
    }
    leases->touch_at = now + TOUCH_NS;
    return 0;
}

static void ask(fi_net_t *net, int64_t now) {
    char subject[FI_SUBJECT_MAX];
    char reply[FI_SUBJECT_MAX];
    char word[40];

    snprintf(word, sizeof word, "touched.%016" PRIx64, (uint64_t)now);
    fi_net_node_subject(net, subject, net->node->id, "touch");
    fi_net_node_subject(net, reply, net->node->id, word);
    if (fi_net_is_up(net)) { /* else it would be sent later */
        (void)fi_nats.natsConnection_PublishRequest(net->control, subject, reply, "", 0);
    }
}

int64_t fi_leases_touch(fi_net_t *net) {
    int64_t now = fi_now_ns();
    int64_t next = -1;

    if (!__atomic_load_n(&net->leases, __ATOMIC_ACQUIRE)) {
        return -1;
    }
    pthread_mutex_lock(&net->lock); /* they stay as long as it is taken */
    if (net->leases) {
        next = due(net->leases, now);
    }
    pthread_mutex_unlock(&net->lock);
    if (next != 0) {
        return next;
    }
    ask(net, now);
    return TOUCH_NS;
}

static void touched(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_leases_t *leases = arg;
    const char *word = strrchr(fi_nats.natsMsg_GetSubject(msg), '.');

    (void)c;
    (void)sub;
    int64_t sent = word ? (int64_t)strtoull(word + 1, NULL, 16) : 0;
    if (fi_nats.natsMsg_IsNoResponders(msg) && sent > 0 && sent <= fi_now_ns()) {
        fi_lease_note_contact(leases, sent);
    }
    fi_nats.natsMsg_Destroy(msg);
}

int fi_touches_open(fi_leases_t *leases) {
    char subject[FI_SUBJECT_MAX];

    fi_net_node_subject(leases->net, subject, leases->net->node->id, "touched.*");
    return fi_leases_subscribe(leases, subject, touched, leases, &leases->touches);
}

void fi_touches_close(fi_leases_t *leases) {
    fi_leases_unsubscribe(&leases->touches);
}

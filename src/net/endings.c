/* SPDX-License-Identifier: MIT
 *
 * Ending subscriptions.
 *
 * Before 3.6 the library's reading thread looks for a message's subscription under a lock, lets go of that, copies the
 * message, and only then locks the subscription, which may have been freed meanwhile (nats.c, issue 637).  So one that
 * has ended is kept until that thread has come to a later message: the connection counts each before it looks for its
 * subscription.
 */
#include <stdlib.h>

#include "net/net.h"

#define MANY 256u    /* kept ones, after which the connection is asked to come to something later */
#define FLUSH_MS 500 /* for that */

typedef struct fi_ended {
    struct fi_list link;
    natsConnection *c;
    natsSubscription *sub;
    uint64_t counted; /* messages of the connection's when the subscription was not to be found any more */
} fi_ended_t;

static uint64_t count_messages(natsConnection *c) {
    natsStatistics *statistics = NULL;
    uint64_t in = 0;

    if (fi_nats.natsStatistics_Create(&statistics) == NATS_OK) {
        if (fi_nats.natsConnection_GetStats(c, statistics) == NATS_OK) {
            (void)fi_nats.natsStatistics_GetCounts(statistics, &in, NULL, NULL, NULL, NULL);
        }
        fi_nats.natsStatistics_Destroy(statistics);
    }
    return in;
}

static void destroy(struct fi_list *all) {
    while (!fi_list_empty(all)) {
        fi_ended_t *e = fi_container(all->next, fi_ended_t, link);
        fi_list_remove(&e->link);
        fi_nats.natsSubscription_Destroy(e->sub);
        free(e);
    }
}

/* Takes out those that nobody can have in hand any more, now that the connection has counted so many. Returns how many
 * it keeps. */
static unsigned take_safe(fi_net_t *net, const natsConnection *c, uint64_t counted, struct fi_list *safe) {
    struct fi_list *at, *after;
    unsigned kept = 0;

    pthread_mutex_lock(&net->ended_lock);
    fi_list_each(at, after, &net->ended) {
        const fi_ended_t *e = fi_container(at, fi_ended_t, link);
        if (e->c == c && e->counted < counted) {
            fi_list_remove(at);
            fi_list_add_tail(safe, at);
        } else {
            kept += e->c == c;
        }
    }
    pthread_mutex_unlock(&net->ended_lock);
    return kept;
}

static void keep(fi_net_t *net, natsConnection *c, natsSubscription *sub, uint64_t counted) {
    fi_ended_t *e = malloc(sizeof *e);

    if (!e) {
        return; /* it is never freed */
    }
    *e = (fi_ended_t){.c = c, .sub = sub, .counted = counted};
    pthread_mutex_lock(&net->ended_lock);
    fi_list_add_tail(&net->ended, &e->link);
    pthread_mutex_unlock(&net->ended_lock);
}

void fi_net_destroy(fi_net_t *net, natsConnection *c, natsSubscription *sub) {
    uint64_t counted = count_messages(c);
    struct fi_list safe;

    fi_list_init(&safe);
    if (take_safe(net, c, counted, &safe) >= MANY && fi_nats.natsConnection_FlushTimeout(c, FLUSH_MS) == NATS_OK) {
        (void)take_safe(net, c, UINT64_MAX, &safe); /* the answer to that was read behind all */
    }
    keep(net, c, sub, counted);
    destroy(&safe);
}

void fi_net_destroy_all(fi_net_t *net) {
    destroy(&net->ended);
}

/* A subscription that is being ended. */
typedef struct ending {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
} ending_t;

static void no_more(void *arg) {
    ending_t *e = arg;

    pthread_mutex_lock(&e->lock);
    e->is_over = true;
    pthread_cond_broadcast(&e->over);
    pthread_mutex_unlock(&e->lock);
}

void fi_net_unsubscribe(fi_net_t *net, natsConnection *c, natsSubscription *sub) {
    ending_t e = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

    if (!sub) {
        return;
    }
    /* One without a callback has nothing to wait for, and refuses this. */
    bool told = fi_nats.natsSubscription_SetOnCompleteCB(sub, no_more, &e) == NATS_OK;
    (void)fi_nats.natsSubscription_Unsubscribe(sub);
    pthread_mutex_lock(&e.lock);
    while (told && !e.is_over) {
        pthread_cond_wait(&e.over, &e.lock);
    }
    pthread_mutex_unlock(&e.lock);
    fi_net_destroy(net, c, sub);
}

/* The library has a thread wait until the server has answered. */
bool fi_net_drain(natsSubscription *sub) {
    sigset_t before;

    fi_net_signals_off(&before);
    natsStatus s = fi_nats.natsSubscription_DrainTimeout(sub, FI_NET_DEAD_NS / 1000000);
    fi_net_signals_restore(&before);
    return s == NATS_OK;
}

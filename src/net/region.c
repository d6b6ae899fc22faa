/* SPDX-License-Identifier: MIT */
#include "net/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/clock.h"

#define ANSWER_MS 500
#define TRIES 5 /* while it is one of this machine that answers */
#define NAP_NS INT64_C(10000000)

struct fi_held_region {
    fi_net_t *net;
    struct fi_list link; /* in the node's list; guarded by the shares' lock */
    uint32_t refs;       /* likewise */
    uint32_t opening;    /* atomic */
    natsSubscription *ear;
    char name[104];
};

static void answer(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    const fi_held_region_t *held = arg;
    const char *reply = fi_nats.natsMsg_GetReply(msg);

    (void)c;
    (void)sub;
    if (reply) {
        fi_region_holder_t me = {.node = held->net->node->id, .version = FI_REGION_HOLDER_VERSION};
        me.opening = fi_load_acquire32(&held->opening) != 0;
        (void)gethostname(me.host, sizeof me.host - 1);
        (void)fi_net_send(held->net, held->net->control, reply, &me, sizeof me);
    }
    fi_nats.natsMsg_Destroy(msg);
}

/* With the shares' lock held. */
static fi_held_region_t *find(fi_net_t *net, const char *name) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &net->shares->regions) {
        fi_held_region_t *held = fi_container(at, fi_held_region_t, link);
        if (strcmp(held->name, name) == 0) {
            return held;
        }
    }
    return NULL;
}

static int make(fi_net_t *net, const char *name, fi_held_region_t **out) {
    char subject[FI_SUBJECT_MAX];

    fi_held_region_t *held = calloc(1, sizeof *held);
    if (!held) {
        return fi_fail(-ENOMEM, "no memory to hold the region \"%s\"", name);
    }
    held->net = net;
    held->opening = 1;
    snprintf(held->name, sizeof held->name, "%s", name);
    fi_net_subject(net, subject, "region", name);
    int r = fi_net_subscribe(net, net->control, subject, NULL, answer, held, &held->ear);
    if (r < 0) {
        free(held);
        return r;
    }
    fi_list_add_tail(&net->shares->regions, &held->link);
    *out = held;
    return 0;
}

int fi_region_hold(fi_net_t *net, const char *name, fi_held_region_t **out) {
    int r = 0;

    pthread_mutex_lock(&net->shares->lock);
    fi_held_region_t *held = find(net, name);
    if (!held) {
        r = make(net, name, &held);
    }
    if (r == 0) {
        held->refs++;
        *out = held;
    }
    pthread_mutex_unlock(&net->shares->lock);
    return r;
}

void fi_region_is_open(fi_held_region_t *held) {
    fi_store_release32(&held->opening, 0);
}

void fi_region_let_go(fi_held_region_t *held) {
    pthread_mutex_t *lock = &held->net->shares->lock;

    pthread_mutex_lock(lock);
    bool last = --held->refs == 0;
    if (last) {
        fi_list_remove(&held->link);
    }
    pthread_mutex_unlock(lock);
    if (last) {
        fi_net_unsubscribe(held->net, held->net->control, held->ear);
        free(held);
    }
}

void fi_held_regions_free(fi_net_t *net) {
    while (!fi_list_empty(&net->shares->regions)) {
        fi_held_region_t *held = fi_container(net->shares->regions.next, fi_held_region_t, link);
        fi_list_remove(&held->link);
        fi_net_unsubscribe(held->net, held->net->control, held->ear);
        free(held);
    }
}

static int is_elsewhere(const char *name, const fi_region_holder_t *holder) {
    if (holder->version != FI_REGION_HOLDER_VERSION) {
        return fi_fail(-EREMOTE,
                       "the region \"%s\" is open on another machine, by another version of Ferry: shared regions end "
                       "at the machine",
                       name);
    }
    return fi_fail(
        -EREMOTE,
        "the region \"%s\" is open on the machine %s (node ..%08x): shared regions end at the machine; publish it "
        "(ferry_region_writer_open), or use cells",
        name, holder->host, (unsigned)holder->node);
}

int fi_region_ask(fi_net_t *net, const char *name) {
    char subject[FI_SUBJECT_MAX];
    fi_region_holder_t holder;
    bool silent = false;

    fi_net_subject(net, subject, "region", name);
    for (int tries = 0; tries < TRIES; tries++) {
        natsMsg *msg = NULL;
        natsStatus s = fi_nats.natsConnection_Request(&msg, net->control, subject, "", 0, ANSWER_MS);
        bool answered = s == NATS_OK && fi_nats.natsMsg_GetDataLength(msg) >= (int)sizeof holder;
        if (answered) {
            memcpy(&holder, fi_nats.natsMsg_GetData(msg), sizeof holder);
            holder.host[sizeof holder.host - 1] = '\0';
        }
        fi_nats.natsMsg_Destroy(msg);
        if (s == NATS_TIMEOUT && !silent) {
            silent = true; /* who has just closed it told the server later than this question came */
            continue;
        }
        if (s == NATS_TIMEOUT) {
            return fi_fail(-EREMOTE,
                           "the region \"%s\" is open on another machine, whose process does not answer (stopped?)",
                           name);
        }
        if (!answered) {
            return 0;
        }
        if (!fi_net_is_near(net, holder.node)) {
            return holder.opening && holder.node > net->node->id ? 0 : is_elsewhere(name, &holder);
        }
        fi_sleep_until(fi_now_ns() + NAP_NS); /* it is just being closed, or opened: the next answer may be another's */
    }
    return 0;
}

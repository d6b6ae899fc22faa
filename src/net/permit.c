/* SPDX-License-Identifier: MIT
 *
 * Does the server let us do what an end of a channel needs?
 *
 * It says no after the fact, and to nobody in particular.  So the thread that opens an end does what the end will do,
 * with messages that nobody takes for anything, and waits for a round trip: a refusal comes before its end.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "net/durable.h"
#include "net/plain.h"
#include "platform/clock.h"

#define FLUSH_MS 500
#define HANDLER_NS 1000000000ll /* for the library's thread to hand us what it has read, if it is about us, */
#define OTHERS_NS 50000000ll    /* or, as far as can be seen, about others: then ours may have come before it */
#define LOOK_NS 200000ll

int fi_permit_refuse(const char *channel, const char *words) {
    return fi_fail(-EACCES, "'%s' cannot be opened between machines: the server denies it (%s)", channel, words);
}

/* What the end needs: subjects on which it publishes or which it subscribes to. */
typedef struct fi_needs {
    char frames[FI_SUBJECT_MAX];
    char all[FI_SUBJECT_MAX];
    char topic[FI_SUBJECT_MAX]; /* "": none */
    char plain[FI_SUBJECT_MAX]; /* likewise: it was subscribed to before */
    bool stored;                /* `topic` is a stream's: what is tried there must not be kept */
} fi_needs_t;

static void find_needs(const fi_bridge_t *b, fi_end_t *e, fi_needs_t *needs) {
    const fi_net_t *net = b->net;

    fi_net_node_subject(net, needs->frames, net->node->id, NULL);
    fi_net_subject(net, needs->all, "all", NULL);
    needs->topic[0] = needs->plain[0] = '\0';
    needs->stored = fi_end_contract(e).durable == FERRY_DURABLE;
    if (needs->stored) {
        if (e->magic == FI_END_SENDER) {
            fi_durable_sender_subject(net, (ferry_kind_t)e->kind, e->channel, e->id, needs->topic);
        }
        return;
    }
    if (e->kind == FERRY_TOPIC) { /* what holds for its own subject holds for other nodes': ids are random */
        fi_far_topic_subject(b, needs->topic, e->channel, net->node->id);
    }
    if (e->magic == FI_END_RECEIVER && fi_receiver_of(e)->part.plain) {
        fi_plain_subject(net, e->channel, needs->plain);
    }
}

/* The server keeps no message that is meant for another stream. */
static natsStatus try_stored(fi_net_t *net, const char *subject) {
    natsMsg *msg = NULL;

    natsStatus s = fi_nats.natsMsg_Create(&msg, subject, NULL, "", 0);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Expected-Stream", "-") : s;
    s = s == NATS_OK ? fi_nats.natsConnection_PublishMsg(net->bulk, msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s;
}

/* Nobody hears what a node says to itself. */
static natsStatus try_all(fi_net_t *net, const fi_end_t *e, const fi_needs_t *needs) {
    natsSubscription *sub = NULL;

    natsStatus s = fi_nats.natsConnection_Publish(net->bulk, needs->frames, "", 0);
    if (s == NATS_OK && needs->topic[0] && needs->stored) {
        s = try_stored(net, needs->topic);
    } else if (s == NATS_OK && needs->topic[0]) {
        s = e->magic == FI_END_SENDER ? fi_nats.natsConnection_Publish(net->bulk, needs->topic, "", 0)
                                      : fi_nats.natsConnection_SubscribeSync(&sub, net->bulk, needs->topic);
    }
    s = s == NATS_OK ? fi_nats.natsConnection_FlushTimeout(net->bulk, FLUSH_MS) : s;
    fi_net_unsubscribe(net, net->bulk, sub);
    return s;
}

static bool is_about(const fi_needs_t *needs, const char *words) {
    return fi_net_denies(words, needs->frames) || fi_net_denies(words, needs->all) ||
           (needs->topic[0] && fi_net_denies(words, needs->topic)) ||
           (needs->plain[0] && fi_net_denies(words, needs->plain));
}

/* Has the library's handler been told of a refusal that concerns us? Then `words` has it. */
static bool was_told(fi_net_t *net, const fi_needs_t *needs, uint32_t denials, char words[256]) {
    pthread_mutex_lock(&net->lock);
    bool fresh = fi_load_acquire32(&net->denials) != denials && is_about(needs, net->denied);
    memcpy(words, net->deaf[0] ? net->deaf : net->denied, sizeof net->denied);
    bool told = fresh || net->deaf[0];
    pthread_mutex_unlock(&net->lock);
    return told;
}

int fi_permit_end(fi_bridge_t *b, fi_end_t *e, uint32_t denials) {
    fi_net_t *net = b->net;
    fi_needs_t needs;
    char words[sizeof net->denied];
    const char *last = NULL;

    find_needs(b, e, &needs);
    /* The connection keeps the last refusal, old or new; ours is followed by a call of the handler, on another
     * thread. */
    if (!fi_net_is_up(net) || try_all(net, e, &needs) != NATS_OK ||
        fi_nats.natsConnection_GetLastError(net->bulk, &last) != NATS_NOT_PERMITTED) {
        return 0;
    }
    int64_t end = fi_now_ns() + (last && is_about(&needs, last) ? HANDLER_NS : OTHERS_NS);
    while (!was_told(net, &needs, denials, words)) {
        if (fi_now_ns() >= end) {
            return 0;
        }
        fi_sleep_until(fi_now_ns() + LOOK_NS);
    }
    return fi_permit_refuse(e->channel, words);
}

/* SPDX-License-Identifier: MIT
 *
 * Who is in the space: every node answers who and ping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "net/bridge.h"
#include "platform/clock.h"

static void fill_card(const fi_net_t *net, fi_net_card_t *card) {
    *card = (fi_net_card_t){.node = net->node->id, .version = FI_NET_VERSION, .pid = (uint32_t)getpid()};
    memcpy(card->name, net->node->name, sizeof card->name);
    (void)gethostname(card->host, sizeof card->host - 1);
}

static void answer(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_net_t *net = arg;
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    fi_net_card_t card;

    (void)c;
    (void)sub;
    if (reply) {
        fill_card(net, &card);
        (void)fi_net_send(net, net->control, reply, &card, sizeof card);
    }
    if (reply && fi_nats.natsMsg_GetDataLength(msg) >= (int)sizeof(fi_net_question_t)) {
        fi_bridge_ask_all(net, msg); /* it says the rest */
        return;
    }
    fi_nats.natsMsg_Destroy(msg);
}

/* ---- other versions ---- */

/* What another version has written there, as far as it can be shown. */
static void show(const char *text, size_t cap, const char *otherwise, char out[104]) {
    size_t i = 0;

    for (; i < cap && i < 103 && text[i]; i++) {
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    out[i] = '\0';
    if (i == 0) {
        snprintf(out, 104, "%s", otherwise);
    }
}

void fi_net_meet_stranger(fi_net_t *net, const fi_net_card_t *card) {
    char name[104];
    char host[104];

    pthread_mutex_lock(&net->lock);
    if (!fi_load_relaxed32(&net->has_strangers)) {
        show(card->name, sizeof card->name, "a node", name);
        show(card->host, sizeof card->host, "some machine", host);
        snprintf(net->strangers, sizeof net->strangers,
                 "another version of Ferry is in this space: \"%s\" on \"%s\" speaks version %u of the network's "
                 "protocol, this program version %u, so they do not see each other; use the same version, or another "
                 "space%s%s",
                 name, host, card->version, FI_NET_VERSION, net->warning[0] ? ". And " : "", net->warning);
        fi_store_release32(&net->has_strangers, 1);
    }
    pthread_mutex_unlock(&net->lock);
}

const char *fi_net_warning(const fi_net_t *net) {
    return fi_load_acquire32(&net->has_strangers) ? net->strangers : net->warning;
}

/* ---- being there ---- */

int fi_net_present(fi_net_t *net) {
    char subject[FI_SUBJECT_MAX];

    fi_net_subject(net, subject, "who", NULL);
    int r = fi_net_subscribe(net, net->control, subject, NULL, answer, net, &net->who);
    if (r == 0) {
        fi_net_node_subject(net, subject, net->node->id, "ping");
        r = fi_net_subscribe(net, net->control, subject, NULL, answer, net, &net->ping);
    }
    return r;
}

void fi_net_absent(fi_net_t *net) {
    fi_net_unsubscribe(net, net->control, net->who);
    fi_net_unsubscribe(net, net->control, net->ping);
    net->who = net->ping = NULL;
}

int fi_net_is_there(fi_net_t *net, uint64_t node, int64_t timeout) {
    char subject[FI_SUBJECT_MAX];
    natsMsg *msg = NULL;
    int64_t ms = timeout / 1000000;
    uint32_t denials = fi_load_acquire32(&net->denials);

    if (!fi_net_is_up(net)) {
        return -ENOTCONN;
    }
    fi_net_node_subject(net, subject, node, "ping");
    natsStatus s = fi_nats.natsConnection_Request(&msg, net->control, subject, "", 0, ms > 0 ? ms : 1);
    fi_nats.natsMsg_Destroy(msg);
    if (s == NATS_OK) {
        return 1;
    }
    if (s == NATS_NO_RESPONDERS) {
        return 0;
    }
    if (s == NATS_TIMEOUT && fi_net_was_denied(net, denials, subject)) {
        return fi_fail(-EACCES, "the server denies to ask whether a node lives: let all publish on %s", subject);
    }
    return s == NATS_TIMEOUT ? -ETIMEDOUT : -ENOTCONN;
}

bool fi_net_take_card(natsMsg *msg, fi_net_card_t *card) {
    if (fi_nats.natsMsg_IsNoResponders(msg) || fi_nats.natsMsg_GetDataLength(msg) < (int)sizeof *card) {
        return false;
    }
    memcpy(card, fi_nats.natsMsg_GetData(msg), sizeof *card);
    card->name[sizeof card->name - 1] = card->host[sizeof card->host - 1] = '\0';
    return card->node != 0;
}

int fi_net_each_node(fi_net_t *net, int64_t patience, void (*each)(const fi_net_card_t *card, void *arg), void *arg) {
    char subject[FI_SUBJECT_MAX];
    natsSubscription *sub = NULL;
    natsInbox *inbox = NULL;
    natsMsg *msg;
    fi_net_card_t card;
    int count = 1;

    fill_card(net, &card); /* a connection does not hear itself */
    each(&card, arg);
    fi_net_subject(net, subject, "who", NULL);
    natsStatus s = fi_nats.natsInbox_Create(&inbox);
    s = s == NATS_OK ? fi_nats.natsConnection_SubscribeSync(&sub, net->control, inbox) : s;
    s = s == NATS_OK ? fi_nats.natsConnection_PublishRequest(net->control, subject, inbox, "", 0) : s;
    while (s == NATS_OK && fi_nats.natsSubscription_NextMsg(&msg, sub, patience / 1000000) == NATS_OK) {
        bool good = fi_net_take_card(msg, &card);
        bool alone = fi_nats.natsMsg_IsNoResponders(msg);
        fi_nats.natsMsg_Destroy(msg);
        if (good) {
            each(&card, arg);
            count++;
        }
        if (alone) {
            break;
        }
    }
    fi_net_unsubscribe(net, net->control, sub);
    fi_nats.natsInbox_Destroy(inbox);
    return s == NATS_OK ? count : fi_net_fail(net, s, "ask for the nodes of", net->address.space);
}

bool fi_net_is_near(const fi_net_t *net, uint64_t node) {
    char name[FI_NODE_NAME_MAX];

    fi_space_node_name(node, name);
    return node == net->node->id || faccessat(net->node->space.dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

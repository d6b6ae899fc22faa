/* SPDX-License-Identifier: MIT
 *
 * Dropping what waits in a channel on all machines: see ferry/steer.h, and channel/purge.c for what each sender does.
 *
 *   who asks                                     each node
 *     who, with a request           ->
 *                                   <-           its card, at once (net.h)
 *                                   <-           PURGING, then PURGED, as tales of one frame (tell.h)
 *
 * A node drops what its own senders have, and what has come from other machines and was not taken here.  Of the asker's
 * machine only the latter is asked for: the former was done by the nodes' sockets.
 */
#include "net/purge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/out.h"
#include "net/tell.h"
#include "platform/clock.h"

#define QUIET_NS 100000000ll   /* after the last word, when all that have spoken are done */
#define ANSWER_NS 1000000000ll /* for somebody who has spoken and is not */
#define MOST_NS 3000000000ll   /* in all */
#define MOST_NODES 10000u
#define MOST_ENDS 65536u

/* ---- who is asked ---- */

/* Whoever asks: what would go to its socket goes to its inbox. */
typedef struct fi_far_asker {
    fi_peer_t peer; /* first: it is freed as one */
    char reply[FI_SUBJECT_MAX];
} fi_far_asker_t;

typedef struct fi_answer {
    fi_tale_head_t head;
    fi_frame_t frame;
} fi_answer_t;

static int to_asker(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    const fi_far_asker_t *asker = fi_container(p, fi_far_asker_t, peer);
    fi_net_t *net = p->node->net;
    fi_answer_t a = {.head = {FI_TALE_MAGIC, p->node->id, FI_NET_VERSION, sizeof *f, 0, 1}, .frame = *f};

    (void)cargo;
    return net ? fi_net_send(net, net->control, asker->reply, &a, sizeof a) : -ENOTCONN;
}

static const fi_route_t to_inbox = {.name = "inbox", .send = to_asker};

/* What is kept for those who come late to a topic on another machine. */
static void forget_history(fi_bridge_t *b, const char *channel) {
    struct fi_list *at, *next_outward, *in, *next_flow;

    fi_list_each(at, next_outward, &b->outwards) {
        const fi_outward_t *o = fi_container(at, fi_outward_t, link);
        fi_list_each(in, next_flow, &o->flows) {
            if (strcmp(o->channel, channel) == 0) {
                fi_flow_forget_history(fi_container(in, fi_flow_t, link));
            }
        }
    }
}

static void answer(fi_bridge_t *b, const fi_net_request_t *r, const char *reply) {
    fi_node_t *n = b->net->node;
    fi_far_asker_t *asker = calloc(1, sizeof *asker);
    fi_frame_t f = fi_frame(FI_PURGE, 0, 0);

    if (!asker) {
        return;
    }
    fi_peer_init(&asker->peer, n, &to_inbox, -1);
    strncpy(asker->reply, reply, sizeof asker->reply - 1);
    memcpy(f.text, r->channel, sizeof r->channel);
    f.flags = (r->only ? 0u : (unsigned)FI_PURGE_PASSED_ON) |
              (fi_net_is_near(b->net, r->asker) ? (unsigned)FI_PURGE_NOT_OWN : 0u);
    forget_history(b, r->channel);
    fi_mail_t *m = fi_mail_new(&asker->peer, &f);
    if (m) {
        pthread_mutex_lock(&n->lock);
        (void)fi_node_dispatch(n, m);
        pthread_mutex_unlock(&n->lock);
    }
    fi_peer_unref(&asker->peer);
}

bool fi_purge_is_asked(fi_bridge_t *b, natsMsg *msg) {
    fi_net_request_t r;

    if ((size_t)fi_nats.natsMsg_GetDataLength(msg) < sizeof r) {
        return false;
    }
    memcpy(&r, fi_nats.natsMsg_GetData(msg), sizeof r);
    r.channel[sizeof r.channel - 1] = '\0';
    if (r.question.flags & FI_NET_PURGE && (r.only == 0 || r.only == b->net->node->id) &&
        fi_channel_check(r.channel) == 0) {
        answer(b, &r, fi_nats.natsMsg_GetReply(msg));
    }
    return (r.question.flags & FI_NET_PURGE) != 0;
}

/* ---- who asks ---- */

typedef struct fi_purged_node {
    fi_net_card_t card;
    bool near;
    uint64_t expected; /* senders that will answer; UINT64_MAX: not known yet */
    uint64_t answered;
} fi_purged_node_t;

typedef struct fi_far_purging {
    fi_net_t *net;
    uint64_t only;
    fi_purged_node_t *nodes;
    size_t node_count;
    ferry_purged_t *ends; /* `reserved`: it had come from elsewhere */
    size_t end_count;
    bool short_of_memory;
} fi_far_purging_t;

static fi_purged_node_t *find_node(const fi_far_purging_t *p, uint64_t id) {
    for (size_t i = 0; i < p->node_count; i++) {
        if (p->nodes[i].card.node == id) {
            return &p->nodes[i];
        }
    }
    return NULL;
}

static void *one_more(void *array, size_t count, size_t size, size_t most, bool *short_of_memory) {
    void *more = count < most ? realloc(array, (count + 1) * size) : NULL;

    *short_of_memory |= !more;
    return more;
}

static void take_card(fi_far_purging_t *p, const fi_net_card_t *card) {
    if (card->node == p->net->node->id || find_node(p, card->node) || (p->only && card->node != p->only)) {
        return;
    }
    fi_purged_node_t *more = one_more(p->nodes, p->node_count, sizeof *more, MOST_NODES, &p->short_of_memory);
    if (more) {
        p->nodes = more;
        more[p->node_count++] =
            (fi_purged_node_t){.card = *card, .near = fi_net_is_near(p->net, card->node), .expected = UINT64_MAX};
    }
}

static void take_purged(fi_far_purging_t *p, fi_purged_node_t *n, const fi_frame_t *f) {
    for (size_t i = 0; i < p->end_count; i++) {
        if (p->ends[i].node == n->card.node && p->ends[i].end == f->tx) {
            p->ends[i].messages += f->a;
            p->ends[i].pending = f->b;
            return;
        }
    }
    ferry_purged_t *more = one_more(p->ends, p->end_count, sizeof *more, MOST_ENDS, &p->short_of_memory);
    if (more) {
        p->ends = more;
        more[p->end_count++] = (ferry_purged_t){.node = n->card.node,
                                                .end = f->tx,
                                                .pid = (int32_t)n->card.pid,
                                                .uid = UINT32_MAX,
                                                .messages = f->a,
                                                .pending = f->b,
                                                .answered = 1,
                                                .reserved = (f->flags & FI_PURGE_PASSED_ON) != 0};
        n->answered++;
    }
}

static void take(fi_far_purging_t *p, natsMsg *msg) {
    fi_net_card_t card;
    fi_answer_t a;

    if ((size_t)fi_nats.natsMsg_GetDataLength(msg) >= sizeof a) {
        memcpy(&a, fi_nats.natsMsg_GetData(msg), sizeof a);
        fi_purged_node_t *n = find_node(p, a.head.node);
        bool known = n && a.head.magic == FI_TALE_MAGIC && a.head.version == FI_NET_VERSION &&
                     a.head.frame_bytes == sizeof a.frame && a.frame.magic == FI_WIRE_MAGIC;
        if (known && a.frame.type == FI_PURGING) {
            n->expected = a.frame.a;
        } else if (known && a.frame.type == FI_PURGED) {
            take_purged(p, n, &a.frame);
        }
    } else if (fi_net_take_card(msg, &card)) {
        take_card(p, &card);
    }
}

static bool all_have_answered(const fi_far_purging_t *p) {
    for (size_t i = 0; i < p->node_count; i++) {
        if (p->nodes[i].answered < p->nodes[i].expected) {
            return false;
        }
    }
    for (size_t i = 0; i < p->end_count; i++) {
        if (p->ends[i].pending > 0) {
            return false;
        }
    }
    return true;
}

static void listen(fi_far_purging_t *p, natsSubscription *sub) {
    int64_t now = fi_now_ns();
    int64_t end = now + MOST_NS;
    int64_t quiet_since = now;

    for (;;) {
        natsMsg *msg = NULL;
        bool done = all_have_answered(p);
        int64_t until = fi_earlier(end, quiet_since + (done ? QUIET_NS : ANSWER_NS));
        now = fi_now_ns();
        if (now >= until || (done && p->only && p->node_count > 0) ||
            fi_nats.natsSubscription_NextMsg(&msg, sub, (until - now + 999999) / 1000000) != NATS_OK) {
            return;
        }
        quiet_since = fi_now_ns();
        bool alone = fi_nats.natsMsg_IsNoResponders(msg);
        if (!alone) {
            take(p, msg);
        }
        fi_nats.natsMsg_Destroy(msg);
        if (alone) {
            return;
        }
    }
}

/* What waited where it had come to is told of where there was something. Returns how many senders there were. */
static int tell(fi_far_purging_t *p, void (*each)(const ferry_purged_t *p, void *arg), void *arg) {
    int senders = 0;

    for (size_t i = 0; i < p->node_count; i++) {
        const fi_purged_node_t *n = &p->nodes[i];
        ferry_purged_t silent = {.node = n->card.node, .pid = (int32_t)n->card.pid, .uid = UINT32_MAX, .name = "?"};
        silent.host = n->card.host;
        if (n->expected == UINT64_MAX && !n->near) {
            senders++;
            each(&silent, arg);
        }
    }
    for (size_t i = 0; i < p->end_count; i++) {
        ferry_purged_t *e = &p->ends[i];
        const fi_purged_node_t *n = find_node(p, e->node);
        bool passed_on = e->reserved != 0;
        e->reserved = 0;
        e->end = passed_on ? 0 : e->end;
        e->name = n->card.name;
        e->host = n->near ? NULL : n->card.host;
        senders += !passed_on;
        if (!passed_on || e->messages > 0 || e->pending > 0) {
            each(e, arg);
        }
    }
    return senders;
}

static void nobody_listens(const ferry_purged_t *p, void *arg) {
    (void)p;
    (void)arg;
}

int fi_net_purge(fi_net_t *net, const char *channel, uint64_t node, void (*each)(const ferry_purged_t *p, void *arg),
                 void *arg) {
    fi_net_request_t r = {
        .question = {.version = FI_NET_VERSION, .flags = FI_NET_PURGE}, .asker = net->node->id, .only = node};
    fi_far_purging_t p = {.net = net, .only = node};
    char subject[FI_SUBJECT_MAX];
    natsSubscription *sub = NULL;
    natsInbox *inbox = NULL;

    strncpy(r.channel, channel, sizeof r.channel - 1);
    fi_net_subject(net, subject, "who", NULL);
    natsStatus s = fi_nats.natsInbox_Create(&inbox);
    s = s == NATS_OK ? fi_nats.natsConnection_SubscribeSync(&sub, net->control, inbox) : s;
    s = s == NATS_OK ? fi_nats.natsConnection_PublishRequest(net->control, subject, inbox, &r, sizeof r) : s;
    if (s == NATS_OK) {
        listen(&p, sub);
    }
    fi_net_unsubscribe(net, net->control, sub);
    fi_nats.natsInbox_Destroy(inbox);
    int senders = s == NATS_OK ? tell(&p, each ? each : nobody_listens, arg)
                               : fi_net_fail(net, s, "ask other machines to purge", channel);
    if (senders >= 0 && p.short_of_memory) {
        senders = fi_fail(-ENOMEM, "no memory to note all that was purged of '%s'", channel);
    }
    free(p.nodes);
    free(p.ends);
    return senders;
}

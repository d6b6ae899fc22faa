/* SPDX-License-Identifier: MIT
 *
 * Looking at other machines: asks all nodes at once, and waits until those that are there have told all, or for too
 * long.
 *
 * Nodes of this machine have answered by their sockets what they told there; of these only the rest is taken, which
 * they tell between machines only.  Nothing that comes is believed: strings are ended, and there is a bound on
 * everything.
 */
#include "net/look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/plain.h"
#include "net/cell.h"
#include "net/tell.h"
#include "platform/clock.h"

#define PATIENCE_NS 100000000ll /* for a first word, and after the last one */
#define TALE_NS 500000000ll     /* for all that somebody has to tell, without a pause as long */
#define MOST_NS 5000000000ll    /* in all */
#define MOST_NODES 10000u
#define MOST_ASKED 8u
#define TRIES 2 /* who is just leaving is gone the second time */

/* A node that has said that it is there. */
typedef struct fi_heard_node {
    uint64_t id;
    bool near;
    bool known; /* among the picture's */
    bool done;
    uint32_t frames;
} fi_heard_node_t;

typedef struct fi_looking {
    fi_net_t *net;
    ferry_look_t *look;
    fi_heard_node_t *nodes;
    size_t count;
    int64_t asked_at;
} fi_looking_t;

static fi_heard_node_t *find(fi_looking_t *at, uint64_t id) {
    for (size_t i = 0; i < at->count; i++) {
        if (at->nodes[i].id == id) {
            return &at->nodes[i];
        }
    }
    return NULL;
}

static ferry_look_node_t *shown(ferry_look_t *l, uint64_t id) {
    for (size_t i = 0; i < l->node_count; i++) {
        if (l->nodes[i].id == id) {
            return &l->nodes[i];
        }
    }
    return NULL;
}

/* ---- cards ---- */

static bool add_node(ferry_look_t *l, const ferry_look_node_t *node) {
    if (!fi_grow((void **)&l->nodes, l->node_count, sizeof *l->nodes) ||
        !fi_picture_add_node(&l->picture, node->id, 0)) {
        l->picture.short_of_memory = true;
        return false;
    }
    l->nodes[l->node_count++] = *node;
    return true;
}

static bool show(fi_looking_t *at, const fi_net_card_t *card) {
    ferry_look_t *l = at->look;
    const ferry_look_node_t node = {.id = card->node,
                                    .name = fi_picture_keep(&l->picture, card->name),
                                    .pid = (int32_t)card->pid,
                                    .uid = UINT32_MAX,
                                    .host = fi_picture_keep(&l->picture, card->host),
                                    .round_trip_ns = (uint64_t)(fi_now_ns() - at->asked_at)};
    return add_node(l, &node);
}

static void take_card(fi_looking_t *at, fi_net_card_t *card) {
    if (card->node == at->net->node->id || find(at, card->node) || at->count >= MOST_NODES) {
        return;
    }
    if (!fi_grow((void **)&at->nodes, at->count, sizeof *at->nodes)) {
        at->look->picture.short_of_memory = true;
        return;
    }
    fi_make_plain(card->name, sizeof card->name);
    fi_make_plain(card->host, sizeof card->host);
    bool near = fi_net_is_near(at->net, card->node);
    bool known = near ? shown(at->look, card->node) != NULL : show(at, card);
    at->nodes[at->count++] = (fi_heard_node_t){.id = card->node, .near = near, .known = known};
}

/* ---- tales ---- */

static void add_engine(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&l->engines, l->engine_count, sizeof *l->engines)) {
        l->picture.short_of_memory = true;
        return;
    }
    l->engines[l->engine_count++] = (ferry_look_engine_t){.node = node,
                                                          .url = fi_picture_keep(&l->picture, f->text),
                                                          .connected = f->figures[0] != 0,
                                                          .tls = f->figures[1] != 0,
                                                          .exposed = f->figures[2] != 0,
                                                          .lost = (uint32_t)f->figures[3],
                                                          .since_ns = f->figures[4],
                                                          .max_payload = f->figures[5]};
}

static void add_link(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&l->links, l->link_count, sizeof *l->links)) {
        l->picture.short_of_memory = true;
        return;
    }
    l->links[l->link_count++] = (ferry_look_link_t){.node = node,
                                                    .to = f->a,
                                                    .name = fi_picture_keep(&l->picture, f->text),
                                                    .host = fi_picture_keep(&l->picture, f->contract.type_name),
                                                    .round_trip_ns = f->b,
                                                    .round_trip_age_ns = f->figures[0],
                                                    .silent_ns = f->figures[1],
                                                    .bytes_sent = f->figures[2],
                                                    .messages_sent = f->figures[3],
                                                    .resent = f->figures[4],
                                                    .bytes_received = f->figures[5],
                                                    .messages_received = f->figures[6],
                                                    .waiting = f->figures[7],
                                                    .on_the_way = f->figures[8],
                                                    .unreleased = f->figures[9],
                                                    .arrived = f->figures[10]};
}

static void take_frame(fi_looking_t *at, const fi_heard_node_t *n, fi_frame_t *f) {
    ferry_look_t *l = at->look;

    fi_make_plain(f->text, sizeof f->text);
    fi_make_plain(f->contract.type_name, sizeof f->contract.type_name);
    if (f->type == FI_LOOK_ENGINE) {
        add_engine(l, n->id, f);
    } else if (f->type == FI_LOOK_FAR && !fi_net_is_near(at->net, f->a)) {
        add_link(l, n->id, f);
    } else if (f->type == FI_LOOK_FAR && shown(l, f->a)) { /* one of this machine's, but not whoever looks */
        add_link(l, n->id, f);
    } else if (f->type == FI_LOOK_NODE) {
        ferry_look_node_t *node = shown(l, n->id);
        if (node) {
            node->peers = (uint32_t)f->b;
        }
        fi_picture_add(&l->picture, n->id, f);
    } else {
        fi_look_take(l, n->id, f);
    }
}

/* Is it a tale? Takes it, if it is one that can be read. */
static bool take_tale(fi_looking_t *at, natsMsg *msg) {
    const char *data = fi_nats.natsMsg_GetData(msg);
    size_t len = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    fi_tale_head_t head;

    if (len < sizeof head || (memcpy(&head, data, sizeof head), head.magic != FI_TALE_MAGIC)) {
        return false;
    }
    fi_heard_node_t *n = find(at, head.node);
    if (!n || n->done || head.version != FI_NET_VERSION) {
        return true;
    }
    bool readable = head.frame_bytes == sizeof(fi_frame_t) && (len - sizeof head) / sizeof(fi_frame_t) >= head.count;
    for (uint32_t i = 0; readable && n->known && i < head.count && n->frames < FI_TALE_FRAMES; i++, n->frames++) {
        fi_frame_t f;
        memcpy(&f, data + sizeof head + i * sizeof f, sizeof f);
        if (f.magic == FI_WIRE_MAGIC && !(n->near && head.flags & FI_TALE_OWN)) {
            take_frame(at, n, &f);
        }
    }
    n->done = head.flags & FI_TALE_LAST;
    ferry_look_node_t *node = n->done && !n->near ? shown(at->look, n->id) : NULL;
    if (node) {
        node->answered = 1;
    }
    return true;
}

/* ---- asking ---- */

static bool all_have_told(const fi_looking_t *at) {
    for (size_t i = 0; i < at->count; i++) {
        if (!at->nodes[i].done) {
            return false;
        }
    }
    return true;
}

/* True: the server says that nobody is there. */
static bool listen(fi_looking_t *at, natsSubscription *sub) {
    int64_t end = at->asked_at + MOST_NS;
    int64_t quiet_since = at->asked_at;

    for (;;) {
        natsMsg *msg = NULL;
        fi_net_card_t card;
        int64_t now = fi_now_ns();
        int64_t until = fi_earlier(end, quiet_since + (all_have_told(at) ? PATIENCE_NS : TALE_NS));
        if (now >= until) {
            return false;
        }
        natsStatus s = fi_nats.natsSubscription_NextMsg(&msg, sub, (until - now + 999999) / 1000000);
        bool alone = s == NATS_NO_RESPONDERS || (s == NATS_OK && fi_nats.natsMsg_IsNoResponders(msg));
        quiet_since = fi_now_ns();
        if (s == NATS_OK && !alone && !take_tale(at, msg) && fi_net_take_card(msg, &card)) {
            take_card(at, &card);
        }
        fi_nats.natsMsg_Destroy(msg);
        if (s != NATS_OK || alone) {
            return alone;
        }
    }
}

static int ask_all(fi_looking_t *at) {
    const fi_net_question_t question = {.version = FI_NET_VERSION};
    char subject[FI_SUBJECT_MAX];
    natsSubscription *sub = NULL;
    natsInbox *inbox = NULL;
    int64_t way;
    bool alone = false;

    fi_net_subject(at->net, subject, "who", NULL);
    natsStatus s = fi_nats.natsInbox_Create(&inbox);
    s = s == NATS_OK ? fi_nats.natsConnection_SubscribeSync(&sub, at->net->control, inbox) : s;
    for (int i = 0; s == NATS_OK && i < TRIES && at->count == 0 && !alone; i++) {
        at->asked_at = fi_now_ns();
        s = fi_nats.natsConnection_PublishRequest(at->net->control, subject, inbox, &question, sizeof question);
        alone = s != NATS_OK || listen(at, sub);
    }
    at->look->unheard = at->count == 0 && !alone && fi_nats.natsConnection_GetRTT(at->net->control, &way) == NATS_OK;
    fi_net_unsubscribe(at->net, at->net->control, sub);
    fi_nats.natsInbox_Destroy(inbox);
    return s == NATS_OK ? 0 : fi_net_fail(at->net, s, "ask for the nodes of", at->net->address.space);
}

/* Those of whom others have told, who did not answer, and whose connection is there all the same. */
static void add_silent(fi_looking_t *at) {
    ferry_look_t *l = at->look;
    unsigned asked = 0;

    for (size_t i = 0; i < l->link_count && asked < MOST_ASKED; i++) {
        const ferry_look_link_t *link = &l->links[i];
        if (link->to == at->net->node->id || shown(l, link->to) || fi_net_is_near(at->net, link->to)) {
            continue;
        }
        asked++;
        int there = fi_net_is_there(at->net, link->to, PATIENCE_NS);
        if (there == 1 || there == -ETIMEDOUT || there == -EACCES) {
            const ferry_look_node_t node = {.id = link->to, .name = link->name, .host = link->host, .uid = UINT32_MAX};
            (void)add_node(l, &node);
        }
    }
}

/* ---- what is asked of the engine ---- */

static void add_own_engine(fi_looking_t *at) {
    ferry_look_t *l = at->look;
    fi_net_t *net = at->net;
    char url[280] = "";
    int64_t round_trip = 0;

    if (!fi_grow((void **)&l->engines, l->engine_count, sizeof *l->engines)) {
        l->picture.short_of_memory = true;
        return;
    }
    (void)fi_nats.natsConnection_GetConnectedUrl(net->control, url, sizeof url);
    (void)fi_nats.natsConnection_GetRTT(net->control, &round_trip);
    l->engines[l->engine_count++] =
        (ferry_look_engine_t){.url = fi_picture_keep(&l->picture, url[0] ? url : net->address.servers[0]),
                              .connected = fi_net_is_up(net),
                              .tls = net->address.tls,
                              .exposed = fi_net_is_exposed(net),
                              .lost = fi_load_relaxed32(&net->times_lost),
                              .since_ns = (uint64_t)(fi_now_ns() - __atomic_load_n(&net->changed_at, __ATOMIC_RELAXED)),
                              .max_payload = net->max_payload,
                              .round_trip_ns = (uint64_t)round_trip};
}

static int add_cell(const char *name, const ferry_cell_info_t *info, void *arg) {
    fi_looking_t *at = arg;
    ferry_look_t *l = at->look;

    if (!fi_grow((void **)&l->objects, l->object_count, sizeof *l->objects)) {
        l->picture.short_of_memory = true;
        return 0;
    }
    ferry_look_object_t *o = &l->objects[l->object_count++];
    *o = (ferry_look_object_t){
        .name = fi_picture_keep(&l->picture, name), .kind = "cell", .count = info->count, .bytes = info->max_bytes};
    snprintf(o->type, sizeof o->type, "%s", info->type_name);
    return 0;
}

int fi_net_look(fi_net_t *net, ferry_look_t *l) {
    fi_looking_t at = {.net = net, .look = l};

    add_own_engine(&at);
    int r = ask_all(&at);
    if (r == 0) {
        add_silent(&at);
        (void)fi_net_cell_each(net, add_cell, &at); /* without JetStream there are none, and others may not list them */
        fi_look_locks(net, l);
    }
    free(at.nodes);
    return r;
}

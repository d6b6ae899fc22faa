/* SPDX-License-Identifier: MIT
 *
 * Outwards: what own senders send for receivers elsewhere. What is kept of it is in flow.c, how it is sent in send.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/messages.h"
#include "net/out.h"

#define TURN 4096u /* messages that are taken before they are sent */

/* ---- finding ---- */

static fi_outward_t *find_outward(fi_bridge_t *b, uint32_t kind, const char *channel, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->outwards) {
        fi_outward_t *o = fi_container(at, fi_outward_t, link);
        if (o->kind == kind && strcmp(o->channel, channel) == 0 && (kind == FERRY_TOPIC || fi_outward_dest(o, n))) {
            return o;
        }
    }
    return NULL;
}

fi_dest_t *fi_outward_dest(const fi_outward_t *o, const fi_far_node_t *n) {
    for (struct fi_list *at = o->dests.next; at != &o->dests; at = at->next) {
        fi_dest_t *d = fi_container(at, fi_dest_t, link);
        if (d->node == n) {
            return d;
        }
    }
    return NULL;
}

/* Calls `each` for every arm, until it returns true. Returns whether it did. */
typedef bool each_arm_fn(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg);

static bool each_arm(fi_bridge_t *b, each_arm_fn *each, void *arg) {
    struct fi_list *at, *next_outward, *in, *next_flow;

    fi_list_each(at, next_outward, &b->outwards) {
        const fi_outward_t *o = fi_container(at, fi_outward_t, link);
        fi_list_each(in, next_flow, &o->flows) {
            fi_flow_t *f = fi_container(in, fi_flow_t, link);
            for (struct fi_list *k = f->arms.next; k != &f->arms; k = k->next) {
                if (each(b, f, fi_container(k, fi_arm_t, link), arg)) {
                    return true;
                }
            }
        }
    }
    return false;
}

struct wanted_arm {
    uint64_t token;
    fi_flow_t *flow;
    fi_arm_t *arm;
};

static bool has_token(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    struct wanted_arm *w = arg;

    (void)b;
    w->flow = f;
    w->arm = arm;
    return arm->token == w->token;
}

/* ---- flows ---- */

static void add_flow(fi_bridge_t *b, fi_outward_t *o, fi_rxlink_t *l) {
    fi_flow_t *f = calloc(1, sizeof *f);
    const fi_own_t *own = fi_own_find(b, l->tx);
    struct fi_list *at;
    struct fi_list *after;

    if (!f) {
        fi_store_release32(&o->changed, 1); /* the next turn tries again */
        return;
    }
    f->outward = o;
    f->tx = l->tx;
    f->retain = own ? own->retain : 0;
    f->first = f->held = f->next = 1;
    f->before = l->next_seq - 1;
    fi_flow_narrow(f);
    fi_list_init(&f->arms);
    fi_list_add_tail(&o->flows, &f->link);
    l->far = f;
    if (o->rationed) {
        fi_receiver_ration(o->rx, l); /* it may have been met before that */
    }
    fi_list_each(at, after, &o->dests) {
        (void)fi_arm_add(b, f, fi_container(at, fi_dest_t, link));
    }
}

/* Senders have come or gone. */
static void look_at_links(fi_bridge_t *b, fi_outward_t *o) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &o->flows) {
        fi_container(at, fi_flow_t, link)->ended = true;
    }
    for (uint32_t i = 0; i < o->rx->link_count; i++) {
        fi_rxlink_t *l = o->rx->links[i];
        if (!l->far) {
            add_flow(b, o, l);
        }
        if (l->far) {
            ((fi_flow_t *)l->far)->ended = false;
        }
    }
    b->progress = true;
}

/* ---- outwards ---- */

static void links_changed(void *whole) {
    fi_outward_t *o = whole;
    uint64_t one = 1;

    fi_store_release32(&o->changed, 1);
    (void)!write(o->bridge->bell, &one, sizeof one);
}

int fi_hidden_receiver_open(fi_bridge_t *b, const fi_hidden_t *h, fi_receiver_t **rx) {
    const ferry_receiver_options_t options = {.senders = UINT32_MAX, .prefetch = h->prefetch};
    const fi_rxpart_t part = {.whole = h->whole,
                              .gains = h->changed,
                              .loses = h->changed,
                              .in_haste = true,
                              .hidden = true,
                              .rings_late = h->rings_late,
                              .to_node = h->to_node,
                              .stays = true,
                              .unchecked = true};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = &h->intake->readable};

    h->intake->readable = true; /* its first look arms the bell */
    int r = fi_receiver_new_part(b->net->node, h->channel, (ferry_kind_t)h->kind, &options, &part, rx);
    if (r == 0 && (r = fi_end_enter(&(*rx)->end, FI_END_RECEIVER)) == 0) {
        r = fi_receiver_fd(*rx);
        fi_end_leave(&(*rx)->end);
        r = r < 0 ? r : epoll_ctl(b->epoll, EPOLL_CTL_ADD, r, &ev);
    }
    return r;
}

ferry_msg_t *fi_hidden_receiver_take(fi_receiver_t *rx, fi_intake_t *intake) {
    ferry_msg_t *m = NULL;
    int r = -EPROTO;

    while (r == -EPROTO && intake->readable) { /* one link the fewer */
        r = fi_receiver_recv(rx, FERRY_NOW, &m);
        intake->held_up = r == -EDQUOT || r == -ENOMEM; /* nobody will ring for what is there already */
        intake->readable = r == 0 || r == -EPROTO || intake->held_up;
    }
    return r == 0 ? m : NULL;
}

void fi_hidden_receiver_close(fi_bridge_t *b, fi_receiver_t *rx) {
    if (rx) {
        (void)epoll_ctl(b->epoll, EPOLL_CTL_DEL, rx->bell.rd, NULL);
        (void)fi_end_enter(&rx->end, FI_END_RECEIVER);
        (void)fi_receiver_close(rx); /* what is held goes back to its senders */
    }
}

static void hand_back(const fi_outward_t *o) {
    if (o->kind == FERRY_QUEUE && o->rx && fi_end_enter(&o->rx->end, FI_END_RECEIVER) == 0) {
        for (struct fi_list *at = o->flows.next; at != &o->flows; at = at->next) {
            fi_flow_hand_back(fi_container(at, fi_flow_t, link));
        }
        fi_end_leave(&o->rx->end);
    }
}

static void close_outward(fi_bridge_t *b, fi_outward_t *o) {
    hand_back(o);
    while (!fi_list_empty(&o->flows)) {
        fi_flow_free(fi_container(o->flows.next, fi_flow_t, link));
    }
    while (!fi_list_empty(&o->dests)) {
        fi_dest_t *d = fi_container(o->dests.next, fi_dest_t, link);
        fi_list_remove(&d->link);
        free(d);
    }
    fi_list_remove(&o->link);
    fi_hidden_receiver_close(b, o->rx);
    free(o);
    b->progress = true;
}

static fi_outward_t *new_outward(fi_bridge_t *b, uint32_t kind, const char *channel) {
    fi_outward_t *o = calloc(1, sizeof *o);

    if (!o) {
        return NULL;
    }
    o->bridge = b;
    o->kind = kind;
    memcpy(o->channel, channel, sizeof o->channel);
    fi_list_init(&o->dests);
    fi_list_init(&o->flows);
    fi_list_add_tail(&b->outwards, &o->link);
    return o;
}

/* How many messages a queue's receivers there may have at once. */
static uint32_t prefetch_of(const fi_far_frame_t *have) {
    return have->head.kind == FERRY_QUEUE ? (uint32_t)fi_min(have->head.b, (uint64_t)UINT32_MAX) : 0;
}

/* It is served already, and says so anew: receivers there have come or gone. */
static void ration(fi_outward_t *o, fi_dest_t *d, const fi_far_frame_t *have) {
    uint32_t prefetch = prefetch_of(have);

    if (have->head.c < d->said) {
        return; /* it was overtaken on its way */
    }
    d->said = have->head.c;
    if (prefetch != o->rx->prefetch && fi_end_enter(&o->rx->end, FI_END_RECEIVER) == 0) {
        o->rx->prefetch = prefetch;
        o->rationed = true;
        for (uint32_t i = 0; i < o->rx->link_count; i++) {
            fi_receiver_ration(o->rx, o->rx->links[i]);
        }
        fi_end_leave(&o->rx->end);
    }
}

static int open_receiver(fi_bridge_t *b, fi_outward_t *o, const fi_far_node_t *n, uint32_t prefetch) {
    const fi_hidden_t h = {.channel = o->channel,
                           .kind = o->kind,
                           .prefetch = prefetch,
                           .to_node = o->kind == FERRY_QUEUE ? n->id : 0, /* a topic's goes to all, once */
                           .whole = o,
                           .changed = links_changed,
                           .intake = &o->intake};

    return fi_hidden_receiver_open(b, &h, &o->rx);
}

void fi_out_serve(fi_bridge_t *b, const fi_far_frame_t *have, fi_far_node_t *n) {
    fi_outward_t *o = find_outward(b, have->head.kind, have->channel, n);
    fi_dest_t *d = o ? fi_outward_dest(o, n) : NULL;
    struct fi_list *at;
    struct fi_list *after;

    if (d) {
        ration(o, d, have);
        return;
    }
    d = calloc(1, sizeof *d);
    bool fresh = !o;
    o = o ? o : new_outward(b, have->head.kind, have->channel);
    if (!o || !d) {
        free(d);
        return;
    }
    d->node = n;
    d->no_history = (have->head.flags & FI_FAR_NO_HISTORY) != 0;
    d->said = have->head.c;
    fi_list_add_tail(&o->dests, &d->link);
    if (fresh && open_receiver(b, o, n, prefetch_of(have)) < 0) {
        close_outward(b, o);
        return;
    }
    fi_list_each(at, after, &o->flows) {
        (void)fi_arm_add(b, fi_container(at, fi_flow_t, link), d);
    }
}

/* What has been acknowledged until now is not to come again. */
static void release_all(fi_bridge_t *b, fi_outward_t *o) {
    struct fi_list *at;
    struct fi_list *after;

    if (fi_end_enter(&o->rx->end, FI_END_RECEIVER) == 0) {
        fi_list_each(at, after, &o->flows) {
            fi_flow_release(b, fi_container(at, fi_flow_t, link));
        }
        fi_end_leave(&o->rx->end);
    }
}

static void remove_dest(fi_bridge_t *b, fi_outward_t *o, fi_dest_t *d) {
    struct fi_list *at, *next_flow, *in, *next_arm;

    release_all(b, o);
    fi_list_each(at, next_flow, &o->flows) {
        const fi_flow_t *f = fi_container(at, fi_flow_t, link);
        fi_list_each(in, next_arm, &f->arms) {
            fi_arm_t *arm = fi_container(in, fi_arm_t, link);
            if (arm->dest == d) {
                fi_arm_remove(arm);
            }
        }
    }
    fi_list_remove(&d->link);
    free(d);
    if (fi_list_empty(&o->dests)) {
        close_outward(b, o);
    }
}

void fi_out_unserve(fi_bridge_t *b, uint32_t kind, const char *channel, const fi_far_node_t *n) {
    fi_outward_t *o = find_outward(b, kind, channel, n);
    fi_dest_t *d = o ? fi_outward_dest(o, n) : NULL;

    if (d) {
        remove_dest(b, o, d);
    }
}

void fi_out_node_gone(fi_bridge_t *b, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->outwards) {
        fi_outward_t *o = fi_container(at, fi_outward_t, link);
        fi_dest_t *d = fi_outward_dest(o, n);
        if (d) {
            remove_dest(b, o, d);
        }
    }
}

void fi_far_tell_denied(fi_bridge_t *b, uint64_t tx, const char *words, const char *subject) {
    fi_frame_t told = fi_frame(FI_DENIED, tx, 0);

    if (fi_net_denies(words, subject)) {
        snprintf(told.text, sizeof told.text, "%s", words);
        (void)fi_peer_send(b->net->node->self, &told, NULL);
    }
}

/* Its own sender learns it at its next call; what is kept is tried again when the node is asked. */
static bool tell_denied(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    const char *words = arg;
    char subject[FI_SUBJECT_MAX];

    if (f->outward->kind == FERRY_TOPIC) {
        fi_far_topic_subject(b, subject, f->outward->channel, b->net->node->id);
    } else {
        fi_net_node_subject(b->net, subject, arm->dest->node->id, NULL);
    }
    fi_far_tell_denied(b, f->tx, words, subject);
    return false;
}

void fi_out_denied(fi_bridge_t *b, const char *words) {
    (void)each_arm(b, tell_denied, (void *)(uintptr_t)words);
}

void fi_out_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->outwards)) {
        close_outward(b, fi_container(b->outwards.next, fi_outward_t, link));
    }
}

/* ---- frames ---- */

static void ready(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm) {
    fi_far_frame_t live = fi_far_frame(b, FI_FAR_LIVE, f->outward->kind, f->outward->channel);

    if (!arm->live) {
        arm->live = true;
        arm->again = f->sent > arm->received ? arm->received + 1 : 0;
    }
    live.head.tx = f->tx;
    live.head.token = arm->token;
    live.head.a = arm->received + 1;
    fi_far_send(b, arm->dest->node->id, &live);
}

/* Of what was sent before it was asked, since it has answered. */
static bool lacks_probed(const fi_arm_t *arm) {
    return arm->received < arm->probed || (arm->received == arm->probed && arm->got < arm->probed_to);
}

static void acked(fi_flow_t *f, fi_arm_t *arm, const fi_far_head_t *h) {
    if (!arm->live || h->a > f->most || h->b > h->a || h->a < arm->received || h->b < arm->released) {
        return; /* nothing of it can be true, or it is old */
    }
    while (f->sent < h->a) { /* it was to be sent again, and has arrived already */
        f->way_bytes += fi_flow_at(f, ++f->sent)->size - f->piece;
        f->piece = 0;
    }
    arm->received = h->a;
    arm->released = h->b;
    arm->got = h->c;
    bool lacks = arm->received < f->sent || (f->piece > 0 && arm->got < f->piece);
    if (lacks && (h->flags & FI_FAR_MISSES || (h->flags & FI_FAR_PROBED && lacks_probed(arm)))) {
        fi_flow_send_again(f, arm);
    }
    if (h->flags & FI_FAR_PROBED) {
        f->shut = false; /* said again, if it is so */
    }
}

void fi_out_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *frame) {
    struct wanted_arm w = {.token = frame->head.token};

    if (!each_arm(b, has_token, &w) || w.arm->dest->node != n) {
        if (frame->head.type == FI_FAR_ACK) {
            fi_far_frame_t lost = fi_far_frame(b, FI_FAR_LOST, frame->head.kind, frame->channel);
            lost.head.token = frame->head.token;
            lost.head.flags = FI_FAR_TO_RECEIVER;
            fi_far_send(b, n->id, &lost);
        }
        return;
    }
    switch (frame->head.type) {
    case FI_FAR_READY:
        ready(b, w.flow, w.arm);
        break;
    case FI_FAR_ACK:
        acked(w.flow, w.arm, &frame->head);
        break;
    case FI_FAR_FATE:
        if (w.flow->outward->kind == FERRY_QUEUE && fi_end_enter(&w.flow->outward->rx->end, FI_END_RECEIVER) == 0) {
            fi_flow_fate(w.flow, w.arm, frame);
            fi_end_leave(&w.flow->outward->rx->end);
        }
        break;
    default: /* REFUSED, LOST: it will not have them; others may, and it may ask again */
        remove_dest(b, w.flow->outward, w.arm->dest);
    }
}

static bool begin_again(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    (void)arg;
    if (arm->live) {
        fi_flow_send_again(f, arm);
    } else {
        fi_arm_open(b, f, arm);
    }
    return false;
}

void fi_out_again(fi_bridge_t *b) {
    (void)each_arm(b, begin_again, NULL);
}

void fi_out_opened(fi_bridge_t *b, const fi_own_t *own) {
    struct fi_list *at, *next_outward, *in, *next_flow;

    fi_list_each(at, next_outward, &b->outwards) {
        const fi_outward_t *o = fi_container(at, fi_outward_t, link);
        fi_list_each(in, next_flow, &o->flows) {
            fi_flow_t *f = fi_container(in, fi_flow_t, link);
            f->retain = f->tx == own->id ? own->retain : f->retain;
        }
    }
}

/* ---- questions ---- */

bool fi_out_settled(fi_bridge_t *b, uint64_t tx, uint32_t kind, const char *channel) {
    struct fi_list *at, *next_outward, *in, *next_flow;

    fi_list_each(at, next_outward, &b->outwards) {
        const fi_outward_t *o = fi_container(at, fi_outward_t, link);
        bool met = o->kind != kind || strcmp(o->channel, channel) != 0;
        fi_list_each(in, next_flow, &o->flows) {
            const fi_flow_t *f = fi_container(in, fi_flow_t, link);
            if (f->tx == tx) {
                met = true;
                for (struct fi_list *k = f->arms.next; k != &f->arms; k = k->next) {
                    met &= fi_container(k, fi_arm_t, link)->live;
                }
            }
        }
        if (!met) {
            return false;
        }
    }
    return true;
}

static bool lacks(const fi_flow_t *f, const fi_arm_t *arm) {
    return !arm->live || arm->released < f->sent;
}

static bool awaits(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    (void)b;
    return arm->dest->node == arg && (lacks(f, arm) || f->piece > 0);
}

bool fi_out_awaits(fi_bridge_t *b, fi_far_node_t *n) {
    return each_arm(b, awaits, n);
}

static bool serves(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    (void)b;
    (void)f;
    return arm->dest->node == arg;
}

bool fi_out_serves(fi_bridge_t *b, fi_far_node_t *n) {
    return each_arm(b, serves, n);
}

static bool note_probe(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, void *arg) {
    if (arm->dest->node == arg) {
        arm->probed = f->sent;
        arm->probed_to = f->piece;
        if (lacks(f, arm)) {
            fi_arm_open(b, f, arm); /* the first may have been lost, or the node has given this one up */
        }
    }
    return false;
}

void fi_out_probed(fi_bridge_t *b, fi_far_node_t *n) {
    (void)each_arm(b, note_probe, n);
}

/* ---- a turn ---- */

/* Is as much kept as may be, or does enough wait to be sent? */
static bool is_full(const fi_outward_t *o) {
    for (const struct fi_list *at = o->flows.next; at != &o->flows; at = at->next) {
        const fi_flow_t *f = fi_container(at, fi_flow_t, link);
        if (f->held_bytes >= FI_FAR_KEPT || f->next - 1 - f->sent >= TURN) {
            return true;
        }
    }
    return false;
}

/* Takes what is there, as far as it may be kept. The end is held. */
static void take(fi_bridge_t *b, fi_outward_t *o) {
    ferry_msg_t *m;

    while (!is_full(o) && (m = fi_hidden_receiver_take(o->rx, &o->intake)) != NULL) {
        if (!m->link->far) {
            look_at_links(b, o);
        }
        fi_flow_t *f = m->link->far;
        if (!f || fi_flow_make_room(f) < 0) {
            fi_taken_release_held(m); /* no memory at all: it is lost, as it would be with this process */
            continue;
        }
        fi_flow_keep(f, m);
    }
}

static bool turn(fi_bridge_t *b, fi_outward_t *o, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;

    if (fi_end_enter(&o->rx->end, FI_END_RECEIVER) < 0) {
        return false;
    }
    take(b, o);
    if (fi_load_acquire32(&o->changed)) {
        fi_store_release32(&o->changed, 0);
        look_at_links(b, o);
    }
    fi_list_each(at, after, &o->flows) {
        fi_flow_t *f = fi_container(at, fi_flow_t, link);
        fi_flow_send(b, f);
        fi_flow_release(b, f);
        if (f->ended && f->shut && f->held == f->next) {
            fi_flow_free(f);
        }
    }
    fi_end_leave(&o->rx->end);
    *waits |= o->intake.held_up;
    return o->intake.readable && !o->intake.held_up && !is_full(o);
}

bool fi_out_turn(fi_bridge_t *b, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;
    bool more = false;

    fi_list_each(at, after, &b->outwards) {
        more |= turn(b, fi_container(at, fi_outward_t, link), waits);
    }
    return more;
}

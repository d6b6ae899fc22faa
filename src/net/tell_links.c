/* SPDX-License-Identifier: MIT
 *
 * What the bridge knows, for who looks: the connection, the links with nodes on other machines, and for full channels
 * through whose receivers they lead.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "net/durable.h"
#include "net/tell.h"
#include "platform/clock.h"

static void tell_engine(const fi_net_t *net, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_ENGINE, 0, 0);
    char url[280] = "";

    bool up = fi_net_is_up(net);
    if (fi_nats.natsConnection_GetConnectedUrl(net->bulk, url, sizeof url) != NATS_OK || !url[0]) {
        memcpy(url, net->address.servers[0], sizeof url);
    }
    snprintf(f.text, sizeof f.text, "%.103s", url);
    f.figures[0] = up;
    f.figures[1] = net->address.tls;
    f.figures[2] = fi_net_is_exposed(net);
    f.figures[3] = fi_load_relaxed32(&net->times_lost);
    f.figures[4] = (uint64_t)(fi_now_ns() - __atomic_load_n(&net->changed_at, __ATOMIC_RELAXED));
    f.figures[5] = net->max_payload;
    (void)fi_peer_send(p, &f, NULL);
}

/* Figures of LOOK_FAR, in the order of ferry_look_link_t's. */
enum {
    AGE,
    SILENT,
    BYTES_SENT,
    MESSAGES_SENT,
    RESENT,
    BYTES_GOT,
    MESSAGES_GOT,
    WAITING,
    ON_THE_WAY,
    UNRELEASED,
    ARRIVED
};

static void count_outward(const fi_outward_t *o, const fi_far_node_t *n, fi_frame_t *f) {
    for (const struct fi_list *at = o->flows.next; at != &o->flows; at = at->next) {
        const fi_flow_t *flow = fi_container(at, fi_flow_t, link);
        for (const struct fi_list *k = flow->arms.next; k != &flow->arms; k = k->next) {
            const fi_arm_t *arm = fi_container(k, fi_arm_t, link);
            if (arm->dest->node == n) {
                f->figures[WAITING] += flow->next - 1 - flow->sent;
                f->figures[ON_THE_WAY] += flow->sent - fi_min(flow->sent, arm->received);
                f->figures[UNRELEASED] += arm->received - fi_min(arm->received, arm->released);
            }
        }
    }
}

static void tell_link(const fi_bridge_t *b, const fi_far_node_t *n, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_FAR, 0, 0);
    int64_t now = fi_now_ns();

    f.a = n->id;
    f.b = (uint64_t)n->round_trip;
    memcpy(f.text, n->name, sizeof f.text);
    snprintf(f.contract.type_name, sizeof f.contract.type_name, "%s", n->host);
    f.figures[AGE] = n->round_trip ? (uint64_t)(now - n->timed_at) : 0;
    f.figures[SILENT] = n->silent_since ? (uint64_t)(now - n->silent_since) : 0;
    f.figures[BYTES_SENT] = n->traffic.bytes_sent;
    f.figures[MESSAGES_SENT] = n->traffic.messages_sent;
    f.figures[RESENT] = n->traffic.resent;
    f.figures[BYTES_GOT] = n->traffic.bytes_received;
    f.figures[MESSAGES_GOT] = n->traffic.messages_received;
    for (const struct fi_list *at = b->outwards.next; at != &b->outwards; at = at->next) {
        count_outward(fi_container(at, fi_outward_t, link), n, &f);
    }
    for (const struct fi_list *at = b->inwards.next; at != &b->inwards; at = at->next) {
        const fi_inward_t *in = fi_container(at, fi_inward_t, link);
        f.figures[ARRIVED] += in->node == n ? in->received - in->released : 0;
    }
    (void)fi_peer_send(p, &f, NULL);
}

/* Does this node keep one of the outward's senders waiting? A topic's are kept by the slowest, a queue's by the only
 * one. */
static bool keeps_waiting(const fi_outward_t *o, const fi_dest_t *d) {
    for (const struct fi_list *at = o->flows.next; at != &o->flows; at = at->next) {
        const fi_flow_t *flow = fi_container(at, fi_flow_t, link);
        uint64_t least = UINT64_MAX;
        uint64_t mine = UINT64_MAX;
        for (const struct fi_list *k = flow->arms.next; k != &flow->arms; k = k->next) {
            const fi_arm_t *arm = fi_container(k, fi_arm_t, link);
            least = fi_min(least, arm->released);
            mine = arm->dest == d ? arm->released : mine;
        }
        if (mine == least && mine + 1 < flow->next) {
            return true;
        }
    }
    return false;
}

static void tell_vias(const fi_outward_t *o, fi_peer_t *p) {
    for (const struct fi_list *at = o->dests.next; at != &o->dests; at = at->next) {
        const fi_dest_t *d = fi_container(at, fi_dest_t, link);
        if (keeps_waiting(o, d)) {
            fi_frame_t f = fi_frame(FI_LOOK_VIA, 0, o->rx->end.id);
            f.kind = (uint16_t)o->kind;
            f.a = d->node->id;
            memcpy(f.text, o->channel, sizeof f.text);
            (void)fi_peer_send(p, &f, NULL);
        }
    }
}

void fi_links_tell(fi_bridge_t *b, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    tell_engine(b->net, p);
    fi_list_each(at, after, &b->nodes) {
        tell_link(b, fi_container(at, fi_far_node_t, link), p);
    }
    fi_list_each(at, after, &b->outwards) {
        tell_vias(fi_container(at, fi_outward_t, link), p);
    }
    fi_deposits_tell(b, p);
}

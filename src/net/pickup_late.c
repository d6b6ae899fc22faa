/* SPDX-License-Identifier: MIT
 *
 * Durable queues: what is on its way to own receivers when the last of them leaves.
 *
 * The engine has counted it as delivered, and would wait for six seconds before anybody else gets it.  So where it
 * arrives somebody listens a while longer, and hands it back, unless it was released here before, until the engine says
 * that it has heard that nothing more is to be sent there.
 */
#include "net/pickup.h"

#include <stdlib.h>

#include "platform/clock.h"

#define LATE_NS FI_NET_DEAD_NS

typedef struct late {
    struct fi_list link;
    fi_way_ear_t ear;
    fi_bridge_t *bridge;
    int64_t until; /* ns */
    fi_known_t *known;
} late_t;

static bool was_released(const late_t *l, fi_identity_t id) {
    bool known = fi_known_add(l->known, id);

    if (!known) {
        fi_known_forget(l->known, id);
    }
    return known;
}

static void hand_back(void *arg, natsMsg *msg) {
    const late_t *l = arg;
    const char *ack = msg ? fi_nats.natsMsg_GetReply(msg) : NULL;
    fi_delivery_t d;

    if (fi_durable_read_ack(ack, &d) && was_released(l, fi_durable_identify(msg, &d))) {
        fi_pickup_acknowledge_again(l->bridge, ack);
    } else if (fi_durable_read_ack(ack, &d)) {
        fi_pickup_hand_back(l->bridge, ack, FI_PICKUP_LATER_NS);
    }
    fi_bridge_drop(l->bridge, msg);
}

static void forget(late_t *l) {
    fi_way_unlisten(&l->ear);
    fi_list_remove(&l->link);
    free(l->known);
    free(l);
}

bool fi_pickup_listen_late(fi_bridge_t *b, fi_way_ear_t *ear, fi_known_t *known) {
    late_t *l = calloc(1, sizeof *l);

    if (!l) {
        fi_way_unlisten(ear); /* without memory it comes again after those six seconds */
        return false;
    }
    l->bridge = b;
    l->until = fi_now_ns() + LATE_NS;
    l->ear.take = hand_back;
    l->ear.arg = l;
    fi_list_add_tail(&b->lates, &l->link);
    l->known = known;
    fi_way_hand_on(b->net, ear, &l->ear);
    return true;
}

int64_t fi_pickup_late_turn(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_list_empty(&b->lates) ? 0 : fi_now_ns();
    int64_t next = -1;

    fi_list_each(at, after, &b->lates) {
        late_t *l = fi_container(at, late_t, link);
        if (fi_way_is_over(&l->ear) || now >= l->until) {
            forget(l);
        } else {
            next = fi_sooner(next, l->until - now);
        }
    }
    return next;
}

void fi_pickup_late_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->lates)) {
        forget(fi_container(b->lates.next, late_t, link));
    }
}

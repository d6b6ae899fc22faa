/* SPDX-License-Identifier: MIT
 *
 * A sender that waits long for room tells its node who could make it: a queue's receivers, any of them; a topic's
 * slowest, all of them.  So a circle that goes through a full channel is found like one through locks.
 */
#include <errno.h>
#include <stdlib.h>

#include "channel/sender.h"
#include "ferry/look.h"

/* The readers of a topic's ring whose cursors are furthest behind hold everybody else back. */
static void add_slowest(fi_blocked_t *b, const fi_outlet_t *o) {
    uint32_t at = o->first % FI_LOGS;
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < o->link_count; i++) {
        least = o->links[i]->seen[at] < least ? o->links[i]->seen[at] : least;
    }
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->seen[at] == least && !o->links[i]->lossy) {
            fi_blocked_by(b, o->links[i]);
        }
    }
}

static void name_receivers(const fi_sender_t *tx, fi_blocked_t *b) {
    uint32_t most = tx->topic ? tx->topic->link_count : tx->link_count;

    b->keys = most ? calloc(most, sizeof *b->keys) : NULL;
    if (!b->keys) {
        return;
    }
    if (tx->topic) {
        add_slowest(b, tx->topic);
    }
    for (uint32_t i = 0; !tx->topic && i < tx->link_count; i++) {
        fi_blocked_by(b, tx->links[i]);
    }
}

int fi_sender_look_why(fi_sender_t *tx) {
    fi_blocked_t *b = &tx->stall.blocked;
    fi_blocked_t now = {.what = FERRY_FOR_ROOM,
                        .needs_all = tx->topic != NULL,
                        .detects = !tx->stall.bears_it,
                        .name = tx->end.channel,
                        .since = tx->stall.pace.since,
                        .sleeper = &tx->end};

    name_receivers(tx, &now);
    fi_waits_go_on(tx->end.node, b, &now);
    if (!b->detects) {
        return -EAGAIN;
    }
    fi_end_begin_sleep(&tx->end); /* for those who look meanwhile */
    int r = fi_waits_judge(tx->end.node, b, tx->stall.deadline);
    fi_end_end_sleep(&tx->end);
    return r < 0 ? r : -EAGAIN;
}

/* Who has made room rings its node, and that wakes it. */
bool fi_sender_stirs(const fi_end_t *e) {
    const fi_sender_t *tx = fi_container(e, const fi_sender_t, end);

    return fi_load_acquire32(&e->busy) != FI_BUSY_ASLEEP || fi_bell_is_rung(e->node->bell.rd) ||
           fi_load_acquire32(&tx->room) != fi_load_relaxed32(&tx->stall.room);
}

void fi_sender_waited(fi_sender_t *tx) {
    tx->stall.pace.since = 0;
    fi_waits_strike(&tx->stall.blocked);
}

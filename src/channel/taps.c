/* SPDX-License-Identifier: MIT
 *
 * Those who look at what a sender sends, and take no part: `ferry tap`.
 *
 * They have an outlet of their own, whose one ring all of them read and may be overtaken in.  What the sender accepts
 * is put there once more, so nobody else's ring, order or room depends on who looks; a sender at which nobody looks has
 * no such outlet, and its quick way does not know of it.
 *
 * What is shown by pointer holds a block of the pool until it is looked at, or overtaken.  A tap that lags behind must
 * not use the quota up: the pool asks for that memory before it says that it has no more, and the tap loses it.  It
 * copies what it is shown, and looks afterwards whether it was overtaken meanwhile, so that it never has to announce
 * what it holds.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "channel/sender.h"
#include "node/shown.h"

static int add_link(fi_sender_t *tx, fi_txlink_t *l, fi_remote_t *remote) {
    if (!tx->taps) {
        int r = fi_outlet_new(tx, FI_LARGE_RING_LINES, &tx->taps);
        if (r < 0) {
            return r;
        }
        tx->taps->is_for_taps = true;
    }
    l->remote = remote;
    l->tap = l->lossy = true;
    l->first = l->offered = tx->taps->current;
    l->start = fi_outlet_log(tx->taps)->w.pos;
    l->seen[l->first % FI_LOGS] = l->start;
    return fi_outlet_add_link(tx->taps, l);
}

static void drop_outlet_if_idle(fi_sender_t *tx) {
    if (tx->taps && tx->taps->link_count == 0) {
        fi_outlet_free(tx->taps);
        tx->taps = NULL;
    }
}

int fi_taps_met(fi_sender_t *tx, fi_mail_t *m) {
    fi_txlink_t *l = calloc(1, sizeof *l);
    int r = l ? add_link(tx, l, m->remote)
              : fi_fail(-ENOMEM, "no memory to let somebody look at '%s'", fi_channel_shown(tx->end.channel));

    if (r < 0) {
        drop_outlet_if_idle(tx);
        free(l);
        return r;
    }
    m->remote = NULL;
    fi_txlink_offer(tx, l);
    return 0;
}

void fi_taps_drop(fi_sender_t *tx, fi_txlink_t *l) {
    if (!l->live) {
        fi_node_count_tap(&tx->end);
    }
    fi_outlet_remove_link(tx->taps, l);
    fi_txlink_free(l);
    drop_outlet_if_idle(tx);
}

void fi_taps_peer_gone(fi_sender_t *tx, const fi_peer_t *p) {
    for (uint32_t k = tx->taps->link_count; k-- > 0;) {
        bool last = tx->taps->link_count == 1;
        if (tx->taps->links[k]->remote->peer == p) {
            if (last) {
                fi_log_t *log = fi_outlet_log(tx->taps);
                fi_log_lose(log, log->w.pos); /* it may live, and read what is written over from here on */
            }
            fi_taps_drop(tx, tx->taps->links[k]);
            if (last) {
                return;
            }
        }
    }
}

void fi_taps_show(fi_sender_t *tx, const fi_item_t *item) {
    (void)fi_outlet_put(tx->taps, item); /* without memory for it, they lose it */
    fi_outlet_reclaim(tx->taps, false);
}

bool fi_taps_yield(void *owner) {
    fi_sender_t *tx = owner;

    return tx->taps && fi_outlet_lose_oldest(tx->taps);
}

static bool is_shown(const fi_log_t *log, const fi_block_t *b) {
    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        if (log->lent[i & (log->lent_cap - 1)].block == b) {
            return true;
        }
    }
    return false;
}

void fi_taps_let_go(fi_sender_t *tx, const fi_block_t *b) {
    while (tx->taps && is_shown(fi_outlet_log(tx->taps), b) && fi_outlet_lose_oldest(tx->taps)) {
    }
}

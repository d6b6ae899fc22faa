/* SPDX-License-Identifier: MIT
 *
 * Dropping what waits, because somebody has asked for it: `ferry purge`.
 *
 *   asker               sender's node                     receiver's node
 *   PURGE        ->     what is in no ring is dropped
 *                       SKIP (up to a place)       ->     leaves out what its program has not taken
 *                <-     PURGED (dropped, asked for)
 *                <-     PURGED (left out)          <-     SKIPPED
 *
 * What stands in a ring may be taken at this very moment, and only its reader can tell: so the reader drops it, by
 * releasing it without giving it to anybody.  One that is stopped does so when it goes on; if it dies instead, what it
 * had not taken is not taken back.  So what was purged reaches nobody who had not taken it before.
 */
#include "channel/history.h"

static uint64_t pending(const fi_sender_t *tx) {
    uint64_t count = 0;

    for (uint32_t i = 0; i < tx->link_count; i++) {
        count += tx->links[i]->purging;
    }
    return count;
}

bool fi_purge_goes_on(const fi_sender_t *tx) {
    return tx->purge.number > 0 && pending(tx) > 0;
}

static void report(fi_sender_t *tx, uint64_t count) {
    fi_frame_t f = fi_frame(FI_PURGED, tx->end.id, 0);

    (void)fi_sender_unreleased(tx, true); /* for the figures */
    f.a = count;
    f.b = pending(tx);
    f.flags = tx->end.hidden ? FI_PURGE_PASSED_ON : 0;
    if (tx->purge.asker) {
        (void)fi_peer_send(tx->purge.asker, &f, NULL);
    }
    if (f.b == 0) {
        fi_purge_forget(tx);
    }
}

void fi_purge_forget(fi_sender_t *tx) {
    fi_peer_unref(tx->purge.asker);
    tx->purge.asker = NULL;
}

/* A topic's messages wait for those that come late. */
static uint64_t forget_history(fi_sender_t *tx) {
    uint64_t count = tx->retained_count - fi_sender_first_retained(tx);

    tx->retained_count = 0;
    tx->forsaken = 0;
    fi_sender_reclaim(tx);
    return count;
}

/* What comes back from another reader later has an old number, too, but stands behind. */
bool fi_link_has_purged(const fi_txlink_t *l, const fi_log_t *log, uint64_t pos, uint64_t seq) {
    return seq <= l->purged_to &&
           (log->serial < l->purged_serial || (log->serial == l->purged_serial && pos < l->purged_pos));
}

static void ask_to_skip(fi_sender_t *tx, fi_txlink_t *l) {
    fi_frame_t f = fi_frame(FI_SKIP, tx->end.id, l->remote->end);
    const fi_log_t *log = fi_outlet_log(l->outlet);

    l->purging += fi_backlog_untaken(tx, l->outlet, l); /* what was asked for before may still be answered for */
    if (l->purging > 0) {
        l->purged_to = tx->seq;
        l->purged_serial = log->serial;
        l->purged_pos = log->w.pos;
        f.a = tx->seq;
        f.b = tx->purge.number;
        f.figures[0] = log->serial;
        f.figures[1] = log->w.pos;
        (void)fi_peer_send(l->remote->peer, &f, NULL);
    }
}

void fi_purge_asked(fi_sender_t *tx, const fi_mail_t *m) {
    fi_purge_forget(tx); /* whoever asked before learns from the figures of the sender */
    tx->purge.asker = fi_peer_ref(m->peer);
    tx->purge.number++;
    uint64_t count = tx->topic ? forget_history(tx) : fi_backlog_purge(tx);
    if (!tx->topic) {
        tx->stats.purged += count;
        fi_backlog_watch(tx); /* nothing waits: no release is to call the steward */
    }
    for (uint32_t i = 0; i < tx->link_count; i++) {
        ask_to_skip(tx, tx->links[i]);
    }
    report(tx, count);
}

void fi_purge_skipped(fi_sender_t *tx, fi_txlink_t *l, const fi_frame_t *f) {
    if (f->b > tx->purge.number || l->purging == 0) {
        return;
    }
    uint64_t count = fi_min(f->a, l->purging); /* it cannot have had more */
    l->purging = f->b == tx->purge.number ? 0 : l->purging - count;
    tx->stats.purged += count;
    report(tx, count);
}

void fi_purge_link_gone(fi_sender_t *tx, fi_txlink_t *l, uint64_t count) {
    l->purging = 0;
    report(tx, count);
}

/* SPDX-License-Identifier: MIT
 *
 * A sender's links: how they come, live and go.
 *
 *   MEET_RECEIVER ──> offered ── ACCEPT ──> live ── CLOSE, EXPEL, peer gone ──> dropped
 *                        └── REFUSE, CLOSE, peer gone ──> dropped
 *
 * Dropped while its receiver's program may still read, a link becomes a ghost (ghosts.h).
 *
 * A topic's link holds the sender back from the offer on: nothing published after the receiver was met escapes it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/dispatch.h"
#include "channel/ghosts.h"
#include "channel/history.h"
#include "channel/late.h"
#include "channel/latest.h"
#include "channel/rendezvous.h"
#include "channel/sender.h"
#include "channel/tell.h"
#include "node/shown.h"
#include "platform/futex.h"

/* The same node by another connection, which is met when two newcomers dial each other; by the kernel's word, not its
 * own. */
static bool same_node(const fi_peer_t *a, const fi_peer_t *b) {
    return a == b || (a->id == b->id && a->pid == b->pid && a->uid == b->uid);
}

static fi_txlink_t *find_in(const fi_outlet_t *o, const fi_peer_t *p, uint64_t rx) {
    for (uint32_t k = 0; k < o->link_count; k++) {
        if (o->links[k]->remote->end == rx && same_node(o->links[k]->remote->peer, p)) {
            return o->links[k];
        }
    }
    return NULL;
}

static fi_txlink_t *find_link(const fi_sender_t *tx, const fi_peer_t *p, uint64_t rx) {
    fi_txlink_t *l = tx->taps ? find_in(tx->taps, p, rx) : NULL;

    for (uint32_t i = 0; i < tx->outlet_count && !l; i++) {
        l = find_in(tx->outlets[i], p, rx);
    }
    return l;
}

static int remember_outlet(fi_sender_t *tx, fi_outlet_t *o) {
    fi_outlet_t **more = realloc(tx->outlets, (tx->outlet_count + 1) * sizeof(fi_outlet_t *));
    fi_txlink_t **links = realloc(tx->links, (tx->outlet_count + 1) * sizeof(fi_txlink_t *));
    if (more) {
        tx->outlets = more;
    }
    if (links) {
        tx->links = links;
    }
    if (!more || !links) {
        return fi_fail(-ENOMEM, "no memory for a link on '%s'", fi_channel_shown(tx->end.channel));
    }
    tx->outlets[tx->outlet_count] = o;
    fi_store_relaxed32(&tx->outlet_count, tx->outlet_count + 1);
    return 0;
}

int fi_sender_add_outlet(fi_sender_t *tx, uint32_t lines, fi_outlet_t **out) {
    fi_outlet_t *o;
    int r = fi_outlet_new(tx, lines, &o);
    if (r < 0) {
        return r;
    }
    r = remember_outlet(tx, o);
    if (r < 0) {
        fi_outlet_free(o);
        return r;
    }
    *out = o;
    return 0;
}

void fi_sender_forget_outlet(fi_sender_t *tx, fi_outlet_t *o) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        if (tx->outlets[i] == o) {
            fi_store_relaxed32(&tx->outlet_count, tx->outlet_count - 1);
            tx->outlets[i] = tx->outlets[tx->outlet_count];
            break;
        }
    }
    if (o->ghosts) {
        fi_haunted_add(tx, o);
    } else {
        fi_outlet_free(o);
    }
}

static void tell_segment(fi_sender_t *tx, const fi_txlink_t *l, enum fi_frame_type type, const fi_segment_t *s) {
    fi_frame_t f = fi_frame(type, tx->end.id, l->remote->end);
    fi_cargo_t cargo = {type == FI_SEGMENT ? s->memory : NULL, {-1, -1}};

    f.a = s->id;
    (void)fi_peer_send(l->remote->peer, &f, &cargo);
}

/* 1, or -ENOMEM. */
static int note_announced(fi_txlink_t *l, uint32_t id) {
    if (id >= l->announced_bits) {
        uint32_t bits = (id / 64 + 1) * 2 * 64;
        uint64_t *more = realloc(l->announced, bits / 8);
        if (!more) {
            return fi_fail(-ENOMEM, "no memory to remember what a receiver was told");
        }
        memset(more + l->announced_bits / 64, 0, (bits - l->announced_bits) / 8);
        l->announced = more;
        l->announced_bits = bits;
    }
    l->announced[id / 64] |= 1ull << id % 64;
    return 1;
}

int fi_link_announce(fi_sender_t *tx, fi_txlink_t *l, const fi_segment_t *s) {
    int r = fi_txlink_knows(l, s->id) ? 0 : note_announced(l, s->id);

    if (r == 1) {
        tell_segment(tx, l, FI_SEGMENT, s);
        l->behind = true;
    }
    return r < 0 ? r : 0;
}

int fi_outlet_announce(fi_outlet_t *o, const fi_segment_t *s) {
    bool wait = false;

    for (uint32_t k = 0; k < o->link_count; k++) {
        fi_txlink_t *l = o->links[k];
        int r = fi_link_announce(o->tx, l, s);
        if (r < 0) {
            return r;
        }
        l->behind = l->behind && fi_peer_is_behind(l->remote->peer);
        wait |= l->behind && !l->lossy;
    }
    return wait ? -EAGAIN : 0;
}

static void retire_from(const fi_outlet_t *o, const fi_segment_t *s) {
    for (uint32_t k = 0; k < o->link_count; k++) {
        if (fi_txlink_knows(o->links[k], s->id)) {
            tell_segment(o->tx, o->links[k], FI_UNSEGMENT, s);
        }
    }
}

void fi_sender_retire(void *owner, fi_segment_t *s) {
    fi_sender_t *tx = owner;

    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        retire_from(tx->outlets[i], s);
    }
    if (tx->taps) {
        retire_from(tx->taps, s);
    }
}

void fi_txlink_tell(fi_sender_t *tx, const fi_remote_t *r, enum fi_frame_type type) {
    fi_frame_t f = fi_frame(type, tx->end.id, r->end);
    (void)fi_peer_send(r->peer, &f, NULL);
}

/* Of what is kept for late comers, the newest may be still to come into the ring. */
static uint64_t retained_in_backlog(const fi_sender_t *tx) {
    return fi_min(tx->backlog_count, tx->retain);
}

static uint64_t first_position(const fi_sender_t *tx, const fi_log_t *log, bool history) {
    uint64_t in_ring = tx->retain - retained_in_backlog(tx);
    uint64_t first = fi_sender_first_retained(tx);

    if (tx->retained_count - first > in_ring) {
        first = tx->retained_count - in_ring;
    }
    return history && first < tx->retained_count ? tx->retained[first % tx->retain] : log->w.pos;
}

/* The number of the first message that is a topic's link's own. What waits for others was sent before. */
static uint64_t first_number(const fi_sender_t *tx, const fi_txlink_t *l, const fi_log_t *log) {
    const struct fi_list *at = &tx->backlog;

    if (l->start < log->w.pos) {
        return fi_ringw_at(&log->w, (uint32_t)(l->start % log->w.lines))->seq;
    }
    for (uint64_t i = l->no_history ? 0 : retained_in_backlog(tx); i > 0; i--) {
        at = at->prev;
    }
    return at == &tx->backlog ? tx->seq + 1 : fi_container(at, const fi_waiting_t, link)->seq;
}

/* What is on its way to other machines is theirs, whenever it was sent. */
static bool is_late(const fi_sender_t *tx, const fi_txlink_t *l) {
    return tx->topic && tx->backlog_count > 0 && !l->hidden;
}

/* What is kept for late comers may point into the pool. */
static void announce_history(fi_outlet_t *o, const fi_log_t *log, uint64_t start) {
    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        const fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
        if (lent->block && lent->pos >= start) {
            (void)fi_outlet_announce(o, lent->block->segment);
        }
    }
}

void fi_txlink_offer(fi_sender_t *tx, fi_txlink_t *l) {
    fi_log_t *log = fi_outlet_log(l->outlet);
    fi_frame_t f = fi_frame(FI_OFFER, tx->end.id, l->remote->end);
    fi_cargo_t cargo = {log->memory, {-1, -1}};

    f.kind = (uint16_t)tx->end.kind;
    f.a = l->start;
    f.b = l->first;
    f.flags = (l->lossy ? FI_OFFER_LOSSY : 0u) | (tx->part.counted ? FI_OFFER_COUNTED : 0u) |
              (is_late(tx, l) ? FI_OFFER_LATE : 0u);
    f.contract = tx->end.contract;
    f.figures[0] = first_number(tx, l, log);
    f.figures[1] = tx->part.from_node;
    f.figures[2] = tx->part.from_end;
    memcpy(f.text, tx->end.channel, sizeof f.text);
    (void)fi_peer_send(l->remote->peer, &f, &cargo);
    fi_link_looks_there(l, log->memory);
    announce_history(l->outlet, log, l->start);
    if (l->per_tag) {
        fi_outlet_tell_saved(l->outlet);
    }
    fi_outlet_offer_next(l->outlet, l);
}

/* Messages for it go the long way: it is looked how many it has, or how long. */
static bool is_rationed(const fi_txlink_t *l) {
    return l->prefetch != 0 || l->ack_within != 0;
}

static int new_link(fi_sender_t *tx, fi_mail_t *m, fi_txlink_t **out) {
    fi_outlet_t *o = tx->topic;
    fi_txlink_t *l = calloc(1, sizeof *l);
    int r = 0;

    if (!l) {
        return fi_fail(-ENOMEM, "no memory for a link on '%s'", fi_channel_shown(tx->end.channel));
    }
    if (!o) {
        r = fi_sender_add_outlet(tx, tx->first_lines, &o);
    }
    if (r < 0) {
        free(l);
        return r;
    }
    fi_log_t *log = fi_outlet_log(o);
    /* Of a durable topic, it is the stream that loses what is not read. */
    bool loses = tx->end.contract.hold == FERRY_HOLD_NEVER && tx->end.contract.durable != FERRY_DURABLE;
    l->lossy = tx->topic && (m->frame.flags & FI_MEET_MAY_LOSE || loses);
    l->per_tag = l->lossy && (m->frame.flags & FI_MEET_PER_TAG) != 0;
    l->depth = fi_min(m->frame.a, (uint64_t)FI_MAX_RING_LINES);
    l->first = l->offered = o->current;
    l->no_history = (m->frame.flags & FI_MEET_NO_HISTORY) != 0;
    l->start = first_position(tx, log, !l->no_history);
    l->seen[l->first % FI_LOGS] = l->start;
    l->remote = m->remote;
    r = fi_outlet_add_link(o, l);
    if (r < 0) {
        if (o != tx->topic) {
            fi_sender_forget_outlet(tx, o);
        }
        free(l);
        return r;
    }
    if (!l->lossy && l->start < log->freed) {
        log->freed = l->start; /* its history must stay until it was read */
        fi_log_set_limit(o, log);
    }
    l->prefetch = tx->topic ? 0 : (uint32_t)fi_min(m->frame.figures[0], (uint64_t)UINT32_MAX);
    l->hidden = l->remote->peer == tx->end.node->self && (m->frame.flags & FI_MEET_HIDDEN);
    l->to_node = m->frame.figures[2];
    l->ack_within = tx->topic ? 0 : fi_ack_within(m->frame.figures[1]);
    tx->rationed += is_rationed(l);
    m->remote = NULL;
    *out = l;
    return 0;
}

/* The node has refused a receiver that it may have told this sender to expect. */
static void missed_receiver(fi_sender_t *tx, const fi_mail_t *m) {
    if (m->frame.flags & FI_MEET_TAP) {
        fi_node_count_tap(&tx->end);
    } else {
        fi_node_count_link(&tx->end);
    }
}

static void met_receiver(fi_sender_t *tx, fi_mail_t *m) {
    fi_txlink_t *l = NULL;

    if (find_link(tx, m->peer, m->frame.rx)) {
        return; /* both sides saw each other first */
    }
    if (!m->remote) {
        missed_receiver(tx, m);
        return;
    }
    if (m->frame.flags & FI_MEET_TAP) {
        if (fi_taps_met(tx, m) < 0) {
            fi_txlink_tell(tx, m->remote, FI_END);
            fi_node_count_tap(&tx->end);
        }
        return;
    }
    int r = fi_contract_merge(&tx->end.contract, &m->frame.contract, tx->end.channel, "this sender", "a receiver");
    if (r == 0) {
        r = new_link(tx, m, &l);
    }
    if (r < 0) {
        fi_end_note_error(&tx->end, r);
        if (m->remote) {
            fi_txlink_tell(tx, m->remote, FI_END);
        }
        fi_node_count_link(&tx->end);
        return;
    }
    fi_sender_set_limits(tx);
    fi_txlink_offer(tx, l);
}

void fi_txlink_free(fi_txlink_t *l) {
    for (unsigned i = 0; i < FI_LOGS; i++) {
        fi_shared_unref(l->ctl_memory[i]);
    }
    fi_shared_unref(l->looks[0]);
    fi_shared_unref(l->looks[1]);
    fi_remote_unref(l->remote);
    free(l->announced);
    free(l);
}

enum drop {
    DROP_ENDED, /* the sender ends it */
    DROP_GONE,  /* the receiver has gone: what it has not released is taken back */
    DROP_LEFT,  /* likewise, it says so, and may hold something */
    DROP_LOST   /* likewise, but nobody says so, and its process lives: it may go on reading */
};

static void drop_link(fi_sender_t *tx, fi_txlink_t *l, enum drop how) {
    bool take_back = how != DROP_ENDED;
    fi_outlet_t *o = l->outlet;

    if (l->tap) {
        fi_taps_drop(tx, l);
        return;
    }
    if (!l->live) {
        fi_node_count_link(&tx->end);
    }
    for (uint32_t i = 0; i < tx->link_count; i++) {
        if (tx->links[i] == l) {
            tx->links[i] = tx->links[--tx->link_count];
            break;
        }
    }
    uint64_t purged = tx->stats.purged;
    fi_rendezvous_link_gone(tx, l);
    if (take_back && !tx->topic && l->live) {
        fi_backlog_take_back(tx, o, l);
        fi_returned_exhume(tx, l);
    }
    if (l->purging > 0) {
        fi_purge_link_gone(tx, l, tx->stats.purged - purged);
    }
    if (o->growing && !l->lossy && l->known <= o->current) {
        o->awaiting--;
    }
    if (take_back) {
        fi_link_looks_there(l, NULL);
        fi_link_looks_there(l, NULL);
    }
    fi_outlet_remove_link(o, l);
    tx->rationed -= is_rationed(l);
    if (how < DROP_LEFT || !fi_ghost_rises(o, l, how == DROP_LOST)) {
        fi_txlink_free(l);
    }
    fi_dispatch_parted(tx);
    if (take_back && o->per_tag_count == 0) {
        fi_outlet_free_saved(o);
    }
    if (o == tx->topic) {
        fi_outlet_refresh(o);
        fi_outlet_reclaim(o, true);
    } else if (!(tx->claim.open && tx->claim.outlet == o)) {
        fi_sender_forget_outlet(tx, o);
    }
    if (take_back && tx->part.loses) {
        tx->part.loses(tx->part.whole);
    }
}

static void accepted(fi_sender_t *tx, fi_mail_t *m) {
    fi_txlink_t *l = find_link(tx, m->peer, m->frame.rx);

    if (!l || l->live) {
        return;
    }
    if (!fi_link_accepts(l, l->lossy ? l->offered : l->first, m->memory)) {
        fi_txlink_tell(tx, l->remote, FI_END);
        drop_link(tx, l, DROP_ENDED);
        return;
    }
    m->memory = NULL;
    l->live = true;
    fi_link_is_seen(l);
    if (l->tap) {
        fi_node_count_tap(&tx->end);
        return;
    }
    if (!tx->topic) {
        tx->links[tx->link_count++] = l;
        fi_dispatch_joined(tx);
    }
    fi_node_count_link(&tx->end);
    fi_backlog_watch(tx);
}

static void peer_gone(fi_sender_t *tx, const fi_peer_t *p, bool dead) {
    for (uint32_t i = tx->outlet_count; i-- > 0;) {
        fi_outlet_t *o = tx->outlets[i];
        for (uint32_t k = o->link_count; k-- > 0;) {
            bool last = o->link_count == 1 && o != tx->topic;
            if (o->links[k]->remote->peer == p) {
                drop_link(tx, o->links[k], dead ? DROP_GONE : DROP_LOST);
                if (last) {
                    break; /* the outlet went with it */
                }
            }
        }
    }
    if (dead) {
        fi_ghosts_peer_dead(tx, p);
    }
    if (tx->taps) {
        fi_taps_peer_gone(tx, p);
    }
    fi_backlog_watch(tx);
}

void fi_sender_unlink_all(fi_sender_t *tx) {
    while (tx->taps) {
        fi_txlink_t *l = tx->taps->links[tx->taps->link_count - 1];
        fi_link_tell_end(l);
        fi_taps_drop(tx, l);
    }
    while (tx->outlet_count > 0) {
        fi_outlet_t *o = tx->outlets[tx->outlet_count - 1];
        while (o->link_count > 0) {
            bool last = o->link_count == 1 && o != tx->topic;
            fi_link_tell_end(o->links[o->link_count - 1]);
            drop_link(tx, o->links[o->link_count - 1], DROP_ENDED);
            if (last) {
                o = NULL;
                break;
            }
        }
        if (o) {
            fi_sender_forget_outlet(tx, o);
        }
    }
    tx->topic = NULL;
    fi_haunted_free(tx);
}

static void abandoned(fi_sender_t *tx) {
    /* Its receivers drain what is in the rings; what was in no ring is lost with its thread. */
    tx->claim = (fi_claim_t){0};
    tx->abandoned = true;
    fi_sender_waited(tx); /* it may have been cancelled in its sleep */
    fi_store_release32(&tx->tends, 0);
    fi_dispatch_rest(tx);
    fi_backlog_drop(tx);
    fi_sender_unlink_all(tx);
}

static void on_link(fi_sender_t *tx, fi_mail_t *m) {
    fi_txlink_t *l = find_link(tx, m->peer, m->frame.rx);

    if (!l) {
        return;
    }
    if (m->frame.type == FI_RING_OK) {
        fi_outlet_ring_accepted(l->outlet, l, (uint32_t)m->frame.a, m->memory);
        m->memory = NULL;
        fi_backlog_watch(tx);
        return;
    }
    if (m->frame.type == FI_REJECT) {
        fi_returned_rejected(tx, l, &m->frame);
    } else if (m->frame.type == FI_RATION) {
        tx->rationed -= is_rationed(l);
        l->prefetch = tx->topic ? 0 : (uint32_t)m->frame.a;
        tx->rationed += is_rationed(l);
    } else if (m->frame.type == FI_UNTRIED) {
        const fi_log_t *log = l->outlet->logs[m->frame.figures[0] % FI_LOGS];
        l->untried_serial = log ? log->serial : 0;
        l->untried_pos = log ? m->frame.a : 0;
    } else if (m->frame.type == FI_SKIPPED) {
        fi_purge_skipped(tx, l, &m->frame);
    } else {
        drop_link(tx, l, l->live ? DROP_LEFT : DROP_GONE);
    }
    fi_backlog_watch(tx);
}

/* What readers have left or released. */
static void free_what_is_done(fi_sender_t *tx) {
    if (tx->topic && tx->topic->ghosts) {
        fi_outlet_flee(tx->topic);
    }
    fi_sender_free_old(tx);
    if (tx->part.released) {
        tx->part.released(tx->part.whole);
    }
}

void fi_sender_deliver(fi_end_t *e, fi_mail_t *m) {
    fi_sender_t *tx = fi_sender_of(e);

    if (m->frame.type == FI_TELL) {
        fi_sender_tell(tx, m->peer);
        fi_mail_free(m);
        return;
    }
    if (tx->abandoned && m->remote) {
        fi_txlink_tell(tx, m->remote, FI_END);
    }
    fi_sender_forget_quick(tx); /* whatever the mail says, look closer next time */
    if (!tx->abandoned) {
        switch (m->frame.type) {
        case FI_MEET_RECEIVER:
            met_receiver(tx, m);
            break;
        case FI_ACCEPT:
            accepted(tx, m);
            break;
        case FI_PEER_GONE:
            peer_gone(tx, m->peer, m->frame.a != 0);
            break;
        case FI_ROOM:
            fi_backlog_watch(tx);
            break;
        case FI_COUNT:
            (void)fi_sender_unreleased(tx, true);
            break;
        case FI_ABANDON:
            abandoned(tx);
            break;
        case FI_PURGE:
            fi_purge_asked(tx, m);
            break;
        case FI_DENIED:
            memcpy(tx->denial, m->frame.text, sizeof tx->denial);
            tx->denied = true;
            fi_sender_wake(e);
            break;
        case FI_DUE:
            fi_returned_due(tx);
            fi_backlog_watch(tx);
            break;
        default: /* REFUSE, CLOSE, EXPEL, RING_OK, REJECT, SKIPPED, RATION, UNTRIED */
            on_link(tx, m);
        }
        free_what_is_done(tx);
    }
    fi_mail_free(m);
}

void fi_sender_take_room(fi_sender_t *tx) {
    fi_backlog_watch(tx);
    free_what_is_done(tx);
}

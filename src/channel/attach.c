/* SPDX-License-Identifier: MIT
 *
 * A receiver's links: how they are attached, fed and detached.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/pick.h"
#include "channel/receiver.h"
#include "channel/tell.h"
#include "platform/bell.h"

#define BATCH_LINES 256u
#define MAX_SEGMENTS 32768u /* of one sender: half of what a process may map by default */

int fi_receiver_introduce(fi_end_t *e, fi_peer_t *p) {
    fi_receiver_t *rx = fi_receiver_of(e);
    fi_frame_t f = fi_frame(FI_MEET_RECEIVER, 0, e->id);
    fi_cargo_t cargo = {rx->page_memory, {rx->bell.wr, -1}};

    f.kind = (uint16_t)e->kind;
    f.flags = (rx->may_lose ? FI_MEET_MAY_LOSE : 0u) | (rx->no_history ? FI_MEET_NO_HISTORY : 0u) |
              (e->hidden ? FI_MEET_HIDDEN : 0u) | (rx->tap ? FI_MEET_TAP : 0u) | (rx->per_tag ? FI_MEET_PER_TAG : 0u);
    f.a = rx->depth;
    f.contract = e->stated;
    f.figures[0] = rx->prefetch;
    f.figures[1] = (uint64_t)rx->ack_within;
    f.figures[2] = rx->part.to_node;
    memcpy(f.text, e->channel, sizeof f.text);
    return fi_peer_send(p, &f, &cargo);
}

void fi_receiver_ration(fi_receiver_t *rx, const fi_rxlink_t *l) {
    fi_frame_t f = fi_frame(FI_RATION, l->tx, rx->end.id);

    f.a = rx->prefetch;
    (void)fi_peer_send(l->peer, &f, NULL);
}

void fi_receiver_wake(fi_end_t *e) {
    fi_receiver_t *rx = fi_receiver_of(e);

    if (fi_load_acquire32(&rx->page->sleep) & FI_SLEEP_ASLEEP) {
        fi_bell_ring(rx->bell.wr);
    }
}

static fi_rxlink_t *find_link(const fi_receiver_t *rx, const fi_peer_t *p, uint64_t tx) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        if (rx->links[i]->peer == p && rx->links[i]->tx == tx) {
            return rx->links[i];
        }
    }
    return NULL;
}

static void tell(fi_receiver_t *rx, fi_peer_t *p, uint64_t tx, enum fi_frame_type type, uint64_t a, fi_shared_t *memory,
                 const char *text) {
    fi_frame_t f = fi_frame(type, tx, rx->end.id);
    fi_cargo_t cargo = {memory, {-1, -1}};

    f.a = a;
    strncpy(f.text, text, sizeof f.text - 1);
    (void)fi_peer_send(p, &f, &cargo);
}

static fi_rxlog_t *log_new(const fi_receiver_t *rx, fi_shared_t *ring, uint64_t start, int *error) {
    fi_rxlog_t *log = calloc(1, sizeof *log);

    if (!log) {
        *error = -ENOMEM;
        return NULL;
    }
    fi_list_init(&log->held);
    if (start == 0) {
        start = ((const struct fi_ident *)ring->map)->lines;
    }
    *error = fi_ringr_init(&log->r, ring->map, ring->bytes, start);
    if (*error == 0) {
        *error = fi_shared_new("ferry-ctl", fi_ctl_bytes(log->r.lines, rx->ack_within > 0), &log->ctl_memory);
    }
    if (*error < 0) {
        free(log);
        return NULL;
    }
    log->ring = fi_shared_ref(ring);
    fi_ctl_init(&log->ctl, log->ctl_memory->map, log->r.lines, log->r.pos, rx->ack_within > 0);
    log->published = log->r.pos;
    log->batch = fi_min(BATCH_LINES, log->r.lines / 8);
    return log;
}

/* Of a sender that has gone. A reader that lags behind by laps will jump; the writer never wrote beyond what it had
 * announced. */
static void set_end(const fi_rxlink_t *l, fi_rxlog_t *log) {
    uint64_t announced = l->lossy ? fi_load_acquire64(&log->r.head->shared.reserve) : 0;

    log->end = fi_max(log->r.pos + log->r.lines, announced);
}

static void put_in_place(fi_rxlink_t *l, fi_rxlog_t *log, uint32_t place, uint32_t theirs) {
    log->place = place;
    log->theirs = theirs;
    l->logs[place] = log;
    fi_list_add_tail(&l->all, &log->link);
}

/* A ring that was offered, in its place. Its sender goes on there once it has heard of that from all for whom it waits.
 * 0, or why it cannot be had. */
static int put_ring(fi_rxlink_t *l, fi_shared_t *ring, uint32_t theirs, uint64_t start) {
    uint32_t i = (l->newest + 1) % FI_RX_LOGS;
    int error;
    fi_rxlog_t *log = log_new(l->rx, ring, start, &error);

    if (!log) {
        return error;
    }
    log->skips = theirs != l->theirs + 1;
    put_in_place(l, log, i, theirs);
    l->newest++;
    l->theirs = theirs;
    if (l->ended) {
        set_end(l, log);
    }
    tell(l->rx, l->peer, l->tx, FI_RING_OK, theirs, log->ctl_memory, "");
    return 0;
}

static void forget_later(fi_rxlink_t *l) {
    fi_shared_unref(l->later);
    l->later = NULL;
}

void fi_rxlink_put_later(fi_rxlink_t *l) {
    if (l->later && !l->logs[(l->newest + 1) % FI_RX_LOGS] &&
        put_ring(l, l->later, l->later_theirs, l->later_start) == 0) {
        forget_later(l);
    }
}

void fi_rxlog_free(fi_rxlink_t *l, fi_rxlog_t *log) {
    if (l->logs[log->place] == log) {
        l->logs[log->place] = NULL;
    }
    fi_list_remove(&log->link);
    fi_store_release64(&log->ctl.head->left, FI_CTL_HOLDS_NOTHING); /* R10 */
    fi_shared_unref(log->ring);
    fi_shared_unref(log->ctl_memory);
    free(log);
    fi_rxlink_put_later(l);
}

void fi_rxlink_free(fi_rxlink_t *l) {
    forget_later(l);
    while (!fi_list_empty(&l->all)) {
        fi_rxlog_free(l, fi_container(l->all.next, fi_rxlog_t, link));
    }
    for (uint32_t i = 0; l->segments && i < FI_SEGMENT_BUCKETS; i++) {
        while (l->segments[i]) {
            fi_rxlink_drop_segment(l, l->segments[i]);
        }
    }
    free(l->segments);
    fi_pick_free(l);
    fi_list_remove(&l->link);
    __atomic_sub_fetch(&l->peer->links, 1, __ATOMIC_RELAXED);
    fi_peer_unref(l->peer);
    free(l);
}

static fi_rxlink_t *link_new(fi_receiver_t *rx, fi_mail_t *m, int *error) {
    /* Room for a power of two: grown by one each time it would leave a hole behind each time. */
    bool full = (rx->link_count & (rx->link_count - 1)) == 0;
    fi_rxlink_t **more = full ? realloc(rx->links, fi_max(2u * rx->link_count, 1u) * sizeof *more) : rx->links;
    fi_rxlink_t *l = calloc(1, sizeof *l);

    if (more) {
        rx->links = more;
    }
    if (!more || !l) {
        *error = -ENOMEM;
        free(l);
        return NULL;
    }
    fi_list_init(&l->link);
    fi_list_init(&l->all);
    l->rx = rx;
    l->tx = m->frame.tx;
    l->number = ++rx->links_ever;
    l->serial = l->newest = l->theirs = (uint32_t)m->frame.b;
    l->lossy = rx->tap || (m->frame.flags & FI_OFFER_LOSSY) != 0;
    l->counts = l->lossy || (m->frame.flags & FI_OFFER_COUNTED) != 0;
    l->fence = !m->peer->asymmetric || !fi_barrier_is_asymmetric();
    l->next_seq = m->frame.figures[0];
    l->first_seq = m->frame.flags & FI_OFFER_LATE ? l->next_seq : 0;
    bool own = m->peer == rx->end.node->self && m->frame.figures[1] != 0;
    l->from_node = own ? m->frame.figures[1] : m->peer->id; /* only this node itself may speak for another one */
    l->from_end = own ? m->frame.figures[2] : l->tx;
    l->log = log_new(rx, m->memory, m->frame.a, error);
    if (!l->log) {
        free(l);
        return NULL;
    }
    put_in_place(l, l->log, l->serial % FI_RX_LOGS, l->serial);
    if (l->lossy && (rx->depth || rx->per_tag) && (*error = fi_pick_new(l)) < 0) {
        fi_rxlog_free(l, l->log);
        free(l);
        return NULL;
    }
    l->peer = fi_peer_ref(m->peer);
    rx->links[rx->link_count] = l;
    fi_store_relaxed32(&rx->link_count, rx->link_count + 1);
    return l;
}

/* Who only looks has no opinion of what the channel carries: it may be one thing today and another one tomorrow. */
static bool agrees(fi_receiver_t *rx, const fi_contract_t *theirs) {
    return rx->tap || fi_contract_merge(&rx->end.contract, theirs, rx->end.channel, "this receiver", "a sender") == 0;
}

/* The next call that receives tells; of what is tried again every second, once in a while. */
static void note_starved(fi_receiver_t *rx, int r) {
    bool is_tried_again = fi_is_lack(r) && !rx->part.whole;
    int64_t now = fi_now_ns();

    if (is_tried_again && rx->starved_at != 0 && now - rx->starved_at < FI_TELL_NS) {
        return;
    }
    rx->starved = r;
    rx->starved_at = is_tried_again ? now : rx->starved_at;
}

/* Who opens it is told by the call that does; later, the next call that receives tells. */
static void refuse(fi_receiver_t *rx, const fi_mail_t *m, int r) {
    fi_end_note_error(&rx->end, r);
    if (fi_is_lack(r)) {
        note_starved(rx, r);
    }
    tell(rx, m->peer, m->frame.tx, FI_REFUSE, 0, NULL, fi_error_text());
    fi_node_count_link(&rx->end);
}

static void offered(fi_receiver_t *rx, fi_mail_t *m) {
    fi_rxlink_t *l = NULL;
    int r = 0;

    if (find_link(rx, m->peer, m->frame.tx)) {
        return;
    }
    if (!m->memory) {
        refuse(rx, m, m->frame.error);
        return;
    }
    if (__atomic_add_fetch(&m->peer->links, 1, __ATOMIC_RELAXED) <= rx->end.node->max_links &&
        agrees(rx, &m->frame.contract)) {
        l = link_new(rx, m, &r);
    }
    if (!l) {
        __atomic_sub_fetch(&m->peer->links, 1, __ATOMIC_RELAXED);
        refuse(rx, m, r);
        return;
    }
    tell(rx, l->peer, l->tx, FI_ACCEPT, 0, l->log->ctl_memory, "");
}

ferry_msg_t *fi_rxlink_first_held(const fi_rxlink_t *l) {
    for (struct fi_list *at = l->all.next; at != &l->all; at = at->next) {
        const fi_rxlog_t *log = fi_container(at, fi_rxlog_t, link);
        if (!fi_list_empty(&log->held)) {
            return fi_container(log->held.next, ferry_msg_t, held);
        }
    }
    return NULL;
}

static bool holds_in_place(const fi_rxlog_t *log) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &log->held) {
        const ferry_msg_t *m = fi_container(at, ferry_msg_t, held);
        if (m->data != m->copy || m->slot >= 0) {
            return true;
        }
    }
    return false;
}

/* Nothing more is taken from the link. Before its sender hears of it, if it can hear anything. */
static void stop_taking(fi_receiver_t *rx, const fi_rxlink_t *l) {
    pthread_mutex_lock(&rx->returned_lock); /* another thread may be copying what it holds */
    for (struct fi_list *at = l->all.next; at != &l->all; at = at->next) {
        const fi_rxlog_t *log = fi_container(at, fi_rxlog_t, link);
        fi_store_release64(&log->ctl.head->left, holds_in_place(log) ? FI_CTL_ONLY_HOLDS : FI_CTL_HOLDS_NOTHING);
    }
    pthread_mutex_unlock(&rx->returned_lock);
}

void fi_receiver_detach(fi_receiver_t *rx, fi_rxlink_t *l) {
    stop_taking(rx, l); /* R10 */
    forget_later(l);
    for (uint32_t i = 0; i < rx->link_count; i++) {
        if (rx->links[i] == l) {
            fi_store_relaxed32(&rx->link_count, rx->link_count - 1);
            rx->links[i] = rx->links[rx->link_count];
            break;
        }
    }
    if (rx->turn >= rx->link_count) {
        rx->turn = 0;
    }
    rx->quick = NULL;
    l->detached = true;
    fi_list_add_tail(&rx->detached, &l->link);
    if (!fi_rxlink_first_held(l)) {
        fi_rxlink_free(l);
    }
}

void fi_receiver_detach_drained(fi_receiver_t *rx, fi_rxlink_t *l) {
    uint64_t lost = fi_link_lost_at_end(l);

    fi_store_relaxed64(&rx->stats.lost, rx->stats.lost + lost);
    fi_receiver_detach(rx, l);
}

void fi_receiver_expel(fi_receiver_t *rx, fi_rxlink_t *l, const char *why) {
    stop_taking(rx, l);
    tell(rx, l->peer, l->tx, FI_EXPEL, 0, NULL, why);
    fi_receiver_detach(rx, l);
}

/* The sender sees what is held in the ring that it names. */
static void live(fi_receiver_t *rx, fi_rxlink_t *l, uint64_t theirs) {
    for (uint32_t i = 0; i < FI_RX_LOGS; i++) {
        if (l->logs[i] && l->logs[i]->theirs == theirs) {
            l->logs[i]->seen = true;
        }
    }
    if (!l->live) {
        l->live = true;
        rx->stats.senders_seen++;
        fi_node_count_link(&rx->end);
        if (rx->part.gains) {
            rx->part.gains(rx->part.whole);
        }
    }
}

/* Only the ring after the newest one that is known; of a link that may lose, any that is newer. One that lags by all of
 * them takes it when it has left the oldest. 0, or why it cannot be had. */
static int new_ring(fi_rxlink_t *l, const fi_mail_t *m) {
    uint32_t theirs = (uint32_t)m->frame.a;
    int32_t ahead = (int32_t)(theirs - l->theirs);

    if (l->later || (l->lossy ? ahead <= 0 : ahead != 1)) {
        return 0;
    }
    if (!m->memory) {
        return m->frame.error;
    }
    if (!l->logs[(l->newest + 1) % FI_RX_LOGS]) {
        return put_ring(l, m->memory, theirs, m->frame.b);
    }
    l->later = fi_shared_ref(m->memory);
    l->later_theirs = theirs;
    l->later_start = m->frame.b;
    return 0;
}

void fi_rxlink_drop_segment(fi_rxlink_t *l, fi_rxsegment_t *s) {
    fi_rxsegment_t **at = &l->segments[s->id % FI_SEGMENT_BUCKETS];

    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    l->segment_count--;
    __atomic_sub_fetch(&l->peer->mapped, s->memory->bytes, __ATOMIC_RELAXED);
    fi_shared_unref(s->memory);
    free(s);
}

/* 0, or why it cannot be had: -ENOMEM; what the route says of memory that did not come with its news. */
static int new_segment(fi_rxlink_t *l, fi_mail_t *m) {
    uint32_t id = (uint32_t)m->frame.a;

    if (l->segment_count >= MAX_SEGMENTS || fi_rxlink_segment(l, id)) {
        return 0; /* an id is used once */
    }
    if (!m->memory) {
        return m->frame.error;
    }
    if (!l->segments) {
        l->segments = calloc(FI_SEGMENT_BUCKETS, sizeof(fi_rxsegment_t *));
    }
    fi_rxsegment_t *s = l->segments ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        return -ENOMEM;
    }
    s->id = id;
    s->memory = m->memory;
    s->next = l->segments[id % FI_SEGMENT_BUCKETS];
    l->segments[id % FI_SEGMENT_BUCKETS] = s;
    l->segment_count++;
    m->memory = NULL; /* counted already, for the peer */
    return 0;
}

/* Without it the link's messages would never come. */
static void took_memory(fi_receiver_t *rx, fi_rxlink_t *l, int r) {
    if (r < 0) {
        note_starved(rx, r);
        if (fi_is_lack(r)) {
            fi_end_lacks(&rx->end);
        }
        fi_receiver_expel(rx, l,
                          r == -EFBIG    ? "the receiver may not map that much of this node's memory"
                          : r == -EMFILE ? "the receiver has no descriptors left"
                                         : "the receiver has no memory left");
    }
}

static void lost_segment(fi_rxlink_t *l, uint32_t id) {
    fi_rxsegment_t *s = fi_rxlink_segment(l, id);

    if (!s) {
        return;
    }
    s->gone = true;
    if (s->held == 0) {
        fi_rxlink_drop_segment(l, s);
    }
}

/* `still`: its sender writes no more, for certain. */
static void end_link(fi_receiver_t *rx, fi_rxlink_t *l, bool still) {
    l->still |= still;
    if (l->ended) {
        return;
    }
    if (!l->live) {
        fi_node_count_link(&rx->end);
    }
    if (!l->lossy) {
        forget_later(l);
    }
    __atomic_store_n(&l->ended, true, __ATOMIC_RELAXED); /* what is in the ring will still be read */
    for (struct fi_list *at = l->all.next; at != &l->all; at = at->next) {
        set_end(l, fi_container(at, fi_rxlog_t, link));
    }
    if (fi_node_is_expelled(rx->end.node)) {
        fi_receiver_detach(rx, l);
    } else if (!fi_link_ready(l)) {
        fi_receiver_detach_drained(rx, l);
    }
    if (rx->part.loses) {
        rx->part.loses(rx->part.whole);
    }
}

static void peer_gone(fi_receiver_t *rx, const fi_peer_t *p, bool dead) {
    for (uint32_t i = rx->link_count; i-- > 0;) {
        if (rx->links[i]->peer == p) {
            end_link(rx, rx->links[i], dead);
        }
    }
}

static void tell_closed(fi_receiver_t *rx) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        stop_taking(rx, rx->links[i]);
        tell(rx, rx->links[i]->peer, rx->links[i]->tx, FI_CLOSE, 0, NULL, rx->end.channel);
    }
}

void fi_receiver_part(fi_receiver_t *rx) {
    tell_closed(rx);
    while (rx->link_count > 0) {
        fi_receiver_detach(rx, rx->links[rx->link_count - 1]);
    }
}

/* What was not taken has been purged, says the sender. */
static void tell_skipped(fi_receiver_t *rx, fi_rxlink_t *l, const fi_mail_t *m) {
    fi_frame_t f = fi_frame(FI_SKIPPED, l->tx, rx->end.id);

    f.a = l->lossy ? 0 : fi_link_skip(l, m->frame.a, m->frame.figures[0], m->frame.figures[1]);
    f.b = m->frame.b;
    (void)fi_peer_send(l->peer, &f, NULL);
}

static void on_link(fi_receiver_t *rx, fi_mail_t *m) {
    fi_rxlink_t *l = find_link(rx, m->peer, m->frame.tx);

    if (!l) {
        if (m->frame.type == FI_END) {
            fi_node_count_link(&rx->end); /* a link that was never offered */
        }
        return;
    }
    if (l->pick) {
        l->pick->awaits = false; /* this may be what it waits for */
    }
    switch (m->frame.type) {
    case FI_LIVE:
        live(rx, l, m->frame.a);
        break;
    case FI_RING: {
        int r = new_ring(l, m);
        if (l->lossy) { /* others go on where they are */
            took_memory(rx, l, r);
        }
        break;
    }
    case FI_SKIP:
        tell_skipped(rx, l, m);
        break;
    case FI_SEGMENT:
        took_memory(rx, l, new_segment(l, m));
        break;
    case FI_UNSEGMENT:
        lost_segment(l, (uint32_t)m->frame.a);
        break;
    default: /* END */
        l->last_seq = l->lossy ? m->frame.a : 0;
        end_link(rx, l, true);
    }
}

void fi_receiver_deliver(fi_end_t *e, fi_mail_t *m) {
    fi_receiver_t *rx = fi_receiver_of(e);

    if (m->frame.type == FI_TELL) {
        fi_receiver_tell(rx, m->peer);
        fi_mail_free(m);
        return;
    }
    if (rx->dead && m->frame.type == FI_OFFER) {
        tell(rx, m->peer, m->frame.tx, FI_REFUSE, 0, NULL, "the receiver's thread has ended");
    }
    rx->quick = NULL; /* whatever the mail says, look closer next time */
    if (!rx->dead) {
        switch (m->frame.type) {
        case FI_OFFER:
            offered(rx, m);
            break;
        case FI_PEER_GONE:
            peer_gone(rx, m->peer, m->frame.a != 0);
            break;
        case FI_ABANDON:
            rx->dead = true;
            if (!rx->part.stays) {
                fi_receiver_keep_held(rx);
                fi_receiver_part(rx);
            }
            break;
        default:
            on_link(rx, m);
        }
    }
    fi_mail_free(m);
}

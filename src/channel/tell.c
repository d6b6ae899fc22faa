/* SPDX-License-Identifier: MIT
 *
 * Looking at live links (sample.h), choosing by what is seen, and telling it to `ferry route`.
 */
#include <string.h>

#include "base/bits.h"
#include "channel/dispatch.h"
#include "channel/tell.h"
#include "host/choose.h"
#include "host/chosen.h"
#include "node/host.h"
#include "node/links.h"
#include "platform/clock.h"

#define LOOKS 16u   /* links looked at in one sample */
#define STAMPED 64u /* where every message has the time, one in so many is looked at */
#define MIXED 8     /* a new average counts for an eighth */

/* --- sending ----------------------------------------------------------------------------------------------------- */

uint64_t fi_sender_usual_lines(const fi_sender_t *tx) {
    uint64_t size = tx->sampling.size;

    return size > tx->inline_max ? 1 : fi_record_lines(size, fi_record_place(size, false));
}

static uint64_t vain_of(const fi_spinner_t *k) {
    return k->in_vain | (k->crowded ? FI_CROWDED : 0);
}

/* How far the sender is, and the reader, in all rings that are in use: the reader may be in an older one still. */
static void look_at_link(fi_txlink_t *l, int64_t now) {
    const fi_outlet_t *o = l->outlet;
    uint32_t from = o->first > l->first ? o->first : l->first;
    uint64_t sent = 0;
    uint64_t released = 0;

    for (uint32_t s = from; l->live && s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        uint64_t start = fi_link_start(l, log);
        sent += log->w.pos - start;
        released += fi_link_cursor(l, log) - start;
    }
    if (l->live) {
        fi_pace_note(&l->pace, now, from, sent, released);
    }
}

/* Some of the links, in turn. */
static void look_at_links(fi_sender_t *tx, int64_t now) {
    fi_sampling_t *s = &tx->sampling;

    if (tx->topic) {
        for (uint32_t i = 0; i < tx->topic->link_count && i < LOOKS; i++) {
            look_at_link(tx->topic->links[s->turn++ % tx->topic->link_count], now);
        }
        return;
    }
    for (uint32_t i = 0; i < tx->link_count && i < LOOKS; i++) {
        look_at_link(tx->links[s->turn++ % tx->link_count], now);
    }
}

static void look_at_size(fi_sender_t *tx) {
    fi_sampling_t *s = &tx->sampling;

    if (tx->seq > s->last_seq) {
        uint64_t size = (tx->stats.bytes - s->last_bytes) / (tx->seq - s->last_seq);
        s->size = s->size == 0 ? size : s->size - s->size / MIXED + size / MIXED;
    }
    s->last_seq = tx->seq;
    s->last_bytes = tx->stats.bytes;
}

static void choose_inline(fi_sender_t *tx) {
    uint32_t best = fi_host_inline();

    if (tx->retain == 0 && tx->inline_max != best) {
        tx->inline_max = best;
        fi_sender_forget_form(tx);
    }
}

void fi_sender_sample(fi_sender_t *tx) {
    fi_sampling_t *s = &tx->sampling;
    int64_t now = fi_now_ns();

    if (s->last_ns != 0) {
        s->every = fi_sample_every(s->every, now - s->last_ns);
    }
    look_at_links(tx, now);
    look_at_size(tx);
    choose_inline(tx);
    if (tx->seq >= FI_HOST_BUSY_MESSAGES && !fi_host_is_known() && now - tx->end.opened_ns >= FI_HOST_BUSY_NS) {
        fi_node_want_profile(tx->end.node);
    }
    s->last_ns = now;
    s->at = tx->seq + s->every;
}

void fi_sender_sample_soon(fi_sender_t *tx, uint64_t messages) {
    if (tx->sampling.at - tx->seq > messages && tx->sampling.at > tx->seq) {
        tx->sampling.at = tx->seq + messages;
        tx->free_to = fi_min(tx->free_to, tx->sampling.at);
    }
}

static unsigned durable(const fi_end_t *e) {
    return e->contract.durable == FERRY_DURABLE ? FI_LINK_DURABLE : 0u;
}

static void tell_link(fi_sender_t *tx, fi_txlink_t *l, fi_peer_t *to) {
    fi_frame_t f = fi_frame(FI_LOOK_LINK, tx->end.id, l->remote->end);
    uint64_t lines = fi_sender_usual_lines(tx);

    f.a = l->hidden ? l->to_node : l->remote->peer->id;
    f.kind = (uint16_t)tx->end.kind;
    f.flags = (l->remote->peer == tx->end.node->self ? FI_LINK_THREAD : 0u) | (l->hidden ? FI_LINK_FAR : 0u) |
              (l->lossy ? FI_LINK_LOSSY : 0u) | (l->tap ? FI_LINK_TAP : 0u) |
              (fi_load_relaxed32(&l->remote->page->sleep) & FI_SLEEP_FENCE ? FI_LINK_FENCE : 0u) | durable(&tx->end);
    memcpy(f.text, tx->end.channel, sizeof f.text);
    f.figures[FI_SENT_PER_S] = l->pace.lines_per_s / lines;
    f.figures[FI_SENT_SIZE] = tx->sampling.size;
    f.figures[FI_SENT_SERVICE] =
        l->window.used && l->window.service_ns ? l->window.service_ns : fi_pace_service(&l->pace, lines);
    f.figures[FI_SENT_WAITING] = fi_outlet_unreleased(l->outlet, true);
    f.figures[FI_SENT_INLINE] = tx->inline_max;
    f.figures[FI_SENT_SPIN] = fi_spin_full(&tx->spinner);
    f.figures[FI_SENT_VAIN] = vain_of(&tx->spinner);
    f.figures[FI_SENT_POLICY] = tx->spinner.policy;
    f.figures[FI_SENT_LINKS] = tx->topic ? tx->topic->link_count : tx->link_count;
    f.figures[FI_SENT_MOST] = l->window.used ? l->window.most : 0;
    f.figures[FI_SENT_LEFT] = tx->backlog_count;
    (void)fi_peer_send(to, &f, NULL);
}

static void tell_outlet(fi_sender_t *tx, const fi_outlet_t *o, int64_t now, fi_peer_t *to) {
    for (uint32_t k = 0; k < o->link_count; k++) {
        if (o->links[k]->live) {
            look_at_link(o->links[k], now);
            tell_link(tx, o->links[k], to);
        }
    }
}

void fi_sender_tell(fi_sender_t *tx, fi_peer_t *to) {
    int64_t now = fi_now_ns();

    look_at_size(tx);
    fi_sender_sample_soon(tx, 1); /* somebody is interested: the next answer is fresh */
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        tell_outlet(tx, tx->outlets[i], now, to);
    }
    if (tx->taps) {
        tell_outlet(tx, tx->taps, now, to);
    }
    fi_node_told(to);
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

/* What a wake-up really takes here decides how long to spin, once enough were seen. */
static void choose_spin(fi_receiver_t *rx, const fi_latency_t *seen) {
    if (seen->wakes >= FI_WAKES_ENOUGH && fi_host_spin() > FI_SPIN_SHORT_NS) {
        rx->spinner.full_ns = (uint32_t)fi_choose_spin(seen->wake_ns, fi_spin_full(&rx->spinner));
    }
}

void fi_receiver_note(fi_rxlink_t *l, const fi_seen_t *s) {
    fi_receiver_t *rx = l->rx;
    struct fi_record_ext ext = fi_seen_ext(&l->log->r, s->idx);

    if (ext.time_ns == 0 || l->from_node != l->peer->id) {
        return; /* it has no time, or another machine's */
    }
    if (!(s->flags & FI_REC_PROBE) && rx->stats.messages % STAMPED != 0) {
        return;
    }
    bool slept = rx->slept_at == rx->stats.messages;
    fi_latency_note(&l->latency, fi_now_ns() - (int64_t)ext.time_ns, slept);
    if (slept) {
        choose_spin(rx, &l->latency);
    }
}

static void tell_taken(const fi_receiver_t *rx, const fi_rxlink_t *l, fi_peer_t *to) {
    fi_frame_t f = fi_frame(FI_LOOK_LINK, l->from_end, rx->end.id);

    f.a = l->from_node;
    f.kind = (uint16_t)rx->end.kind;
    f.flags = FI_LINK_RECEIVER | (l->peer == rx->end.node->self ? FI_LINK_THREAD : 0u) |
              (l->from_node != l->peer->id ? FI_LINK_FAR : 0u) | (l->lossy ? FI_LINK_LOSSY : 0u) |
              (l->fence ? FI_LINK_FENCE : 0u) | (rx->spinner.full_ns ? FI_LINK_OWN_SPIN : 0u) | durable(&rx->end);
    memcpy(f.text, rx->end.channel, sizeof f.text);
    f.figures[FI_TAKEN_MEAN] = l->latency.mean_ns;
    f.figures[FI_TAKEN_LEAST] = l->latency.least_ns;
    f.figures[FI_TAKEN_COUNT] = l->latency.count;
    f.figures[FI_TAKEN_WAKE] = l->latency.wake_ns;
    f.figures[FI_TAKEN_WAKES] = l->latency.wakes;
    f.figures[FI_TAKEN_SPIN] = fi_spin_full(&rx->spinner);
    f.figures[FI_TAKEN_VAIN] = vain_of(&rx->spinner);
    f.figures[FI_TAKEN_POLICY] = rx->spinner.policy;
    (void)fi_peer_send(to, &f, NULL);
}

void fi_receiver_tell(fi_receiver_t *rx, fi_peer_t *to) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        if (rx->links[i]->live) {
            tell_taken(rx, rx->links[i], to);
        }
    }
    fi_node_told(to);
}

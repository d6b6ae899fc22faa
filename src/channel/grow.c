/* SPDX-License-Identifier: MIT
 *
 * An outlet goes on in another ring.
 *
 *   steady ── full too often, or pinned ──> offered ── every reader that is waited for has accepted ──> the next put
 *   writes SWITCH into the old ring and goes on in the new one ──> the old ring is freed when its readers have released
 *   everything in it
 *
 * A reader that may lose messages accepts when it comes to it, which may be long after.  At most one offer is on its way
 * to it: when it has answered, it is offered the oldest ring after that which is still here.  What stood in others it
 * has lost.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/ghosts.h"
#include "channel/history.h"
#include "channel/late.h"
#include "channel/latest.h"

#define LINES_PER_LOOK 64u
#define QUICK_FULLS 2u /* a ring that fills up this often while its readers are quick is too small */

static void offer_ring(fi_outlet_t *o, fi_txlink_t *l, const fi_log_t *next) {
    fi_frame_t f = fi_frame(FI_RING, o->tx->end.id, l->remote->end);
    fi_cargo_t cargo = {next->memory, {-1, -1}};

    f.a = next->serial;
    f.b = next->start;
    (void)fi_peer_send(l->remote->peer, &f, &cargo);
    l->offered = next->serial;
    l->seen[next->serial % FI_LOGS] = next->start;
    fi_link_looks_there(l, next->memory);
    o->awaiting += !l->lossy;
}

/* Of the rings that are still here. */
static uint32_t first_untold(const fi_outlet_t *o, const fi_txlink_t *l) {
    return (uint32_t)fi_max(l->offered + 1, o->first);
}

void fi_outlet_offer_next(fi_outlet_t *o, fi_txlink_t *l) {
    uint32_t serial = first_untold(o, l);

    if (serial <= o->current + o->growing && !(l->lossy && l->known != l->offered)) {
        offer_ring(o, l, o->logs[serial % FI_LOGS]);
    }
}

void fi_outlet_offer_rest(fi_outlet_t *o, fi_txlink_t *l) {
    for (uint32_t s = first_untold(o, l); s <= o->current; s++) {
        offer_ring(o, l, o->logs[s % FI_LOGS]);
    }
}

static uint32_t large_lines(const fi_outlet_t *o) {
    uint64_t share = o->tx->pool.quota / 4 / FI_LINE;
    return (uint32_t)fi_max(fi_min(share, FI_LARGE_RING_LINES), FI_SMALL_RING_LINES);
}

/* Does a reader that is waited for hold half of the ring? What it says of that decides nothing else. */
static bool is_held(const fi_outlet_t *o, const fi_log_t *log) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        const fi_txlink_t *l = o->links[i];
        unsigned at = log->serial % FI_LOGS;
        if (!l->lossy && l->ctl_memory[at] &&
            fi_load_relaxed64(&l->ctl[at].head->taken) > log->freed + log->w.lines / 2) {
            return true;
        }
    }
    return false;
}

/* With readers that may be overtaken: so much that they find what they asked for, and seldom need to be told. 0: there
 * are none. */
static uint32_t lossy_lines(const fi_outlet_t *o) {
    uint64_t form = o->tx->form.lines;                                   /* of its small messages, as they are now */
    uint64_t each = fi_max(form + (form + 6) / 7, FI_LINES_PER_MESSAGE); /* an eighth is announced ahead */
    uint64_t share = fi_max(o->tx->pool.quota / 4 / FI_LINE, FI_SMALL_RING_LINES);
    uint64_t most = 0;

    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->lossy) {
            most = fi_max(most, fi_max(each * o->links[i]->depth + 14, FI_LARGE_RING_LINES));
        }
    }
    return (uint32_t)fi_min(fi_min(most, share), FI_MAX_RING_LINES);
}

/* How large the next ring should be; 0: this one will do. */
static uint32_t next_lines(fi_outlet_t *o, const fi_log_t *log, bool soon_had_room) {
    uint32_t lines = log->w.lines;
    uint32_t large = large_lines(o);

    if (o->lossy_count > 0 && lines < lossy_lines(o)) {
        return lossy_lines(o);
    }
    if (soon_had_room) {
        return lines < large && ++o->quick_fulls >= QUICK_FULLS ? large : 0;
    }
    if (fi_ringw_fits(&log->w, lines / 4)) {
        return 0;
    }
    /* Readers that do not keep up are helped by no ring that is larger than a core's own cache: what is in it would
     * only make a longer way. Those that hold many messages must not stop the sender, whom its quota bounds. */
    if (lines < large) {
        return large;
    }
    return is_held(o, log) ? (uint32_t)fi_min(2ull * lines, FI_MAX_RING_LINES) : 0;
}

/* The ring of a sender with a history is large enough from the start, and maybe larger than any other, but for readers
 * that hold what is in it. */
static uint32_t next_lines_with_history(const fi_outlet_t *o, const fi_log_t *log) {
    uint32_t lines = log->w.lines;
    uint64_t more = fi_min(fi_max(2ull * lines, large_lines(o)), FI_MAX_RING_LINES);

    return !fi_ringw_fits(&log->w, lines / 4) && is_held(o, log) ? (uint32_t)fi_max(lines, more) : 0;
}

static uint32_t next_lines_of(fi_outlet_t *o, const fi_log_t *log, bool haunted, bool soon_had_room) {
    if (haunted) {
        return log->w.lines;
    }
    return o->tx->retain ? next_lines_with_history(o, log) : next_lines(o, log, soon_had_room);
}

void fi_outlet_consider_growth(fi_outlet_t *o, bool soon_had_room) {
    bool haunted = o->ghosts && fi_outlet_is_haunted(o);

    if (o->growing || o->is_for_taps || (o->link_count == 0 && !haunted) || fi_outlet_is_full(o)) {
        return;
    }
    uint32_t lines = next_lines_of(o, fi_outlet_log(o), haunted, soon_had_room);
    if (lines == 0) {
        return;
    }
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (!o->links[i]->live && !o->links[i]->lossy) {
            return; /* it is still reading the offer of the current one */
        }
    }
    if (fi_log_new(o, o->current + 1, lines) < 0) {
        return; /* no quota or memory for it: the small ring goes on */
    }
    fi_outlet_leave_history(o, o->logs[(o->current + 1) % FI_LOGS]);
    o->growing = true;
    fi_sender_forget_quick(o->tx);
    o->quick_fulls = 0;
    o->awaiting = 0;
    for (uint32_t i = 0; i < o->link_count; i++) {
        fi_outlet_offer_next(o, o->links[i]);
    }
}

void fi_outlet_ring_accepted(fi_outlet_t *o, fi_txlink_t *l, uint32_t serial, fi_shared_t *ctl) {
    /* A late or lying answer is none: without a sound one, the ring is never used. */
    if (!l->live || serial != l->offered || l->known == serial || !fi_link_accepts(l, serial, ctl)) {
        fi_shared_unref(ctl);
        return;
    }
    if (l->lossy) {
        fi_link_is_seen(l);
    } else {
        o->awaiting--;
    }
}

static void forget_ctl(fi_outlet_t *o, uint32_t serial) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        fi_txlink_t *l = o->links[i];
        fi_shared_unref(l->ctl_memory[serial % FI_LOGS]);
        l->ctl_memory[serial % FI_LOGS] = NULL;
        if (l->first == serial) {
            l->first = serial + 1;
            l->start = o->logs[l->first % FI_LOGS]->start;
        }
    }
}

void fi_outlet_free_old(fi_outlet_t *o) {
    while (o->first < o->current) {
        fi_log_t *old = o->logs[o->first % FI_LOGS];
        fi_outlet_refresh(o);
        fi_outlet_reclaim(o, false);
        if (fi_outlet_keeps_for_late(o, old)) {
            return;
        }
        bool done = old->freed >= old->w.pos && old->lent_head == old->lent_tail;
        done = done || fi_outlet_gives_way(o, old);
        if (!done && !fi_ghosts_keep(o, old)) {
            return;
        }
        fi_outlet_save_for_late(o, old);
        /* Who still copies what he found by this word is to see that the table may have moved on. */
        fi_outlet_tell_no_more(o, old->memory);
        forget_ctl(o, o->first);
        o->first++;
        if (done) {
            fi_log_free(o, old);
        }
    }
}

void fi_sender_free_old(fi_sender_t *tx) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        if (tx->outlets[i]->first != tx->outlets[i]->current) {
            fi_outlet_free_old(tx->outlets[i]);
        }
    }
}

/* Whoever reads on there must see whether the sender wants to be told of room: it may have armed itself just before. */
static void want_as_before(const fi_log_t *log, fi_log_t *next) {
    fi_store_relaxed64(&next->w.head->shared.want, fi_load_relaxed64(&log->w.head->shared.want)); /* before R1 */
}

void fi_outlet_turn_over(fi_outlet_t *o) {
    fi_log_t *log = fi_outlet_log(o);
    fi_log_t *next = o->growing ? o->logs[(o->current + 1) % FI_LOGS] : NULL;

    if (next && o->awaiting == 0 && !(o->tx->claim.open && o->tx->claim.outlet == o)) {
        if (!fi_ringw_can_switch(&log->w)) {
            fi_outlet_refresh(o);
        }
        if (fi_ringw_can_switch(&log->w) && fi_outlet_carry_history(o, next)) {
            want_as_before(log, next);
            fi_outlet_make_way(o, log, log->w.pos + 2);
            fi_log_note_start(log);
            fi_ringw_publish(&log->w, fi_record_word(0, FI_REC_SWITCH, 0, 0), 0);
            o->current++;
            o->growing = false;
            o->next_look = 0;
            fi_ghosts_left_behind(o);
            fi_outlet_tell_saved(o);
        }
    }
    /* Looking at old readers' cursors costs cache misses: seldom while messages flow. */
    const fi_ringw_t *w = &fi_outlet_log(o)->w;
    if (o->first != o->current && (w->pos >= o->next_look || !fi_ringw_fits(w, 1))) {
        o->next_look = w->pos + LINES_PER_LOOK;
        fi_outlet_free_old(o);
    }
}

void fi_outlet_flee(fi_outlet_t *o) {
    for (unsigned i = 0; i < 2 && fi_outlet_is_haunted(o); i++) { /* what is on offer already, it may have, too */
        fi_outlet_consider_growth(o, false);
        fi_outlet_turn_over(o);
    }
    fi_outlet_free_old(o);
    fi_ghosts_settle(o);
}

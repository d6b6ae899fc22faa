/* SPDX-License-Identifier: MIT */
#include "channel/late.h"

#include "base/bits.h"
#include "channel/latest.h"
#include "channel/parted.h"

bool fi_link_accepts(fi_txlink_t *l, uint32_t serial, fi_shared_t *ctl) {
    const fi_outlet_t *o = l->outlet;
    unsigned i = serial % FI_LOGS;

    if (serial < o->first) {
        fi_shared_unref(ctl); /* it is gone, and nothing that is held there could be reused */
    } else if (fi_ctl_view(&l->ctl[i], ctl->map, ctl->bytes, o->logs[i]->w.lines) == 0) {
        l->ctl_memory[i] = ctl;
    } else {
        return false;
    }
    l->known = serial;
    fi_link_looks_there(l, NULL);
    return true;
}

static void tell(const fi_txlink_t *l, enum fi_frame_type type, uint64_t a) {
    fi_frame_t f = fi_frame(type, l->outlet->tx->end.id, l->remote->end);

    f.a = a;
    (void)fi_peer_send(l->remote->peer, &f, NULL);
}

void fi_link_is_seen(fi_txlink_t *l) {
    tell(l, FI_LIVE, l->known >= l->outlet->first ? l->known : 0);
    if (l->lossy) {
        fi_outlet_offer_next(l->outlet, l);
    }
}

/* Number of the last message in the ring; 0: there is none. */
static uint64_t last_number(const fi_log_t *log) {
    for (uint64_t pos = log->w.pos; pos-- > log->w.lines && log->w.pos - pos < log->w.lines;) {
        const struct fi_record *rec = fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines));
        if (fi_log_is_boundary(log, pos) && fi_word_is_owed(rec->word)) {
            return rec->seq;
        }
    }
    return 0;
}

void fi_link_tell_end(fi_txlink_t *l) {
    fi_outlet_t *o = l->outlet;
    uint64_t last = 0;

    if (l->lossy) {
        fi_outlet_offer_rest(o, l);
        for (uint32_t s = o->current; last == 0 && s >= o->first; s--) {
            last = last_number(o->logs[s % FI_LOGS]);
        }
    }
    tell(l, FI_END, last);
}

/* Was a reader that may lose not told of this ring? */
static bool is_untold(const fi_txlink_t *l, const fi_log_t *log) {
    return l->lossy && l->offered < log->serial;
}

/* Lines written behind an old ring, and how many there are. */
static uint64_t lines_behind(const fi_outlet_t *o, const fi_log_t *old, uint64_t *all) {
    uint64_t written = 0;

    *all = 0;
    for (uint32_t s = old->serial + 1; s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        written += log->w.pos - log->start;
        *all += log->w.lines;
    }
    return written;
}

/* Is there as much behind the ring as this reader would find in one that goes on?  One that has asked for the newest,
 * what it has asked for; others most of what there is room for. */
static bool has_enough(const fi_outlet_t *o, const fi_txlink_t *l, const fi_log_t *old) {
    uint64_t all = 0;
    uint64_t written = lines_behind(o, old, &all);
    uint64_t most = all - all / 4;

    return written >= (l->depth > 0 ? fi_min(fi_sender_most_lines(o->tx, l->depth), most) : most);
}

bool fi_outlet_keeps_for_late(const fi_outlet_t *o, const fi_log_t *old) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (is_untold(o->links[i], old) && !has_enough(o, o->links[i], old)) {
            return true;
        }
    }
    return false;
}

bool fi_outlet_gives_way(fi_outlet_t *o, fi_log_t *old) {
    if (o->lossy_count == 0 || !fi_outlet_is_full(o) || old->freed < old->w.pos) {
        return false;
    }
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->lossy && !has_enough(o, o->links[i], old)) {
            return false;
        }
    }
    if (old->oldest < old->w.pos - 1) {
        fi_log_lose_all(o, old);
    }
    fi_log_reclaim(o, old, true);
    return fi_outlet_part(o, old);
}

void fi_outlet_save_for_late(fi_outlet_t *o, fi_log_t *old) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->per_tag && is_untold(o->links[i], old)) {
            fi_outlet_save(o, old, old->oldest, old->w.pos - 1);
            return;
        }
    }
}

/* SPDX-License-Identifier: MIT
 *
 * Readers that may be overtaken, as their sender sees them: it tells them before it writes over what they may still read,
 * and never waits for them.
 */
#include "base/bits.h"
#include "channel/ghosts.h"
#include "channel/sender.h"

bool fi_log_retains(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos) {
    const fi_sender_t *tx = o->tx;

    if (tx->retain == 0 || o->is_for_taps) {
        return false;
    }
    uint64_t first = fi_sender_first_retained(tx);
    return first < tx->retained_count && pos >= tx->retained[first % tx->retain] && pos < log->w.pos;
}

/* Up to the first one for which no reader has to be waited. */
bool fi_sender_retain_less(fi_sender_t *tx) {
    fi_outlet_t *o = tx->topic;

    if (!o || tx->retain == 0 || tx->keeps_history) {
        return false;
    }
    const fi_log_t *log = fi_outlet_log(o);
    for (uint64_t i = fi_sender_first_retained(tx); i < tx->retained_count; i++) {
        uint64_t pos = tx->retained[i % tx->retain];
        if (!fi_outlet_waits_for(o, log, pos) && !fi_ghosts_hold(o, log, pos, true)) {
            tx->forsaken = i + 1;
            uint64_t oldest = log->lent_head;
            fi_outlet_reclaim(o, false);
            if (log->lent_head == oldest) {
                fi_outlet_reclaim(o, true); /* somebody holds an older one */
            }
            return true;
        }
    }
    return false;
}

/*
 * The first record at or above `pos` is the oldest now.  It is found in the private notes of where records begin: to walk
 * through the ring would fetch lines back that its readers have put out of all caches.
 */
static void go_on_at(fi_log_t *log, uint64_t pos) {
    if (pos > log->oldest) {
        log->oldest = fi_min(pos, log->w.pos);
    }
    while (!fi_log_is_boundary(log, log->oldest)) {
        log->oldest++;
    }
}

/* Announces that lines will be overwritten although somebody may still read them. */
static void overtake(fi_outlet_t *o, fi_log_t *log, uint64_t end) {
    struct fi_ring_shared *shared = &log->w.head->shared;
    uint64_t reserve = end + log->w.lines / 8; /* in strides, so that readers seldom miss this line */
    uint64_t floor = reserve - log->w.lines;
    uint64_t from = log->oldest;

    go_on_at(log, floor);
    fi_outlet_save(o, log, from, log->oldest);
    fi_store_release64(&shared->oldest, log->oldest);
    fi_store_release64(&shared->reserve, reserve);
    fi_fence_seq_cst(); /* R4, A5: before the lines are written, and before held slots are looked at */
}

void fi_outlet_make_way(fi_outlet_t *o, fi_log_t *log, uint64_t end) {
    if (o->lossy_count > 0 && end > fi_load_relaxed64(&log->w.head->shared.reserve)) {
        overtake(o, log, end);
        fi_outlet_consider_growth(o, false);
    }
}

/* Readers that have not begun to look at what stands before log->oldest will not find it any more. */
static void lose_before_oldest(fi_log_t *log) {
    struct fi_ring_shared *shared = &log->w.head->shared;

    fi_store_release64(&shared->oldest, log->oldest);
    fi_store_release64(&shared->reserve, fi_max(shared->reserve, log->oldest + log->w.lines));
    fi_fence_seq_cst(); /* R4, A5 */
}

void fi_log_lose(fi_log_t *log, uint64_t to) {
    log->oldest = to;
    lose_before_oldest(log);
}

static bool log_lose_oldest(fi_outlet_t *o, fi_log_t *log) {
    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        const fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
        if (!lent->block || lent->pos < log->oldest || fi_log_retains(o, log, lent->pos) ||
            fi_outlet_waits_for(o, log, lent->pos)) {
            continue;
        }
        uint64_t from = log->oldest;
        go_on_at(log, lent->pos + 1);
        fi_outlet_save(o, log, from, log->oldest);
        lose_before_oldest(log);
        fi_outlet_reclaim(o, !o->is_for_taps); /* taps hold nothing that they lost */
        return true;
    }
    return false;
}

bool fi_outlet_lose_oldest(fi_outlet_t *o) {
    bool lost = false;

    for (uint32_t s = o->first; s <= o->current && o->lossy_count > 0 && !lost; s++) {
        lost = log_lose_oldest(o, o->logs[s % FI_LOGS]);
    }
    return lost || fi_outlet_forsake_saved(o);
}

void fi_outlet_lose_unretained(fi_outlet_t *o) {
    const fi_sender_t *tx = o->tx;
    fi_log_t *log = fi_outlet_log(o);

    if (o->lossy_count == 0 || o->strict_count > 0 || tx->retain == 0 || tx->retained_count < tx->retain) {
        return;
    }
    uint64_t first = tx->retained[tx->retained_count % tx->retain];
    if (log->oldest < first) {
        log->oldest = first;
        lose_before_oldest(log);
    }
}

/* While nobody could be overtaken, `oldest` was not kept up to date. */
void fi_log_may_be_overtaken_from(fi_log_t *log, uint64_t start) {
    struct fi_ring_shared *shared = &log->w.head->shared;

    log->oldest = start;
    fi_store_release64(&shared->oldest, start);
    fi_store_release64(&shared->reserve, start + log->w.lines);
}

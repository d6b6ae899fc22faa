/* SPDX-License-Identifier: MIT
 *
 * Readers that may be overtaken, as their sender sees them: it tells them before it writes over what they may still
 * read, and never waits for them.
 */
#include "base/bits.h"
#include "channel/history.h"
#include "channel/late.h"
#include "channel/latest.h"

#define SHARE 8u

/*
 * The first record at or above `pos` is the oldest now.  It is found in the private notes of where records begin: to
 * walk through the ring would fetch lines back that its readers have put out of all caches.
 */
static void go_on_at(fi_log_t *log, uint64_t pos) {
    if (pos > log->oldest) {
        log->oldest = fi_min(pos, log->w.pos);
    }
    while (!fi_log_is_boundary(log, log->oldest)) {
        log->oldest++;
    }
}

uint64_t fi_sender_most_lines(const fi_sender_t *tx, uint64_t depth) {
    uint64_t each = fi_record_lines(tx->inline_max, fi_record_place(tx->inline_max, true));

    return depth * fi_max(each, FI_LINES_PER_MESSAGE);
}

/*
 * How many lines are announced at once, beside those below `end` that are about to be written.  The more the better: the
 * fence behind it waits until all that was stored has reached its line, and readers seldom miss theirs.  But no reader
 * must lose what it has asked to be kept; one that has named no number is left seven eighths of the ring.  And who has
 * read all is not overtaken: where nothing is there yet, there is no older record that it could go on at.
 */
static uint64_t stride_of(const fi_outlet_t *o, const fi_log_t *log, uint64_t end) {
    uint64_t lines = log->w.lines, kept = 0;
    uint64_t rest = lines - (end - log->w.pos);
    uint32_t known = 0;

    for (uint32_t i = 0; i < o->link_count; i++) {
        const fi_txlink_t *l = o->links[i];
        known += l->lossy;
        if (l->lossy) {
            kept = fi_max(kept, l->depth || l->per_tag ? fi_sender_most_lines(o->tx, l->depth) : lines);
        }
    }
    bool all_known = known == o->lossy_count; /* the others are ghosts */
    uint64_t stride = all_known && kept < rest ? fi_min(rest - kept, lines / 2) : 0;
    return fi_min(fi_max(stride, lines / 8), rest);
}

/* Announces that lines will be overwritten although somebody may still read them. */
static void overtake(fi_outlet_t *o, fi_log_t *log, uint64_t end) {
    struct fi_ring_shared *shared = &log->w.head->shared;
    uint64_t reserve = end + stride_of(o, log, end);
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

void fi_log_lose_before_oldest(fi_log_t *log) {
    struct fi_ring_shared *shared = &log->w.head->shared;

    fi_store_release64(&shared->oldest, log->oldest);
    fi_store_release64(&shared->reserve, fi_max(shared->reserve, log->oldest + log->w.lines));
    fi_fence_seq_cst(); /* R4, A5 */
}

void fi_log_lose(fi_log_t *log, uint64_t to) {
    log->oldest = to;
    fi_log_lose_before_oldest(log);
}

void fi_log_lose_all(fi_outlet_t *o, fi_log_t *old) {
    fi_outlet_save(o, old, old->oldest, old->w.pos - 1);
    fi_log_lose(old, old->w.pos - 1);
}

/*
 * What was just lost mostly comes back, since nobody holds it.  What was held when it was lost, and has been released
 * since, is looked for once in so many times that this costs no more than SHARE looks each: a reader that stands still
 * has thousands before it, all of which would else be looked at for each message that is sent.
 */
static void take_back_lost(fi_outlet_t *o, fi_log_t *log, fi_lent_t *lent) {
    bool all = !o->is_for_taps && ++o->unlooked > (log->lent_tail - log->lent_head) / SHARE;

    if (all) {
        o->unlooked = 0;
    } else if (!fi_outlet_holds(o, log, lent->pos)) {
        fi_pool_unref(&o->tx->pool, lent->block);
        lent->block = NULL;
    }
    fi_outlet_reclaim(o, all); /* taps hold nothing that they lost */
}

static bool log_lose_oldest(fi_outlet_t *o, fi_log_t *log) {
    for (uint64_t i = fi_log_lent_from(log, log->oldest); i < log->lent_tail; i++) {
        fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
        if (fi_log_retains(o, log, lent->pos)) {
            break; /* and all that stand behind it */
        }
        if (!lent->block || fi_outlet_waits_for(o, log, lent->pos)) {
            continue;
        }
        uint64_t from = log->oldest;
        go_on_at(log, lent->pos + 1);
        fi_outlet_save(o, log, from, log->oldest);
        fi_log_lose_before_oldest(log);
        take_back_lost(o, log, lent);
        return true;
    }
    return false;
}

/* Nothing is left to lose, nor to be retained no longer, but what was held then may not be held any more. */
static bool look_once_more(fi_outlet_t *o) {
    bool unlooked = o->unlooked > 0 && fi_sender_first_retained(o->tx) == o->tx->retained_count;

    if (unlooked) {
        o->unlooked = 0;
        fi_outlet_reclaim(o, true);
    }
    return unlooked;
}

bool fi_outlet_lose_oldest(fi_outlet_t *o) {
    bool lost = false;

    for (uint32_t s = o->first; s <= o->current && o->lossy_count > 0 && !lost; s++) {
        lost = log_lose_oldest(o, o->logs[s % FI_LOGS]);
    }
    return lost || look_once_more(o) || fi_outlet_forsake_saved(o);
}

/* While nobody could be overtaken, `oldest` was not kept up to date. */
void fi_log_may_be_overtaken_from(fi_log_t *log, uint64_t start) {
    struct fi_ring_shared *shared = &log->w.head->shared;

    log->oldest = start;
    fi_store_release64(&shared->oldest, start);
    fi_store_release64(&shared->reserve, start + log->w.lines);
}

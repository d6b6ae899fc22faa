/* SPDX-License-Identifier: MIT
 *
 * Messages that are held for too long: the sender's side of held.c.  They go to another receiver, with the next
 * attempt.
 *
 * A receiver that lets a deadline pass may be stuck or stopped; so what lies ready in its ring and was not taken goes
 * to others, too, and it gets nothing more while others are there, until it has let go of what it holds.  The clock is
 * read while there are messages that such receivers have not released, and at no other time.
 */
#include "base/bits.h"
#include "channel/rendezvous.h"
#include "channel/sender.h"
#include "platform/clock.h"

#define TAKEN_BACK (FI_REC_RETURNING | FI_REC_RETURNED) /* for this reason: one that was rejected has only the second */

static struct fi_record *record_at(const fi_log_t *log, uint64_t pos) {
    return fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines));
}

static void mark(const fi_log_t *log, uint64_t pos, uint64_t word, unsigned flags) {
    fi_store_release64(&record_at(log, pos)->word, word | (uint64_t)flags << 40); /* R7 */
}

/* Is `due` still what it was? A release leaves 0 behind, too, but `taken` has passed the message then. */
static bool is_still(const fi_log_t *log, const fi_ctl_t *ctl, uint64_t was, uint64_t pos) {
    return fi_load_acquire64(&ctl->due[pos % log->w.lines]) == was &&
           (was != 0 || fi_load_acquire64(&ctl->head->taken) <= pos);
}

/* Takes one back, whose `due` was this. */
static bool recall(fi_sender_t *tx, const fi_log_t *log, const fi_ctl_t *ctl, uint64_t was, uint64_t pos,
                   uint64_t word) {
    bool done = false;

    mark(log, pos, word, FI_REC_RETURNING);
    fi_fence_seq_cst();
    if (is_still(log, ctl, was, pos)) {
        fi_waiting_t *w = fi_backlog_take_record(tx, log, pos, word, was != 0);
        done = w != NULL;
        if (done && was != 0 && tx->part.gives_back) {
            fi_returned_keep(tx, w, 0);
        }
    }
    mark(log, pos, word, done ? TAKEN_BACK : 0);
    return done;
}

/* What a walk over a link's messages finds. */
typedef struct fi_scan {
    int64_t now;
    int64_t next;  /* when the next of those that are taken is overdue */
    bool untaken;  /* some are not taken yet, or their receiver was just about to say until when it holds them */
    bool recalled; /* some were overdue */
} fi_scan_t;

/* Nobody has taken it, and it is nobody else's either. */
static bool lies_ready(const fi_sender_t *tx, const fi_txlink_t *l, const fi_log_t *log, uint64_t pos, uint64_t word) {
    uint64_t seq = fi_load_relaxed64(&record_at(log, pos)->seq);

    return !fi_link_has_purged(l, log, pos, seq) && !fi_rendezvous_is_open_for(tx, seq, word);
}

/* One message that is not released; `take_ready`: those that are not taken go back. */
static void scan_record(fi_sender_t *tx, const fi_txlink_t *l, const fi_log_t *log, uint64_t pos, uint64_t word,
                        bool take_ready, fi_scan_t *s) {
    const fi_ctl_t *ctl = &l->ctl[log->serial % FI_LOGS];
    bool taken = pos < fi_load_acquire64(&ctl->head->taken); /* A9: `due` was stored before, but for a rendezvous */
    uint64_t was = fi_load_acquire64(&ctl->due[pos % log->w.lines]);
    bool recalled = false;

    if (!taken) {
        if (take_ready && was == 0 && lies_ready(tx, l, log, pos, word)) {
            (void)recall(tx, log, ctl, was, pos, word);
        }
    } else if (was > FI_DUE_SETTLING && was <= (uint64_t)s->now) {
        recalled = recall(tx, log, ctl, was, pos, word);
    } else if (was > FI_DUE_SETTLING) {
        s->next = fi_earlier(s->next, (int64_t)fi_min(was, (uint64_t)FI_NEVER));
        return;
    }
    s->recalled |= recalled;
    s->untaken |= !recalled;
}

static void scan_link(fi_sender_t *tx, const fi_txlink_t *l, bool take_ready, fi_scan_t *s) {
    const fi_outlet_t *o = l->outlet;

    for (uint32_t i = o->first; i <= o->current; i++) {
        const fi_log_t *log = o->logs[i % FI_LOGS];
        uint64_t pos = log->freed;
        while (l->ctl[i % FI_LOGS].due && l->ctl_memory[i % FI_LOGS] && pos < log->w.pos) {
            uint64_t at = pos;
            uint64_t word = fi_ringw_walk(&log->w, &pos);
            if (fi_outlet_owes(o, log, at, word)) {
                scan_record(tx, l, log, at, word, take_ready, s);
            }
        }
    }
}

bool fi_link_is_overdue(const fi_txlink_t *l) {
    const fi_outlet_t *o = l->outlet;

    for (uint32_t i = o->first; i <= o->current; i++) {
        const fi_log_t *log = o->logs[i % FI_LOGS];
        uint64_t pos = log->freed;
        while (pos < log->w.pos) {
            uint64_t at = pos;
            uint64_t word = fi_ringw_walk(&log->w, &pos);
            if ((fi_word_flags(word) & TAKEN_BACK) == TAKEN_BACK && fi_outlet_holds(o, log, at)) {
                return true;
            }
        }
    }
    return false;
}

static void look_at_link(fi_sender_t *tx, fi_txlink_t *l, fi_scan_t *all) {
    fi_scan_t s = {.now = all->now, .next = FI_NEVER};

    (void)fi_outlet_refresh_exactly(l->outlet);
    scan_link(tx, l, false, &s);
    l->overdue = s.recalled || (l->overdue && fi_link_is_overdue(l));
    if (l->overdue && s.untaken && tx->link_count > 1) {
        scan_link(tx, l, true, &s);
    }
    if (s.untaken) {
        s.next = fi_earlier(s.next, fi_deadline(l->ack_within)); /* none of these is overdue before */
    }
    all->next = fi_earlier(all->next, s.next);
}

int64_t fi_overdue_look(fi_sender_t *tx) {
    fi_scan_t all = {.now = fi_now_ns(), .next = FI_NEVER};

    for (uint32_t i = 0; i < tx->link_count; i++) {
        if (tx->links[i]->ack_within > 0) {
            look_at_link(tx, tx->links[i], &all);
        }
    }
    return all.next;
}

int64_t fi_overdue_soonest(const fi_sender_t *tx) {
    int64_t least = FI_NEVER;

    for (uint32_t i = 0; i < tx->link_count; i++) {
        least = tx->links[i]->ack_within > 0 ? fi_earlier(least, tx->links[i]->ack_within) : least;
    }
    return least == FI_NEVER ? FI_NEVER : fi_deadline(least);
}

/* SPDX-License-Identifier: MIT
 *
 * Messages that a receiver has handed back: somebody must try them again, now or later.
 *
 *   sent ── REJECT ──> delayed ── its time has come ──> waiting (backlog) ──> sent, with the next attempt
 *
 * A copy waits here before the record is marked as returned; until then its receiver keeps it from being overwritten,
 * and when that dies the message is taken back like all that it has not released.  So it is lost at no moment, and
 * never waits twice: what is marked is neither taken back nor counted any more.
 *
 * What a dead-letter queue refuses is delayed for as long as the receiver is there that has sent it there: it could only
 * be refused again.
 */
#include <stdlib.h>

#include "base/bits.h"
#include "channel/sender.h"
#include "platform/clock.h"

/* From here on its receiver may only let its lines go. */
static void mark(const fi_log_t *log, uint64_t pos, uint64_t word) {
    struct fi_record *rec = fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines));

    fi_store_release64(&rec->word, word | (uint64_t)FI_REC_RETURNED << 40); /* R7 */
}

static void set_due(fi_sender_t *tx) {
    int64_t due = fi_list_empty(&tx->delayed) ? FI_NEVER : fi_container(tx->delayed.next, fi_waiting_t, link)->due;

    fi_end_set_due(&tx->end, fi_earlier(due, tx->scan_due));
}

void fi_returned_watch(fi_sender_t *tx) {
    if (tx->scan_due == FI_NEVER) {
        tx->scan_due = fi_overdue_soonest(tx);
        set_due(tx);
    }
}

/* Keeps it among the others by the moment from which it may be tried; of equals, in the order in which they came. */
static void delay(fi_sender_t *tx, fi_waiting_t *w, int64_t due) {
    struct fi_list *at = tx->delayed.prev;

    while (at != &tx->delayed && fi_container(at, fi_waiting_t, link)->due > due) {
        at = at->prev;
    }
    w->due = due;
    fi_backlog_put_aside(tx, w, at);
    set_due(tx);
}

/* They are among the buried, but nobody has buried them. */
void fi_returned_keep(fi_sender_t *tx, fi_waiting_t *w, int64_t due) {
    w->buried_by = NULL;
    w->due = due;
    fi_backlog_put_aside(tx, w, tx->buried.prev);
}

bool fi_returned_next(fi_sender_t *tx, uint64_t *seq, int64_t *due) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &tx->buried) {
        fi_waiting_t *w = fi_container(at, fi_waiting_t, link);
        if (!w->buried_by) {
            *seq = w->seq;
            *due = w->due;
            fi_backlog_free(tx, w);
            return true;
        }
    }
    return false;
}

/* Somebody has released the copy in the dead-letter queue, or purged it. */
static void let_rest(fi_sender_t *tx, const fi_txlink_t *l, uint64_t seq, bool purged) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &tx->buried) {
        fi_waiting_t *w = fi_container(at, fi_waiting_t, link);
        if (w->buried_by == l && w->seq == seq) {
            fi_backlog_free(tx, w);
            tx->stats.purged += purged;
            return;
        }
    }
}

static void exhume_from(fi_sender_t *tx, struct fi_list *aside, const fi_txlink_t *l) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, aside) {
        fi_waiting_t *w = fi_container(at, fi_waiting_t, link);
        if (w->buried_by == l) {
            fi_backlog_return(tx, w);
        }
    }
}

void fi_returned_exhume(fi_sender_t *tx, const fi_txlink_t *l) {
    exhume_from(tx, &tx->buried, l);
    exhume_from(tx, &tx->delayed, l); /* refused */
}

void fi_returned_rejected(fi_sender_t *tx, fi_txlink_t *l, const fi_frame_t *f) {
    if (f->flags & FI_REJECT_DONE) {
        let_rest(tx, l, f->a, (f->flags & FI_REJECT_PURGED) != 0);
        return;
    }
    const fi_outlet_t *o = l->outlet;
    const fi_log_t *log = o->logs[f->figures[0] % FI_LOGS];
    uint64_t pos = f->a;

    /* A frame says what it likes: it must name a message of ours that this receiver has and did not release. */
    if (tx->topic || l->tap || !l->live || !log || pos < log->freed || pos >= log->w.pos ||
        !fi_log_is_boundary(log, pos)) {
        return;
    }
    uint64_t after = pos;
    uint64_t word = fi_ringw_walk(&log->w, &after);
    if (!fi_outlet_owes(o, log, pos, word)) {
        return;
    }
    uint32_t attempts = f->flags & (FI_REJECT_UNCOUNTED | FI_REJECT_BURIED) ? 0 : 1;
    attempts = f->flags & FI_REJECT_TRIED ? (uint32_t)fi_min(f->figures[1], (uint64_t)UINT16_MAX) : attempts;
    fi_waiting_t *w = fi_backlog_take_record(tx, log, pos, word, attempts);
    if (!w) {
        return; /* no memory: it stays where it is, and comes back with its receiver's end */
    }
    mark(log, pos, word);
    fi_outlet_ring(l->outlet); /* a receiver that sleeps lets its lines go */
    if (f->flags & FI_REJECT_BURIED) {
        w->buried_by = l;
        fi_backlog_put_aside(tx, w, tx->buried.prev);
    } else if (tx->part.gives_back && attempts > 0) {
        fi_returned_keep(tx, w, f->b > 0 ? fi_deadline((int64_t)fi_min(f->b, (uint64_t)INT64_MAX)) : 0);
    } else if (f->flags & FI_REJECT_REFUSED) {
        w->buried_by = l;
        delay(tx, w, FI_NEVER);
    } else if (f->b > 0) {
        delay(tx, w, fi_deadline((int64_t)fi_min(f->b, (uint64_t)INT64_MAX)));
    }
}

static int by_number(const void *a, const void *b) {
    const fi_waiting_t *left = *(fi_waiting_t *const *)a;
    const fi_waiting_t *right = *(fi_waiting_t *const *)b;

    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

/* Puts the first `count` back among those that wait: in their own order, so that each finds its place beside the one
 * before. */
static void return_first(fi_sender_t *tx, size_t count) {
    fi_waiting_t **all = malloc(count * sizeof(fi_waiting_t *));
    struct fi_list *at = tx->delayed.next;

    for (size_t i = 0; all && i < count; i++, at = at->next) {
        all[i] = fi_container(at, fi_waiting_t, link);
    }
    if (all) {
        qsort(all, count, sizeof *all, by_number);
    }
    for (size_t i = 0; i < count; i++) {
        fi_backlog_return(tx, all ? all[i] : fi_container(tx->delayed.next, fi_waiting_t, link));
    }
    free(all);
}

void fi_returned_due(fi_sender_t *tx) {
    int64_t now = fi_now_ns();
    size_t count = 0;

    tx->scan_due = fi_overdue_look(tx);
    for (const struct fi_list *at = tx->delayed.next; at != &tx->delayed; at = at->next, count++) {
        if (fi_container(at, fi_waiting_t, link)->due > now) {
            break;
        }
    }
    if (count > 0) {
        return_first(tx, count);
    }
    set_due(tx);
}

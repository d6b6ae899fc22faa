/* SPDX-License-Identifier: MIT
 *
 * A queue's messages go to the receiver that is expected to be done with them first.
 *
 *   backlog ── a receiver has room in its window ──> the link with the least expected completion
 *
 * A sender with several receivers deals out a few messages to each at first, and learns from their releases how long
 * each takes (window.h).  Who is quick gets as many as fit into its ring, as ever.  Of the others each gets as many as
 * its window says; the rest waits in the backlog, in order, for whoever is free first.  So nothing has to be moved
 * afterwards, and each receiver sees first attempts in their sender's order.
 *
 * Towards the end of what waits, a slow receiver that is busy gets no second message: another one would have done all
 * of it sooner.  An idle one always gets one: what is believed of the others may be wrong by now, and one message is
 * soon done.
 *
 * Receivers on other machines have no windows: what they release is known a round trip later.  As long as there is one,
 * all go without.
 */
#include "channel/dispatch.h"

#include "base/bits.h"
#include "platform/clock.h"

#define COUNTED 128u   /* messages; who has more is not measured until it has fewer */
#define QUICK_NS 1000u /* that who has no window takes for a line, more or less */
#define MOST_PASSED 64u
#define LATE 8 /* times what it usually takes */
#define LONG_NS 1000000000ull

/* Where the messages of a ring begin that its reader has not taken. What it says of that is checked. */
static uint64_t untaken_from(const fi_txlink_t *l, const fi_log_t *log) {
    unsigned at = log->serial % FI_LOGS;
    uint64_t taken = l->ctl_memory[at] ? fi_load_relaxed64(&l->ctl[at].head->taken) : 0;

    return taken > log->freed && taken <= log->w.pos && fi_log_is_boundary(log, taken) ? taken : log->freed;
}

/* Messages that lie ready for the link's receiver; `left`: of those that did when last looked at. */
static uint32_t count_ready(fi_txlink_t *l, uint32_t *left) {
    const fi_outlet_t *o = l->outlet;
    fi_window_t *w = &l->window;
    uint32_t count = 0;

    *left = 0;
    w->busy = false;
    for (uint32_t s = o->first; s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        uint64_t pos = untaken_from(l, log);
        w->busy |= pos > log->freed;
        while (pos < log->w.pos && count < COUNTED) {
            uint64_t at = pos;
            uint64_t word = fi_ringw_walk(&log->w, &pos);
            if (fi_outlet_owes(o, log, at, word)) {
                *left += s < w->serial || (s == w->serial && at < w->pos);
                count++;
            }
        }
    }
    return count;
}

/* Nothing is there, and nothing was when it was looked at last. */
static bool is_idle_still(const fi_txlink_t *l) {
    const fi_outlet_t *o = l->outlet;
    const fi_log_t *log = fi_outlet_log(o);

    return l->window.had == 0 && !l->window.busy && o->first == o->current && log->w.pos == log->freed;
}

/* Looks what lies ready on a link with a window, and learns from it. */
static void look(fi_sender_t *tx, fi_txlink_t *l) {
    const fi_log_t *log = fi_outlet_log(l->outlet);
    fi_window_t *w = &l->window;
    uint32_t left;

    if (is_idle_still(l)) {
        return;
    }
    (void)fi_outlet_refresh_exactly(l->outlet);
    uint32_t has = count_ready(l, &left);
    if (has == COUNTED) {
        w->had = has;
        w->since = 0;
        return;
    }
    fi_window_note(w, fi_window_needs_time(w, has, left) ? fi_now_ns() : 0, has, left);
    w->serial = log->serial;
    w->pos = log->w.pos;
    tx->windows -= !w->used;
}

static bool is_rationed_out(fi_txlink_t *l) {
    if (l->prefetch == 0 && !l->overdue) {
        return false;
    }
    (void)fi_outlet_refresh_exactly(l->outlet);
    if (l->overdue) {
        l->overdue = fi_link_is_overdue(l);
    }
    return (l->overdue && l->outlet->tx->link_count > 1) ||
           (l->prefetch != 0 && fi_outlet_unreleased(l->outlet, true) >= l->prefetch);
}

bool fi_txlink_is_sated_now(fi_txlink_t *l) {
    if (l->window.used) {
        look(l->outlet->tx, l);
    }
    return fi_window_is_full(&l->window) || is_rationed_out(l);
}

/* Messages before the next one; on a link without a window, lines, which need no walk. */
static uint64_t ahead_of(fi_sender_t *tx, fi_txlink_t *l) {
    const fi_log_t *log = fi_outlet_log(l->outlet);

    if (l->window.used) {
        look(tx, l);
    } else if (log->w.pos - log->freed > FI_LOOK_AGAIN_AT) {
        fi_outlet_refresh(l->outlet);
    }
    return l->window.used ? l->window.had + l->window.busy : log->w.pos - log->freed;
}

/* Whose receiver works on nothing, or sleeps until it gets one more than it holds. */
static bool is_idle(const fi_txlink_t *l) {
    return l->window.had == 0 && (!l->window.busy || fi_load_relaxed32(&l->remote->page->sleep) & FI_SLEEP_ASLEEP);
}

/* What it is expected to take for each. */
static uint64_t each_ns(const fi_txlink_t *l) {
    return l->window.used ? l->window.service_ns : QUICK_NS;
}

/* May it have one more? Notes that it would have got it, if its window were larger. */
static bool may_have(fi_txlink_t *l) {
    if (fi_window_is_full(&l->window)) {
        l->window.wanted = true;
        return false;
    }
    return !fi_outlet_is_claimed(l->outlet) && !is_rationed_out(l);
}

static fi_txlink_t *link_at(const fi_sender_t *tx, uint64_t i) {
    return tx->links[(tx->turn + i) % tx->link_count];
}

/* Has it taken none for much longer than it usually needs? It may be stuck: others are not to wait for it. */
static bool is_late(const fi_txlink_t *l, int64_t now) {
    return l->window.since != 0 && now - l->window.since > LATE * (int64_t)fi_min(l->window.service_ns, LONG_NS);
}

/* When one of the links, of which it is known, would be done with all that waits. */
static uint64_t soonest(fi_sender_t *tx, uint32_t looked_at) {
    int64_t now = fi_now_ns();
    uint64_t ns = UINT64_MAX;

    for (uint32_t i = 0; i < looked_at; i++) {
        fi_txlink_t *l = link_at(tx, i);
        if (each_ns(l) > 0 && !is_late(l, now)) {
            ns = fi_min(ns, (ahead_of(tx, l) + fi_max(tx->backlog_count, 1)) * each_ns(l));
        }
    }
    return ns;
}

/* Of the links whose receivers are idle the one that is done first. */
static fi_txlink_t *idle_one(fi_sender_t *tx, uint32_t looked_at) {
    fi_txlink_t *best = NULL;

    for (uint32_t i = 0; i < looked_at; i++) {
        fi_txlink_t *l = link_at(tx, i);
        if (l->window.used && is_idle(l) && (!best || each_ns(l) < each_ns(best)) && may_have(l)) {
            best = l;
        }
    }
    return best;
}

/* Was it idle so often while others got the next one? What is known of it may be wrong by now: it gets one. */
static bool is_forgotten(fi_txlink_t *l) {
    return l->window.used && is_idle(l) && ++l->window.passed > MOST_PASSED;
}

fi_outlet_t *fi_dispatch_choose(fi_sender_t *tx) {
    fi_txlink_t *best = NULL;
    uint64_t least = UINT64_MAX;
    uint64_t fewest = 0;
    uint32_t i;

    for (i = 0; i < tx->link_count && (i < FI_CHOICES || !best); i++) {
        fi_txlink_t *l = link_at(tx, i);
        uint64_t ahead = ahead_of(tx, l);
        uint64_t done = is_forgotten(l) ? 0 : (ahead + 1) * each_ns(l);
        if ((done < least || (done == least && ahead < fewest)) && may_have(l)) {
            least = done;
            fewest = ahead;
            best = l;
        }
    }
    if (best && best->window.used && !is_idle(best) && least > soonest(tx, i)) {
        best = idle_one(tx, i);
    }
    if (best) {
        best->window.passed = 0;
    }
    tx->turn = (tx->turn + 1) % tx->link_count;
    return best ? best->outlet : NULL;
}

static bool wants_windows(const fi_sender_t *tx) {
    if (tx->topic || tx->link_count < 2 || tx->part.choose || tx->rendezvous) {
        return false;
    }
    for (uint32_t i = 0; i < tx->link_count; i++) {
        if (tx->links[i]->hidden) {
            return false;
        }
    }
    return true;
}

static void give_windows(fi_sender_t *tx) {
    tx->deals = wants_windows(tx);
    tx->windows = 0;
    for (uint32_t i = 0; i < tx->link_count; i++) {
        fi_txlink_t *l = tx->links[i];
        if (!tx->deals) {
            l->window = (fi_window_t){0};
        } else if (!l->window.used && !l->window.open) {
            fi_window_begin(&l->window, fi_pace_service(&l->pace, fi_sender_usual_lines(tx)));
        }
        tx->windows += l->window.used;
    }
}

void fi_dispatch_joined(fi_sender_t *tx) {
    bool dealt = tx->deals;

    give_windows(tx);
    if (tx->deals && !dealt && tx->link_count == 2 && !tx->links[0]->window.open) {
        fi_recall_untaken(tx, tx->links[0]);
    }
}

void fi_dispatch_parted(fi_sender_t *tx) {
    give_windows(tx);
}

void fi_dispatch_rest(fi_sender_t *tx) {
    for (uint32_t i = 0; i < tx->link_count; i++) {
        tx->links[i]->window = (fi_window_t){0};
    }
    tx->windows = 0;
    tx->deals = false;
    if (tx->backlog_count > 0 && tx->link_count > 0) {
        (void)fi_backlog_pump(tx);
    }
}

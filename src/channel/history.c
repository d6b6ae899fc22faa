/* SPDX-License-Identifier: MIT */
#include "channel/history.h"

#include <string.h>

#include "channel/ghosts.h"

bool fi_log_retains(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos) {
    const fi_sender_t *tx = o->tx;

    if (tx->retain == 0 || o->is_for_taps || log != fi_outlet_log(o)) {
        return false;
    }
    uint64_t first = fi_sender_first_retained(tx);
    return first < tx->retained_count && pos >= tx->retained[first % tx->retain] && pos < log->w.pos;
}

void fi_outlet_leave_history(const fi_outlet_t *o, fi_log_t *next) {
    next->start += FI_LINES_PER_MESSAGE * o->tx->retain;
}

static uint64_t lines_of_history(const fi_sender_t *tx, const fi_log_t *log) {
    uint64_t lines = 0;

    for (uint64_t i = fi_sender_first_retained(tx); i < tx->retained_count; i++) {
        uint64_t end = tx->retained[i % tx->retain];
        (void)fi_ringw_walk(&log->w, &end);
        lines += end - tx->retained[i % tx->retain];
    }
    return lines;
}

/* One record, as it stands. Returns where. */
static uint64_t carry(const fi_log_t *from, uint64_t pos, fi_log_t *to) {
    const struct fi_record *rec = fi_ringw_at(&from->w, (uint32_t)(pos % from->w.lines));
    uint64_t end = pos;
    uint64_t word = fi_ringw_walk(&from->w, &end);
    uint64_t place = to->w.pos;

    memcpy(fi_ringw_begin(&to->w, end - pos) + 1, rec + 1, (end - pos) * FI_LINE - sizeof *rec);
    fi_log_note_start(to);
    if (fi_word_kind(word) == FI_REC_POINTER) {
        fi_log_lend(to, from->lent[fi_log_lent_from(from, pos) & (from->lent_cap - 1)].block);
    }
    fi_ringw_publish(&to->w, word, rec->seq);
    return place;
}

bool fi_outlet_carry_history(fi_outlet_t *o, fi_log_t *next) {
    fi_sender_t *tx = o->tx;
    const fi_log_t *log = fi_outlet_log(o);

    if (tx->retain == 0) {
        return true;
    }
    if (fi_log_lent_reserve(next, tx->retain) < 0) {
        return false;
    }
    fi_ringw_skip(&next->w, next->start - next->w.lines - lines_of_history(tx, log));
    next->oldest = next->w.pos;
    for (uint64_t i = fi_sender_first_retained(tx); i < tx->retained_count; i++) {
        tx->retained[i % tx->retain] = carry(log, tx->retained[i % tx->retain], next);
    }
    next->freed = next->w.pos;
    fi_log_set_limit(o, next);
    return true;
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
            /* Somebody holds an older one. What readers may still lose comes back when they lose it. */
            if (log->lent_head == oldest && (o->lossy_count == 0 || pos < log->oldest)) {
                fi_outlet_reclaim(o, true);
            }
            return true;
        }
    }
    return false;
}

void fi_outlet_lose_unretained(fi_outlet_t *o) {
    const fi_sender_t *tx = o->tx;
    fi_log_t *log = fi_outlet_log(o);
    uint64_t i = fi_sender_first_retained(tx);

    if (o->lossy_count == 0 || o->strict_count > 0 || i == tx->retained_count) {
        return;
    }
    uint64_t first = tx->retained[i % tx->retain];
    if (log->oldest < first) {
        log->oldest = first;
        fi_log_lose_before_oldest(log);
    }
}

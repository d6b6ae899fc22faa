/* SPDX-License-Identifier: MIT */
#include "channel/history.h"

#include "channel/ghosts.h"

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

void fi_outlet_lose_unretained(fi_outlet_t *o) {
    const fi_sender_t *tx = o->tx;
    fi_log_t *log = fi_outlet_log(o);

    if (o->lossy_count == 0 || o->strict_count > 0 || tx->retain == 0 || tx->retained_count < tx->retain) {
        return;
    }
    uint64_t first = tx->retained[tx->retained_count % tx->retain];
    if (log->oldest < first) {
        log->oldest = first;
        fi_log_lose_before_oldest(log);
    }
}

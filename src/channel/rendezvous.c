/* SPDX-License-Identifier: MIT
 *
 * A queue without capacity: the sender waits until a receiver has taken the message, or takes it back.
 *
 *   put -- taken: it was sent
 *      \-- given up (timeout, signal, ...), or another receiver waits: ASKED -- taken meanwhile: as it was, it was sent
 *                                                                           \-- VOID: it never was
 *
 * Exactly one of the two has it: each stores one word, then looks at the other's (ARCHITECTURE, "Waiting"):
 *
 *   receiver                                        sender
 *   taken = behind the record                       the record becomes ASKED
 *   light barrier                                   heavy barrier (membarrier)
 *   is the record as it was? Then it has it         is `taken` behind the record? Then the receiver has it
 *   else it waits for the sender's word             says which: the record as it was, or VOID
 *
 * If the receiver finds the record as it was, the sender finds `taken`.  If the sender does not find `taken`, the
 * receiver finds ASKED or VOID.  Where both find the other's word, the receiver has it.  A sender that dies in between
 * has told nobody that it was not sent.
 */
#include <errno.h>
#include <sched.h>

#include "base/error.h"
#include "channel/dispatch.h"
#include "channel/quick.h"
#include "channel/rendezvous.h"
#include "node/shown.h"
#include "platform/clock.h"

#define NOW_NS 100000 /* for a receiver that waits already to wake up */
#define PATIENT_ROUNDS 10000
#define LONG_FOR_A_STORE_NS 1000000 /* on its way to other cores: where the kernel refuses the barrier */

/* --- the receiver's side ------------------------------------------------------------------------------------------ */

bool fi_rendezvous_is_mine(const fi_rxlink_t *l, const fi_seen_t *s) {
    const struct fi_record *rec = fi_ringr_line(&l->log->r, s->idx);
    unsigned kind = FI_REC_ASKED;

    fi_store_release64(&l->log->ctl.head->taken, s->pos + s->lines);
    fi_rxlink_fence(l);
    for (int i = 0; i < PATIENT_ROUNDS && kind == FI_REC_ASKED; i++) {
        kind = fi_word_kind(fi_load_acquire64(&rec->word));
        if (kind == FI_REC_ASKED) {
            sched_yield(); /* the sender is between two steps */
        }
    }
    return kind == s->kind;
}

/* --- the sender's side -------------------------------------------------------------------------------------------- */

static bool is_taken_by(const fi_meet_t *m, const fi_txlink_t *l) {
    unsigned i = m->serial % FI_LOGS;
    const fi_outlet_t *o = l->outlet;

    if (m->serial < o->first) {
        return true; /* its ring is given up: everything in it was released */
    }
    if (!l->ctl_memory[i]) {
        return false;
    }
    uint32_t lines = o->logs[i]->w.lines;
    return fi_load_acquire64(&l->ctl[i].head->taken) > m->pos || fi_load_acquire64(&l->ctl[i].head->cursor) > m->pos ||
           fi_ctl_is_released(&l->ctl[i], (uint32_t)(m->pos % lines), (uint32_t)(m->pos / lines));
}

/* The message stands in a ring. True: it was taken back; false: its receiver has it. */
static bool take_back(fi_sender_t *tx) {
    fi_meet_t *m = &tx->meet;
    fi_outlet_t *o = m->outlet;

    if (is_taken_by(m, o->links[0])) {
        return false;
    }
    fi_log_t *log = o->logs[m->serial % FI_LOGS];
    struct fi_record *rec = fi_ringw_at(&log->w, (uint32_t)(m->pos % log->w.lines));
    uint64_t word = fi_load_relaxed64(&rec->word);
    fi_store_release64(&rec->word, fi_word_of_kind(word, FI_REC_ASKED));
    if (!fi_barrier_heavy_global()) {
        fi_sleep_until(fi_now_ns() + LONG_FOR_A_STORE_NS);
    }
    if (is_taken_by(m, o->links[0])) {
        fi_store_release64(&rec->word, word);
        fi_outlet_ring(o); /* it may have seen that it was asked, and sleep */
        return false;
    }
    fi_store_release64(&rec->word, fi_word_of_kind(word, FI_REC_VOID));
    fi_log_unlend(o, log, m->pos);
    fi_outlet_ring(o); /* as above: what stands behind it is to be taken */
    m->outlet = NULL;
    return true;
}

void fi_rendezvous_link_gone(fi_sender_t *tx, const fi_txlink_t *l) {
    fi_meet_t *m = &tx->meet;

    if (m->open && m->outlet == l->outlet) {
        m->taken = is_taken_by(m, l);
        m->outlet = NULL;
    }
}

bool fi_rendezvous_is_open_for(const fi_sender_t *tx, uint64_t seq, uint64_t word) {
    return tx->meet.open && !tx->meet.taken && tx->meet.seq == seq && (fi_word_flags(word) & FI_REC_MEET);
}

/* Does this link's receiver sleep until a message comes? After a fence. */
static bool waits(const fi_txlink_t *l) {
    return (fi_load_relaxed32(&l->remote->page->sleep) & FI_SLEEP_ASLEEP) != 0;
}

/* One that waits, and does not have the message in its ring already. */
static fi_outlet_t *find_waiting(const fi_sender_t *tx) {
    const fi_outlet_t *has_it = tx->meet.open ? tx->meet.outlet : NULL;

    fi_fence_seq_cst();
    for (uint32_t i = 0; i < tx->link_count; i++) {
        if (waits(tx->links[i]) && tx->links[i]->outlet != has_it && !fi_txlink_is_sated(tx->links[i])) {
            return tx->links[i]->outlet;
        }
    }
    return NULL;
}

bool fi_rendezvous_is_awaited(const fi_sender_t *tx) {
    return find_waiting(tx) != NULL;
}

static int put(fi_sender_t *tx, const fi_item_t *item) {
    fi_outlet_t *o = find_waiting(tx);

    int r = o ? fi_outlet_put(o, item) : -EAGAIN;
    if (r == -EAGAIN) {
        r = fi_sender_put(tx, item);
        return r;
    }
    if (r == 0 && item->block) {
        fi_outlet_give_back(o, fi_outlet_log(o));
    }
    if (r == 0 && tx->rationed) {
        fi_returned_watch(tx);
    }
    return r;
}

/* 0: a receiver has it. */
static int try_meet(fi_sender_t *tx, void *arg) {
    const fi_item_t *item = arg;
    fi_meet_t *m = &tx->meet;

    if (m->outlet) {
        const fi_txlink_t *l = m->outlet->links[0];
        if (is_taken_by(m, l)) {
            m->taken = true;
        } else if (tx->link_count < 2 || waits(l) || !find_waiting(tx)) {
            return -EAGAIN;
        } else {
            m->taken = !take_back(tx);
        }
    }
    if (m->taken) {
        return 0;
    }
    int r = tx->backlog_count > 0 ? fi_backlog_pump(tx) : 0; /* what came back goes first */
    if (r == 0 && (tx->link_count == 0 || fi_sender_is_over_capacity(tx))) {
        r = -EAGAIN;
    }
    r = r == 0 ? put(tx, item) : r;
    return r == 0 ? -EAGAIN : r == -EDQUOT ? -EAGAIN : r;
}

static int was_not_taken(const fi_sender_t *tx, int error) {
    char words[FI_UNMET_WORDS];

    return fi_fail(error, "no receiver of '%s' has taken the message%s: it was taken back%s",
                   fi_channel_shown(tx->end.channel), error == -EAGAIN ? " at once" : " before the timeout",
                   fi_end_unmet_words(&tx->end, words));
}

int fi_rendezvous_send(fi_sender_t *tx, fi_item_t *item, int64_t timeout) {
    fi_meet_t *m = &tx->meet;
    bool now = timeout == FERRY_NOW || tx->overflow == FERRY_OVERFLOW_FAIL;

    *m = (fi_meet_t){.open = true, .seq = item->seq};
    item->meet = true;
    int r = try_meet(tx, item);
    if (r == -EAGAIN) {
        r = fi_sender_wait_until(tx, try_meet, item, now ? NOW_NS : timeout, false);
    }
    if (r < 0 && (m->taken || (m->outlet && !take_back(tx)))) {
        r = 0; /* after all */
    }
    m->open = item->meet = false;
    return r == -ETIMEDOUT ? was_not_taken(tx, now ? -EAGAIN : -ETIMEDOUT) : r;
}

/* SPDX-License-Identifier: MIT
 *
 * A second receiver has come, and the first one has everything in its ring: what it has not taken is dealt out anew.
 *
 * Only here messages can be moved without breaking the order: the newcomer has had none, and whoever had them all gets
 * nothing that is older than what it has.  They wait in the backlog, as what was sent without a receiver does; nobody
 * has tried them, and no attempt is counted.
 *
 *   receiver, for each record                       sender
 *   loads the record's word                         all records behind the first that is not taken become ASKED
 *   taken = behind the record                       heavy barrier (membarrier)
 *   loads the next one's word                       looks at `taken`
 *
 * The receiver does nothing that it would not do anyway.  It stores `taken`, which passes a record, before it loads the
 * next one's word; so when the barrier has made its processor do all that came before, and it had loaded the word of a
 * record, as it was, then `taken` is seen to be at that record, or behind it.  The first record that `taken` has not
 * passed may be its own or not: that one, and all before, become what they were.  The others cannot have been seen but
 * as ASKED, which it waits at (rendezvous.c has the same word), and are VOID once a copy is kept.
 *
 * A receiver's process that is out of the barrier's reach keeps what it has.
 */
#include "channel/dispatch.h"
#include "platform/barrier.h"

/* A walk over the records that a receiver has not released, ring by ring, as it will meet them. */
typedef struct fi_walk {
    fi_outlet_t *o;
    uint32_t serial; /* ring of the next record */
    uint64_t next;   /* its place */
    fi_log_t *log;   /* of this one */
    uint64_t pos;
    uint64_t word;
    bool taken;
} fi_walk_t;

static fi_walk_t walk_begin(fi_outlet_t *o) {
    return (fi_walk_t){.o = o, .serial = o->first, .next = o->logs[o->first % FI_LOGS]->freed};
}

static bool walk_on(fi_walk_t *w, const fi_txlink_t *l) {
    fi_log_t *log = w->o->logs[w->serial % FI_LOGS];

    while (w->next >= log->w.pos) {
        if (w->serial == w->o->current) {
            return false;
        }
        log = w->o->logs[++w->serial % FI_LOGS];
        w->next = log->freed;
    }
    w->log = log;
    w->pos = w->next;
    w->word = fi_ringw_walk(&log->w, &w->next);
    w->taken =
        l->ctl_memory[w->serial % FI_LOGS] && w->pos < fi_load_acquire64(&l->ctl[w->serial % FI_LOGS].head->taken);
    return true;
}

static struct fi_record *record_of(const fi_walk_t *w) {
    return fi_ringw_at(&w->log->w, (uint32_t)(w->pos % w->log->w.lines));
}

static void set_kind(const fi_walk_t *w, unsigned kind) {
    fi_store_release64(&record_of(w)->word, fi_word_of_kind(w->word, kind));
}

/* The record's word, as it was before it became ASKED. */
static uint64_t word_before(const fi_walk_t *w) {
    uint64_t i = fi_log_lent_from(w->log, w->pos);
    bool lent = i < w->log->lent_tail && w->log->lent[i & (w->log->lent_cap - 1)].pos == w->pos;

    return fi_word_of_kind(w->word, lent ? FI_REC_POINTER : FI_REC_INLINE);
}

/* Returns how many. */
static uint32_t ask(const fi_txlink_t *l) {
    fi_walk_t w = walk_begin(l->outlet);
    bool keeps = true; /* the first is not worth the trouble: its receiver may be about to take it */
    uint32_t count = 0;

    while (walk_on(&w, l)) {
        if (w.taken || !fi_outlet_owes(w.o, w.log, w.pos, w.word)) {
            continue;
        }
        if (!keeps) {
            set_kind(&w, FI_REC_ASKED);
            count++;
        }
        keeps = false;
    }
    return count;
}

/* One that its receiver cannot have seen as it was. False: there is no memory to keep it. */
static bool take_back(fi_sender_t *tx, const fi_walk_t *w) {
    if (!fi_backlog_take_record(tx, w->log, w->pos, word_before(w), 0)) {
        return false;
    }
    set_kind(w, FI_REC_VOID);
    fi_log_unlend(w->o, w->log, w->pos);
    return true;
}

/* What was asked for becomes ours, if that may be, or what it was. */
static void decide(fi_sender_t *tx, const fi_txlink_t *l, bool may_be) {
    fi_walk_t w = walk_begin(l->outlet);
    bool first = true;

    while (walk_on(&w, l)) {
        unsigned kind = fi_word_kind(w.word);
        if (kind == FI_REC_ASKED) {
            may_be = may_be && (w.taken || first || take_back(tx, &w));
            if (w.taken || first || !may_be) {
                fi_store_release64(&record_of(&w)->word, word_before(&w));
            }
        }
        first = first && (w.taken || (kind != FI_REC_ASKED && !fi_word_is_owed(w.word)));
    }
}

void fi_recall_untaken(fi_sender_t *tx, fi_txlink_t *l) {
    uint64_t redelivered = tx->stats.redelivered;

    if (!fi_barrier_is_asymmetric() || !l->remote->peer->asymmetric || l->purging > 0 || ask(l) == 0) {
        return;
    }
    decide(tx, l, fi_barrier_heavy_global());
    tx->stats.redelivered = redelivered; /* nobody has had them */
    fi_outlet_ring(l->outlet);           /* it may have seen that they were asked for, and sleep */
}

/* SPDX-License-Identifier: MIT
 *
 * quick.h - the usual case of sending, taking and releasing, in one piece each: a small message, one link, nothing else
 * to look after.
 *
 * What a stream of small messages costs is, above all, the number of *stores* for each: a store that waits until its
 * line of the ring is owned keeps all stores behind it in the store buffer (64 on current processors), and with each
 * message that fits in there one more line is on its way.  So the sender's books are few words, and its calls keep no
 * registers:
 * whatever is rare is a function of its own in tail position.
 *
 * These functions do what fi_sender_send_copy, fi_link_take and fi_taken_release do, with the same checks of what the
 * peer wrote, and leave everything else to them: padding, pointers, tags, growth, the end of a quantum, errors.  They
 * are inline, and answer false before anything was changed but their own idea of whether messages come in a stream.
 */
#ifndef FI_QUICK_H
#define FI_QUICK_H

#include <string.h>

#include "channel/receiver.h"
#include "channel/sender.h"

#define FI_AHEAD_LINES 24u /* a transfer between distant cores takes as long as a dozen small messages */
/* Kind and flags of a header word, which stand side by side. */
#define FI_QUICK_SAME_LINE ((unsigned)FI_REC_INLINE)
#define FI_QUICK_NEXT_LINE ((unsigned)FI_REC_INLINE | (unsigned)FI_REC_NEXT_LINE << 8)
/* The whole word of a message by pointer, sent for the first time. */
#define FI_QUICK_POINTER (sizeof(struct fi_pointer) | (uint64_t)FI_REC_POINTER << 32 | 1ull << 48)

/* A call that goes this way begins on a line of its own: else whatever stands before it in the library decides how many
 * lines of code it takes, which makes up to 7 % of what taking a message costs. */
#define FI_QUICK_CALL __attribute__((aligned(FI_LINE)))

/* --- sending ----------------------------------------------------------------------------------------------------- */

/* Nothing about the sender keeps a message back. */
static inline bool fi_sender_may_send(const fi_sender_t *tx) {
    return tx->seq < tx->free_to && !tx->claim.open && !fi_node_is_shut(tx->end.node);
}

/* What contract and quota leave. */
static inline bool fi_sender_size_fits(const fi_sender_t *tx, uint64_t size) {
    return size <= tx->largest && (tx->end.contract.type_size == 0 || tx->end.contract.type_size == size);
}

/* Fits without padding, growth or anybody to overtake? */
static inline bool fi_log_fits_quick(const fi_log_t *log, uint32_t lines) {
    return lines <= log->w.lines - log->w.idx && log->w.pos + lines + 2 <= log->w.silent;
}

/* May a small message of this size go the quick way now? Then `form` tells how. */
static inline bool fi_sender_is_quick(fi_sender_t *tx, uint64_t size) {
    return (fi_likely(size == tx->form.size) || fi_sender_find_form(tx, size)) && fi_sender_may_send(tx) &&
           fi_log_fits_quick(tx->quick_log, tx->form.lines);
}

#define FI_COPY_SMALL 128u

/* Fewer than 16 bytes: the first and the last 8, or 4, which may overlap. */
static inline void fi_copy_tiny(unsigned char *to, const unsigned char *from, uint64_t n) {
    if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

/* A message's bytes; mostly a few words, for which a call to memcpy would cost more than the copy. */
static inline void fi_copy_message(unsigned char *to, const unsigned char *from, uint64_t n) {
    if (n > FI_COPY_SMALL) {
        memcpy(to, from, n);
    } else if (n < 16) {
        fi_copy_tiny(to, from, n);
    } else {
        for (uint64_t i = 0; i + 16 < n; i += 16) {
            memcpy(to + i, from + i, 16);
        }
        memcpy(to + n - 16, from + n - 16, 16);
    }
}

/* Counts a message that was accepted, and notes whether its thread has waited for others since the one before. */
static inline void fi_sender_count(fi_sender_t *tx, uint64_t size) {
    uint64_t seq = tx->seq + 1;

    fi_store_relaxed64(&tx->seq, seq);
    fi_count64(&tx->stats.bytes, size);
    if (tx->waits != fi_waits) {
        tx->waits = fi_waits;
        tx->stream_from = seq + FI_STREAM;
        fi_spoke = true;
    }
}

static inline void fi_sender_count_no_copy(fi_sender_t *tx, uint64_t size) {
    fi_count64(&tx->stats.copies_avoided, 1);
    fi_count64(&tx->stats.avoided_bytes, size);
}

/* The record of `lines` lines whose payload is in place becomes the readers'. `size`: of the message. */
static inline __attribute__((always_inline)) void fi_sender_publish_quick(fi_sender_t *tx, uint64_t word,
                                                                          uint32_t lines, uint64_t size) {
    fi_ringw_t *w = &tx->quick_log->w;

    fi_log_note_start(tx->quick_log);
    fi_ringw_publish_at(w, fi_ringw_place(w, lines), word, tx->seq + 1);
    fi_sender_count(tx, size);
    if (tx->seq > tx->stream_from) {
        fi_ringw_own_ahead(w);
    } else {
        fi_ringw_clear_ahead(w, lines);
    }
}

/* Where the next small message of this size will be read; what is put there is to be published at once. NULL: not
 * now. */
static inline unsigned char *fi_sender_room_quick(fi_sender_t *tx, uint64_t size) {
    if (fi_unlikely(!fi_sender_is_quick(tx, size))) {
        return NULL;
    }
    const fi_ringw_t *w = &tx->quick_log->w;
    return (unsigned char *)fi_ringw_at(w, w->idx) + tx->form.offset;
}

static inline void fi_sender_publish_form(fi_sender_t *tx) {
    fi_sender_publish_quick(tx, tx->form.word, tx->form.lines, tx->form.size);
}

/* Puts a small message into the ring. Readers that sleep are still to be rung. */
static inline bool fi_sender_send_quick(fi_sender_t *tx, const void *data, uint64_t size) {
    unsigned char *room = fi_sender_room_quick(tx, size);

    if (fi_unlikely(!room || !data)) {
        return false;
    }
    fi_copy_message(room, data, size);
    fi_sender_publish_form(tx);
    return true;
}

/* Does some reader sleep, or want a fence before that can be said? Then fi_outlet_ring is to be called. */
static inline bool fi_outlet_sleeps(const fi_outlet_t *o) {
    const uint32_t *const *sleep = o->sleep;
    uint32_t count = o->link_count, some = 0;

    fi_barrier_light(); /* the record was stored before; see ARCHITECTURE, "Waiting" */
    for (uint32_t i = 0; i < count; i++) {
        some |= fi_load_relaxed32(sleep[i]);
    }
    return some & (FI_SLEEP_FENCE | FI_SLEEP_ASLEEP);
}

static inline bool fi_sender_claim_quick(fi_sender_t *tx, uint64_t size, void **data) {
    if (fi_unlikely(!fi_sender_is_quick(tx, size))) {
        return false;
    }
    fi_ringw_t *w = &tx->quick_log->w;
    fi_claim_t *c = &tx->claim;

    fi_log_note_start(tx->quick_log);
    fi_ringw_lend(w);
    c->open = true;
    c->outlet = tx->quick;
    c->block = NULL;
    c->size = size;
    c->flags = fi_word_flags(tx->form.word);
    c->data = (unsigned char *)fi_ringw_at(w, w->idx) + tx->form.offset;
    *data = c->data;
    return true;
}

/* What was claimed stands where the next record goes, unless something has happened meanwhile. */
static inline bool fi_sender_commit_quick(fi_sender_t *tx, uint64_t size) {
    fi_claim_t *c = &tx->claim;

    if (fi_unlikely(!c->open || !tx->quick || c->outlet != tx->quick || size > c->size ||
                    !fi_sender_size_fits(tx, size))) {
        return false;
    }
    const fi_ringw_t *w = &tx->quick_log->w;
    if (fi_unlikely(c->data != (unsigned char *)fi_ringw_at(w, w->idx) + fi_payload_offset(c->flags))) {
        return false;
    }
    fi_sender_publish_quick(tx, fi_record_word((uint32_t)size, FI_REC_INLINE, c->flags, 1),
                            (uint32_t)fi_record_lines(size, c->flags), size);
    fi_sender_count_no_copy(tx, size);
    c->open = false;
    return true;
}

/*
 * Takes blocks back whose release is known, and looks for more when many are out.  Where the first is still held, as it
 * is for long by a reader that stands still until it is overtaken, nothing is looked at again before a part of the ring
 * has been written.
 */
static inline void fi_outlet_give_back(fi_outlet_t *o, fi_log_t *log) {
    uint64_t first = log->lent_head;
    bool many = log->lent_tail - first > log->w.lines / 4;

    if (fi_unlikely(log->w.pos < log->next_return)) {
        return;
    }
    if (fi_unlikely(many)) {
        fi_outlet_refresh(o);
    }
    bool some = first < log->lent_tail && log->lent[first & (log->lent_cap - 1)].pos < log->freed;
    if (some) {
        fi_outlet_reclaim(o, false);
    }
    if (fi_unlikely((many || some) && log->lent_head == first)) {
        log->next_return = log->w.pos + log->w.lines / 64;
    }
}

static inline bool fi_sender_send_block_quick(fi_sender_t *tx, fi_block_t *block, uint64_t size) {
    fi_outlet_t *o = tx->quick;
    fi_log_t *log = tx->quick_log;

    if (fi_unlikely(!o || !fi_sender_may_send(tx) || !fi_sender_size_fits(tx, size) || !fi_log_fits_quick(log, 1) ||
                    log->lent_tail - log->lent_head >= log->lent_cap || !fi_outlet_announced(o, block->segment->id))) {
        return false;
    }
    fi_ringw_t *w = &log->w;
    fi_pointer_store(fi_ringw_at(w, w->idx) + 1, (struct fi_pointer){block->offset, size, block->segment->id, 0});
    log->lent[log->lent_tail++ & (log->lent_cap - 1)] = (fi_lent_t){w->pos, block};
    block->refs++;
    fi_sender_publish_quick(tx, FI_QUICK_POINTER, 1, size);
    fi_sender_count_no_copy(tx, size);
    fi_outlet_give_back(o, log);
    return true;
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

/* May the quick link give another message? With nobody else to be served, its turn goes on. */
static inline bool fi_receiver_turn_goes_on(fi_receiver_t *rx) {
    if (fi_unlikely(rx->quantum_left <= 0) && rx->link_count == 1) {
        rx->quantum_left = rx->quantum;
    }
    return rx->quantum_left > 0;
}

/* The `size` bytes in the link's next `lines` lines are the program's from here on: `m` is their handle. */
static inline void fi_receiver_hand_over(fi_receiver_t *rx, fi_rxlink_t *l, ferry_msg_t *m, uint32_t lines,
                                         uint64_t size) {
    fi_rxlog_t *log = l->log;
    fi_ringr_t *r = &log->r;
    uint64_t pos = r->pos;
    uint32_t idx = r->idx;

    m->pos = pos;
    m->idx = idx;
    m->lap = r->lap;
    m->link = l;
    m->log = log;
    m->size = size;
    fi_list_add_tail(&log->held, &m->held);
    rx->quantum_left -= (int64_t)size + FI_MESSAGE_OVERHEAD;
    fi_count64(&rx->stats.messages, 1);
    fi_count64(&rx->stats.bytes, size);
    fi_ringr_advance(r, lines);
    fi_store_relaxed64(&log->ctl.head->taken, pos + lines);
}

/* Do messages come in a stream, without a dialogue or a long wait in between? */
static inline bool fi_receiver_streams(const fi_receiver_t *rx) {
    return rx->streak > FI_STREAM;
}

/* A small message that stands in the ring as the one before. False: there is none, or it is not to be taken in this
 * way. */
static inline __attribute__((always_inline)) bool fi_receiver_take_alike(fi_receiver_t *rx, ferry_msg_t **out) {
    fi_rxlink_t *l = rx->quick;

    if (fi_unlikely(!l)) {
        return false;
    }
    const fi_ringr_t *r = &l->log->r;
    const struct fi_record *rec = fi_ringr_at(r);
    if (fi_unlikely(fi_load_acquire64(&rec->word) != rx->form.word /* A1 */ || rx->form.lines > r->lines - r->idx ||
                    fi_load_relaxed32(&rx->returned_some) || !rx->free_handles || !fi_receiver_turn_goes_on(rx))) {
        return false;
    }
    if (++rx->streak > FI_STREAM) {
        /* The sender is ahead: what comes next is on its way while this message is worked on. */
        fi_prefetch((const unsigned char *)rec + (size_t)FI_AHEAD_LINES * FI_LINE);
        fi_prefetch((const unsigned char *)rec + (size_t)(FI_AHEAD_LINES + 1) * FI_LINE);
    }
    ferry_msg_t *m = rx->free_handles;
    rx->free_handles = m->next;
    m->magic = FI_MSG_TAKEN;
    m->data = (const unsigned char *)rec + rx->form.offset;
    fi_receiver_hand_over(rx, l, m, rx->form.lines, fi_word_len(rx->form.word));
    *out = m;
    return true;
}

static inline bool fi_receiver_take_quick(fi_receiver_t *rx, ferry_msg_t **out) {
    return fi_receiver_take_alike(rx, out) || fi_receiver_take_unlike(rx, out);
}

/* Does the sender sleep for room? After a release. */
static inline uint64_t fi_rxlog_wanted(const fi_rxlink_t *l, const fi_rxlog_t *log) {
    fi_rxlink_fence(l);
    return fi_load_relaxed64(&log->r.head->shared.want);
}

/* Are so many lines free that the sender should know? */
static inline bool fi_rxlog_is_due(const fi_rxlog_t *log) {
    return log->r.pos - log->published >= log->batch;
}

/* Takes a released message out of the books. */
static inline void fi_taken_unbook(fi_receiver_t *rx, ferry_msg_t *m) {
    fi_list_unlink(&m->held);
    fi_store_release64(&rx->settled, rx->settled + 1);
}

/* Releases a plain message of the ring that is being read; its handle goes back as it is. True: fi_rxlog_settle is to
 * be called. */
static inline bool fi_taken_release_quick(fi_receiver_t *rx, fi_rxlink_t *l, fi_rxlog_t *log, ferry_msg_t *m) {
    fi_ctl_release(&log->ctl, m->idx, m->lap);
    fi_taken_unbook(rx, m);
    m->magic = FI_MSG_FREE;
    m->next = rx->free_handles;
    rx->free_handles = m;
    return fi_unlikely(fi_rxlog_is_due(log) || fi_rxlog_wanted(l, log) != 0);
}

/* Releases a message of which there is no other handle. The end is held. */
static inline void fi_taken_release_inside(fi_receiver_t *rx, ferry_msg_t *m) {
    fi_rxlink_t *l = m->link;
    fi_rxlog_t *log = m->log;

    if (fi_unlikely(!m->plain || log->done || l->detached)) {
        fi_taken_release_held(m);
    } else if (fi_taken_release_quick(rx, l, log, m)) {
        fi_rxlog_settle(l, log, false);
    }
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * Taking the next message of one link.
 *
 * A reader that holds its sender back reads in place: nothing is overwritten before it was released.  A reader that may
 * be overtaken copies small messages out and looks again whether they were still whole; for a message in the pool it
 * first announces that it holds it (a hazard pointer) and then looks again.
 */
#include <errno.h>

#include "base/bits.h"
#include "base/checksum.h"
#include "base/error.h"
#include "channel/messages.h"
#include "channel/pick.h"
#include "channel/quick.h"
#include "channel/rendezvous.h"
#include "channel/tell.h"
#include "node/shown.h"
#include "ring/ring_copy.h"

#define FRUITLESS_TURNS 10000u
#define FETCH_AHEAD 1u      /* lines, which are messages where all are large */
#define OVERTAKEN_TRIES 16  /* a writer that overtakes us this often in a row is served again in the next turn */
#define MAX_SKIPPED 262144u /* more than all rings of a link hold */

bool fi_link_next_log(fi_rxlink_t *l, const fi_seen_t *s) {
    fi_rxlink_put_later(l);
    fi_rxlog_t *next = l->logs[(l->serial + 1) % FI_RX_LOGS];
    fi_rxlog_t *old = l->log;

    if (!next || next == old || next->done) {
        return false;
    }
    fi_ringr_advance(&old->r, s->lines);
    old->done = true;
    fi_rxlog_publish(l->rx, old);
    l->serial++;
    l->log = next;
    if (fi_list_empty(&old->held)) {
        fi_rxlog_free(l, old);
    } else if (l->lossy) { /* its sender does not wait for it to be released before it goes on */
        l->logs[old->place] = NULL;
        fi_rxlink_put_later(l);
    }
    return true;
}

static bool is_inside(const fi_rxsegment_t *seg, const struct fi_pointer *p) {
    return p->offset <= seg->memory->bytes && p->size <= seg->memory->bytes - p->offset;
}

/* 1: the bytes are found; 0: their memory is still on its way, or its sender died before it was; -EPROTO. */
static int resolve(const fi_rxlink_t *l, const fi_seen_t *s, ferry_msg_t *m) {
    if (!fi_pointer_fits(s->len)) {
        return -EPROTO;
    }
    struct fi_pointer p = fi_pointer_load(s->payload); /* read once */
    fi_rxsegment_t *seg = fi_rxlink_segment(l, p.segment);
    if (!seg) {
        return 0;
    }
    if (!is_inside(seg, &p)) {
        return -EPROTO;
    }
    m->segment = seg;
    m->annex = fi_pointer_annex(s->payload, s->len);
    m->data = (const unsigned char *)seg->memory->map + p.offset;
    m->size = p.size;
    return 1;
}

/* What can be overtaken is read now. */
static void describe_now(const fi_rxlog_t *log, const fi_seen_t *s, ferry_msg_t *m) {
    struct fi_record_ext ext = {0, 0};

    if (s->flags & FI_REC_EXT) {
        ext = fi_told_ext(&log->r, s->idx, s->flags);
    }
    m->record = NULL;
    m->seq = s->seq;
    m->attempt = s->attempt;
    m->tag = ext.tag;
    m->time_ns = ext.time_ns;
}

void fi_link_account(const fi_rxlink_t *l, ferry_msg_t *m) {
    fi_receiver_t *rx = l->rx;

    if (m->segment) {
        m->segment->held++;
    }
    if (fi_unlikely(rx->check)) {
        m->sum = fi_checksum(m->data, m->size);
    }
    if (fi_unlikely(m->data == m->copy)) {
        fi_add_relaxed64(&rx->stats.copies_made, 1);
        fi_add_relaxed64(&rx->stats.copied_bytes, m->size);
    }
}

static void hand_over(fi_rxlink_t *l, const fi_seen_t *s, ferry_msg_t *m) {
    fi_receiver_t *rx = l->rx;

    if (l->counts) {
        m->lost = s->seq > l->next_seq ? s->seq - l->next_seq : 0;
        fi_store_relaxed64(&rx->stats.lost, rx->stats.lost + m->lost);
        l->next_seq = s->seq + 1;
    }
    if (fi_unlikely(s->flags & FI_REC_EXT)) {
        fi_receiver_note(l, s);
    }
    fi_link_account(l, m);
    fi_receiver_hand_over(rx, l, m, s->lines, m->size);
}

static int copy_out(ferry_msg_t *m, const unsigned char *from, uint64_t size) {
    int r = fi_taken_reserve_copy(m, size);

    if (r == 0) {
        fi_copy_racing(m->copy, from, size);
        m->data = m->copy;
        m->size = size;
    }
    return r < 0 ? r : 1;
}

/* Of what it is shown by pointer, who only looks announces nothing: it copies, and looks whether it was overtaken. */
static int copy_from_pool(const fi_rxlink_t *l, const fi_seen_t *s, ferry_msg_t *m) {
    int r = resolve(l, s, m);

    m->segment = NULL;
    m->annex = NULL;
    return r == 1 ? copy_out(m, m->data, m->size) : r;
}

/* Until its sender can see what this reader holds in the ring, it would write over that. One that has gone writes no
 * more. */
static bool may_hold(const fi_rxlink_t *l, const fi_rxlog_t *log) {
    return log->seen || l->still || !l->lossy || l->rx->tap;
}

int fi_link_take_whole(fi_rxlink_t *l, fi_rxlog_t *log, const fi_seen_t *s, ferry_msg_t *m) {
    int r = 1;

    if (s->kind == FI_REC_POINTER && l->rx->tap) {
        r = copy_from_pool(l, s, m);
    } else if (s->kind == FI_REC_POINTER && !may_hold(l, log)) {
        r = 0;
    } else if (s->kind == FI_REC_POINTER) {
        int slot = fi_rxlog_hold(log, s->pos);
        if (slot < 0) {
            return fi_fail(slot,
                           "this receiver of '%s' holds %u messages by pointer, as many as one that may lose "
                           "messages can: release some",
                           fi_channel_shown(l->rx->end.channel), FI_HELD_SLOTS);
        }
        m->slot = (int16_t)slot;
        m->link = l;
        m->log = log;
        r = resolve(l, s, m);
    } else {
        r = copy_out(m, s->payload, s->len);
        if (r < 0) {
            return r;
        }
    }
    describe_now(log, s, m);
    bool overtaken = fi_ringr_overtaken(&log->r, s->pos);
    if ((overtaken || r < 1) && m->slot >= 0) {
        fi_taken_rest(m);
        m->segment = NULL;
    }
    return overtaken ? FI_OVERTAKEN : r;
}

int fi_ringr_peek_whole(fi_ringr_t *r, fi_seen_t *s) {
    for (int i = 0; i < OVERTAKEN_TRIES; i++) {
        fi_ringr_t before = *r;
        int got = fi_ringr_peek(r, s);
        if (!fi_ringr_overtaken(r, before.pos)) {
            return got;
        }
        *r = before;
        if (fi_ringr_catch_up(r) < 0) {
            return -EPROTO;
        }
    }
    return 0;
}

/* A message that was sent before this link was? */
static bool is_older(const fi_rxlink_t *l, const fi_seen_t *s) {
    return s->kind < FI_REC_SWITCH && s->seq < l->first_seq;
}

/* Releases such messages, which their sender had for others, where they are to be released. */
static void pass_older(fi_rxlink_t *l) {
    fi_seen_t s = {0};

    if (fi_likely(l->first_seq == 0) || l->lossy) {
        return;
    }
    (void)fi_link_skip(l, l->first_seq - 1, UINT64_MAX, 0);
    if (fi_ringr_peek(&l->log->r, &s) == 1 && s.kind < FI_REC_SWITCH && !is_older(l, &s)) {
        l->first_seq = 0;
    }
}

/* The next record of a link that may be overtaken, of those that its receiver wants. */
static int peek_lossy(fi_rxlink_t *l, fi_seen_t *s) {
    fi_ringr_t *r = &l->log->r;
    int found = l->pick ? fi_pick_seek(l) : 0;

    if (found != 0) {
        return found < 0 ? found : 0;
    }
    found = fi_ringr_peek_whole(r, s);
    for (uint32_t steps = r->lines; fi_unlikely(found == 1 && is_older(l, s)); steps--) {
        if (steps == 0) {
            return 0;
        }
        fi_ringr_advance(r, s->lines);
        found = fi_ringr_peek_whole(r, s);
    }
    return found;
}

/* The end of a dead letter says where it comes from. */
static int split_origin(ferry_msg_t *m) {
    if (m->size < sizeof(struct fi_origin)) {
        return -EPROTO;
    }
    m->size -= sizeof(struct fi_origin);
    m->origin = m->data + m->size;
    m->plain = false;
    return 1;
}

static int take(fi_rxlink_t *l, const fi_seen_t *s, ferry_msg_t *m) {
    int r = 1;

    m->plain = false;
    m->record = fi_ringr_at(&l->log->r);
    if (fi_unlikely(l->lossy)) {
        r = fi_link_take_whole(l, l->log, s, m);
    } else if (s->kind == FI_REC_POINTER) {
        r = resolve(l, s, m);
    } else {
        m->data = s->payload;
        m->size = s->len;
        m->plain = !l->rx->check && !l->rx->max_held;
    }
    return fi_unlikely(s->flags & FI_REC_ORIGIN) && r == 1 ? split_origin(m) : r;
}

/* Asks for the first lines of the next two large messages, as far as they are there: between cores each takes as long
 * as taking two messages. */
static void fetch_ahead(const fi_rxlink_t *l, const fi_ringr_t *r) {
    for (uint32_t idx = r->idx; idx < r->lines && idx < r->idx + 2; idx++) {
        const struct fi_record *rec = fi_ringr_line(r, idx);
        if (fi_load_acquire64(&rec->word) != FI_QUICK_POINTER) { /* A1; these have one line each */
            return;
        }
        struct fi_pointer p = fi_pointer_load(rec + 1);
        const fi_rxsegment_t *seg = fi_rxlink_segment(l, p.segment);
        if (seg && is_inside(seg, &p)) {
            fi_prefetch((const unsigned char *)seg->memory->map + p.offset);
        }
    }
}

/* The next message of the quick link, which is one by pointer. */
static bool take_pointer(fi_receiver_t *rx, ferry_msg_t **out) {
    fi_rxlink_t *l = rx->quick;
    ferry_msg_t *m = rx->free_handles;
    const struct fi_record *rec = fi_ringr_at(&l->log->r);

    if (!m || fi_load_relaxed32(&rx->returned_some) || !fi_receiver_turn_goes_on(rx)) {
        return false;
    }
    struct fi_pointer p = fi_pointer_load(rec + 1); /* read once */
    fi_rxsegment_t *seg = fi_rxlink_segment(l, p.segment);
    if (fi_unlikely(!seg || !is_inside(seg, &p))) {
        return false;
    }
    rx->free_handles = m->next;
    m->magic = FI_MSG_TAKEN;
    m->plain = false;
    m->segment = seg;
    m->annex = NULL;
    m->record = rec;
    m->data = (const unsigned char *)seg->memory->map + p.offset;
    seg->held++;
    fi_receiver_hand_over(rx, l, m, 1, p.size);
    fetch_ahead(l, &l->log->r);
    *out = m;
    return true;
}

/* How a small message stands behind this header. False: it is none. */
static bool find_form(fi_seen_form_t *form, uint64_t word) {
    unsigned what = (uint16_t)(word >> 32);
    unsigned flags = fi_word_flags(word);

    if (what != FI_QUICK_NEXT_LINE && what != FI_QUICK_SAME_LINE) {
        return false;
    }
    *form = (fi_seen_form_t){word, fi_payload_offset(flags), (uint32_t)fi_record_lines(fi_word_len(word), flags)};
    return true;
}

void fi_receiver_form_nothing(fi_receiver_t *rx) {
    (void)find_form(&rx->form, fi_record_word(0, FI_REC_INLINE, 0, 1));
}

bool fi_receiver_take_unlike(fi_receiver_t *rx, ferry_msg_t **out) {
    if (fi_unlikely(!rx->quick)) {
        return false;
    }
    const struct fi_record *rec = fi_ringr_at(&rx->quick->log->r);
    uint64_t word = fi_load_acquire64(&rec->word); /* A1 */

    if (find_form(&rx->form, word)) {
        return fi_receiver_take_alike(rx, out);
    }
    if (word != FI_QUICK_POINTER) {
        fi_prefetch((const unsigned char *)rec + FI_LINE);
        return false;
    }
    return take_pointer(rx, out);
}

/* Messages that their sender has taken back. 1; 0: it is about to decide about one; -EPROTO: a ring full of them. */
static int pass_voids(fi_ringr_t *r, fi_seen_t *s) {
    int found = 1;

    for (uint32_t steps = r->lines; found == 1 && s->kind == FI_REC_VOID; steps--) {
        if (steps == 0) {
            return -EPROTO;
        }
        fi_ringr_advance(r, s->lines);
        found = fi_ringr_peek(r, s);
    }
    return found;
}

/* What is no message. 1: look on; 0: nothing is there now; -EPROTO. */
static int pass(fi_rxlink_t *l, fi_seen_t *s) {
    if (s->kind == FI_REC_VOID) {
        return pass_voids(&l->log->r, s);
    }
    if (s->kind == FI_REC_SWITCH && fi_link_next_log(l, s)) {
        return 1;
    }
    return 0; /* of an ended link, all was taken: what its sender goes on in was never ours */
}

static bool wants_by_tag(const fi_rxlink_t *l) {
    return l->pick && l->pick->tags;
}

/* Releases the next record, which nobody here has had: it counts as nothing. */
static void release_unread(fi_rxlog_t *log, const fi_seen_t *s) {
    fi_ctl_release(&log->ctl, s->idx, s->lap);
    fi_ringr_advance(&log->r, s->lines);
    fi_store_relaxed64(&log->ctl.head->taken, log->r.pos);
}

/* The message that is about to be handed over has a deadline from here on. False: it was the sender's again. */
static bool hold(fi_rxlink_t *l, const fi_seen_t *s, ferry_msg_t *m) {
    m->plain = false;
    m->link = l;
    m->log = l->log;
    m->idx = s->idx;
    m->lap = s->lap;
    /* R9: before `taken` passes it. Whose sender does not decide: it may be ours, and its release will tell. */
    if (fi_held_settle(m, fi_held_until(l->rx)) != -ESTALE) {
        return true;
    }
    fi_store_release64(&l->log->ctl.due[s->idx], 0); /* for the next lap */
    release_unread(l->log, s);
    fi_rxlog_settle(l, l->log, s->kind == FI_REC_POINTER);
    fi_taken_recycle(l->rx, m);
    return false;
}

/* What was overtaken points anywhere, and its memory will not come: taking it will tell. */
static bool memory_is_here(const fi_rxlink_t *l, const fi_seen_t *s) {
    struct fi_pointer p = fi_pointer_load(s->payload);

    return (fi_rxlink_segment(l, p.segment) != NULL && may_hold(l, l->log)) ||
           (l->lossy && fi_ringr_overtaken(&l->log->r, s->pos));
}

static bool is_pointer(const fi_seen_t *s) {
    return s->kind == FI_REC_POINTER && fi_pointer_fits(s->len);
}

/* What its sender was told to lose for this reader it did not wait for: so it may have gone before it could say where
 * a message's memory is.  Others, in memory that is known, may stand behind. */
static void pass_forsaken(fi_rxlink_t *l) {
    fi_ringr_t r = l->log->r; /* who releases a message reads what never changes in it, and does not hold the end */
    fi_seen_t s = {0};

    if (fi_likely(!l->ended || !l->lossy)) {
        return;
    }
    for (uint32_t steps = r.lines; steps > 0; steps--) {
        if (fi_ringr_peek_whole(&r, &s) != 1 || !is_pointer(&s) || memory_is_here(l, &s)) {
            return;
        }
        l->forsaken = is_older(l, &s) ? l->forsaken : s.seq;
        fi_ringr_advance(&r, s.lines);
        fi_ringr_go_to(&l->log->r, &r);
    }
}

uint64_t fi_link_lost_at_end(const fi_rxlink_t *l) {
    if (wants_by_tag(l)) {
        return fi_tags_lost_at_end(l);
    }
    uint64_t last = fi_max(l->forsaken, l->last_seq);
    return l->counts && last >= l->next_seq ? last + 1 - l->next_seq : 0;
}

int fi_link_take(fi_rxlink_t *l, ferry_msg_t **out) {
    fi_receiver_t *rx = l->rx;
    fi_seen_t s = {0};

    if (fi_unlikely(wants_by_tag(l))) {
        return fi_tags_take(l, out); /* which goes by numbers anyway */
    }
    for (int i = 0; i < OVERTAKEN_TRIES; i++) {
        pass_older(l);
        pass_forsaken(l);
        if (fi_unlikely(l->ended) && l->log->r.pos >= l->log->end) {
            /* A ring that leads in a circle: an honest one keeps a line free. Or it is written on, for others. */
            return l->still ? -EPROTO : 0;
        }
        int r = fi_unlikely(l->lossy) ? peek_lossy(l, &s) : fi_ringr_peek(&l->log->r, &s);
        if (r <= 0) {
            return r;
        }
        if (fi_unlikely(s.kind >= FI_REC_SWITCH)) {
            r = pass(l, &s);
            if (r <= 0) {
                return r;
            }
            continue;
        }
        if (fi_unlikely(is_older(l, &s))) {
            return 0; /* it has just come: nothing is there */
        }
        ferry_msg_t *m = fi_taken_new(rx);
        if (!m) {
            return fi_fail(-ENOMEM, "no memory for a message handle");
        }
        r = take(l, &s, m);
        if (fi_unlikely(s.flags & FI_REC_MEET) && r == 1) {
            r = fi_rendezvous_is_mine(l, &s) ? 1 : FI_OVERTAKEN;
        }
        if (fi_likely(r == 1)) {
            l->fruitless = 0;
            if (fi_unlikely(l->log->ctl.due != NULL) && !hold(l, &s, m)) {
                continue; /* it has just been given to somebody else */
            }
            hand_over(l, &s, m);
            if (fi_unlikely(s.flags & FI_REC_MEET)) {
                fi_rxlog_settle(l, l->log, false); /* its sender sleeps until it is taken */
            }
            *out = m;
            return 1;
        }
        fi_taken_recycle(rx, m);
        if (r != FI_OVERTAKEN) {
            return r;
        }
    }
    /* Overtaken again and again without one message in between: no honest writer is that quick for that long. */
    return ++l->fruitless > FRUITLESS_TURNS ? -EPROTO : 0;
}

bool fi_link_awaits_memory(const fi_rxlink_t *l) {
    fi_ringr_t r = l->log->r;
    fi_seen_t s = {0};

    return !l->ended && fi_ringr_peek(&r, &s) == 1 && is_pointer(&s) && !memory_is_here(l, &s);
}

bool fi_link_ready(fi_rxlink_t *l) {
    fi_seen_t s = {0};

    if (wants_by_tag(l)) {
        return fi_tags_ready(l);
    }
    if (l->pick && l->pick->awaits && !l->ended) {
        return false;
    }
    pass_older(l);
    pass_forsaken(l);
    fi_ringr_t r = l->log->r; /* looking must not move the reader */
    if (fi_unlikely(l->ended && !l->still) && r.pos >= l->log->end) {
        return false;
    }
    if (!fi_ringr_ready(&r)) {
        return l->lossy && fi_ringr_overtaken(&r, r.pos);
    }
    int found = fi_ringr_peek(&r, &s);
    if (found == 1) {
        found = pass_voids(&r, &s);
    }
    if (found <= 0 || s.kind == FI_REC_ASKED) {
        return found < 0 || (found == 0 && fi_ringr_ready(&r)); /* a liar: taking it will tell */
    }
    if (s.kind == FI_REC_SWITCH) {
        fi_rxlog_t *next = l->logs[(l->serial + 1) % FI_RX_LOGS];
        return next && fi_ringr_ready(&next->r);
    }
    return is_pointer(&s) ? memory_is_here(l, &s) : true;
}

uint64_t fi_link_skip(fi_rxlink_t *l, uint64_t seq, uint64_t serial, uint64_t end) {
    uint64_t count = 0;
    uint32_t steps = 0;
    fi_seen_t s = {0};

    for (; steps < MAX_SKIPPED && l->serial <= serial && fi_ringr_peek(&l->log->r, &s) == 1; steps++) {
        fi_rxlog_t *log = l->log;
        if (l->serial == serial && s.pos >= end) {
            break;
        }
        if (s.kind == FI_REC_SWITCH) {
            if (!fi_link_next_log(l, &s)) {
                break;
            }
            continue;
        }
        if (s.kind == FI_REC_ASKED || s.seq > seq) {
            break; /* what its sender has in its hand, and is perhaps about to take back, is not ours to drop */
        }
        release_unread(log, &s);
        count += s.kind != FI_REC_VOID && !(s.flags & FI_REC_RETURNED);
    }
    if (steps > 0) {
        fi_rxlog_settle(l, l->log, true);
    }
    return count;
}

/* SPDX-License-Identifier: MIT
 *
 * Messages that were taken: released in any order, by any thread.
 *
 * The receiver's own thread releases without a lock.  Another thread publishes the release to the sender by itself (one
 * store into the release map) and leaves the handle for the owner to collect.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checksum.h"
#include "base/error.h"
#include "channel/messages.h"
#include "channel/quick.h"
#include "node/shown.h"
#include "platform/bell.h"
#include "platform/cancel.h"

ferry_msg_t *fi_taken_new(fi_receiver_t *rx) {
    ferry_msg_t *m = rx->free_handles;

    if (fi_likely(m != NULL)) {
        rx->free_handles = m->next;
    } else {
        m = calloc(1, sizeof *m);
        if (!m) {
            return NULL;
        }
        m->refs = 1;
        m->slot = -1;
    }
    m->magic = FI_MSG_TAKEN;
    m->generation = fi_process_generation;
    return m;
}

/* A free handle is ready to be taken the quick way: one reference, no segment, no slot, nothing lost. */
void fi_taken_recycle(fi_receiver_t *rx, ferry_msg_t *m) {
    if (!m->plain) {
        m->plain = true;
        m->segment = NULL;
        m->origin = NULL;
        m->slot = -1;
        m->lost = 0;
    }
    m->magic = FI_MSG_FREE;
    m->next = rx->free_handles;
    rx->free_handles = m;
}

int fi_taken_reserve_copy(ferry_msg_t *m, uint64_t size) {
    if (size <= m->copy_cap && m->copy) {
        return 0;
    }
    unsigned char *more = malloc(size ? size : 1);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory for a private copy of %llu bytes", (unsigned long long)size);
    }
    free(m->copy);
    m->copy = more;
    m->copy_cap = size;
    return 0;
}

/* With the lock under which a receiver's messages change hands. */
static int copy(ferry_msg_t *m) {
    if (m->copy && m->data == m->copy) {
        return 0;
    }
    fi_receiver_t *rx = m->link->rx;
    uint64_t whole = m->size + (m->origin ? sizeof(struct fi_origin) : 0);
    int r = fi_taken_reserve_copy(m, whole);
    if (r < 0) {
        return r;
    }
    memcpy(m->copy, m->data, whole);
    m->data = m->copy;
    m->origin = m->origin ? m->copy + m->size : NULL;
    fi_add_relaxed64(&rx->stats.copies_made, 1);
    fi_add_relaxed64(&rx->stats.copied_bytes, m->size);
    return 1;
}

int fi_taken_copy(ferry_msg_t *m, unsigned char **data) {
    int r = 0;

    if (m->link) {
        fi_receiver_t *rx = m->link->rx;
        pthread_mutex_lock(&rx->returned_lock); /* the steward may be copying it, too, for a thread that has ended */
        r = copy(m);
        pthread_mutex_unlock(&rx->returned_lock);
    }
    if (r >= 0) {
        *data = m->copy;
    }
    return r;
}

/* Lines that the cursor is about to pass. */
static void give_up(const fi_receiver_t *rx, fi_rxlog_t *log, uint64_t cursor) {
    if (!fi_receiver_streams(rx)) {
        fi_give_up_pause(&log->give_up);
    } else if (fi_cpu_flushes && fi_give_up_pays(&log->give_up, cursor, log->r.lines, fi_ticks())) {
        fi_ringr_flush(&log->r, log->published, cursor);
    }
}

void fi_rxlog_publish(const fi_receiver_t *rx, fi_rxlog_t *log) {
    uint64_t cursor = log->r.pos;

    if (!fi_list_empty(&log->held)) {
        cursor = fi_min(cursor, fi_container(log->held.next, ferry_msg_t, held)->pos);
    }
    if (cursor > log->published) {
        give_up(rx, log, cursor);
        log->published = cursor;
        fi_store_release64(&log->ctl.head->cursor, cursor); /* R2 */
    }
}

/* Ends the sender's sleep for room, if it sleeps. */
static void ring_now(fi_rxlink_t *l, const fi_rxlog_t *log) {
    uint64_t want = fi_rxlog_wanted(l, log);

    if (want != 0 && fi_load_relaxed64(&l->rung) != want) {
        fi_store_relaxed64(&l->rung, want);
        fi_bell_ring(l->peer->bell);
    }
}

static void ring_sender(fi_rxlink_t *l, const fi_rxlog_t *log) {
    if (fi_likely(!l->rx->part.rings_late)) {
        ring_now(l, log);
    }
}

void fi_receiver_ring_senders(fi_receiver_t *rx) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        ring_now(rx->links[i], rx->links[i]->log);
    }
}

void fi_rxlog_settle(fi_rxlink_t *l, fi_rxlog_t *log, bool at_once) {
    if (at_once || fi_rxlog_is_due(log)) {
        fi_rxlog_publish(l->rx, log);
    }
    ring_sender(l, log);
}

void fi_receiver_publish(fi_receiver_t *rx) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        fi_rxlink_t *l = rx->links[i];
        if (l->log->published != l->log->r.pos) {
            fi_rxlog_publish(rx, l->log);
            ring_sender(l, l->log);
        }
    }
}

static void tell_released(ferry_msg_t *m) {
    if (fi_unlikely(m->slot >= 0)) {
        fi_store_release64(&m->log->ctl.head->held[m->slot], 0);
    }
    if (fi_unlikely(m->log->ctl.due != NULL)) {
        fi_store_release64(&m->log->ctl.due[m->idx], 0); /* for the next lap, before the line is free for it */
    }
    fi_ctl_release(&m->log->ctl, m->idx, m->lap);
}

int fi_rxlog_hold(const fi_rxlog_t *log, uint64_t pos) {
    struct fi_ctl_head *head = log->ctl.head;

    for (unsigned k = 0; k < FI_HELD_SLOTS; k++) {
        if (fi_load_acquire64(&head->held[k]) == 0) { /* who has emptied it has looked at his message before */
            fi_store_release64(&head->held[k], pos);
            fi_fence_seq_cst(); /* R5: before we look whether we were overtaken */
            return (int)k;
        }
    }
    return -EDQUOT;
}

void fi_taken_rest(ferry_msg_t *m) {
    if (m->slot >= 0) {
        fi_store_release64(&m->log->ctl.head->held[m->slot], 0);
        m->slot = -1;
        ring_sender(m->link, m->log); /* it may have looked while we held it, and sleep since */
    }
}

int fi_taken_rouse(ferry_msg_t *m) {
    if (m->slot >= 0 || !m->link->lossy || m->data == m->copy) {
        return 1;
    }
    int slot = fi_rxlog_hold(m->log, m->pos);
    if (slot < 0) {
        return slot;
    }
    m->slot = (int16_t)slot;
    if (fi_ringr_overtaken(&m->log->r, m->pos)) {
        fi_taken_rest(m);
        return 0;
    }
    return 1;
}

static void drop_segment(ferry_msg_t *m) {
    if (--m->segment->held == 0 && m->segment->gone) {
        fi_rxlink_drop_segment(m->link, m->segment);
    }
}

void fi_taken_give_back(ferry_msg_t *m) {
    fi_rxlink_t *l = m->link;
    fi_receiver_t *rx = l->rx;

    fi_list_remove(&m->held);
    if (m->segment) {
        drop_segment(m);
    }
    fi_store_release64(&rx->settled, rx->settled + 1);
    if (!fi_rxlink_first_held(l)) {
        fi_rxlink_free(l);
    }
    fi_taken_recycle(rx, m);
}

/* Takes a released message out of the books. The end is held, or closed. */
static void settle(fi_receiver_t *rx, ferry_msg_t *m) {
    fi_rxlink_t *l = m->link;
    fi_rxlog_t *log = m->log;

    fi_taken_unbook(rx, m);
    /* A large message's memory is wanted back at once; small ones come back in batches. */
    fi_rxlog_settle(l, log, m->segment || log->done);
    if (m->segment) {
        drop_segment(m);
    }
    if (fi_unlikely(log->done) && fi_list_empty(&log->held)) {
        fi_rxlog_free(l, log); /* a ring that the sender has left is given up with its last message */
    }
    if (fi_unlikely(l->detached) && !fi_rxlink_first_held(l)) {
        fi_rxlink_free(l);
    }
    fi_taken_recycle(rx, m);
}

void fi_receiver_collect(fi_receiver_t *rx) {
    pthread_mutex_lock(&rx->returned_lock);
    ferry_msg_t *m = rx->returned;
    rx->returned = NULL;
    fi_store_relaxed32(&rx->returned_some, 0);
    pthread_mutex_unlock(&rx->returned_lock);
    while (m) {
        ferry_msg_t *next = m->next;
        settle(rx, m);
        m = next;
    }
}

void fi_taken_settle_closed(fi_receiver_t *rx, ferry_msg_t *m) {
    fi_taken_give_back(m);
    bool last = fi_receiver_held(rx) == 0;
    pthread_mutex_unlock(&rx->returned_lock);
    if (last) {
        fi_node_forget_held(rx->end.node, &rx->end);
        fi_receiver_bury(rx);
    }
}

static void release_from_afar(fi_receiver_t *rx, ferry_msg_t *m) {
    int cancel = fi_cancel_off();

    pthread_mutex_lock(&rx->returned_lock);
    m->magic = FI_MSG_FREE;
    if (rx->closed) {
        fi_taken_settle_closed(rx,
                               m); /* not a release: the message went back to its sender when the receiver was closed */
        fi_cancel_restore(cancel);
        return;
    }
    tell_released(m);
    ring_sender(m->link, m->log);
    m->next = rx->returned;
    rx->returned = m;
    fi_store_relaxed32(&rx->returned_some, 1);
    fi_receiver_holds_less(rx);
    pthread_mutex_unlock(&rx->returned_lock);
    fi_cancel_restore(cancel);
}

void fi_taken_release_held(ferry_msg_t *m) {
    tell_released(m);
    settle(m->link->rx, m);
}

static int changed(const ferry_msg_t *m) {
    return fi_fail(-EBADMSG, "a message of %llu bytes on '%s' was changed by its sender while it was held here",
                   (unsigned long long)m->size, fi_channel_shown(m->link->rx->end.channel));
}

int fi_taken_is_others(const ferry_msg_t *m) {
    const fi_receiver_t *rx = m->link->rx;

    if (!fi_node_is_expelled(rx->end.node) || rx->end.kind != FERRY_QUEUE || rx->tap) {
        return 0;
    }
    return fi_fail(-ESHUTDOWN,
                   "the node %s while this message of '%s' was held: another receiver has it, or will get it",
                   fi_node_end_word(rx->end.node), fi_channel_shown(rx->end.channel));
}

int fi_taken_release(ferry_msg_t *m) {
    if (fi_unlikely(m->generation != fi_process_generation)) {
        return fi_fail(-ECHILD, "this message belongs to the parent process: after fork(), open your own node");
    }
    if (fi_unlikely(!m->link)) {
        return fi_alone_release(m);
    }
    fi_receiver_t *rx = m->link->rx;
    fi_end_t *e = &rx->end;

    if (fi_unlikely(fi_load_acquire32(&m->refs) > 1)) {
        if (fi_sub32(&m->refs, 1) > 1) {
            return 0;
        }
        fi_store_relaxed32(&m->refs, 1);
    }
    int r = fi_unlikely(rx->check) && m->data != m->copy && m->sum != fi_checksum(m->data, m->size) ? changed(m) : 0;
    if (fi_unlikely(fi_taken_is_others(m) < 0)) {
        r = -ESHUTDOWN;
    }
    if (fi_unlikely(m->log->ctl.due != NULL)) {
        int late = fi_held_end(m);
        r = late < 0 ? -ESTALE : r;
        if (late == -EAGAIN && fi_taken_reject(m, 0, FI_REJECT_UNCOUNTED) == 0) {
            return r;
        }
    }
    if (fi_unlikely(!fi_is_own(&e->own) || e->magic != FI_END_RECEIVER || fi_end_enter(e, FI_END_RECEIVER) < 0)) {
        release_from_afar(rx, m);
        return r;
    }
    fi_taken_release_inside(rx, m);
    fi_receiver_holds_less(rx);
    fi_end_leave(e);
    return r;
}

void fi_taken_describe(const ferry_msg_t *m, ferry_msg_info_t *info) {
    info->sequence = m->seq;
    info->attempt = m->attempt;
    info->tag = m->tag;
    info->time_ns = m->time_ns;
    const struct fi_record *record = fi_taken_record(m);
    if (record) {
        uint64_t word = fi_load_relaxed64(&record->word);
        info->sequence = fi_load_relaxed64(&record->seq);
        info->attempt = fi_word_attempt(word);
        info->tag = info->time_ns = 0;
        if (fi_word_flags(word) & FI_REC_EXT) {
            struct fi_record_ext ext = fi_told_ext(&m->log->r, m->idx, fi_word_flags(word));
            info->tag = ext.tag;
            info->time_ns = ext.time_ns;
        }
    }
}

void fi_taken_keep(ferry_msg_t *m) {
    ferry_msg_info_t info;
    unsigned char *copy;

    fi_taken_describe(m, &info);
    m->seq = info.sequence;
    m->attempt = (uint16_t)info.attempt;
    m->tag = info.tag;
    m->time_ns = info.time_ns;
    m->record = NULL;
    m->plain = false;
    (void)fi_taken_copy(m, &copy);
}

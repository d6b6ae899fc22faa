/* SPDX-License-Identifier: MIT
 *
 * The usual case, in one piece: the next message of the link whose turn it is, small, read in place, held back by us.
 *
 * It does what fi_link_take does, with the same checks of what the peer wrote, and leaves everything else to it: padding,
 * pointers, tags, the end of the quantum, errors.
 */
#include "channel/receiver.h"

#define STREAK 16u                        /* messages in a row without a look in vain */
#define AHEAD_LINES 24                    /* a transfer between distant cores takes as long as a dozen small messages */
#define QUICK_WORD_MASK (0xffffull << 32) /* kind and flags */
#define QUICK_NEXT_LINE ((uint64_t)FI_REC_INLINE << 32 | (uint64_t)FI_REC_NEXT_LINE << 40)
#define QUICK_SAME_LINE ((uint64_t)FI_REC_INLINE << 32)

void fi_receiver_find_quick(fi_receiver_t *rx) {
    fi_rxlink_t *l = rx->links[rx->turn];
    bool usual = !l->lossy && !l->ended && !rx->check && !rx->fd_mode && rx->max_held == 0 && !rx->too_large;

    rx->quick = usual ? l : NULL;
}

bool fi_receiver_take_quick(fi_receiver_t *rx, ferry_msg_t **out) {
    fi_rxlink_t *l = rx->quick;
    fi_rxlog_t *log = l->log;
    fi_ringr_t *r = &log->r;
    const struct fi_record *rec = fi_ringr_at(r);
    uint64_t word = fi_load_acquire64(&rec->word); /* A1 */
    uint64_t what = word & QUICK_WORD_MASK;
    ferry_msg_t *m = rx->free_handles;

    if (fi_unlikely(what != QUICK_NEXT_LINE && what != QUICK_SAME_LINE)) {
        fi_prefetch((const unsigned char *)rec + FI_LINE);
        rx->streak = 0;
        return false;
    }
    uint32_t len = fi_word_len(word);
    uint32_t offset = what == QUICK_NEXT_LINE ? FI_LINE : (uint32_t)sizeof *rec;
    uint64_t lines = ((uint64_t)offset + len + FI_LINE - 1) / FI_LINE;
    if (fi_unlikely(lines > r->lines - r->idx || !m || rx->quantum_left <= 0 || rx->returned_some)) {
        return false;
    }
    if (++rx->streak > STREAK) {
        /* The sender is ahead: what comes next is on its way while this message is worked on. */
        fi_prefetch((const unsigned char *)rec + AHEAD_LINES * FI_LINE);
        fi_prefetch((const unsigned char *)rec + (AHEAD_LINES + 1) * FI_LINE);
    }
    rx->free_handles = m->next;
    m->magic = FI_MSG_TAKEN;
    m->refs = 1;
    m->plain = true;
    m->data = (const unsigned char *)rec + offset;
    m->size = len;
    m->link = l;
    m->log = log;
    m->segment = NULL;
    m->record = rec;
    m->pos = r->pos;
    m->idx = r->idx;
    m->lap = r->lap;
    m->slot = -1;
    m->lost = 0;
    fi_list_add_tail(&log->held, &m->held);
    fi_store_relaxed64(&rx->held, rx->held + 1);
    rx->quantum_left -= (int64_t)len + FI_MESSAGE_OVERHEAD;
    fi_store_relaxed64(&rx->stats.messages, rx->stats.messages + 1);
    fi_store_relaxed64(&rx->stats.bytes, rx->stats.bytes + len);
    r->pos += lines;
    r->idx += (uint32_t)lines;
    if (fi_unlikely(r->idx == r->lines)) {
        r->idx = 0;
        r->lap++;
    }
    fi_store_relaxed64(&log->ctl.head->taken, r->pos);
    *out = m;
    return true;
}

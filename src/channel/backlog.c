/* SPDX-License-Identifier: MIT
 *
 * Messages that have no ring: sent before any receiver existed, or come back from one that did not release them.  They
 * wait in the sender's pool, under its quota, and go out by pointer, in order, before anything newer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/rendezvous.h"
#include "channel/sender.h"
#include "node/shown.h"

static fi_waiting_t *waiting_new(const fi_item_t *item, fi_block_t *block) {
    fi_waiting_t *w = malloc(sizeof *w);
    if (w) {
        *w = (fi_waiting_t){.block = block,
                            .size = item->size,
                            .seq = item->seq,
                            .tag = item->tag,
                            .time_ns = item->probe ? 0 : item->time_ns,
                            .attempt = item->attempt,
                            .annexed = item->annex != NULL,
                            .origin = item->origin};
        if (item->annex) {
            memcpy(w->annex, item->annex, sizeof w->annex);
        }
    }
    return w;
}

int fi_backlog_add(fi_sender_t *tx, const fi_item_t *item) {
    fi_block_t *block = item->block;
    int r = 0;

    fi_sender_forget_quick(tx);
    if (block) {
        block->refs++;
    } else {
        r = fi_pool_alloc(&tx->pool, item->size, &block);
        if (r == 0) {
            memcpy(fi_block_data(block), item->data, item->size);
        }
    }
    fi_waiting_t *w = r == 0 ? waiting_new(item, block) : NULL;
    if (r == 0 && !w) {
        fi_pool_unref(&tx->pool, block);
        r = fi_fail(-ENOMEM, "no memory to keep a message for '%s'", fi_channel_shown(tx->end.channel));
    }
    if (r == 0) {
        fi_list_add_tail(&tx->backlog, &w->link);
        tx->backlog_count++;
    }
    return r;
}

static uint64_t seq_at(const struct fi_list *at) {
    return fi_container(at, fi_waiting_t, link)->seq;
}

/* The first that waits and was sent after `seq`; the list's head: none was. Who asks mostly asks for the next one
 * soon. */
static struct fi_list *find_after(fi_sender_t *tx, uint64_t seq) {
    struct fi_list *head = &tx->backlog;
    struct fi_list *at = tx->backlog_place;

    while (at->prev != head && seq_at(at->prev) >= seq) {
        at = at->prev;
    }
    while (at != head && seq_at(at) < seq) {
        at = at->next;
    }
    tx->backlog_place = at;
    return at;
}

static void put_in_order(fi_sender_t *tx, fi_waiting_t *w) {
    struct fi_list *after = find_after(tx, w->seq);

    fi_list_add_between(after->prev, &w->link, after);
}

static void take_out(fi_sender_t *tx, fi_waiting_t *w) {
    if (tx->backlog_place == &w->link) {
        tx->backlog_place = w->link.next;
    }
    fi_list_remove(&w->link);
}

static void waiting_free(fi_sender_t *tx, fi_waiting_t *w) {
    take_out(tx, w);
    tx->backlog_count--;
    fi_pool_unref(&tx->pool, w->block);
    free(w);
}

int fi_backlog_pump(fi_sender_t *tx) {
    bool drains = tx->backlog_count > 0 && tx->part.drained;

    while (!fi_list_empty(&tx->backlog)) {
        fi_waiting_t *w = fi_container(tx->backlog.next, fi_waiting_t, link);
        fi_item_t item = {.block = w->block,
                          .annex = w->annexed ? w->annex : NULL,
                          .size = w->size,
                          .seq = w->seq,
                          .tag = w->tag,
                          .time_ns = w->time_ns,
                          .attempt = w->attempt,
                          .origin = w->origin};
        if (!w->annexed && w->size <= FI_BACKLOG_INLINE_MAX && w->size <= tx->inline_max) {
            item.data = fi_block_data(w->block); /* costs the receiver less than a pointer, and the pool a block less */
            item.block = NULL;
        }
        int r = fi_sender_put(tx, &item);
        if (r < 0) {
            return r;
        }
        if (!item.block) {
            fi_store_relaxed64(&tx->stats.copies_made, tx->stats.copies_made + 1);
            tx->stats.copied_bytes += w->size;
        }
        waiting_free(tx, w);
        tx->stuck = false;
    }
    if (drains) {
        tx->part.drained(tx->part.whole);
    }
    return 0;
}

int fi_backlog_try(fi_sender_t *tx, void *arg) {
    (void)arg;
    return fi_backlog_pump(tx);
}

void fi_backlog_watch(fi_sender_t *tx) {
    if (fi_backlog_pump(tx) == 0) {
        /* What it was armed for has come. To leave it armed, with a sleep that was ended, would keep the next message
         * from arming it anew; a thread that sleeps for room is woken by whoever calls, and arms it itself. */
        if (tx->waiting) {
            fi_sender_disarm(tx);
        }
        return;
    }
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        fi_outlet_consider_growth(tx->outlets[i], false);
    }
    fi_sender_arm(tx);
    /* What was released before the arming rings no bell: look at it now. */
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        fi_outlet_refresh_exactly(tx->outlets[i]);
    }
    if (fi_backlog_pump(tx) == 0) {
        fi_sender_disarm(tx);
    }
}

uint64_t fi_backlog_purge(fi_sender_t *tx) {
    uint64_t count = tx->backlog_count;

    while (!fi_list_empty(&tx->backlog)) {
        waiting_free(tx, fi_container(tx->backlog.next, fi_waiting_t, link));
    }
    for (; !fi_list_empty(&tx->delayed); count++) {
        fi_backlog_free(tx, fi_container(tx->delayed.next, fi_waiting_t, link));
    }
    return count;
}

void fi_backlog_drop(fi_sender_t *tx) {
    (void)fi_backlog_purge(tx);
    while (!fi_list_empty(&tx->buried)) {
        fi_backlog_free(tx, fi_container(tx->buried.next, fi_waiting_t, link));
    }
}

void fi_backlog_return(fi_sender_t *tx, fi_waiting_t *w) {
    fi_list_remove(&w->link);
    tx->aside_count--;
    put_in_order(tx, w);
    tx->backlog_count++;
}

void fi_backlog_free(fi_sender_t *tx, fi_waiting_t *w) {
    fi_list_remove(&w->link);
    tx->aside_count--;
    fi_pool_unref(&tx->pool, w->block);
    free(w);
}

void fi_backlog_put_aside(fi_sender_t *tx, fi_waiting_t *w, struct fi_list *before) {
    take_out(tx, w);
    tx->backlog_count--;
    fi_list_add_head(before, &w->link);
    tx->aside_count++;
}

void fi_log_item(const fi_log_t *log, uint64_t pos, uint64_t word, fi_item_t *item) {
    const struct fi_record *rec = fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines));
    unsigned flags = fi_word_flags(word);

    *item = (fi_item_t){.size = fi_word_len(word),
                        .seq = rec->seq,
                        .attempt = fi_word_attempt(word),
                        .origin = (flags & FI_REC_ORIGIN) != 0};
    if (flags & FI_REC_EXT) {
        const struct fi_record_ext *ext = (const struct fi_record_ext *)(const void *)(rec + 1);
        item->tag = ext->tag;
        item->time_ns = flags & FI_REC_PROBE ? 0 : ext->time_ns;
    }
    item->data = (const unsigned char *)rec + fi_payload_offset(flags);
}

uint64_t fi_log_lent_from(const fi_log_t *log, uint64_t pos) {
    uint64_t low = log->lent_head;
    uint64_t high = log->lent_tail;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        bool below = log->lent[middle & (log->lent_cap - 1)].pos < pos;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    return low;
}

static fi_lent_t *find_lent(const fi_log_t *log, uint64_t pos) {
    uint64_t i = fi_log_lent_from(log, pos);
    fi_lent_t *lent = i < log->lent_tail ? &log->lent[i & (log->lent_cap - 1)] : NULL;

    return lent && lent->pos == pos ? lent : NULL;
}

void fi_log_unlend(fi_outlet_t *o, fi_log_t *log, uint64_t pos) {
    fi_lent_t *lent = find_lent(log, pos);

    if (lent && lent->block) {
        fi_pool_unref(&o->tx->pool, lent->block);
        lent->block = NULL;
    }
}

/* A record that is a pointer as the message that it points at. False: there is none any more. */
static bool resolve(const fi_log_t *log, uint64_t pos, fi_item_t *item) {
    const fi_lent_t *lent = find_lent(log, pos);

    item->block = lent ? lent->block : NULL;
    item->annex = fi_pointer_annex(item->data, (uint32_t)item->size);
    item->size = fi_pointer_load(item->data).size;
    item->data = NULL;
    return item->block != NULL;
}

fi_waiting_t *fi_backlog_take_record(fi_sender_t *tx, const fi_log_t *log, uint64_t pos, uint64_t word,
                                     uint32_t attempts) {
    fi_waiting_t *w = NULL;
    fi_item_t item;

    fi_log_item(log, pos, word, &item);
    if (fi_word_kind(word) == FI_REC_POINTER && !resolve(log, pos, &item)) {
        return NULL;
    }
    item.attempt = (uint16_t)(item.attempt + attempts);
    /* What was accepted must not be lost for want of quota: the ring that it comes from may be freed right after. */
    tx->pool.overdraft = true;
    if (fi_backlog_add(tx, &item) == 0) {
        w = fi_container(tx->backlog.prev, fi_waiting_t, link);
        take_out(tx, w);
        put_in_order(tx, w);
        tx->stats.redelivered++;
    }
    tx->pool.overdraft = false;
    return w;
}

static void take_back_record(fi_sender_t *tx, const fi_txlink_t *l, fi_log_t *log, uint64_t pos, uint64_t word,
                             bool taken, void *arg) {
    uint64_t seq = fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines))->seq;

    if (!taken && fi_link_has_purged(l, log, pos, seq)) {
        tx->stats.purged++;
        return;
    }
    if (fi_rendezvous_is_open_for(tx, seq, word)) {
        return; /* its sender goes on trying to send it */
    }
    (void)arg;
    fi_waiting_t *w = fi_backlog_take_record(tx, log, pos, word, taken);
    if (w && taken && tx->part.gives_back) {
        fi_returned_keep(tx, w, 0);
    }
}

static bool is_untried(const fi_txlink_t *l, const fi_log_t *log, uint64_t pos) {
    return l->untried_pos != 0 &&
           (log->serial > l->untried_serial || (log->serial == l->untried_serial && pos >= l->untried_pos));
}

typedef void fi_record_fn(fi_sender_t *tx, const fi_txlink_t *l, fi_log_t *log, uint64_t pos, uint64_t word, bool taken,
                          void *arg);

/* Calls `each` for the records of a queue's outlet that its reader has not released. */
static void each_unreleased(fi_sender_t *tx, fi_outlet_t *o, const fi_txlink_t *l, fi_record_fn *each, void *arg) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        fi_log_t *log = o->logs[s % FI_LOGS];
        const fi_ctl_t *ctl = &l->ctl[s % FI_LOGS];
        bool known = l->ctl_memory[s % FI_LOGS] != NULL;
        uint64_t pos = log->freed;
        uint64_t taken = known ? fi_load_acquire64(&ctl->head->taken) : 0;
        while (pos < log->w.pos) {
            uint64_t at = pos;
            uint64_t word = fi_ringw_walk(&log->w, &pos);
            if (fi_outlet_owes(o, log, at, word)) {
                each(tx, l, log, at, word, at < taken && !is_untried(l, log, at), arg);
            }
        }
    }
}

void fi_backlog_take_back(fi_sender_t *tx, fi_outlet_t *o, fi_txlink_t *l) {
    each_unreleased(tx, o, l, take_back_record, NULL);
}

static void count_untaken(fi_sender_t *tx, const fi_txlink_t *l, fi_log_t *log, uint64_t pos, uint64_t word, bool taken,
                          void *arg) {
    uint64_t seq = fi_ringw_at(&log->w, (uint32_t)(pos % log->w.lines))->seq;
    uint64_t *count = arg;

    (void)tx, (void)word;
    *count += !taken && !(l->purging > 0 && fi_link_has_purged(l, log, pos, seq));
}

uint64_t fi_backlog_untaken(fi_sender_t *tx, fi_outlet_t *o, const fi_txlink_t *l) {
    uint64_t count = 0;

    each_unreleased(tx, o, l, count_untaken, &count);
    return count;
}

struct visit {
    bool (*each)(const fi_unreleased_t *u, void *arg);
    void *arg;
    bool found;
};

static void visit_record(fi_sender_t *tx, const fi_txlink_t *l, fi_log_t *log, uint64_t pos, uint64_t word, bool taken,
                         void *arg) {
    struct visit *v = arg;
    fi_item_t item;

    (void)tx;
    fi_log_item(log, pos, word, &item);
    if (v->found || (fi_word_kind(word) == FI_REC_POINTER && !resolve(log, pos, &item))) {
        return;
    }
    unsigned char *data = item.block ? fi_block_data(item.block) : (unsigned char *)(uintptr_t)item.data;
    fi_unreleased_t u = {
        l,     data,         item.size, item.seq, (unsigned char *)(uintptr_t)item.annex, taken || item.attempt > 1,
        taken, item.attempt, 0};
    v->found = v->each(&u, v->arg);
}

static fi_unreleased_t as_unreleased(fi_waiting_t *w) {
    return (fi_unreleased_t){NULL,
                             fi_block_data(w->block),
                             w->size,
                             w->seq,
                             w->annexed ? w->annex : NULL,
                             w->attempt > 1,
                             false,
                             w->attempt,
                             w->due};
}

void fi_backlog_each(fi_sender_t *tx, bool (*each)(const fi_unreleased_t *u, void *arg), void *arg) {
    struct fi_list *waiting[] = {&tx->backlog, &tx->delayed, &tx->buried};
    struct visit v = {each, arg, false};
    struct fi_list *at;
    struct fi_list *after;

    for (uint32_t i = 0; i < tx->link_count && !v.found; i++) {
        each_unreleased(tx, tx->links[i]->outlet, tx->links[i], visit_record, &v);
    }
    for (unsigned i = 0; i < 3; i++) {
        fi_list_each(at, after, waiting[i]) {
            const fi_unreleased_t u = as_unreleased(fi_container(at, fi_waiting_t, link));
            if (v.found) {
                return;
            }
            v.found = each(&u, arg);
        }
    }
}

static void forget_aside(fi_sender_t *tx, struct fi_list *aside, bool (*is_stale)(const fi_unreleased_t *u, void *arg),
                         void *arg) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, aside) {
        fi_waiting_t *w = fi_container(at, fi_waiting_t, link);
        const fi_unreleased_t u = as_unreleased(w);
        if (is_stale(&u, arg)) {
            fi_backlog_free(tx, w);
        }
    }
}

void fi_backlog_forget(fi_sender_t *tx, bool (*is_stale)(const fi_unreleased_t *u, void *arg), void *arg) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &tx->backlog) {
        fi_waiting_t *w = fi_container(at, fi_waiting_t, link);
        const fi_unreleased_t u = as_unreleased(w);
        if (is_stale(&u, arg)) {
            waiting_free(tx, w);
        }
    }
    forget_aside(tx, &tx->delayed, is_stale, arg);
    forget_aside(tx, &tx->buried, is_stale, arg);
}

uint64_t fi_backlog_oldest(const fi_sender_t *tx) {
    uint64_t oldest = fi_list_empty(&tx->backlog) ? UINT64_MAX : seq_at(tx->backlog.next);

    for (const struct fi_list *at = tx->delayed.next; at != &tx->delayed; at = at->next) {
        oldest = fi_min(oldest, seq_at(at));
    }
    for (const struct fi_list *at = tx->buried.next; at != &tx->buried; at = at->next) {
        oldest = fi_min(oldest, seq_at(at));
    }
    return oldest;
}

/* SPDX-License-Identifier: MIT
 *
 * An outlet's rings: writing records, and learning from the readers what was released.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/ghosts.h"
#include "channel/history.h"
#include "channel/latest.h"
#include "channel/parted.h"
#include "channel/tell.h"
#include "node/shown.h"
#include "platform/bell.h"
#include "ring/ring_copy.h"

int fi_outlet_new(fi_sender_t *tx, uint32_t lines, fi_outlet_t **out) {
    fi_outlet_t *o = calloc(1, sizeof *o);
    if (!o) {
        return fi_fail(-ENOMEM, "no memory for a link on '%s'", fi_channel_shown(tx->end.channel));
    }
    o->tx = tx;
    o->first = o->current = 1;
    int r = fi_log_new(o, o->current, lines);
    if (r < 0) {
        free(o);
        return r;
    }
    *out = o;
    return 0;
}

int fi_log_new(fi_outlet_t *o, uint32_t serial, uint32_t lines) {
    fi_log_t *log = calloc(1, sizeof *log);
    if (!log) {
        return fi_fail(-ENOMEM, "no memory for a ring on '%s'", fi_channel_shown(o->tx->end.channel));
    }
    int r = fi_shared_new("ferry-ring", fi_ring_bytes_with_starts(lines), &log->memory);
    if (r < 0) {
        free(log);
        return r;
    }
    fi_ringw_init(&log->w, log->memory->map, lines);
    log->starts = fi_ring_starts(log->memory->map, lines);
    log->serial = serial;
    log->start = log->freed = log->oldest = lines;
    o->logs[serial % FI_LOGS] = log;
    return 0;
}

void fi_log_free(fi_outlet_t *o, fi_log_t *log) {
    while (log->lent_head < log->lent_tail) {
        fi_lent_t *lent = &log->lent[log->lent_head++ & (log->lent_cap - 1)];
        if (lent->block) {
            fi_pool_unref(&o->tx->pool, lent->block);
        }
    }
    if (o->logs[log->serial % FI_LOGS] == log) {
        o->logs[log->serial % FI_LOGS] = NULL;
    }
    fi_shared_unref(log->memory);
    free(log->lent);
    free(log);
}

void fi_outlet_free(fi_outlet_t *o) {
    fi_ghosts_free(o);
    fi_parted_free(o);
    for (unsigned i = 0; i < FI_LOGS; i++) {
        if (o->logs[i]) {
            fi_log_free(o, o->logs[i]);
        }
    }
    fi_outlet_leave_saved(o);
    free(o->links);
    free(o->sleep);
    free(o);
}

static int lent_grow(fi_log_t *log) {
    uint32_t cap = log->lent_cap ? 2 * log->lent_cap : 64;
    fi_lent_t *more = malloc(cap * sizeof *more);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory to remember a message that was handed out");
    }
    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        more[i & (cap - 1)] = log->lent[i & (log->lent_cap - 1)];
    }
    free(log->lent);
    log->lent = more;
    log->lent_cap = cap;
    return 0;
}

/* Who holds one message for long must not make the list long: what was given back out of order leaves it first. */
static int lent_make_room(fi_log_t *log) {
    uint64_t to = log->lent_head;

    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        const fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
        if (lent->block) {
            log->lent[to++ & (log->lent_cap - 1)] = *lent;
        }
    }
    log->lent_tail = to;
    return to - log->lent_head <= log->lent_cap / 2 && log->lent_cap > 0 ? 0 : lent_grow(log);
}

int fi_log_lent_reserve(fi_log_t *log, uint64_t count) {
    int r = 0;

    while (r == 0 && log->lent_cap - (log->lent_tail - log->lent_head) < count) {
        r = lent_grow(log);
    }
    return r;
}

void fi_log_lend(fi_log_t *log, fi_block_t *block) {
    log->lent[log->lent_tail++ & (log->lent_cap - 1)] = (fi_lent_t){log->w.pos, block};
    block->refs++;
}

void fi_remote_ring(fi_remote_t *r, uint32_t sleep) {
    /* One ring ends a sleep; senders that share this view need not all pay for it. */
    if (fi_load_relaxed32(&r->rung) != sleep) {
        fi_store_relaxed32(&r->rung, sleep);
        fi_bell_ring(r->bell);
    }
}

void fi_outlet_ring(fi_outlet_t *o) {
    bool some = false;

    fi_barrier_light(); /* the record was stored before; see ARCHITECTURE, "Waiting" */
    for (uint32_t i = 0; i < o->link_count; i++) {
        some |= fi_remote_wake(o->links[i]->remote);
    }
    if (some) {
        fi_sender_sample_soon(o->tx, FI_SAMPLE_FIRST); /* no stream any more, if it was one */
    }
}

/* True when `lines` fit; where nobody may hold the sender back, they always do. */
static bool make_fit(fi_outlet_t *o, fi_log_t *log, uint64_t lines) {
    if (o->strict_count == 0) {
        log->w.limit = log->w.pos + log->w.lines;
    }
    if (fi_unlikely(!fi_ringw_fits(&log->w, lines))) {
        return false;
    }
    if (fi_unlikely(o->lossy_count > 0)) {
        fi_outlet_make_way(o, log, log->w.pos + fi_ringw_need(&log->w, lines));
        fi_log_set_silent(o, log);
    }
    return true;
}

/* Where the next record goes, remembered as a place where a cursor may stand. */
static struct fi_record *begin(fi_log_t *log, uint64_t lines) {
    fi_log_note_start(log); /* this may become padding */
    struct fi_record *rec = fi_ringw_begin(&log->w, lines);
    fi_log_note_start(log);
    return rec;
}

/* Of a message that may be taken back: where it stands. */
static unsigned note_meet(fi_outlet_t *o, const fi_log_t *log, const fi_item_t *item) {
    if (fi_likely(!item->meet)) {
        return 0;
    }
    o->tx->meet.outlet = o;
    o->tx->meet.serial = log->serial;
    o->tx->meet.pos = log->w.pos;
    return FI_REC_MEET;
}

static bool has_ext(const fi_item_t *item) {
    return item->tag != 0 || item->time_ns != 0;
}

/* What the record's header says beyond where its parts are. */
static unsigned told_flags(const fi_item_t *item) {
    return (item->origin ? FI_REC_ORIGIN : 0u) | (item->probe ? FI_REC_PROBE : 0u);
}

static void put_ext(struct fi_record *rec, const fi_item_t *item) {
    struct fi_record_ext *ext = (struct fi_record_ext *)(void *)(rec + 1);
    fi_store_relaxed64(&ext->tag, item->tag);
    fi_store_relaxed64(&ext->time_ns, item->time_ns);
}

static void remember_position(const fi_outlet_t *o, uint64_t pos) {
    fi_sender_t *tx = o->tx;

    if (tx->retain && !o->is_for_taps) {
        tx->retained[tx->retained_count++ % tx->retain] = pos;
    }
}

static int put_pointer(fi_outlet_t *o, fi_log_t *log, const fi_item_t *item) {
    uint32_t len = (uint32_t)sizeof(struct fi_pointer) + (item->annex ? FI_ANNEX : 0);
    unsigned flags = fi_record_place(len, has_ext(item)) | told_flags(item);
    uint64_t lines = fi_record_lines(len, flags);
    struct fi_pointer p = {item->block->offset, item->size, item->block->segment->id, 0};

    if (!make_fit(o, log, lines)) {
        return -EAGAIN;
    }
    if (log->lent_tail - log->lent_head == log->lent_cap) {
        int grown = lent_make_room(log);
        if (grown < 0) {
            return grown;
        }
    }
    int r = fi_outlet_announce(o, item->block->segment);
    if (r < 0) {
        return r;
    }
    struct fi_record *rec = begin(log, lines);
    if (flags & FI_REC_EXT) {
        put_ext(rec, item);
    }
    unsigned char *payload = (unsigned char *)rec + fi_payload_offset(flags);
    fi_pointer_store(payload, p);
    if (item->annex) {
        memcpy(payload + sizeof p, item->annex, FI_ANNEX);
    }
    fi_log_lend(log, item->block);
    flags |= note_meet(o, log, item);
    remember_position(o, log->w.pos);
    fi_ringw_publish(&log->w, fi_record_word(len, FI_REC_POINTER, flags, item->attempt), item->seq);
    fi_outlet_ring(o);
    return 0;
}

static int put_inline(fi_outlet_t *o, fi_log_t *log, const fi_item_t *item) {
    unsigned flags = fi_record_place(item->size, has_ext(item)) | told_flags(item);
    uint64_t lines = fi_record_lines(item->size, flags);

    if (!make_fit(o, log, lines)) {
        return -EAGAIN;
    }
    struct fi_record *rec = begin(log, lines);
    if (flags & FI_REC_EXT) {
        put_ext(rec, item);
    }
    if (FI_TSAN && o->lossy_count > 0) {
        fi_copy_racing((unsigned char *)rec + fi_payload_offset(flags), item->data, item->size);
    } else if (item->size > 0) {
        memcpy((unsigned char *)rec + fi_payload_offset(flags), item->data, item->size);
    }
    flags |= note_meet(o, log, item);
    remember_position(o, log->w.pos);
    fi_ringw_publish(&log->w, fi_record_word((uint32_t)item->size, FI_REC_INLINE, flags, item->attempt), item->seq);
    fi_outlet_ring(o);
    return 0;
}

int fi_outlet_put(fi_outlet_t *o, const fi_item_t *item) {
    fi_log_t *log = fi_outlet_log(o);

    if (fi_unlikely(o->growing || o->first != o->current)) {
        fi_outlet_turn_over(o);
        log = fi_outlet_log(o);
    }
    return item->block ? put_pointer(o, log, item) : put_inline(o, log, item);
}

unsigned char *fi_outlet_claim(fi_outlet_t *o, uint64_t size, bool ext, unsigned *flags) {
    if (fi_unlikely(o->growing || o->first != o->current)) {
        fi_outlet_turn_over(o);
    }
    fi_log_t *log = fi_outlet_log(o);
    unsigned place = fi_record_place(size, ext);
    uint64_t lines = fi_record_lines(size, place);
    if (!make_fit(o, log, lines)) {
        return NULL;
    }
    *flags = place;
    unsigned char *payload = (unsigned char *)begin(log, lines) + fi_payload_offset(place);
    fi_ringw_lend(&log->w);
    return payload;
}

void fi_outlet_commit(fi_outlet_t *o, const fi_item_t *item, unsigned flags) {
    fi_log_t *log = fi_outlet_log(o);

    if (flags & FI_REC_EXT) {
        put_ext(fi_ringw_at(&log->w, log->w.idx), item);
    }
    remember_position(o, log->w.pos);
    fi_ringw_publish(&log->w, fi_record_word((uint32_t)item->size, FI_REC_INLINE, flags, item->attempt), item->seq);
    fi_outlet_ring(o);
}

uint64_t fi_link_start(const fi_txlink_t *l, const fi_log_t *log) {
    return log->serial == l->first ? l->start : log->start;
}

/* Our own walks through the ring begin at cursors: they must never begin inside a record. */
bool fi_log_is_boundary(const fi_log_t *log, uint64_t pos) {
    return pos == log->w.pos || (pos < log->w.pos && log->starts[pos % log->w.lines] == (uint32_t)pos);
}

/* A reader's cursor in a ring, checked: a liar's word counts as no progress. */
uint64_t fi_link_cursor(fi_txlink_t *l, const fi_log_t *log) {
    unsigned i = log->serial % FI_LOGS;

    if (!l->ctl_memory[i]) {
        return l->seen[i];
    }
    uint64_t cursor = fi_load_acquire64(&l->ctl[i].head->cursor); /* A2 */
    if (cursor > l->seen[i] && fi_log_is_boundary(log, cursor)) {
        l->seen[i] = cursor;
    }
    return l->seen[i];
}

static bool is_reader(const fi_txlink_t *l, const fi_log_t *log) {
    return log->serial >= l->first && !l->lossy;
}

static bool log_refresh(fi_outlet_t *o, fi_log_t *log) {
    uint64_t freed = log->w.pos;

    for (uint32_t i = 0; i < o->link_count; i++) {
        if (is_reader(o->links[i], log)) {
            freed = fi_min(freed, fi_link_cursor(o->links[i], log));
        }
    }
    if (fi_unlikely(o->ghosts != NULL)) {
        freed = fi_ghosts_cursor(o, log, freed);
    }
    bool more = freed > log->freed;
    log->freed = fi_max(freed, log->freed);
    fi_log_set_limit(o, log);
    return more;
}

bool fi_outlet_refresh(fi_outlet_t *o) {
    bool more = false;

    for (uint32_t s = o->first; s <= o->current; s++) {
        more |= log_refresh(o, o->logs[s % FI_LOGS]);
    }
    return more;
}

/* A queue's reader publishes its cursor in batches, its releases at once: counts the latter too. */
bool fi_outlet_refresh_exactly(fi_outlet_t *o) {
    bool more = fi_outlet_refresh(o);

    for (uint32_t s = o->first; s <= o->current; s++) {
        fi_log_t *log = o->logs[s % FI_LOGS];
        uint64_t pos = log->freed;
        while (pos < log->w.pos) {
            uint64_t at = pos;
            unsigned kind = fi_word_kind(fi_ringw_walk(&log->w, &pos));
            /* Padding is passed when a message after it was released: before, a reader may still need to see it. */
            if (kind == FI_REC_PAD || kind == FI_REC_SWITCH || kind == FI_REC_VOID) {
                continue;
            }
            if (fi_outlet_waits_for(o, log, at) || fi_ghosts_hold(o, log, at, true)) {
                break;
            }
            log->freed = pos;
            more = true;
        }
        fi_log_set_limit(o, log);
    }
    return more;
}

bool fi_ctl_announces(const fi_ctl_t *ctl, uint64_t pos) {
    for (unsigned k = 0; k < FI_HELD_SLOTS; k++) {
        if (fi_load_acquire64(&ctl->head->held[k]) == pos) { /* A5 */
            return true;
        }
    }
    return false;
}

static bool held_slots_are_empty(const fi_ctl_t *ctl) {
    uint64_t some = 0;

    for (unsigned k = 0; k < FI_HELD_SLOTS; k++) {
        some |= fi_load_acquire64(&ctl->head->held[k]); /* A5 */
    }
    return some == 0;
}

bool fi_link_holds(const fi_txlink_t *l, const fi_log_t *log, uint64_t pos) {
    unsigned i = log->serial % FI_LOGS;

    if (log->serial < l->first || pos < fi_link_start(l, log)) {
        return false;
    }
    bool overtaken = l->lossy && pos < log->oldest;
    if (!l->ctl_memory[i]) {
        return !overtaken; /* offered, and not read yet */
    }
    if (fi_ctl_is_released(&l->ctl[i], (uint32_t)(pos % log->w.lines), (uint32_t)(pos / log->w.lines)) ||
        fi_load_acquire64(&l->ctl[i].head->cursor) > pos) {
        return false;
    }
    return !overtaken || (!l->tap && fi_ctl_announces(&l->ctl[i], pos));
}

bool fi_outlet_holds(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (fi_link_holds(o->links[i], log, pos)) {
            return true;
        }
    }
    return fi_ghosts_hold(o, log, pos, false);
}

bool fi_outlet_waits_for(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (!o->links[i]->lossy && fi_link_holds(o->links[i], log, pos)) {
            return true;
        }
    }
    return false;
}

/* Does no reader that may be overtaken hold anything by what it announces? To be asked after it was told (A5). */
static bool nothing_is_announced(const fi_outlet_t *o, const fi_log_t *log) {
    unsigned i = log->serial % FI_LOGS;

    for (uint32_t k = 0; k < o->link_count; k++) {
        const fi_txlink_t *l = o->links[k];
        if (l->lossy && !l->tap && l->ctl_memory[i] && !held_slots_are_empty(&l->ctl[i])) {
            return false;
        }
    }
    return o->ghosts == NULL;
}

/* `unheld`: nothing is announced. */
static bool lent_is_free(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos, bool unheld) {
    if (fi_log_retains(o, log, pos)) {
        return false;
    }
    if (pos < log->freed && (o->lossy_count == 0 || (unheld && pos < log->oldest))) {
        return true;
    }
    return !fi_outlet_holds(o, log, pos);
}

void fi_log_reclaim(fi_outlet_t *o, fi_log_t *log, bool all) {
    uint32_t count = 0;
    bool unheld = false;

    for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
        fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
        /* Without looking at the release map, which the readers keep writing, the cursor must do. */
        bool cheap = o->lossy_count == 0 && !all;
        if (lent->block && cheap && lent->pos >= log->freed) {
            return;
        }
        if (lent->block && lent_is_free(o, log, lent->pos, unheld)) {
            fi_pool_unref(&o->tx->pool, lent->block);
            lent->block = NULL;
            /* A stride that was overtaken comes back as a whole: what is announced is not looked through for each of
             * it. */
            unheld = unheld || (++count == 2 && o->lossy_count > 0 && nothing_is_announced(o, log));
        }
        if (!lent->block && i == log->lent_head) {
            log->lent_head++;
        } else if (!all) {
            return;
        }
    }
}

void fi_outlet_reclaim(fi_outlet_t *o, bool all) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        fi_log_reclaim(o, o->logs[s % FI_LOGS], all);
    }
    if (fi_unlikely(all && o->ghosts)) {
        fi_ghosts_settle(o);
    }
    if (fi_unlikely(all && o->parted)) {
        fi_parted_settle(o);
    }
}

uint64_t fi_outlet_unreleased(fi_outlet_t *o, bool exactly) {
    uint64_t count = 0;

    for (uint32_t s = o->first; s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        uint64_t pos = log->freed;
        while (pos < log->w.pos) {
            uint64_t at = pos;
            uint64_t word = fi_ringw_walk(&log->w, &pos);
            count += exactly ? fi_outlet_owes(o, log, at, word) : fi_word_is_owed(word);
        }
    }
    return count;
}

uint64_t fi_outlet_oldest(const fi_outlet_t *o) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        uint64_t pos = log->freed;
        while (pos < log->w.pos) {
            uint64_t at = pos;
            if (fi_outlet_owes(o, log, at, fi_ringw_walk(&log->w, &pos))) {
                return fi_load_relaxed64(&fi_ringw_at(&log->w, (uint32_t)(at % log->w.lines))->seq);
            }
        }
    }
    return UINT64_MAX;
}

static int make_room_for_link(fi_outlet_t *o) {
    fi_txlink_t **links = realloc(o->links, (o->link_count + 1) * sizeof(fi_txlink_t *));
    o->links = links ? links : o->links;
    const uint32_t **sleep = realloc(o->sleep, (o->link_count + 1) * sizeof(const uint32_t *));
    o->sleep = sleep ? sleep : o->sleep;
    return links && sleep ? 0 : -ENOMEM;
}

int fi_outlet_add_link(fi_outlet_t *o, fi_txlink_t *l) {
    if (make_room_for_link(o) < 0) {
        return fi_fail(-ENOMEM, "no memory for a link on '%s'", fi_channel_shown(o->tx->end.channel));
    }
    if (l->lossy && o->lossy_count == 0) {
        fi_log_may_be_overtaken_from(fi_outlet_log(o), l->start);
    }
    o->sleep[o->link_count] = &l->remote->page->sleep;
    o->links[o->link_count++] = l;
    o->lossy_count += l->lossy;
    o->strict_count += !l->lossy;
    o->per_tag_count += l->per_tag;
    l->outlet = o;
    return 0;
}

void fi_outlet_remove_link(fi_outlet_t *o, fi_txlink_t *l) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i] == l) {
            o->links[i] = o->links[--o->link_count];
            o->sleep[i] = o->sleep[o->link_count];
            o->lossy_count -= l->lossy;
            o->strict_count -= !l->lossy;
            o->per_tag_count -= l->per_tag;
            break;
        }
    }
}

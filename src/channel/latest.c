/* SPDX-License-Identifier: MIT
 *
 * A sender keeps, for readers that want the newest message of each tag, what its ring pushes out before they have taken
 * it.
 *
 * Nothing is done for them as long as they keep up: what a stride of the ring is about to lose is looked at once, when
 * the stride is announced (overtake.c), and only what such a reader has not passed yet is kept: of each tag the newest
 * in the stride.  A tag's newer message takes the place of the one before, so that a reader may stand still for as long
 * as it likes: there is one message for each tag.  They count against the quota; when it is used up, the oldest go.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "channel/latest.h"
#include "ring/latest_layout.h"

#define FIRST_SLOTS 256u

struct fi_saved {
    fi_block_t *table;
    fi_block_t **blocks; /* by slot: what it points at, one reference each */
    uint32_t slots;
    uint32_t used;  /* slots that have a tag */
    uint64_t count; /* of these, that have a message */
};

static struct fi_latest *slots_of(const fi_saved_t *t) {
    return (struct fi_latest *)(void *)(fi_block_data(t->table) + sizeof(struct fi_latest_head));
}

/* The slot of a tag, or the one that it would get. */
static uint32_t find(const struct fi_latest *slots, uint32_t count, uint64_t tag) {
    uint32_t i = fi_latest_hash(tag, count);

    while (slots[i].serial != 0 && slots[i].tag != tag) {
        i = (i + 1) & (count - 1);
    }
    return i;
}

/* Readers that are to find it are told of a segment. */
static void announce(fi_outlet_t *o, const fi_segment_t *s) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->per_tag) {
            (void)fi_link_announce(o->tx, o->links[i], s);
        }
    }
}

static void copy_slots(const fi_saved_t *from, fi_saved_t *to) {
    const struct fi_latest *old = slots_of(from);
    struct fi_latest *slots = slots_of(to);

    for (uint32_t i = 0; i < from->slots; i++) {
        if (old[i].serial != 0) {
            uint32_t k = find(slots, to->slots, old[i].tag);
            slots[k] = old[i];
            to->blocks[k] = from->blocks[i];
        }
    }
}

static void tell(fi_shared_t *ring, uint64_t latest) {
    struct fi_ring_head *head = ring->map;

    fi_store_release64(&head->shared.latest, latest);
}

/* In all rings that the sender has, and in those that a reader looks into which has not come further yet. */
static void tell_all(const fi_outlet_t *o, uint64_t latest) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        tell(o->logs[s % FI_LOGS]->memory, latest);
    }
    for (uint32_t i = 0; i < 2 * o->link_count; i++) {
        fi_shared_t *ring = o->links[i / 2]->looks[i % 2];
        if (ring) {
            tell(ring, latest);
        }
    }
}

void fi_outlet_tell_saved(fi_outlet_t *o) {
    if (o->saved && o->saved->table) {
        announce(o, o->saved->table->segment);
        tell_all(o, o->saved->table->segment->id + 1ull);
    }
}

static bool is_here(const fi_outlet_t *o, const fi_shared_t *ring) {
    bool here = false;

    for (uint32_t s = o->first; s <= o->current + o->growing; s++) {
        here |= o->logs[s % FI_LOGS]->memory == ring;
    }
    return here;
}

void fi_outlet_tell_no_more(const fi_outlet_t *o, fi_shared_t *ring) {
    for (uint32_t i = 0; i < o->link_count; i++) {
        if (o->links[i]->looks[0] == ring || o->links[i]->looks[1] == ring) {
            return;
        }
    }
    tell(ring, 0);
}

void fi_link_looks_there(fi_txlink_t *l, fi_shared_t *ring) {
    if (!l->per_tag) {
        return;
    }
    if (ring) {
        fi_shared_unref(l->looks[1]);
        l->looks[1] = fi_shared_ref(ring);
        return;
    }
    fi_shared_t *left = l->looks[0];
    l->looks[0] = l->looks[1];
    l->looks[1] = NULL;
    if (left && !is_here(l->outlet, left)) {
        fi_outlet_tell_no_more(l->outlet, left);
    }
    fi_shared_unref(left);
}

/* A table with so many slots, and what the one before had in it. */
static bool resize(fi_outlet_t *o, uint32_t slots) {
    fi_saved_t *t = o->saved;
    fi_saved_t next = {.slots = slots, .used = t->used, .count = t->count};

    next.blocks = calloc(slots, sizeof(fi_block_t *));
    if (!next.blocks || fi_pool_alloc_alone(&o->tx->pool, fi_latest_bytes(slots), &next.table) < 0) {
        free(next.blocks);
        return false;
    }
    struct fi_latest_head *head = (struct fi_latest_head *)(void *)fi_block_data(next.table);
    head->slots = slots;
    fi_store_release64(&head->magic, FI_LATEST_MAGIC);
    if (t->table) {
        copy_slots(t, &next);
    }
    fi_block_t *old = t->table;
    free(t->blocks);
    *t = next;
    fi_outlet_tell_saved(o); /* from here on readers look for it there */
    if (old) {
        fi_pool_unref(&o->tx->pool, old);
    }
    return true;
}

/* The slot for a tag, made if need be. NULL: there is no room for it. */
static struct fi_latest *slot_for(fi_outlet_t *o, uint64_t tag, uint32_t *at) {
    fi_saved_t *t = o->saved;

    if (t->slots > 0) {
        *at = find(slots_of(t), t->slots, tag);
        if (slots_of(t)[*at].serial != 0) {
            return &slots_of(t)[*at];
        }
    }
    if (2 * t->used >= t->slots) {
        if (t->slots == FI_LATEST_MAX_SLOTS || !resize(o, t->slots ? 2 * t->slots : FIRST_SLOTS)) {
            return NULL;
        }
        *at = find(slots_of(t), t->slots, tag);
    }
    t->used++;
    return &slots_of(t)[*at];
}

/* The message is not there any more; its bytes may be written over after this. */
static void empty(fi_outlet_t *o, uint32_t i) {
    fi_saved_t *t = o->saved;

    fi_store_relaxed64(&slots_of(t)[i].seq, 0);
    fi_fence_release();
    if (t->blocks[i]) {
        fi_pool_unref(&o->tx->pool, t->blocks[i]);
        t->blocks[i] = NULL;
        t->count--;
    }
}

/* Takes the block's reference over. */
static void save(fi_outlet_t *o, const fi_log_t *log, const fi_item_t *item, fi_block_t *block) {
    uint32_t i = 0;
    struct fi_latest *slot = slot_for(o, item->tag, &i);

    if (!slot) {
        fi_pool_unref(&o->tx->pool, block);
        return;
    }
    empty(o, i);
    announce(o, block->segment);
    fi_store_relaxed64(&slot->tag, item->tag);
    fi_store_relaxed64(&slot->time_ns, item->time_ns);
    fi_store_relaxed64(&slot->offset, block->offset);
    fi_store_relaxed64(&slot->size, item->size);
    fi_store_relaxed32(&slot->segment, block->segment->id);
    fi_store_relaxed32(&slot->serial, log->serial);
    fi_store_release64(&slot->seq, item->seq); /* R8 */
    o->saved->blocks[i] = block;
    o->saved->count++;
}

/* Is a newer message with its tag kept already? */
static bool is_outdated(const fi_saved_t *t, const fi_item_t *item) {
    return t->slots > 0 && slots_of(t)[find(slots_of(t), t->slots, item->tag)].seq > item->seq;
}

/* The bytes of a small message, which stand in the ring only. */
static fi_block_t *copy_out(fi_sender_t *tx, const fi_item_t *item) {
    fi_block_t *block;

    if (fi_pool_alloc(&tx->pool, item->size ? item->size : 1, &block) < 0) {
        return NULL;
    }
    memcpy(fi_block_data(block), item->data, item->size);
    return block;
}

/* Where the first of these readers stands that has not passed `to` yet; `to`: all have. */
static uint64_t first_needed(const fi_outlet_t *o, const fi_log_t *log, uint64_t from, uint64_t to) {
    uint32_t at = log->serial % FI_LOGS;
    uint64_t first = to;

    for (uint32_t i = 0; i < o->link_count; i++) {
        const fi_txlink_t *l = o->links[i];
        if (l->per_tag && log->serial >= l->first) {
            uint64_t start = fi_link_start(l, log);
            uint64_t taken = l->ctl_memory[at] ? fi_load_acquire64(&l->ctl[at].head->taken) : start;
            first = fi_min(first, fi_max(taken, start));
        }
    }
    return fi_max(first, from);
}

/* What goes on while a stride of the ring is looked through, backwards. */
typedef struct fi_saving {
    fi_outlet_t *o;
    const fi_log_t *log;
    uint64_t lent; /* what was lent from this number on stands behind */
    bool full;     /* there was no memory for a copy, and an older one must not take its place */
} fi_saving_t;

/* The last that was lent of what is not looked through yet. NULL: there is none. */
static const fi_lent_t *last_lent(const fi_saving_t *s) {
    return s->lent > s->log->lent_head ? &s->log->lent[(s->lent - 1) & (s->log->lent_cap - 1)] : NULL;
}

/* A record that is a pointer as what it points at. False: all have released it. */
static bool resolve(fi_saving_t *s, uint64_t pos, fi_item_t *item) {
    const fi_lent_t *lent;

    while ((lent = last_lent(s)) && lent->pos > pos) {
        s->lent--;
    }
    if (!lent || lent->pos != pos || !lent->block) {
        return false;
    }
    item->size = fi_pointer_load(item->data).size;
    item->block = lent->block;
    return true;
}

static void save_record(fi_saving_t *s, uint64_t pos) {
    uint64_t word = fi_ringw_walk(&s->log->w, &(uint64_t){pos});
    unsigned kind = fi_word_kind(word);
    fi_item_t item;

    if (kind != FI_REC_POINTER && (kind != FI_REC_INLINE || s->full)) {
        return;
    }
    fi_log_item(s->log, pos, word, &item);
    if (is_outdated(s->o->saved, &item) || (kind == FI_REC_POINTER && !resolve(s, pos, &item))) {
        return;
    }
    fi_block_t *block = item.block ? item.block : copy_out(s->o->tx, &item);
    if (!block) {
        s->full = true;
        return;
    }
    block->refs += item.block != NULL;
    save(s->o, s->log, &item, block);
}

/* The newest first: of most messages nothing is needed then but their tags. */
void fi_outlet_save(fi_outlet_t *o, fi_log_t *log, uint64_t from, uint64_t to) {
    uint64_t first = o->per_tag_count > 0 ? first_needed(o, log, from, to) : to;

    if (first >= to || (!o->saved && !(o->saved = calloc(1, sizeof *o->saved)))) {
        return;
    }
    fi_saving_t s = {.o = o, .log = log, .lent = fi_log_lent_from(log, to)};
    for (uint64_t pos = to; pos-- > first;) {
        if (fi_log_is_boundary(log, pos)) {
            save_record(&s, pos);
        }
    }
}

bool fi_outlet_forsake_saved(fi_outlet_t *o) {
    fi_saved_t *t = o->saved;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;

    if (!t || t->count == 0) {
        return false;
    }
    const struct fi_latest *slots = slots_of(t);
    for (uint32_t i = 0; i < t->slots; i++) {
        if (t->blocks[i]) {
            least = fi_min(least, slots[i].seq);
            most = fi_max(most, slots[i].seq);
        }
    }
    for (uint32_t i = 0; i < t->slots; i++) {
        if (t->blocks[i] && slots[i].seq <= least + (most - least) / 8) {
            empty(o, i);
        }
    }
    return true;
}

void fi_outlet_free_saved(fi_outlet_t *o) {
    fi_saved_t *t = o->saved;

    if (!t) {
        return;
    }
    for (uint32_t i = 0; i < t->slots; i++) {
        if (t->blocks[i]) {
            empty(o, i);
        }
    }
    tell_all(o, 0);
    if (t->table) {
        fi_pool_unref(&o->tx->pool, t->table);
    }
    fi_outlet_leave_saved(o);
}

void fi_outlet_leave_saved(fi_outlet_t *o) {
    if (o->saved) {
        free(o->saved->blocks);
        free(o->saved);
        o->saved = NULL;
    }
}

/* SPDX-License-Identifier: MIT */
#include "store/heap.h"

#include <inttypes.h>

#include "base/error.h"
#include "store/heap_quick.h"

/* ---- what can be wrong ---- */

int fi_heap_damaged(const fi_heap_t *h, uint64_t place, const char *what) {
    return fi_fail(-EPROTO,
                   "the allocator's notes in the region \"%s\" are damaged at %" PRIu64
                   ": %s; somebody has written outside his block",
                   h->name, place, what);
}

int fi_heap_stale(void) {
    return fi_fail_static(-ESTALE, "the region has grown");
}

static int no_place(const fi_heap_t *h, uint64_t place) {
    return fi_fail(-EINVAL,
                   "no reference can stand at %" PRIu64
                   " in the region \"%s\": take 8 aligned bytes of the root object or of a block",
                   place, h->name);
}

static int no_bytes(const fi_heap_t *h) {
    return fi_fail(-EINVAL, "a block in the region \"%s\" needs at least one byte", h->name);
}

static int no_room(const fi_heap_t *h, uint64_t bytes) {
    fi_heap_figures_t f;

    fi_heap_figures(h, &f);
    return fi_fail(-ENOSPC,
                   "the region \"%s\" has no free block of %" PRIu64 " bytes; the largest one has %" PRIu64
                   ", all together %" PRIu64,
                   h->name, bytes, f.largest_free, f.free_bytes);
}

static int no_block(const fi_heap_t *h, uint64_t ref) {
    uint64_t block = ref - FI_UNIT;
    bool is_free = fi_heap_load_block(h, block, FI_BLOCK_FREE) || fi_heap_load_block(h, block, FI_BLOCK_BINNED);

    return fi_fail(-EINVAL, "%" PRIu64 " refers to no block of the region \"%s\"%s", ref, h->name,
                   is_free ? ": it was freed before" : "");
}

/* Is that the word of a block? One word may look like it by chance; this, and the one that it leads to, do not both. */
static bool is_block_word(const fi_heap_t *h, uint64_t at, uint64_t *word) {
    uint64_t next;

    if (!fi_heap_looks_like_block(h, at, word)) {
        return false;
    }
    uint64_t units = fi_block_units(*word);
    if (units <= 1) {
        return units == 1 && at + FI_UNIT == fi_heap_end(h);
    }
    return units < (h->bytes - at) / FI_UNIT && fi_heap_looks_like_block(h, at + units * FI_UNIT, &next);
}

/* Bounds, and as much of what a place must not be as can be told from a look at it. */
static bool is_good_place(const fi_heap_t *h, uint64_t place) {
    uint64_t at = place & ~(uint64_t)(FI_UNIT - 1);
    uint64_t word;

    if (!fi_heap_is_place(h, place)) {
        return false;
    }
    if (place < h->first || !fi_heap_is_doubtful(h, place)) {
        return true;
    }
    return !is_block_word(h, at, &word) &&
           !(at > h->first && is_block_word(h, at - FI_UNIT, &word) && (word & FI_BLOCK_STATE) != FI_BLOCK_USED);
}

/* ---- the heap as a whole ---- */

int fi_heap_init(const fi_heap_t *h) {
    if (h->first % FI_UNIT != 0 || h->bytes < h->first || h->bytes - h->first < FI_HEAP_LEAST) {
        return fi_fail(-EINVAL, "the region \"%s\" is too small for a block", h->name);
    }
    fi_store_relaxed64(fi_heap_word(h, h->first), fi_block_word(h->first, 1, FI_BLOCK_USED));
    fi_store_relaxed64(&h->shared->end, h->first + FI_UNIT);
    return fi_heap_extend(h, h->bytes);
}

/* What was the end becomes a block that reaches to the new one. */
int fi_heap_extend(const fi_heap_t *h, uint64_t bytes) {
    uint64_t end = fi_heap_end(h);
    uint64_t new_end = fi_min(bytes, h->bytes) & ~(uint64_t)(FI_UNIT - 1);

    if (new_end < FI_MIN_UNITS * FI_UNIT || end > new_end - FI_MIN_UNITS * FI_UNIT) {
        return 0;
    }
    uint64_t block = end - FI_UNIT;
    uint64_t word = end % FI_UNIT == 0 && end > h->first ? fi_load_relaxed64(fi_heap_word(h, block)) : 0;
    if (fi_block_units(word) != 1 || !fi_block_is_sound(block, word)) {
        return fi_heap_damaged(h, end, "the heap does not end where it says");
    }
    fi_heap_step_t s = fi_heap_begin(h);
    uint64_t units = (new_end - end) / FI_UNIT;
    fi_heap_set(&s, fi_heap_word(h, new_end - FI_UNIT), fi_block_word(new_end - FI_UNIT, 1, FI_BLOCK_USED));
    fi_heap_set(&s, &h->shared->end, new_end);
    fi_fit_count(&s, 0, units);
    int r = fi_fit_give(&s, block, units | (word & FI_BLOCK_PREV_FREE), &units);
    return fi_heap_end_step(&s, r);
}

/* May a note say that something there is to be put back? Not the lock, and not the log itself. */
static bool may_be_undone(const fi_heap_t *h, uint64_t place) {
    uint64_t in_head = place - fi_heap_place_of(h, (const uint64_t *)(const void *)h->shared);
    bool is_ours = in_head >= offsetof(fi_heap_memory_t, end) || in_head == offsetof(fi_heap_memory_t, binned);

    return place % 8 == 0 && place <= h->bytes - 8 && is_ours;
}

void fi_heap_undo(const fi_heap_t *h) {
    fi_heap_memory_t *m = h->shared;
    uint64_t n = fi_min(fi_load_relaxed64(&m->noted), FI_HEAP_NOTES);

    while (n-- > 0) {
        uint64_t place = fi_load_relaxed64(&m->notes[n].place);
        if (may_be_undone(h, place)) {
            fi_store_relaxed64(fi_heap_word(h, place), fi_load_relaxed64(&m->notes[n].old));
        }
        fi_compiler_barrier();
    }
    fi_store_relaxed64(&m->noted, 0);
}

void fi_heap_recover(const fi_heap_t *h) {
    fi_heap_memory_t *m = h->shared;

    if (fi_load_relaxed64(&m->noted)) {
        fi_store_relaxed64(&m->repairs, fi_load_relaxed64(&m->repairs) + 1);
        fi_heap_undo(h);
    }
}

int fi_heap_empty_bins(const fi_heap_t *h) {
    return fi_heap_is_stale(h) ? fi_heap_stale() : fi_bins_empty(h, UINT64_MAX);
}

/* ---- blocks ---- */

/* A FREE block of at least so many units; bins are emptied for it. 1, 0 there is none, -EPROTO. */
static int find_room(const fi_heap_t *h, uint64_t units, uint64_t *block, uint64_t *word) {
    int r = fi_fit_find(h, units, block, word);

    if (r != 0) {
        return r;
    }
    r = fi_bins_empty(h, units);
    return r < 0 ? r : fi_fit_find(h, units, block, word);
}

static int alloc_fit(const fi_heap_t *h, uint64_t *where, uint64_t units, uint64_t *ref) {
    uint64_t block, word;
    int r = find_room(h, units, &block, &word);

    if (r <= 0) {
        return r < 0 ? r : -ENOSPC;
    }
    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_set(&s, where, block + FI_UNIT);
    r = fi_heap_end_step(&s, fi_fit_take(&s, block, word, units));
    if (r == 0) {
        *ref = block + FI_UNIT;
    }
    return r;
}

int fi_heap_alloc(const fi_heap_t *h, uint32_t hand, uint64_t place, unsigned flags, uint64_t bytes, uint64_t *ref) {
    uint64_t units = fi_heap_units(bytes);

    if (bytes == 0) {
        return no_bytes(h);
    }
    if (fi_heap_is_stale(h)) {
        return fi_heap_stale();
    }
    if (place && !is_good_place(h, place)) {
        return no_place(h, place);
    }
    uint64_t *where = fi_heap_where(h, hand, place);
    uint64_t there = place ? fi_load_relaxed64(where) : 0;
    if (there && flags & FI_HEAP_IF_NONE) {
        *ref = there;
        return fi_fail_static(-EEXIST, "there is a block already");
    }
    int r = place ? 0 : fi_heap_drop(h, hand);
    if (r < 0 || fi_heap_alloc_quick(h, hand, place, bytes, ref)) {
        return r;
    }
    r = units ? alloc_fit(h, where, units, ref) : -ENOSPC;
    return r == -ENOSPC ? no_room(h, bytes) : r;
}

/* The USED block becomes free: `binned`, or a part of the free space. */
static int release(fi_heap_step_t *s, uint64_t block, bool binned) {
    /* Looked at only now: whoever made room in the bins may have set PREV_FREE. */
    uint64_t word = fi_heap_load_block(s->h, block, FI_BLOCK_USED);
    uint64_t units = fi_block_units(word);

    if (fi_unlikely(!word)) {
        return fi_heap_damaged(s->h, block, "a block has changed while nobody may change it");
    }
    if (binned) {
        fi_heap_change_t c[3];
        fi_bins_push(s->h, fi_bin_of(units), block, word, c);
        fi_heap_change(s, c, 3);
        return 0;
    }
    fi_fit_count(s, -1, units);
    return fi_fit_give(s, block, word, &units);
}

/* The block, and with it, in the same step, the reference. */
static int free_from(const fi_heap_t *h, uint64_t *where, uint64_t ref) {
    uint64_t word = fi_heap_load_block(h, ref - FI_UNIT, FI_BLOCK_USED);

    if (!word) {
        return no_block(h, ref);
    }
    int room = fi_bins_make_room(h, fi_block_units(word));
    if (room < 0) {
        return room;
    }
    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_set(&s, where, 0);
    return fi_heap_end_step(&s, release(&s, ref - FI_UNIT, room > 0));
}

int fi_heap_free(const fi_heap_t *h, uint32_t hand, uint64_t place, uint64_t ref) {
    if (fi_heap_is_stale(h)) {
        return fi_heap_stale();
    }
    if (place && !is_good_place(h, place)) {
        return no_place(h, place);
    }
    uint64_t *where = fi_heap_where(h, hand, place);
    ref = place ? fi_load_relaxed64(where) : ref;
    int r = ref ? free_from(h, where, ref) : 0;
    if (r < 0 && !place) {
        fi_heap_hand_done(h, hand);
    }
    return r;
}

int fi_heap_drop(const fi_heap_t *h, uint32_t hand) {
    uint64_t *where = &h->shared->hands[hand].block;
    uint64_t ref = fi_load_relaxed64(where);

    if (ref == 0) {
        return 0;
    }
    if (fi_heap_is_stale(h)) {
        return fi_heap_stale();
    }
    if (fi_heap_load_block(h, ref - FI_UNIT, FI_BLOCK_USED)) {
        return free_from(h, where, ref);
    }
    fi_heap_hand_done(h, hand);
    return 0;
}

uint64_t fi_heap_block_size(const fi_heap_t *h, uint64_t ref) {
    uint64_t word = fi_heap_load_block(h, ref - FI_UNIT, FI_BLOCK_USED);

    return word ? fi_block_units(word) * FI_UNIT - FI_UNIT : 0;
}

/* ---- other sizes ---- */

/* As it stands, or with what follows it: 1; 0: it must move. */
static int resize_here(const fi_heap_t *h, uint64_t block, uint64_t word, uint64_t units) {
    fi_heap_step_t s = fi_heap_begin(h);

    return fi_heap_end_step(&s, fi_fit_resize(&s, block, word, units));
}

int fi_heap_resize(const fi_heap_t *h, uint32_t hand, uint64_t place, uint64_t bytes, uint64_t *ref,
                   fi_heap_move_t *move) {
    uint64_t units = fi_heap_units(bytes);

    if (bytes == 0) {
        return no_bytes(h);
    }
    if (fi_heap_is_stale(h)) {
        return fi_heap_stale();
    }
    if (place && !is_good_place(h, place)) {
        return no_place(h, place);
    }
    uint64_t from = place ? fi_load_relaxed64(fi_heap_word(h, place)) : *ref;
    if (from == 0) {
        return fi_heap_alloc(h, hand, place, 0, bytes, ref);
    }
    uint64_t word = fi_heap_load_block(h, from - FI_UNIT, FI_BLOCK_USED);
    if (!word) {
        return no_block(h, from);
    }
    int r = units ? resize_here(h, from - FI_UNIT, word, units) : 0;
    if (r != 0) {
        *ref = from;
        return r < 0 ? r : FI_HEAP_DONE;
    }
    uint64_t to;
    r = fi_heap_alloc(h, hand, 0, 0, bytes, &to);
    if (r == 0) {
        *move = (fi_heap_move_t){from, to, fi_block_units(word) * FI_UNIT - FI_UNIT};
    }
    return r < 0 ? r : FI_HEAP_MOVES;
}

int fi_heap_moved(const fi_heap_t *h, uint32_t hand, uint64_t place, const fi_heap_move_t *move) {
    if (fi_heap_is_stale(h)) {
        return fi_heap_stale();
    }
    uint64_t word = fi_heap_load_block(h, move->from - FI_UNIT, FI_BLOCK_USED);
    if (!word || (place && fi_load_relaxed64(fi_heap_word(h, place)) != move->from)) {
        int r = fi_heap_drop(h, hand);
        return r < 0 ? r : no_block(h, move->from);
    }
    int room = fi_bins_make_room(h, fi_block_units(word));
    if (room < 0) {
        return room;
    }
    fi_heap_step_t s = fi_heap_begin(h);
    if (place) {
        fi_heap_set(&s, fi_heap_word(h, place), move->to);
        fi_heap_set(&s, &h->shared->hands[hand].block, 0);
    }
    return fi_heap_end_step(&s, release(&s, move->from - FI_UNIT, room > 0));
}

/* SPDX-License-Identifier: MIT */
#include "store/heap_fit.h"

#define BITS 64u

static bool is_filled(const fi_heap_memory_t *m, unsigned class) {
    return fi_load_relaxed64(&m->filled[class / BITS]) >> class % BITS & 1;
}

/* The first list from `class` on that is not empty; FI_HEAP_CLASSES: none. */
static unsigned next_filled(const fi_heap_memory_t *m, unsigned class) {
    uint64_t mask = ~UINT64_C(0) << class % BITS;

    for (unsigned i = class / BITS; i < sizeof m->filled / sizeof *m->filled; i++) {
        uint64_t bits = fi_load_relaxed64(&m->filled[i]) & mask;
        if (bits) {
            unsigned found = i * BITS + (unsigned)__builtin_ctzll(bits);
            return found < FI_HEAP_CLASSES ? found : FI_HEAP_CLASSES;
        }
        mask = ~UINT64_C(0);
    }
    return FI_HEAP_CLASSES;
}

/* ---- lists ---- */

/* Is this a link that may be followed, and does the word it leads to lead back? */
static bool leads_back(const fi_heap_t *h, uint64_t link, unsigned offset, uint64_t block) {
    return fi_heap_is_block_place(h, link) && fi_load_relaxed64(fi_heap_word(h, link + offset)) == block;
}

/* The words that lead to a FREE block: from the one before it, or its list; from the one behind it, or NULL. */
typedef struct ways {
    uint64_t *forward;
    uint64_t *backward;
    uint64_t previous;
    uint64_t next;
} ways_t;

static int find_ways(const fi_heap_t *h, uint64_t block, uint64_t units, ways_t *w) {
    uint64_t *list = &h->shared->lists[fi_fit_class(units)];

    w->next = fi_load_relaxed64(fi_heap_next_link(h, block));
    w->previous = fi_load_relaxed64(fi_heap_previous_link(h, block));
    if (w->previous ? !leads_back(h, w->previous, 8, block) : fi_load_relaxed64(list) != block) {
        return fi_heap_damaged(h, block, "a free block is not in the list of its size");
    }
    if (w->next && !leads_back(h, w->next, 16, block)) {
        return fi_heap_damaged(h, block, "the next free block of that size does not know this one");
    }
    w->forward = w->previous ? fi_heap_next_link(h, w->previous) : list;
    w->backward = w->next ? fi_heap_previous_link(h, w->next) : NULL;
    return 0;
}

static int remove_from_list(fi_heap_step_t *s, uint64_t block, uint64_t units) {
    ways_t w = {0};
    int r = find_ways(s->h, block, units, &w);

    if (r < 0) {
        return r;
    }
    fi_heap_set(s, w.forward, w.next);
    if (w.next) {
        fi_heap_set(s, w.backward, w.previous);
    } else if (!w.previous) {
        unsigned class = fi_fit_class(units);
        uint64_t *bits = &s->h->shared->filled[class / BITS];
        fi_heap_set(s, bits, fi_load_relaxed64(bits) & ~(UINT64_C(1) << class % BITS));
    }
    return 0;
}

/* Makes [block, + units) a FREE block, in front of its list. The next block says PREV_FREE already. */
static int add_to_list(fi_heap_step_t *s, uint64_t block, uint64_t units) {
    const fi_heap_t *h = s->h;
    fi_heap_memory_t *m = h->shared;
    unsigned class = fi_fit_class(units);
    uint64_t next = fi_load_relaxed64(&m->lists[class]);

    if (next && !leads_back(h, next, 16, 0)) {
        return fi_heap_damaged(h, fi_heap_place_of(h, &m->lists[class]), "the list of free blocks has no first one");
    }
    fi_heap_set(s, fi_heap_word(h, block), fi_block_word(block, units, FI_BLOCK_FREE));
    fi_heap_set(s, fi_heap_word(h, block + units * FI_UNIT - 8), units);
    fi_heap_set(s, fi_heap_next_link(h, block), next);
    fi_heap_set(s, fi_heap_previous_link(h, block), 0);
    fi_heap_set(s, &m->lists[class], block);
    if (next) {
        fi_heap_set(s, fi_heap_previous_link(h, next), block);
    } else {
        uint64_t *bits = &m->filled[class / BITS];
        fi_heap_set(s, bits, fi_load_relaxed64(bits) | UINT64_C(1) << class % BITS);
    }
    return 0;
}

/* ---- finding ---- */

/* One that is large enough among the first of a list whose blocks need not be. */
static int look_through(const fi_heap_t *h, unsigned class, uint64_t units, uint64_t *block, uint64_t *word) {
    uint64_t at = fi_load_relaxed64(&h->shared->lists[class]);

    for (unsigned i = 0; at && i < FI_FIT_LOOKS; i++) {
        uint64_t found = fi_heap_load_block(h, at, FI_BLOCK_FREE);
        if (!found) {
            return fi_heap_damaged(h, at, "what stands in the list of free blocks is none");
        }
        if (fi_block_units(found) >= units) {
            *block = at;
            *word = found;
            return 1;
        }
        at = fi_load_relaxed64(fi_heap_next_link(h, at));
    }
    return 0;
}

int fi_fit_find(const fi_heap_t *h, uint64_t units, uint64_t *block, uint64_t *word) {
    uint64_t step = units < 16 ? 1 : UINT64_C(1) << (fi_log2(units) - 4); /* between classes */
    unsigned class = next_filled(h->shared, fi_fit_class(units + step - 1));

    if (class >= FI_HEAP_CLASSES) {
        return look_through(h, fi_fit_class(units), units, block, word);
    }
    *block = fi_load_relaxed64(&h->shared->lists[class]);
    *word = fi_heap_load_block(h, *block, FI_BLOCK_FREE);
    if (fi_unlikely(!*word || fi_block_units(*word) < units)) {
        return fi_heap_damaged(h, *block, "the list of free blocks has none of the right size");
    }
    return 1;
}

uint64_t fi_fit_largest(const fi_heap_t *h) {
    uint64_t largest = 0;
    unsigned class = FI_HEAP_CLASSES;

    while (class > 0 && !is_filled(h->shared, class - 1)) {
        class --;
    }
    if (class == 0) {
        return 0;
    }
    uint64_t at = fi_load_relaxed64(&h->shared->lists[class - 1]);
    for (unsigned i = 0; i < FI_FIT_LOOKS; i++) {
        uint64_t word = fi_heap_load_block(h, at, FI_BLOCK_FREE);
        if (!word) {
            break;
        }
        largest = fi_max(largest, fi_block_units(word));
        at = fi_load_relaxed64(fi_heap_next_link(h, at));
    }
    return largest;
}

/* ---- splitting and joining ---- */

/* The word of the block behind, which may be the end. 0: damaged. */
static uint64_t load_next(const fi_heap_t *h, uint64_t next) {
    uint64_t word = fi_load_relaxed64(fi_heap_word(h, next));

    return fi_likely(fi_block_is_sound(next, word)) ? word : 0;
}

/* The block there says from now on whether the one before it is free. */
static int set_prev_free(fi_heap_step_t *s, uint64_t next, uint64_t flag) {
    uint64_t word = load_next(s->h, next);

    if (fi_unlikely(!word)) {
        return fi_heap_damaged(s->h, next, "no block begins where the one before it ends");
    }
    fi_heap_set(s, fi_heap_word(s->h, next), (word & ~FI_BLOCK_PREV_FREE) | flag);
    return 0;
}

/*
 * [block, + all) is in no list, and the block behind says PREV_FREE: makes it a USED block of `*units`, and a FREE one
 * of what is left, if that can be one.
 */
static int split(fi_heap_step_t *s, uint64_t block, uint64_t flags, uint64_t all, uint64_t *units) {
    uint64_t left = all - *units < FI_MIN_UNITS ? 0 : all - *units;

    *units = all - left;
    fi_heap_set(s, fi_heap_word(s->h, block), fi_block_word(block, *units, FI_BLOCK_USED) | flags);
    uint64_t behind = block + *units * FI_UNIT;
    return left ? add_to_list(s, behind, left) : set_prev_free(s, behind, 0);
}

/*
 * The same for a FREE block whose rest belongs into the same list: it takes the block's place there.  Most blocks come
 * from one that is much larger, so this is the usual case.
 */
static int cut_off(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t units) {
    const fi_heap_t *h = s->h;
    uint64_t all = fi_block_units(word);
    uint64_t rest = block + units * FI_UNIT;
    ways_t w = {0};

    int r = find_ways(h, block, all, &w);
    if (r < 0) {
        return r;
    }
    /* Inside a free block these words mean nothing, so they need no note. */
    fi_store_relaxed64(fi_heap_next_link(h, rest), w.next);
    fi_store_relaxed64(fi_heap_previous_link(h, rest), w.previous);
    uint64_t *first = fi_heap_word(h, block), *second = fi_heap_word(h, rest);
    uint64_t *last = fi_heap_word(h, block + all * FI_UNIT - 8);
    const fi_heap_change_t c[] = {
        {first, word, fi_block_word(block, units, FI_BLOCK_USED)},
        {second, fi_load_relaxed64(second), fi_block_word(rest, all - units, FI_BLOCK_FREE)},
        {last, fi_load_relaxed64(last), all - units},
        {w.forward, block, rest},
    };
    fi_heap_change(s, c, 4);
    if (w.backward) {
        fi_heap_set(s, w.backward, rest);
    }
    return 0;
}

int fi_fit_take(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t units) {
    uint64_t all = fi_block_units(word);
    int r;

    if (all - units >= FI_MIN_UNITS && fi_fit_class(all - units) == fi_fit_class(all)) {
        r = cut_off(s, block, word, units);
    } else {
        r = remove_from_list(s, block, all);
        r = r < 0 ? r : split(s, block, 0, all, &units);
    }
    fi_fit_count(s, 1, 0 - units);
    return r;
}

/* The FREE block before this one, which says that there is one, is joined with it: `*start` becomes where it begins. */
static int take_previous(fi_heap_step_t *s, uint64_t block, uint64_t *start) {
    const fi_heap_t *h = s->h;
    uint64_t most = (block - h->first) / FI_UNIT;
    uint64_t units = most > 0 ? fi_load_relaxed64(fi_heap_word(h, block - 8)) : 0;
    uint64_t word = units > 0 && units <= most ? fi_heap_load_block(h, block - units * FI_UNIT, FI_BLOCK_FREE) : 0;

    if (fi_unlikely(!word || fi_block_units(word) != units)) {
        return fi_heap_damaged(h, block, "the block before this one should be free");
    }
    *start = block - units * FI_UNIT;
    int r = remove_from_list(s, *start, units);
    fi_heap_set(s, fi_heap_word(h, block), 0);
    return r;
}

/* The block at `next` is joined with what is before it, if it is FREE: `*units` becomes its size, else 0. */
static int take_next(fi_heap_step_t *s, uint64_t next, uint64_t *units) {
    uint64_t word = fi_heap_load_block(s->h, next, FI_BLOCK_FREE);

    *units = fi_block_units(word);
    if (!word) {
        return 0;
    }
    int r = remove_from_list(s, next, *units);
    fi_heap_set(s, fi_heap_word(s->h, next), 0);
    return r;
}

int fi_fit_give(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t *units) {
    uint64_t start = block;
    uint64_t end = block + fi_block_units(word) * FI_UNIT;
    uint64_t more;
    int r = take_next(s, end, &more);

    if (r == 0 && !more) {
        r = set_prev_free(s, end, FI_BLOCK_PREV_FREE);
    }
    if (r == 0 && word & FI_BLOCK_PREV_FREE) {
        r = take_previous(s, block, &start);
    }
    *units = (end - start) / FI_UNIT + more;
    return r < 0 ? r : add_to_list(s, start, *units);
}

int fi_fit_resize(fi_heap_step_t *s, uint64_t block, uint64_t word, uint64_t units) {
    const fi_heap_t *h = s->h;
    uint64_t have = fi_block_units(word);
    uint64_t end = block + have * FI_UNIT;
    uint64_t more = fi_block_units(fi_heap_load_block(h, end, FI_BLOCK_FREE));

    if (have + more < units) {
        return 0;
    }
    if (units <= have && have - units < FI_MIN_UNITS) {
        return 1;
    }
    int r = take_next(s, end, &more);
    if (have + more < units) { /* it was looked at twice */
        return fi_heap_damaged(h, end, "a block has changed while nobody may change it");
    }
    if (r == 0 && !more) {
        r = set_prev_free(s, end, FI_BLOCK_PREV_FREE);
    }
    if (r == 0) {
        r = split(s, block, word & FI_BLOCK_PREV_FREE, have + more, &units);
    }
    fi_fit_count(s, 0, have - units);
    return r < 0 ? r : 1;
}

/* SPDX-License-Identifier: MIT */
#include "memory/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/error.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/memfd.h"

#define MAX_SMALL (256u * 1024u)
#define SEGMENT_BYTES (256u * 1024u)
#define MAX_SEGMENT_BYTES (4u * 1024u * 1024u)

/* Of a pool that has had no small block yet, as an idle sender's. Never written. */
static fi_pool_class_t no_classes[FI_POOL_CLASSES];

void fi_pool_init(fi_pool_t *p, uint64_t quota, const fi_pool_events_t *events) {
    *p = (fi_pool_t){.classes = no_classes, .events = *events, .quota = quota, .next_id = 1};
    fi_list_init(&p->segments);
    fi_rotation_init(&p->rotation, quota);
}

static uint64_t *bytes_of_class(fi_pool_t *p, int cls) {
    return cls < 0 ? &p->large_bytes : &p->classes[cls].bytes;
}

static void segment_free(fi_pool_t *p, fi_segment_t *s) {
    fi_list_remove(&s->link);
    p->idle_bytes -= s->used == 0 ? s->memory->bytes : 0;
    fi_store_relaxed64(&p->charged, p->charged - s->memory->bytes);
    *bytes_of_class(p, s->cls) -= s->memory->bytes;
    p->events.removed(p->events.owner, s);
    fi_shared_unref(s->memory);
    free(s->blocks);
    free(s);
}

void fi_pool_done(fi_pool_t *p) {
    while (!fi_list_empty(&p->segments)) {
        segment_free(p, fi_container(p->segments.next, fi_segment_t, link));
    }
    if (p->classes != no_classes) {
        free(p->classes);
        p->classes = no_classes;
    }
}

/* Class of a size: 64, 128, 192, 256, 320, 384, 448, 512, 640, ... ; `*bytes` becomes the class's size. */
static int class_of(uint64_t size, uint64_t *bytes) {
    if (size <= 4 * FI_BLOCK_ALIGN) {
        int cls = size > 0 ? (int)((size - 1) / FI_BLOCK_ALIGN) : 0;
        *bytes = (uint64_t)(cls + 1) * FI_BLOCK_ALIGN;
        return cls;
    }
    unsigned log2 = 63 - (unsigned)__builtin_clzll(size - 1); /* 1 << log2 < size <= 2 << log2 */
    unsigned step = log2 - 2;
    uint64_t steps = (size - 1) >> step; /* 4 to 7 */
    *bytes = (steps + 1) << step;
    return (int)(4 * (log2 - 8) + steps);
}

static void class_forget(fi_pool_t *p, fi_segment_t *s) {
    fi_block_t **at = s->cls < 0 ? &p->free_large : &p->classes[s->cls].free;

    while (*at) {
        if ((*at)->segment == s) {
            *at = (*at)->next_free;
        } else {
            at = &(*at)->next_free;
        }
    }
}

/* Gives idle segments back until `bytes` more fit under the quota. */
static bool make_room(fi_pool_t *p, uint64_t bytes) {
    struct fi_list *n = p->segments.next;

    if (p->charged - p->idle_bytes + bytes > p->quota && !p->overdraft) {
        return false; /* not even then: who waits for room comes here again and again */
    }
    while (p->charged + bytes > p->quota && n != &p->segments) {
        fi_segment_t *s = fi_container(n, fi_segment_t, link);
        n = n->next;
        if (s->used == 0) {
            class_forget(p, s);
            segment_free(p, s);
        }
    }
    return p->charged + bytes <= p->quota;
}

bool fi_pool_charge(fi_pool_t *p, uint64_t bytes) {
    if (!make_room(p, bytes)) {
        return false;
    }
    fi_store_relaxed64(&p->charged, p->charged + bytes);
    return true;
}

void fi_pool_discharge(fi_pool_t *p, uint64_t bytes) {
    fi_store_relaxed64(&p->charged, p->charged - bytes);
}

static int segment_new(fi_pool_t *p, int cls, uint64_t block_bytes, uint64_t bytes, fi_segment_t **out) {
    bytes = fi_align_up(bytes, fi_page_size());
    if (!make_room(p, bytes) && !p->overdraft) {
        return fi_fail_static(-EDQUOT, "the quota has no room for another block: release messages or raise `quota`");
    }
    fi_segment_t *s = calloc(1, sizeof *s);
    uint32_t count = cls < 0 ? 1 : (uint32_t)(bytes / block_bytes);
    fi_block_t *blocks = calloc(count, sizeof *blocks);
    if (!s || !blocks) {
        free(s);
        free(blocks);
        return fi_fail(-ENOMEM, "no memory to describe a segment of %" PRIu64 " bytes", bytes);
    }
    int r = fi_shared_new("ferry-pool", bytes, &s->memory);
    if (r < 0) {
        free(s);
        free(blocks);
        return r;
    }
    s->blocks = blocks;
    s->block_bytes = cls < 0 ? bytes : block_bytes;
    s->id = p->next_id++;
    s->count = count;
    s->cls = cls;
    fi_list_add_tail(&p->segments, &s->link);
    fi_store_relaxed64(&p->charged, p->charged + bytes);
    p->idle_bytes += bytes;
    *bytes_of_class(p, cls) += bytes;
    *out = s;
    return 0;
}

static fi_block_t *block_use(fi_pool_t *p, fi_block_t *b, uint64_t size) {
    p->idle_bytes -= b->segment->used == 0 ? b->segment->memory->bytes : 0;
    b->segment->used++;
    b->refs = 1;
    b->lent = 0;
    b->size = size;
    b->next_free = NULL;
    p->blocks++;
    p->bytes += b->segment->block_bytes;
    return b;
}

/* This block will probably be taken next: its last reader's core gives its first line up meanwhile. */
static void own_soon(const fi_block_t *b) {
    if (b) {
        fi_prefetch_to_write(fi_block_data(b));
    }
}

/*
 * Bytes of a class's next segment.  Under a small quota the first one is small, so that a few messages of many sizes
 * cannot use all of it up, and the next ones grow with the class, so that there are not many.
 */
static uint64_t next_segment(const fi_pool_t *p, int cls, uint64_t block_bytes) {
    uint64_t most = fi_min(fi_min(fi_max(SEGMENT_BYTES, p->quota / 256), MAX_SEGMENT_BYTES), p->quota / 8);
    uint64_t grown = fi_max(fi_max(p->classes[cls].bytes, p->quota / 64), fi_page_size());
    uint64_t count = fi_min(most, grown) / block_bytes;

    return fi_align_up(fi_max(count, (uint64_t)1) * block_bytes, fi_page_size());
}

static int own_classes(fi_pool_t *p) {
    if (p->classes == no_classes) {
        fi_pool_class_t *own = calloc(FI_POOL_CLASSES, sizeof *own);
        if (!own) {
            return fi_fail(-ENOMEM, "no memory to describe a sender's pool");
        }
        p->classes = own;
    }
    return 0;
}

static int small_refill(fi_pool_t *p, int cls, uint64_t block_bytes, uint64_t bytes) {
    fi_segment_t *s = NULL;
    int r = own_classes(p);

    r = r == 0 ? segment_new(p, cls, block_bytes, bytes, &s) : r;
    if (r < 0) {
        return r;
    }
    for (uint32_t i = s->count; i-- > 0;) {
        s->blocks[i] = (fi_block_t){.segment = s, .offset = i * block_bytes, .next_free = p->classes[cls].free};
        p->classes[cls].free = &s->blocks[i];
    }
    return 0;
}

/* The smallest size from this one on of which a block is free; FI_POOL_CLASSES: none is. */
static int free_class(const fi_pool_t *p, int cls) {
    while (cls < FI_POOL_CLASSES && !p->classes[cls].free) {
        cls++;
    }
    return cls;
}

bool fi_pool_has_room(const fi_pool_t *p, uint64_t size) {
    uint64_t bytes = size;

    if (size <= MAX_SMALL && free_class(p, class_of(size, &bytes)) < FI_POOL_CLASSES) {
        return true;
    }
    return p->charged - p->idle_bytes + fi_align_up(bytes, fi_page_size()) <= p->quota;
}

static bool suits(const fi_block_t *b, uint64_t size) {
    return b->segment->block_bytes >= size && b->segment->block_bytes / 2 <= size;
}

/* The place of a free block that suits: of those that take turns, the one that was released first. One with NULL in it:
 * there is none. */
static fi_block_t **find_large(fi_pool_t *p, uint64_t size) {
    uint64_t reach = fi_rotation_reach(&p->rotation, size);
    uint64_t passed = 0;
    fi_block_t **found = NULL;
    fi_block_t **at = &p->free_large;

    for (; *at && (!found || passed <= reach); at = &(*at)->next_free) {
        if (suits(*at, size)) {
            found = at;
            passed += (*at)->segment->block_bytes;
        }
    }
    return found ? found : at;
}

/* Until all that are to take turns are there, each is a new one. */
static bool is_to_grow(const fi_pool_t *p, uint64_t size) {
    return p->large_bytes + size <= fi_rotation_reach(&p->rotation, size) &&
           p->charged + fi_align_up(size, fi_page_size()) <= p->quota;
}

/* Gives back what was taken to see whether more memory is faster. */
static void shrink(fi_pool_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->segments) {
        fi_segment_t *s = fi_container(at, fi_segment_t, link);
        if (s->cls < 0 && s->used == 0) {
            class_forget(p, s);
            segment_free(p, s);
        }
    }
}

static fi_block_t *take_large(fi_pool_t *p, uint64_t size) {
    fi_block_t **at = find_large(p, size);
    fi_block_t *b = *at;

    if (!b) {
        return NULL;
    }
    *at = b->next_free;
    own_soon(p->free_large);
    block_use(p, b, size);
    if (fi_rotation_asks(&p->rotation, size) && fi_rotation_tell(&p->rotation, fi_now_ns())) {
        shrink(p);
    }
    return b;
}

static fi_block_t *take_small(fi_pool_t *p, int cls, uint64_t size) {
    fi_pool_class_t *c = &p->classes[cls];
    fi_block_t *b = c->free;

    if (fi_unlikely(!b)) {
        return NULL;
    }
    c->free = b->next_free;
    own_soon(b->next_free);
    return block_use(p, b, size);
}

fi_block_t *fi_pool_take(fi_pool_t *p, uint64_t size) {
    uint64_t bytes;

    if (size > MAX_SMALL) {
        return is_to_grow(p, size) ? NULL : take_large(p, size);
    }
    return take_small(p, class_of(size, &bytes), size);
}

static int large_new(fi_pool_t *p, uint64_t size) {
    fi_segment_t *s = NULL;
    int r = segment_new(p, -1, size, size, &s);

    if (r == 0) {
        s->blocks[0] = (fi_block_t){.segment = s, .next_free = p->free_large};
        p->free_large = &s->blocks[0];
    }
    return r;
}

/* A new one, or, if the system has no more, one that takes its turn early. */
static int alloc_large(fi_pool_t *p, uint64_t size, fi_block_t **out) {
    int r = large_new(p, size);

    if (r == 0) {
        *out = p->free_large; /* the newest stands first */
        p->free_large = (*out)->next_free;
        block_use(p, *out, size);
    } else if ((*out = take_large(p, size)) != NULL) {
        r = 0;
    }
    return r;
}

/* A new segment; where the quota has no room for one, what lies free in larger sizes; or what is left of it. */
static int alloc_small(fi_pool_t *p, uint64_t size, fi_block_t **out) {
    uint64_t block_bytes;
    int cls = class_of(size, &block_bytes);
    uint64_t bytes = next_segment(p, cls, block_bytes);
    int r = 0;

    if (make_room(p, bytes)) {
        r = small_refill(p, cls, block_bytes, bytes);
    } else if (free_class(p, cls) < FI_POOL_CLASSES) {
        cls = free_class(p, cls);
    } else {
        uint64_t left = p->quota - fi_min(p->quota, p->charged);
        r = small_refill(p, cls, block_bytes, fi_max(block_bytes, left / fi_page_size() * fi_page_size()));
    }
    if (r == 0) {
        *out = take_small(p, cls, size);
    }
    return r;
}

static int alloc(fi_pool_t *p, uint64_t size, fi_block_t **out) {
    *out = fi_pool_take(p, size);
    if (*out) {
        return 0;
    }
    return size > MAX_SMALL ? alloc_large(p, size, out) : alloc_small(p, size, out);
}

int fi_pool_alloc(fi_pool_t *p, uint64_t size, fi_block_t **out) {
    int r = alloc(p, size, out);

    while (r == -EDQUOT && p->events.yield && p->events.yield(p->events.owner)) {
        r = alloc(p, size, out);
    }
    return r;
}

int fi_pool_alloc_alone(fi_pool_t *p, uint64_t size, fi_block_t **out) {
    int r = large_new(p, size);

    if (r == 0) {
        fi_block_t *b = p->free_large; /* the newest stands first */
        p->free_large = b->next_free;
        b->segment->alone = true;
        *out = block_use(p, b, size);
    }
    return r;
}

void fi_pool_unref(fi_pool_t *p, fi_block_t *b) {
    fi_assert(b->refs > 0);
    if (--b->refs > 0) {
        return;
    }
    fi_segment_t *s = b->segment;
    s->used--;
    p->idle_bytes += s->used == 0 ? s->memory->bytes : 0;
    p->blocks--;
    p->bytes -= s->block_bytes;
    if (s->used == 0 && (s->alone || p->charged > p->quota)) {
        class_forget(p, s); /* an overdraft is paid back as soon as it can be */
        segment_free(p, s);
        return;
    }
    fi_block_t **chain = s->cls >= 0 ? &p->classes[s->cls].free : &p->free_large;
    b->next_free = *chain;
    *chain = b;
}

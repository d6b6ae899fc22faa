/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a shared region; addresses in it. See region.h.
 */
#include "region/region.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "platform/cancel.h"
#include "platform/memfd.h"

#define PATIENCE_NS INT64_C(5000000000)

/* ---- what stands where ---- */

static size_t heap_at(void) {
    return sizeof(fi_object_head_t);
}

static size_t words_at(void) {
    return heap_at() + fi_align_up(fi_heap_head_bytes(), 64);
}

static size_t first_block(void) {
    return words_at() + 64;
}

/* The smallest that has room for a root of that size. */
static uint64_t least_bytes(uint64_t type_size) {
    return fi_align_up(first_block() + type_size + 4096, fi_page_size());
}

static void describe(const fi_object_t *o, fi_heap_t *heap, fi_region_words_t **words) {
    char *base = o->memory->map;

    *heap = (fi_heap_t){.base = base,
                        .shared = (fi_heap_memory_t *)(void *)(base + heap_at()),
                        .first = first_block(),
                        .bytes = o->spec.size,
                        .name = o->spec.name};
    *words = (fi_region_words_t *)(void *)(base + words_at());
}

/* ---- as an object ---- */

/* Of nonsense that a holder tells us: more than anybody has. */
static size_t region_bytes(const fi_object_spec_t *spec) {
    if (spec->size < least_bytes(0) || spec->size > FERRY_MAX_REGION || spec->limit > FERRY_MAX_REGION) {
        return SIZE_MAX / 2;
    }
    return spec->size - sizeof(fi_object_head_t);
}

static size_t region_reach(const fi_object_spec_t *spec) {
    return spec->limit;
}

static void region_init(const fi_object_t *o) {
    fi_heap_t heap;
    fi_region_words_t *words;

    describe(o, &heap, &words);
    if (fi_heap_init(&heap) == 0 && o->spec.type_size != 0 &&
        fi_heap_alloc(&heap, 0, 0, 0, o->spec.type_size, &words->root) == 0) {
        fi_heap_hand_done(&heap, 0);
    }
}

static void region_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_heap_t heap;
    fi_region_words_t *words;

    describe(o, &heap, &words);
    fi_mutex_bury(&heap.shared->lock, is_dead, arg);
    for (uint32_t i = 0; i < FI_HEAP_HANDS; i++) {
        uint64_t owner = fi_heap_hand_owner(&heap, i);
        if (owner != 0 && !(owner & FI_DIED) && is_dead(owner & FI_OWNER, arg) &&
            fi_cas64(&heap.shared->hands[i].owner, &owner, owner | FI_DIED)) {
            fi_store_release32(&words->sweep, 1);
        }
    }
}

static void region_wake(const fi_object_t *o) {
    fi_wake_all(fi_object_of(o));
}

static void region_dropped(fi_handle_t *h) {
    ferry_region_t *r = fi_container(fi_container(h, fi_lock_t, handle), ferry_region_t, base);
    uint64_t me = h->me;

    if (r->seen != r->heap.base && r->seen != NULL) {
        fi_memfd_unmap(r->seen, r->base.handle.object->memory->bytes);
    }
    if (r->hand < FI_HEAP_HANDS) {
        (void)fi_cas64(&r->heap.shared->hands[r->hand].owner, &me, 0);
    }
}

const fi_object_ops_t fi_region_ops = {.word = "region",
                                       .bytes = region_bytes,
                                       .reach = region_reach,
                                       .init = region_init,
                                       .bury = region_bury,
                                       .wake = region_wake,
                                       .dropped = region_dropped};

/* ---- opening ---- */

static int check_options(const char *name, uint64_t bytes, const ferry_region_options_t *o) {
    if (bytes > FERRY_MAX_REGION || o->limit > FERRY_MAX_REGION) {
        return fi_fail(-EINVAL, "the region \"%s\": the largest has %" PRIu64 " bytes", name, FERRY_MAX_REGION);
    }
    if (o->limit != 0 && o->limit < bytes) {
        return fi_fail(-EINVAL, "the region \"%s\" cannot grow from %" PRIu64 " up to %" PRIu64 " bytes: raise `limit`",
                       name, bytes, o->limit);
    }
    if (o->read_only > 1 || o->prefault > 1 || o->huge_pages > 1) {
        return fi_fail(-EINVAL, "the region \"%s\": `read_only`, `prefault` and `huge_pages` are 0 or 1", name);
    }
    if (bytes != 0 && (o->type_size > bytes || bytes < least_bytes(o->type_size))) {
        return fi_fail(-EINVAL,
                       "the region \"%s\" needs at least %" PRIu64 " bytes for a root object of %" PRIu64
                       " bytes and the allocator's notes, not %" PRIu64,
                       name, o->type_size > FERRY_MAX_REGION ? FERRY_MAX_REGION : least_bytes(o->type_size),
                       o->type_size, bytes);
    }
    return 0;
}

static int take_hand(ferry_region_t *r) {
    if (fi_heap_hand_take(&r->heap, r->base.handle.me, &r->hand) < 0) {
        return fi_fail(-EUSERS, "the region \"%s\" has %u open handles already, more than that cannot be",
                       fi_lock_name(&r->base), FI_HEAP_HANDS);
    }
    return 0;
}

static int map_for_reading(ferry_region_t *r) {
    const fi_shared_t *memory = r->base.handle.object->memory;
    void *map;

    int rc = fi_memfd_map_reach(memory->fd, memory->bytes, false, &map);
    if (rc == 0) {
        r->seen = map;
    }
    return rc;
}

static int furnish(ferry_region_t *r, const ferry_region_options_t *o) {
    fi_object_t *object = r->base.handle.object;

    describe(object, &r->heap, &r->words);
    r->heap.bytes = fi_min(fi_memfd_bytes(object->memory->fd), object->memory->bytes);
    r->root = fi_load_relaxed64(&r->words->root);
    r->seen = r->heap.base;
    r->mapped = object->memory->bytes;
    fi_store_relaxed64(&r->seen_bytes, r->heap.bytes);
    r->patience = o->patience ? o->patience : PATIENCE_NS;
    r->read_only = o->read_only != 0;
    r->huge_pages = o->huge_pages != 0;
    r->hand = FI_HEAP_HANDS;
    int rc = r->read_only ? map_for_reading(r) : take_hand(r);
    if (rc == 0 && r->root != 0 && !fi_region_span(r, r->root, object->spec.type_size)) {
        rc = fi_fail(-EPROTO, "the region \"%s\" is damaged: its root object is not in it", fi_lock_name(&r->base));
    }
    if (rc == 0 && o->huge_pages) {
        fi_memfd_wish_huge((void *)(uintptr_t)r->seen, object->memory->bytes);
    }
    if (rc == 0 && o->prefault) {
        /* The file may be longer, with holes, where somebody has grown it in vain: these would be filled. */
        uint64_t end = fi_min(fi_heap_end(&r->heap), r->heap.bytes);
        fi_memfd_populate((void *)(uintptr_t)r->seen, end, !r->read_only);
    }
    return rc;
}

int fi_region_open(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                   bool must_exist, ferry_region_t **region) {
    static const ferry_region_options_t none;
    const ferry_region_options_t *o = options ? options : &none;
    ferry_sync_options_t sync = {.wait = o->wait, .deadlock_after = -1};
    fi_lock_t *l;

    int r = fi_name_check("region", name, 100);
    r = r == 0 ? check_options(name, bytes, o) : r;
    if (r < 0) {
        return r;
    }
    bytes = fi_align_up(bytes, fi_page_size());
    fi_opening_t opening = {.node = node,
                            .name = name,
                            .kind = 'r',
                            .size = bytes,
                            .limit = fi_align_up(o->limit, fi_page_size()),
                            .type_size = o->type_size,
                            .type = o->type_name,
                            .must_exist = must_exist || bytes == 0,
                            .options = &sync,
                            .ops = &fi_region_ops,
                            .bytes = sizeof(ferry_region_t)};
    r = fi_lock_open(&opening, &l);
    if (r < 0) {
        return r;
    }
    ferry_region_t *opened = fi_container(l, ferry_region_t, base);
    r = furnish(opened, o);
    if (r < 0) {
        fi_lock_drop(l);
        return r;
    }
    *region = opened;
    return 0;
}

/* ---- closing ---- */

/* Other handles of this node keep it open, too. */
static bool is_last(const fi_handle_t *h) {
    return h->object->handles.next == h->object->handles.prev;
}

int fi_region_close(ferry_region_t *r) {
    int rc = r ? fi_lock_check(&r->base, FI_REGION_MAGIC) : 0;
    if (!r || rc < 0) {
        return rc;
    }
    fi_node_t *n = r->base.handle.own.node;
    pthread_mutex_lock(&n->lock);
    bool needed = is_last(&r->base.handle) && fi_object_is_inhabited(r->base.handle.object);
    pthread_mutex_unlock(&n->lock);
    if (needed) {
        return fi_fail(-EBUSY, "locks or buffers inside the region \"%s\" are still open: close them first",
                       fi_lock_name(&r->base));
    }
    return fi_lock_close(&r->base, FI_REGION_MAGIC, NULL);
}

int fi_region_check_writable(const ferry_region_t *r) {
    int rc = fi_lock_check(r ? &r->base : NULL, FI_REGION_MAGIC);

    if (rc == 0 && r->read_only) {
        return fi_fail(-EROFS, "this handle has the region \"%s\" open for reading only", fi_lock_name(&r->base));
    }
    return rc;
}

/* ---- addresses ---- */

/* As far as the file reaches by now, and the mapping. */
uint64_t fi_region_reach(const ferry_region_t *r) {
    const fi_shared_t *memory = r->base.handle.object->memory;
    uint64_t bytes = fi_min(fi_memfd_bytes(memory->fd), r->mapped);

    fi_store_relaxed64((uint64_t *)(uintptr_t)&r->seen_bytes, bytes);
    return bytes;
}

static bool lies_within(uint64_t ref, uint64_t bytes, uint64_t end) {
    return ref <= end && bytes <= end - ref;
}

void *fi_region_span(const ferry_region_t *r, uint64_t ref, uint64_t bytes) {
    if (ref == 0 ||
        (!lies_within(ref, bytes, fi_load_relaxed64(&r->seen_bytes)) && !lies_within(ref, bytes, fi_region_reach(r)))) {
        return NULL;
    }
    return (void *)(uintptr_t)(r->seen + ref);
}

uint64_t fi_region_ref(const ferry_region_t *r, const void *address) {
    uintptr_t at = (uintptr_t)address - (uintptr_t)r->seen;

    return at < r->mapped ? at : 0;
}

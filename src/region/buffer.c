/* SPDX-License-Identifier: MIT
 *
 * Opening a buffer inside a region. See buffer.h.
 */
#include "region/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "lock/deadlock.h"

/* ---- as an object ---- */

static void buffer_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_buffer_t b = {.shared = fi_object_of(o)};

    fi_buffer_bury(&b, is_dead, arg);
}

static void buffer_wake(const fi_object_t *o) {
    fi_buffer_t b = {.shared = fi_object_of(o)};

    fi_buffer_wake(&b);
}

const fi_object_ops_t fi_buffer_ops = {.word = "buffer", .bury = buffer_bury, .wake = buffer_wake};

/* ---- its numbers ---- */

/* Where there may be none yet; 0: no opinion. */
typedef struct numbers {
    uint64_t slots;
    uint64_t item_bytes;
} numbers_t;

static int check_place(const ferry_region_t *r, const ferry_ref_t *place) {
    if (!place || (uintptr_t)place % sizeof *place != 0) {
        return fi_fail(-EINVAL, "a buffer in the region \"%s\" needs a place for its reference, aligned to %zu bytes",
                       fi_lock_name(&r->base), sizeof *place);
    }
    return 0;
}

static int check_numbers(const ferry_region_t *r, const numbers_t *n) {
    if (fi_buffer_bytes(n->slots ? n->slots : 1, n->item_bytes ? n->item_bytes : 1) == 0) {
        return fi_fail(-EINVAL,
                       "a buffer of %" PRIu64 " slots for items of %" PRIu64
                       " bytes is larger than any region (%" PRIu64 " bytes), so also than \"%s\"",
                       n->slots, n->item_bytes, FERRY_MAX_REGION, fi_lock_name(&r->base));
    }
    return 0;
}

static int agree(const ferry_region_t *r, uint64_t ref, const fi_buffer_t *theirs, const numbers_t *mine) {
    bool agreed = (mine->slots == 0 || mine->slots == theirs->slots) &&
                  (mine->item_bytes == 0 || mine->item_bytes == theirs->item_bytes);

    if (agreed) {
        return 0;
    }
    return fi_fail(-EPROTOTYPE,
                   "the buffer at 0x%" PRIx64 " of the region \"%s\" has %" PRIu64 " slots for items of up to %" PRIu64
                   " bytes; asked for here are %" PRIu64 " slots and %" PRIu64 " bytes (0: no opinion): agree on one",
                   ref, fi_lock_name(&r->base), theirs->slots, theirs->item_bytes, mine->slots, mine->item_bytes);
}

/* ---- making it, or finding it ---- */

static uint64_t begin_of(uint64_t ref) {
    return fi_align_up(ref, FI_BUFFER_ALIGN);
}

/* Blocks are aligned to 16: what may lie before the first line. */
#define BEFORE_FIRST_LINE (FI_BUFFER_ALIGN - 16)

static void fill(void *block, void *arg) {
    const numbers_t *n = arg;
    void *memory = (char *)block + (begin_of((uintptr_t)block) - (uintptr_t)block);

    memset(memory, 0, sizeof(fi_buffer_memory_t)); /* slots are written before they are read */
    fi_buffer_init(memory, n->slots, n->item_bytes);
}

static int make(ferry_region_t *r, ferry_ref_t *place, numbers_t *n, const void *where) {
    if (n->slots == 0 || n->item_bytes == 0) {
        return fi_fail(-EINVAL,
                       "there is no buffer yet at that place for the region \"%s\", so the number of slots and the "
                       "bytes of an item must be said, not %" PRIu64 " and %" PRIu64,
                       fi_lock_name(&r->base), n->slots, n->item_bytes);
    }
    return fi_region_make_once(r, fi_buffer_bytes(n->slots, n->item_bytes) + BEFORE_FIRST_LINE, place, fill, n, where);
}

/* How many bytes of the block there are from the first line on. */
static int measure(ferry_region_t *r, uint64_t ref, uint64_t *bytes, const void *where) {
    int rc = fi_region_begin(r, where);
    if (rc < 0) {
        return rc;
    }
    uint64_t whole = fi_heap_block_size(&r->heap, ref);
    *bytes = whole > BEFORE_FIRST_LINE && fi_region_span(r, ref, whole) ? whole - (begin_of(ref) - ref) : 0;
    return fi_region_end(r, 0);
}

static int find(ferry_region_t *r, uint64_t ref, const numbers_t *mine, fi_buffer_t *b, const void *where) {
    uint64_t bytes = 0;

    int rc = measure(r, ref, &bytes, where);
    if (rc < 0) {
        return rc;
    }
    if (bytes == 0 || fi_buffer_find(b, r->heap.base + begin_of(ref), bytes) < 0) {
        return fi_fail(-EPROTOTYPE, "at 0x%" PRIx64 " of the region \"%s\" there is no buffer", ref,
                       fi_lock_name(&r->base));
    }
    return agree(r, ref, b, mine);
}

/* ---- the handle ---- */

static int open_at(ferry_region_t *r, uint64_t ref, const fi_buffer_t *b, const ferry_sync_options_t *options,
                   ferry_buffer_t **out) {
    fi_opening_t o = {.node = r->base.handle.own.node,
                      .kind = 'q',
                      .inside = r->base.handle.object,
                      .at = begin_of(ref),
                      .place = ref,
                      .options = options,
                      .ops = &fi_buffer_ops,
                      .bytes = sizeof(ferry_buffer_t)};
    fi_lock_t *l;

    int rc = fi_lock_open(&o, &l);
    if (rc < 0) {
        return rc;
    }
    ferry_buffer_t *opened = fi_container(l, ferry_buffer_t, base);
    opened->buffer = *b;
    opened->user = (fi_buffer_user_t){.me = l->handle.me, .waiter = &l->waiter, .patience = r->patience};
    *out = opened;
    return 0;
}

int fi_region_buffer_open(ferry_region_t *region, ferry_ref_t *place, uint64_t slots, uint64_t item_bytes,
                          const ferry_sync_options_t *options, ferry_buffer_t **buffer, const void *where) {
    numbers_t mine = {slots, item_bytes};
    fi_buffer_t b;

    int rc = fi_region_check_writable(region);
    rc = rc == 0 ? check_place(region, place) : rc;
    rc = rc == 0 ? check_numbers(region, &mine) : rc;
    if (rc == 0 && fi_load_acquire64(place) == 0) {
        rc = make(region, place, &mine, where);
    }
    if (rc < 0) {
        return rc;
    }
    uint64_t ref = fi_load_acquire64(place);
    rc = find(region, ref, &mine, &b, where);
    return rc == 0 ? open_at(region, ref, &b, options, buffer) : rc;
}

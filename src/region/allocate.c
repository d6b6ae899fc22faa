/* SPDX-License-Identifier: MIT
 *
 * Steps of a region's allocator: who takes a step has the heap's lock, and first puts right what the dead have left.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "lock/deadlock.h"
#include "platform/cancel.h"
#include "platform/memfd.h"
#include "region/region.h"
#include "store/heap_quick.h"
#include "store/heap_step.h"

#define GROW_AT_LEAST (UINT64_C(64) << 10)

static inline fi_mutex_t *lock_of(const ferry_region_t *r) {
    return &r->heap.shared->lock;
}
static inline void unlock(ferry_region_t *r) {
    fi_mutex_unlock(lock_of(r), r->base.handle.me);
}

/* ---- what the dead have left ---- */

/* Whose owner has died: what he had in hand goes where it belongs, then the hand is free. */
static int sweep(ferry_region_t *r) {
    fi_store_relaxed32(&r->words->sweep, 0);
    for (uint32_t i = 0; i < FI_HEAP_HANDS; i++) {
        uint64_t owner = fi_heap_hand_owner(&r->heap, i);
        int rc = owner & FI_DIED ? fi_heap_reclaim(&r->heap, i, owner) : 0;
        if (rc < 0) {
            fi_store_relaxed32(&r->words->sweep, 1);
            return rc;
        }
    }
    return 0;
}

/* Somebody has made the heap longer: so is the file, unless he lies, and then the heap says so itself. */
static void catch_up(ferry_region_t *r) {
    r->heap.bytes = fi_region_reach(r);
}

/* ---- beginning and ending ---- */

/* With the lock: is there nothing to be done before a step? */
static inline bool is_prepared(const ferry_region_t *r) {
    return fi_likely(fi_heap_end(&r->heap) <= r->heap.bytes && fi_load_relaxed32(&r->words->sweep) == 0);
}

static int prepare(ferry_region_t *r) {
    if (fi_heap_end(&r->heap) > r->heap.bytes) {
        catch_up(r);
    }
    return fi_load_relaxed32(&r->words->sweep) ? sweep(r) : 0;
}

static int explain(const ferry_region_t *r, int rc) {
    const char *name = fi_lock_name(&r->base);

    switch (rc) {
    case -ETIMEDOUT:
        return fi_fail(rc,
                       "somebody has stopped in the middle of a step in the region \"%s\": see `ferry why %s`; waited "
                       "%.1f s (`patience`)",
                       name, name, (double)r->patience / 1e9);
    case -EDEADLK:
        return fi_fail(-EBUSY, "another thread is inside a call on this handle on \"%s\": open one for each thread",
                       name);
    default:
        return fi_lock_explain(&r->base, rc, r->patience);
    }
}

/*
 * A call is inside its handle from its first instruction to its last, and not only while it has the lock: another
 * thread that uses the same handle by mistake would find a block in its hand, and take it for one that was left over.
 */
static inline int enter(ferry_region_t *r) {
    if (fi_unlikely(!fi_lock_is_mine(&r->base, FI_REGION_MAGIC) || fi_exchange32(&r->base.handle.busy, 1) != 0)) {
        return fi_lock_enter(&r->base, FI_REGION_MAGIC);
    }
    return 0;
}

static inline int leave(ferry_region_t *r, int result) {
    fi_store_release32(&r->base.handle.busy, 0);
    return result;
}

static int lock_closely(ferry_region_t *r, const void *where) {
    fi_lock_t *l = &r->base;
    fi_wait_t w = fi_wait_begin(&l->waiter, r->patience);

    l->what = FERRY_FOR_REGION;
    l->where = where;
    int rc = fi_mutex_lock(lock_of(r), l->handle.me, &w);
    fi_lock_waited(l);
    if (rc == FI_TAKEN_FROM_DEAD) {
        catch_up(r);
        fi_heap_recover(&r->heap);
    }
    return rc > 0 ? 0 : explain(r, rc);
}

__attribute__((noinline)) static int lock_slowly(ferry_region_t *r, const void *where) {
    int rc = lock_closely(r, where);
    if (rc == 0 && !is_prepared(r)) {
        rc = prepare(r);
        if (rc < 0) {
            unlock(r);
        }
    }
    return rc;
}

/* The lock is free, and nothing is to be done first: it is ours. */
static inline bool lock_at_once(ferry_region_t *r) {
    if (fi_unlikely(!fi_mutex_try(lock_of(r), r->base.handle.me))) {
        return false;
    }
    if (!is_prepared(r)) {
        unlock(r);
        return false;
    }
    return true;
}

/* Inside already. After an error the call has ended. */
static inline int lock(ferry_region_t *r, const void *where) {
    if (fi_likely(lock_at_once(r))) {
        return 0;
    }
    int rc = lock_slowly(r, where);
    return rc < 0 ? leave(r, rc) : rc;
}

int fi_region_begin(ferry_region_t *r, const void *where) {
    int rc = enter(r);

    return fi_likely(rc == 0) ? lock(r, where) : rc;
}

int fi_region_end(ferry_region_t *r, int result) {
    unlock(r);
    return leave(r, result);
}

/* ---- growing ---- */

/*
 * Makes room for `bytes` more. Who dies, or finds no memory, in the middle leaves a file that is longer than the heap,
 * perhaps with holes: the next one who grows begins where the heap ends.
 */
static int lengthen(ferry_region_t *r, uint64_t bytes) {
    const fi_object_t *o = r->base.handle.object;
    uint64_t now = fi_memfd_bytes(o->memory->fd);
    uint64_t limit = o->spec.limit < o->memory->bytes ? o->spec.limit : o->memory->bytes;
    uint64_t end = fi_heap_end(&r->heap);
    fi_heap_figures_t f;
    fi_heap_figures(&r->heap, &f);
    if (bytes > limit || end > limit || bytes > limit - end + f.largest_free) {
        return -ENOSPC; /* it would grow for nothing */
    }
    uint64_t want = end + bytes + bytes / 8 + GROW_AT_LEAST;

    want = fi_align_up(want > 2 * end ? want : 2 * end, fi_page_size());
    want = want < limit ? want : limit;
    if (want <= end) {
        return -ENOSPC;
    }
    uint64_t from = end & ~(uint64_t)(fi_page_size() - 1);
    if (r->huge_pages && want > now) {
        fi_memfd_grow_huge(o->memory->fd, r->heap.base, from, want);
    }
    int rc = fi_memfd_grow(o->memory->fd, from, want);
    if (rc < 0) {
        return rc;
    }
    catch_up(r);
    rc = fi_heap_extend(&r->heap, want);
    return rc == 0 && fi_heap_end(&r->heap) <= end ? -ENOSPC : rc; /* what is left is too little for a block */
}

/* Whoever is here has the heap's lock, and must not be cancelled by a system call. */
static int grow(ferry_region_t *r, uint64_t bytes) {
    int cancel = fi_cancel_off();
    int rc = lengthen(r, bytes);

    fi_cancel_restore(cancel);
    return rc;
}

static int full(const ferry_region_t *r, uint64_t bytes) {
    const fi_object_t *o = r->base.handle.object;

    if (o->spec.limit > o->spec.size) {
        return fi_fail(-ENOSPC,
                       "the region \"%s\" (%" PRIu64 " bytes, may grow to %" PRIu64
                       ") has no room for a block of %" PRIu64 " bytes: free some, or create it with a higher `limit`",
                       o->spec.name, r->heap.bytes, o->spec.limit, bytes);
    }
    return fi_fail(-ENOSPC,
                   "the region \"%s\" (%" PRIu64 " bytes) has no room for a block of %" PRIu64
                   " bytes: free some, or create it with more bytes or a `limit` to grow to",
                   o->spec.name, r->heap.bytes, bytes);
}

/* ---- the calls ----
 *
 * Alone, an allocation costs little more than taking the lock and giving it back.  So what usually happens is inlined
 * here, all of it, and what seldom does is one call.
 */

/* Where the reference stands in the region; 0: it is a variable of the program's. */
static inline uint64_t place_of(const ferry_region_t *r, const ferry_ref_t *place) {
    uint64_t at = (uintptr_t)place - (uintptr_t)r->seen;

    if (at >= r->mapped) {
        return 0;
    }
    bool is_known = at + sizeof *place <= fi_load_relaxed64(&r->seen_bytes);
    return fi_likely(is_known) || fi_region_span(r, at, sizeof *place) ? at : 0;
}

__attribute__((noinline)) static int refuse(const ferry_region_t *r) {
    int rc = fi_region_check_writable(r);

    return rc < 0 ? rc
                  : fi_fail(-EINVAL, "the region \"%s\": a reference needs a place to stand, aligned to %zu bytes",
                            fi_lock_name(&r->base), sizeof(ferry_ref_t));
}

static inline int check_call(const ferry_region_t *r, const ferry_ref_t *place) {
    bool is_open =
        r && r->base.handle.magic == FI_REGION_MAGIC && !r->read_only && !fi_node_is_forked(r->base.handle.own.node);

    return fi_likely(is_open && place && (uintptr_t)place % sizeof *place == 0) ? 0 : refuse(r);
}

/*
 * Ends a call after which the program has `ref`: in the region, `at`, or else in its variable, and then no longer in
 * our hand.
 */
static inline int end_with(ferry_region_t *r, int result, uint64_t at, ferry_ref_t *place, uint64_t ref) {
    unlock(r);
    if (result == 0 && at == 0) {
        *place = ref;
        fi_heap_hand_done(&r->heap, r->hand);
    }
    return leave(r, result);
}

/* A block, growing the region if need be. With the lock. */
static int allocate(ferry_region_t *r, uint64_t bytes, uint64_t at, uint64_t *ref) {
    int rc;

    while ((rc = fi_heap_alloc(&r->heap, r->hand, at, 0, bytes, ref)) == -ENOSPC) {
        int grown = grow(r, bytes);
        if (grown < 0) {
            return grown == -ENOSPC ? full(r, bytes) : grown;
        }
    }
    return rc;
}

__attribute__((noinline)) static int alloc_slowly(ferry_region_t *r, uint64_t bytes, uint64_t at, ferry_ref_t *place) {
    uint64_t ref = 0;

    int rc = allocate(r, bytes, at, &ref);
    return end_with(r, rc, at, place, ref);
}

int fi_region_alloc(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, const void *where) {
    uint64_t ref;

    int rc = check_call(r, place);
    rc = rc == 0 ? enter(r) : rc;
    rc = rc == 0 ? lock(r, where) : rc;
    if (rc < 0) {
        return rc;
    }
    uint64_t at = place_of(r, place);
    fi_heap_t h = r->heap; /* in registers, across all barriers */
    if (!fi_heap_alloc_quick(&h, r->hand, at, bytes, &ref)) {
        return alloc_slowly(r, bytes, at, place);
    }
    return end_with(r, 0, at, place, ref);
}

/* Ends a call in which a block was to be freed, with its reference; it is in nobody's hand afterwards, whatever the
 * result. */
static inline int end_without(ferry_region_t *r, int result, uint64_t at, ferry_ref_t *place) {
    unlock(r);
    if (at == 0) {
        fi_heap_hand_done(&r->heap, r->hand);
        *place = result == 0 ? 0 : *place;
    }
    return leave(r, result);
}

__attribute__((noinline)) static int free_slowly(ferry_region_t *r, uint64_t at, uint64_t ref, ferry_ref_t *place) {
    int rc = fi_heap_free(&r->heap, r->hand, at, ref);
    return end_without(r, rc, at, place);
}

int fi_region_free(ferry_region_t *r, ferry_ref_t *place, const void *where) {
    int rc = check_call(r, place);
    if (rc < 0 || *place == 0) {
        return rc;
    }
    rc = enter(r);
    if (rc < 0) {
        return rc;
    }
    uint64_t ref = *place;
    uint64_t at = place_of(r, place);
    uint64_t held = 0;
    if (at == 0) {
        if (fi_unlikely(ref >= r->heap.bytes)) {
            catch_up(r);
        }
        held = fi_heap_hand_hold(&r->heap, r->hand, ref);
    }
    if (!lock_at_once(r)) {
        rc = lock_slowly(r, where);
        if (rc < 0) {
            if (at == 0) {
                fi_heap_hand_done(&r->heap, r->hand);
            }
            return leave(r, rc);
        }
    }
    fi_heap_t h = r->heap;
    if (!fi_heap_free_quick(&h, r->hand, at, ref, held)) {
        return free_slowly(r, at, ref, place);
    }
    return end_without(r, 0, at, place);
}

static int move(ferry_region_t *r, uint64_t at, const fi_heap_move_t *m, uint64_t *ref) {
    memcpy(r->heap.base + m->to, r->heap.base + m->from, m->bytes);
    int rc = fi_heap_moved(&r->heap, r->hand, at, m);
    if (rc == 0) {
        *ref = m->to;
    }
    return rc;
}

static int resize(ferry_region_t *r, uint64_t bytes, uint64_t at, uint64_t *ref) {
    fi_heap_move_t m;
    int rc;

    while ((rc = fi_heap_resize(&r->heap, r->hand, at, bytes, ref, &m)) == -ENOSPC) {
        int grown = grow(r, bytes);
        if (grown < 0) {
            return grown == -ENOSPC ? full(r, bytes) : grown;
        }
    }
    return rc == FI_HEAP_MOVES ? move(r, at, &m, ref) : rc;
}

int fi_region_resize(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, const void *where) {
    int rc = check_call(r, place);
    if (rc == 0 && *place == 0) {
        return fi_region_alloc(r, bytes, place, where);
    }
    rc = rc == 0 ? fi_region_begin(r, where) : rc;
    if (rc < 0) {
        return rc;
    }
    uint64_t at = place_of(r, place);
    uint64_t ref = *place;
    rc = resize(r, bytes, at, &ref);
    return end_with(r, rc, at, place, ref);
}

/* What is in our hand becomes what `at` refers to. */
static void give(const ferry_region_t *r, uint64_t at, uint64_t ref) {
    fi_heap_step_t s = fi_heap_begin(&r->heap);

    fi_heap_set(&s, fi_heap_word(&r->heap, at), ref);
    fi_heap_set(&s, &r->heap.shared->hands[r->hand].block, 0);
    fi_heap_commit(&s);
}

int fi_region_make_once(ferry_region_t *r, uint64_t bytes, ferry_ref_t *place, void (*fill)(void *block, void *arg),
                        void *arg, const void *where) {
    uint64_t ref = 0;

    int rc = check_call(r, place);
    rc = rc == 0 ? fi_region_begin(r, where) : rc;
    if (rc < 0) {
        return rc;
    }
    uint64_t at = place_of(r, place);
    if (at != 0 && (!fi_heap_is_place(&r->heap, at) || fi_heap_is_doubtful(&r->heap, at))) {
        rc = fi_fail(-EINVAL, "no reference can stand at 0x%" PRIx64 " of the region \"%s\": that is the allocator's",
                     at, fi_lock_name(&r->base));
    } else if (fi_load_acquire64(place) == 0) {
        rc = allocate(r, bytes, 0, &ref);
        if (rc == 0) {
            fill(r->heap.base + ref, arg);
        }
        if (rc == 0 && at != 0) {
            give(r, at, ref);
        }
    }
    return ref != 0 ? end_with(r, rc, at, place, ref) : fi_region_end(r, rc);
}

/* SPDX-License-Identifier: MIT
 *
 * Locks inside a region. The first word of such a place says what stands there; the lock itself follows.
 *
 *   +------+--------------------------+
 *   | tag  | word, token or units ... |      tag 0: nothing yet
 *   +------+--------------------------+
 *
 * The tag is written under the heap's lock, after what must stand there from the start.  Who dies in between leaves a
 * word that is as it will be, and no tag: the next one writes it.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "region/region.h"

#define MARK UINT64_C(0x6b6c) /* "lk" */

static uint64_t tag_of(const fi_opening_t *o, uint32_t kind) {
    bool counts = kind == 's';

    return MARK << 48 | (uint64_t)kind << 40 | (uint64_t)(o->flags != 0) << 32 | (counts ? o->count : 0);
}

static const char *kind_of(uint64_t tag) {
    if (tag >> 48 != MARK) {
        return "something else";
    }
    switch (tag >> 40 & 0xff) {
    case 'm':
        return "a mutex";
    case 's':
        return tag >> 32 & 1 ? "a semaphore with owned units" : "a plain semaphore";
    case 'e':
        return tag >> 32 & 1 ? "an auto-reset event" : "an event";
    default:
        return "something else";
    }
}

static int differ(const ferry_region_t *r, ferry_ref_t place, uint64_t theirs, uint64_t mine) {
    if (theirs >> 32 == mine >> 32) {
        return fi_fail(-EPROTOTYPE,
                       "the semaphore at 0x%" PRIx64 " of the region \"%s\" was opened with %u units by the others, "
                       "here with %u: agree on one",
                       place, fi_lock_name(&r->base), (uint32_t)theirs, (uint32_t)mine);
    }
    return fi_fail(-EPROTOTYPE, "at 0x%" PRIx64 " of the region \"%s\" stands %s, not %s", place,
                   fi_lock_name(&r->base), kind_of(theirs), kind_of(mine));
}

static uint64_t bytes_of(const fi_opening_t *o, uint32_t kind) {
    return kind == 's' && o->flags ? FERRY_UNITS_BYTES(o->count) : FERRY_LOCK_BYTES;
}

/* Takes what the others have said for the count, where we have no opinion. */
static void complete(fi_opening_t *o, uint32_t kind, uint64_t theirs) {
    if (kind == 's' && o->count == FERRY_ANY && theirs != 0) {
        o->count = (uint32_t)theirs;
    }
}

/* With the heap's lock. */
static int claim(ferry_region_t *r, ferry_ref_t place, uint32_t kind, fi_opening_t *o) {
    uint64_t *at = fi_region_span(r, place, FERRY_LOCK_BYTES);
    uint64_t theirs = at ? fi_load_acquire64(at) : 0;

    complete(o, kind, theirs);
    if (kind == 's' && o->count == FERRY_ANY) {
        return fi_fail(-ENOENT, "nobody has opened a semaphore at 0x%" PRIx64 " of \"%s\", so its count must be said",
                       place, fi_lock_name(&r->base));
    }
    if (!at || place % sizeof *at != 0 || !fi_region_span(r, place, bytes_of(o, kind))) {
        return fi_fail(-EINVAL,
                       "a lock at 0x%" PRIx64 " of the region \"%s\" needs %" PRIu64 " bytes inside it, aligned to 8",
                       place, fi_lock_name(&r->base), bytes_of(o, kind));
    }
    uint64_t mine = tag_of(o, kind);
    if (theirs != 0) {
        return theirs == mine ? 0 : differ(r, place, theirs, mine);
    }
    if (kind == 's' && !o->flags) {
        uint64_t fresh = 0;
        (void)fi_cas64(at + 1, &fresh, (uint64_t)o->count * FI_SEMAPHORE_UNIT | 1);
    }
    fi_store_release64(at, mine);
    return 0;
}

int fi_region_place(ferry_region_t *r, ferry_ref_t place, uint32_t kind, fi_opening_t *o) {
    int rc = fi_region_check_writable(r);

    rc = rc == 0 && kind == 's' ? fi_semaphore_check_count(fi_lock_name(&r->base), o->count, o->flags != 0) : rc;
    rc = rc == 0 ? fi_region_begin(r, __builtin_return_address(0)) : rc;
    if (rc < 0) {
        return rc;
    }
    rc = fi_region_end(r, claim(r, place, kind, o));
    if (rc == 0) {
        o->node = r->base.handle.own.node;
        o->inside = r->base.handle.object;
        o->at = place + sizeof(uint64_t);
        o->place = place;
    }
    return rc;
}

/* SPDX-License-Identifier: MIT */
#include "memory/rotation.h"

#include "base/bits.h"

#define SMALLEST_SPAN (UINT64_C(32) << 20)
#define KIB UINT64_C(1024)
#define SLOW_NS 100000u /* for a MiB: what is faster waits neither for caches nor for memory */
#define FEW 3u          /* the best of a few strides: the others may have been interrupted */
#define ENOUGH 9u       /* strides that make a pace */

void fi_rotation_init(fi_rotation_t *r, uint64_t quota) {
    uint64_t span = fi_min(quota - quota / 16, FI_ROTATION_WIDE);

    *r = (fi_rotation_t){.near = fi_min(quota / 4, FI_ROTATION_NARROW),
                         .span = span >= SMALLEST_SPAN ? span : 0,
                         .patience = FI_ROTATION_FIRST,
                         .in_vain = FI_ROTATION_FIRST,
                         .best = UINT64_MAX};
}

static void begin(fi_rotation_t *r, bool wide, bool trying) {
    r->bytes = 0;
    r->wide = wide;
    r->trying = trying;
    r->strides = 0;
    r->sum = 0;
    r->best = UINT64_MAX;
}

/* In the first laps blocks are new, or as warm as they were, and what had piled up is read. */
static bool is_settling(const fi_rotation_t *r) {
    return r->bytes <= 2 * r->span;
}

/* Adds a stride to the pace. True: there are enough. */
static bool measure(fi_rotation_t *r, uint64_t ns_per_mib, uint64_t *pace) {
    r->best = fi_min(r->best, ns_per_mib);
    if (++r->strides % FEW == 0) {
        r->sum += r->best;
        r->best = UINT64_MAX;
    }
    if (r->strides < ENOUGH) {
        return false;
    }
    *pace = r->sum / (ENOUGH / FEW);
    r->strides = 0;
    r->sum = 0;
    return true;
}

/* Wide must be worth its memory: half as fast again. Narrow needs less, and may be a little slower. */
static bool is_better(const fi_rotation_t *r, uint64_t pace) {
    return r->wide ? pace * 3 <= r->pace * 2 : pace * 4 <= r->pace * 5;
}

/* True: it is narrow again. */
static bool decide(fi_rotation_t *r, uint64_t pace) {
    bool wide = is_better(r, pace) ? r->wide : !r->wide;
    bool in_vain = r->wide && !wide;

    r->in_vain = in_vain ? fi_min(4 * r->in_vain, FI_ROTATION_LAST) : FI_ROTATION_FIRST;
    r->patience = wide ? FI_ROTATION_REST : r->in_vain;
    r->pace = wide == r->wide ? pace : r->pace;
    begin(r, wide, false);
    return !wide;
}

bool fi_rotation_tell(fi_rotation_t *r, int64_t now) {
    uint64_t bytes = r->in_stride;
    int64_t ns = r->since && now > r->since ? now - r->since : 0;
    uint64_t pace;

    r->since = now;
    r->blocks = 0;
    r->in_stride = 0;
    r->bytes += bytes;
    if (ns == 0 || is_settling(r) || !measure(r, (uint64_t)ns * KIB / (bytes / KIB + 1), &pace)) {
        return false;
    }
    if (r->trying) {
        return decide(r, pace);
    }
    r->pace = pace;
    if (r->bytes >= r->patience && (r->wide || pace >= SLOW_NS)) {
        begin(r, !r->wide, true);
    }
    return false;
}

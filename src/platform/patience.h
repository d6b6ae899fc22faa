/* SPDX-License-Identifier: MIT
 *
 * platform/patience.h - patience with others, which a machine that stands still for a while does not use up: they could
 * not answer either.
 *
 * It is spent in slices.  Of one, no more counts than twice what it should have taken.
 */
#ifndef FI_PLATFORM_PATIENCE_H
#define FI_PLATFORM_PATIENCE_H

#include "platform/clock.h"

#define FI_SLICE_NS INT64_C(100000000)

typedef struct fi_patience {
    int64_t left;
    int64_t since; /* this slice began */
} fi_patience_t;

/** Begins a slice; returns until when it goes. */
static inline int64_t fi_patience_slice(fi_patience_t *p) {
    p->since = fi_now_ns();
    return p->since + (p->left < FI_SLICE_NS ? p->left : FI_SLICE_NS);
}

/** The slice is over, or something came before. False: so is all patience. */
static inline bool fi_patience_goes_on(fi_patience_t *p) {
    int64_t took = fi_now_ns() - p->since;

    p->left -= took < 2 * FI_SLICE_NS ? took : 2 * FI_SLICE_NS;
    return p->left > 0;
}

#endif

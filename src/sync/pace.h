/* SPDX-License-Identifier: MIT
 *
 * sync/pace.h - when to look why a wait takes so long: first after a grace time, then more and more seldom.
 */
#ifndef FI_SYNC_PACE_H
#define FI_SYNC_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/clock.h"

#define FI_GRACE_NS INT64_C(50000000) /* of waiting, unless somebody asks for another one */
#define FI_PACE_LONGEST_NS INT64_C(10000000000)

typedef struct fi_pace {
    int64_t since; /* the wait began; 0: it has not */
    int64_t check; /* when to look next */
    int64_t interval;
} fi_pace_t;

static inline fi_pace_t fi_pace_begin(int64_t grace) {
    return (fi_pace_t){.since = fi_now_ns(), .check = fi_deadline(grace), .interval = grace};
}

/* Is it time? Then the next time is set. */
static inline bool fi_pace_is_due(fi_pace_t *p, int64_t now) {
    if (now < p->check) {
        return false;
    }
    p->interval = p->interval < FI_PACE_LONGEST_NS / 2 ? p->interval * 2 + 1000000 : FI_PACE_LONGEST_NS;
    p->check = now + p->interval;
    return true;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * sample.c - see sample.h. Pure functions of what was seen.
 */
#include "channel/sample.h"

#include "base/bits.h"

#define BELIEVABLE_NS 60000000000ll
#define SPARE 16u /* lines to which `service_ns` belongs */
#define MEMORY 4  /* a new sight counts for a quarter */
#define WAKE_STEP 16
#define NS_PER_S 1000000000.0

uint64_t fi_sample_every(uint64_t every, int64_t took_ns) {
    if (took_ns < FI_SAMPLE_QUICK_NS) {
        return fi_min(2 * every, FI_SAMPLE_MOST);
    }
    return took_ns > FI_SAMPLE_SLOW_NS ? fi_max(every / 4, 1) : every;
}

static uint64_t mix(uint64_t old, uint64_t seen) {
    return old == 0 ? seen : old - old / MEMORY + seen / MEMORY;
}

static void begin_window(fi_pace_seen_t *p, int64_t now, uint32_t serial, uint64_t released, bool behind) {
    p->at_ns = now;
    p->serial = serial;
    p->released = released;
    p->behind = behind;
}

void fi_pace_note(fi_pace_seen_t *p, int64_t now, uint32_t serial, uint64_t sent, uint64_t released) {
    bool behind = released < sent;
    int64_t took = now - p->at_ns;

    if (p->at_ns == 0 || p->serial != serial || released < p->released) {
        begin_window(p, now, serial, released, behind);
        return;
    }
    p->behind &= behind;
    uint64_t lines = released - p->released;
    if (took < FI_PACE_WINDOW_NS || (lines == 0 && p->behind)) {
        return; /* cursors come in batches */
    }
    p->lines_per_s = mix(p->lines_per_s, (uint64_t)((double)lines * NS_PER_S / (double)took));
    if (lines > 0 && p->behind) {
        p->service_ns = mix(p->service_ns, fi_max((uint64_t)took * SPARE / lines, 1));
    }
    begin_window(p, now, serial, released, behind);
}

uint64_t fi_pace_service(const fi_pace_seen_t *p, uint64_t lines) {
    return p->service_ns == 0 ? 0 : fi_max(p->service_ns * lines / SPARE, 1);
}

void fi_latency_note(fi_latency_t *l, int64_t ns, bool slept) {
    if (ns <= 0 || ns > BELIEVABLE_NS) {
        return;
    }
    uint64_t seen = (uint64_t)ns;
    l->least_ns = l->least_ns == 0 ? seen : fi_min(l->least_ns, seen);
    if (!slept) {
        l->mean_ns = mix(l->mean_ns, seen);
        l->count++;
        return;
    }
    l->wakes++;
    if (l->wake_ns == 0) {
        l->wake_ns = seen;
    } else if (seen > l->wake_ns) {
        l->wake_ns += fi_max(l->wake_ns / WAKE_STEP, 1);
    } else {
        l->wake_ns -= 3 * (l->wake_ns / WAKE_STEP); /* one in four is below */
    }
}

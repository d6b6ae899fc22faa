/* SPDX-License-Identifier: MIT */
#include "channel/wait.h"

#include <sched.h>

#include "base/assert.h"
#include "host/chosen.h"
#include "platform/clock.h"
#include "platform/cpu.h"

#define QUICK_ROUNDS 200u /* without a look at the clock: some hundred nanoseconds */
#define YIELD_US 2u       /* from then on, give way */
#define CROWDED_US 4u     /* a yield that took longer let somebody else run */
#define PROBE_EVERY 32u
#define KEEP_OFF_NS 1200u

__thread uint32_t fi_waits;
__thread bool fi_spoke;

uint64_t fi_spin_full(const fi_spinner_t *k) {
    return k->full_ns ? k->full_ns : fi_host_spin();
}

static uint64_t ticks_of(uint64_t ns) {
    return ns * fi_ticks_per_us() / 1000;
}

static uint64_t budget_ns(const fi_spinner_t *k) {
    if (k->policy == FERRY_WAIT_BLOCK) {
        return 0;
    }
    if (k->crowded || (k->in_vain >= FI_VAIN_LIMIT && k->in_vain % PROBE_EVERY != 0)) {
        return FI_SPIN_SHORT_NS;
    }
    return fi_spin_full(k);
}

/* When somebody else ran meanwhile, the core is wanted: one more look, and spinning at length is over for a while. */
static void give_way(fi_spinner_t *k, fi_spin_t *s, uint64_t now) {
    sched_yield();
    k->crowded = fi_ticks() - now > CROWDED_US * fi_ticks_per_us();
    if (k->crowded) {
        s->gave_way = true;
        s->budget = 0;
    }
}

void fi_spin_keep_off(void) {
    uint64_t until = fi_ticks() + KEEP_OFF_NS * fi_ticks_per_us() / 1000;

    while (fi_ticks() < until) {
        fi_cpu_relax();
    }
}

bool fi_spin_more(fi_spinner_t *k, fi_spin_t *s) {
    if (fi_unlikely(k->policy == FERRY_WAIT_BLOCK)) {
        return false;
    }
    if (++s->rounds < QUICK_ROUNDS && fi_spins_at_length(k)) {
        return true;
    }
    fi_cpu_relax();
    if (s->rounds - s->looked < FI_SPIN_TIGHT) {
        return true;
    }
    s->looked = s->rounds;
    uint64_t now = fi_ticks();
    if (s->start == 0) {
        s->start = now;
        s->budget = ticks_of(budget_ns(k));
        return true;
    }
    uint64_t spent = now - s->start;
    if (k->policy == FERRY_WAIT_SPIN) {
        if (spent > ticks_of(fi_spin_full(k))) {
            sched_yield(); /* one whole core, but not somebody else's */
        }
        return true;
    }
    if (spent <= s->budget) {
        if (spent > YIELD_US * fi_ticks_per_us()) {
            give_way(k, s, now);
        }
        return true;
    }
    if (!s->gave_way) {
        s->gave_way = true;
        give_way(k, s, now);
        return true;
    }
    k->in_vain++;
    return false;
}

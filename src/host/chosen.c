/* SPDX-License-Identifier: MIT */
#include "host/chosen.h"

#include "base/atomic.h"

/* Starting points, until a profile is there: a virtual machine's, and in the middle of where the two ways cost the
 * same. */
static uint32_t spin_now = 30000;
static uint32_t inline_now = 2048;

uint64_t fi_host_spin(void) {
    return fi_load_relaxed32(&spin_now);
}

uint32_t fi_host_inline(void) {
    return fi_load_relaxed32(&inline_now);
}

void fi_host_choose(uint64_t spin_ns, uint32_t inline_max) {
    fi_store_relaxed32(&spin_now, (uint32_t)spin_ns);
    fi_store_relaxed32(&inline_now, inline_max);
}

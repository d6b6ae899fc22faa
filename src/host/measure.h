/* SPDX-License-Identifier: MIT
 *
 * host/measure.h - measures what this host's operations cost.
 *
 * Each figure is the best, or for wake-ups the median, of several short tries, so that what else runs disturbs it
 * little.  All together take about five milliseconds of processor time, on two processors for half of it. The half with
 * two takes 50 ms at most however busy the host is: what could not be measured by then keeps the assumed value.
 */
#ifndef FI_HOST_MEASURE_H
#define FI_HOST_MEASURE_H

#include <stdbool.h>

#include "ferry/route.h"

/**
 * Measures. `*whole`: nothing had to be left at its assumed value. `stop` (may be NULL) becomes non-zero when nobody
 * wants to know any more. Starts one thread with all signals blocked, and joins it. Errors: -ENOMEM, -EAGAIN no memory
 * or thread; -EMFILE, -ENFILE; -ECANCELED `stop` was set.
 */
int fi_host_measure(const uint32_t *stop, ferry_host_t *host, bool *whole);

#endif

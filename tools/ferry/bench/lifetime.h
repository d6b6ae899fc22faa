/* SPDX-License-Identifier: MIT
 *
 * lifetime.h - coming and going: parts of `ferry bench senders`. Always between processes.
 */
#ifndef FERRY_BENCH_LIFETIME_H
#define FERRY_BENCH_LIFETIME_H

#include "bench/report.h"
#include "bench/settings.h"

/* Senders that come and go on a queue that another sender floods. */
int bench_joining(const bench_settings_t *settings, bench_report_t *report);
/* How soon a receiver notices that its sender's process was killed. */
int bench_dying(const bench_settings_t *settings, bench_report_t *report);
/* Opening a space and one end, and what an idle node takes of memory. */
int bench_opening(const bench_settings_t *settings, bench_report_t *report);

#endif

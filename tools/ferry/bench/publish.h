/* SPDX-License-Identifier: MIT
 *
 * publish.h - what a topic's number of subscribers costs its publisher.
 */
#ifndef FERRY_BENCH_PUBLISH_H
#define FERRY_BENCH_PUBLISH_H

#include "bench/settings.h"
#include "bench/stats.h"

typedef struct bench_publish {
    bench_quality_t quality;
    double cpu_ns;     /* the publisher's processor time per message, with settings->receivers subscribers */
    double cpu_ns_one; /* with one */
} bench_publish_t;

/* Returns 0, or 1 when it could not be measured (said). */
int bench_publish(const bench_settings_t *settings, bench_publish_t *result);

#endif

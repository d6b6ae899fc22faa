/* SPDX-License-Identifier: MIT
 *
 * publish.h - what a topic's subscribers cost its publisher: many of them, and one that takes only the newest.
 */
#ifndef FERRY_BENCH_PUBLISH_H
#define FERRY_BENCH_PUBLISH_H

#include "bench/settings.h"
#include "bench/stats.h"

/* All have one subscriber that keeps up, but for the second one, which has settings->receivers of them. */
typedef enum bench_topic {
    BENCH_TOPIC_ONE,
    BENCH_TOPIC_MANY,
    BENCH_TOPIC_NEWEST,  /* beside one that takes the newest only, and stands still */
    BENCH_TOPIC_TAGGED,  /* whose messages have tags */
    BENCH_TOPIC_PER_TAG, /* beside one that takes the newest of each tag, and stands still */
    BENCH_TOPICS
} bench_topic_t;

typedef struct bench_publish {
    bench_quality_t quality;
    double cpu_ns[BENCH_TOPICS]; /* the publisher's processor time per message */
} bench_publish_t;

/* Returns 0, or 1 when it could not be measured (said). */
int bench_publish(const bench_settings_t *settings, bench_publish_t *result);

#endif

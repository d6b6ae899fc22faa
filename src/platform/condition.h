/* SPDX-License-Identifier: MIT
 *
 * platform/condition.h - condition variables that are waited for until a time of CLOCK_MONOTONIC, as all deadlines are.
 */
#ifndef FI_PLATFORM_CONDITION_H
#define FI_PLATFORM_CONDITION_H

#include <pthread.h>
#include <time.h>

/** For pthread_cond_timedwait with such a time; ends as any other. */
static inline void fi_condition_init(pthread_cond_t *condition) {
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * platform/cancel.h - pthread_cancel must not end a thread that holds a lock of ours: the steward would wait for ever.
 *
 * System calls are cancellation points, so cancellation is off around everything that takes a lock; it stays possible
 * where a call sleeps.  See pthreads(7).
 */
#ifndef FI_PLATFORM_CANCEL_H
#define FI_PLATFORM_CANCEL_H

#include <pthread.h>

static inline int fi_cancel_off(void) {
    int before = PTHREAD_CANCEL_ENABLE;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

/* The same, after giving a pending cancellation its chance: nothing has begun yet. */
static inline int fi_cancel_here(void) {
    pthread_testcancel();
    return fi_cancel_off();
}

static inline void fi_cancel_restore(int before) {
    (void)pthread_setcancelstate(before, &before);
}

/* In the middle of something long, where nothing is held: the same chance for who had it before. */
static inline void fi_cancel_chance(int before) {
    fi_cancel_restore(before);
    pthread_testcancel();
    (void)fi_cancel_off();
}

#endif

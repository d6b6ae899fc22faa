/* SPDX-License-Identifier: MIT
 *
 * platform/futex.c - see futex.h, and futex(2).
 */
#include "platform/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/clock.h"

int fi_futex_wait(const uint32_t *word, uint32_t expected, int64_t deadline) {
    struct timespec until = fi_timespec(deadline);
    int type = PTHREAD_CANCEL_DEFERRED;

    /* A bare system call is no cancellation point: where a call lets its sleep be cancelled, this makes it one. */
    (void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    /* WAIT_BITSET is the one that takes an absolute time, so an early wake-up does not start the timeout anew. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline == FI_NEVER ? NULL : &until, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    int error = errno;
    (void)pthread_setcanceltype(type, &type);
    errno = error;
    return rc == 0 ? 0 : -errno;
}

int fi_futex_wake(uint32_t *word, int count) {
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved;
    return woken < 0 ? 0 : (int)woken;
}

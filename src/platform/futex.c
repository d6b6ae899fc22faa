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

/* WAIT_BITSET is the one that takes an absolute time, so an early wake-up does not start the timeout anew. */
static long sleep_on(const uint32_t *word, int scope, uint32_t expected, uint32_t bits, int64_t deadline) {
    struct timespec until = fi_timespec(deadline);
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET | scope, expected, deadline == FI_NEVER ? NULL : &until, NULL,
                   bits);
}

int fi_futex_wait(const uint32_t *word, uint32_t expected, int64_t deadline) {
    int type = PTHREAD_CANCEL_DEFERRED;

    /* A bare system call is no cancellation point: where a call lets its sleep be cancelled, this makes it one. */
    (void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    long rc = sleep_on(word, FUTEX_PRIVATE_FLAG, expected, FUTEX_BITSET_MATCH_ANY, deadline);
    int error = errno;
    (void)pthread_setcanceltype(type, &type);
    errno = error;
    return rc == 0 ? 0 : -errno;
}

static int wake(uint32_t *word, int scope, uint32_t bits, int count) {
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE_BITSET | scope, count, NULL, NULL, bits);
    errno = saved;
    return woken < 0 ? 0 : (int)woken;
}

int fi_futex_wake(uint32_t *word, int count) {
    return wake(word, FUTEX_PRIVATE_FLAG, FUTEX_BITSET_MATCH_ANY, count);
}

int fi_futex_wait_shared(uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline) {
    return sleep_on(word, 0, expected, bits, deadline) == 0 ? 0 : -errno;
}

int fi_futex_wake_shared(uint32_t *word, uint32_t bits, int count) {
    return wake(word, 0, bits, count);
}

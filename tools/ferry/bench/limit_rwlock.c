/* SPDX-License-Identifier: MIT
 *
 * The counterpart of a reader-writer lock: a process-shared pthread_rwlock_t of the default kind.
 */
#include "bench/counterparts.h"

void bench_rwlock_make(bench_rwlock_t *rwlock) {
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&rwlock->rwlock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

static int take_to_read(void *object) {
    return pthread_rwlock_rdlock(&((bench_rwlock_t *)object)->rwlock);
}

static int take_to_write(void *object) {
    return pthread_rwlock_wrlock(&((bench_rwlock_t *)object)->rwlock);
}

static int give(void *object) {
    return pthread_rwlock_unlock(&((bench_rwlock_t *)object)->rwlock);
}

int bench_rwlock_reads(void *object, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take_to_read, bench_see_equal, give, object, words, count, waits);
}

int bench_rwlock_writes(void *object, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take_to_write, bench_change_both, give, object, words, count, waits);
}

/* SPDX-License-Identifier: MIT
 *
 * The counterpart of a mutex: a process-shared pthread_mutex_t, robust or plain.
 */
#include "bench/counterparts.h"

void bench_mutex_make(bench_mutex_t *mutex, bool robust) {
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    pthread_mutex_init(&mutex->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

static int take(void *object) {
    bench_mutex_t *mutex = object;

    return pthread_mutex_lock(&mutex->mutex);
}

static int give(void *object) {
    bench_mutex_t *mutex = object;

    return pthread_mutex_unlock(&mutex->mutex);
}

int bench_mutex_turns(void *object, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(take, bench_count_up, give, object, words, count, waits);
}

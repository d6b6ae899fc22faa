/* SPDX-License-Identifier: MIT
 *
 * The counterpart of an auto-reset event: a process-shared condition variable with a mutex and a flag.
 */
#include "bench/counterparts.h"

void bench_cond_make(bench_cond_t *cond) {
    pthread_mutexattr_t mutex;
    pthread_condattr_t attr;

    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&cond->mutex, &mutex);
    pthread_condattr_init(&attr);
    pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&cond->cond, &attr);
}

int bench_cond_set(void *object) {
    bench_cond_t *cond = object;
    int failed = pthread_mutex_lock(&cond->mutex);

    cond->is_set = true;
    failed |= pthread_mutex_unlock(&cond->mutex);
    return failed | pthread_cond_signal(&cond->cond); /* not held any more: the one that wakes up need not wait again */
}

int bench_cond_wait(void *object) {
    bench_cond_t *cond = object;
    int failed = pthread_mutex_lock(&cond->mutex);

    while (!cond->is_set && failed == 0)
        failed = pthread_cond_wait(&cond->cond, &cond->mutex);
    cond->is_set = false;
    return failed | pthread_mutex_unlock(&cond->mutex);
}

/* SPDX-License-Identifier: MIT
 *
 * The counterpart of a barrier: a process-shared pthread_barrier_t.
 */
#include "bench/counterparts.h"

void bench_barrier_make(bench_barrier_t *barrier, unsigned parties) {
    pthread_barrierattr_t attr;

    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&barrier->barrier, &attr, parties);
    pthread_barrierattr_destroy(&attr);
}

int bench_barrier_pass(void *object) {
    bench_barrier_t *barrier = object;
    int answer = pthread_barrier_wait(&barrier->barrier);

    return answer == PTHREAD_BARRIER_SERIAL_THREAD ? 1 : -answer;
}

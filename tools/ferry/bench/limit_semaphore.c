/* SPDX-License-Identifier: MIT
 *
 * The counterpart of a semaphore: a process-shared sem_t.
 */
#include "bench/counterparts.h"

void bench_sem_make(bench_sem_t *sem, unsigned count) {
    sem_init(&sem->sem, 1, count);
}

int bench_sem_post(void *object) {
    bench_sem_t *sem = object;

    return sem_post(&sem->sem) == 0 ? 0 : -errno;
}

int bench_sem_wait(void *object) {
    bench_sem_t *sem = object;

    return sem_wait(&sem->sem) == 0 ? 0 : -errno;
}

int bench_sem_turns(void *object, uint64_t *words, unsigned count, bench_waits_t *waits) {
    return bench_turns(bench_sem_wait, bench_count_up, bench_sem_post, object, words, count, waits);
}

/* SPDX-License-Identifier: MIT
 *
 * counterparts.h - what the C library has for the same purpose as Ferry's objects, shared between processes. Each one's
 * code is under 40 lines, in a file of its own (limit_mutex.c, ...).
 *
 * All of this lives in memory that the sides share. Each is made before the sides are started; the functions beyond
 * that are steps and turns as turns.h tells.
 */
#ifndef FERRY_BENCH_COUNTERPARTS_H
#define FERRY_BENCH_COUNTERPARTS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "bench/turns.h"

/* --- limit_mutex.c: pthread_mutex_t ------------------------------------------------------------------------------ */

typedef struct bench_mutex {
    _Alignas(128) pthread_mutex_t mutex;
} bench_mutex_t;

/* `robust`: the death of its holder is noticed. */
void bench_mutex_make(bench_mutex_t *mutex, bool robust);
bench_turns_fn bench_mutex_turns;

/* --- limit_rwlock.c: pthread_rwlock_t ---------------------------------------------------------------------------- */

typedef struct bench_rwlock {
    _Alignas(128) pthread_rwlock_t rwlock;
} bench_rwlock_t;

void bench_rwlock_make(bench_rwlock_t *rwlock);
bench_turns_fn bench_rwlock_reads;
bench_turns_fn bench_rwlock_writes;

/* --- limit_semaphore.c: sem_t ------------------------------------------------------------------------------------ */

typedef struct bench_sem {
    _Alignas(128) sem_t sem;
} bench_sem_t;

void bench_sem_make(bench_sem_t *sem, unsigned count);
bench_step_fn bench_sem_post;
bench_step_fn bench_sem_wait;
bench_turns_fn bench_sem_turns;

/* --- limit_event.c: pthread_cond_t with a mutex and a flag ------------------------------------------------------- */

typedef struct bench_cond {
    _Alignas(128) pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool is_set;
} bench_cond_t;

void bench_cond_make(bench_cond_t *cond);
bench_step_fn bench_cond_set;
/* Waits until it is set, and resets it. */
bench_step_fn bench_cond_wait;

/* --- limit_barrier.c: pthread_barrier_t -------------------------------------------------------------------------- */

typedef struct bench_barrier {
    _Alignas(128) pthread_barrier_t barrier;
} bench_barrier_t;

void bench_barrier_make(bench_barrier_t *barrier, unsigned parties);
/* Returns 1 to one of each round, else 0. */
bench_step_fn bench_barrier_pass;

#endif

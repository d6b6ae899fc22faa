/* SPDX-License-Identifier: MIT
 *
 * sync/semaphore.h - a number of units.
 *
 * Plain: the number stands in the word's upper half, so taking and giving are one compare-and-set each; what a dead one
 * had taken stays taken.  Owned: each unit is a word of its own that names its holder.  So there is no instruction
 * between "taken" and "noted by whom" at which a death could lose a unit.
 *
 *    63          32 31  26  25     24     23          0
 *   +--------------+-----+------+-------+-------------+
 *   | units free   |     |HUNGRY|WAITERS| releases    |      the lower half changes with each release
 *   | (plain)      |     |      |       | (modulo)    |
 *   +--------------+-----+------+-------+-------------+
 */
#ifndef FI_SYNC_SEMAPHORE_H
#define FI_SYNC_SEMAPHORE_H

#include "sync/acquire.h"

#define FI_SEMAPHORE_UNIT (UINT64_C(1) << 32)

typedef struct fi_semaphore_memory {
    uint64_t word;
    uint64_t unit[]; /* owned: who has it */
} fi_semaphore_memory_t;

/* As a process sees it: how many units there are is its own knowledge. */
typedef struct fi_semaphore {
    fi_semaphore_memory_t *shared;
    uint32_t units; /* owned: how many; plain: 0 */
} fi_semaphore_t;

/* In new memory, which is zero. */
void fi_semaphore_init(const fi_semaphore_t *s, uint32_t count);

/* Plain: one try. */
bool fi_semaphore_try(const fi_semaphore_t *s);
/* Plain, and nobody waits: one try to release. */
bool fi_semaphore_try_release(const fi_semaphore_t *s, uint32_t most);

/* FI_TAKEN, or how the wait ended. `*at`, owned only: where to look first, and then which unit was taken. */
int fi_semaphore_acquire(const fi_semaphore_t *s, uint64_t me, uint32_t *at, fi_wait_t *w);
/* 0; plain: -EOVERFLOW; owned: -EPERM `me` has none. */
int fi_semaphore_release(const fi_semaphore_t *s, uint64_t me, uint32_t *at, uint32_t most);
uint32_t fi_semaphore_value(const fi_semaphore_t *s);

void fi_semaphore_bury(const fi_semaphore_t *s, fi_is_dead_fn *is_dead, void *arg);

#endif

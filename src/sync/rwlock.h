/* SPDX-License-Identifier: MIT
 *
 * sync/rwlock.h - one writer, or many readers who share no line.
 *
 *   gate     the writers' mutex
 *   drain    grows when a reader leaves while somebody owns the gate; the writer sleeps on it
 *   slot[]   each reader who is in, by his name: the first 64 handles have a cache line of their own each
 *
 *   reader                                     writer
 *   slot = me                                  takes the gate
 *   fence                                      fence
 *   does a writer own the gate?                is a slot taken? sleeps on drain, looks again
 *     no: he is in                             writes
 *     yes: slot = 0 (and tells, as below),     gives the gate back
 *          takes the gate as one who passes,
 *          slot = me, gives the gate back
 *   ...
 *   slot = 0; fence; does somebody own the gate? drain grows, and he is woken
 *
 * Each side stores its own word and then loads the other's, so at least one sees the other: a reader and a writer are
 * never both in.  The reader who leaves stores his slot before he looks at the gate, the writer owns the gate before he
 * looks at the slots: either the writer sees the slot empty, or the reader sees the writer and wakes him.
 *
 * A writer who owns the gate keeps new readers out, and only has to wait for those who are in.  Readers who came too
 * late stand in the gate's queue among the writers, under the mutex's rule of fairness, and let each other in there.
 * So neither readers nor writers starve.
 */
#ifndef FI_SYNC_RWLOCK_H
#define FI_SYNC_RWLOCK_H

#include "sync/mutex.h"

#define FI_READERS 512u
#define FI_READER_LINES 64u

typedef struct fi_rwlock {
    fi_mutex_t gate;
    uint64_t pad[6];
    uint32_t drain;
    uint32_t homes; /* handed out: only so many slots can be in use, as long as it is not more than there are */
    uint64_t pad2[7];
    uint64_t slot[FI_READERS];
} fi_rwlock_t;

/* The slot that a new handle tries first. */
uint32_t fi_rwlock_home(fi_rwlock_t *l);

/* One try to read. FI_NOT_FREE: not this way. */
int fi_rwlock_enter_at(fi_rwlock_t *l, uint64_t me, uint32_t slot);
/* Somebody who holds it in whatever way, or 0. */
uint64_t fi_rwlock_any_holder(const fi_rwlock_t *l);

/* `*slot` is the one to try, and then the one that was taken. FI_TAKEN; FI_TAKEN_FROM_DEAD: a writer died, and nobody
 * has repaired it; else as fi_mutex_lock. */
int fi_rwlock_read(fi_rwlock_t *l, uint64_t me, uint32_t *slot, fi_wait_t *w);
void fi_rwlock_read_unlock(fi_rwlock_t *l, uint32_t slot);

/* As fi_mutex_lock and fi_mutex_unlock. */
int fi_rwlock_write(fi_rwlock_t *l, uint64_t me, fi_wait_t *w);

/* All who wait shall look again. */
void fi_rwlock_wake(fi_rwlock_t *l);
void fi_rwlock_bury(fi_rwlock_t *l, fi_is_dead_fn *is_dead, void *arg);

#endif

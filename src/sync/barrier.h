/* SPDX-License-Identifier: MIT
 *
 * sync/barrier.h - rounds in which a number of parties wait for each other.
 *
 *    63         48 47    40 39    32 31  27     26   25    24     23       16 15        0
 *   +-------------+--------+--------+---+------+----+----+-------+-----------+-----------+
 *   | round begun | breaks | resets |   |BROKEN|    |    |WAITERS| withdrawn | round     |
 *   | by a reset  |        |        |   |      |    |    |       |           |           |
 *   +-------------+--------+--------+---+------+----+----+-------+-----------+-----------+
 *    slot: who has arrived (word.h), bit 31 LEAVES, bits 24 to 30 the round modulo 128
 *
 * Who arrives puts his name into a slot, so there is no count that a death could leave wrong.  Slots of earlier rounds
 * are open, and in a complete round all are taken, so nobody who is late finds one.  Whoever comes last completes the
 * round: he changes the word, and wakes those who sleep.  (Of two who came at the same moment, at least one finds all
 * slots taken.) If he dies before, those who are woken because of his death look again.
 *
 * Who gives up marks his slot LEAVES, changes the word, and only then opens the slot; if the round has been completed
 * meanwhile he cannot, and has been counted after all.  Whoever looked at the slots before finds the word changed.
 *
 * A reset begins the next round, and notes its number: so who wakes up later can tell whether his own round had been
 * completed before it.
 *
 * A death among those who have it open breaks the barrier: nobody can tell whether the dead one would have come.
 * Several stewards hear of it, some of them late, perhaps after somebody has begun anew.  So nodes that have it open
 * are noted as members; the first who buries one notes beside it how often the barrier had been broken by then, and
 * whoever finds another number in the word does not break it again.
 */
#ifndef FI_SYNC_BARRIER_H
#define FI_SYNC_BARRIER_H

#include "sync/acquire.h"

#define FI_BARRIER_LAST 1

typedef struct fi_barrier_memory {
    uint64_t word;
    uint64_t
        slot[]; /* `parties`: who has arrived, and in which round; behind these, FI_MEMBERS: nodes that have it open */
} fi_barrier_memory_t;

#define FI_MEMBERS(parties) (2 * (size_t)(parties) + 62)

/* As a process sees it: how many parties there are is its own knowledge. */
typedef struct fi_barrier {
    fi_barrier_memory_t *shared;
    uint32_t parties;
} fi_barrier_t;

/* 0, FI_BARRIER_LAST, -EOWNERDEAD it is broken or was reset, or how the wait ended. */
int fi_barrier_wait(const fi_barrier_t *b, uint64_t me, fi_wait_t *w);
void fi_barrier_reset(const fi_barrier_t *b);
/* A node opens or closes it. False: there is no room for another one. */
bool fi_barrier_add_member(const fi_barrier_t *b, uint32_t node);
void fi_barrier_strike_member(const fi_barrier_t *b, uint32_t node);
/* A node that had it open has died: breaks the barrier, if nobody has done so because of that. */
void fi_barrier_bury_member(const fi_barrier_t *b, uint32_t node);
/* Somebody may have died: breaks it if he had arrived, wakes all. */
void fi_barrier_bury(const fi_barrier_t *b, fi_is_dead_fn *is_dead, void *arg);

#endif

/* SPDX-License-Identifier: MIT
 *
 * deadlocks.h - tables at which threads of several processes sit down to a deadlock, round after round; and threads
 * that work beside them in an order in which there can be none.
 */
#ifndef FERRY_TESTS_DEADLOCKS_H
#define FERRY_TESTS_DEADLOCKS_H

#include <pthread.h>

#include "fire.h"
#include "objects.h"

#define SEATS 8
#define PROCESSES 3

/* ---- tables (deadlocks.c) ---- */

/* Everybody at a table rolls the same dice, so all know who plays which part. */
typedef struct table {
    unsigned number;
    uint64_t seed;
    unsigned rounds;
    int64_t end;            /* no round begins later */
    pthread_barrier_t meet; /* of all seats */
    atomic_uint over;
    /* of this round */
    atomic_uint told;
    atomic_llong last_want; /* when the last one began to wait */
    char sentence[2048];    /* what the one that was told was told */
    /* of all */
    atomic_uint circles[SEATS + 1]; /* by length */
    atomic_llong slowest;           /* from the last one's beginning to wait until one is told */
} table_t;

void table_set(table_t *table, unsigned number, uint64_t seed, unsigned rounds, int64_t end);
/** What one thread does at its seat, until the end. */
void table_sit(table_t *table, ferry_t *node, unsigned seat);

/* ---- order (orderly.c) ---- */

typedef struct order {
    uint64_t seed;
    int64_t end;
    pthread_barrier_t meet;
    atomic_uint over;
    atomic_ullong taken;
    atomic_ullong waited; /* of these, for longer than deadlock_after */
    atomic_uint chains;
} order_t;

void order_set(order_t *order, uint64_t seed, int64_t end);
/** What one of the SEATS threads does. */
void order_keep(order_t *order, ferry_t *node, unsigned self);

#endif

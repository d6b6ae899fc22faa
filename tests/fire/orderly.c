/* SPDX-License-Identifier: MIT
 *
 * orderly.c - threads that take locks in one order only, so that no wait of theirs can be a deadlock, however long.
 *
 * They look for one after a millisecond of waiting. Now and then all of them form a chain: each holds its own lock and
 * waits for the next one's, and the last one takes its time.
 */
#include "deadlocks.h"

#include <stdio.h>

#define LOCKS 9 /* one more than there are threads: what the last one of a chain wants is free */
#define LOOK_AFTER MILLISECOND
#define CHAIN_EVERY 100

typedef struct keeper {
    order_t *order;
    dice_t dice;
    object_t locks[LOCKS];
} keeper_t;

void order_set(order_t *order, uint64_t seed, int64_t end) {
    pthread_barrierattr_t shared;
    order->seed = seed;
    order->end = end;
    check(pthread_barrierattr_init(&shared) == 0 && pthread_barrierattr_setpshared(&shared, 1) == 0);
    check(pthread_barrier_init(&order->meet, &shared, SEATS) == 0);
}

static void open_locks(keeper_t *k, ferry_t *node) {
    static const kind_t kinds[] = {MUTEX, WRITER, OWNED};
    ferry_sync_options_t options = {.deadlock_after = LOOK_AFTER, .owned = 1};
    for (unsigned i = 0; i < LOCKS; i++) {
        char name[32];
        snprintf(name, sizeof name, "order-%u", i);
        if (kinds[i % 3] != OWNED) {
            k->locks[i] = object_open(node, kinds[i % 3], name, &options);
            continue;
        }
        k->locks[i] = (object_t){.kind = OWNED};
        check_is(ferry_semaphore_open(node, name, 2, &options, &k->locks[i].semaphore), 0);
    }
}

static void take(keeper_t *k, unsigned lock) {
    object_t *object = &k->locks[lock];
    if (object->kind == WRITER || object->kind == READER)
        object->kind = dice_below(&k->dice, 2) ? WRITER : READER;
    int64_t begin = clock_ns();
    check_is(object_take(object, PATIENCE), 0); /* -EDEADLK would be a false report */
    atomic_fetch_add(&k->order->taken, 1);
    atomic_fetch_add(&k->order->waited, clock_ns() - begin > LOOK_AFTER);
}

static void give(keeper_t *k, unsigned lock) {
    check_is(object_give(&k->locks[lock]), 0);
}

static void take_some_in_order(keeper_t *k) {
    bool taken[LOCKS];
    for (unsigned i = 0; i < LOCKS; i++) {
        taken[i] = dice_below(&k->dice, 3) == 0;
        if (taken[i])
            take(k, i);
    }
    if (dice_below(&k->dice, 3) == 0)
        nap((int64_t)dice_below(&k->dice, 4 * MILLISECOND));
    for (unsigned i = 0; i < LOCKS; i++)
        if (taken[i])
            give(k, i);
}

/* In a chain each lock is held alone. */
static void take_alone(keeper_t *k, unsigned lock) {
    object_t *object = &k->locks[lock];
    if (object->kind == READER)
        object->kind = WRITER;
    check_is(object_take(object, PATIENCE), 0);
    if (object->kind == OWNED)
        check_is(object_take(object, PATIENCE), 0);
}

static void give_alone(keeper_t *k, unsigned lock) {
    if (k->locks[lock].kind == OWNED)
        give(k, lock);
    give(k, lock);
}

static void form_a_chain(keeper_t *k, unsigned self) {
    pthread_barrier_wait(&k->order->meet);
    take_alone(k, self);
    pthread_barrier_wait(&k->order->meet);
    if (self == SEATS - 1)
        nap((int64_t)(100 + dice_below(&k->dice, 200)) * MILLISECOND);
    take_alone(k, self + 1);
    give_alone(k, self + 1);
    give_alone(k, self);
    if (self == 0)
        atomic_fetch_add(&k->order->chains, 1);
}

/* For its time, and until one has waited: processes that are held up may begin when that time is over. */
static bool goes_on(const order_t *order) {
    int64_t now = clock_ns();
    return now < order->end || (atomic_load(&order->waited) == 0 && now < order->end + PATIENCE);
}

void order_keep(order_t *order, ferry_t *node, unsigned self) {
    keeper_t k = {.order = order, .dice = {order->seed + self}};
    open_locks(&k, node);
    while (!atomic_load(&order->over)) {
        for (unsigned i = 0; i < CHAIN_EVERY && goes_on(order); i++)
            take_some_in_order(&k);
        form_a_chain(&k, self);
        if (self == 0)
            atomic_store(&order->over, !goes_on(order));
        pthread_barrier_wait(&order->meet);
    }
    for (unsigned i = 0; i < LOCKS; i++)
        object_close(&k.locks[i]);
}

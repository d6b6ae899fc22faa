/* SPDX-License-Identifier: MIT
 *
 * customer.c - with or without a lock, and what to do when its holder has died.
 */
#include "customer.h"

typedef struct visit {
    ferry_t *node;
    const bank_t *bank;
    unsigned number;
    ferry_mutex_t *counter; /**< whoever holds it is the one at the counter; NULL: nobody cares */
} visit_t;

static int enter(visit_t *v) {
    int r = ferry_mutex_lock(v->counter, CREW_PATIENCE);
    if (r == FERRY_OWNER_DIED) {
        /* The lock is held, but the books may be in the middle of a change: first they are put in order. */
        account_repair(v->bank->account, v->number);
        r = ferry_mutex_repaired(v->counter);
    }
    return r < 0 ? crew_failed("taking the lock") : 0;
}

static int leave(visit_t *v) {
    return ferry_mutex_unlock(v->counter) < 0 ? crew_failed("giving the lock back") : 0;
}

static int come_often(visit_t *v) {
    const bank_t *b = v->bank;
    for (unsigned i = 0; i < b->times; i++) {
        if (b->locked && enter(v) < 0) {
            return -1;
        }
        account_withdraw(b->account, v->number, b->amount);
        if (b->locked && leave(v) < 0) {
            return -1;
        }
    }
    return 0;
}

/** Is first at the counter, and killed there while the others wait for it. */
static int be_killed(visit_t *v) {
    if (enter(v) < 0 || crew_meet(v->node, v->bank->customers) < 0) {
        return -1;
    }
    crew_nap(10 * 1000 * 1000); /* the others fall asleep, waiting */
    account_withdraw(v->bank->account, v->number, v->bank->amount);
    return -1; /* not reached */
}

int customer(ferry_t *node, unsigned number, void *bank) {
    visit_t v = {.node = node, .bank = bank, .number = number};
    if (v.bank->locked && ferry_mutex_open(node, "counter", NULL, &v.counter) < 0) {
        return crew_failed("opening the mutex");
    }
    if (number == v.bank->account->victim) {
        return be_killed(&v);
    }
    if (crew_meet(node, v.bank->customers) < 0 || come_often(&v) < 0) {
        return -1;
    }
    return ferry_mutex_close(v.counter) < 0 ? crew_failed("closing the mutex") : 0;
}

/* SPDX-License-Identifier: MIT
 *
 * rpc/turn.h - one thread at a time in a client.
 *
 * What a client remembers (its table of calls, who is ready) has no lock, and its two ends are held for single takes
 * and sends only: a thread that waits for an answer holds none.  So the whole of each call on a client is a *turn*.
 * Each thread that has ever been in has a word of its own, `busy`, which it alone sets, and the client points at the
 * one whose thread was in last:
 *
 *   that thread                                  another one, with the lock
 *   enter: it is mine: busy = 1                  the one before is busy? -> -EBUSY
 *          light barrier                         mine: busy = 1; the client points at mine
 *          still mine? -> in                     heavy barrier (membarrier)
 *          else busy = 0, and as another one     the one before is busy? -> it points back, busy = 0, -EBUSY
 *   leave: busy = 0                              else it is in
 *
 * Either the first stored `busy` before the other's heavy barrier, then the other sees it; or it looks after that
 * barrier, then it sees that the client points elsewhere.  A word that two threads share would not do: who withdraws
 * would clear what the other has set.
 */
#ifndef FI_RPC_TURN_H
#define FI_RPC_TURN_H

#include <pthread.h>
#include <stdbool.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "node/owned.h"
#include "platform/barrier.h"

typedef struct fi_turn {
    uintptr_t mark; /* fi_thread_mark() of its thread; constant */
    uint32_t busy;  /* 1: it is inside */
    struct fi_turn *next;
} fi_turn_t;

typedef struct fi_turns {
    fi_turn_t *last; /* whose thread was in last */
    fi_turn_t first; /* of the thread that has opened the client; the others follow it, guarded by the lock */
    pthread_mutex_t lock;
} fi_turns_t;

/* The calling thread was in last. */
void fi_turns_init(fi_turns_t *turns);
/* Nobody is inside. */
void fi_turns_done(fi_turns_t *turns);
/* 0; -EBUSY: another thread is inside; -ENOMEM. `dead`: whoever was inside has ended there. */
int fi_turns_take(fi_turns_t *turns, bool dead, fi_turn_t **out);

/* NULL: not at once; fi_turns_take tells. */
static inline fi_turn_t *fi_turns_enter(fi_turns_t *turns) {
    fi_turn_t *t = fi_load_acquire_ptr(&turns->last);

    if (fi_unlikely(t->mark != fi_thread_mark() || fi_load_relaxed32(&t->busy))) {
        return NULL;
    }
    fi_store_relaxed32(&t->busy, 1);
    fi_barrier_light();
    if (fi_unlikely(fi_load_acquire_ptr(&turns->last) != t)) {
        fi_store_relaxed32(&t->busy, 0);
        return NULL;
    }
    return t;
}

static inline void fi_turn_leave(fi_turn_t *t) {
    fi_store_release32(&t->busy, 0);
}

#endif

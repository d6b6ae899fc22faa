/* SPDX-License-Identifier: MIT
 *
 * Turns of threads that were not in last.
 */
#include "rpc/turn.h"

#include <errno.h>
#include <stdlib.h>

#include "node/node.h"

/* The calling thread's; with the lock. NULL: no memory. */
static fi_turn_t *mine(fi_turns_t *turns) {
    uintptr_t mark = fi_thread_mark();
    fi_turn_t *t = &turns->first;

    while (t && t->mark != mark) {
        t = t->next;
    }
    if (!t) {
        t = calloc(1, sizeof *t);
        if (t) {
            t->mark = mark;
            t->next = turns->first.next;
            turns->first.next = t;
        }
    }
    return t;
}

void fi_turns_init(fi_turns_t *turns) {
    pthread_mutex_init(&turns->lock, NULL);
    turns->first = (fi_turn_t){.mark = fi_thread_mark()};
    turns->last = &turns->first;
}

/* A thread that was stopped while it entered may look at its word yet. */
void fi_turns_done(fi_turns_t *turns) {
    fi_turn_t *next;

    for (fi_turn_t *t = turns->first.next; t; t = next) {
        next = t->next;
        fi_graveyard_add(t);
    }
}

/* The one before is not inside, and will not be: he looks where the client points after he has said so. */
static bool displace(fi_turns_t *turns, fi_turn_t *t) {
    fi_turn_t *before = turns->last;

    fi_store_relaxed32(&t->busy, 1);
    if (t == before) {
        return true;
    }
    fi_store_release_ptr(&turns->last, t);
    fi_barrier_heavy_private();
    if (fi_load_acquire32(&before->busy)) {
        fi_store_release_ptr(&turns->last, before);
        fi_store_relaxed32(&t->busy, 0);
        return false;
    }
    return true;
}

int fi_turns_take(fi_turns_t *turns, bool dead, fi_turn_t **out) {
    int r = 0;

    pthread_mutex_lock(&turns->lock);
    if (dead) {
        fi_store_relaxed32(&turns->last->busy, 0);
    }
    fi_turn_t *t = mine(turns);
    if (!t) {
        r = -ENOMEM;
    } else if (fi_load_acquire32(&turns->last->busy) || !displace(turns, t)) {
        r = -EBUSY;
    }
    pthread_mutex_unlock(&turns->lock);
    *out = t;
    return r;
}

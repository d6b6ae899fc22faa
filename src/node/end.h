/* SPDX-License-Identifier: MIT
 *
 * end.h - what senders and receivers have in common: who may act on them, and when.
 *
 * The user's thread owns its end; the node's steward must act on it too: links come and go, a peer dies, messages have
 * to be sent again, and all that also while the user's thread is elsewhere.  A lock around every call would cost more
 * than the call.  So the end is *held* by one of the two at a time, and the fast path takes no lock:
 *
 *   user's thread                               steward (or whoever delivers mail)
 *   enter: busy = 1                             lock chores
 *          light barrier                        put mail into the inbox
 *          wanted? -> lock chores, do them      wanted = 1
 *   ... the call ...                            heavy barrier (membarrier)
 *   leave: busy = 0          (R6)               busy == 1?  -> the user's thread will do them; wake it if it sleeps
 *          light barrier                        else do them (A6), wanted = 0
 *          wanted? -> lock chores, do them      unlock
 *
 * Why it is correct (Dekker with an asymmetric barrier, membarrier(2)): either the user's thread stored busy before the
 * steward's heavy barrier, then the steward sees it; or it loads wanted after that barrier, then it sees wanted.
 * `wanted` changes under the chores lock only, and stays 1 for as long as somebody does chores, so that a thread that
 * enters meanwhile waits for the lock.  A thread that sleeps inside a call has busy == FI_BUSY_ASLEEP: other threads
 * are refused, the steward may act.
 *
 * So for every event the acting thread is: the user's thread, if it is inside a call on that end, else the steward.
 */
#ifndef FI_END_H
#define FI_END_H

#include <pthread.h>
#include <stdbool.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/list.h"
#include "node/contract.h"
#include "node/owned.h"
#include "node/peer.h"
#include "platform/barrier.h"

#define FI_END_SENDER 0x53646e45u   /* "EndS" */
#define FI_END_RECEIVER 0x52646e45u /* "EndR" */
#define FI_END_CLOSED 0x58646e45u   /* "EndX" */

enum fi_busy { FI_BUSY_NO = 0, FI_BUSY_CALL = 1, FI_BUSY_ASLEEP = 2 };
enum fi_wanted {
    FI_WANTED_CHORES = 1, /* mail or chores wait */
    FI_WANTED_FENCE = 2   /* always, where the light barrier is none: so the usual case looks at one word for both */
};

struct fi_end;

typedef struct fi_end_ops {
    /* Handles one mail. The end is held. Takes the mail over. */
    void (*deliver)(struct fi_end *e, fi_mail_t *m);
    /* Ends the user's thread's sleep, now or when it begins. Any thread. */
    void (*wake)(struct fi_end *e);
    /* Receivers: tells `p` of this receiver. Steward, or the thread that opens the end. */
    int (*introduce)(struct fi_end *e, fi_peer_t *p);
    /* Fills the figures for FI_LOOK_END. Steward; reads what the user's thread writes, so each figure is a snapshot. */
    void (*figures)(struct fi_end *e, fi_frame_t *f);
    /* Senders: the node's bell rang; true when this end sleeps for room or has a backlog. Steward, end not held. */
    bool (*wants_room)(struct fi_end *e);
    /* Likewise: its thread sleeps for that, and will look after the backlog itself when it is woken. */
    bool (*tends)(struct fi_end *e);
    /* The thread that waits by this end is awake, or has been woken, and has yet to look what has come. Steward. */
    bool (*stirs)(const struct fi_end *e);
} fi_end_ops_t;

typedef struct fi_end {
    uint32_t magic;
    uint32_t busy;   /* enum fi_busy; user's thread writes */
    uint32_t wanted; /* enum fi_wanted; changes under `chores` */
    fi_owned_t own;

    struct ferry *node;
    const fi_end_ops_t *ops;
    pthread_mutex_t chores;
    struct fi_list inbox; /* fi_mail_t */
    struct fi_list link;  /* in the node's list of ends */
    uint64_t id;
    int64_t opened_ns;
    uint64_t due; /* ns: when it is to be called with FI_DUE; FI_NEVER: not. Written as due.c says */
    uint32_t kind;
    fi_contract_t contract; /* grows more definite as peers are met; whoever holds the end */
    fi_contract_t stated;   /* as published; constant once open */
    uint32_t lacks;         /* 1: some link is missing for want of descriptors or memory (lacks.c) */
    int open_error;         /* why a link could not be made while it was opened, if descriptors or memory ran out */
    uint32_t digest;        /* of the contract, as the entry's name has it */
    bool published;
    bool in_haste; /* when it is opened, it does not wait until those it meets are linked */
    bool hidden;   /* of this node's own ends' concern only: it has no name, and hidden ends do not meet each other */
    uint64_t only; /* a hidden sender: the only receiver that it meets; 0: all that it may */
    bool tap;      /* receivers: it takes no part, it only looks */
    bool alone;    /* receivers: what is taken is released by the thread that has taken it */
    char channel[104];

    /* Opening: how many links are still to come. Guarded by the node's lock. */
    uint32_t asked;    /* peers that were told of this end */
    uint32_t settled;  /* of these, that have said how many links will come */
    uint64_t expected; /* links they announced */
    uint64_t linked;   /* links that came, or were refused or lost */
    uint32_t unmet;    /* process of a peer that was told and has not answered, and no link came since; 0: none */
    /* Senders: the same for taps, which are not waited for as long. */
    uint32_t taps_asked;
    uint32_t taps_settled;
    uint64_t taps_expected;
    uint64_t taps_linked;
} fi_end_t;

/* A sender's or receiver's handle as an end: it stands first in both. NULL stays NULL. */
static inline fi_end_t *fi_end_of(void *handle) {
    return handle;
}

void fi_end_init(fi_end_t *e, struct ferry *node, uint32_t magic, const fi_end_ops_t *ops);
void fi_end_done(fi_end_t *e);

/* Enters with a new owner, another thread inside, or a handle that is not open. */
int fi_end_enter_slow(fi_end_t *e, uint32_t magic);
/* Goes on entering, busy already, with chores to do. */
int fi_end_enter_with_chores(fi_end_t *e);
/* 0. Never a part of its callers, which would then save registers in the usual case, too. */
__attribute__((noinline, cold)) int fi_end_leave_slow(fi_end_t *e);

/* May this thread begin a call at once? False: fi_end_enter tells why, or makes it the owner. */
static inline bool fi_end_is_mine(const fi_end_t *e, uint32_t magic) {
    return e && e->magic == magic && fi_load_acquire32(&e->busy) == FI_BUSY_NO && fi_is_own(&e->own);
}

static inline bool fi_end_has_chores(const fi_end_t *e) {
    return fi_load_acquire32(&e->wanted) & FI_WANTED_CHORES;
}

/* `busy` was stored; a light barrier later: do chores wait? */
static inline bool fi_end_is_wanted(const fi_end_t *e) {
    fi_compiler_barrier();
    uint32_t wanted = fi_load_acquire32(&e->wanted);

    if (fi_likely(wanted == 0)) {
        return false;
    }
    if (wanted & FI_WANTED_FENCE) {
        fi_fence_seq_cst();
    }
    return fi_end_has_chores(e);
}

/* Begins a call on an end that is mine. False: it has begun, and chores wait. */
static inline bool fi_end_begin(fi_end_t *e) {
    fi_store_relaxed32(&e->busy, FI_BUSY_CALL);
    return fi_likely(!fi_end_is_wanted(e));
}

/* Goes on with a call that has begun, perhaps with chores waiting. -ECHILD: it has ended. */
static inline int fi_end_go_on(fi_end_t *e) {
    return fi_unlikely(fi_end_has_chores(e)) ? fi_end_enter_with_chores(e) : 0;
}

/* Begins a call. Errors: -EBADF, -EBUSY, -ECHILD, -EOWNERDEAD. */
static inline int fi_end_enter(fi_end_t *e, uint32_t magic) {
    if (fi_unlikely(!fi_end_is_mine(e, magic))) {
        return fi_end_enter_slow(e, magic);
    }
    return fi_end_begin(e) ? 0 : fi_end_enter_with_chores(e);
}

/* Ends a call. Always 0: a call that has succeeded ends with `return fi_end_leave(e)`, in tail position. */
static inline int fi_end_leave(fi_end_t *e) {
    fi_store_release32(&e->busy, FI_BUSY_NO); /* R6 */
    return fi_unlikely(fi_end_is_wanted(e)) ? fi_end_leave_slow(e) : 0;
}

/* Does waiting chores in the middle of a call; true when there were some. */
bool fi_end_do_chores(fi_end_t *e);
static inline bool fi_end_check(fi_end_t *e) {
    return fi_unlikely(fi_end_has_chores(e)) && fi_end_do_chores(e);
}

/* Its contract as it is now: the steward may be merging another one into it. Any thread, outside of chores. */
fi_contract_t fi_end_contract(fi_end_t *e);

/* What to add to a sentence about an end that had nobody to exchange messages with: why one could not be met, if that
 * is known; else "". Any thread. */
#define FI_UNMET_WORDS 320
const char *fi_end_unmet_words(const fi_end_t *e, char words[FI_UNMET_WORDS]);

/* Around a sleep inside a call: others may act on the end meanwhile. Wake-ups between the two are never lost. */
void fi_end_begin_sleep(fi_end_t *e);
void fi_end_end_sleep(fi_end_t *e);

/* Calls the end with FI_DUE at `due`, once (FI_NEVER: not at all). The end is held. */
void fi_end_set_due(fi_end_t *e, int64_t due);

/* Hands mail to the end (NULL: only lets it look after itself). Any thread that holds no end. Takes the mail over. */
void fi_end_deliver(fi_end_t *e, fi_mail_t *m);

#endif

/* SPDX-License-Identifier: MIT
 *
 * interleave_model.h - what the parts of the model share: the state of one schedule while it runs.
 */
#ifndef FERRY_TESTS_INTERLEAVE_MODEL_H
#define FERRY_TESTS_INTERLEAVE_MODEL_H

#include "interleave.h"
#include "interleave_fibers.h"

typedef enum model_status {
    NOT_BORN,
    READY,  /* about to do its next access */
    ASLEEP, /* in the futex */
    ENDED,
    DEAD,
} model_status_t;

typedef struct model_thread {
    model_status_t status;
    bool begun;           /* it is somewhere in what it does */
    bool begins;          /* and has not come to its first access */
    uint64_t history;     /* digest of all that it has seen: that, and nothing else, decides what it does next */
    bool woken;           /* since its history begins, as is this: */
    int64_t since;        /* when it first looked at the clock; 0: it has not */
    const uint32_t *word; /* it sleeps on */
    uint32_t bits;        /* and who can wake it */
    int64_t deadline;
    int result; /* of its sleep */
    uint64_t ticks;
} model_thread_t;

typedef struct model {
    const scenario_t *scenario;
    model_thread_t thread[FIBERS + 1]; /* and the program itself */
    unsigned born;
    unsigned current;          /* MAIN_FIBER: none of them */
    bool alone;                /* before and after the schedule: nobody else runs */
    bool tears_down;           /* whoever is in the middle of something starts over */
    bool prints;               /* each step */
    bool known;                /* the schedule has come to a state that was there before */
    uint64_t memory;           /* digest of the object */
    int64_t now;               /* nanoseconds */
    unsigned sleepers[FIBERS]; /* in the order in which they fell asleep */
    unsigned asleep;
    uint32_t steps;
    uint32_t mortals;
    uint32_t preemptions, expiries, delays, signals, deaths; /* that are left */
    const char *failure;
} model_t;

extern model_t model;

static inline uint64_t mix(uint64_t digest, uint64_t value) {
    digest = (digest ^ (value + UINT64_C(0x94d049bb133111eb))) * UINT64_C(0x9e3779b97f4a7c15);
    digest ^= digest >> 29;
    digest *= UINT64_C(0xbf58476d1ce4e5b9);
    return digest ^ digest >> 32;
}

/* ---- interleave_schedule.c ---- */

/* Somebody may run instead of the current thread, or something may happen. */
void model_schedule(void);
/* What a fiber runs. */
unsigned model_live(unsigned self);
/* The schedule is over, with this as its failure. */
void model_fail(const char *sentence);

/* ---- interleave_platform.c ---- */

/* Digest of the object as it is now. */
uint64_t model_digest(void);
/* Ends a sleep. */
void model_awake(unsigned who, int result);
/* Takes a sleeper out of the queue. */
void model_unqueue(unsigned who);

/* ---- interleave_explore.c ---- */

/* Which of `count` ways to go on; negative: the state is known, go no further. */
int model_choose(unsigned count);

__attribute__((format(printf, 1, 2))) void model_print(const char *format, ...);

#endif

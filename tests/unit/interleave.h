/* SPDX-License-Identifier: MIT
 *
 * interleave.h - all interleavings of a few threads that use one synchronization object, one after the other.
 *
 * The sources of src/sync are compiled once more with every atomic access, futex call and look at the clock replaced by
 * a function of the model (interleave_hooks.h).  Before each of these another thread may go on, time may run out, a
 * signal may come, or somebody may die; the explorer (interleave_explore.c) tries all of that: it keeps all stacks as
 * they are at a choice, and goes back to them for each other way to go on.  The bound on preemptions is that of
 * CHESS (M. Musuvathi, S. Qadeer: "Iterative context bounding for systematic testing of multithreaded programs",
 * PLDI 2007); a schedule that comes to a state which was there before ends there.
 *
 * What this cannot show: accesses happen in one order here, so a missing fence or a too weak order is not found.  That
 * it finds other faults is tested as well (interleave_mutants.py).
 */
#ifndef FERRY_TESTS_INTERLEAVE_H
#define FERRY_TESTS_INTERLEAVE_H

#include "unit.h"

#include <stdbool.h>

#include "interleave_hooks.h"
#include "sync/wait.h"
#include "sync/word.h"

#undef memcpy /* what scenarios copy is their own */

#define ANY_NUMBER UINT32_MAX
#define MILLISECOND INT64_C(1000000)
#define MODEL_WORKERS 4 /* at most; stewards come on top */

typedef struct scenario {
    unsigned threads;
    void (*run)(unsigned self); /* what each of them does */
    void (*set_up)(void);       /* before each schedule; memory and notes are zero */
    void (*finish)(void);       /* after each schedule, alone: is everything as it should be? */
    void (*bury)(void);         /* what a steward does after a death */
    void (*died)(unsigned who);
    /* A thread (or the steward) is about to change a word of the object. */
    void (*wrote)(unsigned who, const uint64_t *word, uint64_t before, uint64_t after);
    /* A thread is about to wake some of those who sleep as one of `bits`. */
    void (*wakes)(unsigned who, uint32_t bits);
    bool (*may_sleep)(unsigned who);        /* when nobody runs, is it right that this one sleeps? NULL: never */
    bool (*is_still)(const uint64_t *word); /* does nobody change it? Then no look at it matters; NULL: no word */
    /* Can nobody but this one look at it or change it now? Then what it does there is no step, unless it may die
     * there. */
    bool (*is_mine)(unsigned who, const uint64_t *word);
    void *memory; /* the object */
    size_t bytes;
    void *notes; /* all that the scenario itself knows and changes while it runs */
    size_t notes_bytes;
    uint32_t preemptions; /* at most so many, or ANY_NUMBER */
    uint32_t expiries;    /* sleeps that end because their time is over, or late and for nothing */
    uint32_t delays;      /* milliseconds that pass while somebody runs */
    uint32_t signals;     /* sleeps that end by a signal */
    uint32_t deaths;
    uint32_t mortals;  /* bit mask: who may die */
    uint32_t stewards; /* that look after each death; 0: one */
} scenario_t;

/* Explores it, says how far, and fails the test with the shortest schedule that breaks a rule. */
void explore(const scenario_t *s);

/* ---- for what runs in a scenario ---- */

/* Ends the schedule, and the test, with this sentence. */
void expect(bool holds, const char *sentence);

/* All that the thread still knows of what it has done. What it no longer knows makes no two states differ. */
void forget_all_but(uint64_t knowledge);

/* Other threads may run here. */
void pass_time(void);

/* How words name this thread. */
static inline uint64_t name_of(unsigned who) {
    return fi_owner(0x100 + who, who + 1);
}

/* From now on this one may die, too. */
void may_die(unsigned who);
bool is_dead(unsigned who);
bool is_asleep(unsigned who);
bool sleeps_as(unsigned who, uint32_t bits);
/* Since it last called forget_all_but: has it been woken, and how long ago did it look at the clock first? */
bool was_woken(unsigned who);
int64_t has_waited(unsigned who);
/* For the bury functions. */
bool owner_is_dead(uint64_t owner, void *arg);

#endif

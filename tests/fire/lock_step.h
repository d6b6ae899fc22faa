/* SPDX-License-Identifier: MIT
 *
 * lock_step.h - trials: a victim is killed at one point after the other of a call on a synchronization object, while
 * helpers hold the object or sleep in it; then it is judged what they get.
 */
#ifndef FERRY_TESTS_LOCK_STEP_H
#define FERRY_TESTS_LOCK_STEP_H

#include "helpers.h"

enum stage { BEFORE, INSIDE, GOT, RETURNED };

/* What the victim and the helpers write down. */
typedef struct marks {
    atomic_ullong node; /* the victim's */
    atomic_uint stage;  /* enum stage: how far the victim has come */
    atomic_int answer;  /* its last one */
    atomic_uint doomed; /* 1: a second victim has the lock */
    atomic_uint inside; /* 1: a helper has the lock for itself */
} marks_t;

enum { ANNA, BEN, WITNESS, HELPERS };

/* How often the victim is killed where nothing that is shared has changed, as the environment says; else: */
typedef enum often { EVERY /* after every instruction of the library's */, SELDOM /* after a hundred */ } often_t;

struct run;

typedef struct trial {
    const char *name;
    kind_t kind;                    /* how the victim takes it */
    kind_t ways[2];                 /* how Anna and Ben do */
    void (*arrange)(struct run *r); /* before the victim comes */
    void (*prepare)(void);          /* victim: before it is led */
    void (*gather)(struct run *r);  /* the victim stands at its mark */
    void (*act)(void);              /* victim: led, and killed on the way */
    void (*cue)(struct run *r);     /* it sleeps; may come several times */
    void (*judge)(struct run *r);   /* it is dead */
    bool inherits;                  /* who gets the lock first gets it from a dead owner in any case */
    bool gives;                     /* the victim gives, else it takes */
    bool enters;                    /* the victim waits for a reader to leave, which is not yet holding */
    often_t often;
} trial_t;

/* One victim's life and what becomes of it. */
typedef struct run {
    const trial_t *trial;
    marks_t *marks;
    helper_t *helpers;
    const holdings_t *before; /* of each helper */
    unsigned stride;
    pid_t victim;
    pid_t doomed;  /* a second one, that holds the lock and is killed in any case */
    bool asked[2]; /* Anna, Ben: an answer of theirs is still to come */
    bool anna_holds;
    int count;      /* an event's, before the victim was led */
    unsigned given; /* units or sets by the witness */
    /* on the victim's way */
    const void *memory; /* where it has the object */
    size_t size;
    bool called;  /* out of its sleep, for nothing */
    bool strayed; /* from the way of those before it */
    /* when it was killed */
    unsigned points;
    enum stage stage;
    bool asleep;
    bool held;
} run_t;

/** The victim's handle; opened before `prepare`. */
extern object_t victim_object;
/** The victim has come to this stage. */
void victim_comes_to(enum stage stage);
/** The victim's answers. */
void victim_answers(int answer);

/** Hunts through all trials. */
void hunt(const trial_t *trials, size_t count);

/** Sends Anna or Ben on an errand, from which an answer must come. */
void ask(run_t *r, unsigned who, errand_t *errand);
int answer_of(run_t *r, unsigned who);

/** Fails unless `condition` holds, and tells where the victim was killed. */
#define expect(r, condition) ((condition) ? (void)0 : expect_failed((r), #condition, __FILE__, __LINE__))
_Noreturn void expect_failed(const run_t *r, const char *text, const char *file, int line);

/** Anna and Ben, who sleep, have waited long; called for nothing, they say so and sleep again. */
void become_hungry(run_t *r);

int open_it(helper_t *h);
int close_it(helper_t *h);
int take_it(helper_t *h);
int give_it(helper_t *h);
/** When all who sleep on the object have waited long: wakes them for nothing. */
int call_for_nothing(helper_t *h);

/* ---- trials ---- */

void killed_in_a_mutex(void);
void killed_in_a_reader_writer_lock(void);
void killed_while_taking_over(void);
void killed_in_an_owned_semaphore(void);
void killed_in_a_plain_semaphore(void);
void killed_in_an_event(void);
void killed_in_a_barrier(void);

#endif

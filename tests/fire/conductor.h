/* SPDX-License-Identifier: MIT
 *
 * conductor.h - starts the survivors of kill.h and judges, after each death, how they are.
 */
#ifndef FERRY_TESTS_CONDUCTOR_H
#define FERRY_TESTS_CONDUCTOR_H

#include "kill.h"

typedef struct conductor {
    world_t *w;
    pid_t survivors[SURVIVORS];
    holdings_t before[SURVIVORS];
    unsigned deaths;
    int64_t slowest; /* from a death until everybody had made progress */
} conductor_t;

/** Starts the survivors, whose senders pause after each burst, and writes down what they hold. */
void conductor_begin(conductor_t *c, int64_t pause);
/** Every survivor must get on from here. */
void conductor_expect_progress(conductor_t *c);
/** The victim that had this slot is dead: its notes must have come, its names must go. */
void conductor_expect_no_traces(conductor_t *c, const slot_t *v);
/** All victims are dead: no job is lost, no memory, descriptor or name is left; ends the survivors. */
void conductor_end(conductor_t *c);

extern const char *const op_names[OPS];

#endif

/* SPDX-License-Identifier: MIT
 *
 * crew.h - what the examples of synchronization have in common: several members that work at the same time.
 *
 * A crew is made of processes, each with a node of its own, or of threads that share one node (in a process of theirs).
 * They meet in a space that is named after the program and its process, so that two runs do not disturb each other.
 */
#ifndef CREW_H
#define CREW_H

#include <ferry/ferry.h>
#include <stdbool.h>

#define CREW_MOST 64u

/** No wait lasts longer: when one member fails, the others must end too. */
#define CREW_PATIENCE ((int64_t)20 * 1000 * 1000 * 1000)

/** What a member does; `number` counts from 0. Returns 0, or -1 after it has said what went wrong. */
typedef int crew_work_t(ferry_t *node, unsigned number, void *job);

typedef struct crew {
    crew_work_t *work;
    void *job;
    unsigned members;
    const char *(*name)(unsigned number); /**< of a process's node, as Ferry's sentences call it; NULL: the program's */
    bool threads;                         /**< threads of one node instead of processes */
    unsigned deaths;                      /**< how many members (processes) get killed by SIGKILL, as planned */
} crew_t;

/**
 * Runs all members to their end. Returns 0 when all did well and left nothing open. Call before this
 * process has opened a node.
 */
int crew_run(const crew_t *crew);

/**
 * Waits until all members have come this far.
 *
 * An object lives as long as somebody has it open.  A quick member that opens it, does its work and closes it before
 * the others have come would leave them with another object of the same name.  So each member opens what it needs and
 * then calls this.
 */
int crew_meet(ferry_t *node, unsigned members);

/**
 * Takes the mutex. Returns 0; -EDEADLK; or -1 after it has said what went wrong. That the holder before has died counts
 * as that here; the example "withdrawal" shows what else can be done.
 */
int crew_lock(ferry_mutex_t *mutex, const char *what);

/** Cleared memory that this process shares with those that it forks later. Ends the program when there is none. */
void *crew_memory(size_t size);

/** Prints "PROGRAM: WHAT: the library's sentence" to standard error; returns -1. */
int crew_failed(const char *what);

/** Reads a number from `least` to `most`, or ends the program with status 2. */
unsigned crew_number(const char *option, const char *text, unsigned least, unsigned most);

/** Nanoseconds of CLOCK_MONOTONIC. */
int64_t crew_now(void);
/** Sleeps that long. */
void crew_nap(int64_t nanoseconds);

/** For crew_run: runs the members of `crew`, a crew_t, as threads that share the node. */
crew_work_t crew_threads;

#endif

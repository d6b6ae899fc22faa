/* SPDX-License-Identifier: MIT
 *
 * stepping.h - a child process that is led through a call with ptrace(2), instruction by instruction or from one door
 * of a system call to the next. Only its first thread is led; the others, the node's steward among them, run freely.
 */
#ifndef FERRY_TESTS_STEPPING_H
#define FERRY_TESTS_STEPPING_H

#include "fire.h"

enum stopped { AT_STEP, AT_MARK, BLOCKED, GONE };

/** Where one that was led came by, from its mark: all after it get there without a stop at each instruction. A stop
 * takes 30 microseconds on a virtual machine, and who is killed after every instruction would make so many squared. */
typedef struct way {
    uintptr_t *at; /* the instruction that it came to by each step */
    unsigned steps, room;
    bool strayed;  /* the last one that was to keep to it has not */
    unsigned seen; /* and has come to the instruction that was waited for so often only */
} way_t;

/** Runs `run(arg)` in a child and waits until it has come to its first mark. */
pid_t stepping_start(void (*run)(void *arg), void *arg);
/** For the child: stops itself, until it is led on. */
void stepping_mark(void);
/** Leads it on by one step, and waits for that as stepping_await does. */
enum stopped stepping_on(pid_t pid, bool by_call, int64_t patience);
/** Waits until it stops. BLOCKED: it is in a system call that waits for others, and has been for `patience`. */
enum stopped stepping_await(pid_t pid, int64_t patience);
/** It has made a step: notes where it stands. */
void way_note(way_t *way, pid_t pid);
/** Leads it on by steps to where it stops otherwise; notes the way anew, unless it is led by calls. */
enum stopped stepping_walk(pid_t pid, way_t *way, bool by_call, int64_t patience, unsigned *steps);
/** From its mark, so many steps. Along the way, if that was noted. Who strays from it (a loop ended sooner than for one
 * that was led step by step) may have come to its end: the next one is led to the same instruction in an earlier round;
 * and if that fails, step by step. */
enum stopped stepping_go(pid_t pid, way_t *way, unsigned steps, bool by_call, int64_t patience);
/** Stands it where the way noted after `to` steps? */
bool way_is_kept(const way_t *way, pid_t pid, unsigned to);
/** From where it stands after `from` steps of the way to where it stands after `to`: as far as possible at full speed.
 * AT_STEP: it is there, unless it has taken another way. */
enum stopped stepping_along(pid_t pid, way_t *way, unsigned from, unsigned to, int64_t patience);
/** Is the instruction that it comes to next one of the library's? */
bool stepping_in_library(pid_t pid);
/** Which one: bytes from where the library begins; negative: none. */
int64_t stepping_at(pid_t pid);
/** SIGKILLs it where it is. */
void stepping_kill(pid_t pid);

#endif

/* SPDX-License-Identifier: MIT
 *
 * stepping.h - a child process that is led through a call with ptrace(2), instruction by instruction or from one door
 * of a system call to the next. Only its first thread is led; the others, the node's steward among them, run freely.
 */
#ifndef FERRY_TESTS_STEPPING_H
#define FERRY_TESTS_STEPPING_H

#include "fire.h"

enum stopped { AT_STEP, AT_MARK, BLOCKED, GONE };

/** Runs `run(arg)` in a child and waits until it has come to its first mark. */
pid_t stepping_start(void (*run)(void *arg), void *arg);
/** For the child: stops itself, until it is led on. */
void stepping_mark(void);
/** Leads it on by one step, and waits for that as stepping_await does. */
enum stopped stepping_on(pid_t pid, bool by_call, int64_t patience);
/** Waits until it stops. BLOCKED: it is in a system call that waits for others, and has been for `patience`. */
enum stopped stepping_await(pid_t pid, int64_t patience);
/** Is the instruction that it comes to next one of the library's? */
bool stepping_in_library(pid_t pid);
/** Which one: bytes from where the library begins; negative: none. */
int64_t stepping_at(pid_t pid);
/** SIGKILLs it where it is. */
void stepping_kill(pid_t pid);

#endif

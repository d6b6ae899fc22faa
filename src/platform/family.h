/* SPDX-License-Identifier: MIT
 *
 * platform/family.h - a process and its descendants, as /proc shows them (proc(5)).
 */
#ifndef FI_PLATFORM_FAMILY_H
#define FI_PLATFORM_FAMILY_H

#include <stdbool.h>
#include <stdint.h>

/** Writes `pid` and its living descendants, up to `cap`; returns how many there are, 0 when `pid` cannot be seen. */
int fi_process_family(int32_t pid, int32_t *member, int cap);

/**
 * Does the process sleep in wait(2) for one of its children, and has one? False also when that cannot be seen, and when
 * it has other threads, which might do something.
 */
bool fi_process_waits_for_child(int32_t pid);

/**
 * Does the process sleep in read(2) on a pipe that only some of these `count` others may write to (a shell for what a
 * command prints, the next command in a pipeline)? Processes of other users, which do not show what they have open, are
 * taken not to.
 */
bool fi_process_reads_from(int32_t pid, const int32_t *member, int count);

/** Threads of this process; UINT32_MAX when they cannot be counted. */
uint32_t fi_process_threads(void);

#endif

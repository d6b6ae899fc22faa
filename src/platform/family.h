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

/** Does the process sleep in wait(2) for one of its children, and has one? False also when that cannot be seen. */
bool fi_process_waits_for_child(int32_t pid);

/** Threads of this process; UINT32_MAX when they cannot be counted. */
uint32_t fi_process_threads(void);

#endif

/* SPDX-License-Identifier: MIT
 *
 * warden.h - a process beside this one that ends what this one's commands have started, if this one is killed: the
 * kernel kills a command with us (child.c), but not what the command has started in its turn.
 */
#ifndef FERRY_TOOL_WARDEN_H
#define FERRY_TOOL_WARDEN_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts it, before there are other threads. False: errno says why not. */
bool warden_start(void);
/* Ends it, and forgets all. */
void warden_end(void);

/* From now on, or no longer, the process group `group` is killed when we die. Any thread. */
void warden_watch(pid_t group);
void warden_forget(pid_t group);

#endif

/* SPDX-License-Identifier: MIT
 *
 * ask.h - asking a node something from outside, without being a node: one question on a connection of its own.
 */
#ifndef FI_ASK_H
#define FI_ASK_H

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

#include "node/wire.h"

#define FI_ASK_OTHER_VERSION 2 /* the node is of another version of Ferry (version.h), and answers nothing */

/**
 * Connects to a node, asks, and calls `each` for every frame that comes back, until that returns false: it was the
 * last. `*pid`, `*uid`: who answers, or would. 1: all came; 0: not within `patience` ns (platform/patience.h), or the
 * node left meanwhile, or is stopped for so long that its queue of newcomers is full; FI_ASK_OTHER_VERSION;
 * -ECONNREFUSED it is dead; or why it cannot be asked: see fi_ask_is_our_fault.
 */
int fi_ask(int dirfd, uint64_t node, const fi_frame_t *question, int64_t patience, pid_t *pid, uid_t *uid,
           bool (*each)(const fi_frame_t *f, void *arg), void *arg);

/** A node's process and user, where its queue of newcomers is full; 0 what is not to be seen. */
void fi_ask_who(int dirfd, uint64_t node, pid_t *pid, uid_t *uid);

/** Could a node not be asked for want of our own descriptors or memory? Then nothing is known about it. */
static inline bool fi_ask_is_our_fault(int r) {
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/** The same on a connection that is there: 1, 0, or FI_ASK_OTHER_VERSION. */
int fi_ask_on(int fd, const fi_frame_t *question, int64_t patience, bool (*each)(const fi_frame_t *f, void *arg),
              void *arg);

#endif

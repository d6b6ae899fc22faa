/* SPDX-License-Identifier: MIT
 *
 * node/host.h - where this host's profile is kept, and who measures it when.
 *
 *     BASE/.host-UID-BOOT      what was measured since this start of the system (BOOT: the kernel's boot id), as text
 *
 * Each user has his own, also where a group shares the base directory: only what its reader owns, and nobody else can
 * write, is looked at, and that within bounds (host/profile.h).  It appears whole or not at all.
 *
 * Opening a space only looks for the file.  It is made by who asks for the profile (`ferry route`, `ferry bench`), or
 * by the steward of a program in which messages flow: there the choices matter.  Who sends little, waits, or is idle
 * never measures.
 */
#ifndef FI_NODE_HOST_H
#define FI_NODE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/node.h"

#define FI_HOST_BUSY_MESSAGES 65536u        /* sent by one sender ... */
#define FI_HOST_BUSY_NS INT64_C(1000000000) /* ... that is open for so long: messages flow */

/** Uses what $FERRY_HOST_PROFILE names, or what was measured. 1: found, now or before; 0: not measured; -EINVAL the
 * former is none. */
int fi_host_find(const char *base);

/** The same; measures and keeps it when there is none, or `anew`. 0, or those of fi_host_measure. */
int fi_host_learn(const char *base, bool anew, const uint32_t *stop);

/** Is either done? Then there is nothing to wish for. */
bool fi_host_is_known(void);

/** A sender of this node's is busy: lets the steward measure, once. Any thread. */
void fi_node_want_profile(fi_node_t *n);
/** Does so. Steward; holds no lock. */
void fi_node_measure(fi_node_t *n);

#endif

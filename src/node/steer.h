/* SPDX-License-Identifier: MIT
 *
 * steer.h - see ferry/steer.h: finds the nodes that a request concerns, and asks them.
 */
#ifndef FI_STEER_H
#define FI_STEER_H

#include "ferry/steer.h"

int fi_purge(const char *space, const ferry_options_t *o, const char *channel, uint64_t node,
             void (*each)(const ferry_purged_t *p, void *arg), void *arg);
int fi_kick(const char *space, const ferry_options_t *o, uint64_t node, ferry_kicked_t *result);

#endif

/* SPDX-License-Identifier: MIT
 *
 * net/look.h - what the files that look at other machines share.
 */
#ifndef FI_NET_LOOK_H
#define FI_NET_LOOK_H

#include "net/net.h"
#include "node/look.h"

/* look_locks.c: reads who stands in the way of those who wait for locks, and notes it in the picture. */
void fi_look_locks(fi_net_t *net, ferry_look_t *l);

#endif

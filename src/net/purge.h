/* SPDX-License-Identifier: MIT
 *
 * net/purge.h - what waits in a channel is dropped on other machines, too.
 */
#ifndef FI_NET_PURGE_H
#define FI_NET_PURGE_H

#include "ferry/steer.h"
#include "net/net.h"

/* Asks all other nodes, or one. Returns how many senders have answered, or should have. Errors: -ENOTCONN, -ETIMEDOUT,
 * -EACCES; -ENOMEM. */
int fi_net_purge(fi_net_t *net, const char *channel, uint64_t node, void (*each)(const ferry_purged_t *p, void *arg),
                 void *arg);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef FI_NET_BRIDGE_H
#define FI_NET_BRIDGE_H
#include "net/net.h"
int fi_bridge_open(fi_net_t *net);
void fi_bridge_close(fi_net_t *net);
#endif

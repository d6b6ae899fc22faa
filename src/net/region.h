/* SPDX-License-Identifier: MIT
 *
 * net/region.h - shared regions do not span machines: who opens one that others hold elsewhere is told so.
 *
 *     ferry.SPACE.region.NAME      "who holds it?" Every node that has it open answers with a fi_region_holder_t
 *
 * It is asked only when a region is to be made; if nobody holds it, the server says so at once.  Who makes one first
 * says that he holds it, then asks: of two at once on two machines one at least hears of the other, and the smaller
 * number stays. Without a connection nobody can be asked, and the region is made.
 */
#ifndef FI_NET_REGION_H
#define FI_NET_REGION_H

#include "net/shares.h"

#define FI_REGION_HOLDER_VERSION 1u

/* On the wire as it is. */
typedef struct fi_region_holder {
    uint64_t node;
    uint8_t version; /* FI_REGION_HOLDER_VERSION */
    uint8_t opening; /* 1: it asks, too */
    uint8_t pad[6];
    char host[64];
} fi_region_holder_t;

typedef struct fi_held_region fi_held_region_t;

/* This node holds it, or is going to; once more, if it does already. -ENOMEM and others of fi_net_subscribe. */
int fi_region_hold(fi_net_t *net, const char *name, fi_held_region_t **held);
/* It is open here. */
void fi_region_is_open(fi_held_region_t *held);
void fi_region_let_go(fi_held_region_t *held);

/* 0; -EREMOTE: nodes on another machine hold it. */
int fi_region_ask(fi_net_t *net, const char *name);

/* The node is closed. */
void fi_held_regions_free(fi_net_t *net);

#endif

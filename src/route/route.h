/* SPDX-License-Identifier: MIT
 *
 * route.h - the ways to a peer.
 *
 * Every route moves records through a ring in its writer's memory; what differs is how that memory and the frames about
 * it reach the peer, and how it is woken.  The table of a route is fi_route_t in node/peer.h.
 *
 *   route    peer              memory travels as          frames travel through
 *   thread   this node itself  a reference                the steward's mail
 *   shm      another process   a sealed memfd             a UNIX socket
 */
#ifndef FI_ROUTE_H
#define FI_ROUTE_H

#include "node/peer.h"

extern const fi_route_t fi_route_thread;
extern const fi_route_t fi_route_shm;

static inline const char *fi_route_name(const fi_peer_t *p) {
    return p->route->name;
}

#endif

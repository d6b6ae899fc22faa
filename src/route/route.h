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

#include "ferry/route.h"
#include "ferry/space.h"
#include "node/peer.h"

extern const fi_route_t fi_route_thread;
extern const fi_route_t fi_route_shm;

static inline const char *fi_route_name(const fi_peer_t *p) {
    return p->route->name;
}

/* A picture of a channel's links (look.h): see ferry_route. */
int fi_route_look(const char *space, const char *channel, const ferry_options_t *o, struct ferry_route **out);
/* What a look at the whole space says of the other machines' ends of its channel (far.c). */
struct ferry_look;
int fi_route_add_far(struct ferry_route *r, const char *channel, const struct ferry_look *look);
bool fi_route_is_networked(const struct ferry_route *r);
void fi_route_close(struct ferry_route *r);
size_t fi_route_links(const struct ferry_route *r);
const ferry_route_link_t *fi_route_link(const struct ferry_route *r, size_t i);
/* Ends on this machine, and nodes that did not answer. */
size_t fi_route_senders(const struct ferry_route *r);
size_t fi_route_receivers(const struct ferry_route *r);
size_t fi_route_silent(const struct ferry_route *r);

#endif

/* SPDX-License-Identifier: MIT
 *
 * net/publisher.h - the writer's side of a published region in a space that spans machines: see published.h.
 *
 * Two threads of its own: a listener's, and, once a mirror has said HELLO, one that sends.  The program's thread only
 * notes what changed, and which image is the newest.  The one that sends pins that image (region/published.h), so that
 * it stays as it is; its marks and all else that both look at stand under the publisher's lock.
 */
#ifndef FI_NET_PUBLISHER_H
#define FI_NET_PUBLISHER_H

#include "net/shares.h"
#include "region/published.h"

typedef struct fi_publisher fi_publisher_t;

/* Says that this node is going to write the region. -EEXIST: somebody elsewhere does. */
int fi_publisher_claim(fi_net_t *net, const char *name, fi_publisher_t **out);
/* The writer is open: it is published from now on, until the writer ends. -ENOMEM: drop it. */
int fi_publisher_start(fi_publisher_t *p, ferry_region_writer_t *w, const char *type);
/* The writer could not be opened. */
void fi_publisher_drop(fi_publisher_t *p);
/* All copies of `name`, here and elsewhere, whose writer is gone are given up. */
void fi_publisher_ask_to_yield(fi_net_t *net, const char *name);

/* The node is closed: ends those that are left. */
void fi_publishers_stop(fi_net_t *net);

#endif

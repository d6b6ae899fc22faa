/* SPDX-License-Identifier: MIT
 *
 * net/mirror.h - a copy of a published region whose writer is on another machine: see published.h.
 *
 * A node has one for each region that it has open for reading.  It is *active* if it receives versions: then it has a
 * writer of that region on this machine, which publishes them, so that all readers of the machine share the copy, by
 * shared memory as ever.  One of a machine's mirrors is active at a time, since a region has one writer; the others
 * only know who writes.
 *
 *   - A reader that is opened, and finds no writer on its machine, asks for one elsewhere.
 *   - A writer that begins says so to all.
 *   - A reader whose link has ended (the process with the active mirror has gone) asks again, and its mirror becomes
 *     active.
 *   - A reader that waits asks once a second whether the writer is there.  If not for two seconds, it is gone: it has
 *     died, or what it said when it closed came while this node was not connected.
 */
#ifndef FI_NET_MIRROR_H
#define FI_NET_MIRROR_H

#include "net/shares.h"
#include "region/published.h"

typedef struct fi_mirror fi_mirror_t;

/* `r` is open. Errors: -EPROTOTYPE, -EPROTO, -ENOMEM. */
int fi_mirror_join(fi_net_t *net, ferry_region_reader_t *r, const ferry_region_reader_options_t *o);
/* The reader that has joined it is closed. */
void fi_mirror_leave(fi_mirror_t *m);

/* As fi_reader_view and fi_reader_wait, for one that has joined. */
int fi_mirror_view(fi_mirror_t *m, ferry_region_reader_t *r, int64_t timeout, ferry_region_view_t **view);
int fi_mirror_wait(fi_mirror_t *m, ferry_region_reader_t *r, uint64_t version, int64_t timeout);

/* This node wants to write the region: its copy is given up. */
void fi_mirror_yield(fi_net_t *net, const char *name);

/* The node is closed: nothing is received any more; then all is freed. */
void fi_mirrors_stop(fi_net_t *net);
void fi_mirrors_free(fi_net_t *net);

#endif

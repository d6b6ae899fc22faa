/* SPDX-License-Identifier: MIT
 *
 * latest.h - what a topic's sender keeps for readers that want the newest message of each tag. The end is held.
 */
#ifndef FI_LATEST_H
#define FI_LATEST_H

#include "channel/sender.h"

/* Keeps what the ring is about to lose between two positions, for readers that want the newest with each tag. */
void fi_outlet_save(fi_outlet_t *o, fi_log_t *log, uint64_t from, uint64_t to);
/* Tells readers where it is: a ring or a reader has come. */
void fi_outlet_tell_saved(fi_outlet_t *o);
/* A ring goes: who still copies what he found by it is to see that, where it is not one in which a reader looks on. */
void fi_outlet_tell_no_more(const fi_outlet_t *o, fi_shared_t *ring);
/* The link was offered this ring, in which it will look for what was saved; NULL: it has accepted what it was offered, and
 * looks nowhere else from here on. */
void fi_link_looks_there(fi_txlink_t *l, fi_shared_t *ring);
/* Gives the oldest of what was saved up. False: there is nothing. */
bool fi_outlet_forsake_saved(fi_outlet_t *o);
/* Nobody wants it any more. */
void fi_outlet_free_saved(fi_outlet_t *o);
/* The sender ends: readers go on reading it, for as long as they have its memory. */
void fi_outlet_leave_saved(fi_outlet_t *o);

#endif

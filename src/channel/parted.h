/* SPDX-License-Identifier: MIT
 *
 * parted.h - what readers that may lose go on holding in rings that have left the row.
 *
 * Such a reader announces what it holds by pointer in the control area of the ring.  Where there is no place for a next
 * ring, one that nobody else needs must not stay for that: the ring goes, and of each message that is held what is needed
 * to see its release is kept, and its block:
 *
 *   announced in an old ring ── no place for a next one ──> parted ── announced no more, holds nothing there, its process
 *   is dead, the sender closes ──> the block is given back
 *
 * All in the ring was lost before (R4), so what is not announced when it is looked (A5) will not be held any more.
 * A ring is known to no more readers than it has links, and each announces FI_HELD_SLOTS at most.  The end is held.
 */
#ifndef FI_PARTED_H
#define FI_PARTED_H

#include "channel/sender.h"

/* Of a ring in which all is lost: parts with it, but for what is still announced. False: it must stay. */
bool fi_outlet_part(fi_outlet_t *o, fi_log_t *old);
/* Gives back what is held no more. */
void fi_parted_settle(fi_outlet_t *o);
/* This peer's process is dead: it holds nothing. */
void fi_parted_peer_dead(fi_outlet_t *o, const fi_peer_t *p);
/* The sender writes no more. */
void fi_parted_free(fi_outlet_t *o);
/* Who releases what is parted shall end the sender's sleep, as in any ring. */
void fi_parted_want(const fi_outlet_t *o, uint64_t want);

/* outlet.c: does the reader announce that it holds the record at `pos`? */
bool fi_ctl_announces(const fi_ctl_t *ctl, uint64_t pos);

#endif

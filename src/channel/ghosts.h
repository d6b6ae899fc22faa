/* SPDX-License-Identifier: MIT
 *
 * ghosts.h - links that are gone, whose receivers' programs may go on reading: their processes live.
 *
 *   link ── its connection is lost, EXPEL, CLOSE with messages held in place ──> ghost ── all is let go, its process is
 *   dead, the sender closes ──> freed
 *
 * A ghost counts for nothing but what it may still read: it gets no message, is not waited for, and what a queue's
 * receiver had not released has gone to others.  Its reader goes on publishing what it releases in the memory that it
 * has given us. Until then blocks that it holds are not reused.
 *
 * A queue's ring is written no more.  A topic's is, so the sender flees: it offers the others another ring, and goes on
 * in that one, which the ghost knows nothing of.  Until all have accepted, the ghost holds the sender back as a slow
 * reader would.  The old ring is then kept for it, at the cost of the sender's quota.  A ghost that may be overtaken is
 * told so, as ever, and holds only what it announces.
 *
 * The end is held.
 */
#ifndef FI_GHOSTS_H
#define FI_GHOSTS_H

#include "channel/sender.h"

/* The link was taken out of its outlet; it becomes a ghost if its receiver may still read: what it holds, or, if its
 * connection was `lost`, whatever it was offered. False: it is to be freed. */
bool fi_ghost_rises(fi_outlet_t *o, fi_txlink_t *l, bool lost);
/* The least of `cursor` and those of ghosts that must not be overtaken in the ring. */
uint64_t fi_ghosts_cursor(const fi_outlet_t *o, const fi_log_t *log, uint64_t cursor);
/* Does a ghost hold the record there? `strictly`: one that must not be overtaken. */
bool fi_ghosts_hold(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos, bool strictly);
/* The sender goes on in the next ring. */
void fi_ghosts_left_behind(fi_outlet_t *o);
/* Does one that must not be overtaken read the current ring? */
bool fi_outlet_is_haunted(const fi_outlet_t *o);
/* Takes an old ring that only ghosts need out of the outlet's. False: others need it, too, or the quota has no room for
 * it. */
bool fi_ghosts_keep(fi_outlet_t *o, fi_log_t *old);
/* Frees what ghosts have let go; those that are done go. */
void fi_ghosts_settle(fi_outlet_t *o);
/* grow.c: where one reads the current ring, the sender goes on in another one as soon as the others have it. */
void fi_outlet_flee(fi_outlet_t *o);
/* This peer's process is dead: its ghosts go. */
void fi_ghosts_peer_dead(fi_sender_t *tx, const fi_peer_t *p);
/* The sender writes no more: all of them go. */
void fi_ghosts_free(fi_outlet_t *o);

/* Is it of this peer, by this or another connection? */
bool fi_remote_is_of(const fi_remote_t *r, const fi_peer_t *p);

/* Outlets that have ghosts only: a queue's, whose link has gone. */
void fi_haunted_add(fi_sender_t *tx, fi_outlet_t *o);
void fi_haunted_settle(fi_sender_t *tx);
void fi_haunted_free(fi_sender_t *tx);

#endif

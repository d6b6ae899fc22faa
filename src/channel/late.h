/* SPDX-License-Identifier: MIT
 *
 * late.h - a topic's readers that may lose messages come late into its next ring.
 *
 * Nobody waits for them (grow.c): their processes may be stopped.  What they have not read of older rings they find there
 * later, as far as they were told of these, whether the sender still has them or not: nothing is written there any more.
 *
 *   told of all ── the sender offers a ring ──> offered ── it accepts ──> told of all; or the oldest ring of those that it
 *   was not told of, and that the sender still has, is offered
 *
 * So at most one offer is on its way to a reader, however often the sender goes on.  Of the rings that it is to be told of
 * later, the sender keeps the oldest until there is enough behind.  What was in others it has lost, as the numbers say.
 *
 * Until its sender has said that it sees what is held in a ring (LIVE), a reader holds nothing there by pointer.  It
 * always hears that of a ring in which there is still something that it could hold: what is pointed at is lost before
 * the ring goes.
 */
#ifndef FI_LATE_H
#define FI_LATE_H

#include "channel/sender.h"

/* The reader has accepted a ring, and publishes there what it holds: takes the reference over. False: it lies. */
bool fi_link_accepts(fi_txlink_t *l, uint32_t serial, fi_shared_t *ctl);
/* Says so, and what ring comes next. */
void fi_link_is_seen(fi_txlink_t *l);
/* The sender ends: tells of all rings that it still has, and how many messages it has sent. */
void fi_link_tell_end(fi_txlink_t *l);
/* grow.c: who sends no more does not look whether their last reader has gone on. */
void fi_sender_free_old(fi_sender_t *tx);
/* Likewise: tells of rings that it was not offered yet. */
void fi_outlet_offer_rest(fi_outlet_t *o, fi_txlink_t *l);

/* Is an old ring kept for a reader that is to be told of it, since there is too little behind? */
bool fi_outlet_keeps_for_late(const fi_outlet_t *o, const fi_log_t *old);
/* Where there is no place for a next ring: takes from such readers what an old one has that nobody else needs. True: the
 * ring is not needed any more. */
bool fi_outlet_gives_way(fi_outlet_t *o, fi_log_t *old);
/* The ring goes: keeps what those who were not told of it find by tag. */
void fi_outlet_save_for_late(fi_outlet_t *o, fi_log_t *old);

/* overtake.c: lines that so many messages take at most. */
uint64_t fi_sender_most_lines(const fi_sender_t *tx, uint64_t depth);

/* Are there as many rings as there may be, so that there is no place for a next one? */
static inline bool fi_outlet_is_full(const fi_outlet_t *o) {
    return o->current - o->first >= FI_LOGS - 2;
}

#endif

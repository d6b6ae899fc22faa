/* SPDX-License-Identifier: MIT
 *
 * rendezvous.h - both sides of a message that is sent only when it is taken.
 */
#ifndef FI_RENDEZVOUS_H
#define FI_RENDEZVOUS_H

#include "channel/receiver.h"
#include "channel/sender.h"

/* Sends the item when a receiver takes it. The end is held. */
int fi_rendezvous_send(fi_sender_t *tx, fi_item_t *item, int64_t timeout);
/* The link's receiver has gone: did it take the message that a rendezvous is about? */
void fi_rendezvous_link_gone(fi_sender_t *tx, const fi_txlink_t *l);
/* Does the sender still have this record's message in its hand? `word`: of its header. What was rejected and sent again
 * has the same number, but not FI_REC_MEET: its sender may not know yet that it was taken. */
bool fi_rendezvous_is_open_for(const fi_sender_t *tx, uint64_t seq, uint64_t word);

/* Does a receiver wait? One that spins for ever is not seen to. */
bool fi_rendezvous_is_awaited(const fi_sender_t *tx);

/* The receiver takes the record that was seen, unless its sender takes it back at this moment: false. */
bool fi_rendezvous_is_mine(const fi_rxlink_t *l, const fi_seen_t *s);

#endif

/* SPDX-License-Identifier: MIT
 *
 * tell.h - looking at live links (sample.h), and telling of them. The end is held.
 */
#ifndef FI_TELL_H
#define FI_TELL_H

#include "channel/receiver.h"
#include "channel/sender.h"

/* Looks at the links, and chooses anew. */
void fi_sender_sample(fi_sender_t *tx);
/* Its flow may have changed: the next sample is due after `messages` at the latest. */
void fi_sender_sample_soon(fi_sender_t *tx, uint64_t messages);
/* A message was taken that says when it was sent. */
void fi_receiver_note(fi_rxlink_t *l, const fi_seen_t *s);

/* What `ferry route` asks: sends a frame for each link. */
void fi_sender_tell(fi_sender_t *tx, fi_peer_t *to);
void fi_receiver_tell(fi_receiver_t *rx, fi_peer_t *to);

#endif

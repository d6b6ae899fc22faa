/* SPDX-License-Identifier: MIT
 *
 * dispatch.h - which receiver of a queue gets the next message. The sender's end is held.
 */
#ifndef FI_DISPATCH_H
#define FI_DISPATCH_H

#include "channel/sender.h"

#define FI_CHOICES 8u        /* links looked at for the next message */
#define FI_LOOK_AGAIN_AT 32u /* lines that seem unreleased before a cursor is worth a cache miss */

/* Has the link's receiver as many messages as it may? */
bool fi_txlink_is_sated_now(fi_txlink_t *l);
static inline bool fi_txlink_is_sated(fi_txlink_t *l) {
    return fi_unlikely(l->prefetch != 0 || l->overdue || l->window.used) && fi_txlink_is_sated_now(l);
}

/* The link that is expected to be done with the next message first, where some have windows; NULL: it waits for one. */
fi_outlet_t *fi_dispatch_choose(fi_sender_t *tx);
/* A queue's link has come, which is the last one; or one has gone: who has a window now? */
void fi_dispatch_joined(fi_sender_t *tx);
void fi_dispatch_parted(fi_sender_t *tx);
/* tell.c: lines that a message takes, on average. */
uint64_t fi_sender_usual_lines(const fi_sender_t *tx);
/* recall.c: what this link's receiver has not taken waits for whoever is free. For the only link that has had any. */
void fi_recall_untaken(fi_sender_t *tx, fi_txlink_t *l);
/* The sender ends: what waits for a receiver to be free goes to those that there are, who read on after the end. */
void fi_dispatch_rest(fi_sender_t *tx);

/* A claim is open there: nothing else may be put into its ring. */
static inline bool fi_outlet_is_claimed(const fi_outlet_t *o) {
    return o->tx->claim.open && o->tx->claim.outlet == o;
}

#endif

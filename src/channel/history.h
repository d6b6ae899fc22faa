/* SPDX-License-Identifier: MIT
 *
 * history.h - what a topic's sender retains for receivers that come late: the last records of its ring.
 *
 * Nobody has to be waited for because of it: when the quota is used up, it gives way, the oldest first; when the sender
 * goes on in another ring, it goes along.  Late receivers begin in the midst of the current ring, at the first one;
 * those who come from the ring before have had it, and begin behind it:
 *
 *   ring | unused | history, as long as it is | what is sent from now on
 *                                             ^ start: FI_LINES_PER_MESSAGE * retain lines from the beginning
 */
#ifndef FI_HISTORY_H
#define FI_HISTORY_H

#include "base/bits.h"
#include "channel/sender.h"

/* Number of the oldest message that is retained, counted as `retained_count`, which it equals when there is none. */
static inline uint64_t fi_sender_first_retained(const fi_sender_t *tx) {
    uint64_t count = tx->retained_count;

    return fi_max(count < tx->retain ? 0 : count - tx->retain, tx->forsaken);
}

/* Is the record at `pos` retained? */
bool fi_log_retains(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos);

/* In a ring that is to be offered: leaves the room where the history will stand. */
void fi_outlet_leave_history(const fi_outlet_t *o, fi_log_t *next);

/* The sender is about to go on in that ring: puts it there. False: there is no memory for it. */
bool fi_outlet_carry_history(fi_outlet_t *o, fi_log_t *next);

/* Retains less, so that a block becomes free, or may be taken from readers that lag behind. False: that cannot help. */
bool fi_sender_retain_less(fi_sender_t *tx);

/* Where nobody may hold the sender back: takes everything older than what is retained from its readers. */
void fi_outlet_lose_unretained(fi_outlet_t *o);

#endif

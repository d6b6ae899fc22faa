/* SPDX-License-Identifier: MIT
 *
 * stall.h - why a sender's wait for room takes so long.
 */
#ifndef FI_STALL_H
#define FI_STALL_H

#include "node/node.h"
#include "sync/pace.h"

struct ferry_sender;

/* A wait for room that goes on. */
typedef struct fi_stall {
    bool bears_it; /* this wait does not end because of a deadlock */
    uint32_t room; /* the sender's `room` when its sleep began */
    int64_t deadline;
    fi_pace_t pace;
    fi_blocked_t blocked;
} fi_stall_t;

/* -EAGAIN: wait on; -EDEADLK: those who could make room wait for us. The end is held, as for the next one. */
int fi_sender_look_why(struct ferry_sender *tx);
/* The wait is over. */
void fi_sender_waited(struct ferry_sender *tx);
/* Has it been woken, or is it about to be? */
bool fi_sender_stirs(const fi_end_t *e);

#endif

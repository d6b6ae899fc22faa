/* SPDX-License-Identifier: MIT
 *
 * net/value_turn.h - that a node with a long way to the engine gets its turn where others change a value all the time.
 *
 * From the moment at which the engine tells a value to the one at which it gets the next, a round trip passes; whoever
 * has a shorter one changes the value meanwhile, each time, and who is far away would never come first.  So who was
 * passed too often asks all who have it open to let him go first:
 *
 *     ferry.SPACE.n.NODE.locks     with no reply, and a plea: for so long, do not change the value of this name
 *
 * These read on, but put nothing until that time is over; a change waits so for a second at most, however many ask, and
 * one that gives back or tidies up no longer than its own time.  Nor do all pleas together, needed or not, hold up a
 * node for more than half of the time, once they have had a second.  He waits until what they had under way has come to the
 * engine, reads, and puts.  Was it not enough, he asks for more.
 * Nobody has to obey: values are right without that.
 */
#ifndef FI_NET_VALUE_TURN_H
#define FI_NET_VALUE_TURN_H

#include "net/value_stream.h"

/* Of one change, however often it is tried. */
typedef struct fi_turn {
    uint64_t tried;  /* the number that it was last read as, and made from; 0: it was not read for that */
    uint64_t passed; /* changes that others made while ours was under way */
    uint32_t pleas;
    int64_t lost_since; /* ns: when it first came too late */
    int64_t gave;       /* ns: waited for others */
} fi_turn_t;

/* Another one was faster, or what is known is old: as fi_stream_read. Asks for a turn if need be. -ETIMEDOUT: all of
 * the time was not enough. */
int fi_turn_read(const fi_value_t *r, const char *stream, const fi_term_t *p, fi_turn_t *t, fi_lease_state_t *s,
                 uint64_t *seq);
/* Before a put. FI_DONE; FI_RACE_LOST: has let others go first, so what is known is old; -EINTR, -ESHUTDOWN. */
int fi_turn_give_way(const fi_value_t *r, const fi_term_t *p, fi_turn_t *t);

/* For who is asked. */
typedef struct fi_plea {
    uint8_t version;
    uint8_t pad[7];
    int64_t ns;
    char name[104]; /* of the value */
} fi_plea_t;

_Static_assert(sizeof(fi_plea_t) == 120, "no gaps");

/* False: it is none. */
bool fi_turn_hear(const void *message, size_t len, fi_plea_t *plea);
/* It is about this value. */
void fi_turn_yield(fi_value_t *r, int64_t ns);

#endif

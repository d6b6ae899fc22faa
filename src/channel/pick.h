/* SPDX-License-Identifier: MIT
 *
 * pick.h - links of a receiver that wants only the newest of what it did not take yet.
 */
#ifndef FI_PICK_H
#define FI_PICK_H

#include "channel/receiver.h"

typedef struct fi_tags fi_tags_t;

struct fi_pick {
    fi_ringr_t scout;            /* ahead of the link's reader */
    uint32_t serial;             /* of the ring that it is in */
    uint64_t newest;             /* number of the last message that it has seen */
    fi_ringr_t left[FI_RX_LOGS]; /* where the scout has left rings that its link still reads */
    fi_tags_t
        *tags;   /* of a receiver that wants the newest with each tag (tags.c); NULL: its depth says what it wants */
    bool awaits; /* memory that is on its way */
    bool
        skipped; /* for `tags`: of the rings before the scout's, it was not told of all; what was kept of these is to be
                     looked for */
};

int fi_pick_new(fi_rxlink_t *l);
void fi_pick_free(fi_rxlink_t *l);
/* Passes over what is not wanted. 0; 1: the newest stands in a ring that is on its way; -EPROTO. */
int fi_pick_seek(fi_rxlink_t *l);

/* The ring after the scout's, if it is here; and: the scout goes on there. Where its sender has gone on, and it cannot
 * yet, what it knows is not the newest. */
const fi_rxlog_t *fi_pick_next_log(const fi_rxlink_t *l);
bool fi_pick_go_on(const fi_rxlink_t *l);

/* tags.c */
int fi_tags_new(fi_rxlink_t *l);
void fi_tags_free(fi_tags_t *t);
/* One message: 1, 0, or an error. */
int fi_tags_take(fi_rxlink_t *l, ferry_msg_t **out);
bool fi_tags_ready(const fi_rxlink_t *l);
/* Of a link that has ended, and of which nothing more can be taken: messages that were not told as lost yet. */
uint64_t fi_tags_lost_at_end(const fi_rxlink_t *l);

/* take.c */
/* Takes the record that was seen in `log`, which may be overtaken, into `m`: 1; 0: its memory is on its way;
 * FI_OVERTAKEN; an error. */
int fi_link_take_whole(fi_rxlink_t *l, fi_rxlog_t *log, const fi_seen_t *s, ferry_msg_t *m);
#define FI_OVERTAKEN 2 /* what was looked at is not whole any more: look again */
/* Goes on in the sender's next ring, once it is here. */
bool fi_link_next_log(fi_rxlink_t *l, const fi_seen_t *s);
/* Counts what a taken message uses, or has copied. */
void fi_link_account(const fi_rxlink_t *l, ferry_msg_t *m);

/* Looks at the next record, which the writer may be about to overwrite; 1: `*s` is sound for now. Where it was
 * overwritten, goes on with the oldest that is whole. */
int fi_ringr_peek_whole(fi_ringr_t *r, fi_seen_t *s);

#endif

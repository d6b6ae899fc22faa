/* SPDX-License-Identifier: MIT
 *
 * pick.h - links of a receiver that wants only the newest of what it did not take yet.
 */
#ifndef FI_PICK_H
#define FI_PICK_H

#include "channel/receiver.h"

struct fi_pick {
    fi_ringr_t scout; /* ahead of the link's reader */
    uint32_t serial;  /* of the ring that it is in */
    uint64_t newest;  /* number of the last message that it has seen */
};

int fi_pick_new(fi_rxlink_t *l);
void fi_pick_free(fi_rxlink_t *l);
/* Passes over what is not wanted. 0, or -EPROTO. */
int fi_pick_seek(fi_rxlink_t *l);

/* take.c: looks at the next record, which the writer may be about to overwrite; 1: `*s` is sound for now. Where it was
 * overwritten, goes on with the oldest that is whole. */
int fi_ringr_peek_whole(fi_ringr_t *r, fi_seen_t *s);

#endif

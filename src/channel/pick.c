/* SPDX-License-Identifier: MIT
 *
 * A receiver that does not want everything: it looks ahead, and passes over what it does not want.
 *
 * The reader of a link has a scout, which goes on to the newest record that is there, and remembers its number.
 * Messages of one sender are numbered without a gap, so a look at a record's number tells how many came after it.  The
 * sender takes no part in this: for it, this is a reader that may be overtaken.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "channel/pick.h"

int fi_pick_new(fi_rxlink_t *l) {
    l->pick = calloc(1, sizeof *l->pick);
    if (!l->pick) {
        return -ENOMEM;
    }
    l->pick->scout = l->log->r;
    l->pick->serial = l->serial;
    if (l->rx->per_tag && fi_tags_new(l) < 0) {
        fi_pick_free(l);
        return -ENOMEM;
    }
    return 0;
}

void fi_pick_free(fi_rxlink_t *l) {
    if (l->pick && l->pick->tags) {
        fi_tags_free(l->pick->tags);
    }
    free(l->pick);
    l->pick = NULL;
}

const fi_rxlog_t *fi_pick_next_log(const fi_rxlink_t *l) {
    const fi_rxlog_t *next = l->logs[(l->pick->serial + 1) % FI_RX_LOGS];

    /* In its place may still be the one that the link's reader is in. */
    return next && !next->done && l->pick->serial + 1 - l->serial < FI_RX_LOGS ? next : NULL;
}

bool fi_pick_go_on(const fi_rxlink_t *l) {
    const fi_rxlog_t *next = fi_pick_next_log(l);

    if (!next) {
        return false;
    }
    l->pick->left[l->pick->serial % FI_RX_LOGS] = l->pick->scout;
    l->pick->scout = next->r;
    l->pick->skipped |= next->skips;
    l->pick->serial++;
    return true;
}

/* The scout goes on to the end of what is there, one lap at most: a writer in full career must not lead it on for
 * ever. */
static int look_ahead(const fi_rxlink_t *l) {
    fi_pick_t *p = l->pick;
    fi_seen_t s = {0};

    if (p->serial == l->serial ? p->scout.pos < l->log->r.pos : (int32_t)(p->serial - l->serial) < 0) {
        p->scout = l->log->r; /* the reader was overtaken, and has caught up */
        p->serial = l->serial;
    }
    for (uint32_t steps = p->scout.lines; steps > 0; steps--) {
        int r = fi_ringr_peek_whole(&p->scout, &s);
        if (r <= 0) {
            return r;
        }
        if (s.kind != FI_REC_SWITCH) {
            p->newest = s.seq;
            fi_ringr_advance(&p->scout, s.lines);
        } else if (fi_pick_go_on(l)) {
            steps = p->scout.lines;
        } else {
            p->awaits = !l->ended && !l->later;
            return p->awaits;
        }
    }
    return 0;
}

int fi_pick_seek(fi_rxlink_t *l) {
    fi_ringr_t *r = &l->log->r;
    fi_seen_t s = {0};
    int found = look_ahead(l);

    for (uint32_t steps = r->lines; found == 0 && steps > 0; steps--) {
        found = fi_ringr_peek_whole(r, &s);
        if (found < 1 || s.kind == FI_REC_SWITCH || (int64_t)(l->pick->newest - s.seq) < (int64_t)l->rx->depth) {
            return found < 0 ? found : 0;
        }
        fi_ringr_advance(r, s.lines);
        found = 0;
    }
    return found;
}

/* SPDX-License-Identifier: MIT
 *
 * Sending bytes with a head: what is larger than usual, has to wait, or goes by pointer.
 */
#include "rpc/put.h"

#include <errno.h>

#include "base/error.h"

/* A small ring's cursor lags behind by up to 14 lines, and a small call or answer has one or two: one at a time never
 * are so many. */
#define MANY 16u

/* Calls, or answers, of which many are under way at once come to the end of a small ring's room again and again, and
 * each time both sides wait for the line with its cursor. A stream of messages gets a larger ring when this one is
 * full, which these never see: whoever calls waits before. */
static void widen(fi_sender_t *tx) {
    fi_outlet_t *o = tx->claim.outlet;

    if (!o) {
        return;
    }
    fi_outlet_refresh(o); /* where it is the lap that has ended, nobody has looked yet */
    if (fi_outlet_unreleased(o, false) >= MANY) {
        fi_outlet_consider_growth(o, true);
    }
}

int fi_put_claim(fi_sender_t *tx, uint64_t total, int64_t deadline, unsigned char **room) {
    void *data = NULL;
    int r = fi_sender_claim(tx, total, fi_patience_of_waiter(deadline), &data);

    if (r == 0) {
        widen(tx);
    }
    *room = data;
    return r;
}

int fi_put_message(fi_sender_t *tx, ferry_msg_t *m, const void *head, int64_t deadline) {
    fi_call_head_t *at;
    void *found;

    if (m && m->magic == FI_MSG_SENT && m->sender == tx) {
        return fi_sent_send(m, head, fi_patience_of_waiter(deadline));
    }
    if (!m || (m->magic != FI_MSG_SENT && m->magic != FI_MSG_TAKEN)) {
        return fi_fail(-EBADF, "this message handle was released before, or is none");
    }
    int r = fi_put_begin(tx, m->data, m->size, deadline, &found);
    if (r < 0) {
        return r;
    }
    at = found;
    memcpy(at, head, FI_ANNEX);
    at->flags |= fi_head_pad(m->size);
    return fi_put_end(tx);
}

/* SPDX-License-Identifier: MIT
 *
 * rpc/put.h - sending bytes with a head behind them: written once, where they will be read.
 */
#ifndef FI_RPC_PUT_H
#define FI_RPC_PUT_H

#include <errno.h>

#include "base/error.h"
#include "channel/messages.h"
#include "channel/quick.h"
#include "platform/clock.h"
#include "rpc/wire.h"

/* How long to wait for room. */
static inline int64_t fi_patience(int64_t deadline) {
    return deadline == FI_NEVER ? FERRY_FOREVER : fi_time_left(deadline);
}

/* `head`: of FI_ANNEX bytes, with room for the pad in its flags. The end is held. As ferry_claim. */
static inline int fi_put_headed(fi_sender_t *tx, const void *data, uint64_t size, const void *head, int64_t deadline) {
    uint64_t total = fi_headed_size(size);
    void *room;

    if (fi_unlikely(!fi_sender_claim_quick(tx, total, &room))) {
        int r = fi_sender_claim(tx, total, fi_patience(deadline), &room);
        if (r < 0) {
            return r;
        }
    }
    if (size > 0) {
        fi_copy_message(room, data, size);
    }
    fi_call_head_t *at = (fi_call_head_t *)(void *)((unsigned char *)room + (total - FI_ANNEX));
    memcpy(at, head, FI_ANNEX);
    at->flags |= fi_head_pad(size);
    if (fi_unlikely(!fi_sender_commit_quick(tx, total))) {
        return fi_sender_commit(tx, total);
    }
    if (fi_unlikely(fi_outlet_sleeps(tx->quick))) {
        fi_outlet_ring(tx->quick);
    }
    return 0;
}

/* The message by pointer, if it is this sender's; else a copy. */
static inline int fi_put_message(fi_sender_t *tx, ferry_msg_t *m, const void *head, int64_t deadline) {
    if (m && m->magic == FI_MSG_SENT && m->sender == tx) {
        return fi_sent_send(m, head, fi_patience(deadline));
    }
    if (!m || (m->magic != FI_MSG_SENT && m->magic != FI_MSG_TAKEN)) {
        return fi_fail(-EBADF, "this message handle was released before, or is none");
    }
    return fi_put_headed(tx, m->data, m->size, head, deadline);
}

#endif

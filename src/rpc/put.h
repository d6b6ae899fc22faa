/* SPDX-License-Identifier: MIT
 *
 * rpc/put.h - sending bytes with a head behind them: written once, where they will be read.
 */
#ifndef FI_RPC_PUT_H
#define FI_RPC_PUT_H

#include "channel/messages.h"
#include "channel/quick.h"
#include "platform/clock.h"
#include "rpc/wire.h"

/* How long to wait for room. */
static inline int64_t fi_patience(int64_t deadline) {
    return deadline == FI_NEVER ? FERRY_FOREVER : fi_time_left(deadline);
}

/* The same for who waits: with nothing left it is over, not FERRY_NOW. */
static inline int64_t fi_patience_of_waiter(int64_t deadline) {
    return deadline == FI_NEVER ? FERRY_FOREVER : fi_timeout_left(deadline);
}

/* Room for a message of `total` bytes that the usual way does not have. */
int fi_put_claim(fi_sender_t *tx, uint64_t total, int64_t deadline, unsigned char **room);
/* The message by pointer, if it is this sender's; else a copy. `head`: of FI_ANNEX bytes. The end is held. As
 * ferry_send_msg. */
int fi_put_message(fi_sender_t *tx, ferry_msg_t *m, const void *head, int64_t deadline);

/*
 * Puts the bytes where they will be read; the caller then writes the head to `*head`, with the pad in its flags, and
 * calls fi_put_end.  The end is held.  As ferry_claim.
 */
static inline int fi_put_begin(fi_sender_t *tx, const void *data, uint64_t size, int64_t deadline, void **head) {
    uint64_t total = fi_headed_size(size);
    unsigned char *room = fi_sender_room_quick(tx, total);

    if (fi_unlikely(!room)) {
        int r = fi_put_claim(tx, total, deadline, &room);
        if (r < 0) {
            return r;
        }
    }
    if (size > 0) {
        fi_copy_message(room, data, size);
    }
    *head = room + (total - FI_ANNEX);
    return 0;
}

static inline int fi_put_end(fi_sender_t *tx) {
    if (fi_unlikely(tx->claim.open)) {
        return fi_sender_commit(tx, tx->claim.size);
    }
    fi_sender_publish_form(tx);
    if (fi_unlikely(fi_outlet_sleeps(tx->quick))) {
        fi_outlet_ring(tx->quick);
    }
    return 0;
}

#endif

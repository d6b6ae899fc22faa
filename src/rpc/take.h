/* SPDX-License-Identifier: MIT
 *
 * rpc/take.h - taking the next call or reply: the usual way first, then as ferry_recv.
 */
#ifndef FI_RPC_TAKE_H
#define FI_RPC_TAKE_H

#include "channel/quick.h"

/* What is there, or comes within a few hundred nanoseconds. */
static inline bool fi_take_soon(fi_receiver_t *rx, ferry_msg_t **m) {
    return fi_likely(fi_receiver_take_quick(rx, m)) || fi_receiver_take_soon(rx, m);
}

/* As ferry_recv; -EALREADY: it was nudged. */
static inline int fi_take(fi_receiver_t *rx, int64_t timeout, ferry_msg_t **m) {
    int r = fi_end_enter(&rx->end, FI_END_RECEIVER);

    if (fi_unlikely(r < 0)) {
        return r;
    }
    if (fi_unlikely(timeout == FERRY_NOW ? !fi_receiver_take_quick(rx, m) : !fi_take_soon(rx, m))) {
        r = fi_receiver_recv(rx, timeout, m);
    }
    fi_end_leave(&rx->end);
    return r;
}

#endif

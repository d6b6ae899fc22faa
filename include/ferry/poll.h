/* SPDX-License-Identifier: MIT
 *
 * ferry/poll.h - waiting for many things at once.
 */
#ifndef FERRY_POLL_H
#define FERRY_POLL_H

#include "channel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FERRY_POLL_IN 1 /**< receiver: a message can be taken; descriptor: POLLIN */
/** Sender: a small message can be sent, or, with rendezvous, a receiver waits, with another `wait` than
 * FERRY_WAIT_SPIN, which is not seen; descriptor: POLLOUT. */
#define FERRY_POLL_OUT 2
#define FERRY_POLL_END 4 /**< receiver: all senders have ended (-EPIPE); descriptor: POLLHUP */
#define FERRY_POLL_ERR 8 /**< a closed or foreign handle; descriptor: POLLERR or POLLNVAL */

/** One thing to wait for: exactly one of receiver, sender or descriptor (receiver and sender NULL). */
typedef struct ferry_pollitem {
    ferry_receiver_t *receiver;
    ferry_sender_t *sender;
    int fd;           /**< used when receiver and sender are NULL */
    uint32_t events;  /**< FERRY_POLL_IN, FERRY_POLL_OUT; END and ERR are always reported */
    uint32_t revents; /**< out: what holds now */
} ferry_pollitem_t;

/**
 * Waits until at least one item is ready. Returns how many are, 0 when `timeout` has passed.
 * Uses each handle for the duration of the call, under the usual rule of one thread at a time.
 * Errors: -EINVAL an item names nothing or two things; -EINTR; -ESHUTDOWN; -EBUSY another thread is in a call on a
 * handle, or two items name it; -ENOMEM.
 */
FERRY_API int ferry_poll(ferry_pollitem_t *items, size_t n, int64_t timeout);

#ifdef __cplusplus
}
#endif
#endif

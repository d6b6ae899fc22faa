/* SPDX-License-Identifier: MIT
 *
 * poll.h - waiting for many ends and descriptors at once.
 */
#ifndef FI_POLL_H
#define FI_POLL_H

#include "ferry/poll.h"

int fi_poll(ferry_pollitem_t *items, size_t n, int64_t timeout);

#endif

/* SPDX-License-Identifier: MIT */
#include "ferry/poll.h"

#include "api/check.h"
#include "channel/poll.h"

int ferry_poll(ferry_pollitem_t *items, size_t n, int64_t timeout) {
    if (!items && n > 0) {
        return fi_fail(-EINVAL, "ferry_poll was given %zu items at NULL", n);
    }
    return fi_poll(items, n, timeout);
}

/* SPDX-License-Identifier: MIT
 *
 * check.h - what every entry point checks before it delegates.
 */
#ifndef FI_API_CHECK_H
#define FI_API_CHECK_H

#include <errno.h>

#include "base/error.h"
#include "node/node.h"
#include "platform/cancel.h"

/* A call in the middle of which the thread is not cancelled. */
#define FI_WHOLE(call)                                                                                                 \
    __extension__({                                                                                                    \
        int cancel_ = fi_cancel_here();                                                                                \
        int result_ = (call);                                                                                          \
        fi_cancel_restore(cancel_);                                                                                    \
        result_;                                                                                                       \
    })

/* An options struct of this version, or one that says nothing of its size. */
static inline int fi_check_size(size_t given, size_t known, const char *what) {
    if (given != 0 && given != known) {
        return fi_fail(-EINVAL,
                       "%s has size %zu, this library knows %zu: set .size = sizeof, or 0, and compile with the "
                       "headers of the library in use",
                       what, given, known);
    }
    return 0;
}

static inline int fi_check_output(const void *out, const char *call) {
    return out ? 0 : fi_fail(-EINVAL, "%s needs a place for its result, not NULL", call);
}

static inline int fi_check_node(const fi_node_t *n) {
    if (!n || n->magic != FI_NODE_MAGIC) {
        return fi_fail(-EBADF, n && n->magic == FI_NODE_CLOSED ? "this node was closed before: open a new one"
                                                               : "this is not an open node: call ferry_open first");
    }
    if (fi_node_is_forked(n)) {
        return fi_fail(-ECHILD, "this node belongs to the parent process: after fork(), open your own with ferry_open");
    }
    return 0;
}

static inline int fi_check_channel(const char *channel, ferry_kind_t kind) {
    if (kind != FERRY_QUEUE && kind != FERRY_TOPIC) {
        return fi_fail(-EINVAL, "%d is not a kind of channel: use FERRY_QUEUE or FERRY_TOPIC", (int)kind);
    }
    return fi_channel_check(channel);
}

#endif

/* SPDX-License-Identifier: MIT */
#include "ferry/watch.h"

#include "api/check.h"
#include "node/follow.h"
#include "platform/cancel.h"

int ferry_watch_open(ferry_t *node, ferry_watch_t **w) {
    int cancel = fi_cancel_here();

    int r = fi_check_output(w, "ferry_watch_open");
    r = r == 0 ? fi_check_node(node) : r;
    r = r == 0 ? fi_follow_open(node, w) : r;
    fi_cancel_restore(cancel);
    return r;
}

static int check(const ferry_watch_t *w) {
    return fi_follow_is_open(w) ? fi_check_node(fi_follow_node(w))
                                : fi_fail(-EBADF, "this is no open watch: call ferry_watch_open first");
}

int ferry_watch_next(ferry_watch_t *w, int64_t timeout, ferry_watch_event_t *event) {
    int cancel = fi_cancel_off();

    int r = check(w);
    r = r == 0 ? fi_check_output(event, "ferry_watch_next") : r;
    r = r == 0 ? fi_check_size(event->size, sizeof *event, "ferry_watch_event_t") : r;
    r = r == 0 ? fi_follow_enter(w) : r;
    if (r == 0) {
        r = fi_follow_next(w, timeout, event);
        fi_follow_leave(w);
    }
    fi_cancel_restore(cancel);
    return r;
}

int ferry_watch_fd(ferry_watch_t *w) {
    int r = check(w);

    return r < 0 ? r : fi_follow_fd(w);
}

void ferry_watch_close(ferry_watch_t *w) {
    if (fi_follow_is_open(w) && fi_follow_enter(w) == 0) {
        fi_follow_close(w);
    }
}

/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/check.h"
#include "ferry/look.h"
#include "ferry/sync.h"
#include "platform/clock.h"

int ferry_process_wait_begins(ferry_t *node, int32_t pid) {
    int r = fi_check_node(node);
    if (r < 0) {
        return r;
    }
    if (pid <= 0) {
        return fi_fail(-EINVAL, "%d is not the number of a child process", pid);
    }
    if (fi_waits_for_process(node)) {
        return fi_fail(-EBUSY, "this thread waits for a child process already: call ferry_process_wait_ended first");
    }
    fi_blocked_t *b = calloc(1, sizeof *b);
    if (!b) {
        return fi_fail(-ENOMEM, "no memory to note a wait");
    }
    b->what = FERRY_FOR_PROCESS;
    b->pid = pid;
    b->name = "";
    b->since = fi_now_ns();
    b->where = __builtin_return_address(0);
    fi_waits_list(node, b);
    return 0;
}

int ferry_process_wait_ended(ferry_t *node) {
    int r = fi_check_node(node);
    if (r < 0) {
        return r;
    }
    fi_blocked_t *b = fi_waits_for_process(node);
    if (!b) {
        return fi_fail(-EINVAL, "this thread does not wait for a child process");
    }
    fi_waits_strike(b);
    free(b);
    return 0;
}

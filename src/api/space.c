/* SPDX-License-Identifier: MIT */
#include "ferry/space.h"

#include <stdio.h>
#include <string.h>

#include "api/check.h"
#include "channel/receiver.h"
#include "channel/sender.h"
#include "platform/cancel.h"
#include "route/route.h"

static int open_uncancelled(const char *space, const ferry_options_t *options, ferry_t **node) {
    fi_routes_t routes = {&fi_route_thread, &fi_route_shm};

    int r = fi_check_output(node, "ferry_open");
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_options_t");
    }
    return r < 0 ? r : fi_node_open(space, options, &routes, node);
}

int ferry_open(const char *space, const ferry_options_t *options, ferry_t **node) {
    int cancel = fi_cancel_here();

    int r = open_uncancelled(space, options, node);
    fi_cancel_restore(cancel);
    return r;
}

static void close_end(fi_end_t *e) {
    if (e->magic == FI_END_SENDER) {
        fi_sender_drop(fi_sender_of(e));
    } else {
        (void)fi_receiver_close(fi_receiver_of(e));
    }
}

/* Ends left open by the program; its threads have stopped using them. */
static int close_ends(ferry_t *n) {
    char names[512] = "";
    size_t used = 0;
    int count = 0;

    while (!fi_list_empty(&n->ends)) {
        fi_end_t *e = fi_container(n->ends.next, fi_end_t, link);
        size_t len = strlen(e->channel);
        if (used + len + 3 < sizeof names) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", count ? ", " : "", e->channel);
        }
        close_end(e);
        count++;
    }
    if (count > 0) {
        (void)fi_fail(0, "%d ends were still open and have been closed: %s", count, names);
    }
    return count;
}

static int close_uncancelled(ferry_t *node) {
    if (!node) {
        return 0;
    }
    if (node->magic != FI_NODE_MAGIC) {
        return fi_check_node(node);
    }
    if (fi_node_is_forked(node)) {
        fi_node_close(node);
        return fi_fail(
            -ECHILD,
            "this node belongs to the parent process; the child's copy was freed: after fork(), open your own");
    }
    int open = close_ends(node);
    while (!fi_list_empty(&node->held)) {
        fi_end_t *e = fi_container(node->held.next, fi_end_t, link);
        fi_list_remove(&e->link);
        fi_receiver_discard(fi_receiver_of(e));
    }
    fi_node_close(node);
    return open;
}

int ferry_close(ferry_t *node) {
    int cancel = fi_cancel_here();

    int r = close_uncancelled(node);
    fi_cancel_restore(cancel);
    return r;
}

int ferry_shutdown(ferry_t *node) {
    if (!node || node->magic != FI_NODE_MAGIC) {
        return -EBADF; /* no sentence: this may be a signal handler */
    }
    fi_node_shutdown(node);
    return 0;
}

const char *ferry_directory(const ferry_t *node) {
    return fi_check_node(node) < 0 ? "" : node->space.path;
}

uint64_t ferry_node_id(const ferry_t *node) {
    return fi_check_node(node) < 0 ? 0 : node->id;
}

/* SPDX-License-Identifier: MIT */
#include "ferry/space.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/check.h"
#include "channel/receiver.h"
#include "channel/sender.h"
#include "lock/lock.h"
#include "net/cell.h"
#include "net/lease.h"
#include "net/net.h"
#include "net/shares.h"
#include "node/version.h"
#include "platform/cancel.h"
#include "route/route.h"
#include "rpc/service.h"

/* Why it cannot be used stays the last sentence, whatever closing it meets. */
static int give_back(fi_node_t *n, int error) {
    char why[FI_ERROR_TEXT_MAX];

    snprintf(why, sizeof why, "%s", fi_error_text());
    fi_node_close(n);
    return fi_fail(error, "%s", why);
}

static int open_uncancelled(const char *space, const ferry_options_t *options, ferry_t **node) {
    fi_routes_t routes = {&fi_route_thread, &fi_route_shm};
    fi_address_t address;
    ferry_t *n = NULL;

    int r = fi_check_output(node, "ferry_open");
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_options_t");
    }
    r = r == 0 ? fi_address_parse(space, &address) : r;
    r = r == 0 ? fi_node_open(space, options, &routes, &n) : r;
    if (r == 0 && address.networked) {
        r = fi_net_open(n, &address, options, &n->net);
        if (r < 0) {
            return give_back(n, r);
        }
    }
    if (r == 0) {
        *node = n;
    }
    return r;
}

const char *ferry_warning(const ferry_t *node) {
    if (fi_check_node(node) < 0) {
        return "";
    }
    const char *warning = fi_node_version_warning(node);
    return warning[0] || !node->net ? warning : fi_net_warning(node->net);
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

/* What was still open, for the sentence about it. */
typedef struct left_open {
    char names[512];
    size_t used;
    int count;
} left_open_t;

static void note_open(left_open_t *left, const char *name) {
    size_t len = strlen(name);

    if (left->used + len + 3 < sizeof left->names) {
        left->used += (size_t)snprintf(left->names + left->used, sizeof left->names - left->used, "%s%s",
                                       left->count ? ", " : "", name);
    }
    left->count++;
}

/* An end that the program has open; NULL: none. Hidden ones are those of fi_net_close: their thread goes on, and opens
 * and closes some. */
static fi_end_t *first_open(ferry_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    fi_end_t *found = NULL;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (!e->hidden) {
            found = e;
            break;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return found;
}

/* Ends left open by the program; its threads have stopped using them. */
static void close_ends(ferry_t *n, left_open_t *left) {
    /* One at a time: closing one may close others that belong to it. */
    for (fi_end_t *e = first_open(n); e; e = first_open(n)) {
        /* A client is one, with the end for its calls; it has another one for the replies. */
        if (e->channel[0] != FI_REPLIES) {
            note_open(left, fi_channel_words(e->channel).name);
        }
        close_end(e);
    }
}

/* First of all: their threads are inside, and use what else is open. */
static void close_services(ferry_t *n, left_open_t *left) {
    for (ferry_service_t *s = fi_service_of_node(n); s; s = fi_service_of_node(n)) {
        note_open(left, s->name);
        (void)fi_service_close(s, FERRY_NOW);
    }
}

static void close_locks(ferry_t *n, left_open_t *left) {
    while (!fi_list_empty(&n->objects)) {
        fi_lock_t *l = fi_lock_of_node(n);
        note_open(left, fi_lock_name(l));
        fi_lock_drop(l);
    }
}

static void note_lease(void *left, const char *name) {
    note_open(left, name);
}

static void close_far_cells(ferry_t *n, left_open_t *left) {
    char name[104];

    while (fi_net_cell_drop_one(n->net, name)) {
        note_open(left, name);
    }
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
    if (fi_service_is_of_mine(node)) {
        return fi_fail(-EDEADLK, "a handler of a service cannot close the service's node: it would wait for itself");
    }
    left_open_t left = {.count = 0};
    if (node->net) {
        fi_net_leave(node->net);
    }
    close_services(node, &left);
    if (node->net) {
        fi_shares_stop(node->net);
        close_far_cells(node, &left);
    }
    close_ends(node, &left);
    close_locks(node, &left);
    if (node->net) {
        while (fi_lease_close_any(node->net, note_lease, &left)) {
        }
        fi_net_close(node->net);
    }
    while (!fi_list_empty(&node->held)) {
        fi_end_t *e = fi_container(node->held.next, fi_end_t, link);
        fi_list_remove(&e->link);
        fi_receiver_discard(fi_receiver_of(e));
    }
    fi_node_close(node);
    if (left.count > 0) {
        (void)fi_fail(0, "%d handles were still open and have been closed: %s", left.count, left.names);
    }
    return left.count;
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

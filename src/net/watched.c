/* SPDX-License-Identifier: MIT
 *
 * Telling a watch (node/follow.h) of nodes on other machines.
 *
 * The bridge knows them all: newcomers greet, and who leaves says so. Whether one is still there it asks only those
 * with which there are links; while somebody watches, all. A watch is the bridge's own; the user's thread gives it up
 * by marking it.
 *
 * Opening a space does not wait for everybody's card: a node that is slow to answer is told of when it does. It was
 * there before a watch if its card answers a greeting (they are counted) from before the watch; those who have come
 * since greet themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "net/bridge.h"

typedef struct fi_far_watch {
    struct fi_list link; /* in the bridge's list, once that has heard of it */
    fi_far_changed_t *changed;
    void *arg;
    uint64_t hellos; /* what the bridge had said when it heard of this */
    bool closed;     /* guarded by the bridge's lock, under which `changed` is called */
} fi_far_watch_t;

static void post(fi_bridge_t *b, fi_box_item_t *item, fi_far_watch_t *w) {
    item->kind = FI_BOX_WATCH;
    item->watch = w;
    fi_bridge_post(b, item);
}

void *fi_far_watch(fi_net_t *net, fi_far_changed_t *changed, void *arg) {
    fi_far_watch_t *w = calloc(1, sizeof *w);
    fi_box_item_t *item = calloc(1, sizeof *item);

    if (!w || !item) {
        free(w);
        free(item);
        return NULL;
    }
    w->changed = changed;
    w->arg = arg;
    fi_list_init(&w->link);
    post(net->bridge, item, w);
    return w;
}

void fi_far_unwatch(fi_net_t *net, void *watch) {
    fi_bridge_t *b = net->bridge;
    fi_far_watch_t *w = watch;
    fi_box_item_t *item = calloc(1, sizeof *item);

    pthread_mutex_lock(&b->lock);
    w->closed = true;
    pthread_mutex_unlock(&b->lock);
    if (item) { /* else it is freed with the bridge */
        post(b, item, w);
    }
}

static void tell_one(fi_bridge_t *b, const fi_far_watch_t *w, const fi_far_node_t *n, ferry_change_t what, bool old) {
    ferry_watch_event_t e = {.what = what, .was_there = old, .node = n->id, .pid = (int32_t)n->pid, .uid = UINT32_MAX};

    memcpy(e.name, n->name, sizeof e.name);
    memcpy(e.host, n->host, sizeof e.host);
    pthread_mutex_lock(&b->lock);
    if (!w->closed) {
        w->changed(w->arg, &e);
    }
    pthread_mutex_unlock(&b->lock);
}

void fi_far_named(fi_bridge_t *b, fi_far_node_t *n, uint64_t hello) {
    if (n->named) {
        return;
    }
    n->named = true;
    for (const struct fi_list *at = b->watches.next; at != &b->watches; at = at->next) {
        const fi_far_watch_t *w = fi_container(at, fi_far_watch_t, link);
        tell_one(b, w, n, FERRY_NODE_JOINED, hello <= w->hellos);
    }
}

void fi_far_gone(fi_bridge_t *b, const fi_far_node_t *n, ferry_change_t how) {
    for (const struct fi_list *at = b->watches.next; at != &b->watches && n->named; at = at->next) {
        tell_one(b, fi_container(at, fi_far_watch_t, link), n, how, false);
    }
}

void fi_far_watch_changed(fi_bridge_t *b, struct fi_far_watch *w) {
    pthread_mutex_lock(&b->lock);
    bool closed = w->closed;
    pthread_mutex_unlock(&b->lock);
    if (!fi_list_empty(&w->link)) { /* it was known, so this is its end */
        fi_list_remove(&w->link);
        free(w);
        return;
    }
    w->hellos = b->hellos;
    fi_list_add_tail(&b->watches, &w->link);
    for (const struct fi_list *at = b->nodes.next; at != &b->nodes && !closed; at = at->next) {
        const fi_far_node_t *n = fi_container(at, fi_far_node_t, link);
        if (n->named) {
            tell_one(b, w, n, FERRY_NODE_JOINED, true);
        }
    }
}

void fi_far_watches_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->watches)) {
        fi_far_watch_t *w = fi_container(b->watches.next, fi_far_watch_t, link);
        fi_list_remove(&w->link);
        free(w);
    }
}

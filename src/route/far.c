/* SPDX-License-Identifier: MIT
 *
 * Links that lead to other machines.
 *
 * A node knows its half of such a link: that its sender's messages go on by the network, to one node (a queue) or to
 * all that listen (a topic), or from whom its receiver's messages came.  A look at the whole space has the other
 * halves.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "node/look.h"
#include "route/look.h"
#include "route/route.h"

static const ferry_look_node_t *find_node(const ferry_look_t *look, uint64_t id) {
    for (size_t i = 0; i < look->node_count; i++) {
        if (look->nodes[i].id == id && look->nodes[i].host && look->nodes[i].host[0]) {
            return &look->nodes[i];
        }
    }
    return NULL;
}

static void name_end(ferry_route_t *r, ferry_route_end_t *e, const ferry_look_node_t *n) {
    e->node = n->id;
    e->name = fi_picture_keep(&r->texts, n->name);
    e->host = fi_picture_keep(&r->texts, n->host);
    e->pid = n->pid;
}

/* What the two nodes have seen of the way between them. */
static void add_round_trip(ferry_route_link_t *l, const ferry_look_t *look) {
    uint64_t near = l->sender.told ? l->sender.node : l->receiver.node;
    uint64_t far = l->sender.told ? l->receiver.node : l->sender.node;

    for (size_t i = 0; i < look->link_count; i++) {
        if (look->links[i].node == near && look->links[i].to == far) {
            l->round_trip_ns = look->links[i].round_trip_ns;
            l->on_the_way = look->links[i].on_the_way;
        }
    }
}

/* The receiver `e` takes what goes this way. One link of a sender's stands for all its receivers elsewhere: the first
 * is named in it, the others get one like it. */
static int add_receiver(ferry_route_t *r, size_t at, const ferry_look_end_t *e, const ferry_look_node_t *n,
                        bool first) {
    if (!first) {
        if (!fi_grow((void **)&r->links, r->link_count, sizeof *r->links)) {
            return fi_fail(-ENOMEM, "no memory to list the links of a channel");
        }
        r->links[r->link_count] = r->links[at];
        at = r->link_count++;
    }
    r->links[at].receiver.end = e->end;
    name_end(r, &r->links[at].receiver, n);
    return 0;
}

static int add_receivers(ferry_route_t *r, size_t at, const char *channel, const ferry_look_t *look) {
    uint64_t only = r->links[at].receiver.node;
    bool first = true;
    int got = 0;

    for (size_t i = 0; i < look->end_count && got == 0; i++) {
        const ferry_look_end_t *e = &look->ends[i];
        const ferry_look_node_t *n = find_node(look, e->node);
        if (n && !e->is_sender && e->kind == r->links[at].kind && strcmp(e->channel, channel) == 0 &&
            (only == 0 || only == e->node)) {
            got = add_receiver(r, at, e, n, first);
            first = false;
        }
    }
    return got;
}

int fi_route_add_far(ferry_route_t *r, const char *channel, const struct ferry_look *look) {
    size_t count = r->link_count;
    int got = 0;

    for (size_t i = 0; i < count && got == 0; i++) {
        if (r->links[i].way == FERRY_WAY_NATS && r->links[i].sender.told) {
            got = add_receivers(r, i, channel, look);
        } else if (r->links[i].way == FERRY_WAY_NATS) {
            const ferry_look_node_t *n = find_node(look, r->links[i].sender.node);
            if (n) {
                name_end(r, &r->links[i].sender, n);
            }
        }
    }
    for (size_t i = 0; i < r->link_count; i++) {
        if (r->links[i].way == FERRY_WAY_NATS) {
            add_round_trip(&r->links[i], look);
            fi_route_tell_ways(r, &r->links[i]);
        }
    }
    return got == 0 && r->texts.short_of_memory ? fi_fail(-ENOMEM, "no memory to list the links of a channel") : got;
}

bool fi_route_is_networked(const ferry_route_t *r) {
    return r->networked;
}

/* SPDX-License-Identifier: MIT
 *
 * route/look.h - a picture of one channel's links, put together from what their two ends tell.
 *
 * What comes from a node is its word: texts are ended, numbers bounded, and a lie can only make a picture wrong.
 */
#ifndef FI_ROUTE_LOOK_H
#define FI_ROUTE_LOOK_H

#include "ferry/route.h"
#include "node/picture.h"

/* A node that was asked, with the profile that its process uses. */
typedef struct fi_route_node {
    uint64_t id;
    const char *name;
    int32_t pid;
    bool answered;
    ferry_host_t host;
} fi_route_node_t;

struct ferry_route {
    bool networked;
    char *directory;
    fi_route_node_t *nodes;
    size_t node_count;
    fi_frame_t *sent; /* one for each link, from its sender; `b` is that one's node */
    size_t sent_count;
    fi_frame_t *taken; /* likewise from its receiver */
    size_t taken_count;
    ferry_route_link_t *links;
    size_t link_count;
    size_t senders, receivers, silent;
    bool short_of_memory;
    fi_picture_t texts;
};

/* Says which way it goes, and why not another one. */
void fi_route_tell_ways(const ferry_route_t *r, ferry_route_link_t *l);

#endif

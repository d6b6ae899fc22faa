/* SPDX-License-Identifier: MIT
 *
 * net/shares.h - what a node has open of shared memory that spans machines: cells, copies of published regions
 * (mirrors), and the names of shared regions, which do not span them.
 */
#ifndef FI_NET_SHARES_H
#define FI_NET_SHARES_H

#include "net/net.h"

typedef struct fi_shares {
    pthread_mutex_t lock;      /* of the lists, and of what their members say */
    struct fi_list cells;      /* fi_net_cell_t */
    struct fi_list publishers; /* fi_publisher_t */
    struct fi_list mirrors;    /* fi_mirror_t */
    struct fi_list regions;    /* fi_held_region_t */
    bool stopped;
} fi_shares_t;

/* Makes net->shares. -ENOMEM. */
int fi_shares_open(fi_net_t *net);
/* The node is being closed: no thread of the library's is in its mirrors any more. Before its ends are closed. */
void fi_shares_stop(fi_net_t *net);
/* Frees it. Its cells have been closed. */
void fi_shares_close(fi_net_t *net);

#endif

/* SPDX-License-Identifier: MIT
 *
 * cluster.h - three nats-servers that keep three copies of what they store, for tests in which one of them fails.
 */
#ifndef FERRY_TESTS_CLUSTER_H
#define FERRY_TESTS_CLUSTER_H

#include "engine.h"

#define CLUSTER_SERVERS 3

typedef struct cluster {
    engine_t *servers[CLUSTER_SERVERS];
    char space[160]; /**< for ferry_open: names all three */
} cluster_t;

/** Starts them, and waits until they agree who leads. */
cluster_t *cluster_start(void);
/** From now on this process is on the machine `name`, and has a node there. */
ferry_t *cluster_node(const cluster_t *cluster, const char *machine);
/** The server that leads the stream whose name holds this text, as far as their logs tell. */
engine_t *cluster_leader(const cluster_t *cluster, const char *stream);
/** Ends all; those that were killed, too. */
void cluster_stop(cluster_t *cluster);

#endif

/* SPDX-License-Identifier: MIT
 *
 * peers.h - Ferry beside other ways to carry messages between two processes: each run measures one of them, in a pair
 * of processes of its own, since not all libraries survive a fork, and none shall have another one's threads beside it.
 */
#ifndef FERRY_BENCH_PEERS_H
#define FERRY_BENCH_PEERS_H

#include "bench/sides.h"
#include "bench/wire.h"

enum { BENCH_WIRE_PATH = 4200 };

extern const bench_wire_t bench_wire_ferry;  /* wire_ferry.c */
extern const bench_wire_t bench_wire_pipe;   /* wire_stream.c */
extern const bench_wire_t bench_wire_socket; /* the same */
extern const bench_wire_t bench_wire_mqueue; /* wire_mqueue.c */

typedef enum bench_peer_work { BENCH_PEER_TRIPS, BENCH_PEER_FLOW, BENCH_PEER_IDLE } bench_peer_work_t;

/* One run: what is asked, and what came of it. It stands in memory that both sides share. */
typedef struct bench_peer_run {
    const bench_wire_t *wire; /* NULL: of the module */
    const char *module;       /* its file */
    bench_peer_work_t work;
    size_t size;
    int64_t ns; /* how long it is measured, after warming up; of waiting: how long one waits */
    double p50_ns, p99_ns, p999_ns;
    double msgs_per_s;
    double idle_cpu_ms;
    size_t room; /* of `sample` */
    uint32_t *sample;
} bench_peer_run_t;

/* The settings tell how Ferry waits, and where sides are pinned. Returns 0, or 1 when it could not be measured
 * (said). */
int bench_peer_measure(const bench_settings_t *settings, bench_peer_run_t *run);

#endif

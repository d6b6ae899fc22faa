/* SPDX-License-Identifier: MIT
 *
 * flow.h - streams of messages: givers send as fast as they can, takers check every byte and the order, and nothing
 * may be missing when a slice ends.
 */
#ifndef FERRY_BENCH_FLOW_H
#define FERRY_BENCH_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "bench/settings.h"
#include "bench/sides.h"

/* A count on lines of its own: one side writes it between two slices, others read it. */
typedef struct bench_tally {
    _Alignas(128) _Atomic uint64_t n;
} bench_tally_t;

/* What all sides of a flow share; zero at first, but for what stands before the tallies. */
typedef struct bench_flow {
    size_t size;
    unsigned senders; /* numbers that messages may name */
    unsigned givers;  /* sides that send */
    unsigned takers;
    bool to_all;         /* a topic: every taker gets every message */
    bench_tally_t ended; /* slices that givers have ended, of all givers together */
    bench_tally_t sent[BENCH_MAX_SENDERS];
    bench_tally_t received[BENCH_MAX_RECEIVERS];
} bench_flow_t;

typedef struct bench_giver {
    bench_side_t *me;
    bench_flow_t *flow;
    ferry_sender_t *tx;
    unsigned number; /* among the givers */
    bench_api_t api;
    uint64_t count;
    unsigned char *buffer;
} bench_giver_t;

typedef struct bench_taker {
    bench_side_t *me;
    bench_flow_t *flow;
    ferry_receiver_t *rx;
    unsigned number; /* among the takers */
    bench_take_t take;
    uint64_t count;
    uint64_t *last; /* message of each sender */
    uint64_t *from; /* messages of each sender */
    unsigned char *buffer;
} bench_taker_t;

/* Tells the takers that this giver's slice has ended, and how many messages it has sent in all. */
void bench_give_end(bench_giver_t *giver);

/* Sends until the time `until_ns`, then says that this giver's slice has ended. */
void bench_give(bench_giver_t *giver, int64_t until_ns);

/* Opens a taker's receiver; the run ends when that fails. */
void bench_taker_open(bench_taker_t *taker, bench_side_t *me, bench_flow_t *flow, const char *channel);
void bench_taker_close(bench_taker_t *taker);

/* Takes until the time `until_ns`. Returns messages per second. */
double bench_take_until(bench_taker_t *taker, int64_t until_ns);

/* Takes what is left, once `slices` slices have been ended by all givers together. */
void bench_drain(bench_taker_t *taker, uint64_t slices);

/* Takes one message if there is one within `timeout`, checks it and gives it back. */
bool bench_take_next(bench_taker_t *taker, int64_t timeout, uint64_t *id);

#endif

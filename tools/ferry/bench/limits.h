/* SPDX-License-Identifier: MIT
 *
 * limits.h - what the bare machine can do, measured alternately with Ferry and by the same rules: every payload
 * differs, is read whole and checked. Each limit's code is under 40 lines, in a file of its own.
 *
 * All of this lives in memory that both sides share (zero at first), and may be run any number of times. Two sides
 * take part: one calls the first function of a pair, the other one the second.
 */
#ifndef FERRY_BENCH_LIMITS_H
#define FERRY_BENCH_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/clock.h"
#include "bench/payload.h"

/* --- limit_line.c: a cache line goes to the other core and another one comes back -------------------------------- */

typedef struct bench_line {
    _Alignas(128) _Atomic uint64_t ping; /* 128: a processor may fetch lines in pairs */
    _Alignas(128) _Atomic uint64_t pong;
} bench_line_t;

/* Both store through `line` and look through `view`: the same place, or another mapping of the same memory. */
void bench_line_ping(bench_line_t *line, const bench_line_t *view, bench_trips_t *trips);
void bench_line_pong(bench_line_t *line, const bench_line_t *view);

/* --- limit_futex.c: wake the other side, sleep until it wakes this one ------------------------------------------- */

typedef struct bench_futex {
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
} bench_futex_t;

/* `between_threads`: the kernel may use the cheaper kind of futex. */
void bench_futex_ping(bench_futex_t *futex, bool between_threads, bench_trips_t *trips);
void bench_futex_pong(bench_futex_t *futex, bool between_threads);

/* --- limit_ring.c: one writes messages into slots of shared memory, one reads them there ------------------------- */

typedef struct bench_ring {
    size_t size;   /* bytes of a message */
    size_t offset; /* of the payload in its slot: in the first line if it fits there, else on lines of its own */
    size_t stride; /* from one slot to the next */
    size_t slots;  /* these three are powers of two */
    size_t batch;  /* messages after which the reader tells how far it is */
    size_t burst;  /* messages between two looks at the clock */
    _Alignas(128) uint64_t sent; /* the writer's */
    uint64_t seen;
    _Alignas(128) uint64_t received; /* the reader's */
    bool wrong;
    _Alignas(128) _Atomic uint64_t taken; /* the reader's, read by the writer */
    _Alignas(128) unsigned char slot[];
} bench_ring_t;

/* Makes a ring of `slots` (a power of two) messages of `size` bytes in memory shared with children; NULL: no memory. */
bench_ring_t *bench_ring_new(size_t size, size_t slots);
void bench_ring_free(bench_ring_t *ring);

/* Writes messages until the time `until_ns`, and two at least. */
void bench_ring_write(bench_ring_t *ring, int64_t until_ns);
/* Reads messages until `until_ns`, then what is left. Returns nanoseconds per message; 0: a payload was wrong. */
double bench_ring_read(bench_ring_t *ring, int64_t until_ns);

/* Messages of `size` bytes between two looks at the clock: few enough to end in time, many enough to cost nothing. */
static inline size_t bench_burst(size_t size) {
    return size <= 1024 ? 256 : size <= 4096 ? 64 : size <= 65536 ? 4 : 1;
}

/* --- limit_death.c: a process is killed, and the kernel says so -------------------------------------------------- */

/* Kills `pid` and returns the nanoseconds until its pidfd says that it is dead; a negative errno on failure. */
int64_t bench_death(pid_t pid);

#endif

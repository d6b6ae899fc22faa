/* SPDX-License-Identifier: MIT
 *
 * wire.h - a way to carry messages between two processes of one machine, to be compared with others in the same run.
 * Other libraries' stand in modules of their own (bench-peers/ at the top of the source), which are built where what
 * they need is installed, and loaded by the processes that are measured.
 *
 * There are two sides. Side 0 opens its end first, then side 1, then both join. After that either may send and take.
 */
#ifndef FERRY_BENCH_WIRE_H
#define FERRY_BENCH_WIRE_H

#include <stddef.h>

/* What a module has under this name, of type bench_wire_t. */
#define BENCH_WIRE_SYMBOL "ferry_bench_wire"

/* How much a wire that can hold any number of messages back may hold back, in bytes, and in messages. */
enum { BENCH_WIRE_BYTES = 4 << 20, BENCH_WIRE_MESSAGES = 1000 };

/* Looks at a message where it lies; nonzero: it is damaged. */
typedef int bench_got_fn(void *arg, const void *data, size_t size);

typedef struct bench_wire_place {
    const char *path; /* both sides may make files of this name, and of those that begin with it */
    unsigned side;
    size_t size; /* of every message */
    int spins;   /* whether who waits may keep its processor; where one can choose */
    void *host;  /* the bench_side_t, for what is part of the command */
} bench_wire_place_t;

/* What can fail returns nonzero then, or NULL. */
typedef struct bench_wire {
    void *(*open)(const bench_wire_place_t *place);
    int (*join)(void *end);   /* may be NULL */
    void *(*room)(void *end); /* where the next message is to be written: the wire's own memory, if it has such */
    int (*send)(void *end);   /* what was written there */
    int (*take)(void *end, bench_got_fn *got, void *arg); /* waits for a message */
    void (*close)(void *end);
} bench_wire_t;

/* How many messages of that size may be held back. */
static inline int bench_wire_depth(size_t size) {
    size_t n = BENCH_WIRE_BYTES / size;

    return n < BENCH_WIRE_MESSAGES ? (int)n : BENCH_WIRE_MESSAGES;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * callpeer.h - another library's calls, to be compared with in the same run. Like peer.h, it stands in a module of its
 * own (bench-peers/ at the top of the source), which is built where what it needs is installed. Also for C++.
 */
#ifndef FERRY_BENCH_CALLPEER_H
#define FERRY_BENCH_CALLPEER_H

#include <stddef.h>

/* What a module has under this name, of type bench_callpeer_t. */
#define BENCH_CALLPEER_SYMBOL "ferry_bench_callpeer"

/* Checks the argument, and makes the result, of as many bytes; nonzero: the argument was damaged. */
typedef int bench_echo_fn(void *arg, const void *data, size_t size, void *result);

typedef struct bench_callpeer {
    /* Serves at a UNIX socket of that name, in a thread of its own, until stopped; NULL: it cannot. */
    void *(*serve)(const char *path, bench_echo_fn *echo, void *arg);
    void (*stop)(void *server);
    /* What this thread calls with; NULL: it cannot. */
    void *(*connect)(const char *path);
    /* Calls, and gives the result to `got` before it returns: 0, what `got` has returned, or -1. */
    int (*call)(void *client, const void *data, size_t size, int (*got)(void *arg, const void *data, size_t size),
                void *arg);
    void (*disconnect)(void *client);
} bench_callpeer_t;

#endif

/* SPDX-License-Identifier: MIT
 *
 * peer.h - another library's shared memory, to be compared with in the same run. It stands in a module of its own
 * (bench-peers/ at the top of the source), which is built where its headers are installed, and loaded from beside the
 * command. Also for C++.
 */
#ifndef FERRY_BENCH_PEER_H
#define FERRY_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

/* What a module has under this name, of type bench_peer_t. */
#define BENCH_PEER_SYMBOL "ferry_bench_peer"

typedef struct bench_peer {
    /* The heap `name`, of `bytes` bytes, for all processes that open it; NULL: it cannot be had. */
    void *(*open)(const char *name, uint64_t bytes);
    /* No one can open it any more; it is gone with the last that has it open. */
    void (*forget)(const char *name);
    void *(*alloc)(void *heap, size_t bytes); /* NULL: it is full */
    void (*free)(void *heap, void *block);
    void (*close)(void *heap);
} bench_peer_t;

#endif

/* SPDX-License-Identifier: MIT
 *
 * memory.h - how much memory a process uses, by the kernel's account.
 */
#ifndef FERRY_BENCH_MEMORY_H
#define FERRY_BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_MAX_FILES = 65536 /* more mappings a process cannot have, unless it was allowed more */ };

/* A memfd that the process maps, and how far. */
typedef struct bench_file {
    uint64_t inode;
    uint64_t bytes;
} bench_file_t;

typedef struct bench_memory {
    uint64_t anonymous; /* private bytes touched */
    uint64_t pss;       /* bytes of the process's share of anonymous and shared memory touched */
    size_t n;
    bench_file_t file[BENCH_MAX_FILES];
} bench_memory_t;

/* Fills in what this process uses now; false: the kernel does not tell. */
bool bench_memory_read(bench_memory_t *memory);

/*
 * Bytes of all memfds that any of `n` processes maps, each counted once. They are allocated in full, whether
 * or not a process has touched its mapping, so this is what the system has given away for them.
 */
uint64_t bench_memory_files(const bench_memory_t *const *memories, size_t n);

#endif

/* SPDX-License-Identifier: MIT
 *
 * traces.h - what a process holds: descriptors, memfd mappings, threads, children; and what lies in its FERRY_DIR.
 */
#ifndef FERRY_TESTS_TRACES_H
#define FERRY_TESTS_TRACES_H

#include <stdbool.h>
#include <stddef.h>

#define TRACES_MAX 4096

typedef struct traces {
    size_t count;
    char *lines[TRACES_MAX]; /**< one sentence for each thing held, sorted */
} traces_t;

/** Writes down what this process holds now. */
void traces_take(traces_t *traces);
void traces_free(traces_t *traces);
/**
 * Waits up to two seconds (background threads end a little later) until nothing is held that was not held `before`.
 * Prints what is left, and returns whether nothing is.
 */
bool traces_settled(const traces_t *before);
/** Sweeps what killed processes left in FERRY_DIR, as `ferry ls` would; then prints each file left. True when none
 * is. */
bool directory_clean(const char *directory);
/** Removes the directory with everything in it. */
void directory_remove(const char *directory);
/** Of this process's memory, in KiB, what it shares with nobody. */
long own_memory(void);

#endif

/* SPDX-License-Identifier: MIT
 *
 * units.h - durations, sizes and counts: read from the command line, and written for people.
 */
#ifndef FERRY_TOOL_UNITS_H
#define FERRY_TOOL_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number with a unit (ns us ms s m h d), or "forever" (FERRY_FOREVER). False: it is neither. */
bool parse_duration(const char *text, int64_t *ns);

/* A number of bytes with or without a unit: K, M, G, T and KiB... are powers of 1024, kB, MB... of 1000. */
bool parse_size(const char *text, uint64_t *bytes);

/* A whole number without sign or unit. */
bool parse_count(const char *text, uint64_t *count);

/* Enough for any of the texts below. */
enum { UNITS_TEXT = 40 };

/* Each writes to `text` (UNITS_TEXT bytes) and returns it: 1,234,567 - 3.2 MiB - 250 ms. */
const char *show_count(uint64_t count, char *text);
const char *show_bytes(double bytes, char *text);
const char *show_duration(double ns, char *text);

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t now_ns(void);

/* Nanoseconds (negative: without a limit) as poll(2) wants them, rounded up. */
int poll_timeout(int64_t ns);

#endif

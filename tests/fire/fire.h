/* SPDX-License-Identifier: MIT
 *
 * fire.h - what the tests under fire share: random numbers that can be repeated, counts that shrink under a sanitizer
 * and say so, and looking at a process and a directory from outside.
 */
#ifndef FERRY_TESTS_FIRE_H
#define FERRY_TESTS_FIRE_H

#include "harness.h"

/* A sanitizer makes everything several times slower: FIRE_SLOW is set by the build then. */
#ifndef FIRE_SLOW
#define FIRE_SLOW 0
#endif

/** `full`, or `slow` under a sanitizer, or what the environment variable `name` says; prints which. */
unsigned fire_count(const char *name, const char *what, unsigned full, unsigned slow);

/** Random numbers from a seed that is printed and can be given in FERRY_FIRE_SEED (splitmix64). */
typedef struct dice {
    uint64_t state;
} dice_t;
dice_t dice_new(const char *what);
uint64_t dice_roll(dice_t *d);
/** 0 .. n - 1 */
static inline uint64_t dice_below(dice_t *d, uint64_t n) {
    return dice_roll(d) % n;
}

int64_t clock_ns(void);

/* ---- what a process holds, by kind ---- */

/** Peers' and own memory are told apart by how they are mapped: only the owner can write. */
typedef struct holdings {
    unsigned sockets;
    unsigned pipes;
    unsigned pidfds;
    unsigned pool_memfds; /* segments for messages: as many as the sizes need */
    unsigned memfds;
    unsigned other;
    unsigned pool_maps;
    unsigned own_maps;
    unsigned peer_maps;
    unsigned threads;
} holdings_t;
holdings_t holdings_of(pid_t pid);
/** The same once it does nothing and that stays so: what is to be compared with later. */
holdings_t holdings_at_rest(pid_t pid);
void holdings_print(const char *who, const holdings_t *h);
/** Waits until the process holds what it held before; fails after PATIENCE. */
void expect_holdings(pid_t pid, const char *who, const holdings_t *before);
/** The same, but for `memory` more memory files and maps of its own: rings and pools grow with what was to be sent. */
void expect_holdings_about(pid_t pid, const char *who, const holdings_t *before, unsigned memory);
bool holds_about(const holdings_t *now, const holdings_t *before, unsigned memory);

/* ---- a rest ---- */

/** In shared memory: makes those who work all the time stand still for a while. What they hold meanwhile is what they
 * keep; a look at their work may fall on a directory that is being listed, or on a descriptor that has just come. */
typedef struct rest {
    atomic_uint asked;   /* 1: stand still */
    atomic_uint resting; /* of them, these do */
} rest_t;
/** Between two pieces of work: stands still here as long as that is asked. */
void rest_when_asked(rest_t *rest);
/** Waits until all `workers` stand still. */
void rest_begin(rest_t *rest, unsigned workers);
/** Lets them go on. */
void rest_end(rest_t *rest);

/** Calls `each` with the inode of every mapped memory file of Ferry's, and whether this process may write to it. */
void each_ferry_map(pid_t pid, void (*each)(uint64_t inode, bool own, const char *line, void *arg), void *arg);

/** A number from /proc/PID/status ("VmRSS:", "Threads:"), in the unit that stands there. */
uint64_t status_of(pid_t pid, const char *key);
/** What each thread of a process is doing, as the kernel sees it: for a failure that has to be understood. */
void threads_print(const char *who, pid_t pid);
/** Processor time of a process so far. */
int64_t cpu_ns_of(pid_t pid);

/* ---- the directory of the space "test" ---- */

/** Number of names in it that contain `text`; 0 when the directory does not exist. */
unsigned names_with(const char *text);
/** Prints every name. */
void names_print(void);
/** The text by which a node's names are known. */
void name_of_node(uint64_t node, char text[20]);
/** Removes the directory of the space with everything in it, as a cleaner of /tmp would. */
void sweep_space(void);

#endif

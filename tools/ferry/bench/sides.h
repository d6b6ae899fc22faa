/* SPDX-License-Identifier: MIT
 *
 * sides.h - the threads or processes that talk to each other in a benchmark.
 *
 * The command itself never opens a node: it forks, and only supervises. Between processes each side is a child with a
 * node of its own; between threads one child has one node and a thread per side. The space lies in a temporary
 * directory that is removed in any case, also on Ctrl-C; the children die with their parent. What the sides find out
 * they leave in memory that was shared before the fork (bench_share).
 */
#ifndef FERRY_BENCH_SIDES_H
#define FERRY_BENCH_SIDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "bench/settings.h"

typedef struct bench_crew bench_crew_t;

typedef struct bench_side {
    bench_crew_t *crew;
    const bench_settings_t *settings;
    void *shared; /* the job's */
    unsigned index;
    int cpu; /* it is pinned to; -1: to none */
    double ticks_per_ns;
} bench_side_t;

typedef void bench_side_fn(bench_side_t *me);

typedef struct bench_job {
    const bench_settings_t *settings;
    bench_side_fn *run; /* what every side does; they differ by me->index */
    unsigned sides;
    unsigned takers;   /* the first so many sides get processors apart from the others' */
    bool in_processes; /* whatever the settings say: between processes */
    void *shared;
    int64_t expected_ns; /* how long it should take; a multiple of this later it is given up */
} bench_job_t;

/*
 * Runs the job. 0: every side did its work. 1: not; why was said. Does not return when a signal asked to end: then it
 * cleans up and ends by that signal.
 */
int bench_sides_run(const bench_job_t *job);

/* --- for the sides ----------------------------------------------------------------------------------------------- */

/* Ends the whole run with a sentence. */
_Noreturn void bench_fail(bench_side_t *me, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sleeps until all sides are here. */
void bench_meet(bench_side_t *me);

/* The directory for spaces. */
const char *bench_directory(const bench_side_t *me);

/* The node of this side's process, opened when first asked for. */
ferry_t *bench_node(bench_side_t *me);

/* Opens ends in it, with the settings' way to wait; any failure ends the run. */
ferry_sender_t *bench_sender(bench_side_t *me, const char *channel, ferry_kind_t kind,
                             const ferry_contract_t *contract);
ferry_receiver_t *bench_receiver(bench_side_t *me, const char *channel, ferry_kind_t kind);

/* Waits until `receivers` are linked to the sender. */
void bench_await(bench_side_t *me, ferry_sender_t *tx, unsigned receivers);

/* Takes a message that must come, checks every byte, and gives it back. Returns its id. */
uint64_t bench_take(bench_side_t *me, ferry_receiver_t *rx);

/* Closes the side's ends (either may be NULL); nothing may be left in them. */
void bench_close(bench_side_t *me, ferry_sender_t *tx, ferry_receiver_t *rx);

/* The buffer that a message is made in or copied to; free() it. */
unsigned char *bench_buffer(bench_side_t *me, size_t size);

/* --- slices of the limit and of Ferry in turn -------------------------------------------------------------------- */

typedef struct bench_slice {
    unsigned number;  /* 0 is warming up, which does not count; 1 to BENCH_SLICES count */
    int64_t ns;       /* how long it shall last */
    int64_t until_ns; /* when it shall end (CLOCK_MONOTONIC) */
} bench_slice_t;

typedef void bench_slice_fn(void *side, const bench_slice_t *slice);

/*
 * All sides call this together: a slice of `limit` and a slice of `ferry` in turn, warming up first. `side` is passed
 * to the functions; `total_ns` is for Ferry's slices together.
 */
void bench_alternate(bench_side_t *me, int64_t total_ns, bench_slice_fn *limit, bench_slice_fn *ferry, void *side);

/* How long bench_alternate takes. */
int64_t bench_alternate_ns(int64_t total_ns);

/* --- memory that survives into all children ---------------------------------------------------------------------- */

/* Zeroed and touched; NULL: no memory (said). */
void *bench_share(size_t bytes);
void bench_unshare(void *memory, size_t bytes);

/* --- processors -------------------------------------------------------------------------------------------------- */

/* Fills in the processors this process may use, one of each core first. Returns how many, at most `max`. */
unsigned bench_processors(int *cpus, unsigned max);

/* Whether two sides share a core. For the parent only: a side is pinned, and sees one processor. */
bool bench_is_shared_core(const bench_settings_t *settings);

/* The time that all threads of this process have had of a processor. */
double bench_cpu_ms(void);

/* Computes for `ns`, needing nothing but the processor. Returns the share of its time that this thread got. */
double bench_compute(int64_t ns);

#endif

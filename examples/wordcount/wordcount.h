/* SPDX-License-Identifier: MIT
 *
 * wordcount.h - a pipeline of parts that meet in a space.
 *
 *     producer 0 ─┐ queue "lines"  ┌─ worker 0 ─┐ queue "counts"
 *     producer 1 ─┴───────────────►┼─ worker 1 ─┴───────────────► collector
 *         ▲                        └─ ...                             │  ▲ service "result"
 *         └──────────────────── topic "start" ────────────────────────┘  └──────────────── reader ──► standard output
 *
 * Or the same parts share a region (--by region), or call each other (--by calls): by_region.c and by_calls.c draw
 * that. However it was counted, the reader asks the collector for the result.
 *
 * Each part is a function of its node.  None of them knows whether the others are threads of its process, processes
 * of their own or on another machine: only start_threads.c, start_processes.c and the space's name do.
 */
#ifndef WORDCOUNT_H
#define WORDCOUNT_H

#include <ferry/ferry.h>
#include <stdbool.h>

/** What the user asked for; the same for all parts. */
typedef struct job {
    const char *space;
    const char *input;   /**< path of the text */
    const char *figures; /**< where the collector writes its figures as JSON; NULL: nowhere */
    uint64_t quota;      /**< bytes of memory that each producer or worker may use for what is on its way */
    unsigned producers;
    unsigned workers;
    bool elsewhere;                                  /**< some of the parts run elsewhere (--run) */
    enum { BY_QUEUE, BY_REGION, BY_CALLS, WAYS } by; /**< how lines and counts get from one part to the next */
} job_t;

/** A part of the pipeline: number `number` of its sort, from 0. Returns 0, or -1 after it has said what went wrong. */
typedef int part_run_t(ferry_t *node, const job_t *job, unsigned number);
typedef struct part {
    part_run_t *run;
    const char *name;
    unsigned number;
} part_t;

part_run_t producer, producer_by_region, producer_by_calls;
part_run_t worker, worker_by_region, worker_by_calls;
part_run_t collector, collector_by_region, collector_by_calls;
part_run_t reader;

/** Runs all parts to their end. Returns 0 when all did well. */
typedef int start_t(const job_t *job, const part_t *parts, size_t n);
start_t start_threads;   /**< as threads of this process, which share one node */
start_t start_processes; /**< as processes, each with a node of its own */

/** From now on Ctrl-C and SIGTERM make every waiting call on `node` return, so that its parts end; with NULL, Ctrl-C is
 * only noted. */
void interrupt_leaves(ferry_t *node);
/** Has one of them come? */
bool interrupt_came(void);
/** Closes the node, if any, and then ends the process if it was interrupted, as that signal would have. */
void interrupt_ends(ferry_t *node);

/** No wait lasts longer than this: a part that has died must not make the others wait for ever. */
#define PATIENCE ((int64_t)60 * 1000 * 1000 * 1000)

/** Longest message on "lines". A longer line is sent in pieces that end between two words. */
#define LINE_LIMIT ((size_t)16 * 1024)

/** Memory for one table of words; such a message goes by pointer, so its size costs nothing on the way. */
#define TABLE_SIZE ((size_t)128 * 1024)

/** What the ends of "lines" agree on, and how much memory a sender of it takes. */
ferry_contract_t lines_contract(const job_t *job);
/** The same for "counts". */
ferry_contract_t counts_contract(const job_t *job);

/** Prints "wordcount: WHO NUMBER: WHAT: <the library's sentence>" to standard error; returns -1. */
int failed(const char *who, unsigned number, const char *what);
/** The same for what the library has no sentence for: WHY is said instead. */
int failed_since(const char *who, unsigned number, const char *what, const char *why);

#endif

/* SPDX-License-Identifier: MIT
 *
 * report.h - what each part tells the collector about its work, as one message on the queue "reports".
 */
#ifndef REPORT_H
#define REPORT_H

#include "wordcount.h"

/** Latencies are counted in buckets that are at most 1/32 of their value wide; the last one takes all above 73 min. */
#define LATENCY_BUCKETS 1216

/** Sums over one part's ends of "lines" and "counts". The collector adds up those of all parts. */
typedef struct report {
    uint64_t lines_sent, bytes_sent;
    uint64_t lines_received, bytes_received;
    uint64_t tables_sent, tables_received, table_bytes;
    uint64_t same_node, other_node; /**< lines whose sender is on the receiver's own node, or on another one */
    uint64_t copies_made, copied_bytes;
    uint64_t copies_avoided, avoided_bytes;
    uint32_t latency[LATENCY_BUCKETS]; /**< of lines: from sending one to holding it, the wait in the queue included */
} report_t;

/** Notes one latency. */
void report_latency(report_t *r, uint64_t ns);

/** Adds the copies that an end made and avoided. Negative errno as the stats call. */
int report_sender(report_t *r, ferry_sender_t *tx);
int report_receiver(report_t *r, ferry_receiver_t *rx);

/** What the ends of "reports" agree on. */
ferry_contract_t reports_contract(void);

/** Adds `from` to `to`. */
void report_add(report_t *to, const report_t *from);

/** The clock of latencies: nanoseconds of CLOCK_MONOTONIC. */
uint64_t report_now(void);

/* What the collector does with the whole, however it got it. Each returns 0, or -1 after it has said what went
 * wrong. */

/** Does it say that everything arrived that was sent? */
int report_check(const report_t *r);
/** Writes the figures of the run to where the job says, as one JSON object. */
int report_figures(const report_t *r, const job_t *job, double seconds);

#endif

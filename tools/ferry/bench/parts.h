/* SPDX-License-Identifier: MIT
 *
 * parts.h - the benchmarks. Each returns 0, or 1 when it could not be measured (said), or was not worth reporting.
 */
#ifndef FERRY_BENCH_PARTS_H
#define FERRY_BENCH_PARTS_H

#include "bench/report.h"
#include "bench/settings.h"

/* Round trips of one message. */
int bench_latency(const bench_settings_t *settings, bench_report_t *report);
/* Streams of messages, from any number of senders to any number of receivers. */
int bench_throughput(const bench_settings_t *settings, bench_report_t *report);
/* Messages that are handed over by pointer. */
int bench_large(const bench_settings_t *settings, bench_report_t *report);
/* Many senders on one receiver: memory, cost, coming and going, death. */
int bench_senders(const bench_settings_t *settings, bench_report_t *report);
/* A sender of a few messages beside one that floods. */
int bench_fairness(const bench_settings_t *settings, bench_report_t *report);
/* Sides that take turns at one mutex, or at one reader-writer lock. */
int bench_lock(const bench_settings_t *settings, bench_report_t *report);
int bench_rwlock(const bench_settings_t *settings, bench_report_t *report);
/* Sides that let each other go on through semaphores, and that take turns at one. */
int bench_semaphore(const bench_settings_t *settings, bench_report_t *report);
/* Sides that let each other go on through events, or meet at a barrier. */
int bench_event(const bench_settings_t *settings, bench_report_t *report);
int bench_barrier(const bench_settings_t *settings, bench_report_t *report);
/* Blocks of a shared region. */
int bench_region(const bench_settings_t *settings, bench_report_t *report);
/* Values that are put and got. */
int bench_cell(const bench_settings_t *settings, bench_report_t *report);
/* Items that go through a bounded buffer in a region. */
int bench_bounded(const bench_settings_t *settings, bench_report_t *report);
/* Versions of a published region. */
int bench_snapshot(const bench_settings_t *settings, bench_report_t *report);
/* Calls of a procedure on another side. */
int bench_rpc(const bench_settings_t *settings, bench_report_t *report);
/* Messages beside other ways to carry them between processes. */
int bench_peers(const bench_settings_t *settings, bench_report_t *report);
/* Messages, calls and locks between two machines: latency, throughput, rpc, lock. */
int bench_machines(bench_part_t part, const bench_settings_t *settings, bench_report_t *report);
/* All of these, as far as they have targets. */
int bench_everything(const bench_settings_t *settings, bench_report_t *report);

#endif

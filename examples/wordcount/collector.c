/* SPDX-License-Identifier: MIT
 *
 * collector.c - gives the start, merges the workers' tables, writes the figures of the run and serves the result.
 */
#include "report.h"
#include "result.h"

#include <errno.h>
#include <string.h>

/** Publishes the start once every producer listens; wait_for_start in producer.c says why. */
static int give_start(ferry_t *node, const job_t *job) {
    ferry_sender_t *start;
    ferry_contract_t contract = {.quota = 1 << 20};
    if (ferry_sender_open(node, "start", FERRY_TOPIC, &contract, &start) < 0) {
        return failed("collector", 0, "opening the sender of \"start\"");
    }
    if (ferry_sender_wait(start, job->producers, PATIENCE) < 0) {
        return failed("collector", 0, "waiting for the producers");
    }
    if (ferry_send(start, "go", 2, PATIENCE) < 0) {
        return failed("collector", 0, "giving the start");
    }
    return ferry_sender_close(start, PATIENCE, NULL);
}

/** Merges tables until all workers have ended. */
static int merge_all(ferry_receiver_t *counts, words_t *all, report_t *report) {
    for (;;) {
        ferry_msg_t *m;
        int r = ferry_recv(counts, PATIENCE, &m);
        if (r == -EPIPE) {
            return report_receiver(report, counts);
        }
        if (r < 0) {
            return failed("collector", 0, "receiving tables");
        }
        r = words_merge(all, ferry_msg_data(m), ferry_msg_size(m)); /* read where the worker wrote it */
        report->tables_received++;
        report->table_bytes += ferry_msg_size(m);
        ferry_msg_release(m);
        if (r < 0) {
            return failed_since("collector", 0, "merging a table", strerror(-r));
        }
    }
}

/** Adds up the reports of all other parts, and checks that together they saw every line. */
static int add_reports(ferry_receiver_t *reports, const job_t *job, report_t *all) {
    for (unsigned missing = job->producers + job->workers; missing > 0; missing--) {
        report_t one;
        size_t size;
        if (ferry_recv_into(reports, &one, sizeof(one), PATIENCE, &size) < 0) {
            return failed("collector", 0, "waiting for the reports");
        }
        report_add(all, &one);
    }
    return report_check(all);
}

/** Its part of the pipeline, from the start to the last report. */
static int collect(ferry_t *node, const job_t *job, words_t *all, report_t *report, double *seconds) {
    ferry_contract_t counts_are = counts_contract(job), reports_are = reports_contract();
    ferry_receiver_options_t on_counts = {.contract = &counts_are}, on_reports = {.contract = &reports_are};
    ferry_receiver_t *counts, *reports;
    if (ferry_receiver_open(node, "counts", FERRY_QUEUE, &on_counts, &counts) < 0 ||
        ferry_receiver_open(node, "reports", FERRY_QUEUE, &on_reports, &reports) < 0) {
        return failed("collector", 0, "opening its receivers");
    }
    if (give_start(node, job) < 0) {
        return -1;
    }
    uint64_t began = report_now();
    if (merge_all(counts, all, report) < 0) {
        return -1;
    }
    *seconds = (double)(report_now() - began) / 1e9;
    if (add_reports(reports, job, report) < 0) {
        return -1;
    }
    ferry_receiver_close(reports);
    ferry_receiver_close(counts);
    return 0;
}

int collector(ferry_t *node, const job_t *job, unsigned number) {
    (void)number; /* there is only one */
    words_t all;
    report_t report = {0};
    double seconds = 0;
    if (!words_init_growing(&all)) {
        return failed_since("collector", 0, "making its table", strerror(ENOMEM));
    }
    int r = collect(node, job, &all, &report, &seconds);
    if (r == 0) {
        r = report_figures(&report, job, seconds);
    }
    if (r == 0) {
        r = result_serve_words(node, &all);
    }
    words_done_growing(&all);
    return r;
}

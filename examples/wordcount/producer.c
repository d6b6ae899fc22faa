/* SPDX-License-Identifier: MIT
 *
 * producer.c - sends its share of the text, one line per message.
 */
#include "report.h"
#include "text.h"

#include <errno.h>
#include <string.h>

static int send_lines(const share_t *s, ferry_sender_t *lines, unsigned number, report_t *report) {
    size_t size;
    for (const char *at = s->begin; at < s->end; at += size) {
        size = share_next(s, at, LINE_LIMIT);
        if (size == 0) {
            return failed_since("producer", number, "cutting the text", "it has a word of 16 KiB or more");
        }
        /* The only copy: from the page cache into this sender's memory, where the worker reads it. */
        if (ferry_send(lines, at, size, PATIENCE) < 0) {
            return failed("producer", number, "sending a line");
        }
        report->lines_sent++;
        report->bytes_sent += size;
    }
    return 0;
}

/**
 * Waits until the pipeline is complete. Every worker must be linked with every producer before the first line flows:
 * else a worker could see the end of one quick producer, and leave, before it has met the others.
 */
static int wait_for_start(ferry_t *node, const job_t *job, ferry_sender_t *lines, unsigned number) {
    ferry_receiver_t *start;
    ferry_msg_t *go;
    if (ferry_sender_wait(lines, job->workers, PATIENCE) < 0) {
        return failed("producer", number, "waiting for the workers");
    }
    /* The collector gives the start when every producer listens, so when each of them has got this far. */
    if (ferry_receiver_open(node, "start", FERRY_TOPIC, NULL, &start) < 0) {
        return failed("producer", number, "opening the receiver of \"start\"");
    }
    if (ferry_recv(start, PATIENCE, &go) < 0) {
        return failed("producer", number, "waiting for the start");
    }
    ferry_msg_release(go);
    ferry_receiver_close(start);
    return 0;
}

int producer(ferry_t *node, const job_t *job, unsigned number) {
    ferry_contract_t lines_are = lines_contract(job), reports_are = reports_contract();
    ferry_sender_t *lines, *reports;
    report_t report = {0};
    share_t share;
    if (share_open(&share, job->input, job->producers, number) != 0) {
        return failed_since("producer", number, job->input, strerror(errno));
    }
    if (ferry_sender_open(node, "reports", FERRY_QUEUE, &reports_are, &reports) < 0 ||
        ferry_sender_open(node, "lines", FERRY_QUEUE, &lines_are, &lines) < 0) {
        return failed("producer", number, "opening its senders");
    }
    if (wait_for_start(node, job, lines, number) < 0 || send_lines(&share, lines, number, &report) < 0) {
        return -1;
    }
    share_close(&share);
    /* The count of copies is final when every line has been released; closing would wait for that too. */
    if (ferry_sender_flush(lines, PATIENCE) < 0 || report_sender(&report, lines) < 0) {
        return failed("producer", number, "waiting until the workers have released all lines");
    }
    ferry_sender_close(lines, PATIENCE, NULL);
    if (ferry_send(reports, &report, sizeof(report), PATIENCE) < 0) {
        return failed("producer", number, "sending its report");
    }
    return ferry_sender_close(reports, PATIENCE, NULL);
}

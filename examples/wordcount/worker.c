/* SPDX-License-Identifier: MIT
 *
 * worker.c - counts the words of the lines that it gets.
 *
 * The table of counts is built inside a message, in the memory that the collector will read: when it is full, its
 * pointer is sent and a new message begun.  No byte of a table is ever copied.
 */
#include "report.h"
#include "words.h"

#include <errno.h>
#include <string.h>

/** Lines taken at once: one call for many, and few enough to be given back soon. */
#define BATCH 32

/** An index for as many words as a table can hold at most (16 bytes each), half empty. */
#define SLOTS (2 * TABLE_SIZE / sizeof(word_record_t))

typedef struct worker {
    ferry_t *node;
    unsigned number;
    ferry_receiver_t *lines;
    ferry_sender_t *counts, *reports;
    ferry_msg_t *message; /**< the table under construction */
    words_t words;
    report_t report;
} worker_t;

static int begin_table(worker_t *w) {
    void *data;
    /* Waits here when the collector falls behind: the tables that it has not released fill this sender's quota. */
    if (ferry_msg_new(w->counts, TABLE_SIZE, PATIENCE, &data, &w->message) < 0) {
        return failed("worker", w->number, "taking memory for a table");
    }
    words_use(&w->words, data, TABLE_SIZE);
    return 0;
}

static int ship_table(worker_t *w) {
    if (ferry_msg_set_size(w->message, w->words.used) < 0 || ferry_send_msg(w->counts, w->message, PATIENCE) < 0) {
        return failed("worker", w->number, "sending a table");
    }
    w->report.tables_sent++;
    ferry_msg_release(w->message); /* ours only: the message lives until the collector has released it too */
    w->message = NULL;
    return 0;
}

static int next_table(void *arg) {
    return ship_table(arg) < 0 || begin_table(arg) < 0 ? -1 : 0;
}

/** Notes where a line came from and how long it took. */
static int note_line(worker_t *w, const ferry_msg_t *line, uint64_t now) {
    ferry_msg_info_t info = {0};
    if (ferry_msg_info(line, &info) < 0) {
        return failed("worker", w->number, "asking for a line's sender");
    }
    if (info.sender_node == ferry_node_id(w->node)) {
        w->report.same_node++;
    } else {
        w->report.other_node++;
    }
    w->report.lines_received++;
    w->report.bytes_received += ferry_msg_size(line);
    report_latency(&w->report, now > info.time_ns ? now - info.time_ns : 0);
    return 0;
}

/** Counts all lines until all producers have ended. */
static int count_all(worker_t *w) {
    ferry_msg_t *batch[BATCH];
    for (;;) {
        int n = ferry_recv_batch(w->lines, batch, BATCH, PATIENCE);
        if (n == -EPIPE) {
            return 0;
        }
        if (n < 0) {
            return failed("worker", w->number, "receiving lines");
        }
        uint64_t now = report_now();
        for (int i = 0; i < n; i++) {
            if (note_line(w, batch[i], now) < 0 ||
                words_count_all(&w->words, ferry_msg_data(batch[i]), ferry_msg_size(batch[i]), next_table, w) < 0) {
                return -1;
            }
            ferry_msg_release(batch[i]); /* counted: another worker will not get it again */
        }
    }
}

/**
 * Opens "lines" last. When the producers see this worker there, it already is a sender of "counts" and "reports", and
 * so the collector cannot take the end of one worker for the end of all.
 */
static int open_ends(worker_t *w, const job_t *job) {
    ferry_contract_t lines_are = lines_contract(job), counts_are = counts_contract(job);
    ferry_contract_t reports_are = reports_contract();
    ferry_receiver_options_t options = {.contract = &lines_are};
    if (ferry_sender_open(w->node, "reports", FERRY_QUEUE, &reports_are, &w->reports) < 0 ||
        ferry_sender_open(w->node, "counts", FERRY_QUEUE, &counts_are, &w->counts) < 0 ||
        ferry_receiver_open(w->node, "lines", FERRY_QUEUE, &options, &w->lines) < 0) {
        return failed("worker", w->number, "opening its ends");
    }
    return 0;
}

/** Ends in the order in which others wait for it: counts for the result, the report after it. */
static int close_ends(worker_t *w) {
    if (ferry_sender_flush(w->counts, PATIENCE) < 0 || report_sender(&w->report, w->counts) < 0 ||
        report_receiver(&w->report, w->lines) < 0) {
        return failed("worker", w->number, "waiting until the collector has released all tables");
    }
    ferry_receiver_close(w->lines);
    ferry_sender_close(w->counts, PATIENCE, NULL);
    if (ferry_send(w->reports, &w->report, sizeof(w->report), PATIENCE) < 0) {
        return failed("worker", w->number, "sending its report");
    }
    return ferry_sender_close(w->reports, PATIENCE, NULL);
}

int worker(ferry_t *node, const job_t *job, unsigned number) {
    worker_t w = {.node = node, .number = number};
    if (!words_init(&w.words, SLOTS)) {
        return failed_since("worker", number, "making its index", strerror(ENOMEM));
    }
    int r = open_ends(&w, job);
    if (r == 0) {
        r = begin_table(&w);
    }
    if (r == 0) {
        r = count_all(&w);
    }
    if (r == 0) {
        r = ship_table(&w);
    }
    if (r == 0) {
        r = close_ends(&w);
    }
    words_done(&w.words);
    return r;
}

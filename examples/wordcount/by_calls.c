/* SPDX-License-Identifier: MIT
 *
 * by_calls.c - the same pipeline by remote procedure calls: the parts call each other.
 *
 *     producer 0 ─┐ "lines": add   ┌─ worker 0 ─┐ "counts": merge
 *     producer 1 ─┴───────────────►┼─ worker 1 ─┴────────────────► collector
 *                                  └─ ...
 *
 * Each worker serves "lines" in its own thread; a producer has a window of calls under way, each goes to the worker
 * that will probably be done with it first.  An answer says that the line was counted.  So nothing has to be arranged
 * for the end:
 * each part reports to the collector by a call; the producer that is the last to do so asks the workers to end.
 */
#include "report.h"
#include "result.h"
#include "text.h"

#include <errno.h>
#include <string.h>

/** Calls that a producer has under way. */
#define WINDOW 64u
/** Bytes of lines that a call carries to workers that may be on another machine: each call is two trips through a
 * server, which cost as much for a word as for a page.  Within a machine a call carries a line. */
#define PAGE 4096u

/** The argument of `add`. */
typedef struct line {
    uint64_t time_ns; /**< when it was written */
    char text[];
} line_t;

/** What `report` answers. */
typedef struct receipt {
    uint32_t missing; /**< reports that have not come yet */
} receipt_t;

/** Opens a client, and waits until as many servers are there. */
static int open_client(ferry_t *node, const job_t *job, const char *service, unsigned servers,
                       ferry_client_t **client) {
    const ferry_client_options_t options = {.quota = job->quota, .calls = WINDOW};
    int r = ferry_client_open(node, service, &options, client);
    return r < 0 ? r : ferry_client_wait(*client, servers, PATIENCE);
}

/** Tells the collector of one's work. */
static int hand_in(ferry_client_t *counts, const report_t *report, receipt_t *receipt) {
    ferry_msg_t *m;
    int r = ferry_call(counts, "report", report, sizeof(*report), PATIENCE, &m);
    if (r < 0) {
        return r;
    }
    if (r == 0 && ferry_msg_size(m) == sizeof(*receipt)) {
        memcpy(receipt, ferry_msg_data(m), sizeof(*receipt));
    } else {
        r = -EPROTO;
    }
    ferry_msg_release(m);
    return r;
}

/* ---- producers ---- */

typedef struct caller {
    ferry_client_t *lines;
    unsigned number;
    unsigned under_way;
    size_t page; /**< bytes that a call may carry, if it has several lines */
    report_t report;
} caller_t;

/** Takes answers until no more than `rest` calls are under way. */
static int take_answers(caller_t *c, unsigned rest) {
    while (c->under_way > rest) {
        ferry_call_t *call;
        if (ferry_client_next(c->lines, PATIENCE, &call) < 0) {
            return failed("producer", c->number, "waiting for answers");
        }
        int r = ferry_call_wait(call, FERRY_NOW, NULL);
        ferry_call_release(call);
        if (r != 0) {
            return r < 0 ? failed("producer", c->number, "add")
                         : failed_since("producer", c->number, "add", "the worker could not count the line");
        }
        c->under_way--;
    }
    return 0;
}

static int call_add(caller_t *c, const char *text, size_t size) {
    void *data;
    ferry_msg_t *m;
    ferry_call_t *call;
    if (c->under_way == WINDOW && take_answers(c, WINDOW / 2) < 0) {
        return -1;
    }
    if (ferry_client_new_msg(c->lines, sizeof(line_t) + size, PATIENCE, &data, &m) < 0) {
        return failed("producer", c->number, "taking memory for a line");
    }
    line_t *line = data;
    line->time_ns = report_now();
    memcpy(line->text, text, size); /* the only copy: the worker reads it here */
    int r = ferry_call_start_msg(c->lines, "add", m, 0, PATIENCE, &call);
    ferry_msg_release(m); /* ours only: it lives until the worker has released it, too */
    if (r < 0) {
        return failed("producer", c->number, "calling add");
    }
    c->under_way++;
    return 0;
}

/** Bytes of the next call: a line, and those behind it that fit on the same page. 0: a word is too long. */
static size_t next_page(const caller_t *c, const share_t *s, const char *at) {
    size_t size = share_next(s, at, LINE_LIMIT);
    while (size > 0 && size < c->page && at + size < s->end) {
        size_t more = share_next(s, at + size, LINE_LIMIT);
        if (more == 0 || size + more > c->page) {
            break;
        }
        size += more;
    }
    return size;
}

static int call_for_all(caller_t *c, const share_t *s) {
    size_t size;
    for (const char *at = s->begin; at < s->end; at += size) {
        size = next_page(c, s, at);
        if (size == 0) {
            return failed_since("producer", c->number, "cutting the text", "it has a word of 16 KiB or more");
        }
        if (call_add(c, at, size) < 0) {
            return -1;
        }
        c->report.lines_sent++;
        c->report.bytes_sent += size;
    }
    c->report.copies_made = c->report.lines_sent;
    c->report.copied_bytes = c->report.bytes_sent;
    return take_answers(c, 0);
}

/**
 * Each worker that is asked takes no more calls; so the next one is asked, until nobody is left. A call that meets a
 * worker that is just leaving may have run or not (-ECONNRESET): asking who is left is right in either case.
 */
static int end_workers(caller_t *c) {
    int r;
    do {
        r = ferry_call(c->lines, "end", NULL, 0, PATIENCE, NULL);
    } while (r == 0 || r == -ECONNRESET);
    return r == -ENOENT ? 0 : failed("producer", c->number, "asking the workers to end");
}

int producer_by_calls(ferry_t *node, const job_t *job, unsigned number) {
    caller_t c = {.number = number, .page = job->elsewhere ? PAGE : 0};
    receipt_t receipt;
    ferry_client_t *counts;
    share_t share;
    if (share_open(&share, job->input, job->producers, number) != 0) {
        return failed_since("producer", number, job->input, strerror(errno));
    }
    if (open_client(node, job, "lines", job->workers, &c.lines) < 0 ||
        open_client(node, job, "counts", 1, &counts) < 0) {
        return failed("producer", number, "waiting for the workers and the collector");
    }
    if (call_for_all(&c, &share) < 0) {
        return -1;
    }
    share_close(&share);
    if (hand_in(counts, &c.report, &receipt) < 0) {
        return failed("producer", number, "handing in its report");
    }
    if (receipt.missing == job->workers && end_workers(&c) < 0) { /* no other producer's is missing */
        return -1;
    }
    ferry_client_close(counts, PATIENCE, NULL);
    return ferry_client_close(c.lines, PATIENCE, NULL);
}

/* ---- workers ---- */

typedef struct counter {
    ferry_t *node;
    unsigned number;
    ferry_service_t *lines;
    ferry_client_t *counts;
    ferry_msg_t *message; /**< the table under construction */
    words_t words;
    report_t report;
} counter_t;

static int begin_table(counter_t *c) {
    void *data;
    if (ferry_client_new_msg(c->counts, TABLE_SIZE, PATIENCE, &data, &c->message) < 0) {
        return failed("worker", c->number, "taking memory for a table");
    }
    words_use(&c->words, data, TABLE_SIZE);
    return 0;
}

/** The table is the argument, by pointer: no byte of it is copied. */
static int ship_table(counter_t *c) {
    if (ferry_msg_set_size(c->message, c->words.used) < 0 ||
        ferry_call_msg(c->counts, "merge", c->message, PATIENCE, NULL) != 0) {
        return failed("worker", c->number, "merge");
    }
    c->report.tables_sent++;
    c->report.copies_avoided += 2; /* into the call, and out of it */
    c->report.avoided_bytes += 2 * c->words.used;
    ferry_msg_release(c->message);
    c->message = NULL;
    return 0;
}

/** Within `add`: a call that a handler makes has the time that is left of its own. */
static int next_table(void *arg) {
    return ship_table(arg) < 0 || begin_table(arg) < 0 ? -EIO : 0;
}

static int add(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    counter_t *c = arg;
    const line_t *line = data;
    ferry_request_info_t info = {0};
    if (size < sizeof(*line) || ferry_request_info(rq, &info) < 0) {
        return -EINVAL;
    }
    uint64_t now = report_now(), then = line->time_ns;
    size -= sizeof(*line);
    report_latency(&c->report, now > then ? now - then : 0);
    *(info.client_node == ferry_node_id(c->node) ? &c->report.same_node : &c->report.other_node) += 1;
    c->report.lines_received++;
    c->report.bytes_received += size;
    return words_count_all(&c->words, line->text, size, next_table, c);
}

static int end(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const counter_t *c = arg;
    (void)rq, (void)data, (void)size;
    return ferry_service_stop(c->lines);
}

/** Serves until it is asked to end; in this thread, so that the table needs no lock. */
static int serve_lines(counter_t *c) {
    if (ferry_service_open(c->node, "lines", NULL, &c->lines) < 0 ||
        ferry_service_method(c->lines, "add", add, c, NULL) < 0 ||
        ferry_service_method(c->lines, "end", end, c, NULL) < 0 || ferry_service_run(c->lines, FERRY_FOREVER) < 0 ||
        ferry_service_close(c->lines, PATIENCE) < 0) {
        return failed("worker", c->number, "serving");
    }
    c->report.copies_avoided += c->report.lines_received; /* read where they were written */
    c->report.avoided_bytes += c->report.bytes_received;
    return 0;
}

int worker_by_calls(ferry_t *node, const job_t *job, unsigned number) {
    counter_t c = {.node = node, .number = number};
    receipt_t receipt;
    if (!words_init(&c.words, 2 * TABLE_SIZE / sizeof(word_record_t))) {
        return failed_since("worker", number, "making its index", strerror(ENOMEM));
    }
    int r = open_client(node, job, "counts", 1, &c.counts);
    r = r < 0 ? failed("worker", number, "waiting for the collector") : begin_table(&c);
    r = r == 0 ? serve_lines(&c) : r;
    r = r == 0 ? ship_table(&c) : r;
    if (r == 0 && hand_in(c.counts, &c.report, &receipt) < 0) {
        r = failed("worker", number, "handing in its report");
    }
    words_done(&c.words);
    return r == 0 ? ferry_client_close(c.counts, PATIENCE, NULL) : r;
}

/* ---- the collector ---- */

typedef struct desk {
    ferry_service_t *counts;
    words_t words;
    report_t report;  /**< of all */
    uint32_t missing; /**< reports that have not come yet */
} desk_t;

static int merge(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    desk_t *d = arg;
    (void)rq;
    d->report.tables_received++;
    d->report.table_bytes += size;
    return words_merge(&d->words, data, size);
}

static int take_report(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    desk_t *d = arg;
    report_t one;
    if (size != sizeof(one) || d->missing == 0) {
        return -EINVAL;
    }
    memcpy(&one, data, sizeof(one));
    report_add(&d->report, &one);
    receipt_t receipt = {.missing = --d->missing};
    if (d->missing == 0) {
        ferry_service_stop(d->counts); /* all tables came before these */
    }
    return ferry_reply(rq, &receipt, sizeof(receipt));
}

static int serve_counts(ferry_t *node, desk_t *d) {
    if (ferry_service_open(node, "counts", NULL, &d->counts) < 0 ||
        ferry_service_method(d->counts, "merge", merge, d, NULL) < 0 ||
        ferry_service_method(d->counts, "report", take_report, d, NULL) < 0 ||
        ferry_service_run(d->counts, FERRY_FOREVER) < 0 || ferry_service_close(d->counts, PATIENCE) < 0) {
        return failed("collector", 0, "serving");
    }
    return report_check(&d->report);
}

int collector_by_calls(ferry_t *node, const job_t *job, unsigned number) {
    (void)number; /* there is only one */
    desk_t d = {.missing = job->producers + job->workers};
    if (!words_init_growing(&d.words)) {
        return failed_since("collector", 0, "making its table", strerror(ENOMEM));
    }
    uint64_t began = report_now();
    int r = serve_counts(node, &d);
    r = r == 0 ? report_figures(&d.report, job, (double)(report_now() - began) / 1e9) : r;
    r = r == 0 ? result_serve_words(node, &d.words) : r;
    words_done_growing(&d.words);
    return r;
}

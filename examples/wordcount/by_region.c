/* SPDX-License-Identifier: MIT
 *
 * by_region.c - the same pipeline by shared memory: one region has all that its parts share.
 *
 *     producer 0 ─┐ bounded   ┌─ worker 0 ─┐ tally.h
 *     producer 1 ─┴─ buffer ─►┼─ worker 1 ─┴─ words ──► collector ──► result
 *                             └─ ...
 *
 * What queues did by themselves is told here in words: that all have met, that all lines were put, that all are
 * counted.
 */
#include "report.h"
#include "result.h"
#include "tally.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** Longest piece of a line: a slot of the buffer has as many bytes, whatever is put into it. */
#define PIECE_LIMIT ((size_t)4096)

/** One line on its way. */
typedef struct item {
    uint64_t time_ns; /**< when it was put */
    char text[PIECE_LIMIT];
} item_t;

/** The root object of the region. */
typedef struct board {
    ferry_ref_t lines; /**< the bounded buffer */
    uint64_t report_lock[FERRY_LOCK_BYTES / 8];
    report_t report; /**< of all producers and workers */
    tally_root_t tally;
} board_t;

/** What each part has open. */
typedef struct desk {
    const char *who;
    unsigned number;
    ferry_t *node;
    ferry_region_t *region;
    board_t *board;
    ferry_buffer_t *lines;
    ferry_mutex_t *report_lock;
    report_t report; /**< its own */
    item_t item;
} desk_t;

static int desk_failed(const desk_t *d, const char *what) {
    return failed(d->who, d->number, what);
}

/** As many slots as the producers' quotas have room for. */
static uint32_t slots_for(const job_t *job) {
    return (uint32_t)(job->quota * job->producers / sizeof(item_t));
}

static int open_board(desk_t *d, const job_t *job) {
    const ferry_region_options_t options = {
        .type_name = "wordcount.board", .type_size = sizeof(board_t), .limit = (uint64_t)1 << 32};
    uint64_t bytes = sizeof(board_t) + job->quota * job->producers + (8 << 20); /* it grows with the words */
    if (ferry_region_open(d->node, "wordcount", bytes, &options, &d->region) < 0) {
        return desk_failed(d, "opening the region");
    }
    d->board = ferry_region_root(d->region);
    ferry_ref_t report_lock = ferry_region_ref(d->region, d->board->report_lock);
    if (ferry_buffer_open(d->region, &d->board->lines, slots_for(job), sizeof(item_t), NULL, &d->lines) < 0 ||
        ferry_mutex_open_in(d->region, report_lock, NULL, &d->report_lock) < 0) {
        return desk_failed(d, "opening the buffer of lines, and a lock");
    }
    return 0;
}

/** A region is gone with the last who has it open; so nobody begins, and leaves perhaps, before all have come. */
static int meet(desk_t *d, const char *where, unsigned parties) {
    ferry_barrier_t *barrier;
    if (ferry_barrier_open(d->node, where, parties, NULL, &barrier) < 0 ||
        ferry_barrier_wait(barrier, FERRY_FOREVER) < 0) {
        return desk_failed(d, where);
    }
    return ferry_barrier_close(barrier);
}

/** Opens everything, and waits for all others who do so. On failure, closing the node closes what is open. */
static desk_t *desk_open(ferry_t *node, const job_t *job, const char *who, unsigned number) {
    desk_t *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        failed_since(who, number, "making its desk", strerror(ENOMEM));
        return NULL;
    }
    *d = (desk_t){.who = who, .number = number, .node = node};
    if (open_board(d, job) < 0 || meet(d, "all-have-come", job->producers + job->workers + 1) < 0) {
        free(d);
        return NULL;
    }
    return d;
}

/** Adds one's own figures to those of all. */
static int hand_in_report(desk_t *d) {
    int r = ferry_mutex_lock(d->report_lock, PATIENCE);
    if (r != 0) {
        return r < 0 ? desk_failed(d, "adding its report")
                     : failed_since(d->who, d->number, "adding its report", "another one has died while it did so");
    }
    report_add(&d->board->report, &d->report);
    return ferry_mutex_unlock(d->report_lock);
}

static int desk_close(desk_t *d, int result) {
    if (result == 0 && (ferry_buffer_close(d->lines) < 0 || ferry_mutex_close(d->report_lock) < 0 ||
                        ferry_region_close(d->region) < 0)) {
        result = desk_failed(d, "closing the region");
    }
    free(d);
    return result;
}

/* ---- producers ---- */

static int put_lines(desk_t *d, const share_t *s) {
    size_t size;
    for (const char *at = s->begin; at < s->end; at += size) {
        size = share_next(s, at, PIECE_LIMIT);
        if (size == 0) {
            return failed_since(d->who, d->number, "cutting the text", "it has a word of 4 KiB or more");
        }
        memcpy(d->item.text, at, size);
        d->item.time_ns = report_now();
        if (ferry_buffer_put(d->lines, &d->item, offsetof(item_t, text) + size, PATIENCE) < 0) {
            return desk_failed(d, "putting a line");
        }
        d->report.lines_sent++;
        d->report.bytes_sent += size;
    }
    d->report.copies_made = 2 * d->report.lines_sent; /* into the item, and into its slot */
    d->report.copied_bytes = 2 * d->report.bytes_sent;
    return 0;
}

int producer_by_region(ferry_t *node, const job_t *job, unsigned number) {
    share_t share;
    if (share_open(&share, job->input, job->producers, number) != 0) {
        return failed_since("producer", number, job->input, strerror(errno));
    }
    desk_t *d = desk_open(node, job, "producer", number);
    if (d == NULL) {
        return -1;
    }
    int r = put_lines(d, &share);
    share_close(&share);
    r = r == 0 ? hand_in_report(d) : r;
    r = r == 0 ? meet(d, "all-is-put", job->producers + 1) : r;
    return desk_close(d, r);
}

/* ---- workers ---- */

typedef struct counter {
    desk_t *desk;
    tally_t tally;
    words_t words; /**< counted, and not added yet */
    char *memory;
} counter_t;

/** Locks are dear compared with counting one word: so many words are added at once. */
static int add_table(void *arg) {
    counter_t *c = arg;
    const word_record_t *word;
    for (size_t at = 0; (word = words_next(c->words.table, c->words.used, &at)) != NULL;) {
        int r = tally_add(&c->tally, word, PATIENCE);
        if (r < 0) {
            return r == -EOWNERDEAD ? failed_since("worker", c->desk->number, "adding up a table", "a worker has died")
                                    : desk_failed(c->desk, "adding up a table");
        }
    }
    c->desk->report.tables_sent++;
    c->desk->report.tables_received++;
    c->desk->report.table_bytes += c->words.used;
    words_use(&c->words, c->memory, TABLE_SIZE);
    return 0;
}

static int count_item(counter_t *c, size_t size) {
    desk_t *d = c->desk;
    uint64_t now = report_now();
    size -= offsetof(item_t, text);
    d->report.lines_received++;
    d->report.bytes_received += size;
    report_latency(&d->report, now > d->item.time_ns ? now - d->item.time_ns : 0);
    return words_count_all(&c->words, d->item.text, size, add_table, c);
}

static int count_all(counter_t *c) {
    size_t size;
    int r;
    while ((r = ferry_buffer_get(c->desk->lines, &c->desk->item, sizeof(item_t), PATIENCE, &size)) == 0) {
        if (size < offsetof(item_t, text)) {
            return failed_since("worker", c->desk->number, "taking a line", "it has not even a time");
        }
        r = count_item(c, size);
        if (r < 0) {
            return r;
        }
    }
    if (r != -EPIPE) {
        return desk_failed(c->desk, "taking a line");
    }
    c->desk->report.copies_made = c->desk->report.lines_received; /* out of its slot */
    c->desk->report.copied_bytes = c->desk->report.bytes_received;
    return add_table(c);
}

int worker_by_region(ferry_t *node, const job_t *job, unsigned number) {
    desk_t *d = desk_open(node, job, "worker", number);
    if (d == NULL) {
        return -1;
    }
    counter_t c = {.desk = d, .memory = malloc(TABLE_SIZE)};
    int r = 0;
    if (c.memory == NULL || !words_init(&c.words, 2 * TABLE_SIZE / sizeof(word_record_t))) {
        r = failed_since("worker", number, "making its table", strerror(ENOMEM));
    } else if (tally_open(&c.tally, d->region, &d->board->tally) < 0) {
        r = desk_failed(d, "opening the table of words");
    } else {
        words_use(&c.words, c.memory, TABLE_SIZE);
        r = count_all(&c);
        tally_close(&c.tally);
    }
    words_done(&c.words);
    free(c.memory);
    r = r == 0 ? hand_in_report(d) : r;
    r = r == 0 ? meet(d, "all-is-counted", job->workers + 1) : r;
    return desk_close(d, r);
}

/* ---- the collector ---- */

static int serve_tally(desk_t *d) {
    const tally_t tally = {.region = d->region, .root = &d->board->tally}; /* all have added: no lock is needed */
    size_t n;
    const word_record_t **sorted = tally_sorted(&tally, &n);
    if (sorted == NULL) {
        return failed_since("collector", 0, "sorting the words", strerror(ENOMEM));
    }
    int r = result_serve(d->node, sorted, n);
    free(sorted);
    return r;
}

static int wait_for_all(desk_t *d, const job_t *job) {
    if (meet(d, "all-is-put", job->producers + 1) < 0) {
        return -1;
    }
    if (ferry_buffer_end(d->lines) < 0) {
        return desk_failed(d, "ending the buffer of lines");
    }
    return meet(d, "all-is-counted", job->workers + 1);
}

int collector_by_region(ferry_t *node, const job_t *job, unsigned number) {
    desk_t *d = desk_open(node, job, "collector", number);
    if (d == NULL) {
        return -1;
    }
    uint64_t began = report_now();
    int r = wait_for_all(d, job);
    double seconds = (double)(report_now() - began) / 1e9;
    r = r == 0 ? report_check(&d->board->report) : r;
    r = r == 0 ? report_figures(&d->board->report, job, seconds) : r;
    r = r == 0 ? serve_tally(d) : r;
    return desk_close(d, r);
}

/* SPDX-License-Identifier: MIT
 *
 * producer.c - sends its share of the text, one line per message.
 */
#include "report.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** The whole text, mapped, and the part of it that is this producer's. */
typedef struct share {
    const char *text;
    size_t size;
    const char *begin, *end;
} share_t;

/** The first beginning of a line at or after `offset`. */
static const char *line_from(const share_t *s, size_t offset) {
    if (offset == 0) {
        return s->text;
    }
    const char *before = memchr(s->text + offset - 1, '\n', s->size - (offset - 1));
    return before != NULL ? before + 1 : s->text + s->size;
}

/** Maps the text and cuts it at line ends: every line belongs to exactly one producer. 0, or -1 with errno. */
static int share_open(share_t *s, const job_t *job, unsigned number) {
    *s = (share_t){.text = "", .begin = "", .end = ""};
    s->begin = s->end = s->text;
    int fd = open(job->input, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    if (st.st_size > 0) { /* an empty file cannot be mapped, and has no lines */
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            close(fd);
            return -1;
        }
        s->text = map;
        s->size = (size_t)st.st_size;
        s->begin = line_from(s, s->size / job->producers * number);
        s->end =
            number + 1 == job->producers ? s->text + s->size : line_from(s, s->size / job->producers * (number + 1));
    }
    close(fd);
    return 0;
}

static void share_close(share_t *s) {
    if (s->size > 0) {
        munmap((void *)(uintptr_t)s->text, s->size);
    }
}

/** Bytes of the next message: a line with its end, or, of a very long one, whole words. 0: a word is too long. */
static size_t next_message(const char *at, const char *end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t line = (size_t)((newline != NULL ? newline + 1 : end) - at);
    if (line <= LINE_LIMIT) {
        return line;
    }
    size_t piece = LINE_LIMIT;
    while (piece > 0 && words_is_letter(at[piece - 1])) {
        piece--;
    }
    return piece;
}

static int send_lines(const share_t *s, ferry_sender_t *lines, unsigned number, report_t *report) {
    size_t size;
    for (const char *at = s->begin; at < s->end; at += size) {
        size = next_message(at, s->end);
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
    if (share_open(&share, job, number) != 0) {
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

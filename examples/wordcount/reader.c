/* SPDX-License-Identifier: MIT
 *
 * reader.c - asks the collector for the result, and prints it.
 */
#include "result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ask_failed(const char *method) {
    return failed("reader", 0, method);
}

/** All words, piece by piece as they come. */
static int print_all(ferry_client_t *result) {
    ferry_call_t *call;
    ferry_msg_t *piece = NULL;
    if (ferry_call_start(result, "all", NULL, 0, FERRY_CALL_STREAM, PATIENCE, &call) < 0) {
        return ask_failed("all");
    }
    int r;
    while ((r = ferry_call_wait(call, PATIENCE, &piece)) == FERRY_CALL_MORE) {
        fwrite(ferry_msg_data(piece), 1, ferry_msg_size(piece), stdout);
        ferry_msg_release(piece);
    }
    if (r != 0) {
        ask_failed("all");
    }
    ferry_call_release(call);
    if (r == 0 && fflush(stdout) != 0) {
        return failed_since("reader", 0, "writing the result", strerror(errno));
    }
    return r == 0 ? 0 : -1;
}

/** Calls a method that answers with a short text. Returns what ferry_call does. */
static int ask(ferry_client_t *result, const char *method, const char *argument, char *answer, size_t room) {
    ferry_msg_t *reply;
    int r = ferry_call(result, method, argument, strlen(argument), PATIENCE, &reply);
    if (r >= 0) {
        snprintf(answer, room, "%.*s", (int)ferry_msg_size(reply), (const char *)ferry_msg_data(reply));
        ferry_msg_release(reply);
    }
    return r;
}

/** The three methods are three ways to one result: do they agree on the most frequent word? */
static int compare_answers(ferry_client_t *result) {
    char line[LINE_LIMIT + 32], again[64], *word; /* no word is longer than a line */
    if (ask(result, "top", "1", line, sizeof(line)) != 0) {
        return ask_failed("top");
    }
    unsigned long times = strtoul(line, &word, 10);
    word += strspn(word, " ");
    word[strcspn(word, "\n")] = '\0';
    int r = ask(result, "count", word, again, sizeof(again));
    if (r < 0) {
        return ask_failed("count");
    }
    /* A text without words has no top, and "" is no word: the procedure's own error, which is not one of the call's. */
    bool agrees = times == 0 ? r == FERRY_CALL_FAILED : r == 0 && strtoul(again, NULL, 10) == times;
    return agrees ? 0 : failed_since("reader", 0, word, "`top` and `count` do not agree about it");
}

/** For the whole count, not for one step of it. */
#define PATIENCE_FOR_ALL (10 * PATIENCE)

int reader(ferry_t *node, const job_t *job, unsigned number) {
    (void)job, (void)number;
    ferry_client_t *result;
    if (ferry_client_open(node, RESULT_SERVICE, NULL, &result) < 0 ||
        ferry_client_wait(result, 1, PATIENCE_FOR_ALL) < 0) {
        return failed("reader", 0, "waiting for the result");
    }
    if (print_all(result) < 0 || compare_answers(result) < 0) {
        return -1;
    }
    if (ferry_call(result, "done", NULL, 0, PATIENCE, NULL) < 0) {
        return ask_failed("done");
    }
    return ferry_client_close(result, PATIENCE, NULL);
}

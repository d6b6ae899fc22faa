/* SPDX-License-Identifier: MIT
 *
 * result.c - see result.h.
 */
#include "result.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/** Words in one piece of `all`. */
#define PIECE 2000

typedef struct result {
    ferry_service_t *service;
    const word_record_t *const *sorted;
    const word_record_t **by_count; /**< the same, the most frequent first */
    size_t n;
} result_t;

/** Answers with `n` words as text; `reply` is ferry_reply or ferry_reply_more. */
static int reply_words(ferry_request_t *rq, const word_record_t *const *words, size_t n,
                       int (*reply)(ferry_request_t *, const void *, size_t)) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return -ENOMEM;
    }
    words_print(out, words, n);
    int r = fclose(out) == 0 ? reply(rq, text, size) : -ENOMEM;
    free(text);
    return r;
}

static int top(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const result_t *result = arg;
    char number[24];
    int length = snprintf(number, sizeof(number), "%.*s", (int)(size < 20 ? size : 20), (const char *)data);
    char *end;
    size_t wanted = length > 0 ? strtoul(number, &end, 10) : 10;
    if (length > 0 && (number[0] < '0' || number[0] > '9' || *end != '\0')) {
        return -EINVAL; /* the caller gets an error with this code and the usual words for it */
    }
    return reply_words(rq, result->by_count, wanted < result->n ? wanted : result->n, ferry_reply);
}

static int count(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const result_t *result = arg;
    const word_record_t *word = size > 0 ? words_find(result->sorted, result->n, data, size) : NULL;
    if (word == NULL) {
        return ferry_reply_error(rq, RESULT_NO_WORD, "the text does not have this word", data, size);
    }
    char text[24];
    int length = snprintf(text, sizeof(text), "%" PRIu64, word->count);
    return ferry_reply(rq, text, (size_t)length);
}

/** Each piece waits while the caller is far behind, so all of them together never lie in memory. */
static int all(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const result_t *result = arg;
    (void)data, (void)size;
    int r = 0;
    for (size_t at = 0; r == 0 && at < result->n; at += PIECE) {
        size_t n = result->n - at < PIECE ? result->n - at : PIECE;
        r = reply_words(rq, result->sorted + at, n, ferry_reply_more);
    }
    return r;
}

static int done(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const result_t *result = arg;
    (void)rq, (void)data, (void)size;
    return ferry_service_stop(result->service);
}

static int add_methods(result_t *result) {
    const ferry_method_options_t asks = {.idempotent = 1}, streams = {.idempotent = 1, .streams = 1};
    ferry_service_t *s = result->service;
    if (ferry_service_method(s, "top", top, result, &asks) < 0 ||
        ferry_service_method(s, "count", count, result, &asks) < 0 ||
        ferry_service_method(s, "all", all, result, &streams) < 0 ||
        ferry_service_method(s, "done", done, result, NULL) < 0) {
        return failed("collector", 0, "adding the methods of its service");
    }
    return 0;
}

static int by_count(const void *a, const void *b) {
    const word_record_t *x = *(const word_record_t *const *)a;
    const word_record_t *y = *(const word_record_t *const *)b;
    return (x->count < y->count) - (x->count > y->count);
}

int result_serve(ferry_t *node, const word_record_t *const *sorted, size_t n) {
    result_t result = {.sorted = sorted, .by_count = malloc((n + 1) * sizeof(*sorted)), .n = n};
    const ferry_service_options_t options = {.comment = "what wordcount has counted"};
    if (result.by_count == NULL) {
        return failed_since("collector", 0, "sorting by frequency", strerror(ENOMEM));
    }
    memcpy(result.by_count, sorted, n * sizeof(*sorted));
    qsort(result.by_count, n, sizeof(*sorted), by_count);
    int r = ferry_service_open(node, RESULT_SERVICE, &options, &result.service) < 0
                ? failed("collector", 0, "opening its service")
                : add_methods(&result);
    /* This thread serves; it has nothing else to do. */
    if (r == 0 && ferry_service_run(result.service, PATIENCE) < 0) {
        r = failed("collector", 0, "serving the result");
    }
    if (ferry_service_close(result.service, PATIENCE) < 0 && r == 0) {
        r = failed("collector", 0, "closing its service");
    }
    free(result.by_count);
    return r;
}

int result_serve_words(ferry_t *node, const words_t *words) {
    const word_record_t **sorted = words_sorted(words);
    if (sorted == NULL) {
        return failed_since("collector", 0, "sorting the words", strerror(ENOMEM));
    }
    int r = result_serve(node, sorted, words->distinct);
    free(sorted);
    return r;
}

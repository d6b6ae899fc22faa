/* SPDX-License-Identifier: MIT
 *
 * serve_call.c - one call of `ferry serve`: a command is started, its output is the answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "records_in.h"
#include "serve.h"
#include "units.h"

enum { MESSAGE = 1000, MESSAGE_LINES = 5 };

typedef struct answer {
    serving_t *serving;
    ferry_request_t *rq;
    child_t child;
    records_in_t output;
    record_t whole; /* the result, of a method that has one */
    char **environment;
    char method[120], client[64], deadline[64];
} answer_t;

/* --- the command's surroundings ---------------------------------------------------------------------------------- */

static bool is_ours(const char *variable) {
    static const char *const ours[] = {"FERRY_METHOD=", "FERRY_CLIENT=", "FERRY_DEADLINE_NS="};

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strncmp(variable, ours[i], strlen(ours[i])) == 0)
            return true;
    }
    return false;
}

/* Ours, and what this process has itself. */
static bool make_environment(answer_t *a) {
    ferry_request_info_t info = {.size = sizeof info};
    size_t n = 0;
    size_t there = 0;

    while (environ != NULL && environ[there] != NULL)
        there++;
    a->environment = calloc(there + 4, sizeof *a->environment);
    if (a->environment == NULL || ferry_request_info(a->rq, &info) < 0)
        return false;
    snprintf(a->method, sizeof a->method, "FERRY_METHOD=%s", info.method);
    snprintf(a->client, sizeof a->client, "FERRY_CLIENT=%016" PRIx64 ".%" PRIu64, info.client_node, info.client);
    a->environment[n++] = a->method;
    a->environment[n++] = a->client;
    if (info.time_left != FERRY_FOREVER) {
        snprintf(a->deadline, sizeof a->deadline, "FERRY_DEADLINE_NS=%" PRId64, info.time_left);
        a->environment[n++] = a->deadline;
    }
    for (size_t i = 0; i < there; i++) {
        if (!is_ours(environ[i]))
            a->environment[n++] = environ[i];
    }
    return true;
}

static bool is_unwanted(void *arg) {
    const answer_t *a = arg;

    return ferry_request_is_cancelled(a->rq) != 0;
}

static int wait_for_output(void *arg, int fd) {
    answer_t *a = arg;

    (void)fd;
    return child_wait_output(&a->child);
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

/* The last lines that it said on standard error, as one text; "" if it said nothing. */
static void last_lines(const child_t *c, char *text) {
    size_t end = c->tail_size;
    size_t lines = 0;

    while (end > 0 && (c->tail[end - 1] == '\n' || c->tail[end - 1] == '\r'))
        end--;
    size_t begin = end;
    while (begin > 0 && end - begin < MESSAGE - 1 && !(c->tail[begin - 1] == '\n' && ++lines == MESSAGE_LINES))
        begin--;
    for (size_t i = begin; i < end; i++)
        *text++ = (char)(c->tail[i] != '\0' ? c->tail[i] : '?');
    *text = '\0';
}

/* The command's exit status, which is not 0, becomes an error of the procedure. */
static int answer_status(const answer_t *a, int status) {
    char text[MESSAGE];

    last_lines(&a->child, text);
    if (text[0] == '\0' && status > 128)
        snprintf(text, sizeof text, "the command was ended by signal %d", status - 128);
    else if (text[0] == '\0')
        snprintf(text, sizeof text, "the command ended with exit status %d", status);
    return ferry_reply_error(a->rq, status, text, NULL, 0);
}

static int answer_not_started(const answer_t *a) {
    char text[MESSAGE];
    int error = a->child.error;

    snprintf(text, sizeof text, "cannot run '%s': %s", a->serving->command[0], strerror(error));
    return ferry_reply_error(a->rq, error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN, text, NULL, 0);
}

/* Its output could not be read to the end, or be sent. */
static int answer_cut(const answer_t *a, int result) {
    char text[MESSAGE];
    char most[UNITS_TEXT];

    if (result != -EMSGSIZE || a->output.error[0] == '\0')
        return result;
    snprintf(text, sizeof text, "%s of the command is longer than %s (--max)",
             a->serving->stream ? "a line of the output" : "the output", show_bytes((double)a->serving->max, most));
    return ferry_reply_error(a->rq, STATUS_FAILED, text, NULL, 0);
}

/* --- results ----------------------------------------------------------------------------------------------------- */

/* While a slow caller makes us wait, it is not the command that we wait for. */
static int answer_line(answer_t *a, const record_t *line) {
    (void)ferry_process_wait_ended(a->serving->node);
    int result = ferry_reply_more(a->rq, line->data, line->len);
    (void)ferry_process_wait_begins(a->serving->node, a->child.pid);
    return result;
}

/* To the end of the output. 0, or a negative errno value. */
static int take_output(answer_t *a) {
    record_t record;
    int result;

    records_in_start(&a->output, a->child.out, "the command's output");
    for (;;) {
        result = records_in_next(&a->output, &record);
        if (result == 0)
            return 0;
        if (result == 1 && a->serving->stream)
            result = answer_line(a, &record);
        else if (result == 1)
            a->whole = record;
        if (result < 0 && result != -EINTR)
            return result;
    }
}

static int answer_by_command(answer_t *a) {
    (void)ferry_process_wait_begins(a->serving->node, a->child.pid);
    int result = take_output(a);
    int status = 0;
    if (result < 0)
        child_kill(&a->child);
    else
        status = child_end(&a->child);
    (void)ferry_process_wait_ended(a->serving->node);
    if (result < 0 || status < 0)
        return answer_cut(a, result < 0 ? result : status);
    if (status != 0)
        return answer_status(a, status);
    return a->serving->stream ? 0 : ferry_reply(a->rq, a->whole.data, a->whole.len);
}

/* Whoever takes the last call that was asked for stops the service, and wakes the thread that waits for that. */
static void count(serving_t *s) {
    if (s->count == 0 || atomic_fetch_add(&s->begun, 1) + 1 < s->count)
        return;
    (void)ferry_service_stop(s->service);
    (void)kill(getpid(), SIGUSR1);
}

int serve_call(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    serving_t *s = arg;
    answer_t a = {
        .serving = s, .rq = rq, .output = {.framing = s->stream ? FRAMING_LINES : FRAMING_WHOLE, .limit = s->max}};
    int result = -ENOMEM;

    count(s);
    a.output.before_read = wait_for_output;
    a.output.arg = &a;
    if (make_environment(&a)) {
        a.child = (child_t){.command = s->command,
                            .environment = a.environment,
                            .mask = &s->mask,
                            .input = data,
                            .input_size = size,
                            .echo = !s->common.quiet,
                            .is_unwanted = is_unwanted,
                            .arg = &a};
        result = child_start(&a.child) ? answer_by_command(&a) : answer_not_started(&a);
    }
    records_in_done(&a.output);
    free(a.environment);
    return result < 0 ? result : 0;
}

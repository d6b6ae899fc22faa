/* SPDX-License-Identifier: MIT
 *
 * call_results.c - `ferry call SERVICE METHOD`: the call itself, and its results on standard output.
 *
 * Bytes go out through the writer of records, which gathers small ones; what it has gathered is written before the next
 * wait, so that each result of a stream is seen as it comes. JSON is written at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "records_out.h"
#include "say.h"
#include "stop.h"
#include "transfer.h"

/* Results of one call on their way out. */
typedef struct results {
    calling_t *c;
    ferry_call_t *call;
    records_out_t out;
    int fd;       /* tells of results */
    bool several; /* one of several has come */
    bool over;    /* nobody reads the output any more */
} results_t;

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* What a result of the writer means: 0, or the exit status, all said. */
static int written(results_t *r, int result) {
    if (result == 0)
        return 0;
    r->over = true;
    if (result == -EPIPE)
        return 0;
    if (result == -EFBIG)
        say("a result is longer than 4 GiB, which --framed cannot say");
    else if (result != -ESHUTDOWN)
        say("cannot write to standard output: %s", strerror(-result));
    return STATUS_FAILED;
}

static int flush(results_t *r) {
    return r->over ? 0 : written(r, records_out_flush(&r->out));
}

static int add_line_for_terminal(results_t *r, bool needed) {
    if (!needed || r->over || isatty(STDOUT_FILENO) != 1)
        return 0;
    return write_output("\n", 1, &r->over);
}

/* The message is the writer's from here on. The one result of a call is written as it is, unless a form was asked
 * for. */
static int write_bytes(results_t *r, ferry_msg_t *reply) {
    const char *data = ferry_msg_data(reply);
    size_t len = ferry_msg_size(reply);
    bool plain = !r->several && !r->c->nul && !r->c->framed;
    bool open_line = plain && len > 0 && data[len - 1] != '\n';

    if (plain)
        r->out.framing = FRAMING_WHOLE;
    int status = written(r, records_out_add(&r->out, &reply, 1));
    if (status == 0 && !r->over && (plain || records_out_room(&r->out) == 0))
        status = flush(r);
    return status == 0 ? add_line_for_terminal(r, open_line) : status;
}

/* A text of `len` bytes, with one byte more for what ends it. */
static int write_text(results_t *r, char *text, size_t len) {
    unsigned char length[4];

    if (!r->c->framed) {
        text[len] = r->c->nul ? '\0' : '\n';
        return write_output(text, len + 1, &r->over);
    }
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)(len >> (8 * i)); /* FERRY_JSON_MOST fits */
    int status = write_output(length, sizeof length, &r->over);
    return status == 0 && !r->over ? write_output(text, len, &r->over) : status;
}

static int write_json(results_t *r, ferry_msg_t *reply) {
    const char *type = r->c->typed_as->output;
    const void *data;
    char *text = NULL;
    size_t len = 0;
    int result = ferry_msg_private(reply, &data);
    int status = result < 0 ? library_failed(result)
                            : typed_decode(&r->c->typed, type, data, ferry_msg_size(reply), &text, &len);

    ferry_msg_release(reply);
    if (status != 0)
        return status;
    status = write_text(r, text, len);
    free(text);
    return status;
}

/* --- the procedure's own errors ---------------------------------------------------------------------------------- */

static bool is_readable(const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < ' ' || bytes[i] == 0x7f)
            return false;
    }
    return true;
}

/* A text as it is, other bytes in hexadecimal; cut where it gets too long for a sentence. */
static void say_detail(const unsigned char *bytes, size_t len) {
    enum { MOST_TEXT = 1500, MOST_BYTES = 256 };
    char hex[2 * MOST_BYTES + 1];

    if (is_readable(bytes, len)) {
        say("its detail: %.*s%s", (int)(len < MOST_TEXT ? len : MOST_TEXT), (const char *)bytes,
            len > MOST_TEXT ? "..." : "");
        return;
    }
    size_t shown = len < MOST_BYTES ? len : MOST_BYTES;
    for (size_t i = 0; i < shown; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    say("its detail, %zu bytes in hexadecimal: %s%s", len, hex, shown < len ? "..." : "");
}

/* Its lines stay lines. */
static void make_lines_plain(char *text) {
    char *line;

    while ((line = strsep(&text, "\n")) != NULL) {
        make_plain(line);
        if (text != NULL)
            text[-1] = '\n';
    }
}

static int say_error(const calling_t *c, ferry_msg_t *reply) {
    ferry_call_error_t error = {.size = sizeof error};
    int result = ferry_call_error(reply, &error);
    int status = STATUS_NO;

    if (result < 0) {
        status = library_failed(result);
    } else {
        char *message = strndup(error.message, 1500);
        if (message != NULL)
            make_lines_plain(message);
        bool any = message != NULL && message[0] != '\0';
        say("\"%s\" answered with error %d%s%s", c->method, (int)error.code, any ? ": " : "", any ? message : "");
        free(message);
        if (error.detail_size > 0)
            say_detail(error.detail, error.detail_size);
    }
    ferry_msg_release(reply);
    return status;
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

/*
 * Until another one of several results is there, or the output is closed: whoever has seen enough need not wait for the
 * next one to be told. That the call's time has passed is found by asking, so this wait ends with it.
 */
static int wait_for_more(results_t *r) {
    ferry_pollitem_t items[2] = {{.fd = r->fd, .events = FERRY_POLL_IN}, {.fd = STDOUT_FILENO}};
    int result = ferry_poll(items, 2, patience_left(&r->c->patience));

    if (result > 0 && (items[1].revents & (FERRY_POLL_ERR | FERRY_POLL_END)) != 0)
        r->over = true;
    return result >= 0 || result == -ETIMEDOUT || result == -EAGAIN || result == -EINTR ? 0 : result;
}

/*
 * The next result, or how the call has ended. The first one is waited for inside the library: so it knows of the wait,
 * finds circles, and shows it to `ferry why`.
 */
static int next_result(results_t *r, ferry_msg_t **reply, int *status) {
    int result;

    while (*status == 0 && !r->over && stop_signal() == 0) {
        result = ferry_call_wait(r->call, r->several ? FERRY_NOW : FERRY_FOREVER, reply);
        if (result == -EAGAIN) {
            *status = flush(r);
            result = *status == 0 && !r->over ? wait_for_more(r) : 0;
            if (result < 0)
                return result;
        } else if (!patience_again(result)) {
            return result;
        }
    }
    return -ECANCELED;
}

static int take_results(results_t *r) {
    int status = 0;

    while (status == 0 && !r->over) {
        ferry_msg_t *reply = NULL;
        int result = next_result(r, &reply, &status);
        if (r->over || status != 0)
            break;
        r->several = r->several || result == FERRY_CALL_MORE;
        if (result != FERRY_CALL_MORE && (result != 0 || reply == NULL))
            status = flush(r);
        if (result == FERRY_CALL_FAILED)
            return say_error(r->c, reply);
        if (result < 0)
            return call_failed(r->c, result);
        if (reply != NULL)
            status = r->c->typed_as != NULL ? write_json(r, reply) : write_bytes(r, reply);
        if (result == 0)
            return status == 0 ? flush(r) : status;
    }
    return status;
}

/* --- the call ---------------------------------------------------------------------------------------------------- */

static int call_and_take(calling_t *c) {
    results_t r = {.c = c};
    framing_t framing = c->nul ? FRAMING_NULS : c->framed ? FRAMING_FRAMED : FRAMING_LINES;

    if (records_out_init(&r.out, STDOUT_FILENO, framing) < 0) {
        say("no memory for the output buffer");
        return STATUS_FAILED;
    }
    r.fd = ferry_client_fd(c->client);
    int result = r.fd < 0 ? r.fd
                          : ferry_call_start(c->client, c->method, c->data, c->len, FERRY_CALL_STREAM,
                                             patience_left(&c->patience), &r.call);
    int status = result < 0 ? call_failed(c, result) : take_results(&r);
    records_out_done(&r.out);
    (void)ferry_call_release(r.call);
    return status;
}

/* A server reads the argument where it lies, in our memory: so this process stays until it is done with it. */
static int call_one_way(calling_t *c) {
    uint64_t undone = 0;
    int result = ferry_call_one_way(c->client, c->method, c->data, c->len, patience_left(&c->patience));

    if (result < 0)
        return call_failed(c, result);
    do
        result = ferry_client_close(c->client, patience_left(&c->patience), &undone);
    while (patience_again(result));
    if (result != -EINTR)
        c->client = NULL;
    if (result < 0)
        return call_failed(c, result);
    return undone > 0 ? call_failed(c, -ETIMEDOUT) : STATUS_OK;
}

int call_make(calling_t *c) {
    int status = c->raw ? 0 : call_describe(c, NULL);

    if (status == 0 && !c->raw)
        status = call_translate(c);
    if (status != 0)
        return status;
    return c->one_way ? call_one_way(c) : call_and_take(c);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "holders.h"
#include "json_look.h"
#include "say.h"
#include "stop.h"
#include "units.h"

/* Beside the argument: what Ferry needs for itself. */
static const uint64_t usual_quota = (uint64_t)64 << 20;
static const uint64_t spare_quota = (uint64_t)16 << 20;

/* --- what goes wrong --------------------------------------------------------------------------------------------- */

/* Nobody has been linked with those who do not answer. Of another version was warned already (common_warn). */
static void tell_silent(const calling_t *c) {
    char text[300];
    ferry_look_t *look;
    int status;

    if (!look_at_space(&c->common, &look, &status))
        return;
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        if (node->answered || node->other_version)
            continue;
        silent_text(node, text, sizeof text);
        make_plain(text);
        say("%s, and may serve it", text);
    }
    ferry_look_close(look);
}

static int nobody_serves(const calling_t *c) {
    char waited[UNITS_TEXT];

    if (c->wait > 0)
        say("nobody serves \"%s\" in space '%s', also after %s", c->service, common_space(&c->common),
            show_duration((double)c->wait, waited));
    else
        say("nobody serves \"%s\" in space '%s'; --wait 10s would wait for a server", c->service,
            common_space(&c->common));
    tell_silent(c);
    return STATUS_NOT_OBTAINED;
}

static int timed_out(const calling_t *c) {
    char took[UNITS_TEXT];

    say("timed out after %s: \"%s\" may have run", show_duration((double)c->patience.timeout, took),
        c->method != NULL ? c->method : FERRY_METHOD_DESCRIBE);
    return STATUS_TIMED_OUT;
}

static int no_such_method(const calling_t *c) {
    const char *meant = description_nearest(&c->about, c->method);

    if (meant != NULL && strcmp(meant, c->method) == 0) /* calls go to any of its servers */
        say("one server of \"%s\" has no method \"%s\", though another one has it: all servers of a service need the "
            "same methods",
            c->service, c->method);
    else if (meant != NULL)
        say("the service \"%s\" has no method \"%s\"; did you mean \"%s\"?", c->service, c->method, meant);
    else
        say("the service \"%s\" has no method \"%s\"; `ferry call %s` lists those it has", c->service, c->method,
            c->service);
    return STATUS_FAILED;
}

int call_failed(const calling_t *c, int result) {
    if (stop_signal() != 0)
        return STATUS_FAILED; /* stop_or makes the signal of it */
    switch (result) {
    case -ENOENT:
        return nobody_serves(c);
    case -EBUSY:
        (void)library_failed(result);
        return STATUS_NOT_OBTAINED;
    case -ETIME:
    case -ETIMEDOUT:
        return timed_out(c);
    case -ENOSYS:
        return no_such_method(c);
    case -ECANCELED:
    case -EDEADLK:
    case -EPROTO:
        say("%s; it may have run", ferry_last_error());
        return STATUS_FAILED;
    default:
        return library_failed(result);
    }
}

/* --- the service ------------------------------------------------------------------------------------------------- */

static int wait_for_server(calling_t *c) {
    patience_t p = {.timeout = c->wait};
    int result;

    patience_begin(&p);
    do
        result = ferry_client_wait(c->client, 1, patience_left(&p));
    while (patience_again(result));
    if (result == -ETIMEDOUT || result == -EAGAIN)
        result = -ENOENT;
    return result < 0 ? call_failed(c, result) : 0;
}

int call_open(calling_t *c) {
    ferry_client_options_t options = {.size = sizeof options, .quota = usual_quota};
    int status = 0;
    int result;

    /* JSON is longer than the bytes that it stands for, but for its shortest forms. */
    if (c->len > usual_quota - spare_quota)
        options.quota = c->len + spare_quota;
    if (!common_open(&c->common, "ferry-call", &c->node, &status))
        return status;
    do
        result = ferry_client_open(c->node, c->service, &options, &c->client);
    while (patience_again(result));
    if (result < 0)
        return call_failed(c, result);
    common_warn(&c->common, c->node);
    status = wait_for_server(c);
    patience_begin(&c->patience);
    return status;
}

/* Asks for what every service tells of itself; the reply is the caller's. */
static int ask(calling_t *c, const char *method, ferry_msg_t **reply) {
    int result;

    *reply = NULL;
    do
        result = ferry_call(c->client, method, NULL, 0, patience_left(&c->patience), reply);
    while (patience_again(result));
    if (result == 0)
        return 0;
    if (result < 0)
        return call_failed(c, result);
    ferry_msg_release(*reply);
    *reply = NULL;
    say("the service \"%s\" does not answer to %s; --raw does without", c->service, method);
    return STATUS_FAILED;
}

int call_describe(calling_t *c, char **json) {
    const void *data;
    ferry_msg_t *reply;
    int status = ask(c, FERRY_METHOD_DESCRIBE, &reply);

    if (status != 0)
        return status;
    size_t len = ferry_msg_size(reply);
    int result = ferry_msg_private(reply, &data);
    if (result == 0)
        result = description_read(&c->about, data, len);
    if (result == 0 && json != NULL) {
        *json = strndup(data, len);
        result = *json == NULL ? -ENOMEM : 0;
    }
    ferry_msg_release(reply);
    if (result == 0)
        return 0;
    if (result == -EPROTO)
        say("what the service \"%s\" tells of itself is no description", c->service);
    else
        say("no memory for the description of \"%s\"", c->service);
    return STATUS_FAILED;
}

/* --- JSON -------------------------------------------------------------------------------------------------------- */

static int open_types(calling_t *c) {
    const void *data;
    ferry_msg_t *reply;
    int status = ask(c, FERRY_METHOD_DESCRIPTOR, &reply);

    if (status != 0)
        return status;
    int result = ferry_msg_private(reply, &data);
    status = result < 0 ? library_failed(result) : typed_open(&c->typed, data, ferry_msg_size(reply));
    ferry_msg_release(reply);
    return status;
}

int call_translate(calling_t *c) {
    const method_t *m = description_method(&c->about, c->method);

    if (!c->about.descriptor || m == NULL || m->input == NULL || m->output == NULL)
        return 0;
    int status = open_types(c);
    if (status == 0)
        status = typed_encode(&c->typed, m->input, c->data, c->len, &c->bytes, &c->len);
    if (status != 0)
        return status;
    c->data = c->bytes;
    c->typed_as = m;
    return 0;
}

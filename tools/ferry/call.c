/* SPDX-License-Identifier: MIT
 *
 * call.c - `ferry call`: calls a procedure of a service, or tells which there are.
 */
#include "call.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"
#include "tool.h"
#include "transfer.h"

static const int64_t usual_timeout = INT64_C(30) * 1000 * 1000 * 1000;
static const size_t longest = (size_t)1 << 30; /* of an argument */

static const char text[] =
    "Calls METHOD of SERVICE with DATA, or for - standard input as a whole, or nothing, and writes\n"
    "its result to standard output; each one of several is a line. If the service knows the types\n"
    "of its messages (protobuf), DATA and results are JSON. Without METHOD lists the methods.\n"
    "Exit status 1: it answered with an error; 75: it was not run, since nobody serves it.";

static const char examples[] = "ferry call bank                               what can it do?\n"
                               "ferry call bank Open '{\"owner\": \"Ada\"}'\n"
                               "ferry call images Thumbnail - < photo.jpg > small.jpg\n"
                               "ferry call log Follow | grep --line-buffered error\n"
                               "ferry call --wait 10s --timeout 1m jobs Run   for a server that is about to start";

/* Before there is a node: so nobody is kept waiting by a slow input, and Ctrl-C simply ends it. */
static int take_argument(calling_t *c) {
    source_t source;

    if (c->word == NULL || strcmp(c->word, "-") != 0) {
        c->data = c->word != NULL ? c->word : "";
        c->len = strlen(c->data);
        return 0;
    }
    int status = source_open(&source, "-");
    if (status == 0)
        status = source_read_all(&source, longest, &c->read, &c->len);
    c->data = c->read;
    return status;
}

static int run(calling_t *c) {
    int status = take_argument(c);

    if (status != 0)
        return status;
    signal(SIGPIPE, SIG_IGN); /* a closed output ends the command in good order */
    status = call_open(c);
    if (status == 0)
        status = c->method != NULL ? call_make(c) : call_list(c);
    (void)ferry_client_close(c->client, FERRY_NOW, NULL);
    stop_forget_node();
    ferry_close(c->node);
    typed_close(&c->typed);
    description_done(&c->about);
    free(c->bytes);
    free(c->read);
    return stop_or(status);
}

static int check(calling_t *c, const operands_t *operands) {
    if (operands->n == 0)
        return usage_error(c->usage, "the name of the service is missing");
    if (operands->n > 3)
        return usage_error(c->usage, "'%s' is a word too many; an argument with blanks needs quotes",
                           operands->items[3]);
    if (c->nul && c->framed)
        return usage_error(c->usage, "only one of --null and --framed can hold");
    if (c->patience.timeout == 0)
        return usage_error(c->usage, "--timeout 0s would leave the call no time");
    c->service = operands->items[0];
    c->method = operands->n > 1 ? operands->items[1] : NULL;
    c->word = operands->n > 2 ? operands->items[2] : NULL;
    if (c->method == NULL && (c->one_way || c->raw || c->nul || c->framed))
        return usage_error(c->usage, "the method is missing: `ferry call %s` lists those it has", c->service);
    if (c->method != NULL && c->common.json)
        return usage_error(c->usage, "--json is for the list of methods; a call speaks JSON by itself where it can");
    return 0;
}

int command_call(int argc, char **argv) {
    calling_t c = {.patience = {.timeout = usual_timeout}};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &c.patience.timeout,
         .help = "the call's deadline (default: 30s), with exit status 124"},
        {.name = "wait",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &c.wait,
         .help = "wait so long for a server, if there is none"},
        {.name = "one-way",
         .kind = OPTION_FLAG,
         .target = &c.one_way,
         .help = "no result is wanted; ends when the call has been run"},
        {.name = "raw", .kind = OPTION_FLAG, .target = &c.raw, .help = "bytes in and out, also where JSON is possible"},
        {.letter = '0',
         .name = "null",
         .kind = OPTION_FLAG,
         .target = &c.nul,
         .help = "end each result with a NUL byte, not a newline"},
        {.name = "framed",
         .kind = OPTION_FLAG,
         .target = &c.framed,
         .help = "before each result write its length (4 bytes, little-endian)"},
    };
    const usage_t usage = {.command = "call",
                           .synopsis = "call [OPTION...] SERVICE [METHOD [DATA|-]]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    c.usage = &usage;
    if (!options_parse(&usage, argc, argv, &c.common, &operands, &status))
        return status;
    c.patience.quiet = c.common.quiet;
    status = check(&c, &operands);
    return status != 0 ? status : run(&c);
}

/* SPDX-License-Identifier: MIT
 *
 * call.h - one run of `ferry call`: what was asked for, and its parts.
 */
#ifndef FERRY_TOOL_CALL_H
#define FERRY_TOOL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "description.h"
#include "options.h"
#include "patience.h"
#include "records.h"
#include "typed.h"

typedef struct calling {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    patience_t patience; /* from when a server is there */
    const char *service;
    const char *method; /* NULL: list the methods */
    const char *word;   /* the argument as it was given; NULL: none; "-": standard input */
    int64_t wait;       /* for a server */
    bool one_way, raw, nul, framed;

    /* the run */
    const char *data; /* the argument */
    size_t len;
    char *read;  /* to be freed */
    char *bytes; /* to be freed */
    ferry_t *node;
    ferry_client_t *client;
    description_t about;
    const method_t *typed_as; /* the method, if its messages go through JSON; else NULL */
    typed_t typed;
} calling_t;

/* --- call_ask.c: finding the service, and asking what it is --- */

/* Opens the client, and waits for a server as long as is allowed. Returns 0, or the exit status, all said. */
int call_open(calling_t *c);
/* Reads $describe into `about`; `json` (may be NULL) becomes its text, to be freed. */
int call_describe(calling_t *c, char **json);
/* If the method has types that are known: opens `typed`, and makes the argument's bytes. */
int call_translate(calling_t *c);
/* Says what the negative result of a call means; returns the exit status. */
int call_failed(const calling_t *c, int result);

/* --- call_list.c, call_results.c: each returns the exit status --- */

int call_list(calling_t *c);
/* Makes the call, and writes its results to standard output. */
int call_make(calling_t *c);

#endif

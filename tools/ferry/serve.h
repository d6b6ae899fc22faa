/* SPDX-License-Identifier: MIT
 *
 * serve.h - one run of `ferry serve`.
 */
#ifndef FERRY_TOOL_SERVE_H
#define FERRY_TOOL_SERVE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "options.h"

typedef struct serving {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    const char *name, *method, *comment;
    bool idempotent, stream;
    uint64_t threads;
    uint64_t max;   /* bytes of a result */
    uint64_t count; /* end after so many calls; 0: no limit */
    char **command;

    /* the run */
    ferry_t *node;
    ferry_service_t *service;
    sigset_t mask; /* as the tool was started with: the commands get it */
    _Atomic uint64_t begun;
} serving_t;

/* The handler; `arg` is a serving_t. Runs in any of the service's threads. (serve_call.c) */
int serve_call(ferry_request_t *rq, const void *data, size_t size, void *arg);

#endif

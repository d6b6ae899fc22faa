/* SPDX-License-Identifier: MIT
 *
 * patience.h - how long a command still waits for an object, and what the result of a wait means for it.
 */
#ifndef FERRY_TOOL_PATIENCE_H
#define FERRY_TOOL_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct patience {
    int64_t timeout;  /* as --timeout says */
    int64_t started;  /* set by patience_begin */
    int refused;      /* exit status when it is not to wait (--timeout 0s) and would have to */
    const char *lack; /* what is said then of the object: "is held by others" */
    bool told;        /* that others do not answer */
    bool quiet;
} patience_t;

/* The time runs from now on. */
void patience_begin(patience_t *p);

/* What is left of it, as the library takes it. */
int64_t patience_left(const patience_t *p);

/* Whether to wait again after `result`: a signal that was none of ours interrupted it. */
bool patience_again(int result);

/* The same for a call that opens an object: others may not answer because they are stopped, and go on later. */
bool patience_opens_again(patience_t *p, int result);

/*
 * Says why it did not come to what was waited for, after the library's negative `result`; returns the exit status.
 * `name` is that of the object which was waited for; NULL: which could not even be opened.
 */
int patience_over(const patience_t *p, int result, const char *name);

#endif

/* SPDX-License-Identifier: MIT
 *
 * progress.h - the passing line that shows how far a command is, at most five times a second.
 *
 * Two things are shown, each only where it does not disturb: figures (records, bytes, rate) and notes (what the
 * command waits for). A command with something to show bounds its waits by progress_slice, and calls progress_show
 * whenever a wait ends.
 */
#ifndef FERRY_TOOL_PROGRESS_H
#define FERRY_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tool.h"

enum { PROGRESS_WINDOW = 6 };

typedef struct progress {
    const char *verb; /* "sent" or "received" */
    bool figures, notes;
    int64_t started, next;
    /* the last draws, for a rate over about a second */
    int64_t times[PROGRESS_WINDOW];
    uint64_t records[PROGRESS_WINDOW], bytes[PROGRESS_WINDOW];
    unsigned draws;
    /* what was shown last, and how often in a row */
    uint64_t last_records;
    const char *last_note;
    unsigned unchanged;
} progress_t;

/* `disturbs`: a person types or reads on the same terminal, so figures are shown only when they were asked for. */
void progress_init(progress_t *p, const common_t *common, const char *verb, bool disturbs);

/* The longest a wait may last, in nanoseconds, when it may last `limit` anyway: shorter only if something is shown. */
int64_t progress_slice(const progress_t *p, int64_t limit);

/* Draws when it is time to; `note` (NULL: none) tells what the command waits for. */
void progress_show(progress_t *p, uint64_t records, uint64_t bytes, const char *note);

/* Replaces the passing line by a lasting one with the totals, if figures are shown. */
void progress_end(progress_t *p, uint64_t records, uint64_t bytes);

#endif

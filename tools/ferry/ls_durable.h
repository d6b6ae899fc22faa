/* SPDX-License-Identifier: MIT
 *
 * ls_durable.h - `ferry ls`: the durable queues and topics that the server of a space keeps, whoever is there.
 */
#ifndef FERRY_TOOL_LS_DURABLE_H
#define FERRY_TOOL_LS_DURABLE_H

#include "json.h"
#include "looks.h"

typedef struct durable {
    char queue[104]; /* or topic */
    bool is_topic;
    uint64_t messages, bytes, sent, oldest_ns;
} durable_t;

typedef struct durables {
    durable_t *items;
    size_t n;
    const looks_t *looks;
} durables_t;

/* Asks the server of the space that was named; of a space of one machine there are none. An exit status; what was
 * found, in any case. */
int durables_take(durables_t *all, const looks_t *looks);
void durables_done(durables_t *all);

/* 0, or -1 without memory. */
int print_durables(const durables_t *all);
void json_durables(json_t *j, const durables_t *all);

#endif

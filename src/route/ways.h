/* SPDX-License-Identifier: MIT
 *
 * route/ways.h - which way a link goes, and why not another one: in words, as a function of what is known of it.
 */
#ifndef FI_ROUTE_WAYS_H
#define FI_ROUTE_WAYS_H

#include <stdbool.h>

#include "ferry/route.h"

typedef struct fi_way_facts {
    ferry_way_t way;
    bool one_process;      /* both nodes are in one process */
    bool networked;        /* the space spans machines */
    const char *directory; /* where the nodes of this machine meet */
    const char *far;       /* the other machine's name; "" when it is not known */
    bool durable;          /* the engine keeps the channel */
    bool same_machine;     /* `far` is this one: its node is here, and has another base directory */
} fi_way_facts_t;

void fi_tell_ways(const fi_way_facts_t *facts, ferry_way_choice_t ways[FERRY_WAYS]);

/** What is known of a queue's link, and of the best of the sender's other ones. */
typedef struct fi_turn_facts {
    uint64_t waiting;
    uint64_t service_ns; /* 0: never seen */
    uint64_t links;
    uint64_t most; /* messages that may lie ready for it; 0: as many as fit */
    uint64_t left; /* messages of the sender that wait for whoever is free */
    bool has_other;
    uint64_t other_ns; /* the least expected completion of another link */
    bool is_queue;
    bool only_looks; /* a tap */
} fi_turn_facts_t;

/** ns until the next message given to it is expected to be done with. */
uint64_t fi_expected_completion(uint64_t waiting, uint64_t service_ns);

void fi_tell_turn(const fi_turn_facts_t *facts, ferry_choice_t *choice);

#endif

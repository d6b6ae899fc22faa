/* SPDX-License-Identifier: MIT
 *
 * philosophers.h - E. W. Dijkstra's philosophers: a round table with one fork between each two plates.
 *
 *     fork 0   philosopher 0   fork 1   philosopher 1   fork 2   ...   philosopher N-1   (fork 0 again)
 *
 * Whoever wants to eat needs both forks beside his plate, and so shares each of them with a neighbour.  A fork is a
 * mutex, named "fork-0", "fork-1", ...
 */
#ifndef PHILOSOPHERS_H
#define PHILOSOPHERS_H

#include "crew.h"

#include <stdatomic.h>

#define CIRCLE_CHARS 4096

/** What becomes of one philosopher; only he writes it. */
typedef struct seat {
    unsigned meals;
    unsigned deadlocks; /**< circles that he was told of */
    int64_t hungriest;  /**< longest time between his wish to eat and his meal, in nanoseconds */
} seat_t;

/** What all philosophers share. */
typedef struct table {
    unsigned seats;
    bool ordered;        /**< everybody takes the fork with the lower number first, else the left one */
    int64_t duration;    /**< of the evening, in nanoseconds */
    atomic_uint clashes; /**< how often somebody found another one's mark on a fork that he held */
    atomic_uint told;    /**< how many circles were found so far; who found the first one writes it down */
    char first_circle[CIRCLE_CHARS];
    seat_t seat[CREW_MOST];
    unsigned char eater[CREW_MOST]; /**< of each fork: who eats with it, from 1; only changed by who holds it */
} table_t;

/** A philosopher's evening; `table` is a table_t. */
crew_work_t philosopher;

#endif

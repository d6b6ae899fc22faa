/* SPDX-License-Identifier: MIT
 *
 * server.h - serves test.broad.Broad, as the tests want it.
 */
#ifndef FERRY_TESTS_PROTO_SERVER_H
#define FERRY_TESTS_PROTO_SERVER_H

#include "harness.h"

/** What handlers tell to the test, in memory that both share. */
typedef struct seen {
    atomic_uint begun;   /**< of the calls that take long, how many have begun */
    atomic_uint stopped; /**< and how many have noticed that nobody waits any more */
    atomic_uint ended;   /**< and how many have ended for the test, which tells that: until then they do not answer */
    atomic_llong time_left;
    atomic_uint refused; /**< items of a stream that could not be sent */
} seen_t;

/** For a crew: serves until somebody calls Stop. `arg` is a seen_t. */
void serve_broad(ferry_t *node, void *arg);
/** The same service and methods, but all answers are bytes that are no message. */
void serve_nonsense(ferry_t *node, void *arg);

#endif

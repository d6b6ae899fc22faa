/* SPDX-License-Identifier: MIT
 *
 * kill.h - the world of the kill test: five survivors that work all the time, and victims that work among them until
 * they are killed.
 *
 *   channel        survivors                          victims
 *   jobs (queue)   send_jobs, two take_jobs           senders, receivers
 *   notes (queue)  one take_jobs                      note takers: few messages, each flushed
 *   news (topic)   publish_news, read_news            publishers, subscribers
 *
 * Everybody writes down in shared memory what he has done, so that it survives him: a victim in which call it is, a
 * receiver which job it has seen and which it has released.
 */
#ifndef FERRY_TESTS_KILL_H
#define FERRY_TESTS_KILL_H

#include "jobs.h"

#define SLOTS 12u
#define BURST 16u

enum op {
    IN_PROGRAM,
    IN_OPEN_NODE,
    IN_OPEN_SENDER,
    IN_OPEN_RECEIVER,
    IN_SEND,
    IN_SEND_LARGE,
    IN_CLAIM,
    IN_COMMIT,
    IN_MSG_NEW,
    IN_SEND_MSG,
    IN_EDIT,
    IN_RELEASE_OWN,
    IN_FLUSH,
    IN_RECV,
    IN_RECV_BATCH,
    IN_RECV_INTO,
    IN_POLL,
    IN_RELEASE,
    IN_CLOSE_SENDER,
    IN_CLOSE_RECEIVER,
    IN_CLOSE_NODE,
    OPS
};

enum role { SENDER, RECEIVER, NOTE_TAKER, PUBLISHER, SUBSCRIBER, OPENER };
enum survivor { SEND_JOBS, TAKE_JOBS, TAKE_JOBS_TOO, PUBLISH_NEWS, READ_NEWS, SURVIVORS };
enum stage { WORK, QUIET, LEAVE };

/* What a victim leaves behind. */
typedef struct slot {
    atomic_uint op;    /* the call it is in */
    atomic_uint calls; /* that have returned */
    atomic_ullong node;
    atomic_uint met;     /* an end was opened: the survivors know the node */
    atomic_ullong noted; /* notes whose send returned 0 */
    uint32_t who;        /* 1 ..; the survivors are 0 */
    enum role role;
    uint64_t seed;
} slot_t;

typedef struct world {
    atomic_uint stage;
    atomic_uint quiet; /* survivors that have nothing left to send */
    atomic_uint ready;
    rest_t rest;   /* of the survivors that send: then those that receive have nothing to do */
    int64_t pause; /* of the senders, after each burst */
    atomic_ullong progress[SURVIVORS];
    atomic_llong slowest[OPS]; /* calls of victims, in nanoseconds */
    slot_t slots[SLOTS];
    atomic_uint notes_seen[SENDERS_MAX];
    /* Opened a sender before all who were there had answered: the library waits for half a second at least, then they
     * are linked later. */
    atomic_uchar impatient[SENDERS_MAX];
    ledger_t ledger; /* of the surviving sender's jobs */
    ledger_t news;   /* only to count them */
} world_t;

/** What each survivor runs, until the stage is LEAVE. */
void survivor_run(world_t *w, enum survivor who);
/** What a victim runs, for ever. */
_Noreturn void victim_run(world_t *w, slot_t *v);

#endif

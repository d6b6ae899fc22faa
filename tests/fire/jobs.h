/* SPDX-License-Identifier: MIT
 *
 * jobs.h - messages that tell whether they are whole, and a ledger of who has seen which.
 *
 * The ledger lies in shared memory, so that what a process has written down survives it. A job is delivered at least
 * once; a second delivery says so by its attempt number; and after it was released it never comes again.
 */
#ifndef FERRY_TESTS_JOBS_H
#define FERRY_TESTS_JOBS_H

#include "fire.h"

#define JOBS_MAX (8u << 20)
#define SENDERS_MAX 20000u

typedef struct ledger {
    atomic_ullong accepted;      /* jobs 1 .. accepted of sender 0 */
    atomic_uchar seen[JOBS_MAX]; /* deliveries */
    atomic_uchar done[JOBS_MAX]; /* released */
} ledger_t;

/* Every message begins so; the rest is a pattern that belongs to it. */
typedef struct job {
    uint32_t who; /* 0: its jobs are in the ledger */
    uint32_t size;
    uint64_t number;
} job_t;

/** Bytes of a job: mostly small, sometimes in the pool. */
size_t job_size(uint64_t number);
void job_write(void *data, size_t size, uint32_t who, uint64_t number);
/** Fails unless the message is whole. */
job_t job_read(const void *data, size_t size);
/** Notes that a job was delivered; fails when it was released before, or came twice as if for the first time. */
void job_seen(ledger_t *l, const job_t *job, const ferry_msg_t *m);
void job_done(ledger_t *l, const job_t *job);
/** Sends the next job of sender 0, or two, in one of several ways; returns the number of the last one. */
uint64_t job_send_next(ferry_sender_t *tx, ledger_t *l, uint64_t number);
/** Fails unless every job that was accepted has been delivered. */
void ledger_expect_complete(const ledger_t *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * jobs.c - see jobs.h.
 */
#include "jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

size_t job_size(uint64_t number) {
    uint64_t h = number * 0x9e3779b97f4a7c15u >> 32;
    unsigned kind = h % 16;
    if (kind < 11)
        return sizeof(job_t) + h / 16 % 120;
    if (kind < 14)
        return sizeof(job_t) + h / 16 % 3000;
    return 4096 + h / 16 % 60000;
}

static uint64_t seed_of(uint32_t who, uint64_t number) {
    return number ^ (uint64_t)who << 40;
}

void job_write(void *data, size_t size, uint32_t who, uint64_t number) {
    job_t job = {who, (uint32_t)size, number};
    memcpy(data, &job, sizeof job);
    fill((unsigned char *)data + sizeof job, size - sizeof job, seed_of(who, number));
}

/* Says where the message stops to be what was sent: a torn one begins well. */
_Noreturn static void not_whole(const job_t *job, const unsigned char *data, size_t size) {
    static unsigned char whole[1 << 17];
    size_t at = 0;
    if (size >= sizeof *job && size <= sizeof whole) {
        job_write(whole, size, job->who, job->number);
        while (at < size && data[at] == whole[at])
            at++;
    }
    fprintf(stderr, "# a message of %zu bytes (%u, %u, %llu: sender, size, number) is wrong from byte %zu on\n", size,
            job->who, job->size, (unsigned long long)job->number, at);
    check_failed("the message is as it was sent", __FILE__, __LINE__);
}

job_t job_read(const void *data, size_t size) {
    job_t job = {0};
    memcpy(&job, data, size < sizeof job ? size : sizeof job);
    if (size < sizeof job || job.size != size || job.who > SENDERS_MAX ||
        !filled((const unsigned char *)data + sizeof job, size - sizeof job, seed_of(job.who, job.number)))
        not_whole(&job, data, size);
    return job;
}

void job_seen(ledger_t *l, const job_t *job, const ferry_msg_t *m) {
    if (job->who != 0)
        return;
    check(job->number < JOBS_MAX);
    check_is(atomic_load(&l->done[job->number]), 0);
    unsigned before = atomic_fetch_add(&l->seen[job->number], 1);
    check(before == 0 || info_of(m).attempt > 1);
}

void job_done(ledger_t *l, const job_t *job) {
    if (job->who == 0)
        atomic_store(&l->done[job->number], 1);
}

static void send_edited(ferry_sender_t *tx, uint64_t number) {
    void *data;
    ferry_msg_t *m;
    size_t size = 2048 + job_size(number);
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    job_write(data, size, 0, number);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check(ferry_msg_edit(m, &data) >= 0);
    job_write(data, size, 0, number + 1);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

static uint64_t send_some(ferry_sender_t *tx, uint64_t number) {
    static unsigned char buffer[1 << 16];
    size_t size = job_size(number);
    void *data;
    switch (number % 8) {
    case 0:
        send_edited(tx, number);
        return number + 1;
    case 3:
        check_is(ferry_claim(tx, size, PATIENCE, &data), 0);
        job_write(data, size, 0, number);
        check_is(ferry_commit(tx, size), 0);
        return number;
    default:
        job_write(buffer, size, 0, number);
        check_is(ferry_send(tx, buffer, size, PATIENCE), 0);
        return number;
    }
}

uint64_t job_send_next(ferry_sender_t *tx, ledger_t *l, uint64_t number) {
    uint64_t last = send_some(tx, number);
    atomic_store(&l->accepted, last);
    return last;
}

void ledger_expect_complete(const ledger_t *l) {
    uint64_t accepted = atomic_load(&l->accepted), again = 0;
    for (uint64_t n = 1; n <= accepted; n++) {
        unsigned seen = atomic_load(&l->seen[n]);
        if (seen == 0)
            fprintf(stderr, "# job %" PRIu64 " of %" PRIu64 " was accepted and never received\n", n, accepted);
        check(seen > 0);
        again += seen > 1;
    }
    printf("# %" PRIu64 " jobs, each received; %" PRIu64 " of them again after a receiver's death\n", accepted, again);
    fflush(stdout);
    check(accepted > 0);
}

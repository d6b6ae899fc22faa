/* SPDX-License-Identifier: MIT
 *
 * work.c - producing and consuming, whichever way the items go.
 */
#include "bounded_buffer.h"

static uint64_t content_of(uint32_t producer, uint32_t number, size_t i) {
    return ((uint64_t)producer << 32 | number) * 0x9e3779b97f4a7c15u + i;
}

static item_t make(uint32_t producer, uint32_t number) {
    item_t item = {.producer = producer, .number = number};
    for (size_t i = 0; i < sizeof(item.content) / sizeof(*item.content); i++) {
        item.content[i] = content_of(producer, number, i);
    }
    return item;
}

static bool is_whole(const item_t *item, const job_t *job) {
    bool whole = item->producer < job->producers && item->number < job->items;
    for (size_t i = 0; i < sizeof(item->content) / sizeof(*item->content); i++) {
        whole = whole && item->content[i] == content_of(item->producer, item->number, i);
    }
    return whole;
}

static int produce(const job_t *job, end_t *end, uint32_t producer) {
    for (uint32_t number = 0; number < job->items; number++) {
        item_t item = make(producer, number);
        if (job->way->put(end, &item) < 0) {
            return -1;
        }
    }
    return 0;
}

/** Ticks an item off; `next[p]` is the least number that may now come from producer p. */
static void note(const job_t *job, const item_t *item, uint32_t *next) {
    if (!is_whole(item, job)) {
        atomic_fetch_add(&job->results->broken, 1);
        return;
    }
    if (item->number < next[item->producer]) {
        atomic_fetch_add(&job->results->late, 1);
    }
    next[item->producer] = item->number + 1;
    atomic_fetch_add(&job->results->seen[(size_t)item->producer * job->items + item->number], 1);
}

static int consume(const job_t *job, end_t *end) {
    uint32_t next[CREW_MOST] = {0};
    item_t item;
    int r;
    while ((r = job->way->take(end, &item)) == 0) {
        note(job, &item, next);
    }
    return r < 0 ? -1 : 0;
}

int producer_or_consumer(ferry_t *node, unsigned number, void *arg) {
    const job_t *job = arg;
    bool producer = number < job->producers;
    end_t *end;
    if (job->way->open(&end, node, job, producer) < 0 || crew_meet(node, job->producers + job->consumers) < 0) {
        return -1;
    }
    job->results->began[number] = crew_now();
    if ((producer ? produce(job, end, number) : consume(job, end)) < 0 || job->way->close(end) < 0) {
        return -1;
    }
    job->results->ended[number] = crew_now();
    return 0;
}

unsigned count_wrong(const job_t *job) {
    unsigned wrong = 0;
    for (size_t i = 0; i < (size_t)job->producers * job->items; i++) {
        wrong += job->results->seen[i] != 1;
    }
    return wrong;
}

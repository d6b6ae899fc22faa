/* SPDX-License-Identifier: MIT
 *
 * start_threads.c - all parts in one process: one node, one thread for each part.
 */
#include "wordcount.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct running {
    pthread_t thread;
    ferry_t *node;
    const job_t *job;
    const part_t *part;
    int result;
} running_t;

static void *run(void *arg) {
    running_t *r = arg;
    r->result = r->part->run(r->node, r->job, r->part->number);
    if (r->result != 0) {
        ferry_shutdown(r->node); /* the others must not wait for a part that has given up */
    }
    return NULL;
}

/** Starts all, and waits for those that were started. Returns 0 when all did well. */
static int run_all(running_t *all, ferry_t *node, size_t n) {
    size_t started = 0;
    int result = 0;
    for (; started < n; started++) {
        int err = pthread_create(&all[started].thread, NULL, run, &all[started]);
        if (err != 0) {
            fprintf(stderr, "wordcount: a thread cannot be started: %s\n", strerror(err));
            ferry_shutdown(node);
            result = -1;
            break;
        }
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(all[i].thread, NULL);
        if (all[i].result != 0) {
            result = -1;
        }
    }
    return result;
}

int start_threads(const job_t *job, const part_t *parts, size_t n) {
    ferry_t *node;
    if (ferry_open(job->space, NULL, &node) < 0) {
        fprintf(stderr, "wordcount: opening the space: %s\n", ferry_last_error());
        return -1;
    }
    running_t *all = calloc(n, sizeof(*all));
    if (all == NULL) {
        fprintf(stderr, "wordcount: there is not enough memory for %zu threads\n", n);
        ferry_close(node);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        all[i] = (running_t){.node = node, .job = job, .part = &parts[i]};
    }
    interrupt_leaves(node);
    int result = run_all(all, node, n);
    free(all);
    interrupt_ends(node);
    return result;
}

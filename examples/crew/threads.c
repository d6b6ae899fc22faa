/* SPDX-License-Identifier: MIT
 *
 * threads.c - a crew of threads: the work of one process.
 */
#include "crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct member {
    pthread_t thread;
    ferry_t *node;
    const crew_t *crew;
    unsigned number;
    int result;
} member_t;

static void *live(void *arg) {
    member_t *m = arg;
    m->result = m->crew->work(m->node, m->number, m->crew->job);
    if (m->result != 0) {
        ferry_shutdown(m->node); /* the others may wait for this one */
    }
    return NULL;
}

int crew_threads(ferry_t *node, unsigned number, void *arg) {
    const crew_t *crew = arg;
    member_t members[CREW_MOST];
    unsigned started = 0;
    int result = 0;
    (void)number;
    for (; started < crew->members; started++) {
        members[started] = (member_t){.node = node, .crew = crew, .number = started};
        int error = pthread_create(&members[started].thread, NULL, live, &members[started]);
        if (error != 0) {
            fprintf(stderr, "%s: a thread cannot be started: %s\n", program_invocation_short_name, strerror(error));
            ferry_shutdown(node);
            result = -1;
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(members[i].thread, NULL);
        result = members[i].result != 0 ? -1 : result;
    }
    return result;
}

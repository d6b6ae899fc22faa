/* SPDX-License-Identifier: MIT
 *
 * Two POSIX message queues.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers.h"

enum { NAME = 64, MESSAGES = 10 /* more need a system that was told so */ };

typedef struct end {
    size_t size;
    mqd_t in, out;
    unsigned char *buffer[2];
    char name[2][NAME];
} end_t;

/* Queues are named apart from files; the directory of the run has a name of its own. */
static void name_queues(end_t *e, const char *path) {
    char copy[BENCH_WIRE_PATH];

    snprintf(copy, sizeof copy, "%s", path);
    char *last = strrchr(copy, '/');
    if (last != NULL)
        *last = '\0';
    const char *directory = strrchr(copy, '/');
    for (unsigned i = 0; i < 2; i++)
        snprintf(e->name[i], NAME, "/%.40s-%u", directory != NULL ? directory + 1 : copy, i);
}

static mqd_t open_queue(const end_t *e, unsigned to, int how) {
    struct mq_attr attr = {.mq_maxmsg = MESSAGES, .mq_msgsize = (long)e->size};

    return mq_open(e->name[to], how | O_CREAT | O_CLOEXEC, 0600, &attr);
}

static void unlink_queues(const end_t *e) {
    mq_unlink(e->name[0]);
    mq_unlink(e->name[1]);
}

static void close_end(void *end) {
    end_t *e = end;

    if (e->in >= 0)
        mq_close(e->in);
    if (e->out >= 0)
        mq_close(e->out);
    free(e->buffer[0]);
    free(e->buffer[1]);
    free(e);
}

static void *open_queues(const bench_wire_place_t *place) {
    end_t *e = malloc(sizeof *e);

    if (e == NULL)
        return NULL;
    *e = (end_t){.size = place->size};
    e->buffer[0] = bench_buffer(place->host, place->size);
    e->buffer[1] = bench_buffer(place->host, place->size);
    name_queues(e, place->path);
    e->in = open_queue(e, place->side, O_RDONLY);
    e->out = open_queue(e, 1 - place->side, O_WRONLY);
    if (e->in >= 0 && e->out >= 0)
        return e;
    unlink_queues(e);
    close_end(e);
    return NULL;
}

/* Both have them open by now. */
static int join(void *end) {
    unlink_queues(end);
    return 0;
}

static void *room(void *end) {
    const end_t *e = end;

    return e->buffer[0];
}

static int put(void *end) {
    const end_t *e = end;

    return mq_send(e->out, (const char *)e->buffer[0], e->size, 0);
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    ssize_t n = mq_receive(e->in, (char *)e->buffer[1], e->size, NULL);

    return n < 0 ? -1 : got(arg, e->buffer[1], (size_t)n);
}

const bench_wire_t bench_wire_mqueue = {open_queues, join, room, put, take, close_end};

/* SPDX-License-Identifier: MIT
 *
 * The usual way without a library: a question and its answer over a UNIX stream socket.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "bench/calls.h"
#include "bench/payload.h"

typedef struct end {
    bench_side_t *me;
    int fd;
    unsigned char *buffer;
    uint64_t asked;
} end_t;

static void put(const end_t *e, uint64_t id) {
    size_t size = e->me->settings->size;

    bench_payload_fill(e->buffer, size, id);
    if (send(e->fd, e->buffer, size, MSG_NOSIGNAL) != (ssize_t)size)
        bench_fail(e->me, "a socket did not take %zu bytes", size);
}

static uint64_t take(const end_t *e) {
    size_t size = e->me->settings->size;
    uint64_t id = 0;

    if (recv(e->fd, e->buffer, size, MSG_WAITALL) != (ssize_t)size || !bench_payload_check(e->buffer, size, &id))
        bench_fail(e->me, "%zu bytes came damaged out of a socket", size);
    return id;
}

static void ask(void *asker, unsigned place, uint64_t number) {
    (void)place;
    put(asker, number);
}

static void take_answer(void *asker, unsigned place, uint64_t number) {
    const end_t *e = asker;

    (void)place;
    if (take(e) != (number | BENCH_ID_REPLY))
        bench_fail(e->me, "the answer to question %llu belongs to another one", (unsigned long long)number);
}

static void socket_lead(void *joined, uint64_t ticks, bench_trips_t *trips) {
    end_t *e = joined;

    bench_trips_begin(trips, ticks);
    e->asked = bench_window(ask, take_answer, e, 1, e->asked, trips);
    put(e, BENCH_ID_LAST);
    take_answer(e, 0, BENCH_ID_LAST);
}

static void socket_follow(void *joined) {
    const end_t *e = joined;
    uint64_t id;

    do {
        id = take(e);
        put(e, id | BENCH_ID_REPLY);
    } while ((id & BENCH_ID_LAST) == 0);
}

static void *socket_join(bench_side_t *me, bench_calls_t *calls) {
    end_t *e = calloc(1, sizeof *e);

    if (e == NULL)
        bench_fail(me, "there is no memory left");
    *e = (end_t){me, calls->sockets[bench_is_server(me) ? 0 : 1], bench_buffer(me, me->settings->size), 0};
    return e;
}

static void socket_leave(void *joined) {
    end_t *e = joined;

    free(e->buffer);
    free(e);
}

const bench_speech_t bench_speak_socket = {socket_join, socket_lead, socket_follow, socket_leave};

/* SPDX-License-Identifier: MIT
 *
 * ZeroMQ's pair of sockets over a UNIX socket, as `ferry bench peers` compares it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "bench/wire.h"

typedef struct end {
    size_t size;
    void *context, *socket;
    zmq_msg_t next;
} end_t;

static void close_end(void *end) {
    end_t *e = end;

    if (e->socket != NULL)
        zmq_close(e->socket);
    if (e->context != NULL)
        zmq_ctx_term(e->context);
    free(e);
}

static int set_up(end_t *e, const bench_wire_place_t *place) {
    int depth = bench_wire_depth(place->size);
    char address[4300];

    snprintf(address, sizeof address, "ipc://%s", place->path);
    e->context = zmq_ctx_new();
    e->socket = e->context != NULL ? zmq_socket(e->context, ZMQ_PAIR) : NULL;
    if (e->socket == NULL || zmq_setsockopt(e->socket, ZMQ_SNDHWM, &depth, sizeof depth) != 0 ||
        zmq_setsockopt(e->socket, ZMQ_RCVHWM, &depth, sizeof depth) != 0)
        return -1;
    return place->side == 0 ? zmq_bind(e->socket, address) : zmq_connect(e->socket, address);
}

static void *open_end(const bench_wire_place_t *place) {
    end_t *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->size = place->size;
    if (set_up(e, place) == 0)
        return e;
    close_end(e);
    return NULL;
}

static void *room(void *end) {
    end_t *e = end;

    return zmq_msg_init_size(&e->next, e->size) == 0 ? zmq_msg_data(&e->next) : NULL;
}

static int put(void *end) {
    end_t *e = end;

    return zmq_msg_send(&e->next, e->socket, 0) < 0; /* which then owns it */
}

static int take(void *end, bench_got_fn *got, void *arg) {
    end_t *e = end;
    zmq_msg_t m;

    zmq_msg_init(&m);
    int failed = zmq_msg_recv(&m, e->socket, 0) < 0 ? -1 : got(arg, zmq_msg_data(&m), zmq_msg_size(&m));
    zmq_msg_close(&m);
    return failed;
}

const bench_wire_t ferry_bench_wire = {open_end, NULL, room, put, take, close_end};

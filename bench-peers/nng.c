/* SPDX-License-Identifier: MIT
 *
 * nng's pair of sockets over a UNIX socket, as `ferry bench peers` compares it.
 */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/wire.h"

enum { MOST_BUFFERS = 8192 /* that nng allows */ };

typedef struct end {
    size_t size;
    nng_socket socket;
    nng_msg *next;
} end_t;

static int set_up(const end_t *e, const bench_wire_place_t *place) {
    int depth = bench_wire_depth(place->size);
    char address[4300];

    snprintf(address, sizeof address, "ipc://%s", place->path);
    if (nng_socket_set_int(e->socket, NNG_OPT_SENDBUF, depth < MOST_BUFFERS ? depth : MOST_BUFFERS) != 0 ||
        nng_socket_set_int(e->socket, NNG_OPT_RECVBUF, depth < MOST_BUFFERS ? depth : MOST_BUFFERS) != 0 ||
        nng_socket_set_size(e->socket, NNG_OPT_RECVMAXSZ, 0) != 0)
        return -1;
    return place->side == 0 ? nng_listen(e->socket, address, NULL, 0) : nng_dial(e->socket, address, NULL, 0);
}

static void *open_end(const bench_wire_place_t *place) {
    end_t *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->size = place->size;
    if (nng_pair0_open(&e->socket) == 0) {
        if (set_up(e, place) == 0)
            return e;
        nng_close(e->socket);
    }
    free(e);
    return NULL;
}

static void *room(void *end) {
    end_t *e = end;

    return nng_msg_alloc(&e->next, e->size) == 0 ? nng_msg_body(e->next) : NULL;
}

static int put(void *end) {
    const end_t *e = end;

    return nng_sendmsg(e->socket, e->next, 0); /* which then owns it */
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    nng_msg *m = NULL;

    if (nng_recvmsg(e->socket, &m, 0) != 0)
        return -1;
    int failed = got(arg, nng_msg_body(m), nng_msg_len(m));
    nng_msg_free(m);
    return failed;
}

static void close_end(void *end) {
    end_t *e = end;

    nng_close(e->socket);
    free(e);
}

const bench_wire_t ferry_bench_wire = {open_end, NULL, room, put, take, close_end};

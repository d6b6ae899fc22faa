/* SPDX-License-Identifier: MIT
 *
 * What carries bytes without a library: two pipes (with names), or a UNIX stream socket. Both ends know the size of a
 * message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/peers.h"

typedef struct end {
    size_t size;
    int listens, in, out;
    unsigned char *buffer[2];
} end_t;

static end_t *new_end(const bench_wire_place_t *place) {
    end_t *e = malloc(sizeof *e);

    if (e == NULL)
        return NULL;
    *e = (end_t){.size = place->size, .listens = -1, .in = -1, .out = -1};
    e->buffer[0] = bench_buffer(place->host, place->size);
    e->buffer[1] = bench_buffer(place->host, place->size);
    return e;
}

static void close_end(void *end) {
    end_t *e = end;

    if (e->listens >= 0)
        close(e->listens);
    if (e->in >= 0)
        close(e->in);
    if (e->out >= 0 && e->out != e->in)
        close(e->out);
    free(e->buffer[0]);
    free(e->buffer[1]);
    free(e);
}

static void *room(void *end) {
    const end_t *e = end;

    return e->buffer[0];
}

static int put(void *end) {
    const end_t *e = end;
    size_t done = 0;

    while (done < e->size) {
        ssize_t n = write(e->out, e->buffer[0] + done, e->size - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    size_t done = 0;

    while (done < e->size) {
        ssize_t n = read(e->in, e->buffer[1] + done, e->size - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return got(arg, e->buffer[1], e->size);
}

/* --- pipes ------------------------------------------------------------------------------------------------------- */

/* Opened for both, a pipe is there at once, whoever comes first. */
static int open_pipe(const bench_wire_place_t *place, unsigned to) {
    char path[BENCH_WIRE_PATH + 8];

    snprintf(path, sizeof path, "%s.%u", place->path, to);
    if (place->side == 0 && mkfifo(path, 0600) < 0)
        return -1;
    return open(path, O_RDWR | O_CLOEXEC);
}

static void *open_pipes(const bench_wire_place_t *place) {
    end_t *e = new_end(place);

    if (e == NULL)
        return NULL;
    e->in = open_pipe(place, place->side);
    e->out = open_pipe(place, 1 - place->side);
    if (e->in >= 0 && e->out >= 0)
        return e;
    close_end(e);
    return NULL;
}

const bench_wire_t bench_wire_pipe = {open_pipes, NULL, room, put, take, close_end};

/* --- sockets ----------------------------------------------------------------------------------------------------- */

static bool bind_or_connect(end_t *e, const bench_wire_place_t *place) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct sockaddr *any = (const struct sockaddr *)&address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(place->path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(address.sun_path, place->path);
    if (place->side == 0) {
        e->listens = fd;
        return fd >= 0 && bind(fd, any, sizeof address) == 0 && listen(fd, 1) == 0;
    }
    e->in = e->out = fd;
    return fd >= 0 && connect(fd, any, sizeof address) == 0;
}

static void *open_socket(const bench_wire_place_t *place) {
    end_t *e = new_end(place);

    if (e == NULL || bind_or_connect(e, place))
        return e;
    close_end(e);
    return NULL;
}

static int join_socket(void *end) {
    end_t *e = end;

    if (e->listens >= 0)
        e->in = e->out = accept4(e->listens, NULL, NULL, SOCK_CLOEXEC);
    return e->in < 0;
}

const bench_wire_t bench_wire_socket = {open_socket, join_socket, room, put, take, close_end};

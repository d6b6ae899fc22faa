/* SPDX-License-Identifier: MIT
 *
 * Plain TCP between the sides: messages of a size that both know, without delay one at a time, in a stream put together
 * as the client library does it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/machines.h"
#include "bench/payload.h"

enum { TOGETHER = 32768 };

typedef struct tcp {
    bench_side_t *me;
    int listener, fd;
    size_t size;
    unsigned char *question, *answer;
    unsigned char *bulk; /* whole messages */
    size_t bulk_room, bulk_len;
} tcp_t;

_Noreturn static void failed(bench_side_t *me, const char *what) {
    bench_fail(me, "plain TCP: %s: %s", what, errno != 0 ? strerror(errno) : "the other side has gone");
}

static void push(tcp_t *t, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(t->fd, data, size, MSG_NOSIGNAL);
        if (n < 0)
            failed(t->me, "cannot send");
        data += n;
        size -= (size_t)n;
    }
}

/* At least one message of what comes, at most `room` bytes. Returns the whole messages. */
static size_t pull(tcp_t *t, unsigned char *data, size_t *len, size_t room) {
    do {
        errno = 0;
        ssize_t n = recv(t->fd, data + *len, room - *len, 0);
        if (n <= 0)
            failed(t->me, "cannot receive");
        *len += (size_t)n;
    } while (*len < t->size);
    return *len / t->size;
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

static void listen_near(tcp_t *t, bench_meeting_t *meeting, struct sockaddr_in *address) {
    socklen_t len = sizeof *address;

    if (bind(t->fd, (struct sockaddr *)address, len) < 0 || listen(t->fd, 1) < 0 ||
        getsockname(t->fd, (struct sockaddr *)address, &len) < 0)
        failed(t->me, "cannot listen");
    atomic_store(&meeting->port, ntohs(address->sin_port));
    t->listener = t->fd;
    t->fd = -1;
}

static void *tcp_join(bench_side_t *me) {
    bench_meeting_t *meeting = me->shared;
    struct sockaddr_in address = {.sin_family = AF_INET};
    tcp_t t = {.me = me, .listener = -1, .size = me->settings->size};
    int one = 1;

    t.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (t.fd < 0 || inet_pton(AF_INET, me->settings->place->host, &address.sin_addr) != 1)
        failed(me, "cannot make a socket");
    if (me->index == BENCH_NEAR) {
        listen_near(&t, meeting, &address);
    } else {
        address.sin_port = htons((uint16_t)atomic_load(&meeting->port));
        if (connect(t.fd, (struct sockaddr *)&address, sizeof address) < 0)
            failed(me, "cannot connect");
        setsockopt(t.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    t.bulk_room = t.size < TOGETHER ? TOGETHER / t.size * t.size : t.size;
    t.bulk = bench_buffer(me, t.bulk_room);
    t.question = bench_buffer(me, t.size);
    t.answer = bench_buffer(me, t.size);
    return bench_keep(me, &t, sizeof t);
}

static void tcp_ready(void *joined) {
    tcp_t *t = joined;
    int one = 1;

    if (t->me->index != BENCH_NEAR)
        return;
    t->fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);
    if (t->fd < 0)
        failed(t->me, "cannot accept");
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void tcp_leave(void *joined) {
    tcp_t *t = joined;

    close(t->fd);
    if (t->listener >= 0)
        close(t->listener);
    free(t->bulk);
    free(t->question);
    free(t->answer);
    free(t);
}

/* --- there and back ----------------------------------------------------------------------------------------------- */

static void tcp_trip(void *joined, uint64_t id) {
    tcp_t *t = joined;
    size_t len = 0;

    bench_payload_fill(t->question, t->size, id);
    push(t, t->question, t->size);
    pull(t, t->answer, &len, t->size);
    bench_check_answer(t->me, t->answer, t->size, id);
}

static void tcp_follow(void *joined) {
    tcp_t *t = joined;
    uint64_t id;

    do {
        size_t len = 0;
        pull(t, t->question, &len, t->size);
        id = bench_make_answer(t->me, t->question, t->size, t->answer);
        push(t, t->answer, t->size);
    } while ((id & BENCH_ID_LAST) == 0);
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static void tcp_flush(void *joined) {
    tcp_t *t = joined;

    push(t, t->bulk, t->bulk_len);
    t->bulk_len = 0;
}

static void tcp_give(void *joined, uint64_t id) {
    tcp_t *t = joined;

    bench_payload_fill(t->bulk + t->bulk_len, t->size, id);
    t->bulk_len += t->size;
    if (t->bulk_len == t->bulk_room)
        tcp_flush(t);
}

/* Nothing follows the last message of a slice. */
static void tcp_take(void *joined, bench_heard_t *heard) {
    tcp_t *t = joined;
    size_t len = 0;
    bool over = false;

    bench_meet(t->me);
    while (!over) {
        size_t whole = pull(t, t->bulk, &len, t->bulk_room);
        for (size_t i = 0; i < whole; i++)
            over = bench_hear(heard, t->bulk + i * t->size, t->size);
        len -= whole * t->size;
        memmove(t->bulk, t->bulk + whole * t->size, len);
    }
}

const bench_dealing_t *bench_by_tcp(void) {
    static const bench_dealing_t dealing = {.join = tcp_join,
                                            .ready = tcp_ready,
                                            .trip = tcp_trip,
                                            .follow = tcp_follow,
                                            .give = tcp_give,
                                            .flush = tcp_flush,
                                            .take = tcp_take,
                                            .leave = tcp_leave};

    return &dealing;
}

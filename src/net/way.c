/* SPDX-License-Identifier: MIT
 *
 * net/way.c - see way.h.
 *
 * The loop's side is edge-triggered: of a full socket the bridge hears when it has room again, and of an empty one
 * nothing.
 */
#include "net/way.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/atomic.h"
#include "net/bridge.h"
#include "net/net.h"
#include "platform/clock.h"

#define AGAIN_NS 100000000ll /* between attempts to make one anew */
/* Bytes that are published before they are written, about: nats-server 2.9 spends more on larger pieces. */
#define GATHERED_MOST 4096
#define HEAD 256 /* bytes of a message that are not its data, about */
#define READS 16 /* in a turn, at most */
#define PING_NS (FI_NET_PING_MS * 1000000ll)
#define MOMENT_NS 1000000ll
#define TLS_HEAD 5 /* bytes before a record's, the last two of which say how many those are */

/* ---- what libnats asks of an event loop ---- */

/* One connection's. */
typedef struct loop {
    fi_net_t *net;
    int fd;
} loop_t;

static natsStatus attach(void **user, void *net, natsConnection *c, natsSock fd) {
    fi_way_t *w = &((fi_net_t *)net)->way;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &w->ready};
    loop_t *l = calloc(1, sizeof *l);

    (void)c;
    if (!l) {
        return NATS_NO_MEMORY;
    }
    *l = (loop_t){.net = net, .fd = fd};
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        free(l);
        return NATS_SYS_ERROR;
    }
    fi_store_relaxed32(&w->fd, (uint32_t)fd);
    *user = l;
    return NATS_OK;
}

/* Before the descriptor is closed, by whichever thread has found that the connection has ended. */
static natsStatus poll_for_reading(void *user, bool add) {
    const loop_t *l = user;

    if (!add) {
        (void)epoll_ctl(l->net->way.epoll, EPOLL_CTL_DEL, l->fd, NULL);
    }
    return NATS_OK;
}

/* Also by libnats' timer, which asks whether the server is still there. */
static natsStatus poll_for_writing(void *user, bool add) {
    fi_net_t *net = ((loop_t *)user)->net;

    fi_store_release32(&net->way.unsent, add);
    if (add && !fi_bridge_is_its_thread(net->bridge)) {
        fi_bridge_wake(net->bridge);
    }
    return NATS_OK;
}

static natsStatus detach(void *user) {
    free(user);
    return NATS_OK;
}

/* ---- writing ---- */

static natsConnection *connection_of(const fi_net_t *net) {
    return __atomic_load_n(&net->way.connection, __ATOMIC_ACQUIRE);
}

/* What does not leave fills it up, until it does. */
void fi_way_flush(fi_net_t *net) {
    fi_way_t *w = &net->way;
    natsConnection *c = connection_of(net); /* NULL: it is just being made */

    if (c && fi_load_acquire32(&w->unsent)) {
        fi_nats.natsConnection_ProcessWriteEvent(c);
    }
    w->gathered = fi_load_acquire32(&w->unsent) ? GATHERED_MOST : 0;
}

/* ---- ears ---- */

static void close_ear(fi_way_ear_t *ear) {
    fi_nats.natsSubscription_Destroy(ear->sub);
    ear->sub = NULL;
}

static bool open_ear(fi_way_ear_t *ear, natsConnection *c) {
    if (fi_nats.natsConnection_SubscribeSync(&ear->sub, c, ear->subject) != NATS_OK) {
        return false;
    }
    if (fi_nats.natsSubscription_SetPendingLimits(ear->sub, -1, -1) != NATS_OK) {
        close_ear(ear);
    }
    return ear->sub != NULL;
}

static void renew(fi_way_ear_t *ear) {
    if (ear->anew) {
        ear->anew(ear->arg);
    }
}

/* Before anything is published there whose answer is to be heard. */
static bool listen_on(fi_way_t *w, natsConnection *c) {
    struct fi_list *at;
    struct fi_list *after;
    bool all = true;

    if (w->listens == c && !w->deaf) {
        return true;
    }
    fi_list_each(at, after, &w->ears) {
        fi_way_ear_t *ear = fi_container(at, fi_way_ear_t, link);
        if (w->listens != c) {
            close_ear(ear);
            renew(ear);
        }
        all = (ear->sub || ear->is_late || open_ear(ear, c)) && all;
    }
    w->listens = c;
    w->deaf = !all;
    return all;
}

void fi_way_listen(fi_net_t *net, fi_way_ear_t *ear) {
    fi_list_add_tail(&net->way.ears, &ear->link);
    net->way.deaf = true;
}

void fi_way_unlisten(fi_way_ear_t *ear) {
    if (ear->link.next) {
        close_ear(ear);
        fi_list_remove(&ear->link);
    }
}

void fi_way_hand_on(fi_net_t *net, fi_way_ear_t *ear, fi_way_ear_t *late) {
    late->is_late = true;
    late->sub = ear->sub;
    ear->sub = NULL;
    fi_way_unlisten(ear);
    fi_list_add_tail(&net->way.ears, &late->link);
    if (late->sub && !fi_net_drain(late->sub)) {
        close_ear(late);
    }
}

bool fi_way_is_over(const fi_way_ear_t *late) {
    return !late->sub || fi_nats.natsSubscription_DrainCompletionStatus(late->sub) != NATS_ILLEGAL_STATE;
}

/* ---- publishing ---- */

bool fi_way_has_room(fi_net_t *net) {
    natsConnection *c = connection_of(net);

    if (!c || !fi_net_is_connected(c) || !listen_on(&net->way, c)) {
        return false;
    }
    if (net->way.gathered >= GATHERED_MOST) {
        fi_way_flush(net);
    }
    return net->way.gathered < GATHERED_MOST;
}

natsStatus fi_way_publish(fi_net_t *net, natsMsg *msg) {
    net->way.gathered += HEAD + (size_t)fi_nats.natsMsg_GetDataLength(msg);
    return fi_nats.natsConnection_PublishMsg(connection_of(net), msg);
}

bool fi_way_say(fi_net_t *net, const char *subject, const char *reply, const char *words) {
    natsConnection *c = connection_of(net);
    int len = (int)strlen(words);

    if (!fi_way_has_room(net)) {
        return false;
    }
    net->way.gathered += HEAD;
    return (reply ? fi_nats.natsConnection_PublishRequest(c, subject, reply, words, len)
                  : fi_nats.natsConnection_Publish(c, subject, words, len)) == NATS_OK;
}

/* ---- hearing ---- */

static void take_of(fi_bridge_t *b, fi_way_ear_t *ear) {
    while (ear->sub) {
        natsMsg *msg = NULL;
        natsStatus s = fi_nats.natsSubscription_NextMsg(&msg, ear->sub, 0);
        if (s != NATS_OK && s != NATS_NO_RESPONDERS) {
            return;
        }
        b->singles++;
        b->progress = true;
        ear->take(ear->arg, msg);
    }
}

static void take_all(fi_net_t *net) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &net->way.ears) {
        take_of(net->bridge, fi_container(at, fi_way_ear_t, link));
    }
}

/*
 * Can it be read without waiting? Of TLS, libnats waits for the rest of a record, for as long as that takes, and nobody
 * else would do what the bridge does meanwhile. After an end there is nothing to wait for.
 */
static bool can_be_read(const fi_net_t *net, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    unsigned char head[TLS_HEAD];
    int there = 0;

    if (poll(&p, 1, 0) <= 0) {
        return false;
    }
    if (!net->address.tls || (p.revents & ~POLLIN)) {
        return true;
    }
    return recv(fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT) == sizeof head && ioctl(fd, FIONREAD, &there) == 0 &&
           there >= TLS_HEAD + (head[3] << 8 | head[4]);
}

void fi_way_hear(fi_net_t *net) {
    fi_way_t *w = &net->way;
    natsConnection *c = connection_of(net);
    int fd = (int)fi_load_relaxed32(&w->fd);
    int reads = 0;

    if (!w->ready || !c) {
        return;
    }
    for (; reads < READS && fi_net_is_connected(c) && can_be_read(net, fd); reads++) { /* of TLS, each takes a record */
        w->silent = 0;
        fi_nats.natsConnection_ProcessReadEvent(c);
        take_all(net);
    }
    w->ready = reads == READS;
}

/* Nothing is waited for: libnats reads that it has ended. */
static void hang_up(fi_net_t *net, natsConnection *c) {
    (void)shutdown((int)fi_load_relaxed32(&net->way.fd), SHUT_RDWR);
    for (int i = 0; i < READS && fi_net_is_connected(c); i++) { /* what has arrived comes first */
        fi_nats.natsConnection_ProcessReadEvent(c);
    }
}

int64_t fi_way_watch(fi_net_t *net) {
    fi_way_t *w = &net->way;
    natsConnection *c = connection_of(net);

    if (!c || !fi_net_is_connected(c)) {
        return -1;
    }
    int64_t now = fi_now_ns();
    if (now - w->looked_at >= PING_NS) {
        w->silent += w->looked_at > 0;
        w->looked_at = now;
    }
    if (w->silent > FI_NET_PINGS) {
        hang_up(net, c);
        return -1;
    }
    if (w->ready) {
        return 0; /* there was more to be read than is read at once */
    }
    return fi_load_acquire32(&w->unsent) ? w->looked_at + PING_NS - now : -1; /* else libnats' next ping wakes */
}

/* ---- coming and going ---- */

static void closed(natsConnection *c, void *arg) {
    fi_net_t *net = arg;

    fi_store_release32(&net->way.torn, 1);
    fi_net_tell_torn(net);
    fi_net_closed(c, net);
}

/* With the lock. No other connections are made any more: the options may stay as they are for ways. */
static int make(fi_net_t *net, unsigned handshakes) {
    natsConnection *old = net->way.connection;

    natsStatus s = fi_nats.natsOptions_SetAllowReconnect(net->options, false);
    s = s == NATS_OK
            ? fi_nats.natsOptions_SetEventLoop(net->options, net, attach, poll_for_reading, poll_for_writing, detach)
            : s;
    s = s == NATS_OK ? fi_nats.natsOptions_SetMaxPingsOut(net->options, INT_MAX) : s;
    s = s == NATS_OK ? fi_nats.natsOptions_SetDisconnectedCB(net->options, NULL, NULL) : s;
    s = s == NATS_OK ? fi_nats.natsOptions_SetClosedCB(net->options, closed, net) : s;
    int r = s == NATS_OK ? fi_net_connect(net, &net->way.connection, handshakes) : fi_net_explain(net, s);
    if (r == 0) {
        fi_store_relaxed32(&net->way.most, (uint32_t)fi_nats.natsConnection_GetMaxPayload(net->way.connection));
        fi_nats.natsConnection_Destroy(old);
    }
    return r;
}

void fi_way_init(fi_way_t *w) {
    fi_list_init(&w->ears);
    pthread_mutex_init(&w->lock, NULL);
}

void fi_way_destroy(fi_way_t *w) {
    pthread_mutex_destroy(&w->lock);
}

int fi_way_open(fi_net_t *net) {
    sigset_t before;

    fi_net_signals_off(&before);
    pthread_mutex_lock(&net->way.lock);
    bool is_there = net->way.connection != NULL;
    int r = is_there ? 0 : make(net, FI_NET_HANDSHAKES);
    pthread_mutex_unlock(&net->way.lock);
    if (!is_there) {
        fi_bridge_wake(net->bridge); /* it may have been asked to write before there was a connection to be found */
    }
    fi_net_signals_restore(&before);
    return r;
}

int64_t fi_way_mend(fi_net_t *net) {
    fi_way_t *w = &net->way;
    int r = 0;

    if (!fi_load_acquire32(&w->torn) || !fi_net_is_up(net)) {
        return -1;
    }
    int64_t now = fi_now_ns();
    if (now < w->again_at) {
        return w->again_at - now;
    }
    fi_store_release32(&w->torn, 0);
    pthread_mutex_lock(&w->lock);
    if (!fi_net_is_connected(w->connection)) {
        r = make(net, 1); /* the next ones follow after AGAIN_NS */
        w->lost += r == 0;
        w->gathered = w->silent = 0;
        w->looked_at = fi_now_ns();
        w->listens = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    if (r == 0) {
        return -1;
    }
    fi_store_release32(&w->torn, 1);
    w->again_at = fi_now_ns() + AGAIN_NS;
    return AGAIN_NS;
}

/* False: it is too late. */
static bool wait_for(int fd, short events, int64_t until) {
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until - fi_now_ns();

    return left > 0 && poll(&p, 1, (int)(left / 1000000) + 1) > 0;
}

static bool late_ones_are_over(const fi_way_t *w) {
    for (const struct fi_list *at = w->ears.next; at != &w->ears; at = at->next) {
        const fi_way_ear_t *ear = fi_container(at, fi_way_ear_t, link);
        if (ear->is_late && !fi_way_is_over(ear)) {
            return false;
        }
    }
    return true;
}

/* For a moment. */
static void hear_on(fi_net_t *net, int fd) {
    if (wait_for(fd, POLLIN, fi_now_ns() + MOMENT_NS) && !can_be_read(net, fd)) {
        fi_sleep_until(fi_now_ns() + MOMENT_NS); /* half a record of TLS */
        return;
    }
    fi_way_flush(net);
    net->way.ready = true;
    fi_way_hear(net);
}

/* A socket that is closed takes back what has not left, if anything comes after that: the answer to a ping is enough.
 * So the server is told that this was all, and hangs up when it has taken it. */
void fi_way_leave(fi_net_t *net, int64_t until) {
    natsConnection *c = connection_of(net);
    int fd = (int)fi_load_relaxed32(&net->way.fd);

    do {
        fi_way_flush(net);
    } while (fi_load_acquire32(&net->way.unsent) && wait_for(fd, POLLOUT, until));
    while (c && fi_net_is_connected(c) && !late_ones_are_over(&net->way) && fi_now_ns() < until) {
        hear_on(net, fd);
    }
    if (c && fi_net_is_connected(c)) {
        (void)shutdown(fd, SHUT_WR);
    }
}

void fi_way_close(fi_net_t *net, int64_t until) {
    natsConnection *c = connection_of(net);

    if (c && fi_net_is_connected(c)) {
        (void)wait_for((int)fi_load_relaxed32(&net->way.fd), POLLRDHUP, until);
        hang_up(net, c);
    }
    fi_nats.natsConnection_Close(c); /* nothing of the bridge's is touched from now on */
}

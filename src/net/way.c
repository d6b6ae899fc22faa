/* SPDX-License-Identifier: MIT
 *
 * net/way.c - see way.h.
 *
 * The loop's side is edge-triggered: of a full socket the bridge hears when it has room again, and of an empty one
 * nothing.
 */
#include "net/way.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/atomic.h"
#include "net/bridge.h"
#include "net/net.h"
#include "platform/clock.h"

#define AGAIN_NS 100000000ll      /* between attempts to make one anew */
#define GATHERED_MOST (128 << 10) /* bytes that are published before they are written, more or less */
#define HEAD 256                  /* bytes of a message that are not its data, about */
#define READS 16                  /* in a turn, at most */

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

/* ---- a turn of the bridge's ---- */

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

bool fi_way_has_room(fi_net_t *net) {
    natsConnection *c = connection_of(net);

    if (!c || !fi_net_is_connected(c)) {
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

bool fi_way_say(fi_net_t *net, const char *subject, const char *words) {
    if (!fi_way_has_room(net)) {
        return false;
    }
    net->way.gathered += HEAD;
    return fi_nats.natsConnection_Publish(connection_of(net), subject, words, (int)strlen(words)) == NATS_OK;
}

void fi_way_hear(fi_net_t *net) {
    fi_way_t *w = &net->way;
    natsConnection *c = connection_of(net);
    struct pollfd p = {.fd = (int)fi_load_relaxed32(&w->fd), .events = POLLIN};

    if (!w->ready || !c) {
        return;
    }
    w->ready = false;
    for (int i = 0; i < READS && poll(&p, 1, 0) > 0; i++) { /* of TLS, each call takes one piece */
        fi_nats.natsConnection_ProcessReadEvent(c);
    }
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
    s = s == NATS_OK ? fi_nats.natsOptions_SetDisconnectedCB(net->options, NULL, NULL) : s;
    s = s == NATS_OK ? fi_nats.natsOptions_SetClosedCB(net->options, closed, net) : s;
    int r = s == NATS_OK ? fi_net_connect(net, &net->way.connection, handshakes) : fi_net_explain(net, s);
    if (r == 0) {
        fi_nats.natsConnection_Destroy(old);
    }
    return r;
}

void fi_way_init(fi_way_t *w) {
    pthread_mutex_init(&w->lock, NULL);
}

void fi_way_destroy(fi_way_t *w) {
    pthread_mutex_destroy(&w->lock);
}

int fi_way_open(fi_net_t *net) {
    sigset_t before;

    fi_net_signals_off(&before);
    pthread_mutex_lock(&net->way.lock);
    int r = net->way.connection ? 0 : make(net, FI_NET_HANDSHAKES);
    pthread_mutex_unlock(&net->way.lock);
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
        w->gathered = 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (r == 0) {
        return -1;
    }
    fi_store_release32(&w->torn, 1);
    w->again_at = fi_now_ns() + AGAIN_NS;
    return AGAIN_NS;
}

void fi_way_close(fi_net_t *net) {
    fi_way_flush(net);
    net->way.ready = true;
    fi_way_hear(net); /* a socket that is closed with something to be read would take back what it has sent */
    fi_nats.natsConnection_Close(connection_of(net));
}

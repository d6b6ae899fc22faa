/* SPDX-License-Identifier: MIT
 *
 * The steward: the node's background thread.
 *
 *   event                          what it does
 *   a connection comes             admits it by its kernel credentials, says HELLO
 *   a frame comes                  dispatches it (dispatch.c)
 *   a pidfd is readable            the peer is dead: tells every end
 *   a socket ends                  the peer has left: likewise
 *   the bell rings                 mail between ends of this node; room for a sender; an ended thread; shutdown; stop
 *   a sender is busy               measures the host, unless that was done since the system was started (host.h)
 *   the watch has something        somebody swept the directory: publishes the node anew
 *   an end's time has come         calls it (due.c)
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "node/host.h"
#include "node/node.h"
#include "platform/cancel.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/socket.h"

#define EVENTS 32
#define RETRY_MS 50
#define LAST_WORDS 8 /* turns of reading: more than a socket buffer holds */

static void admit(fi_node_t *n, int fd) {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    fi_peer_t *p;

    /* The directory's and the socket's mode keep others out; the kernel's word on who it is decides. */
    if (n->expelled || fi_socket_peer(fd, &pid, &uid, &gid) < 0 ||
        !(uid == geteuid() || uid == 0 || (n->space.group && fi_socket_peer_in_group(fd, n->space.gid)))) {
        close(fd);
        return;
    }
    if (fi_node_add_peer(n, fd, 0, &p) == 0) {
        p->pid = pid;
        p->uid = uid;
    }
}

static void pause_listener(fi_node_t *n, bool pause) {
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = FI_SOURCE_LISTENER};

    n->listener_paused = pause;
    (void)epoll_ctl(n->epoll, pause ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, n->listener, &ev);
}

static void accept_all(fi_node_t *n) {
    int fd;
    int r;

    while ((r = fi_socket_accept(n->listener, &fd)) == 0) {
        admit(n, fd);
    }
    if (fi_is_lack(r)) {
        pause_listener(n, true); /* it would stay readable: look again a little later */
    }
}

static void deliver_local(fi_node_t *n) {
    for (;;) {
        pthread_mutex_lock(&n->mail_lock);
        struct fi_list *first = fi_list_pop(&n->mail);
        pthread_mutex_unlock(&n->mail_lock);
        if (!first) {
            return;
        }
        (void)fi_node_dispatch(n, fi_container(first, fi_mail_t, link));
    }
}

static void bury_orphans(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (fi_is_orphan(&e->own)) {
            fi_frame_t f = fi_frame(FI_ABANDON, 0, 0);
            fi_mail_t *m = fi_mail_new(NULL, &f);
            if (m) {
                fi_end_deliver(e, m);
                fi_node_unpublish(n, e);
                e->published = false;
            }
        }
    }
}

/* Something has been released. Who sleeps for that is only woken: to do its chores here would make it wait for them. */
static void tell_of_room(fi_end_t *e) {
    if (e->ops->tends(e)) {
        e->ops->wake(e);
        return;
    }
    fi_frame_t f = fi_frame(FI_ROOM, 0, 0);
    fi_mail_t *m = fi_mail_new(NULL, &f);
    if (m) {
        fi_end_deliver(e, m);
    }
}

static void look_after_ends(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    bool shut = fi_node_is_shut(n);

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->ops->wants_room && e->ops->wants_room(e)) {
            tell_of_room(e);
        } else if (shut) {
            e->ops->wake(e);
        }
    }
    if (shut) {
        pthread_cond_broadcast(&n->changed);
    }
}

static void bell_rang(fi_node_t *n) {
    fi_bell_drain(n->bell.rd);
    deliver_local(n);
    if (fi_exchange32(&n->orphans, 0)) {
        bury_orphans(n);
        fi_objects_bury_orphans(n);
    }
    look_after_ends(n);
}

/* A dead peer may have said something before: memory that its last messages point into, for example. */
static int read_last_words(fi_peer_t *p) {
    for (int i = 0; i < LAST_WORDS; i++) {
        int r = p->route->readable(p);
        if (r < 0) {
            return r;
        }
    }
    return -EPIPE;
}

static void peer_event(fi_node_t *n, uint64_t tag, uint32_t events) {
    fi_peer_t *p = (fi_peer_t *)(uintptr_t)(tag & ~1ull); /* NOLINT: the tag is the pointer */
    int r = 0;

    if (p->state == FI_PEER_LOST) {
        if (tag & 1 && fi_pidfd_dead(p->pidfd)) {
            fi_node_bury_peer(n, p);
        }
        return;
    }
    if (tag & 1) {
        r = read_last_words(p);
    } else {
        if (events & EPOLLOUT) {
            r = p->route->writable(p);
        }
        if (r == 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            r = p->route->readable(p);
        }
        if (r == 0 && p->starved && events & EPOLLHUP) {
            r = -EPIPE; /* it is gone, and its last words cannot be taken in */
        }
    }
    if (r < 0) {
        fi_node_lose_peer(n, p, r);
    }
}

static void one_event(fi_node_t *n, const struct epoll_event *ev) {
    switch (ev->data.u64) {
    case FI_SOURCE_BELL:
        bell_rang(n);
        break;
    case FI_SOURCE_LISTENER:
        accept_all(n);
        break;
    case FI_SOURCE_WATCH:
        if (fi_watch_drain(n->watch)) {
            n->republish_tries = FI_REPUBLISH_TRIES;
        }
        break;
    default:
        peer_event(n, ev->data.u64, ev->events);
    }
}

/* What is tried again after a while: accepting without descriptors, publishing while somebody still sweeps. */
static int retry_timeout(fi_node_t *n, int timeout) {
    if (n->republish_tries > 0) {
        n->republish_tries = fi_node_republish(n) ? 0 : n->republish_tries - 1;
    }
    if (n->meet_tries > 0) {
        uint32_t left = n->meet_tries - 1;
        n->meet_tries = 0;
        fi_node_meet_again(n);
        n->meet_tries = n->meet_tries ? left : 0; /* somebody is still too busy */
    }
    bool again = n->repair && !fi_objects_repair(n);
    if (fi_node_is_shut(n)) {
        again |= fi_objects_wake(n); /* somebody may have been about to sleep */
    }
    if (again || n->listener_paused || n->republish_tries > 0 || n->meet_tries > 0 || n->resend) {
        return timeout < 0 || timeout > RETRY_MS ? RETRY_MS : timeout;
    }
    return timeout;
}

/* What has waited long enough is done with; returns the earlier of `next` and its deadline. */
static int64_t next_deadline(fi_node_t *n, fi_peer_t *p, int64_t now, int64_t next) {
    if (p->deadline > now) {
        return p->deadline < next ? p->deadline : next;
    }
    if (p->state != FI_PEER_LOST) {
        fi_node_lose_peer(n, p, -ETIMEDOUT);
    } else if (fi_node_look_again(n, p)) {
        return p->deadline < next ? p->deadline : next;
    } else {
        fi_node_bury_peer(n, p);
    }
    return next;
}

/* Drops connections that never introduced themselves, and lost peers that did not die; returns how long to wait for the
 * next of them. Whom we dialled ourselves may be stopped: there the kernel tells when it is dead. */
static int handshake_timeout(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = 0;
    int64_t next = INT64_MAX;

    fi_list_each(at, after, &n->dying) {
        now = now ? now : fi_now_ns();
        next = next_deadline(n, fi_container(at, fi_peer_t, link), now, next);
    }
    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->state == FI_PEER_NEW && p->id == 0 && !p->watches) {
            now = now ? now : fi_now_ns();
            next = next_deadline(n, p, now, next);
        }
    }
    return next == INT64_MAX ? -1 : (int)((next - now) / 1000000) + 1;
}

/* Ends may have named a time at which they are to be called. */
static int due_timeout(fi_node_t *n, int timeout) {
    int64_t due = fi_earlier(fi_node_look_due(n), fi_node_look_lacking(n));

    if (due == FI_NEVER) {
        return timeout;
    }
    int64_t ms = (fi_time_left(due) + 999999) / 1000000;
    return timeout < 0 || ms < timeout ? (int)fi_earlier(ms, INT32_MAX) : timeout;
}

/* Takes in what a connection that is new says. True: some connection has been lost for that, any one. */
static bool read_newcomer(fi_node_t *n, fi_peer_t *p) {
    uint32_t losses = n->losses;
    int r = p->route->readable(p);

    if (r < 0) {
        fi_node_lose_peer(n, p, r);
    }
    return n->losses != losses;
}

/* A loss takes others out of the list, perhaps the next one: then it begins anew, with fewer. */
void fi_steward_catch_up(fi_node_t *n) {
    struct fi_list *at;

    accept_all(n);
    for (at = n->peers.next; at != &n->peers;) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        bool lost = p->state == FI_PEER_NEW && read_newcomer(n, p);
        at = lost ? n->peers.next : at->next;
    }
}

static void forget_lost(fi_node_t *n) {
    struct fi_list *at;

    while ((at = fi_list_pop(&n->lost)) != NULL) {
        fi_peer_unref(fi_container(at, fi_peer_t, link));
    }
}

static void try_peers_again(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    n->resend = false;
    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->starved) {
            p->starved = false;
            fi_node_poll_peer(n, p, fi_peer_is_behind(p));
        }
        if (p->route->writable && p->route->writable(p) < 0) {
            fi_node_lose_peer(n, p, -EPIPE);
        }
    }
}

/* The only place where this thread can be cancelled: it holds no lock here. */
static int wait_for_events(const fi_node_t *n, struct epoll_event *events, int timeout) {
    (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    int count = epoll_wait(n->epoll, events, EVENTS, timeout);
    (void)fi_cancel_off();
    return count;
}

void *fi_steward_main(void *arg) {
    fi_node_t *n = arg;
    struct epoll_event events[EVENTS];

    (void)fi_cancel_off();
    /* By itself: of another thread it would be done through /proc, whose traces make it dear to reap a process. */
    (void)pthread_setname_np(pthread_self(), "ferry-steward");
    for (;;) {
        pthread_mutex_lock(&n->lock);
        int timeout = due_timeout(n, retry_timeout(n, handshake_timeout(n)));
        forget_lost(n);
        pthread_mutex_unlock(&n->lock);
        if (fi_load_acquire32(&n->stopping)) {
            return NULL;
        }
        if (fi_load_relaxed32(&n->measure) == FI_MEASURE_WANTED) {
            fi_node_measure(n);
        }
        int count = wait_for_events(n, events, timeout);
        if (count < 0 && errno != EINTR) {
            fi_node_shutdown(n); /* the program closed our descriptors: nothing can be heard any more */
            return NULL;
        }
        pthread_mutex_lock(&n->lock);
        if (n->listener_paused) {
            pause_listener(n, false);
        }
        if (n->resend) {
            try_peers_again(n);
        }
        for (int i = 0; i < count; i++) {
            one_event(n, &events[i]);
        }
        pthread_mutex_unlock(&n->lock);
    }
}

/* SPDX-License-Identifier: MIT
 *
 * Connections between nodes: dialling, accepting, introducing oneself, losing a peer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "node/node.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/socket.h"

#define MAX_DYING 64u
#define MAX_OF_ONE 64u /* likewise, of one process, whose programs may still read what ends have lent them */
#define SURVIVES_NS                                                                                                    \
    500000000ll            /* whose process lives for so long after its connection was lost, does not die of that */
#define LET_GO_NS 50000000 /* for ends to let go of a lost peer, at first; then twice as long each time */
#define MAX_SWEPT 64u      /* nodes looked at when we leave; whoever comes next does the rest */

fi_peer_t *fi_node_find_peer(fi_node_t *n, uint64_t id) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->id == id && p->state != FI_PEER_LOST) {
            return p;
        }
    }
    return NULL;
}

void fi_node_poll_peer(fi_node_t *n, fi_peer_t *p, bool writable) {
    struct epoll_event ev = {.events = (p->starved ? 0u : EPOLLIN) | (writable ? EPOLLOUT : 0u), .data.ptr = p};
    (void)epoll_ctl(n->epoll, EPOLL_CTL_MOD, p->fd, &ev);
}

int fi_node_add_peer(fi_node_t *n, int fd, uint64_t id, fi_peer_t **out) {
    if (n->peer_count >= n->max_peers) {
        close(fd);
        return fi_fail(-EMFILE, "%u nodes are connected, as many as `max_peers` allows", n->max_peers);
    }
    fi_peer_t *p = fi_peer_new(n, n->routes.shm, fd);
    if (!p) {
        close(fd);
        return fi_fail(-ENOMEM, "no memory for a connection");
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int r = fi_fail_errno(errno, "cannot wait on a connection");
        fi_peer_unref(p);
        return r;
    }
    p->id = id;
    p->deadline = fi_now_ns() + FI_HANDSHAKE_NS;
    fi_list_add_tail(&n->peers, &p->link);
    n->peer_count++;
    *out = p;
    return 0;
}

int fi_node_send_hello(fi_node_t *n, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_HELLO, 0, 0);
    fi_cargo_t cargo = {NULL, {n->pidfd, n->bell.wr}};

    f.a = n->id;
    f.b = (uint64_t)getpid();
    f.figures[0] = n->program;
    f.flags = fi_barrier_is_asymmetric() ? FI_HELLO_ASYMMETRIC : 0;
    memcpy(f.text, n->name, sizeof f.text);
    return fi_peer_send(p, &f, &cargo);
}

int fi_node_dial(fi_node_t *n, uint64_t id, fi_peer_t **out) {
    char name[FI_NODE_NAME_MAX];
    int fd;

    fi_peer_t *p = fi_node_find_peer(n, id);
    if (p) {
        *out = p;
        return 0;
    }
    if (fi_node_is_banned(n, id)) {
        return -EPERM;
    }
    fi_space_node_name(id, name);
    int r = fi_socket_connect(n->space.dirfd, name, &fd);
    if (r == -ECONNREFUSED || r == -ENOENT) {
        fi_space_remove_node(&n->space, id);
        return -ECONNREFUSED;
    }
    if (r < 0) {
        return r;
    }
    r = fi_node_add_peer(n, fd, id, &p);
    if (r == 0) {
        gid_t gid;
        (void)fi_socket_peer(p->fd, &p->pid, &p->uid, &gid);
        r = fi_node_send_hello(n, p);
    }
    if (r == 0) {
        *out = p;
    }
    return r;
}

/* Nobody listens under its name any more. */
static bool has_ended(fi_node_t *n, uint64_t id) {
    char name[FI_NODE_NAME_MAX];
    int fd;

    fi_space_node_name(id, name);
    int r = fi_socket_connect(n->space.dirfd, name, &fd);
    if (r == 0) {
        close(fd);
    }
    return r == -ECONNREFUSED || r == -ENOENT;
}

/* Removes the names of a peer that did not do so itself. */
static void sweep_if_dead(fi_node_t *n, uint64_t id) {
    if (id != 0 && !fi_node_find_peer(n, id) && has_ended(n, id)) {
        fi_space_remove_node(&n->space, id);
    }
}

/* ---- does it live? ---- */

int fi_node_await_death(fi_node_t *n, fi_peer_t *p) {
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)(uintptr_t)p | 1};

    return epoll_ctl(n->epoll, EPOLL_CTL_ADD, p->pidfd, &ev) < 0 ? -errno : 0;
}

/* Of a lost peer, whose process lives.  It may have closed all descriptors and still hold a lock.  If it executes
 * another program now, its memory is gone, and nobody gives back what it held. */
static bool has_executed(fi_peer_t *p) {
    if (!p->executed && p->program != 0 && p->pid > 0) {
        uint64_t now = fi_process_program(p->pid);
        p->executed = now != 0 && now != p->program;
    }
    return p->executed;
}

static bool process_has_ended(fi_peer_t *p) {
    return p->pidfd >= 0 && (p->executed || fi_pidfd_dead(p->pidfd));
}

/* Whom we dialled may have had no descriptor left to greet us; the connection tells of its process all the same. */
static bool is_dead(fi_node_t *n, fi_peer_t *p) {
    if (p->id == 0) {
        return true; /* nobody has heard of it */
    }
    if (p->pidfd < 0 && (p->pidfd = fi_socket_peer_pidfd(p->fd)) >= 0 && fi_node_await_death(n, p) < 0) {
        close(p->pidfd);
        p->pidfd = -1;
    }
    if (p->pidfd == -ESRCH) {
        p->pidfd = -1;
        return true;
    }
    if (p->pidfd < 0) {
        p->pidfd = -1;
        return has_ended(n, p->id);
    }
    return has_executed(p) || fi_pidfd_dead(p->pidfd);
}

struct stranger {
    fi_node_t *node;
    uint32_t number;
    uint64_t id;
};

static int meet_stranger(uint64_t id, void *arg) {
    struct stranger *s = arg;
    fi_peer_t *p;

    if ((uint32_t)id != s->number || id == s->node->id) {
        return 0;
    }
    int r = fi_node_dial(s->node, id, &p);
    if (r != -ECONNREFUSED && r != -EPERM) {
        s->id = id;
    }
    return s->id != 0;
}

uint64_t fi_node_meet_stranger(fi_node_t *n, uint32_t number) {
    struct stranger s = {.node = n, .number = number};

    (void)fi_space_each_node(&n->space, meet_stranger, &s);
    return s.id;
}

/* Ends have something to do with it yet: its program may still read what they have lent it. */
static bool is_remembered(fi_peer_t *p) {
    return fi_load_acquire32(&p->refs) > 1;
}

/* Of a process that comes again and again, and leaves each time what its program may still read, so much is kept. */
bool fi_node_keeps_enough_of(const fi_node_t *n, pid_t pid) {
    unsigned count = 0;

    for (const struct fi_list *at = n->dying.next; at != &n->dying; at = at->next) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        count += p->pid == pid && is_remembered(p);
    }
    return count >= MAX_OF_ONE;
}

/* Tells every end, unless nobody has heard of the peer yet. */
static void tell_ends(fi_node_t *n, fi_peer_t *p, int why, bool dead) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_PEER_GONE, 0, 0);

    f.error = why;
    f.a = dead;
    p->mourned = dead;
    fi_list_each(at, after, &n->ends) {
        fi_mail_t *m = p->id != 0 ? fi_mail_new(p, &f) : NULL;
        if (m) {
            fi_end_deliver(fi_container(at, fi_end_t, link), m);
        }
    }
}

void fi_node_bury_peer(fi_node_t *n, fi_peer_t *p) {
    if (!p->mourned && is_remembered(p) && is_dead(n, p)) {
        tell_ends(n, p, -EPIPE, true);
    }
    if (p->pidfd >= 0) {
        (void)epoll_ctl(n->epoll, EPOLL_CTL_DEL, p->pidfd, NULL);
    }
    fi_list_remove(&p->link);
    fi_list_add_tail(&n->lost, &p->link);
    sweep_if_dead(n, p->id);
    if (p->missed) {
        fi_objects_peer_gone(n, p->id, process_has_ended(p));
    }
}

static void settle_for(fi_node_t *n, const fi_peer_t *p, uint64_t end) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->id == end) {
            e->settled++;
            fi_store_relaxed32(&e->unmet, (uint32_t)p->pid);
        }
    }
}

static bool has_name(const fi_node_t *n, uint64_t id) {
    char name[FI_NODE_NAME_MAX];

    fi_space_node_name(id, name);
    return faccessat(n->space.dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* It left, or it is about to die: then its names are ours to sweep. One for each id, and not many. */
static void await_death(fi_node_t *n, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;
    unsigned count = 0;

    fi_list_each(at, after, &n->dying) {
        fi_peer_t *old = fi_container(at, fi_peer_t, link);
        if (old->id == p->id && p->program == 0) {
            p->program = old->program; /* dialled anew, it has not greeted: it may execute another one by now */
        }
        if (old->id == p->id && !is_remembered(old)) {
            p->missed |= old->missed; /* two connections of one node */
            old->missed = false;
            fi_node_bury_peer(n, old);
        } else if (++count >= (old->missed || is_remembered(old) ? n->max_peers : MAX_DYING)) {
            fi_node_bury_peer(n, old);
        }
    }
    /* Ends let go of most soon; that of a node with a name may die of what its connection was lost by. */
    p->look_after = LET_GO_NS;
    p->deadline = fi_now_ns() + (p->missed || has_name(n, p->id) ? SURVIVES_NS : LET_GO_NS);
    fi_list_add_tail(&n->dying, &p->link);
}

int fi_node_exile(fi_node_t *n, uint64_t id) {
    struct fi_list *lists[] = {&n->dying, &n->peers};
    struct fi_list *at;
    struct fi_list *after;

    for (unsigned i = 0; i < 2 && !has_name(n, id); i++) {
        fi_list_each(at, after, lists[i]) {
            const fi_peer_t *p = fi_container(at, fi_peer_t, link);
            if (p->id == id && p->pidfd >= 0 && !fi_pidfd_dead(p->pidfd)) {
                return p->pidfd;
            }
        }
    }
    return -1;
}

bool fi_node_note_exile(fi_node_t *n, uint64_t id, int pidfd) {
    fi_peer_t *p = fi_peer_new(n, n->routes.shm, -1);

    if (!p) {
        return false;
    }
    p->id = id;
    p->pidfd = pidfd;
    p->missed = true;
    fi_store_release32(&p->state, FI_PEER_LOST);
    if (fi_node_await_death(n, p) < 0) {
        p->pidfd = -1;
        fi_peer_unref(p);
        return false;
    }
    await_death(n, p);
    return true;
}

bool fi_node_look_again(fi_node_t *n, fi_peer_t *p) {
    fi_peer_t *again;

    if (is_dead(n, p) || (p->looked && !p->missed && !is_remembered(p))) {
        return false;
    }
    if (!fi_node_find_peer(n, p->id) && has_name(n, p->id)) {
        n->meet_tries =
            p->looked ? n->meet_tries : FI_MEET_TRIES; /* only the connection was lost: ends want another one */
        if (p->missed) {
            (void)fi_node_dial(n, p->id, &again); /* what both hold changes: each wants to hear of that */
        }
    }
    p->looked = true;
    p->deadline = fi_now_ns() + p->look_after;
    p->look_after = fi_earlier(2 * p->look_after, FI_HANDSHAKE_NS);
    return true;
}

pid_t fi_node_find_starving(const fi_node_t *n) {
    const struct fi_list *lists[] = {&n->peers, &n->dying};

    for (unsigned i = 0; i < 2; i++) {
        for (const struct fi_list *at = lists[i]->next; at != lists[i]; at = at->next) {
            const fi_peer_t *p = fi_container(at, fi_peer_t, link);
            if (p->id != 0 && p->bell < 0 && fi_process_lacks_descriptors(p->pid, FI_PEER_DESCRIPTORS)) {
                return p->pid;
            }
        }
    }
    return 0;
}

struct sweep {
    fi_node_t *node;
    unsigned *left;
};

static int sweep_one(uint64_t id, void *arg) {
    struct sweep *s = arg;

    if (id != s->node->id) {
        sweep_if_dead(s->node, id);
    }
    return --*s->left == 0;
}

void fi_node_sweep(fi_node_t *n) {
    unsigned left = MAX_SWEPT;
    (void)fi_space_each_node(&n->space, sweep_one, &(struct sweep){n, &left});
}

/* A node may be connected twice, when both have dialled: the last connection counts. */
static void tell_objects(fi_node_t *n, fi_peer_t *p, bool dead) {
    if (p->id == 0 || (!dead && fi_node_find_peer(n, p->id))) {
        return;
    }
    p->missed = !dead && fi_objects_need_death_of(n, p->id);
    if (!p->missed) {
        fi_objects_peer_gone(n, p->id, dead);
    }
}

void fi_node_lose_peer(fi_node_t *n, fi_peer_t *p, int why) {
    if (p->state == FI_PEER_LOST) {
        return;
    }
    fi_store_release32(&p->state, FI_PEER_LOST);
    (void)epoll_ctl(n->epoll, EPOLL_CTL_DEL, p->fd, NULL);
    (void)shutdown(p->fd, SHUT_RDWR);
    for (size_t i = 0; i < p->unsettled_count; i++) {
        settle_for(n, p, p->unsettled[i]);
    }
    p->unsettled_count = 0;
    bool dead = is_dead(n, p);
    tell_ends(n, p, why, dead);
    fi_list_remove(&p->link);
    n->peer_count--;
    n->losses++;
    tell_objects(n, p, dead);
    if (!dead && (p->missed || is_remembered(p) || has_name(n, p->id))) {
        await_death(n, p);
    } else {
        fi_node_bury_peer(n, p);
    }
    pthread_cond_broadcast(&n->changed);
}

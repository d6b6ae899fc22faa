/* SPDX-License-Identifier: MIT */
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "node/host.h"
#include "platform/clock.h"
#include "platform/condition.h"
#include "platform/process.h"

#define FAREWELL_NS 2000000000ll   /* at most */
#define STANDSTILL_NS 1000000000ll /* without any progress */
#define FAREWELL_LOOK_NS 1000000ll

static int new_epoll(fi_node_t *n) {
    struct epoll_event bell = {.events = EPOLLIN, .data.u64 = FI_SOURCE_BELL};

    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    n->halt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->epoll < 0 || n->halt < 0 || epoll_ctl(n->epoll, EPOLL_CTL_ADD, n->bell.rd, &bell) < 0) {
        return fi_fail_errno(errno, "cannot create the descriptors that a node waits on");
    }
    return 0;
}

static int start_steward(fi_node_t *n) {
    sigset_t all;
    sigset_t before;
    pthread_attr_t attr;

    /* Signals belong to the program's own threads. */
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&n->steward, &attr, fi_steward_main, n);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err) {
        return fi_fail_errno(err, "cannot start the node's background thread " FI_SEE_THREAD_LIMITS);
    }
    return 0;
}

static void init_locks(fi_node_t *n) {
    pthread_mutex_init(&n->lock, NULL);
    pthread_mutex_init(&n->mail_lock, NULL);
    fi_condition_init(&n->changed);
    fi_list_init(&n->ends);
    fi_list_init(&n->objects);
    fi_list_init(&n->waits);
    fi_list_init(&n->held);
    fi_list_init(&n->peers);
    fi_list_init(&n->lost);
    fi_list_init(&n->dying);
    fi_list_init(&n->mail);
    fi_list_init(&n->all);
    fi_list_init(&n->member);
}

static void set_options(fi_node_t *n, const ferry_options_t *o, const fi_routes_t *routes) {
    n->routes = *routes;
    n->max_peers = o && o->max_peers ? o->max_peers : 4096;
    n->max_links = o && o->max_links_per_peer ? o->max_links_per_peer : 16384;
    n->max_memory = o && o->max_memory_per_peer ? o->max_memory_per_peer : 64ull << 30;
    snprintf(n->name, sizeof n->name, "%s", o && o->name ? o->name : fi_program_name());
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void free_peers(fi_node_t *n) {
    while (!fi_list_empty(&n->mail)) {
        fi_mail_t *m = fi_container(n->mail.next, fi_mail_t, link);
        fi_list_remove(&m->link);
        fi_mail_free(m);
    }
    while (!fi_list_empty(&n->peers)) {
        fi_peer_t *p = fi_container(n->peers.next, fi_peer_t, link);
        fi_list_remove(&p->link);
        fi_peer_unref(p);
    }
    while (!fi_list_empty(&n->dying)) {
        fi_peer_t *p = fi_container(n->dying.next, fi_peer_t, link);
        fi_list_remove(&p->link);
        fi_peer_unref(p);
    }
    fi_peer_unref(n->self);
}

void fi_node_free(fi_node_t *n) {
    /* In a forked child stays what another thread may have been changing, or what refers to memory that is not
     * mapped. */
    if (!fi_node_is_forked(n)) {
        free_peers(n);
    }
    close_fd(&n->listener);
    close_fd(&n->watch);
    close_fd(&n->pidfd);
    close_fd(&n->halt);
    close_fd(&n->epoll);
    fi_bell_done(&n->bell);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->mail_lock);
    pthread_cond_destroy(&n->changed);
}

/* What was measured of this host is used from here on; what was not is not measured now: that would take too long. */
static int find_profile(const fi_node_t *n) {
    char *base = strndup(n->space.path, n->space.base_len);

    if (!base) {
        return fi_fail(-ENOMEM, "no memory for a node");
    }
    int r = fi_host_find(base);
    free(base);
    return r < 0 ? r : 0;
}

static int set_up(fi_node_t *n) {
    int r = find_profile(n);

    if (r == 0) {
        r = fi_bell_init(&n->bell);
    }
    if (r == 0) {
        r = new_epoll(n);
    }
    if (r == 0) {
        r = fi_pidfd_self(&n->pidfd);
        n->program = fi_process_program(0);
    }
    if (r < 0) {
        return r;
    }
    n->self = fi_peer_new(n, n->routes.thread, -1);
    if (!n->self) {
        return fi_fail(-ENOMEM, "no memory for a node");
    }
    n->self->bell = fcntl(n->bell.wr, F_DUPFD_CLOEXEC, 0);
    if (n->self->bell < 0) {
        return fi_fail_errno(errno, "cannot copy the node's doorbell");
    }
    n->self->id = n->id;
    n->self->state = FI_PEER_MET;
    n->self->asymmetric = fi_barrier_is_asymmetric();
    n->self->pid = getpid();
    n->self->uid = geteuid();
    (void)fi_node_watch(n);
    r = fi_node_listen(n);
    if (r == -ESTALE) {
        n->republish_tries = FI_REPUBLISH_TRIES; /* the steward will be at it at once */
    }
    return r == -ESTALE ? 0 : r;
}

int fi_node_open(const char *space, const ferry_options_t *o, const fi_routes_t *routes, fi_node_t **out) {
    fi_node_t *n = calloc(1, sizeof *n);
    if (!n) {
        return fi_fail(-ENOMEM, "no memory for a node");
    }
    n->listener = n->watch = n->pidfd = n->halt = n->epoll = -1;
    n->bell.rd = n->bell.wr = -1;
    n->id = fi_random64();
    init_locks(n);
    set_options(n, o, routes);
    int r = fi_space_open(space, o, true, &n->space);
    if (r < 0) {
        fi_node_free(n);
        free(n);
        return r;
    }
    r = set_up(n);
    if (r == 0) {
        r = start_steward(n);
    }
    if (r < 0) {
        fi_space_remove_node(&n->space, n->id);
        fi_node_free(n);
        fi_space_close(&n->space);
        free(n);
        return r;
    }
    n->magic = FI_NODE_MAGIC;
    fi_process_add(n);
    *out = n;
    return 0;
}

static uint64_t frames_waiting(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    uint64_t count = 0;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->peers) {
        count += fi_load_acquire32(&fi_container(at, fi_peer_t, link)->queued);
    }
    pthread_mutex_unlock(&n->lock);
    return count;
}

/*
 * What peers were told and had no time to read goes with the process otherwise, and with it the memory of messages for
 * whose readers no sender waits, since they may lose some.  The steward sends it, as long as they go on reading; who is
 * stopped does not keep us.
 */
static void see_off_what_waits(fi_node_t *n) {
    int64_t now = fi_now_ns();
    int64_t until = now + FAREWELL_NS;
    int64_t moved = now;
    uint64_t left = frames_waiting(n);

    while (left > 0 && now < until && now < moved + STANDSTILL_NS) {
        fi_sleep_until(now + FAREWELL_LOOK_NS);
        uint64_t before = left;
        left = frames_waiting(n);
        now = fi_now_ns();
        moved = left < before ? now : moved;
    }
}

void fi_node_close(fi_node_t *n) {
    fi_process_remove(n);
    n->magic = FI_NODE_CLOSED;
    if (fi_node_is_forked(n)) {
        fi_node_free(n);
        fi_space_forget(&n->space);
        fi_graveyard_add(n);
        return;
    }
    see_off_what_waits(n);
    fi_store_release32(&n->stopping, 1);
    fi_bell_ring(n->bell.wr);
    if (fcntl(n->bell.wr, F_GETFD) < 0) {
        pthread_cancel(n->steward); /* the program has closed our descriptors: no bell reaches it */
    }
    pthread_join(n->steward, NULL);
    fi_node_sweep(n);
    fi_space_remove_node(&n->space, n->id);
    fi_node_say_goodbye(n);
    fi_node_free(n);
    fi_space_close(&n->space);
    fi_graveyard_add(n);
}

void fi_node_shutdown(fi_node_t *n) {
    int saved = errno;
    uint64_t one = 1;

    fi_store_release32(&n->shutdown, 1);
    if (write(n->halt, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
    fi_bell_ring(n->bell.wr);
    errno = saved;
}

void fi_node_orphaned(fi_node_t *n) {
    fi_store_release32(&n->orphans, 1);
    fi_bell_ring(n->bell.wr);
}

void fi_node_post(fi_node_t *n, fi_mail_t *m) {
    pthread_mutex_lock(&n->mail_lock);
    bool first = fi_list_empty(&n->mail);
    fi_list_add_tail(&n->mail, &m->link);
    pthread_mutex_unlock(&n->mail_lock);
    if (first) {
        fi_bell_ring(n->bell.wr);
    }
}

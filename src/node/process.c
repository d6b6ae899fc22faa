/* SPDX-License-Identifier: MIT
 *
 * The nodes of this process: what fork() and exit() do to them.
 *
 * A forked child must not disturb its parent: it would keep the parent's sockets open, so that nobody noticed the
 * parent's leaving, and could write into its rings.  So the child's copy gives its sockets up at once and refuses every
 * call; the parent's writable memory is not even mapped there (MADV_DONTFORK).
 */
#include <pthread.h>
#include <unistd.h>

#include "node/node.h"
#include "platform/patience.h"
#include "platform/process.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
uint32_t fi_process_generation;
static struct fi_list nodes = {&nodes, &nodes};
static uint32_t stewards;
static uint64_t number; /* of this process; 0: nobody has asked */

uint64_t fi_process_number(void) {
    uint64_t none = 0;

    if (fi_load_relaxed64(&number) == 0) {
        (void)fi_cas64(&number, &none, fi_random64());
    }
    return fi_load_relaxed64(&number);
}

static void give_up(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void before_fork(void) {
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&lock);
    fi_list_each(at, after, &nodes) {
        fi_node_t *n = fi_container(at, fi_node_t, all);
        pthread_mutex_lock(&n->lock);
    }
    fi_own_lock();
    fi_graveyard_lock();
    fi_waits_lock();
}

static void after_fork_in_parent(void) {
    struct fi_list *at;
    struct fi_list *after;

    fi_waits_unlock();
    fi_graveyard_unlock();
    fi_own_unlock();
    fi_list_each(at, after, &nodes) {
        fi_node_t *n = fi_container(at, fi_node_t, all);
        pthread_mutex_unlock(&n->lock);
    }
    pthread_mutex_unlock(&lock);
}

/* Off the fast path, and away from memory that is not mapped here. */
static void orphan_handles(fi_node_t *n) {
    struct fi_list *at, *after, *h, *h_after;

    fi_list_each(at, after, &n->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_object_t, link)->handles) {
            fi_container(h, fi_handle_t, link)->own.owner = 0;
        }
    }
}

static void give_peers_up(struct fi_list *peers) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        give_up(&p->fd);
        give_up(&p->pidfd);
        give_up(&p->bell);
    }
}

static void orphan(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_store_relaxed32(&n->forked, 1);
    fi_list_each(at, after, &n->ends) {
        fi_store_relaxed32(&fi_container(at, fi_end_t, link)->wanted, FI_WANTED_CHORES); /* off the fast path */
    }
    orphan_handles(n);
    give_peers_up(&n->peers);
    give_peers_up(&n->dying);
    give_up(&n->listener);
    give_up(&n->epoll);
    give_up(&n->watch);
    give_up(&n->pidfd);
    give_up(&n->bell.rd);
    give_up(&n->bell.wr);
}

static void after_fork_in_child(void) {
    struct fi_list *at;
    struct fi_list *after;

    fi_waits_unlock();
    fi_graveyard_unlock();
    fi_own_unlock();
    fi_process_generation++;
    stewards = 0;
    number = 0;

    fi_list_each(at, after, &nodes) {
        fi_node_t *n = fi_container(at, fi_node_t, all);
        orphan(n);
        pthread_mutex_unlock(&n->lock);
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void register_fork_handlers(void) {
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

#define PATIENCE_NS INT64_C(1000000000) /* with all nodes together */
#define LOOK_NS 1000000

/* The steward is mostly asleep, and else soon done, if it gets a processor. Who exits while he has the lock himself
 * must not wait for ever. */
static bool lock_in_time(fi_node_t *n, fi_patience_t *patience) {
    int64_t until = fi_patience_slice(patience);

    while (pthread_mutex_trylock(&n->lock) != 0) {
        if (fi_now_ns() >= until) {
            if (!fi_patience_goes_on(patience)) {
                return false;
            }
            until = fi_patience_slice(patience);
        }
        fi_sleep_until(fi_now_ns() + LOOK_NS);
    }
    return true;
}

/* A program that exits without ferry_close leaves no names behind. Memory and sockets go with the process. Where it
 * holds a lock its names stay: a newcomer must find it for as long as it lives. Who finds it dead removes them. */
__attribute__((destructor)) static void remove_names(void) {
    fi_patience_t patience = {.left = PATIENCE_NS};
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&lock);
    fi_list_each(at, after, &nodes) {
        fi_node_t *n = fi_container(at, fi_node_t, all);
        /* Names that are left, whoever meets them sweeps. */
        if (!fi_node_is_forked(n) && lock_in_time(n, &patience) && !fi_objects_are_held(n)) {
            fi_space_remove_node(&n->space, n->id);
            fi_node_say_goodbye(n);
            fi_space_close(&n->space);
        }
    }
    pthread_mutex_unlock(&lock);
}

uint32_t fi_process_stewards(void) {
    return fi_load_relaxed32(&stewards);
}

void fi_process_add(fi_node_t *n) {
    pthread_mutex_lock(&lock);
    (void)fi_add32(&stewards, 1);
    fi_list_add_tail(&nodes, &n->all);
    pthread_mutex_unlock(&lock);
    fi_waits_add_node(n);
}

void fi_process_remove(fi_node_t *n) {
    fi_waits_remove_node(n);
    pthread_mutex_lock(&lock);
    fi_list_remove(&n->all);
    if (!fi_node_is_forked(n)) {
        (void)fi_sub32(&stewards, 1);
    }
    pthread_mutex_unlock(&lock);
}

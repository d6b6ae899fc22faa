/* SPDX-License-Identifier: MIT */
#include "node/end.h"

#include <errno.h>

#include "base/error.h"
#include "node/node.h"
#include "node/shown.h"
#include "platform/cancel.h"
#include "platform/clock.h"

/* `wanted`, while nothing is. */
static uint32_t idle(void) {
    return fi_barrier_is_asymmetric() ? 0 : FI_WANTED_FENCE;
}

void fi_end_init(fi_end_t *e, struct ferry *node, uint32_t magic, const fi_end_ops_t *ops) {
    e->magic = magic;
    e->wanted = idle();
    e->node = node;
    fi_owned_init(&e->own, node);
    e->ops = ops;
    e->opened_ns = fi_now_ns();
    e->due = (uint64_t)FI_NEVER;
    fi_list_init(&e->inbox);
    fi_list_init(&e->link);
    pthread_mutex_init(&e->chores, NULL);
}

void fi_end_done(fi_end_t *e) {
    while (!fi_list_empty(&e->inbox)) {
        fi_mail_t *m = fi_container(e->inbox.next, fi_mail_t, link);
        fi_list_remove(&m->link);
        fi_mail_free(m);
    }
    pthread_mutex_destroy(&e->chores);
}

/* The end is held and the chores lock taken. */
static void do_chores(fi_end_t *e) {
    while (!fi_list_empty(&e->inbox)) {
        fi_mail_t *m = fi_container(e->inbox.next, fi_mail_t, link);
        fi_list_remove(&m->link);
        e->ops->deliver(e, m);
    }
    fi_store_release32(&e->wanted, idle());
}

bool fi_end_do_chores(fi_end_t *e) {
    int cancel = fi_cancel_off();
    pthread_mutex_lock(&e->chores);
    bool some = !fi_list_empty(&e->inbox);
    do_chores(e);
    pthread_mutex_unlock(&e->chores);
    fi_cancel_restore(cancel);
    return some;
}

fi_contract_t fi_end_contract(fi_end_t *e) {
    pthread_mutex_lock(&e->chores);
    fi_contract_t c = e->contract;
    pthread_mutex_unlock(&e->chores);
    return c;
}

static int refuse(const fi_end_t *e, uint32_t magic) {
    const char *what = magic == FI_END_SENDER ? "sender" : "receiver";
    if (!e) {
        return fi_fail(-EBADF, "the %s handle is NULL: open one first", what);
    }
    if (e->magic == FI_END_CLOSED) {
        return fi_fail(-EBADF, "this %s was closed before: open a new one", what);
    }
    return fi_fail(-EBADF, "this handle is not an open %s", what);
}

static int belongs_to_parent(const fi_end_t *e) {
    return fi_fail(-ECHILD,
                   "this handle on '%s' belongs to the parent process: after fork(), open your own node with "
                   "ferry_open",
                   fi_channel_shown(e->channel));
}

static int died(const fi_end_t *e) {
    return fi_fail(-EOWNERDEAD,
                   "the thread that used this handle on '%s' last has ended without closing it, so it counts as dead: "
                   "close it and open a new one",
                   fi_channel_shown(e->channel));
}

int fi_end_enter_with_chores(fi_end_t *e) {
    if (fi_node_is_forked(e->node)) {
        fi_store_relaxed32(&e->busy, FI_BUSY_NO);
        return belongs_to_parent(e);
    }
    fi_end_do_chores(e);
    return 0;
}

int fi_end_enter_slow(fi_end_t *e, uint32_t magic) {
    if (!e || e->magic != magic) {
        return refuse(e, magic);
    }
    if (fi_node_is_forked(e->node)) {
        return belongs_to_parent(e);
    }
    if (fi_is_orphan(&e->own)) {
        return died(e);
    }
    uint32_t free_of_others = FI_BUSY_NO;
    if (!fi_cas32(&e->busy, &free_of_others, FI_BUSY_CALL)) {
        return fi_fail(-EBUSY, "another thread is inside a call on this handle on '%s': open one for each thread",
                       fi_channel_shown(e->channel));
    }
    if (!fi_own(&e->own)) {
        fi_end_leave(e); /* it ended meanwhile; what has come since is this thread's to do, or the steward's */
        return died(e);
    }
    return fi_end_is_wanted(e) ? fi_end_enter_with_chores(e) : 0;
}

int fi_end_leave_slow(fi_end_t *e) {
    if (fi_node_is_forked(e->node)) {
        return 0;
    }
    int cancel = fi_cancel_off();
    pthread_mutex_lock(&e->chores);
    bool mine = fi_load_relaxed32(&e->busy) == FI_BUSY_NO;
    if (mine) {
        do_chores(e);
    }
    pthread_mutex_unlock(&e->chores);
    if (mine) {
        e->ops->wake(e); /* this call has looked before: what has changed may be what its descriptor is polled for */
    }
    fi_cancel_restore(cancel);
    return 0;
}

void fi_end_begin_sleep(fi_end_t *e) {
    fi_store_release32(&e->busy, FI_BUSY_ASLEEP); /* R6 */
    if (fi_end_is_wanted(e)) {
        fi_end_do_chores(e);
        e->ops->wake(e); /* what has changed may be what we want to sleep for */
    }
}

void fi_end_end_sleep(fi_end_t *e) {
    if (!fi_end_begin(e)) {
        fi_end_do_chores(e);
    }
}

void fi_end_deliver(fi_end_t *e, fi_mail_t *m) {
    pthread_mutex_lock(&e->chores);
    if (m) {
        fi_list_add_tail(&e->inbox, &m->link);
    }
    fi_store_release32(&e->wanted, idle() | FI_WANTED_CHORES);
    fi_barrier_heavy_private();
    /* A thread that has ended may have been cancelled inside its call. */
    bool inside = fi_load_acquire32(&e->busy) == FI_BUSY_CALL && !fi_is_orphan(&e->own); /* A6 */
    if (!inside) {
        do_chores(e);
    }
    pthread_mutex_unlock(&e->chores);
    e->ops->wake(e);
}

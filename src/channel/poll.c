/* SPDX-License-Identifier: MIT
 *
 * Waiting for many things: the same protocol as one receiver's or one sender's wait, with all doorbells in one ppoll.
 *
 * Every handle is entered for the duration of the call, so that nobody else uses it meanwhile; while the thread sleeps,
 * the steward may act on all of them.
 */
#include "channel/poll.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "channel/receiver.h"
#include "channel/sender.h"
#include "node/shown.h"
#include "platform/clock.h"

static fi_end_t *end_of(const ferry_pollitem_t *it) {
    return it->receiver ? fi_end_of(it->receiver) : fi_end_of(it->sender);
}

static uint32_t magic_of(const ferry_pollitem_t *it) {
    return it->receiver ? FI_END_RECEIVER : FI_END_SENDER;
}

static void leave_first(ferry_pollitem_t *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (end_of(&items[i]) && !(items[i].revents & FERRY_POLL_ERR)) {
            fi_end_leave(end_of(&items[i]));
        }
    }
}

/* Of handles that were entered here. */
static bool stands_before(const ferry_pollitem_t *items, size_t i, size_t *where) {
    for (*where = 0; *where < i; ++*where) {
        if (end_of(&items[*where]) == end_of(&items[i])) {
            return true;
        }
    }
    return false;
}

/* Enters every handle; one that cannot be used is reported in its item, one in use by another thread fails the call. */
static int enter_all(ferry_pollitem_t *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ferry_pollitem_t *it = &items[i];
        it->revents = 0;
        if ((it->receiver && it->sender) || (!it->receiver && !it->sender && it->fd < 0)) {
            leave_first(items, i);
            return fi_fail(-EINVAL, "item %zu names %s: give a receiver, a sender or a descriptor", i,
                           it->receiver ? "two things" : "nothing");
        }
        fi_end_t *e = end_of(it);
        int r = e ? fi_end_enter(e, magic_of(it)) : 0;
        size_t same;
        if (r == -EBUSY && stands_before(items, i, &same)) {
            r = fi_fail(-EBUSY, "items %zu and %zu name one handle: name it once", same, i);
        }
        if (r == -EBUSY || r == -ECHILD) {
            leave_first(items, i);
            return r;
        }
        if (r < 0) {
            it->revents = FERRY_POLL_ERR;
        }
    }
    return 0;
}

static int make_room_fd(fi_sender_t *tx) {
    if (tx->room_fd < 0) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0) {
            return fi_fail_errno(errno, "cannot create the descriptor that tells of room on '%s'",
                                 fi_channel_shown(tx->end.channel));
        }
        __atomic_store_n(&tx->room_fd, fd, __ATOMIC_RELEASE);
    }
    return 0;
}

static uint32_t look_receiver(const ferry_pollitem_t *it) {
    uint32_t found = 0;

    if (fi_node_is_expelled(it->receiver->end.node)) {
        return 0; /* of which ferry_poll tells as an error */
    }
    bool ready = fi_receiver_ready(it->receiver);
    if (fi_receiver_at_end(it->receiver)) {
        found |= FERRY_POLL_END;
    } else if (it->events & FERRY_POLL_IN && ready) {
        found |= FERRY_POLL_IN;
    }
    return found;
}

/* What holds now of our own ends. */
static int look_at_ends(ferry_pollitem_t *items, size_t n) {
    int ready = 0;

    for (size_t i = 0; i < n; i++) {
        ferry_pollitem_t *it = &items[i];
        if (!end_of(it)) {
            continue;
        }
        if (it->revents & FERRY_POLL_ERR) {
            ready++;
            continue;
        }
        fi_end_check(end_of(it));
        it->revents = 0;
        if (it->receiver) {
            it->revents = look_receiver(it);
        } else if (it->events & FERRY_POLL_OUT && fi_sender_has_room(it->sender)) {
            it->revents = FERRY_POLL_OUT;
        }
        ready += it->revents != 0;
    }
    return ready;
}

static short to_poll(uint32_t events) {
    return (short)((events & FERRY_POLL_IN ? POLLIN : 0) | (events & FERRY_POLL_OUT ? POLLOUT : 0));
}

static uint32_t from_poll(short revents) {
    return (revents & POLLIN ? FERRY_POLL_IN : 0u) | (revents & POLLOUT ? FERRY_POLL_OUT : 0u) |
           (revents & POLLHUP ? FERRY_POLL_END : 0u) | (revents & (POLLERR | POLLNVAL) ? FERRY_POLL_ERR : 0u);
}

/* Two entries for each item: what it waits on, and its node's halt. */
static void fill(const ferry_pollitem_t *items, size_t n, struct pollfd *p) {
    for (size_t i = 0; i < n; i++) {
        const ferry_pollitem_t *it = &items[i];
        p[2 * i] = (struct pollfd){.fd = it->fd, .events = to_poll(it->events)};
        p[2 * i + 1] = (struct pollfd){.fd = -1};
        if (it->receiver) {
            p[2 * i] = (struct pollfd){.fd = it->receiver->bell.rd, .events = POLLIN};
        } else if (it->sender) {
            p[2 * i] = (struct pollfd){.fd = it->sender->room_fd, .events = POLLIN};
        }
        if (end_of(it)) {
            p[2 * i + 1] = (struct pollfd){.fd = end_of(it)->node->halt, .events = POLLIN};
        }
    }
}

/* Reports plain descriptors; returns how many are ready. */
static int look_at_fds(ferry_pollitem_t *items, size_t n, const struct pollfd *p) {
    int ready = 0;

    for (size_t i = 0; i < n; i++) {
        if (!end_of(&items[i])) {
            items[i].revents = from_poll(p[2 * i].revents);
            ready += items[i].revents != 0;
        }
    }
    return ready;
}

/* The first that is; NULL: none. */
static const fi_node_t *shut_node(const ferry_pollitem_t *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (end_of(&items[i]) && !(items[i].revents & FERRY_POLL_ERR) && fi_node_is_shut(end_of(&items[i])->node)) {
            return end_of(&items[i])->node;
        }
    }
    return NULL;
}

/* Arms every doorbell; false when something is there already. */
static bool arm_all(ferry_pollitem_t *items, size_t n) {
    bool nothing = true;

    for (size_t i = 0; i < n; i++) {
        if (items[i].receiver) {
            if (items[i].receiver->bell_full) {
                fi_receiver_disarm(items[i].receiver); /* what rang before is no news */
            }
            bool empty = fi_receiver_arm(items[i].receiver);
            nothing &= empty || !(items[i].events & FERRY_POLL_IN);
        } else if (items[i].sender) {
            fi_sender_arm(items[i].sender);
        }
    }
    return look_at_ends(items, n) == 0 && nothing;
}

static void drain_room(fi_sender_t *tx) {
    uint64_t count;

    if (read(tx->room_fd, &count, sizeof count) < 0) {
        /* nothing was there */
    }
    if (tx->backlog_count == 0) {
        fi_sender_disarm(tx);
    }
}

static void disarm_all(ferry_pollitem_t *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fi_receiver_t *rx = items[i].receiver;
        if (rx) {
            fi_receiver_disarm(rx);
        } else if (items[i].sender) {
            drain_room(items[i].sender);
        }
    }
}

static int sleep_on(ferry_pollitem_t *items, size_t n, struct pollfd *p, int64_t deadline) {
    struct timespec ts;
    int64_t left = fi_time_left(deadline);

    ts.tv_sec = left / 1000000000;
    ts.tv_nsec = left % 1000000000;
    for (size_t i = 0; i < n; i++) {
        if (end_of(&items[i])) {
            fi_end_begin_sleep(end_of(&items[i]));
        }
    }
    int r = ppoll(p, 2 * n, deadline == FI_NEVER ? NULL : &ts, NULL);
    int err = errno;
    for (size_t i = 0; i < n; i++) {
        if (end_of(&items[i])) {
            fi_end_end_sleep(end_of(&items[i]));
        }
    }
    return r < 0 ? -err : r;
}

static int wait_once(ferry_pollitem_t *items, size_t n, struct pollfd *p, int64_t deadline) {
    bool nothing = arm_all(items, n);

    fill(items, n, p);
    int r = sleep_on(items, n, p, nothing ? deadline : 0);
    disarm_all(items, n);
    if (r < 0) {
        return r;
    }
    int ready = look_at_fds(items, n, p);
    return ready + look_at_ends(items, n);
}

static int wait_for(ferry_pollitem_t *items, size_t n, struct pollfd *p, int64_t timeout) {
    int64_t deadline = fi_deadline(timeout);
    fi_spinner_t spinner = {.policy = FERRY_WAIT_ADAPTIVE};
    fi_waits++;
    fi_spin_t spin = fi_spin_begin();
    bool only_ends = true;

    for (size_t i = 0; i < n; i++) {
        only_ends &= end_of(&items[i]) != NULL;
        int r = items[i].sender && !(items[i].revents & FERRY_POLL_ERR) ? make_room_fd(items[i].sender) : 0;
        if (r < 0) {
            return r;
        }
    }
    for (;;) {
        int ready = look_at_ends(items, n);
        if (ready == 0 && timeout != FERRY_NOW && only_ends && fi_spin_more(&spinner, &spin)) {
            continue;
        }
        if (ready > 0 && only_ends) {
            return ready;
        }
        const fi_node_t *shut = shut_node(items, n);
        if (shut) {
            return fi_fail(-ESHUTDOWN, "the node %s while ferry_poll waited", fi_node_end_word(shut));
        }
        ready = wait_once(items, n, p, ready > 0 ? 0 : deadline);
        if (ready == -EINTR) {
            return fi_fail(-EINTR, "a signal ended ferry_poll");
        }
        if (ready != 0 || (deadline != FI_NEVER && fi_now_ns() >= deadline)) {
            return ready < 0 ? fi_fail_errno(-ready, "ferry_poll cannot wait on %zu items", n) : ready;
        }
    }
}

int fi_poll(ferry_pollitem_t *items, size_t n, int64_t timeout) {
    int r = enter_all(items, n);
    if (r < 0) {
        return r;
    }
    struct pollfd *p = malloc((2 * n + 1) * sizeof *p);
    r = p ? 0 : fi_fail(-ENOMEM, "no memory to wait on %zu items", n);
    bool failed = false;
    for (size_t i = 0; i < n; i++) {
        failed |= (items[i].revents & FERRY_POLL_ERR) != 0;
    }
    if (r == 0 && failed) {
        r = 0;
        for (size_t i = 0; i < n; i++) {
            r += items[i].revents != 0;
        }
    } else if (r == 0) {
        r = wait_for(items, n, p, timeout);
    }
    free(p);
    for (size_t i = 0; i < n; i++) {
        fi_receiver_t *rx = items[i].revents & FERRY_POLL_ERR ? NULL : items[i].receiver;
        if (rx && rx->fd_mode) {
            fi_receiver_settle_bell(rx, !fi_receiver_ready(rx));
        }
    }
    leave_first(items, n);
    return r;
}

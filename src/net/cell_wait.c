/* SPDX-License-Identifier: MIT
 *
 * Waiting for cells that the engine keeps. See cell.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "ferry/look.h"
#include "net/ask.h"
#include "net/cell.h"
#include "platform/clock.h"
#include "sync/pace.h"

#define LOOK_AGAIN_NS INT64_C(1000000000) /* news may be lost with a server: who waits asks, from time to time */
#define LOOK_NS INT64_C(1000000000)       /* for an answer, before the wait goes on without one */

/* ---- the table ---- */

static void ring(int fd) {
    uint64_t one = 1;

    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        return; /* it is readable already */
    }
}

static void hush(int fd) {
    uint64_t rings;

    if (read(fd, &rings, sizeof rings) < 0) {
        return; /* it was not */
    }
}

static void ring_all(fi_net_cell_t *c) {
    ring(c->bell);
    ring(__atomic_load_n(&c->fd, __ATOMIC_ACQUIRE));
}

/* It never goes back: news and answers may overtake each other. */
static bool grow_to(uint64_t *number, uint64_t to) {
    uint64_t now = fi_load_relaxed64(number);

    while (now < to) {
        if (fi_cas64(number, &now, to)) {
            return true;
        }
    }
    return false;
}

static bool read_number(const char *text, uint64_t *number) {
    char *end;

    if (!text || *text < '0' || *text > '9') {
        return false;
    }
    *number = strtoull(text, &end, 10);
    return *end == '\0';
}

/* The index at the end of a subject. False: it is none (a fence's). */
static bool read_index(const fi_net_cell_t *c, const char *subject, uint64_t *index) {
    const char *dot = subject ? strrchr(subject, '.') : NULL;

    return dot && read_number(dot + 1, index) && *index < c->count;
}

static void heard(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_net_cell_t *c = arg;
    const char *text = NULL;
    uint64_t number;
    uint64_t index;

    (void)nc;
    (void)sub;
    if (fi_nats.natsMsgHeader_Get(msg, "Nats-Sequence", &text) == NATS_OK && read_number(text, &number)) {
        if (number != fi_load_relaxed64(&c->heard) + 1) {
            fi_add32(&c->gaps, 1); /* something was not told, or is told twice */
        }
        (void)grow_to(&c->heard, number);
        if (read_index(c, fi_nats.natsMsg_GetSubject(msg), &index) && grow_to(&c->versions[index], number)) {
            ring_all(c);
        }
    }
    fi_nats.natsMsg_Destroy(msg);
}

/* The connection is lost, or there again. */
static void changed(void *arg, bool up) {
    fi_net_cell_t *c = arg;

    if (up) {
        fi_add32(&c->gaps, 1);
        ring_all(c);
    }
}

/* ---- listening ---- */

static int tune_in(fi_net_cell_t *c) {
    char subject[FI_SUBJECT_MAX];

    if (c->news) {
        return 0;
    }
    fi_net_subject(c->net, subject, "cellnews", c->name);
    strncat(subject, ".*", sizeof subject - strlen(subject) - 1);
    c->versions = c->versions ? c->versions : calloc(c->count, sizeof *c->versions);
    if (!c->versions) {
        return fi_fail(-ENOMEM, "no memory to wait for %u cells", c->count);
    }
    c->bell = c->bell >= 0 ? c->bell : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->bell < 0) {
        return fi_fail_errno(errno, "cannot make a descriptor to wait for the cell \"%s\" (see ulimit -n)", c->name);
    }
    fi_add32(&c->gaps, 1);
    int r = fi_net_subscribe(c->net, c->net->control, subject, NULL, heard, c, &c->news);
    if (r == 0) {
        c->watch = (fi_net_watch_t){.changed = changed, .arg = c};
        fi_net_watch(c->net, &c->watch);
    }
    return r;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void fi_net_cell_listen_no_more(fi_net_cell_t *c) {
    if (c->news) {
        fi_net_unwatch(c->net, &c->watch);
        fi_net_unsubscribe(c->net, c->net->control, c->news);
        c->news = NULL;
    }
    close_fd(&c->bell);
    close_fd(&c->fd);
    free(c->versions);
    c->versions = NULL;
}

/* ---- catching up ---- */

/* Takes in all that a consumer tells, which knows how much is still to come. */
static natsStatus take_all(fi_net_cell_t *c, natsSubscription *sub) {
    uint64_t pending = 1;
    natsStatus s = NATS_OK;

    while (s == NATS_OK && pending > 0) {
        jsMsgMetaData *meta = NULL;
        natsMsg *msg = NULL;
        uint64_t index;
        s = fi_node_is_shut(c->net->node) ? NATS_TIMEOUT : fi_nats.natsSubscription_NextMsg(&msg, sub, FI_NET_ASK_MS);
        s = s == NATS_OK ? fi_nats.natsMsg_GetMetaData(&meta, msg) : s;
        if (s == NATS_OK) {
            pending = meta->NumPending;
            if (read_index(c, fi_nats.natsMsg_GetSubject(msg), &index)) {
                (void)grow_to(&c->versions[index], meta->Sequence.Stream);
            }
        }
        fi_nats.jsMsgMetaData_Destroy(meta);
        fi_nats.natsMsg_Destroy(msg);
    }
    return s;
}

/* The versions of many cells: the headers of all values, by a consumer that is gone afterwards. */
static natsStatus read_all(fi_net_cell_t *c) {
    char subject[FI_SUBJECT_MAX];
    natsSubscription *sub = NULL;
    jsSubOptions options;
    sigset_t before;

    fi_net_subject(c->net, subject, "cell", c->name);
    strncat(subject, ".*", sizeof subject - strlen(subject) - 1);
    fi_nats.jsSubOptions_Init(&options);
    options.Stream = c->stream;
    options.Config.AckPolicy = js_AckNone;
    options.Config.DeliverPolicy = js_DeliverAll;
    options.Config.HeadersOnly = true;
    options.Config.MemoryStorage = true;
    options.Config.Replicas = 1;
    fi_net_signals_off(&before);
    natsStatus s = fi_nats.js_SubscribeSync(&sub, c->net->js, subject, NULL, &options, NULL);
    if (s == NATS_OK) {
        (void)fi_nats.natsSubscription_SetPendingLimits(sub, -1, -1);
        s = take_all(c, sub);
        fi_net_unsubscribe(c->net, c->net->control, sub);
    }
    fi_net_signals_restore(&before);
    return s;
}

/*
 * Reads what the table may lack. A wait goes on if there is no answer now, and asks again later; -ENOENT, -EACCES: it
 * does not.
 */
static int catch_up(fi_net_cell_t *c) {
    fi_ask_t ask = fi_ask_begin(c->net, LOOK_NS, "wait for the cell", c->name);
    uint32_t gaps = fi_load_acquire32(&c->gaps);
    jsStreamInfo *info = NULL;

    int r = fi_net_is_up(c->net) ? fi_ask_next(&ask) : -ETIMEDOUT;
    if (r < 0) {
        return r == -ETIMEDOUT ? 0 : r;
    }
    natsStatus s = fi_nats.js_GetStreamInfo(&info, c->net->js, c->stream, &ask.options, &ask.code);
    if (s == NATS_OK) {
        uint64_t last = info->State.LastSeq;
        bool is_empty = info->State.Msgs == 0;
        fi_nats.jsStreamInfo_Destroy(info);
        if (!is_empty && (last > fi_load_relaxed64(&c->heard) || gaps != c->caught_up)) {
            s = read_all(c);
        }
        if (s == NATS_OK) {
            (void)grow_to(&c->heard, last);
            c->caught_up = gaps;
            return 0;
        }
    }
    if (ask.code == JSStreamNotFoundErr) {
        r = fi_net_cell_ask_last(c, ask.doing, ask.deadline);
        return r == -ETIMEDOUT ? 0 : r;
    }
    return fi_ask_again(&ask, s) ? 0 : fi_ask_fail(&ask, s);
}

/* The same for one cell, which costs less. */
static int look_at_one(fi_net_cell_t *c, uint32_t index) {
    uint64_t version;

    if (!fi_net_is_up(c->net)) {
        return 0;
    }
    int r = fi_net_cell_look(c, index, LOOK_NS, &version);
    if (r == 0) {
        (void)grow_to(&c->versions[index], version);
    }
    return r == -ENOTCONN || r == -ETIMEDOUT ? 0 : r;
}

/* ---- waiting ---- */

static int no_newer(const fi_net_cell_t *c, int r, int64_t timeout) {
    switch (r) {
    case -EAGAIN:
        return fi_fail_static(r, "nothing newer was put now");
    case -ETIMEDOUT:
        return fi_fail(r, "nothing newer was put into the cell \"%s\" within %.3f ms%s", c->name, (double)timeout / 1e6,
                       fi_net_is_up(c->net) ? "" : ", and there is no connection to a server now");
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for a newer version in the cell \"%s\"", c->name);
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down while a newer version in the cell \"%s\" was waited for", c->name);
    default:
        return r;
    }
}

/* A wait that takes long is shown to who looks. Returns how long it may sleep until that is to be seen to. */
static uint64_t list_wait(fi_net_cell_t *c) {
    int64_t now = fi_now_ns();

    if (c->blocked.number != 0) {
        return LOOK_AGAIN_NS;
    }
    c->waits_since = c->waits_since ? c->waits_since : now;
    if (now - c->waits_since < FI_GRACE_NS) {
        return (uint64_t)(c->waits_since + FI_GRACE_NS - now);
    }
    c->blocked = (fi_blocked_t){.what = FERRY_FOR_CELL, .name = c->name, .since = c->waits_since};
    fi_waits_list(c->net->node, &c->blocked);
    return LOOK_AGAIN_NS;
}

static void end_wait(fi_net_cell_t *c) {
    fi_waits_strike(&c->blocked);
    c->waits_since = 0;
}

/* Sleeps until there is news, or it is time to ask. 0: look; how the wait ended. */
static int sleep_for_news(fi_net_cell_t *c, int64_t timeout, int64_t deadline) {
    struct pollfd fds[2] = {{.fd = c->bell, .events = POLLIN}, {.fd = c->net->node->halt, .events = POLLIN}};
    int64_t left = fi_time_left(deadline);

    if (fi_node_is_shut(c->net->node)) {
        return -ESHUTDOWN;
    }
    if (timeout == FERRY_NOW || left == 0) {
        return timeout == FERRY_NOW ? -EAGAIN : -ETIMEDOUT;
    }
    struct timespec t = fi_timespec((int64_t)fi_min((uint64_t)left, list_wait(c)));
    int n = ppoll(fds, 2, &t, NULL);
    return n < 0 && errno == EINTR ? -EINTR : fi_node_is_shut(c->net->node) ? -ESHUTDOWN : 0;
}

static int wait_for_newer(fi_net_cell_t *c, uint32_t index, uint64_t after, int64_t timeout) {
    int64_t deadline = fi_deadline(timeout);

    int64_t look_at = 0;
    uint32_t gaps = 0;

    for (;;) {
        hush(c->bell);
        if (fi_load_relaxed64(&c->versions[index]) > after) {
            return 0;
        }
        if (fi_now_ns() >= look_at || fi_load_acquire32(&c->gaps) != gaps) {
            gaps = fi_load_acquire32(&c->gaps);
            int looked = look_at_one(c, index);
            if (looked < 0) {
                return looked;
            }
            look_at = fi_now_ns() + LOOK_AGAIN_NS;
            if (fi_load_relaxed64(&c->versions[index]) > after) {
                return 0;
            }
        }
        int r = sleep_for_news(c, timeout, deadline);
        if (r < 0) {
            return r;
        }
    }
}

int fi_net_cell_wait(fi_net_cell_t *c, uint32_t index, uint64_t after, int64_t timeout) {
    int r = fi_net_cell_enter(c, index);

    if (r < 0) {
        return r;
    }
    r = tune_in(c);
    r = r == 0 ? wait_for_newer(c, index, after, timeout) : r;
    end_wait(c);
    return fi_net_cell_leave(c, no_newer(c, r, timeout));
}

/* ---- any of them ---- */

static uint32_t scan_part(const fi_net_cell_t *c, uint64_t *seen, uint32_t *changed_at, uint32_t max, uint32_t from,
                          uint32_t to) {
    uint32_t found = 0;

    for (uint32_t i = from; i < to && found < max; i++) {
        uint64_t version = fi_load_relaxed64(&c->versions[i]);
        if (version != seen[i]) {
            seen[i] = version;
            changed_at[found++] = i;
        }
    }
    return found;
}

static int scan(fi_net_cell_t *c, uint64_t *seen, uint32_t *changed_at, uint32_t max) {
    uint32_t found = scan_part(c, seen, changed_at, max, c->next, c->count);

    found += scan_part(c, seen, changed_at + found, max - found, 0, c->next);
    if (found > 0) {
        c->next = (changed_at[found - 1] + 1) % c->count;
    }
    return (int)found;
}

static int watch(fi_net_cell_t *c, uint64_t *seen, uint32_t *changed_at, uint32_t max, int64_t timeout) {
    int64_t deadline = fi_deadline(timeout);
    int64_t look_at = timeout == FERRY_NOW ? 0 : fi_now_ns() + LOOK_AGAIN_NS;

    for (;;) {
        hush(c->bell);
        int r = 0;
        if (fi_load_acquire32(&c->gaps) != c->caught_up) {
            r = catch_up(c);
        }
        int found = r == 0 ? scan(c, seen, changed_at, max) : r;
        if (found == 0 && fi_now_ns() >= look_at) {
            r = catch_up(c);
            look_at = fi_now_ns() + LOOK_AGAIN_NS;
            found = r == 0 ? scan(c, seen, changed_at, max) : r;
        }
        if (found != 0) {
            return found;
        }
        r = sleep_for_news(c, timeout, deadline);
        if (r < 0) {
            return r;
        }
    }
}

int fi_net_cell_watch(fi_net_cell_t *c, uint64_t *seen, uint32_t *changed_at, uint32_t max, int64_t timeout) {
    int r = fi_net_cell_enter(c, 0);

    if (r < 0) {
        return r;
    }
    if (!seen || !changed_at || max == 0) {
        return fi_net_cell_leave(
            c, fi_fail(-EINVAL, "ferry_cell_watch needs `seen`, and room for one index in `changed` at least"));
    }
    r = tune_in(c);
    r = r == 0 ? watch(c, seen, changed_at, max, timeout) : r;
    end_wait(c);
    return fi_net_cell_leave(c, no_newer(c, r, timeout));
}

/* ---- the descriptor ---- */

int fi_net_cell_fd(fi_net_cell_t *c) {
    int r = fi_net_cell_enter(c, 0);

    if (r < 0) {
        return r;
    }
    r = c->fd;
    if (r < 0) {
        r = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* perhaps something was put before it was there */
        if (r < 0) {
            return fi_net_cell_leave(
                c, fi_fail_errno(errno, "cannot make a descriptor for the cell \"%s\" (see ulimit -n)", c->name));
        }
        __atomic_store_n(&c->fd, r, __ATOMIC_RELEASE);
    }
    int tuned = tune_in(c);
    return fi_net_cell_leave(c, tuned < 0 ? tuned : r);
}

int fi_net_cell_rearm(fi_net_cell_t *c) {
    int r = fi_net_cell_enter(c, 0);

    if (r < 0) {
        return r;
    }
    if (c->fd < 0) {
        return fi_net_cell_leave(
            c, fi_fail(-EINVAL, "this handle on the cell \"%s\" has no descriptor yet: call ferry_cell_fd first",
                       c->name));
    }
    hush(c->fd);
    return fi_net_cell_leave(c, 0);
}

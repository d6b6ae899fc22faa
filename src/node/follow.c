/* SPDX-License-Identifier: MIT
 *
 * Being told when nodes come and go.
 *
 * A node is connected with those only that it shares something with, and not every node shares something with the one
 * that watches.  So a watch looks for newcomers in the directory (inotify), and keeps a connection to each node's
 * socket, as one who looks and is no node: its end is the node's end, whoever removes the names.  A node that is closed
 * says so before; one that dies does not.  One that is expelled has its socket renamed before it is removed.  Nobody
 * else does anything for it, and nobody polls.
 *
 * Everything is done by the thread that calls, on one epoll descriptor, which the program may wait on, too.
 */
#include "node/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/plain.h"
#include "node/node.h"
#include "platform/clock.h"
#include "platform/socket.h"

#define WATCH_MAGIC 0x68637457u /* "Wtch" */
#define ANSWER_NS 500000000ll   /* who has not told its name by then is shown without */
#define RETRY_NS 50000000ll
#define EVENTS 32
#define MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR)

/* What an epoll event is about; else the id of a node, which is random and none of these. */
enum { OF_DIRECTORY = 1, OF_TIMER = 2, OF_HALT = 3, OF_FAR = 4, OF_LAST = 5 };

typedef struct fi_known {
    uint64_t id;
    int fd;           /* -1: too many wait for it already; tried again */
    int64_t deadline; /* until it is shown, or tried again; FI_NEVER: nothing is to come */
    bool shown;
    bool leaves;
    bool expelled;
    ferry_watch_event_t about;
} fi_known_t;

struct ferry_watch {
    uint32_t magic;
    uint32_t inside; /* 1: a thread is inside a call; atomic */
    ferry_t *node;
    int epoll, timer;
    int directory; /* inotify; -1 while the directory is gone, as is `dirfd` */
    int dirfd;
    fi_known_t *known;
    size_t known_count;
    ferry_watch_event_t *events; /* from `first` on */
    size_t first, event_count;
    bool lost; /* somebody swept the directory: its node makes it anew */
    bool short_of_memory;
    /* nodes on other machines, of which another thread tells */
    void *far;    /* NULL: the space does not span machines */
    int far_bell; /* eventfd */
    pthread_mutex_t far_lock;
    ferry_watch_event_t *far_events; /* guarded by it, with the next two */
    size_t far_count;
    bool far_short; /* of memory */
};

static fi_known_t *find(ferry_watch_t *w, uint64_t id) {
    for (size_t i = 0; i < w->known_count; i++) {
        if (w->known[i].id == id) {
            return &w->known[i];
        }
    }
    return NULL;
}

static bool append(ferry_watch_event_t **events, size_t *count, const ferry_watch_event_t *e) {
    ferry_watch_event_t *more = realloc(*events, (*count + 1) * sizeof *more);
    if (more) {
        *events = more;
        more[(*count)++] = *e;
    }
    return more != NULL;
}

static void note(ferry_watch_t *w, const ferry_watch_event_t *e) {
    if (w->first == w->event_count) {
        w->first = w->event_count = 0;
    }
    w->short_of_memory |= !append(&w->events, &w->event_count, e);
}

static void tell(ferry_watch_t *w, const fi_known_t *k, ferry_change_t what) {
    ferry_watch_event_t e = k->about;

    e.what = what;
    e.was_there = what == FERRY_NODE_JOINED && k->about.was_there;
    note(w, &e);
}

static void show(ferry_watch_t *w, fi_known_t *k) {
    if (!k->shown) {
        k->shown = true;
        k->deadline = FI_NEVER;
        tell(w, k, FERRY_NODE_JOINED);
    }
}

static void forget(ferry_watch_t *w, fi_known_t *k) {
    if (k->fd >= 0) {
        close(k->fd);
    }
    *k = w->known[--w->known_count];
}

static void ended(ferry_watch_t *w, fi_known_t *k, ferry_change_t how) {
    show(w, k);
    tell(w, k, how);
    forget(w, k);
}

/* It stays known: it may publish itself once more before it hears of it, and that is no news. */
static void expelled(ferry_watch_t *w, fi_known_t *k) {
    if (k->expelled) {
        return;
    }
    show(w, k);
    tell(w, k, FERRY_NODE_EXPELLED);
    k->expelled = true;
    k->deadline = FI_NEVER;
    if (k->fd >= 0) {
        close(k->fd);
        k->fd = -1;
    }
}

/* False: nobody is there any more. */
static bool dial(const ferry_watch_t *w, fi_known_t *k) {
    fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = FI_LOOK, .flags = FI_LOOK_STAY};
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = k->id};
    char name[FI_NODE_NAME_MAX];
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid;

    fi_space_node_name(k->id, name);
    k->deadline = fi_now_ns() + RETRY_NS;
    int r = fi_socket_connect(w->dirfd, name, &k->fd);
    if (r < 0) {
        k->fd = -1;
        return r == -EAGAIN || fi_is_lack(r);
    }
    if (fi_socket_peer(k->fd, &pid, &uid, &gid) == 0) {
        k->about.pid = pid;
        k->about.uid = uid;
    }
    k->deadline = fi_now_ns() + ANSWER_NS;
    return fi_socket_send(k->fd, &f, sizeof f, NULL, 0) == 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, k->fd, &ev) == 0;
}

static void discover(ferry_watch_t *w, uint64_t id, bool was_there) {
    if (id == w->node->id || id < OF_LAST || find(w, id)) {
        return;
    }
    fi_known_t *more = realloc(w->known, (w->known_count + 1) * sizeof *more);
    if (!more) {
        w->short_of_memory = true;
        return;
    }
    w->known = more;
    fi_known_t *k = &more[w->known_count++];
    *k = (fi_known_t){.id = id, .fd = -1, .about = {.node = id, .was_there = was_there, .name = "?"}};
    if (!dial(w, k)) {
        forget(w, k);
    }
}

static int discover_old(const char *name, void *arg) {
    uint64_t id;

    if (fi_space_parse_node(name, &id)) {
        discover(arg, id, true);
    }
    return 0;
}

static int discover_new(const char *name, void *arg) {
    uint64_t id;

    if (fi_space_parse_node(name, &id)) {
        discover(arg, id, false);
    }
    return 0;
}

/* --- the directory ----------------------------------------------------------------------------------------------- */

static void drop_directory(ferry_watch_t *w) {
    if (w->directory >= 0) {
        close(w->directory);
    }
    if (w->dirfd >= 0) {
        close(w->dirfd);
    }
    w->directory = w->dirfd = -1;
}

/* As the node has it now. -ENOENT: its steward is still to make it anew. */
static int open_directory(ferry_watch_t *w) {
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = OF_DIRECTORY};
    char path[40];

    drop_directory(w);
    pthread_mutex_lock(&w->node->lock);
    bool gone = fi_space_is_gone(&w->node->space);
    w->dirfd = gone ? -1 : fcntl(w->node->space.dirfd, F_DUPFD_CLOEXEC, 0);
    int error = errno;
    pthread_mutex_unlock(&w->node->lock);
    if (w->dirfd < 0) {
        return gone ? -ENOENT : fi_fail_errno(error, "cannot watch the directory of the space");
    }
    w->directory = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->directory < 0) {
        return fi_fail_errno(errno,
                             "cannot watch the directory of the space (fs.inotify.max_user_instances, ulimit -n)");
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", w->dirfd);
    if (inotify_add_watch(w->directory, path, MASK) < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->directory, &ev) < 0) {
        return fi_fail_errno(errno, "cannot watch the directory of the space (fs.inotify.max_user_watches)");
    }
    return 0;
}

static void name_changed(ferry_watch_t *w, const struct inotify_event *e) {
    fi_known_t *k;
    uint64_t id;

    if (e->mask & IN_Q_OVERFLOW) {
        (void)fi_directory_each(w->dirfd, "the space", discover_new, w);
    } else if (e->len == 0) {
        w->lost |= (e->mask & IN_IGNORED) != 0;
    } else if (e->mask & IN_DELETE) {
        w->lost |= fi_space_parse_node(e->name, &id) && id == w->node->id;
    } else if (!fi_space_parse_expelled(e->name, &id)) {
        (void)discover_new(e->name, w);
    } else if ((k = find(w, id)) != NULL) {
        expelled(w, k);
    }
}

static void look_at_directory(ferry_watch_t *w) {
    union {
        struct inotify_event align;
        char bytes[4096];
    } events;
    ssize_t n;

    while (w->directory >= 0 && (n = read(w->directory, &events, sizeof events)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(events.bytes + at);
            name_changed(w, e);
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
}

/* --- nodes ------------------------------------------------------------------------------------------------------- */

/* What it has said; false: it is gone. */
static bool listen_to(ferry_watch_t *w, fi_known_t *k) {
    int fds[FI_SOCKET_MAX_FDS];
    unsigned count = 0;
    size_t len = 0;
    fi_frame_t f;

    for (int i = 0; i < EVENTS; i++) {
        int r = fi_socket_recv(k->fd, &f, sizeof f, &len, fds, FI_SOCKET_MAX_FDS, &count);
        while (count > 0) {
            close(fds[--count]);
        }
        if (r == -EAGAIN) {
            return true;
        }
        if (r != 1 || len != sizeof f || f.magic != FI_WIRE_MAGIC) {
            return false;
        }
        if (f.type == FI_LOOK_NODE && !k->shown) {
            memcpy(k->about.name, f.text, sizeof f.text);
            fi_make_plain(k->about.name, sizeof f.text);
            show(w, k);
        }
        k->leaves |= f.type == FI_LEAVES;
    }
    return true;
}

static void node_speaks(ferry_watch_t *w, uint64_t id) {
    fi_known_t *k = find(w, id);

    if (!k || k->fd < 0 || listen_to(w, k)) {
        return;
    }
    look_at_directory(w); /* was it expelled? That was seen there before */
    k = find(w, id);
    if (k && !k->expelled) {
        ended(w, k, k->leaves ? FERRY_NODE_LEFT : FERRY_NODE_DIED);
    }
}

/* --- nodes on other machines -------------------------------------------------------------------------------------- */

/* By the thread that knows of them. */
static void far_changed(void *arg, const ferry_watch_event_t *e) {
    ferry_watch_t *w = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&w->far_lock);
    w->far_short |= !append(&w->far_events, &w->far_count, e);
    pthread_mutex_unlock(&w->far_lock);
    if (write(w->far_bell, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
}

static void look_far(ferry_watch_t *w) {
    uint64_t times;

    if (read(w->far_bell, &times, sizeof times) < 0) {
        /* somebody else has looked */
    }
    pthread_mutex_lock(&w->far_lock);
    for (size_t i = 0; i < w->far_count; i++) {
        note(w, &w->far_events[i]);
    }
    w->far_count = 0;
    w->short_of_memory |= w->far_short;
    w->far_short = false;
    pthread_mutex_unlock(&w->far_lock);
}

/* --- time -------------------------------------------------------------------------------------------------------- */

static void set_timer(const ferry_watch_t *w) {
    int64_t next = w->lost ? fi_now_ns() + RETRY_NS : FI_NEVER;
    struct itimerspec ts = {{0, 0}, {0, 0}};

    for (size_t i = 0; i < w->known_count; i++) {
        next = w->known[i].deadline < next ? w->known[i].deadline : next;
    }
    if (next != FI_NEVER) {
        ts.it_value = fi_timespec(next);
    }
    (void)timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &ts, NULL);
}

static void look_at_time(ferry_watch_t *w) {
    uint64_t times;
    int64_t now = fi_now_ns();

    if (read(w->timer, &times, sizeof times) < 0) {
        /* it was set anew meanwhile */
    }
    if (w->lost && open_directory(w) == 0) {
        w->lost = false;
        (void)fi_directory_each(w->dirfd, "the space", discover_new, w);
    }
    for (size_t i = w->known_count; i-- > 0;) {
        fi_known_t *k = &w->known[i];
        if (k->deadline > now) {
            continue;
        }
        if (k->fd >= 0) {
            show(w, k);
        } else if (w->dirfd < 0 || !dial(w, k)) {
            forget(w, k);
        }
    }
}

/* --- the calls --------------------------------------------------------------------------------------------------- */

static int add(const ferry_watch_t *w, int fd, uint64_t about) {
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = about};
    bool added = fd >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;

    return added ? 0 : fi_fail_errno(errno, "cannot create the descriptors of a watch");
}

static int watch_far(ferry_watch_t *w) {
    w->far_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = add(w, w->far_bell, OF_FAR);
    if (r == 0) {
        w->far = w->node->far->watch(w->node->net, far_changed, w);
    }
    return r < 0 || w->far ? r : fi_fail(-ENOMEM, "no memory for a watch");
}

static int set_up(ferry_watch_t *w) {
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int r = add(w, w->timer, OF_TIMER);
    if (r == 0) {
        r = add(w, w->node->halt, OF_HALT);
    }
    if (r == 0 && w->node->far) {
        r = watch_far(w);
    }
    if (r == 0) {
        r = open_directory(w);
    }
    if (r == -ENOENT) {
        w->lost = true;
        return 0;
    }
    return r == 0 ? fi_directory_each(w->dirfd, w->node->space.path, discover_old, w) : r;
}

int fi_follow_open(ferry_t *node, ferry_watch_t **out) {
    ferry_watch_t *w = calloc(1, sizeof *w);
    if (!w) {
        return fi_fail(-ENOMEM, "no memory for a watch");
    }
    w->magic = WATCH_MAGIC;
    w->node = node;
    w->epoll = w->timer = w->directory = w->dirfd = w->far_bell = -1;
    pthread_mutex_init(&w->far_lock, NULL);
    int r = set_up(w);
    if (r < 0) {
        fi_follow_close(w);
        return r;
    }
    set_timer(w);
    *out = w;
    return 0;
}

static void one_event(ferry_watch_t *w, uint64_t about) {
    if (about == OF_DIRECTORY) {
        look_at_directory(w);
    } else if (about == OF_TIMER) {
        look_at_time(w);
    } else if (about == OF_FAR) {
        look_far(w);
    } else if (about != OF_HALT) {
        node_speaks(w, about);
    }
}

/* Takes in what has happened, waiting for it until the deadline. */
static int look(ferry_watch_t *w, int64_t timeout, int64_t deadline) {
    struct epoll_event events[EVENTS];
    int64_t left = timeout == FERRY_NOW ? 0 : deadline == FI_NEVER ? -1 : (fi_time_left(deadline) + 999999) / 1000000;

    int n = epoll_wait(w->epoll, events, EVENTS, left > INT32_MAX ? INT32_MAX : (int)left);
    if (n < 0) {
        return errno == EINTR ? fi_fail(-EINTR, "a signal ended the wait for nodes to come or go")
                              : fi_fail_errno(errno, "cannot wait for nodes to come or go");
    }
    for (int i = 0; i < n; i++) {
        one_event(w, events[i].data.u64);
    }
    set_timer(w);
    return 0;
}

int fi_follow_next(ferry_watch_t *w, int64_t timeout, ferry_watch_event_t *event) {
    int64_t deadline = timeout > 0 ? fi_deadline(timeout) : FI_NEVER;
    bool looked = false;

    while (w->first == w->event_count) {
        if (w->short_of_memory) {
            w->short_of_memory = false;
            return fi_fail(-ENOMEM, "no memory was left to note a node that came or went");
        }
        if (fi_node_is_shut(w->node)) {
            return fi_fail(-ESHUTDOWN, "the node %s while nodes were watched", fi_node_end_word(w->node));
        }
        if (looked && timeout == FERRY_NOW) {
            return fi_fail_static(-EAGAIN, "no node has come or gone");
        }
        if (looked && deadline != FI_NEVER && fi_now_ns() >= deadline) {
            return fi_fail(-ETIMEDOUT, "no node came or went before the timeout");
        }
        int r = look(w, timeout, deadline);
        if (r < 0) {
            return r;
        }
        looked = true;
    }
    size_t size = event->size;
    *event = w->events[w->first++];
    event->size = size;
    return 0;
}

ferry_t *fi_follow_node(const ferry_watch_t *w) {
    return w->node;
}

int fi_follow_fd(const ferry_watch_t *w) {
    return w->epoll;
}

bool fi_follow_is_open(const ferry_watch_t *w) {
    return w && w->magic == WATCH_MAGIC;
}

int fi_follow_enter(ferry_watch_t *w) {
    return fi_exchange32(&w->inside, 1) == 0
               ? 0
               : fi_fail(-EBUSY, "another thread is inside a call on this watch: open one for each thread");
}

void fi_follow_leave(ferry_watch_t *w) {
    fi_store_release32(&w->inside, 0);
}

void fi_follow_close(ferry_watch_t *w) {
    if (w->far) {
        w->node->far->unwatch(w->node->net, w->far); /* from here on nobody else knows of it */
    }
    while (w->known_count > 0) {
        forget(w, &w->known[0]);
    }
    drop_directory(w);
    if (w->timer >= 0) {
        close(w->timer);
    }
    if (w->epoll >= 0) {
        close(w->epoll);
    }
    if (w->far_bell >= 0) {
        close(w->far_bell);
    }
    pthread_mutex_destroy(&w->far_lock);
    free(w->far_events);
    free(w->known);
    free(w->events);
    w->magic = 0;
    fi_graveyard_add(w);
}

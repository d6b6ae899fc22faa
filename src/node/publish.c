/* SPDX-License-Identifier: MIT
 *
 * Publishing a node and its ends in the space's directory, and meeting those who are there.
 *
 * A newcomer publishes first and looks around afterwards: of two simultaneous newcomers at least one sees the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "node/node.h"
#include "node/shown.h"
#include "platform/process.h"

#define PUBLISH_TRIES 3

int fi_node_watch(fi_node_t *n) {
    if (n->watch >= 0) {
        close(n->watch);
        n->watch = -1;
    }
    int r = fi_watch_open(&n->space, &n->watch);
    if (r == 0) {
        struct epoll_event ev = {.events = EPOLLIN, .data.u64 = FI_SOURCE_WATCH};
        (void)epoll_ctl(n->epoll, EPOLL_CTL_ADD, n->watch, &ev);
    }
    return r;
}

/* -ESTALE: the name has vanished already. Without a watch, for whatever other reason, it is just not watched. */
int fi_node_watch_name(fi_node_t *n, const char *name) {
    return n->watch >= 0 && fi_watch_add(n->watch, &n->space, name) == -ENOENT ? -ESTALE : 0;
}

int fi_node_listen(fi_node_t *n) {
    char name[FI_NODE_NAME_MAX];
    int fd;

    fi_space_node_name(n->id, name);
    int r = fi_space_listen(&n->space, name, &fd);
    if (r < 0) {
        return r;
    }
    if (n->listener >= 0) {
        close(n->listener);
    }
    n->listener = fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = FI_SOURCE_LISTENER};
    if (epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        return fi_fail_errno(errno, "cannot wait on the node's socket");
    }
    return fi_node_watch_name(n, name);
}

static void end_entry(const fi_node_t *n, const fi_end_t *e, fi_entry_t *entry) {
    *entry = (fi_entry_t){.node = n->id,
                          .end = e->id,
                          .is_sender = e->magic == FI_END_SENDER,
                          .is_tap = e->tap,
                          .kind = e->kind,
                          .digest = e->digest};
    memcpy(entry->channel, e->channel, sizeof entry->channel);
}

static bool node_lives(uint64_t id, void *arg) {
    fi_node_t *n = arg;
    fi_peer_t *p;

    if (id == n->id) {
        return true;
    }
    int r = fi_node_dial(n, id, &p);
    if (r == 0 && p->pidfd >= 0 && fi_pidfd_dead(p->pidfd)) {
        return false; /* the steward has not heard of it yet */
    }
    return r != -ECONNREFUSED;
}

int fi_node_would_refuse(fi_node_t *n, const char *channel, uint32_t kind, bool sender, const fi_contract_t *c) {
    fi_entry_t entry = {.node = n->id, .end = UINT64_MAX, .is_sender = sender, .kind = kind};

    memcpy(entry.channel, channel, strlen(channel) + 1);
    pthread_mutex_lock(&n->lock);
    int r = fi_entry_compare(&n->space, &entry, c, node_lives, n);
    pthread_mutex_unlock(&n->lock);
    return r == -EPROTOTYPE ? r : 0; /* whatever else is wrong is found when it is published */
}

static int watch_entry(fi_node_t *n, const fi_entry_t *entry) {
    char name[FI_ENTRY_NAME_MAX];

    fi_entry_name(entry, name);
    return fi_node_watch_name(n, name);
}

int fi_node_publish(fi_node_t *n, fi_end_t *e) {
    fi_entry_t entry;
    int r = -ESTALE;

    for (int tries = 0; r == -ESTALE && tries < PUBLISH_TRIES; tries++) {
        if (tries > 0 || fi_space_is_gone(&n->space)) {
            (void)fi_node_republish(n); /* somebody swept the directory */
        }
        end_entry(n, e, &entry);
        r = fi_entry_publish(&n->space, &entry, &e->contract, node_lives, n);
        r = r == 0 ? watch_entry(n, &entry) : r;
    }
    if (r == 0) {
        e->stated = e->contract;
        e->digest = entry.digest;
    }
    return r;
}

void fi_node_unpublish(fi_node_t *n, fi_end_t *e) {
    fi_entry_t entry;

    char name[FI_ENTRY_NAME_MAX];

    end_entry(n, e, &entry);
    if (n->watch >= 0) {
        fi_entry_name(&entry, name);
        fi_watch_forget(n->watch, &n->space, name); /* or the steward would look for all names, whether one was swept */
    }
    fi_entry_remove(&n->space, &entry);
}

/* Asks a peer for receivers of a sender's channel, or for taps of it. */
static int ask_for(const fi_end_t *e, fi_peer_t *p, bool taps) {
    fi_frame_t f = fi_frame(FI_MEET_SENDER, e->id, e->only);

    f.kind = (uint16_t)e->kind;
    f.contract = e->stated;
    f.flags = (e->hidden ? FI_MEET_HIDDEN : 0u) | (taps ? FI_MEET_TAP : 0u);
    memcpy(f.text, e->channel, sizeof f.text);
    return fi_peer_send(p, &f, NULL);
}

/* Tells one peer of an end, and remembers that it owes an answer. */
static int meet_peer(fi_node_t *n, fi_end_t *e, fi_peer_t *p) {
    (void)n;
    uint64_t *more = realloc(p->unsettled, (p->unsettled_count + 1) * sizeof *more);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory to meet the peers of '%s'", fi_channel_shown(e->channel));
    }
    p->unsettled = more;
    p->unsettled[p->unsettled_count++] = e->id;
    e->asked++;
    int r = 0;
    if (e->magic == FI_END_RECEIVER) {
        r = e->ops->introduce(e, p);
    } else {
        r = ask_for(e, p, false);
    }
    if (r < 0) {
        p->unsettled_count--; /* it will not answer what it was not told */
        e->asked--;
    }
    return r;
}

struct meeting {
    fi_node_t *node;
    fi_end_t *end;
    uint64_t last; /* entries of one node tend to stand together */
    uint64_t last_tapping;
    bool own; /* this node has some itself */
    int error;
};

/* Are the two to be linked? A tap looks at senders of either kind. */
static bool fits(const fi_entry_t *entry, const fi_end_t *e) {
    return entry->is_sender != (e->magic == FI_END_SENDER) && (entry->kind == e->kind || entry->is_tap || e->tap);
}

static int meet_entry(const fi_entry_t *entry, void *arg) {
    struct meeting *m = arg;
    uint64_t *last = entry->is_tap ? &m->last_tapping : &m->last;
    fi_peer_t *p;

    if (entry->node == *last || !fits(entry, m->end)) {
        return 0;
    }
    if (entry->node == m->node->id) {
        m->own = true;
        return 0;
    }
    *last = entry->node;
    int r = fi_node_dial(m->node, entry->node, &p);
    if (r == 0 && entry->is_tap) {
        r = ask_for(m->end, p, true);
        m->end->taps_asked += r == 0;
    } else if (r == 0 && !fi_peer_owes(p, m->end->id)) {
        r = meet_peer(m->node, m->end, p);
    }
    if (fi_is_lack(r)) {
        m->error = r; /* our own lack; what happens to a peer is no reason to fail */
    }
    if (r == -EAGAIN) {
        m->node->meet_tries =
            m->node->meet_tries ? m->node->meet_tries : FI_MEET_TRIES; /* alive, and too busy to be dialled now */
    }
    return 0;
}

int fi_node_meet(fi_node_t *n, fi_end_t *e) {
    struct meeting m = {.node = n, .end = e};

    int r = meet_peer(n, e, n->self);
    if (r == 0 && !e->hidden) {
        r = fi_entry_each(&n->space, e->channel, meet_entry, &m);
    }
    return r < 0 ? r : m.error;
}

int fi_node_meet_named(fi_node_t *n, fi_end_t *e) {
    struct meeting m = {.node = n, .end = e};

    int r = fi_entry_each(&n->space, e->channel, meet_entry, &m);
    if (r >= 0 && m.own && !fi_peer_owes(n->self, e->id)) {
        r = meet_peer(n, e, n->self);
    }
    return r < 0 ? r : m.error;
}

void fi_node_meet_again(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->published && !e->hidden && fi_is_lack(fi_node_meet(n, e))) {
            fi_end_lacks(e);
        }
    }
}

/* The kernel tells of a removal before the name is gone (vfs_unlink): for a moment it leads to a file without links. */
bool fi_node_is_missing(const fi_node_t *n, const char *name) {
    struct stat st;
    if (fstatat(n->space.dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT;
    }
    return st.st_nlink == 0;
}

bool fi_node_republish(fi_node_t *n) {
    char name[FI_NODE_NAME_MAX];
    struct fi_list *at;
    struct fi_list *after;

    if (n->expelled) {
        return true; /* its names were swept by somebody who may */
    }
    if (fi_space_is_gone(&n->space) && (fi_space_reopen(&n->space) < 0 || fi_node_watch(n) == -ENOENT)) {
        return false;
    }
    fi_space_node_name(n->id, name);
    bool missing = fi_node_is_missing(n, name);
    if (missing && fi_node_listen(n) < 0) {
        return false;
    }
    bool all = true;
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        fi_entry_t entry;
        char entry_name[FI_ENTRY_NAME_MAX];
        end_entry(n, e, &entry);
        fi_entry_name(&entry, entry_name);
        if (e->published && !e->hidden && (missing || fi_node_is_missing(n, entry_name))) {
            all &= fi_entry_write(&n->space, &entry, &e->stated) == 0 && watch_entry(n, &entry) == 0;
            (void)fi_node_meet(n, e); /* whoever came between the sweep and now did not see us */
        }
    }
    return fi_objects_republish(n, missing) && all;
}

/* SPDX-License-Identifier: MIT
 *
 * What arrives, and whom it concerns.  Steward only; the node's lock is taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "node/node.h"
#include "platform/process.h"
#include "platform/socket.h"

static fi_end_t *find_end(fi_node_t *n, uint64_t id, uint32_t magic) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->id == id && e->magic == magic) {
            return e;
        }
    }
    return NULL;
}

/*
 * Are the two to be linked, as far as their names go? A hidden end meets only what others have opened on its own node;
 * the ends of a durable channel meet only hidden ones, and taps; and what one receiver is sent of a durable topic is
 * for it alone.
 */
static bool same_channel(const fi_end_t *e, uint32_t magic, const fi_mail_t *m) {
    const fi_frame_t *f = &m->frame;
    bool other_hidden = (f->flags & FI_MEET_HIDDEN) != 0;
    bool tap = e->tap || (f->flags & FI_MEET_TAP);

    if (e->hidden && (m->peer != e->node->self || other_hidden)) {
        return false;
    }
    if (!e->hidden && e->stated.durable == FERRY_DURABLE && !other_hidden && !tap) {
        return false;
    }
    uint64_t only = magic == FI_END_SENDER ? e->only : f->rx; /* of the two, the sender's */
    if (only && only != (magic == FI_END_SENDER ? f->rx : e->id)) {
        return false;
    }
    bool same_kind = e->kind == f->kind || tap;
    return e->published && e->magic == magic && same_kind && strcmp(e->channel, f->text) == 0;
}

/* The node's name in the directory belongs to the user who speaks: the kernel's word on both. */
static bool owns_name(const fi_node_t *n, uint64_t id, uid_t uid) {
    char name[FI_NODE_NAME_MAX];
    struct stat st;

    fi_space_node_name(id, name);
    return fstatat(n->space.dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid == uid;
}

static int hello(fi_node_t *n, fi_mail_t *m) {
    fi_peer_t *p = m->peer;
    bool accepted = p->id == 0;

    if (p->state != FI_PEER_NEW || m->frame.a == 0 || m->frame.a == n->id || fi_node_is_banned(n, m->frame.a) ||
        (!accepted && m->frame.a != p->id) || m->fds[0] < 0 || m->fds[1] < 0 ||
        (accepted && !owns_name(n, m->frame.a, p->uid)) || fi_pidfd_check(m->fds[0], accepted ? p->pid : 0) < 0 ||
        fi_bell_check(m->fds[1]) < 0 || fi_node_keeps_enough_of(n, p->pid)) {
        return -EPROTO;
    }
    p->id = m->frame.a;
    p->pidfd = m->fds[0];
    p->bell = m->fds[1];
    m->fds[0] = m->fds[1] = -1;
    p->program = m->frame.figures[0];
    p->asymmetric = (m->frame.flags & FI_HELLO_ASYMMETRIC) != 0;
    memcpy(p->name, m->frame.text, sizeof p->name);
    fi_store_release32(&p->state, FI_PEER_MET);
    if (fi_node_await_death(n, p) < 0) {
        return -EPROTO; /* its death would go unnoticed */
    }
    fi_objects_peer_back(n, p->id);
    int r = accepted ? fi_node_send_hello(n, p) : 0;
    return r == -EPIPE || r == -ECONNRESET ? 0 : r; /* it has left already; what it said before counts */
}

static void settled_reply(fi_peer_t *p, uint64_t tx, uint64_t rx, uint64_t count, uint32_t flags) {
    fi_frame_t f = fi_frame(FI_SETTLED, tx, rx);

    f.a = count;
    f.flags = flags;
    (void)fi_peer_send(p, &f, NULL);
}

static uint64_t introduce(fi_node_t *n, const fi_mail_t *m, bool taps) {
    struct fi_list *at;
    struct fi_list *after;
    uint64_t count = 0;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->tap == taps && same_channel(e, FI_END_RECEIVER, m)) {
            count += e->ops->introduce(e, m->peer) >= 0;
        }
    }
    return count;
}

/* A sender asks other nodes for receivers or for taps, and its own one for both. */
static int meet_sender(fi_node_t *n, fi_mail_t *m) {
    bool for_taps = (m->frame.flags & FI_MEET_TAP) != 0;

    if (for_taps || m->peer == n->self) {
        settled_reply(m->peer, m->frame.tx, 0, introduce(n, m, true), FI_MEET_TAP);
    }
    if (!for_taps) {
        settled_reply(m->peer, m->frame.tx, 0, introduce(n, m, false), 0);
    }
    return 0;
}

/* Shows a receiver to the senders here, without `remote` as one that they will not be linked with: to how many. */
static uint64_t show_receiver(fi_node_t *n, const fi_mail_t *m, fi_remote_t *remote) {
    struct fi_list *at;
    struct fi_list *after;
    uint64_t count = 0;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        fi_mail_t *copy = same_channel(e, FI_END_SENDER, m) ? fi_mail_new(m->peer, &m->frame) : NULL;
        if (copy) {
            copy->remote = remote ? fi_remote_ref(remote) : NULL;
            fi_end_deliver(e, copy);
            count++;
        }
    }
    return count;
}

/*
 * That it is refused, because its peer has all the links that it may open, or for want of memory, is an answer as well:
 * its own node waits for one, and so does a sender here that was told of it.
 */
static int meet_receiver(fi_node_t *n, fi_mail_t *m) {
    if (!m->memory || !fi_page_in(m->memory) || m->fds[0] < 0 || fi_bell_check(m->fds[0]) < 0) {
        return -EPROTO;
    }
    bool may = fi_load_relaxed32(&m->peer->links) < n->max_links;
    fi_remote_t *remote = may ? fi_remote_new(m->peer, m->frame.rx, m->memory, m->fds[0]) : NULL;
    if (remote) {
        m->memory = NULL;
        m->fds[0] = -1;
    }
    uint64_t count = show_receiver(n, m, remote);
    settled_reply(m->peer, 0, m->frame.rx, remote ? count : 0, 0);
    fi_remote_unref(remote);
    return 0;
}

static int settled(fi_node_t *n, fi_mail_t *m) {
    fi_peer_t *p = m->peer;
    bool sender = m->frame.tx != 0;
    uint64_t id = sender ? m->frame.tx : m->frame.rx;
    fi_end_t *e = find_end(n, id, sender ? FI_END_SENDER : FI_END_RECEIVER);

    if (m->frame.flags & FI_MEET_TAP) {
        if (e) {
            e->taps_settled += p != n->self; /* it was not asked in so many words */
            e->taps_expected += m->frame.a;
            pthread_cond_broadcast(&n->changed);
        }
        return 0;
    }
    for (size_t i = 0; i < p->unsettled_count; i++) {
        if (p->unsettled[i] == id) {
            p->unsettled[i] = p->unsettled[--p->unsettled_count];
            if (e) {
                e->settled++;
                e->expected += m->frame.a;
                pthread_cond_broadcast(&n->changed);
            }
            break;
        }
    }
    return 0;
}

/* One end's receiver closed: every sender that could be linked with it looks. */
static int closed(fi_node_t *n, fi_mail_t *m) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        fi_mail_t *copy;
        if (e->magic == FI_END_SENDER && strcmp(e->channel, m->frame.text) == 0 &&
            (copy = fi_mail_new(m->peer, &m->frame)) != NULL) {
            fi_end_deliver(e, copy);
        }
    }
    return 0;
}

static bool is_to_purge(const fi_end_t *e, const fi_mail_t *m) {
    bool wanted =
        e->hidden ? m->frame.flags & FI_PURGE_PASSED_ON : e->published && !(m->frame.flags & FI_PURGE_NOT_OWN);

    return e->magic == FI_END_SENDER && wanted && strcmp(e->channel, m->frame.text) == 0;
}

/*
 * Somebody who may be in the space wants what waits in a channel to be dropped: tells how many senders will answer.
 * Who did not wait for the answer, because this process was stopped, has been told that nothing was dropped.
 */
static int purge(fi_node_t *n, fi_mail_t *m) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_PURGING, 0, 0);

    if (m->peer->fd >= 0 && fi_socket_is_hung_up(m->peer->fd)) {
        return 0;
    }
    fi_list_each(at, after, &n->ends) {
        f.a += is_to_purge(fi_container(at, fi_end_t, link), m);
    }
    memcpy(f.text, n->name, sizeof f.text);
    (void)fi_peer_send(m->peer, &f, NULL);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        fi_mail_t *copy = is_to_purge(e, m) ? fi_mail_new(m->peer, &m->frame) : NULL;
        if (copy) {
            fi_end_deliver(e, copy);
        }
    }
    return 0;
}

static int to_end(fi_node_t *n, fi_mail_t *m, bool to_sender) {
    fi_end_t *e = to_sender ? find_end(n, m->frame.tx, FI_END_SENDER) : find_end(n, m->frame.rx, FI_END_RECEIVER);

    if (e) {
        fi_end_deliver(e, m);
        return 1;
    }
    if (m->frame.type == FI_OFFER) {
        fi_frame_t f = fi_frame(FI_REFUSE, m->frame.tx, m->frame.rx);
        f.error = -EPIPE;
        (void)fi_peer_send(m->peer, &f, NULL);
    }
    return 0;
}

/* Returns 1 when the mail was taken over. */
static int dispatch(fi_node_t *n, fi_mail_t *m) {
    if (m->peer->state == FI_PEER_NEW && m->frame.type != FI_HELLO && m->frame.type != FI_LOOK &&
        m->frame.type != FI_PURGE && m->frame.type != FI_KICK) {
        return -EPROTO;
    }
    switch (m->frame.type) {
    case FI_HELLO:
        return hello(n, m);
    case FI_MEET_SENDER:
        return meet_sender(n, m);
    case FI_MEET_RECEIVER:
        return meet_receiver(n, m);
    case FI_SETTLED:
        return settled(n, m);
    case FI_OFFER:
    case FI_LIVE:
    case FI_SEGMENT:
    case FI_UNSEGMENT:
    case FI_RING:
    case FI_END:
    case FI_SKIP:
        return to_end(n, m, false);
    case FI_ACCEPT:
    case FI_REFUSE:
    case FI_RING_OK:
    case FI_EXPEL:
    case FI_SKIPPED:
    case FI_REJECT:
    case FI_DENIED:
    case FI_UNTRIED:
    case FI_RATION:
        return to_end(n, m, true);
    case FI_CLOSE:
        return closed(n, m);
    case FI_OBJECT_ASK:
        return fi_object_asked(n, m);
    case FI_OBJECT:
    case FI_OBJECT_NONE:
        return fi_object_answered(n, m);
    case FI_OBJECT_EXILE:
        return fi_object_exile(n, m);
    case FI_OBJECT_JOINED:
        return fi_object_joined(n, m);
    case FI_OBJECT_CHANGED:
        return fi_object_is_changed(n, m);
    case FI_OBJECT_LEFT:
        return fi_object_left(n, m);
    case FI_PURGE:
        return purge(n, m);
    case FI_KICK:
        return fi_node_kick_asked(n, m);
    case FI_LOOK:
        fi_node_tell(n, m->peer, &m->frame);
        return 0;
    default:
        return -EPROTO;
    }
}

int fi_node_dispatch(fi_node_t *n, fi_mail_t *m) {
    int r = dispatch(n, m);
    if (r != 1) {
        fi_mail_free(m);
    }
    return r < 0 ? r : 0;
}

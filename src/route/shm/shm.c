/* SPDX-License-Identifier: MIT
 *
 * The route between processes of one machine: frames and descriptors over a UNIX socket, data through sealed memfds.
 *
 * Everything that arrives is a peer's word: sizes, types, counts of descriptors and the memory itself are checked here,
 * before any end sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "node/node.h"
#include "node/version.h"
#include "platform/bell.h"
#include "platform/clock.h"
#include "platform/memfd.h"
#include "platform/socket.h"
#include "route/route.h"

#define MAX_RING_BYTES (64u << 20)
#define MAX_OBJECT_BYTES ((size_t)1 << 45)
#define MAX_QUEUED 16384u /* frames for a peer that does not read them */
#define MOST_FDS 3u       /* of one frame */
#define STARVES_NS 500000000ll
#define FRAMES_PER_TURN 64 /* then others have their turn */

/* What each frame must carry. */
struct burden {
    bool memory;
    unsigned fds;
};

static struct burden burden_of(unsigned type) {
    switch (type) {
    case FI_HELLO:
        return (struct burden){false, 2};
    case FI_MEET_RECEIVER:
        return (struct burden){true, 1};
    case FI_OBJECT_EXILE:
        return (struct burden){false, 1};
    case FI_OFFER:
    case FI_ACCEPT:
    case FI_SEGMENT:
    case FI_RING:
    case FI_RING_OK:
    case FI_OBJECT:
        return (struct burden){true, 0};
    default:
        return (struct burden){false, 0};
    }
}

static unsigned cargo_fds(const fi_cargo_t *cargo, int fds[MOST_FDS]) {
    unsigned count = 0;

    if (cargo->memory) {
        fds[count++] = cargo->memory->fd;
    }
    for (int i = 0; i < 2; i++) {
        if (cargo->fds[i] >= 0) {
            fds[count++] = cargo->fds[i];
        }
    }
    return count;
}

/* The same news waits already: one who is stopped would else be sent more and more of it. */
static bool is_queued(fi_peer_t *p, const fi_frame_t *f) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->queue) {
        const fi_frame_t *other = &fi_container(at, fi_mail_t, link)->frame;
        if (other->type == f->type && other->kind == f->kind && strcmp(other->text, f->text) == 0) {
            return true;
        }
    }
    return false;
}

static void unqueue(fi_peer_t *p, fi_mail_t *m) {
    fi_list_remove(&m->link);
    fi_mail_free(m);
    fi_store_release32(&p->queued, p->queued - 1);
}

/*
 * The memory that is gone has not even been told of: who is stopped would else keep all that its sender has ever given
 * up, whatever the quota.  But something must come to that link, which may wait for the memory, and is to look again.
 */
static bool takes_back(fi_peer_t *p, const fi_frame_t *gone) {
    struct fi_list *at;
    struct fi_list *after;
    fi_mail_t *told = NULL;
    bool more_comes = false;

    fi_list_each(at, after, &p->queue) {
        fi_mail_t *m = fi_container(at, fi_mail_t, link);
        bool same_link = m->frame.tx == gone->tx && m->frame.rx == gone->rx;
        if (same_link && m->frame.type == FI_SEGMENT && m->frame.a == gone->a) {
            told = m;
        } else {
            more_comes |= same_link;
        }
    }
    if (told && more_comes) {
        unqueue(p, told);
    } else if (told) {
        fi_shared_unref(told->memory);
        told->memory = NULL;
        told->frame = *gone;
    }
    return told != NULL;
}

static int enqueue(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    if (f->type == FI_OBJECT_CHANGED && is_queued(p, f)) {
        return 0;
    }
    if (f->type == FI_UNSEGMENT && takes_back(p, f)) {
        return 0;
    }
    fi_mail_t *m = fi_mail_new(NULL, f);
    if (!m) {
        (void)shutdown(p->fd, SHUT_RDWR); /* it would wait for ever for what it was not told; lost, it is met anew */
        return fi_fail(-ENOMEM, "no memory for a frame to a peer");
    }
    m->memory = cargo->memory ? fi_shared_ref(cargo->memory) : NULL;
    for (int i = 0; i < 2; i++) {
        if (cargo->fds[i] >= 0 && cargo->memory && cargo->fds[i] == cargo->memory->companion) {
            continue; /* it lives as long as the memory, and is found there again */
        }
        m->fds[i] = cargo->fds[i] < 0 ? -1 : fcntl(cargo->fds[i], F_DUPFD_CLOEXEC, 0);
        if (cargo->fds[i] >= 0 && m->fds[i] < 0) {
            fi_mail_free(m);
            (void)shutdown(p->fd, SHUT_RDWR); /* a frame without its descriptors would be worse than none */
            return fi_fail_errno(errno, "cannot keep a descriptor for a peer that is not reading");
        }
    }
    if (fi_list_empty(&p->queue)) {
        fi_node_poll_peer(p->node, p, true);
    }
    fi_list_add_tail(&p->queue, &m->link);
    fi_store_relaxed32(&p->queued, p->queued + 1);
    if (p->queued > MAX_QUEUED) {
        (void)shutdown(p->fd, SHUT_RDWR); /* it asks and does not listen: the steward then loses it */
    }
    return 0;
}

/* Too many descriptors in flight, or no memory for them: a matter of others' pace, which no event tells of. */
static bool is_short_of_room(int r) {
    return r == -ETOOMANYREFS || r == -ENOBUFS || r == -ENOMEM;
}

static bool must_wait(int r) {
    return r == -EAGAIN || is_short_of_room(r);
}

static int shm_send(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    int fds[MOST_FDS];
    unsigned count = cargo_fds(cargo, fds);
    int r = -EAGAIN;

    if (fi_load_acquire32(&p->state) == FI_PEER_LOST) {
        return -EPIPE;
    }
    pthread_mutex_lock(&p->lock);
    if (fi_list_empty(&p->queue)) {
        r = fi_socket_send(p->fd, f, sizeof *f, fds, count);
    }
    if (must_wait(r)) {
        r = enqueue(p, f, cargo);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

static int shm_writable(fi_peer_t *p) {
    int r = 0;

    pthread_mutex_lock(&p->lock);
    while (r == 0 && !fi_list_empty(&p->queue)) {
        fi_mail_t *m = fi_container(p->queue.next, fi_mail_t, link);
        fi_cargo_t cargo = {m->memory,
                            {m->memory && m->memory->companion >= 0 ? m->memory->companion : m->fds[0], m->fds[1]}};
        int fds[MOST_FDS];
        unsigned count = cargo_fds(&cargo, fds);
        r = fi_socket_send(p->fd, &m->frame, sizeof m->frame, fds, count);
        if (r == 0) {
            unqueue(p, m);
        }
    }
    if (fi_list_empty(&p->queue)) {
        fi_bell_ring(p->node->bell.wr); /* senders may wait for what was queued to leave */
    }
    if (fi_list_empty(&p->queue) || is_short_of_room(r)) {
        fi_node_poll_peer(p->node, p, false);
    }
    if (is_short_of_room(r)) {
        p->node->resend = true; /* the steward tries again a little later */
    }
    pthread_mutex_unlock(&p->lock);
    return must_wait(r) ? 0 : r;
}

static bool is_text(const char *text, size_t cap) {
    return memchr(text, 0, cap) != NULL;
}

static bool frame_is_sound(const fi_frame_t *f, size_t len) {
    return len == sizeof *f && f->magic == FI_WIRE_MAGIC && f->type > 0 && f->type < FI_FRAME_TYPES &&
           is_text(f->text, sizeof f->text) && is_text(f->contract.type_name, sizeof f->contract.type_name);
}

static size_t memory_limit(const fi_peer_t *p, const fi_frame_t *f) {
    uint64_t mapped = fi_load_relaxed64(&p->mapped);

    if (f->type == FI_SEGMENT) {
        return mapped < p->node->max_memory ? p->node->max_memory - mapped : 0;
    }
    if (f->type == FI_OBJECT) {
        return MAX_OBJECT_BYTES;
    }
    return f->type == FI_MEET_RECEIVER ? fi_page_size() : MAX_RING_BYTES;
}

static int accept_memory(const fi_frame_t *f, int fd, size_t limit, fi_shared_t **memory) {
    int r = f->type == FI_OBJECT ? fi_shared_accept_for_all(fd, fi_page_size(), limit, memory)
                                 : fi_shared_accept(fd, 1, limit, memory);

    return r == -EFBIG && f->type != FI_SEGMENT ? -EPROTO : r; /* only pools may be larger than what we are ready for */
}

/*
 * The frame's memory cannot be had: over a limit, no memory to map it, no descriptor to take it in with. That concerns
 * one link, not all that the two nodes have in common: a link can go on without a larger ring, a new one not begin, and
 * one whose messages would never come is given up by its receiver. False: it costs the connection.
 */
static bool can_do_without(fi_peer_t *p, const fi_frame_t *f, int why) {
    if (why != -EMFILE && why != -ENOMEM && why != -EFBIG) {
        return false;
    }
    if (f->type == FI_SEGMENT || f->type == FI_OFFER || f->type == FI_RING) {
        fi_mail_t *m = fi_mail_new(p, f); /* without memory: that is how its end knows */
        if (m) {
            m->frame.error = why;
        }
        return m && fi_node_dispatch(p->node, m) == 0;
    }
    return false;
}

/* Takes all descriptors over, in any case. */
static int unpack(fi_peer_t *p, const fi_frame_t *f, int *fds, unsigned count) {
    struct burden want = burden_of(f->type);
    unsigned at = 0;
    int r = -EPROTO;
    fi_mail_t *m = NULL;

    if (count == want.fds + want.memory) {
        r = 0;
        m = fi_mail_new(p, f);
        if (!m) {
            r = -ENOMEM;
        }
    }
    if (r == 0 && want.memory) {
        fi_shared_t *memory = NULL;
        r = accept_memory(f, fds[at++], memory_limit(p, f), &memory);
        fi_mail_carry(m, memory);
    }
    for (unsigned i = 0; r == 0 && i < want.fds; i++) {
        m->fds[i] = fds[at++];
    }
    while (at < count) {
        close(fds[at++]);
    }
    if (r < 0) {
        fi_mail_free(m);
        return can_do_without(p, f, r) ? 0 : r;
    }
    return fi_node_dispatch(p->node, m);
}

/* Everything else that brings descriptors waits in the socket for a while: without them it would cost the
 * connection. */
static bool must_wait_outside(fi_peer_t *p) {
    fi_frame_t f;
    bool burdened;
    size_t len;

    if (fi_socket_peek(p->fd, &f, sizeof f, &len, &burdened) != 1 || !burdened || !frame_is_sound(&f, len) ||
        f.type == FI_RING || f.type == FI_OFFER || fi_descriptors_left(MOST_FDS)) {
        p->starved_at = 0;
        return false;
    }
    int64_t now = fi_now_ns();
    p->starved_at = p->starved_at ? p->starved_at : now;
    if (now - p->starved_at > STARVES_NS) {
        return false; /* whoever waits for an answer shall be told */
    }
    p->starved = p->node->resend = true; /* the steward tries again a little later */
    fi_node_poll_peer(p->node, p, fi_peer_is_behind(p));
    return true;
}

static int shm_readable(fi_peer_t *p) {
    fi_frame_t f;
    int fds[FI_SOCKET_MAX_FDS];
    unsigned count;

    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        size_t len = 0;
        if (must_wait_outside(p)) {
            return 0;
        }
        int r = fi_socket_recv(p->fd, &f, sizeof f, &len, fds, FI_SOCKET_MAX_FDS, &count);
        if (r == -EAGAIN || r == -EINTR) {
            return 0;
        }
        if (r == -EMFILE && frame_is_sound(&f, len) && can_do_without(p, &f, r)) {
            continue;
        }
        if (fi_frame_is_of_other_version(&f, len)) {
            fi_node_note_version(p, &f); /* of any size */
        }
        if (r <= 0) {
            return r == 0 ? -EPIPE : r;
        }
        if (!frame_is_sound(&f, len)) {
            while (count > 0) {
                close(fds[--count]);
            }
            return -EPROTO;
        }
        r = unpack(p, &f, fds, count);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

const fi_route_t fi_route_shm = {
    .name = "shm",
    .send = shm_send,
    .readable = shm_readable,
    .writable = shm_writable,
};

/* SPDX-License-Identifier: MIT */
#include "node/peer.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/atomic.h"
#include "platform/cancel.h"

static void close_fd(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

fi_peer_t *fi_peer_new(struct ferry *node, const fi_route_t *route, int fd) {
    fi_peer_t *p = calloc(1, sizeof *p);
    if (p) {
        fi_peer_init(p, node, route, fd);
    }
    return p;
}

void fi_peer_init(fi_peer_t *p, struct ferry *node, const fi_route_t *route, int fd) {
    p->node = node;
    p->route = route;
    p->refs = 1;
    p->fd = fd;
    p->pidfd = -1;
    p->bell = -1;
    fi_list_init(&p->link);
    fi_list_init(&p->queue);
    pthread_mutex_init(&p->lock, NULL);
}

fi_peer_t *fi_peer_ref(fi_peer_t *p) {
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void fi_peer_unref(fi_peer_t *p) {
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    while (!fi_list_empty(&p->queue)) {
        fi_mail_t *m = fi_container(p->queue.next, fi_mail_t, link);
        fi_list_remove(&m->link);
        fi_mail_free(m);
    }
    close_fd(p->fd);
    close_fd(p->pidfd);
    close_fd(p->bell);
    pthread_mutex_destroy(&p->lock);
    free(p->unsettled);
    free(p);
}

const struct fi_receiver_page *fi_page_in(const fi_shared_t *memory) {
    const struct fi_page_place *place = memory->map;
    if (memory->bytes < FI_PAGE_MEMORY || fi_load_acquire64(&place->magic) != FI_PAGE_MAGIC) {
        return NULL;
    }
    uint64_t at = fi_load_relaxed64(&place->at);
    bool fits =
        at >= sizeof *place && at <= FI_PAGE_MEMORY - sizeof(struct fi_receiver_page) && at % sizeof *place == 0;
    return fits ? (const void *)((const char *)memory->map + at) : NULL;
}

fi_remote_t *fi_remote_new(fi_peer_t *p, uint64_t end, fi_shared_t *memory, int bell) {
    fi_remote_t *r = calloc(1, sizeof *r);
    if (!r) {
        return NULL;
    }
    r->peer = fi_peer_ref(p);
    r->end = end;
    r->memory = memory;
    r->page = fi_page_in(memory);
    r->bell = bell;
    r->refs = 1;
    fi_add32(&p->links, 1);
    return r;
}

fi_remote_t *fi_remote_ref(fi_remote_t *r) {
    __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void fi_remote_unref(fi_remote_t *r) {
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    fi_sub32(&r->peer->links, 1);
    fi_shared_unref(r->memory);
    close_fd(r->bell);
    fi_peer_unref(r->peer);
    free(r);
}

fi_mail_t *fi_mail_new(fi_peer_t *p, const fi_frame_t *f) {
    fi_mail_t *m = calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    m->peer = p ? fi_peer_ref(p) : NULL;
    m->frame = *f;
    m->fds[0] = m->fds[1] = -1;
    fi_list_init(&m->link);
    return m;
}

static bool counts(const fi_mail_t *m) {
    return m->memory && m->peer && m->frame.type == FI_SEGMENT;
}

void fi_mail_carry(fi_mail_t *m, fi_shared_t *memory) {
    m->memory = memory;
    if (counts(m)) {
        __atomic_add_fetch(&m->peer->mapped, memory->bytes, __ATOMIC_RELAXED);
    }
}

void fi_mail_free(fi_mail_t *m) {
    if (!m) {
        return;
    }
    if (counts(m)) {
        __atomic_sub_fetch(&m->peer->mapped, m->memory->bytes, __ATOMIC_RELAXED);
    }
    fi_shared_unref(m->memory);
    close_fd(m->fds[0]);
    close_fd(m->fds[1]);
    fi_remote_unref(m->remote);
    fi_peer_unref(m->peer);
    free(m);
}

fi_frame_t fi_frame(enum fi_frame_type type, uint64_t tx, uint64_t rx) {
    fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = (uint16_t)type, .tx = tx, .rx = rx};
    return f;
}

int fi_peer_send(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    static const fi_cargo_t none = {NULL, {-1, -1}};
    int cancel = fi_cancel_off();

    int r = p->route->send(p, f, cargo ? cargo : &none);
    fi_cancel_restore(cancel);
    return r;
}

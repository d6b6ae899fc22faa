/* SPDX-License-Identifier: MIT
 *
 * Answering `ferry ls`: the node's ends and their figures.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/current.h"
#include "node/links.h"
#include "node/node.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/socket.h"

static void tell_end(const fi_node_t *n, fi_peer_t *p, fi_end_t *e) {
    (void)n;
    fi_frame_t f = fi_frame(FI_LOOK_END, 0, 0);
    if (e->magic == FI_END_SENDER) {
        f.tx = e->id;
    } else {
        f.rx = e->id;
    }
    f.kind = (uint16_t)e->kind;
    f.flags = e->tap ? FI_LOOK_END_TAP : 0;
    f.contract = e->stated;
    f.a = (uint64_t)(fi_now_ns() - e->opened_ns);
    memcpy(f.text, e->channel, sizeof f.text);
    fi_frame_t count = fi_frame(FI_COUNT, 0, 0);
    fi_mail_t *m = fi_mail_new(NULL, &count);
    if (m && e->magic == FI_END_SENDER) {
        fi_end_deliver(e, m);
    } else {
        fi_mail_free(m);
    }
    e->ops->figures(e, &f);
    (void)fi_peer_send(p, &f, NULL);
}

static void tell_object(fi_peer_t *p, const fi_object_t *o) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_LOOK_OBJECT, 0, 0);

    memcpy(f.text, o->spec.name, sizeof f.text);
    snprintf(f.contract.type_name, sizeof f.contract.type_name, "%s", o->ops->word);
    f.figures[0] = o->spec.count;
    f.figures[3] = o->spec.size;
    memcpy(&f.figures[4], o->spec.type, sizeof o->spec.type);
    fi_list_each(at, after, &o->handles) {
        f.figures[1]++;
        f.figures[2] += fi_held(fi_container(at, fi_handle_t, link)) != 0;
    }
    (void)fi_peer_send(p, &f, NULL);
}

static uint32_t watchers(const fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    uint32_t count = 0;

    fi_list_each(at, after, &n->peers) {
        count += fi_container(at, fi_peer_t, link)->watches;
    }
    return count;
}

/* Is that what somebody says to whom nobody has listened yet? Whoever wants something else sees that we leave. */
static bool wants_to_watch(int fd) {
    int fds[FI_SOCKET_MAX_FDS];
    unsigned count = 0;
    size_t len = 0;
    fi_frame_t f;

    int r = fi_socket_recv(fd, &f, sizeof f, &len, fds, FI_SOCKET_MAX_FDS, &count);
    while (count > 0) {
        close(fds[--count]);
    }
    return r == 1 && len == sizeof f && f.magic == FI_WIRE_MAGIC && f.type == FI_LOOK && f.flags & FI_LOOK_STAY;
}

/* The steward may not have come to those who came last: they wait to be let in, or to be listened to. */
void fi_node_say_goodbye(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_LEAVES, 0, 0);
    int fd;

    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->watches || (p->state == FI_PEER_NEW && p->id == 0 && wants_to_watch(p->fd))) {
            (void)fi_peer_send(p, &f, NULL);
        }
    }
    while (fi_socket_accept(n->listener, &fd) == 0) {
        if (wants_to_watch(fd)) {
            (void)fi_socket_send(fd, &f, sizeof f, NULL, 0);
        }
        close(fd);
    }
}

static void tell_node(const fi_node_t *n, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_NODE, 0, 0);
    ferry_host_t h;

    f.a = n->id;
    f.b = n->peer_count - watchers(n);
    f.figures[0] = fi_process_number();
    f.figures[FI_NODE_NOW] = (uint64_t)fi_now_ns();
    f.figures[FI_NODE_PID] = (uint64_t)getpid();
    f.figures[FI_NODE_PIDS_IN] = fi_process_pid_namespace();
    memcpy(f.text, n->name, sizeof f.text);
    fi_host_current(&h);
    fi_host_to_frame(&h, &f);
    (void)fi_peer_send(p, &f, NULL);
}

void fi_node_told(fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_DONE, 0, 0);

    if (fi_sub32(&p->untold, 1) == 1) {
        (void)fi_peer_send(p, &f, NULL);
    }
}

/* Its links are only its holder's to look at. */
static void let_tell(fi_peer_t *p, fi_end_t *e) {
    fi_frame_t f = fi_frame(FI_TELL, 0, 0);
    fi_mail_t *m = fi_mail_new(p, &f);

    if (m) {
        fi_add32(&p->untold, 1);
        fi_end_deliver(e, m);
    }
}

static bool is_asked_for(const fi_end_t *e, const fi_frame_t *asked) {
    if (!e->published || e->hidden || asked->flags & FI_LOOK_WAITS_ONLY) {
        return false;
    }
    return !(asked->flags & FI_LOOK_LINKS) || strcmp(e->channel, asked->text) == 0;
}

void fi_node_tell(fi_node_t *n, fi_peer_t *p, const fi_frame_t *asked) {
    struct fi_list *at;
    struct fi_list *after;
    bool all = !(asked->flags & (FI_LOOK_WAITS_ONLY | FI_LOOK_LINKS));

    if (asked->flags & FI_LOOK_STAY && p->state == FI_PEER_NEW) {
        p->watches = true;
        tell_node(n, p); /* the rest does not matter to it */
        return;
    }
    fi_add32(&p->untold, 1);
    tell_node(n, p);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (is_asked_for(e, asked)) {
            tell_end(n, p, e);
            if (asked->flags & FI_LOOK_LINKS) {
                let_tell(p, e);
            }
        }
    }
    fi_list_each(at, after, &n->objects) {
        const fi_object_t *o = fi_container(at, fi_object_t, link);
        if (o->ready && all && !o->region) {
            tell_object(p, o);
        }
    }
    if (!(asked->flags & FI_LOOK_LINKS)) {
        fi_waits_tell(n, p, asked->flags & FI_LOOK_WITH_BESIDE);
    }
    fi_node_told(p);
}

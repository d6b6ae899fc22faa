/* SPDX-License-Identifier: MIT
 *
 * Looking at a space from outside: asks every node for its ends and their figures.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "node/look.h"
#include "node/space.h"
#include "node/wire.h"
#include "platform/clock.h"
#include "platform/socket.h"

#define ANSWER_NS 500000000ll /* a node that takes longer is stopped or overloaded */

static int grow(void **array, size_t count, size_t bytes) {
    if ((count & (count - 1)) != 0) {
        return 0;
    }
    void *more = realloc(*array, (count ? 2 * count : 1) * bytes);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory to list what is in the space");
    }
    *array = more;
    return 0;
}

static const char *keep(ferry_look_t *l, const char *text) {
    struct fi_look_text *t = malloc(sizeof *t + strlen(text) + 1);
    if (!t) {
        return "";
    }
    memcpy(t + 1, text, strlen(text) + 1);
    t->next = l->texts;
    l->texts = t;
    return (const char *)(t + 1);
}

static void add_end(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (grow((void **)&l->ends, l->end_count, sizeof *l->ends) < 0) {
        return;
    }
    l->ends[l->end_count++] = (ferry_look_end_t){.node = node,
                                                 .end = f->tx ? f->tx : f->rx,
                                                 .channel = keep(l, f->text),
                                                 .kind = (ferry_kind_t)f->kind,
                                                 .is_sender = f->tx != 0,
                                                 .type_name = keep(l, f->contract.type_name),
                                                 .type_size = f->contract.type_size,
                                                 .messages = f->figures[0],
                                                 .bytes = f->figures[1],
                                                 .copies_made = f->figures[2],
                                                 .copies_avoided = f->figures[3],
                                                 .depth = f->figures[4],
                                                 .lost = f->figures[5],
                                                 .memory = f->figures[6],
                                                 .quota = f->figures[7],
                                                 .links = (uint32_t)f->figures[8],
                                                 .age_ns = f->a};
}

static int next_frame(int fd, int64_t deadline, fi_frame_t *f) {
    int fds[FI_SOCKET_MAX_FDS];
    unsigned count = 0;
    size_t len = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = fi_time_left(deadline) / 1000000;
        int r = fi_socket_recv(fd, f, sizeof *f, &len, fds, FI_SOCKET_MAX_FDS, &count);
        while (count > 0) {
            close(fds[--count]);
        }
        if (r == 1) {
            f->text[sizeof f->text - 1] = 0;
            f->contract.type_name[sizeof f->contract.type_name - 1] = 0;
            return len == sizeof *f && f->magic == FI_WIRE_MAGIC ? 1 : -EPROTO;
        }
        if (r != -EAGAIN) {
            return r == 0 ? -EPIPE : r;
        }
        if (left <= 0 || poll(&p, 1, (int)left) <= 0) {
            return -ETIMEDOUT;
        }
    }
}

static void listen_to(ferry_look_t *l, int fd, ferry_look_node_t *n) {
    int64_t deadline = fi_now_ns() + ANSWER_NS;
    fi_frame_t f;

    while (next_frame(fd, deadline, &f) == 1 && f.type != FI_LOOK_DONE) {
        if (f.type == FI_LOOK_NODE) {
            n->name = keep(l, f.text);
            n->peers = (uint32_t)f.b;
            n->answered = 1;
        } else if (f.type == FI_LOOK_END) {
            add_end(l, n->id, &f);
        }
    }
}

static int ask_node(uint64_t id, void *arg) {
    ferry_look_t *l = arg;
    char name[FI_NODE_NAME_MAX];
    ferry_look_node_t n = {.id = id, .name = "?"};
    fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = FI_LOOK};
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid;
    int fd;

    fi_space_node_name(id, name);
    int r = fi_socket_connect(l->space.dirfd, name, &fd);
    if (r == -ECONNREFUSED) {
        fi_space_remove_node(&l->space, id);
    }
    if (r < 0) {
        return 0;
    }
    if (fi_socket_peer(fd, &pid, &uid, &gid) == 0) {
        n.pid = pid;
        n.uid = uid;
    }
    if (fi_socket_send(fd, &f, sizeof f, NULL, 0) == 0) {
        listen_to(l, fd, &n);
    }
    close(fd);
    r = grow((void **)&l->nodes, l->node_count, sizeof *l->nodes);
    if (r == 0) {
        l->nodes[l->node_count++] = n;
    }
    return r;
}

int fi_look(const char *space, const ferry_options_t *o, ferry_look_t **out) {
    ferry_look_t *l = calloc(1, sizeof *l);
    if (!l) {
        return fi_fail(-ENOMEM, "no memory to look at a space");
    }
    int r = fi_space_open(space, o, false, &l->space);
    if (r < 0) {
        free(l);
        return r;
    }
    r = fi_space_each_node(&l->space, ask_node, l);
    fi_space_close(&l->space); /* an empty directory of dead nodes goes too */
    if (r < 0) {
        fi_look_close(l);
        return r;
    }
    *out = l;
    return 0;
}

void fi_look_close(ferry_look_t *l) {
    while (l && l->texts) {
        struct fi_look_text *t = l->texts;
        l->texts = t->next;
        free(t);
    }
    if (l) {
        free(l->nodes);
        free(l->ends);
    }
    free(l);
}

/* SPDX-License-Identifier: MIT
 *
 * Looking at a space from outside: asks every node for its ends and their figures.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "node/ask.h"
#include "node/entry.h"
#include "node/gather.h"
#include "node/look.h"
#include "node/peer.h"
#include "node/space.h"
#include "node/wire.h"
#include "platform/clock.h"
#include "platform/process.h"

#define ANSWER_NS 500000000ll /* a node that takes longer is stopped or overloaded */

static int no_memory(void) {
    return fi_fail(-ENOMEM, "no memory to list what is in the space");
}

static void add_end(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&l->ends, l->end_count, sizeof *l->ends)) {
        return;
    }
    l->ends[l->end_count++] = (ferry_look_end_t){.node = node,
                                                 .end = f->tx ? f->tx : f->rx,
                                                 .channel = fi_picture_keep(&l->picture, f->text),
                                                 .kind = (ferry_kind_t)f->kind,
                                                 .is_sender = f->tx != 0,
                                                 .type_name = fi_picture_keep(&l->picture, f->contract.type_name),
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
                                                 .is_tap = (f->flags & FI_LOOK_END_TAP) != 0,
                                                 .age_ns = f->a};
}

static void add_service(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&l->services, l->service_count, sizeof *l->services)) {
        return;
    }
    ferry_look_service_t *s = &l->services[l->service_count++];
    *s = (ferry_look_service_t){.node = node,
                                .end = f->tx ? f->tx : f->rx,
                                .name = fi_picture_keep(&l->picture, f->text + 1),
                                .is_client = f->tx != 0,
                                .links = (uint32_t)f->figures[8],
                                .calls = f->figures[0],
                                .age_ns = f->a};
    if (s->is_client) {
        s->under_way = f->figures[4];
        return;
    }
    s->busy_ns = f->figures[1];
    s->errors = f->figures[2];
    s->refused = f->figures[3];
    s->under_way = f->figures[5];
    s->p50_ns = f->figures[6];
    s->p99_ns = f->figures[7];
}

static void add_object(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&l->objects, l->object_count, sizeof *l->objects)) {
        return;
    }
    l->objects[l->object_count++] = (ferry_look_object_t){.node = node,
                                                          .name = fi_picture_keep(&l->picture, f->text),
                                                          .kind = fi_picture_keep(&l->picture, f->contract.type_name),
                                                          .count = (uint32_t)f->figures[0],
                                                          .handles = (uint32_t)f->figures[1],
                                                          .holding = (uint32_t)f->figures[2],
                                                          .bytes = f->figures[3]};
    memcpy(l->objects[l->object_count - 1].type, &f->figures[4], sizeof l->objects->type - 1);
}

struct listening {
    fi_answer_fn *each;
    void *arg;
};

static bool hear(const fi_frame_t *f, void *arg) {
    const struct listening *l = arg;

    if (f->type != FI_LOOK_DONE) {
        l->each(f, l->arg);
    }
    return f->type != FI_LOOK_DONE;
}

int fi_look_ask(int dirfd, uint64_t node, uint32_t flags, int64_t patience, pid_t *pid, uid_t *uid, fi_answer_fn *each,
                void *arg) {
    fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = FI_LOOK, .flags = flags};
    struct listening l = {each, arg};

    return fi_ask(dirfd, node, &f, patience, pid, uid, hear, &l);
}

static void take_end(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (f->text[0] == FI_CALLS) {
        add_service(l, node, f);
    } else if (f->text[0] != FI_REPLIES) {
        add_end(l, node, f);
    }
}

void fi_look_take(ferry_look_t *l, uint64_t node, const fi_frame_t *f) {
    if (f->type == FI_LOOK_END) {
        take_end(l, node, f);
    } else if (f->type == FI_LOOK_OBJECT) {
        add_object(l, node, f);
    }
    fi_picture_add(&l->picture, node, f);
}

struct answering {
    ferry_look_t *look;
    ferry_look_node_t node;
};

/* Of a node that does not answer: what the directory says of its ends. */
static int take_entry(const fi_entry_t *e, void *arg) {
    const struct answering *a = arg;
    fi_frame_t f = {.text = {0}};

    if (e->node != a->node.id || (e->kind != FERRY_QUEUE && e->kind != FERRY_TOPIC)) {
        return 0;
    }
    memcpy(f.text, e->channel, strlen(e->channel));
    f.kind = (uint16_t)e->kind;
    f.flags = e->is_tap ? FI_LOOK_END_TAP : 0;
    f.tx = e->is_sender ? e->end : 0;
    f.rx = e->is_sender ? 0 : e->end;
    take_end(a->look, a->node.id, &f);
    return 0;
}

static void take_answer(const fi_frame_t *f, void *arg) {
    struct answering *a = arg;

    if (f->type == FI_LOOK_NODE) {
        a->node.name = fi_picture_keep(&a->look->picture, f->text);
        a->node.peers = (uint32_t)f->b;
        a->node.answered = 1;
    }
    fi_look_take(a->look, a->node.id, f);
}

static int ask_node(uint64_t id, void *arg) {
    ferry_look_t *l = arg;
    struct answering a = {.look = l, .node = {.id = id, .name = "?", .host = ""}};
    pid_t pid = 0;
    uid_t uid = 0;

    if (!fi_picture_add_node(&l->picture, id, 0)) {
        return no_memory();
    }
    int r = fi_look_ask(l->space.dirfd, id, FI_LOOK_WITH_BESIDE, ANSWER_NS, &pid, &uid, take_answer, &a);
    if (r == -ECONNREFUSED) {
        fi_space_remove_node(&l->space, id);
    }
    if (r < 0) {
        l->picture.node_count--;
        return fi_ask_is_our_fault(r) ? fi_fail_errno(-r, "cannot ask a node who is there") : 0;
    }
    a.node.pid = pid;
    a.node.uid = uid;
    a.node.other_version = r == FI_ASK_OTHER_VERSION;
    fi_seen_node_t *seen = &l->picture.nodes[l->picture.node_count - 1];
    a.node.own_pid = seen->own_pid;
    a.node.pid_namespace = seen->pids_in;
    a.node.starved = fi_process_lacks_descriptors(pid, FI_PEER_DESCRIPTORS);
    seen->pid = pid;
    seen->uid = uid;
    if (!fi_grow((void **)&l->nodes, l->node_count, sizeof *l->nodes)) {
        return no_memory();
    }
    l->nodes[l->node_count++] = a.node;
    if (!a.node.answered) {
        (void)fi_entry_each(&l->space, NULL, take_entry, &a);
    }
    return 0;
}

ferry_look_t *fi_look_new(void) {
    ferry_look_t *l = calloc(1, sizeof *l);

    if (!l) {
        (void)fi_fail(-ENOMEM, "no memory to look at a space");
    }
    return l;
}

static int show_other(ferry_look_t *l, const fi_seen_node_t *n, const char *directory) {
    if (!fi_grow((void **)&l->others, l->other_count, sizeof *l->others)) {
        return no_memory();
    }
    l->others[l->other_count++] = (ferry_look_other_t){.node = {.id = n->id,
                                                                .name = n->name,
                                                                .pid = n->pid,
                                                                .uid = n->uid,
                                                                .answered = n->process != 0,
                                                                .host = "",
                                                                .own_pid = n->own_pid,
                                                                .pid_namespace = n->pids_in},
                                                       .directory = fi_picture_keep(&l->picture, directory)};
    return 0;
}

/* Goes on where those wait that hold something here. */
static int look_into_other_spaces(ferry_look_t *l) {
    fi_gathering_t g = {.picture = &l->picture, .deadline = FI_NEVER};
    int r = 0;

    fi_gather_begin(&g, &l->space, true);
    fi_gather_on(&g);
    for (size_t i = 0; i < l->picture.node_count && r == 0; i++) {
        const fi_seen_node_t *n = &l->picture.nodes[i];
        r = n->place ? show_other(l, n, g.place[n->place].space.path) : 0;
    }
    fi_gather_end(&g);
    return r;
}

static int gather(ferry_look_t *l, const char *space, const ferry_options_t *o) {
    int r = fi_space_open(space, o, false, &l->space);

    if (r == 0) {
        r = fi_space_each_node(&l->space, ask_node, l);
        r = r == 0 ? look_into_other_spaces(l) : r;
        fi_space_close(&l->space); /* an empty directory of dead nodes goes too */
    }
    return r;
}

int fi_look_gather(const char *space, const ferry_options_t *o, ferry_look_t *l) {
    l->picture.keeps_receivers = true;
    return gather(l, space, o);
}

int fi_look_solve(ferry_look_t *l) {
    fi_picture_solve(&l->picture);
    return l->picture.short_of_memory ? no_memory() : 0;
}

int fi_look(const char *space, const ferry_options_t *o, ferry_look_t **out) {
    ferry_look_t *l = fi_look_new();
    if (!l) {
        return -ENOMEM;
    }
    int r = gather(l, space, o);
    r = r == 0 ? fi_look_solve(l) : r;
    if (r < 0) {
        fi_look_close(l);
        return r;
    }
    *out = l;
    return 0;
}

void fi_look_close(ferry_look_t *l) {
    if (l) {
        fi_picture_free(&l->picture);
        free(l->nodes);
        free(l->ends);
        free(l->services);
        free(l->objects);
        free(l->engines);
        free(l->links);
        free(l->others);
    }
    free(l);
}

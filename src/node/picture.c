/* SPDX-License-Identifier: MIT */
#include "node/picture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/waits.h"
#include "platform/clock.h"

#define MAX_KEYS 100000u /* of one wait: more is nonsense */
#define MAX_BESIDES 1000u

struct fi_picture_text {
    struct fi_picture_text *next;
};

bool fi_grow(void **array, size_t count, size_t bytes) {
    if ((count & (count - 1)) != 0) {
        return true;
    }
    void *more = realloc(*array, (count ? 2 * count : 1) * bytes);
    if (more) {
        *array = more;
    }
    return more != NULL;
}

const char *fi_picture_keep(fi_picture_t *p, const char *text) {
    struct fi_picture_text *t = malloc(sizeof *t + strlen(text) + 1);
    if (!t) {
        p->short_of_memory = true;
        return "";
    }
    memcpy(t + 1, text, strlen(text) + 1);
    t->next = p->texts;
    p->texts = t;
    return (const char *)(t + 1);
}

fi_seen_node_t *fi_picture_add_node(fi_picture_t *p, uint64_t id, int32_t pid) {
    if (!fi_grow((void **)&p->nodes, p->node_count, sizeof *p->nodes)) {
        p->short_of_memory = true;
        return NULL;
    }
    p->nodes[p->node_count] = (fi_seen_node_t){.id = id, .pid = pid, .name = "?"};
    return &p->nodes[p->node_count++];
}

const fi_seen_node_t *fi_picture_node(const fi_picture_t *p, uint64_t id) {
    for (size_t i = 0; i < p->node_count; i++) {
        if (p->nodes[i].id == id) {
            return &p->nodes[i];
        }
    }
    return NULL;
}

void fi_picture_add_key(fi_picture_t *p, fi_seen_wait_t *w, uint64_t key) {
    if (w->key_count >= MAX_KEYS) {
        return;
    }
    if (!fi_grow((void **)&w->keys, w->key_count, sizeof *w->keys)) {
        p->short_of_memory = true;
        return;
    }
    w->keys[w->key_count++] = key;
}

static void add_keys(fi_picture_t *p, fi_seen_wait_t *w, const fi_frame_t *f) {
    for (uint64_t i = 0; i < f->rx && i < FI_KEYS_IN_FRAME; i++) {
        fi_picture_add_key(p, w, f->figures[i]);
    }
}

static void add_wait(fi_picture_t *p, const fi_seen_node_t *node, const fi_frame_t *f) {
    char thread[17] = "";
    if (!fi_grow((void **)&p->waits, p->wait_count, sizeof *p->waits)) {
        p->short_of_memory = true;
        return;
    }
    memcpy(thread, &f->figures[FI_KEYS_IN_FRAME], 16);
    fi_seen_wait_t *w = &p->waits[p->wait_count++];
    uint64_t now = (uint64_t)(node->now ? node->now : fi_now_ns()); /* its clock may be another machine's */
    int64_t age = (int64_t)(now - f->a);
    *w = (fi_seen_wait_t){.process = node->process,
                          .place = node->place,
                          .number = f->tx,
                          .since = (int64_t)f->a,
                          .detects = (f->flags & FI_WAIT_DETECTS) != 0,
                          .stirs = (f->flags & FI_WAIT_STIRS) != 0,
                          .shown = {.node = node->id,
                                    .tid = (int32_t)(f->b >> 32),
                                    .pid = (int32_t)(uint32_t)f->b,
                                    .what = (ferry_wait_for_t)f->kind,
                                    .age_ns = age > 0 ? (uint64_t)age : 0,
                                    .needs_all = (f->flags & FI_WAIT_NEEDS_ALL) != 0}};
    w->shown.thread = fi_picture_keep(p, thread);
    w->shown.name = fi_picture_keep(p, f->text);
    w->shown.where = fi_picture_keep(p, f->contract.type_name);
    if (f->flags & FI_WAIT_LEASE) {
        w->handle = (uint32_t)f->figures[7];
        w->role = (uint32_t)f->figures[8];
        w->instance = f->figures[9];
        return;
    }
    add_keys(p, w, f);
}

static void add_holds(fi_picture_t *p, const fi_seen_node_t *node, const fi_frame_t *f) {
    for (uint64_t i = 0; i + 1 < f->rx && i + 1 < FI_KEYS_IN_FRAME; i += 2) {
        if (!fi_grow((void **)&p->holds, p->hold_count, sizeof *p->holds)) {
            p->short_of_memory = true;
            return;
        }
        p->holds[p->hold_count++] = (fi_seen_hold_t){.key = f->figures[i],
                                                     .process = node->process,
                                                     .node = node->id,
                                                     .place = node->place,
                                                     .tid = (int32_t)(uint32_t)f->figures[i + 1]};
    }
}

static void add_lease(fi_picture_t *p, const fi_seen_node_t *node, const fi_frame_t *f) {
    if (!fi_grow((void **)&p->holds, p->hold_count, sizeof *p->holds)) {
        p->short_of_memory = true;
        return;
    }
    p->holds[p->hold_count++] = (fi_seen_hold_t){.key = f->a,
                                                 .process = node->process,
                                                 .node = node->id,
                                                 .place = node->place,
                                                 .tid = (int32_t)(uint32_t)f->b,
                                                 .token = f->figures[0],
                                                 .held_ns = f->figures[1]};
}

static void add_via(fi_picture_t *p, uint64_t node, const fi_frame_t *f) {
    if (!fi_grow((void **)&p->vias, p->via_count, sizeof *p->vias)) {
        p->short_of_memory = true;
        return;
    }
    p->vias[p->via_count++] = (fi_seen_via_t){
        .key = fi_key_of_end(node, f->rx), .to = f->a, .kind = f->kind, .channel = fi_picture_keep(p, f->text)};
}

static void add_receiver(fi_picture_t *p, uint64_t node, const fi_frame_t *f) {
    if (!p->keeps_receivers || (f->flags & FI_LOOK_END_TAP)) {
        return; /* who only looks keeps nobody waiting */
    }
    if (!fi_grow((void **)&p->receivers, p->receiver_count, sizeof *p->receivers)) {
        p->short_of_memory = true;
        return;
    }
    p->receivers[p->receiver_count++] =
        (fi_seen_receiver_t){.node = node, .end = f->rx, .kind = f->kind, .channel = fi_picture_keep(p, f->text)};
}

/* One more piece of a path, or the first one of another. */
static void add_beside(fi_picture_t *p, uint64_t node, const fi_frame_t *f) {
    fi_seen_beside_t *b = p->beside_count ? &p->besides[p->beside_count - 1] : NULL;
    char path[PATH_MAX];

    if (!b || !b->more || b->node != f->a || b->told_by != node) {
        if (p->beside_count >= MAX_BESIDES) {
            return;
        }
        if (!fi_grow((void **)&p->besides, p->beside_count, sizeof *p->besides)) {
            p->short_of_memory = true;
            return;
        }
        b = &p->besides[p->beside_count++];
        *b = (fi_seen_beside_t){.node = f->a, .told_by = node, .path = ""};
    }
    int len = snprintf(path, sizeof path, "%s%s", b->path, f->text);
    b->more = (f->flags & FI_BESIDE_MORE) && len < PATH_MAX;
    b->path = len < PATH_MAX ? fi_picture_keep(p, path) : "";
}

void fi_picture_add(fi_picture_t *p, uint64_t node, const fi_frame_t *f) {
    fi_seen_node_t *n = (fi_seen_node_t *)(uintptr_t)fi_picture_node(p, node);
    if (!n) {
        return;
    }
    if (f->type == FI_LOOK_NODE) {
        n->process = f->figures[0];
        n->now = (int64_t)f->figures[FI_NODE_NOW];
        n->own_pid = f->figures[FI_NODE_PID] <= INT32_MAX ? (int32_t)f->figures[FI_NODE_PID] : 0;
        n->pids_in = f->figures[FI_NODE_PIDS_IN];
        n->name = fi_picture_keep(p, f->text);
    } else if (f->type == FI_LOOK_WAIT) {
        add_wait(p, n, f);
    } else if (f->type == FI_LOOK_LEASE) {
        add_lease(p, n, f);
    } else if (f->type == FI_LOOK_VIA) {
        add_via(p, node, f);
    } else if (f->type == FI_LOOK_BESIDE) {
        add_beside(p, node, f);
    } else if (f->type == FI_LOOK_END && f->rx) {
        add_receiver(p, node, f);
    } else if (f->type == FI_LOOK_KEYS && f->tx == 0) {
        add_holds(p, n, f);
    } else if (f->type == FI_LOOK_KEYS && p->wait_count > 0 && p->waits[p->wait_count - 1].number == f->tx) {
        add_keys(p, &p->waits[p->wait_count - 1], f);
    }
}

const fi_seen_wait_t *fi_picture_find(const fi_picture_t *p, uint64_t node, uint64_t number) {
    for (size_t i = 0; i < p->wait_count; i++) {
        if (p->waits[i].shown.node == node && p->waits[i].number == number) {
            return &p->waits[i];
        }
    }
    return NULL;
}

void fi_picture_free(fi_picture_t *p) {
    for (size_t i = 0; i < p->wait_count; i++) {
        free(p->waits[i].keys);
        free(p->waits[i].holders);
    }
    while (p->texts) {
        struct fi_picture_text *t = p->texts;
        p->texts = t->next;
        free(t);
    }
    free(p->nodes);
    free(p->waits);
    free(p->holds);
    free(p->vias);
    free(p->receivers);
    free(p->besides);
    *p = (fi_picture_t){0};
}

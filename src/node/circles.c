/* SPDX-License-Identifier: MIT
 *
 * From keys to threads, and from threads to circles.
 *
 * A thread that waits can go on if one of those it waits for can (or, where it needs all of them, if all can); who does
 * not wait can, and who cannot be named might.  What is left when nothing more follows from that cannot go on: the
 * deadlocks, and those who wait behind one.  (For waits that any of several can end this is the "knot" of R. Holt,
 * "Some deadlock properties of computer systems", 1972.)  Those who can reach themselves are the circle.
 */
#include <stdlib.h>
#include <string.h>

#include "node/picture.h"
#include "node/waits.h"

static int32_t wait_of_thread(const fi_picture_t *p, uint64_t process, int32_t tid) {
    for (size_t i = 0; i < p->wait_count; i++) {
        if (p->waits[i].process == process && p->waits[i].shown.tid == tid) {
            return (int32_t)i;
        }
    }
    return -1;
}

bool fi_picture_add_holder(fi_picture_t *p, fi_seen_wait_t *w, uint64_t node, int32_t tid, int32_t wait) {
    if (!fi_grow((void **)&w->holders, w->shown.holders, sizeof *w->holders)) {
        p->short_of_memory = true;
        return false;
    }
    w->holders[w->shown.holders++] = (ferry_look_holder_t){.node = node, .tid = tid, .wait = wait};
    return true;
}

static uint64_t node_of_key(const fi_picture_t *p, uint32_t place, uint64_t key) {
    for (size_t i = 0; i < p->node_count; i++) {
        if ((uint32_t)p->nodes[i].id == key >> 32 && p->nodes[i].place == place) {
            return p->nodes[i].id;
        }
    }
    return 0;
}

static void resolve_here(fi_picture_t *p, fi_seen_wait_t *w, uint64_t key) {
    for (size_t i = 0; i < p->hold_count; i++) {
        const fi_seen_hold_t *h = &p->holds[i];
        if (h->key == key && (uint32_t)h->node == key >> 32 && h->place == w->place) {
            if (fi_picture_add_holder(p, w, h->node, h->tid, wait_of_thread(p, h->process, h->tid))) {
                w->holders[w->shown.holders - 1].token = h->token;
                w->holders[w->shown.holders - 1].held_ns = h->held_ns;
            }
            return;
        }
    }
    (void)fi_picture_add_holder(p, w, node_of_key(p, w->place, key), 0, -1);
}

/* An end that stands for receivers on another machine: these. */
static void resolve_there(fi_picture_t *p, fi_seen_wait_t *w, const fi_seen_via_t *via) {
    bool found = false;

    for (size_t i = 0; i < p->receiver_count; i++) {
        const fi_seen_receiver_t *r = &p->receivers[i];
        if (r->node == via->to && r->kind == via->kind && strcmp(r->channel, via->channel) == 0) {
            resolve_here(p, w, fi_key_of_end(r->node, r->end));
            found = true;
        }
    }
    if (!found && via->to) { /* else the engine keeps it: whoever receives next makes room */
        (void)fi_picture_add_holder(p, w, via->to, 0, -1);
    }
}

static void resolve(fi_picture_t *p, fi_seen_wait_t *w, uint64_t key) {
    bool leads_away = false;

    for (size_t i = 0; i < p->via_count; i++) {
        if (p->vias[i].key == key) {
            resolve_there(p, w, &p->vias[i]);
            leads_away = true;
        }
    }
    if (!leads_away) {
        resolve_here(p, w, key);
    }
}

/* Can it go on, as far as is known? */
static bool can_go_on(const fi_picture_t *p, const fi_seen_wait_t *w) {
    uint32_t able = 0;

    for (uint32_t i = 0; i < w->shown.holders; i++) {
        int32_t next = w->holders[i].wait;
        able += next < 0 || !p->waits[next].stuck;
    }
    return w->stirs || w->shown.holders == 0 || (w->shown.needs_all ? able == w->shown.holders : able > 0);
}

static void find_stuck(fi_picture_t *p) {
    bool changed = true;

    for (size_t i = 0; i < p->wait_count; i++) {
        p->waits[i].stuck = true;
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < p->wait_count; i++) {
            if (p->waits[i].stuck && can_go_on(p, &p->waits[i])) {
                p->waits[i].stuck = false;
                changed = true;
            }
        }
    }
}

/* Marks all stuck waits that `from` leads to, itself only if it leads back. */
static void reach(const fi_picture_t *p, size_t from, bool *reached, int32_t *stack) {
    size_t depth = 0;

    stack[depth++] = (int32_t)from;
    while (depth > 0) {
        const fi_seen_wait_t *w = &p->waits[stack[--depth]];
        for (uint32_t i = 0; i < w->shown.holders; i++) {
            int32_t next = w->holders[i].wait;
            if (next >= 0 && p->waits[next].stuck && !reached[next]) {
                reached[next] = true;
                stack[depth++] = next;
            }
        }
    }
}

/* Numbers the circles: who can reach himself, with all who reach each other. */
static void find_circles(fi_picture_t *p) {
    size_t n = p->wait_count;
    bool *reached = n ? calloc(n * n, sizeof *reached) : NULL;
    int32_t *stack = n ? calloc(n + 1, sizeof *stack) : NULL;
    uint32_t circles = 0;

    if (n > 0 && (!reached || !stack)) {
        p->short_of_memory = true;
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (p->waits[i].stuck) {
            reach(p, i, &reached[i * n], stack);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!reached[i * n + i] || p->waits[i].shown.circle) {
            continue;
        }
        circles++;
        for (size_t k = i; k < n; k++) {
            if (reached[i * n + k] && reached[k * n + i]) {
                p->waits[k].shown.circle = circles;
            }
        }
    }
    free(reached);
    free(stack);
}

void fi_picture_solve(fi_picture_t *p) {
    for (size_t i = 0; i < p->wait_count; i++) {
        fi_seen_wait_t *w = &p->waits[i];
        for (uint32_t k = 0; k < w->key_count; k++) {
            resolve(p, w, w->keys[k]);
        }
        if (w->shown.what == FERRY_FOR_PROCESS) {
            fi_picture_resolve_process(p, w);
        }
    }
    if (!p->short_of_memory) { /* with a part missing, nobody is called stuck */
        find_stuck(p);
        find_circles(p);
    }
}

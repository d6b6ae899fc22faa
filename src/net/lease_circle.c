/* SPDX-License-Identifier: MIT
 *
 * Circles of threads that wait for each other across machines.
 *
 * A look begins at one's own wait: who holds that object (read anew)? The nodes of these are asked what their threads
 * wait for; then these objects are read, and so on.  Every look goes along all ways, up to a bound.  Two looks, one
 * after the other, that find the same waits prove the circle: a thread that stood in the same wait in both has let go
 * of nothing and taken nothing between them, and what it held was read in that time.  The wait that began last gives
 * in; by the clocks of the machines, so all who look choose the same.
 *
 * Threads are told apart by their process, so what a thread waits for counts whichever handle it holds something by.
 * What waits in the local space of a machine is not seen here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/lease_ask.h"
#include "platform/clock.h"

#define WAITS_MAX 64u
#define EDGES_MAX 16u /* of one wait */
#define NODES_MAX 32u

typedef struct fi_edge {
    int32_t to; /* the wait of the thread that holds; -1: that thread does not wait */
    int32_t tid;
} fi_edge_t;

typedef struct fi_seen {
    fi_answer_wait_t wait;
    uint64_t process;
    uint32_t edges;
    uint32_t more; /* holders that had no place */
    fi_edge_t edge[EDGES_MAX];
    bool stuck;
    bool from_me, to_me;
} fi_seen_t;

typedef struct fi_circle {
    fi_leases_t *leases;
    fi_seen_t *waits; /* the first is one's own */
    uint32_t count;
    uint64_t node[NODES_MAX]; /* asked in this look */
    fi_answer_t *answers[NODES_MAX];
    uint32_t nodes;
    fi_seen_t *at; /* whose obstacles are being added */
} fi_circle_t;

static fi_answer_t *answer_of(fi_circle_t *c, uint64_t node) {
    fi_answer_t *a = NULL;

    for (uint32_t i = 0; i < c->nodes; i++) {
        if (c->node[i] == node) {
            return c->answers[i];
        }
    }
    if (c->nodes == NODES_MAX) {
        return NULL;
    }
    (void)fi_answer_ask(c->leases, node, &a);
    c->node[c->nodes] = node;
    c->answers[c->nodes++] = a;
    return a;
}

/* The wait, among those seen; a new one is added. -1: no room. */
static int32_t add_wait(fi_circle_t *c, const fi_answer_wait_t *w, uint64_t process) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->waits[i].process == process && c->waits[i].wait.number == w->number) {
            return (int32_t)i;
        }
    }
    if (c->count == WAITS_MAX) {
        return -1;
    }
    c->waits[c->count] = (fi_seen_t){.wait = *w, .process = process, .stuck = true};
    return (int32_t)c->count++;
}

/* What does the thread wait for that acts by this handle? */
static fi_edge_t edge_to(fi_circle_t *c, const fi_lease_entry_t *e) {
    fi_answer_t *a = answer_of(c, e->node);
    fi_edge_t edge = {.to = -1, .tid = e->tid};

    if (!a || fi_answer_bits(a, e->handle, &edge.tid) == 0) {
        return edge;
    }
    for (uint32_t i = 0; i < a->head.waits; i++) {
        if (a->waits[i].tid == edge.tid) {
            edge.to = add_wait(c, &a->waits[i], a->head.process);
        }
    }
    return edge;
}

static bool add_edge(const fi_lease_entry_t *e, void *arg) {
    fi_circle_t *c = arg;

    /* In line for units or a mutex, who is before us waits for the same holders. */
    if ((e->role & FI_LEASE_WAITS) && c->at->wait.kind != 'w') {
        return true;
    }
    if (c->at->edges == EDGES_MAX) {
        c->at->more++;
        return true;
    }
    fi_edge_t edge = edge_to(c, e);
    c->at->edge[c->at->edges++] = edge;
    return true;
}

/* It waits for all, or for any one of those who hold it? */
static bool needs_all(const fi_seen_t *w) {
    return w->wait.role != FI_LEASE_UNIT;
}

static void follow(fi_circle_t *c, uint32_t i) {
    fi_lease_state_t s = {.changed = false};
    fi_seen_t *w = &c->waits[i];

    if (fi_value_read_other(c->leases->net, w->wait.stream, w->wait.name, &s) == 0 && s.head.kind == w->wait.kind &&
        w->wait.role <= FI_LEASE_UNIT && (s.head.kind != 's' || s.head.options)) {
        c->at = w;
        fi_lease_each_obstacle(&s, w->wait.node, w->wait.handle, add_edge, c);
    }
    w->stuck = w->edges > 0;
    fi_lease_free(&s);
}

static bool goes_on(const fi_circle_t *c, const fi_seen_t *w) {
    uint32_t stuck = 0;

    for (uint32_t i = 0; i < w->edges; i++) {
        stuck += w->edge[i].to >= 0 && c->waits[w->edge[i].to].stuck;
    }
    return needs_all(w) ? stuck == 0 : stuck < w->edges + w->more;
}

static void solve(fi_circle_t *c) {
    bool changed = true;

    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < c->count; i++) {
            if (c->waits[i].stuck && goes_on(c, &c->waits[i])) {
                c->waits[i].stuck = false;
                changed = true;
            }
        }
    }
    /* In the circle is what can be reached from us and reaches us. */
    c->waits[0].from_me = c->waits[0].to_me = c->waits[0].stuck;
    for (changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < c->count; i++) {
            fi_seen_t *w = &c->waits[i];
            for (uint32_t k = 0; k < w->edges && w->stuck; k++) {
                fi_seen_t *to = w->edge[k].to < 0 ? NULL : &c->waits[w->edge[k].to];
                if (to && to->stuck && w->from_me && !to->from_me) {
                    to->from_me = changed = true;
                }
                if (to && to->stuck && to->to_me && !w->to_me) {
                    w->to_me = changed = true;
                }
            }
        }
    }
}

static bool in_circle(const fi_seen_t *w) {
    return w->stuck && w->from_me && w->to_me;
}

static bool is_later(const fi_seen_t *a, const fi_seen_t *b) {
    return a->wait.since != b->wait.since ? a->wait.since > b->wait.since
           : a->wait.node != b->wait.node ? a->wait.node > b->wait.node
                                          : a->wait.number > b->wait.number;
}

/* We are in a circle, others are in it, and ours is the wait that began last of those that look for one. */
static bool is_ours_to_end(const fi_circle_t *c) {
    uint32_t others = 0;

    if (!in_circle(&c->waits[0])) {
        return false;
    }
    for (uint32_t i = 1; i < c->count; i++) {
        if (in_circle(&c->waits[i])) {
            others++;
            if (c->waits[i].wait.detects && is_later(&c->waits[i], &c->waits[0])) {
                return false;
            }
        }
    }
    for (uint32_t k = 0; k < c->waits[0].edges && others == 0; k++) {
        others += c->waits[0].edge[k].to == 0; /* a thread that waits for itself, by another handle */
    }
    return others > 0;
}

static void end_look(fi_circle_t *c) {
    for (uint32_t i = 0; i < c->nodes; i++) {
        free(c->answers[i]);
    }
    free(c->waits);
}

/* False: no memory, or we do not find ourselves. */
static bool look(fi_lease_t *l, fi_circle_t *c) {
    *c = (fi_circle_t){.leases = l->object->leases};
    c->waits = calloc(WAITS_MAX, sizeof *c->waits);
    fi_answer_t *mine = c->waits ? answer_of(c, fi_lease_net(l)->node->id) : NULL;
    for (uint32_t i = 0; mine && i < mine->head.waits && c->count == 0; i++) {
        if (mine->waits[i].number == l->wait_number) {
            (void)add_wait(c, &mine->waits[i], mine->head.process);
        }
    }
    if (c->count == 0) {
        return false;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        follow(c, i);
    }
    solve(c);
    return true;
}

static bool same_circle(const fi_circle_t *a, const fi_circle_t *b) {
    uint32_t found = 0;
    uint32_t wanted = 0;

    for (uint32_t i = 0; i < a->count; i++) {
        wanted += in_circle(&a->waits[i]);
        for (uint32_t k = 0; k < b->count && in_circle(&a->waits[i]); k++) {
            if (in_circle(&b->waits[k]) && a->waits[i].process == b->waits[k].process &&
                a->waits[i].wait.number == b->waits[k].wait.number) {
                found++;
                break;
            }
        }
    }
    return found == wanted;
}

/* ---- in words ---- */

static const char *what_for(const fi_seen_t *w) {
    switch (w->wait.kind) {
    case 'm':
        return "the mutex";
    case 's':
        return "a unit of the semaphore";
    default:
        return w->wait.role == FI_LEASE_READ ? "reading" : "writing";
    }
}

static const fi_answer_t *answer_for(const fi_circle_t *c, uint64_t node) {
    for (uint32_t i = 0; i < c->nodes; i++) {
        if (c->node[i] == node) {
            return c->answers[i];
        }
    }
    return NULL;
}

/* The next in the circle, on a shortest way back to us. */
static int32_t next_of(const fi_circle_t *c, uint32_t i, const uint32_t *distance) {
    int32_t best = -1;

    for (uint32_t k = 0; k < c->waits[i].edges; k++) {
        int32_t to = c->waits[i].edge[k].to;
        if (to >= 0 && in_circle(&c->waits[to]) && (best < 0 || distance[to] < distance[best])) {
            best = to;
        }
    }
    return best;
}

static void measure(const fi_circle_t *c, uint32_t *distance) {
    for (uint32_t i = 0; i < c->count; i++) {
        distance[i] = i == 0 ? 0 : WAITS_MAX;
    }
    for (uint32_t round = 0; round < c->count; round++) {
        for (uint32_t i = 1; i < c->count; i++) {
            int32_t to = in_circle(&c->waits[i]) ? next_of(c, i, distance) : -1;
            if (to >= 0 && distance[to] + 1 < distance[i]) {
                distance[i] = distance[to] + 1;
            }
        }
    }
}

static void put(char *text, size_t cap, size_t *used, const char *more) {
    size_t len = strlen(more);

    if (*used + len < cap) {
        memcpy(text + *used, more, len + 1);
        *used += len;
    }
}

static int describe(const fi_circle_t *c) {
    uint32_t distance[WAITS_MAX];
    char text[FI_ERROR_TEXT_MAX - 64] = "";
    char part[768];
    size_t used = 0;
    int32_t i = 0;

    measure(c, distance);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    do {
        const fi_seen_t *w = &c->waits[i];
        const fi_answer_t *a = answer_for(c, w->wait.node);
        snprintf(part, sizeof part, "%sthread %d (%s) of %s (process %d on %s)%s waits for %s \"%s\" since %.3f s",
                 i == 0 ? "" : ", held by ", w->wait.tid, w->wait.thread, a ? a->head.node : "?", a ? a->head.pid : 0,
                 a ? a->head.host : "?", i == 0 ? "" : ", which", what_for(w), w->wait.name,
                 (double)(now - w->wait.since) / 1e9);
        put(text, sizeof text, &used, part);
        i = next_of(c, (uint32_t)i, distance);
    } while (i > 0);
    return fi_fail(-EDEADLK, "a circle of waits: %s, held by the first", text);
}

int fi_lease_circle(fi_lease_t *l) {
    fi_circle_t first;
    fi_circle_t second;
    int r = 0;

    if (!fi_net_is_up(fi_lease_net(l))) {
        return 0;
    }
    if (look(l, &first) && is_ours_to_end(&first)) {
        if (look(l, &second) && is_ours_to_end(&second) && same_circle(&first, &second)) {
            r = describe(&second);
        }
        end_look(&second);
    }
    end_look(&first);
    return r;
}

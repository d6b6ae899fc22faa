/* SPDX-License-Identifier: MIT
 *
 * why_choose.c - `ferry why`: where trees begin, and which of them were asked for.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "why.h"

/* While trees are chosen. */
typedef struct chooser {
    const why_t *why;
    size_t *order; /* all waits, the longest first */
    size_t *roots;
    size_t n_roots;
    size_t *todo;
    bool *seen;
    bool *waited_for;
    bool *about; /* it is about what was asked for */
} chooser_t;

static const ferry_look_other_t *find_other(const why_t *why, uint64_t id) {
    for (size_t i = 0; i < ferry_look_others(why->look); i++) {
        const ferry_look_other_t *other = ferry_look_other(why->look, i);
        if (other->node.id == id)
            return other;
    }
    return NULL;
}

const ferry_look_node_t *why_node(const why_t *why, uint64_t id) {
    const ferry_look_other_t *other = find_other(why, id);

    for (size_t i = 0; i < ferry_look_nodes(why->look); i++) {
        const ferry_look_node_t *node = ferry_look_node(why->look, i);
        if (node->id == id)
            return node;
    }
    return other != NULL ? &other->node : NULL;
}

const char *why_elsewhere(const why_t *why, uint64_t id) {
    const ferry_look_other_t *other = find_other(why, id);

    return other != NULL ? other->directory : NULL;
}

bool why_is_repeated(const why_t *why, size_t i, size_t k) {
    const ferry_look_holder_t *holder = ferry_look_holder(why->look, i, k);

    for (size_t before = 0; before < k && holder->tid != 0; before++) {
        const ferry_look_holder_t *other = ferry_look_holder(why->look, i, before);
        if (other->node == holder->node && other->tid == holder->tid)
            return true;
    }
    return false;
}

size_t why_holders(const why_t *why, size_t i) {
    size_t n = 0;

    for (size_t k = 0; k < ferry_look_wait(why->look, i)->holders; k++)
        n += !why_is_repeated(why, i, k);
    return n;
}

bool why_in_circle(const why_t *why, const ferry_look_wait_t *wait, const ferry_look_holder_t *holder) {
    return wait->circle != 0 && holder->wait >= 0 &&
           ferry_look_wait(why->look, (size_t)holder->wait)->circle == wait->circle;
}

/* "SERVICE.METHOD", where both may have dots: the pattern may be for the service alone. */
static bool is_of_service(const char *name, const char *pattern) {
    char service[128];

    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        snprintf(service, sizeof service, "%.*s", (int)(dot - name), name);
        if (fnmatch(pattern, service, 0) == 0)
            return true;
    }
    return false;
}

/* "calls of SERVICE", "replies of SERVICE", "results of SERVICE.METHOD": what room is waited for in. NULL: a
 * channel. */
static const char *behind_of(const ferry_look_wait_t *wait) {
    const char *space = wait->what == FERRY_FOR_ROOM ? strrchr(wait->name, ' ') : NULL;
    return space != NULL ? space + 1 : NULL;
}

bool why_has_name(const ferry_look_wait_t *wait, const char *pattern) {
    const char *room = behind_of(wait);
    const char *call = wait->what == FERRY_FOR_REPLY ? wait->name : room;

    return wait->name[0] != '\0' &&
           (fnmatch(pattern, wait->name, 0) == 0 || (room != NULL && fnmatch(pattern, room, 0) == 0) ||
            (call != NULL && is_of_service(call, pattern)));
}

uint32_t why_last_circle(const why_t *why) {
    uint32_t last = 0;

    for (size_t i = 0; i < why->n; i++) {
        uint32_t circle = ferry_look_wait(why->look, i)->circle;
        if (why->shown[i] && circle > last)
            last = circle;
    }
    return last;
}

/* --- where trees begin ------------------------------------------------------------------------------------------- */

static int longer_first(const void *a, const void *b, void *arg) {
    size_t i = *(const size_t *)a;
    size_t k = *(const size_t *)b;
    uint64_t x = ferry_look_wait(arg, i)->age_ns;
    uint64_t y = ferry_look_wait(arg, k)->age_ns;

    return x != y ? (x < y) - (x > y) : (i > k) - (i < k);
}

/* Marks wait `from` and every other one that keeps it waiting, over however many steps. */
static void follow(const chooser_t *c, size_t from, bool *seen) {
    const ferry_look_t *look = c->why->look;
    size_t n = 0;

    if (seen[from])
        return;
    seen[from] = true;
    c->todo[n++] = from;
    while (n > 0) {
        size_t i = c->todo[--n];
        for (size_t k = 0; k < ferry_look_wait(look, i)->holders; k++) {
            int32_t next = ferry_look_holder(look, i, k)->wait;
            if (next >= 0 && !seen[next]) {
                seen[next] = true;
                c->todo[n++] = (size_t)next;
            }
        }
    }
}

static void mark_waited_for(const chooser_t *c) {
    const ferry_look_t *look = c->why->look;

    for (size_t i = 0; i < c->why->n; i++) {
        for (size_t k = 0; k < ferry_look_wait(look, i)->holders; k++) {
            int32_t next = ferry_look_holder(look, i, k)->wait;
            if (next >= 0 && (size_t)next != i)
                c->waited_for[next] = true;
        }
    }
}

static void add_root(chooser_t *c, size_t i) {
    c->roots[c->n_roots++] = i;
    follow(c, i, c->seen);
}

static void find_roots(chooser_t *c) {
    size_t n = c->why->n;

    mark_waited_for(c);
    for (size_t i = 0; i < n; i++)
        c->order[i] = i;
    qsort_r(c->order, n, sizeof *c->order, longer_first, c->why->look);
    for (size_t i = 0; i < n; i++) {
        if (!c->waited_for[i])
            add_root(c, i);
    }
    for (size_t i = 0; i < n; i++) {
        if (!c->seen[c->order[i]]) /* it stands in a circle that nobody else waits for */
            add_root(c, c->order[i]);
    }
    qsort_r(c->roots, c->n_roots, sizeof *c->roots, longer_first, c->why->look);
}

/* --- which were asked for ---------------------------------------------------------------------------------------- */

static bool is_of_process(const why_t *why, uint64_t id, int32_t pid) {
    const ferry_look_node_t *node = why_node(why, id);
    return node != NULL && node->pid == pid;
}

static bool process_takes_part(const why_t *why, size_t i, int32_t pid) {
    const ferry_look_wait_t *wait = ferry_look_wait(why->look, i);

    if (wait->pid == pid || is_of_process(why, wait->node, pid))
        return true;
    for (size_t k = 0; k < wait->holders; k++) {
        if (is_of_process(why, ferry_look_holder(why->look, i, k)->node, pid))
            return true;
    }
    return false;
}

static bool is_about(const why_t *why, size_t i, const why_asked_t *asked) {
    if (asked->name != NULL)
        return why_has_name(ferry_look_wait(why->look, i), asked->name);
    if (asked->pid != 0)
        return process_takes_part(why, i, asked->pid);
    return why_elsewhere(why, ferry_look_wait(why->look, i)->node) == NULL; /* other spaces: only what leads there */
}

static void choose_roots(chooser_t *c, why_t *why, const why_asked_t *asked) {
    for (size_t i = 0; i < why->n; i++)
        c->about[i] = is_about(why, i, asked);
    for (size_t r = 0; r < c->n_roots; r++) {
        bool wanted = false;
        memset(c->seen, 0, why->n * sizeof *c->seen);
        follow(c, c->roots[r], c->seen);
        for (size_t i = 0; i < why->n && !wanted; i++)
            wanted = c->seen[i] && c->about[i];
        if (!wanted)
            continue;
        why->roots[why->n_roots++] = c->roots[r];
        follow(c, c->roots[r], why->shown);
    }
}

bool why_choose(why_t *why, const why_asked_t *asked) {
    size_t n = ferry_look_waits(why->look);

    why->n = n;
    why->n_roots = 0;
    why->roots = calloc(n + 1, sizeof *why->roots);
    why->shown = calloc(n + 1, sizeof *why->shown);
    chooser_t c = {.why = why,
                   .order = calloc(n + 1, sizeof *c.order),
                   .roots = calloc(n + 1, sizeof *c.roots),
                   .todo = calloc(n + 1, sizeof *c.todo),
                   .seen = calloc(n + 1, sizeof *c.seen),
                   .waited_for = calloc(n + 1, sizeof *c.waited_for),
                   .about = calloc(n + 1, sizeof *c.about)};
    bool done = why->roots != NULL && why->shown != NULL && c.order != NULL && c.roots != NULL && c.todo != NULL &&
                c.seen != NULL && c.waited_for != NULL && c.about != NULL;

    if (done) {
        find_roots(&c);
        choose_roots(&c, why, asked);
    }
    free(c.order);
    free(c.roots);
    free(c.todo);
    free(c.seen);
    free(c.waited_for);
    free(c.about);
    return done;
}

void why_done(why_t *why) {
    ferry_look_close(why->look);
    free(why->roots);
    free(why->shown);
    *why = (why_t){0};
}

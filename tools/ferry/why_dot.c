/* SPDX-License-Identifier: MIT
 *
 * why_dot.c - `ferry why` for Graphviz: threads as boxes, what they wait for as ellipses, circles in red.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_look.h"
#include "units.h"
#include "why.h"

/* An edge from an object to a thread that holds it. Several waits for one object have it in common. */
typedef struct held {
    size_t object, thread;
    bool red;
    const char *relation;
} held_t;

/* What was met so far; the place in its list is the number of a thread, an object or an edge. */
typedef struct graph {
    const why_t *why;
    ferry_look_holder_t *threads;
    size_t n_threads;
    const ferry_look_wait_t **objects;
    size_t n_objects;
    held_t *held;
    size_t n_held;
} graph_t;

/* --- numbers ----------------------------------------------------------------------------------------------------- */

static size_t thread_number(graph_t *g, const ferry_look_holder_t *thread) {
    size_t i = 0;

    while (i < g->n_threads && (g->threads[i].node != thread->node || g->threads[i].tid != thread->tid))
        i++;
    if (i == g->n_threads)
        g->threads[g->n_threads++] = *thread;
    return i;
}

static bool same_space(const why_t *why, const ferry_look_wait_t *a, const ferry_look_wait_t *b) {
    const char *x = why_elsewhere(why, a->node);
    const char *y = why_elsewhere(why, b->node);

    return x != NULL && y != NULL ? strcmp(x, y) == 0 : x == y;
}

static bool same_object(const why_t *why, const ferry_look_wait_t *a, const ferry_look_wait_t *b) {
    return same_space(why, a, b) && strcmp(why_words(a)->object, why_words(b)->object) == 0 &&
           strcmp(a->name, b->name) == 0 && a->pid == b->pid;
}

static size_t object_number(graph_t *g, const ferry_look_wait_t *wait) {
    size_t i = 0;

    while (i < g->n_objects && !same_object(g->why, g->objects[i], wait))
        i++;
    if (i == g->n_objects)
        g->objects[g->n_objects++] = wait;
    return i;
}

static void add_held(graph_t *g, size_t object, size_t thread, bool red, const char *relation) {
    size_t i = 0;

    while (i < g->n_held && (g->held[i].object != object || g->held[i].thread != thread))
        i++;
    if (i == g->n_held)
        g->held[g->n_held++] = (held_t){.object = object, .thread = thread, .relation = relation};
    g->held[i].red = g->held[i].red || red;
}

/* --- the text ---------------------------------------------------------------------------------------------------- */

static void print_quoted(const char *text) {
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static void print_node(char letter, size_t number, const char *look, const char *text) {
    printf("  %c%zu [%s, label=", letter, number, look);
    print_quoted(text);
    printf("];\n");
}

static void print_wait(size_t thread, size_t object, const ferry_look_wait_t *wait, size_t holders) {
    char text[WHY_TEXT];
    char age[UNITS_TEXT];
    char choice[40] = "";

    if (holders > 1)
        snprintf(choice, sizeof choice, ", %s of %zu", wait->needs_all ? "all" : "any", holders);
    snprintf(text, sizeof text, "waits%s, %s%s", why_words(wait)->after, show_duration((double)wait->age_ns, age),
             choice);
    printf("  t%zu -> o%zu [label=", thread, object);
    print_quoted(text);
    printf("%s];\n", wait->circle != 0 ? ", color=red" : "");
}

static void print_nodes(const graph_t *g) {
    char text[WHY_TEXT];
    size_t silent = 0;

    for (size_t i = 0; i < g->n_threads; i++) {
        why_holder_text(g->why, &g->threads[i], text);
        print_node('t', i, "shape=box", text);
    }
    for (size_t i = 0; i < g->n_objects; i++) {
        why_object_text(g->why, g->objects[i], text);
        print_node('o', i, "shape=ellipse", text);
    }
    for (size_t i = 0; i < ferry_look_nodes(g->why->look); i++) {
        const ferry_look_node_t *node = ferry_look_node(g->why->look, i);
        if (node->answered)
            continue;
        silent_text(node, text, sizeof text);
        print_node('s', silent++, "shape=box, style=dashed", text);
    }
}

/* --- the walk ---------------------------------------------------------------------------------------------------- */

static void add_wait(graph_t *g, size_t i) {
    const ferry_look_wait_t *wait = ferry_look_wait(g->why->look, i);
    size_t thread = thread_number(g, &(ferry_look_holder_t){.node = wait->node, .tid = wait->tid, .wait = (int32_t)i});
    size_t object = object_number(g, wait);

    print_wait(thread, object, wait, why_holders(g->why, i));
    for (size_t k = 0; k < wait->holders; k++) {
        const ferry_look_holder_t *holder = ferry_look_holder(g->why->look, i, k);
        add_held(g, object, thread_number(g, holder), why_in_circle(g->why, wait, holder), why_words(wait)->relation);
    }
}

static void print_graph(graph_t *g, const char *space) {
    printf("digraph ");
    print_quoted(space);
    printf(" {\n  rankdir=LR;\n");
    for (size_t i = 0; i < g->why->n; i++) {
        if (g->why->shown[i])
            add_wait(g, i);
    }
    for (size_t i = 0; i < g->n_held; i++) {
        printf("  o%zu -> t%zu [label=", g->held[i].object, g->held[i].thread);
        print_quoted(g->held[i].relation);
        printf("%s];\n", g->held[i].red ? ", color=red" : "");
    }
    print_nodes(g);
    printf("}\n");
}

bool why_print_dot(const why_t *why, const char *space) {
    size_t holders = 0;

    for (size_t i = 0; i < why->n; i++)
        holders += ferry_look_wait(why->look, i)->holders;
    graph_t g = {.why = why,
                 .threads = calloc(why->n + holders + 1, sizeof *g.threads),
                 .objects = calloc(why->n + 1, sizeof *g.objects),
                 .held = calloc(holders + 1, sizeof *g.held)};
    bool done = g.threads != NULL && g.objects != NULL && g.held != NULL;

    if (done)
        print_graph(&g, space);
    free(g.threads);
    free(g.objects);
    free(g.held);
    return done;
}

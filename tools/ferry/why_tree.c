/* SPDX-License-Identifier: MIT
 *
 * why_tree.c - `ferry why` for people: a tree for each thread that waits, with those it waits for below it.
 *
 * What a thread waits for is drawn once. Where the thread comes again it is a leaf: in its own branch it closes a
 * circle, elsewhere it points back. So the drawing ends, whatever the circles.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "json_look.h"
#include "units.h"
#include "why.h"

typedef enum drawn { NOT_YET = 0, IN_BRANCH, DONE } drawn_t;

typedef struct drawing {
    const why_t *why;
    drawn_t *drawn;
    const char *red, *plain;
} drawing_t;

/* The lines above a line: one for each step up, NULL above the root. */
typedef struct branch {
    const struct branch *up;
    bool last;
} branch_t;

static void draw_stems(const branch_t *branch) {
    if (branch->up == NULL)
        return;
    draw_stems(branch->up);
    printf("%s", branch->last ? "   " : "│  ");
}

static void draw_wait(const drawing_t *d, size_t i, const branch_t *branch);

/* Behind a holder that waits itself and stands elsewhere already. */
static void draw_reference(const drawing_t *d, const ferry_look_wait_t *wait, const ferry_look_holder_t *holder) {
    bool closes = d->drawn[holder->wait] == IN_BRANCH;
    bool alone = ferry_look_wait(d->why->look, (size_t)holder->wait) == wait;

    if (!why_in_circle(d->why, wait, holder))
        printf(", see above\n");
    else if (alone)
        printf("   %s◀ circle %" PRIu32 ": it waits for itself, for good%s\n", d->red, wait->circle, d->plain);
    else
        printf("%s   %s◀ circle %" PRIu32 "%s%s\n", closes ? "" : ", see above", d->red, wait->circle,
               closes ? ": these wait for each other for good" : "", d->plain);
}

/* Of a lock between machines. */
static void draw_lease(const ferry_look_holder_t *holder) {
    char age[UNITS_TEXT];

    if (holder->token != 0)
        printf(" by token %" PRIu64, holder->token);
    if (holder->held_ns != 0)
        printf(" for %s", show_duration((double)holder->held_ns, age));
}

static void draw_holder(const drawing_t *d, size_t i, size_t k, const branch_t *branch) {
    const ferry_look_wait_t *wait = ferry_look_wait(d->why->look, i);
    const ferry_look_holder_t *holder = ferry_look_holder(d->why->look, i, k);
    const ferry_look_node_t *node = why_node(d->why, holder->node);
    char text[WHY_TEXT];

    draw_stems(branch->up);
    if (wait->what == FERRY_FOR_PROCESS && holder->wait < 0 && holder->tid == 0)
        snprintf(text, sizeof text, "something that runs"); /* no more is known; it need not be in the space */
    else
        why_holder_text(d->why, holder, text);
    printf("%s %s %s", branch->last ? "└─" : "├─", why_words(wait)->relation, text);
    draw_lease(holder);
    if (holder->wait >= 0 && d->drawn[holder->wait] != NOT_YET) {
        draw_reference(d, wait, holder);
    } else if (holder->wait >= 0) {
        printf(", which ");
        draw_wait(d, (size_t)holder->wait, branch);
    } else if (node == NULL || node->answered == 0) {
        printf(", which does not answer (%s)\n", why_silence(node));
    } else {
        printf("%s\n", holder->tid != 0 ? ", which runs" : ""); /* of a thread not known nothing is known */
    }
}

/* The rest of a line that has named the thread, and what is below it. */
static void draw_wait(const drawing_t *d, size_t i, const branch_t *branch) {
    const ferry_look_wait_t *wait = ferry_look_wait(d->why->look, i);
    const why_words_t *words = why_words(wait);
    size_t left = why_holders(d->why, i);
    char wanted[WHY_TEXT];
    char where[WHY_TEXT];
    char age[UNITS_TEXT];

    d->drawn[i] = IN_BRANCH;
    why_wanted_text(d->why, wait, wanted);
    why_where_text(wait, where);
    printf("waits for %s, %s", wanted, show_duration((double)wait->age_ns, age));
    if (where[0] != '\0')
        printf(" (%s)", where);
    if (left > 1 && wait->needs_all)
        printf(", until all of these %s:", words->all);
    else if (left > 1)
        printf(", until any of these %s:", words->any);
    printf("\n");
    for (size_t k = 0; left > 0; k++) {
        branch_t below = {.up = branch, .last = left == 1};
        if (why_is_repeated(d->why, i, k))
            continue;
        draw_holder(d, i, k, &below);
        left--;
    }
    d->drawn[i] = DONE;
}

static void draw_silent(const why_t *why, bool follows) {
    char text[WHY_TEXT];

    for (size_t i = 0; i < ferry_look_nodes(why->look); i++) {
        const ferry_look_node_t *node = ferry_look_node(why->look, i);
        if (node->answered)
            continue;
        silent_text(node, text, sizeof text);
        printf("%s%s; what its threads wait for is not known\n", follows ? "\n" : "", text);
        follows = false;
    }
}

bool why_print_trees(const why_t *why, bool colour) {
    const branch_t root = {0};
    drawing_t d = {.why = why,
                   .drawn = calloc(why->n + 1, sizeof *d.drawn),
                   .red = colour ? "\033[31m" : "",
                   .plain = colour ? "\033[0m" : ""};
    char text[WHY_TEXT];

    if (d.drawn == NULL || !why_print_circles(why, d.red, d.plain)) {
        free(d.drawn);
        return false;
    }
    for (size_t i = 0; i < why->n_roots; i++) {
        why_waiter_text(why, ferry_look_wait(why->look, why->roots[i]), text);
        printf("%s%s ", i > 0 ? "\n" : "", text);
        draw_wait(&d, why->roots[i], &root);
    }
    draw_silent(why, why->n_roots > 0);
    free(d.drawn);
    return true;
}

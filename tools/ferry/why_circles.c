/* SPDX-License-Identifier: MIT
 *
 * why_circles.c - `ferry why`: the line that shows who blocks whom in a circle.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "why.h"

/* A way through one circle. */
typedef struct path {
    size_t *waits;
    size_t n;
    size_t begin; /* the part of `waits` that comes back to itself starts here */
    bool *on;     /* for each wait: it stands in that part */
} path_t;

static size_t place_of(const path_t *p, size_t wait) {
    size_t i = 0;

    while (i < p->n && p->waits[i] != wait)
        i++;
    return i;
}

/* The first one that keeps `i` waiting and stands in its circle, or -1. */
static int32_t next_in_circle(const why_t *why, size_t i) {
    const ferry_look_wait_t *wait = ferry_look_wait(why->look, i);

    for (size_t k = 0; k < wait->holders; k++) {
        const ferry_look_holder_t *holder = ferry_look_holder(why->look, i, k);
        if (why_in_circle(why, wait, holder))
            return holder->wait;
    }
    return -1;
}

static void walk(const why_t *why, size_t from, path_t *p) {
    int32_t next = (int32_t)from;

    p->n = 0;
    while (next >= 0 && place_of(p, (size_t)next) == p->n) {
        p->waits[p->n++] = (size_t)next;
        next = next_in_circle(why, (size_t)next);
    }
    p->begin = next >= 0 ? place_of(p, (size_t)next) : 0;
    for (size_t i = 0; i < why->n; i++)
        p->on[i] = false;
    for (size_t i = p->begin; i < p->n; i++)
        p->on[p->waits[i]] = true;
}

static void print_waiter(const why_t *why, size_t i) {
    char text[WHY_TEXT];

    why_waiter_text(why, ferry_look_wait(why->look, i), text);
    printf("%s", text);
}

/* Where several hold one object, a circle has more threads than one way round it meets. */
static void print_others(const why_t *why, uint32_t circle, const path_t *p) {
    const char *lead = ", and with them ";

    for (size_t i = 0; i < why->n; i++) {
        if (p->on[i] || ferry_look_wait(why->look, i)->circle != circle)
            continue;
        printf("%s", lead);
        print_waiter(why, i);
        lead = ", ";
    }
}

static void print_circle(const why_t *why, size_t from, path_t *p, const char *red, const char *plain) {
    uint32_t circle = ferry_look_wait(why->look, from)->circle;

    walk(why, from, p);
    printf("%scircle %" PRIu32 ": ", red, circle);
    for (size_t i = p->begin; i < p->n; i++) {
        print_waiter(why, p->waits[i]);
        printf(" → ");
    }
    print_waiter(why, p->waits[p->begin]);
    print_others(why, circle, p);
    printf("%s\n", plain);
}

/* The one that has waited longest in a circle begins its line, as it begins its tree. why->n: no such circle is
 * shown. */
static size_t first_of(const why_t *why, uint32_t circle) {
    size_t first = why->n;

    for (size_t i = 0; i < why->n; i++) {
        const ferry_look_wait_t *wait = ferry_look_wait(why->look, i);
        if (!why->shown[i] || wait->circle != circle)
            continue;
        if (first == why->n || wait->age_ns > ferry_look_wait(why->look, first)->age_ns)
            first = i;
    }
    return first;
}

bool why_print_circles(const why_t *why, const char *red, const char *plain) {
    uint32_t last = why_last_circle(why);
    path_t p = {.waits = calloc(why->n + 1, sizeof *p.waits), .on = calloc(why->n + 1, sizeof *p.on)};
    bool done = p.waits != NULL && p.on != NULL;

    for (uint32_t circle = 1; done && circle <= last; circle++) {
        size_t first = first_of(why, circle);
        if (first < why->n)
            print_circle(why, first, &p, red, plain);
    }
    if (done && last > 0)
        printf("\n");
    free(p.waits);
    free(p.on);
    return done;
}

/* SPDX-License-Identifier: MIT
 *
 * philosopher.c - thinks, gets hungry, takes two forks, eats, gives them back.
 */
#include "philosophers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MICROSECOND ((int64_t)1000)

/** A circle is looked for after this long. Nobody holds a fork for more than a millisecond, unless he waits. */
#define SUSPICIOUS (5000 * MICROSECOND)

typedef struct diner {
    table_t *table;
    seat_t *seat;
    unsigned char mark;    /**< what he writes onto his forks while he eats */
    unsigned thoughts;     /**< state of the random numbers that say for how long he thinks */
    unsigned fork[2];      /**< in the order in which he takes them */
    ferry_mutex_t *own[2]; /**< his handles of them */
} diner_t;

static int open_forks(diner_t *d, ferry_t *node, unsigned number) {
    unsigned left = number, right = (number + 1) % d->table->seats;
    bool swap = d->table->ordered && right < left; /* so for one of them, and that is all it takes */
    d->fork[0] = swap ? right : left;
    d->fork[1] = swap ? left : right;
    ferry_sync_options_t options = {.deadlock_after = SUSPICIOUS};
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof(name), "fork-%u", d->fork[i]);
        if (ferry_mutex_open(node, name, &options, &d->own[i]) < 0) {
            return crew_failed("opening a fork");
        }
    }
    return 0;
}

static int lay_down(diner_t *d, int which) {
    return ferry_mutex_unlock(d->own[which]) < 0 ? crew_failed("laying a fork down") : 0;
}

/** He was told that he waits in a circle. Gives the fork that he has to the neighbour who waits for it. */
static int give_way(diner_t *d) {
    d->seat->deadlocks++;
    if (atomic_fetch_add(&d->table->told, 1) == 0) {
        snprintf(d->table->first_circle, CIRCLE_CHARS, "%s", ferry_last_error());
    }
    return lay_down(d, 0);
}

/** 0: he has both forks; 1: he gave way, and has none; -1. */
static int pick_up(diner_t *d) {
    if (crew_lock(d->own[0], "taking the first fork") != 0) {
        return -1;
    }
    crew_nap(500 * MICROSECOND); /* time for all neighbours to take their first one, too */
    int r = crew_lock(d->own[1], "taking the second fork");
    if (r == -EDEADLK) {
        return give_way(d) < 0 ? -1 : 1;
    }
    return r;
}

/** Eats, and looks whether somebody else eats with the same forks. */
static void eat(diner_t *d) {
    unsigned char *eater = d->table->eater;
    for (int i = 0; i < 2; i++) {
        if (eater[d->fork[i]] != 0) {
            atomic_fetch_add(&d->table->clashes, 1);
        }
        eater[d->fork[i]] = d->mark;
    }
    crew_nap(200 * MICROSECOND);
    for (int i = 0; i < 2; i++) {
        if (eater[d->fork[i]] != d->mark) {
            atomic_fetch_add(&d->table->clashes, 1);
        }
        eater[d->fork[i]] = 0;
    }
    d->seat->meals++;
}

/** From hungry to sated. */
static int dine(diner_t *d) {
    int64_t hungry_since = crew_now();
    int r;
    do {
        r = pick_up(d);
    } while (r == 1);
    if (r < 0) {
        return -1;
    }
    int64_t waited = crew_now() - hungry_since;
    if (waited > d->seat->hungriest) {
        d->seat->hungriest = waited;
    }
    eat(d);
    return lay_down(d, 1) < 0 || lay_down(d, 0) < 0 ? -1 : 0;
}

int philosopher(ferry_t *node, unsigned number, void *table) {
    diner_t d = {.table = table, .mark = (unsigned char)(number + 1), .thoughts = number};
    d.seat = &d.table->seat[number];
    if (open_forks(&d, node, number) < 0 || crew_meet(node, d.table->seats) < 0) {
        return -1;
    }
    int64_t end = crew_now() + d.table->duration;
    do {
        if (dine(&d) < 0) {
            return -1;
        }
        crew_nap(rand_r(&d.thoughts) % 500 * MICROSECOND); /* thinks, about this and that */
    } while (crew_now() < end);
    return ferry_mutex_close(d.own[0]) < 0 || ferry_mutex_close(d.own[1]) < 0 ? crew_failed("closing a fork") : 0;
}

/* SPDX-License-Identifier: MIT
 *
 * cell_step.c - SIGKILL at every instruction of putting into a cell, with others asleep that wait for it; and then at
 * every instruction of the next one's put.
 *
 * Three helpers live through all of it: Anna waits for a newer version, Ben watches or wants to put as well, and the
 * witness gets, polls, and puts afterwards. What is got is whole, and the version before or the new one. Where it is
 * the new one, everybody who waited for it is woken; where it is not, they are by the witness's put, which succeeds.
 */
#include "cells.h"
#include "helpers.h"
#include "stepping.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define GLANCE (MILLISECOND / 20)
#define POINTS_MAX 20000u
#define CELLS 2u
#define LARGE 300u
#define SELDOM 30u /* points from one death to the next, when all is put and others are told by descriptor */

enum { ANNA, BEN, WITNESS, HELPERS };
enum { OLD = 1, VICTIMS, HEIRS, BENS, LAST }; /* whose value it is */

/* What the test and the helpers tell each other. */
typedef struct world {
    uint64_t version; /* before the victim puts */
    uint64_t size;    /* of values */
    uint64_t number;  /* to be put */
    uint64_t got, got_version;
} world_t;

typedef struct trial {
    const char *name;
    uint64_t size;
    bool by_cas;
    bool awaited;      /* Anna waits, Ben watches, the witness polls */
    bool contended;    /* Ben wants to put while it is the victim's turn */
    bool everywhere;   /* also killed at every instruction of others' code that the library calls */
    bool second_death; /* of another one, who puts next */
} trial_t;

typedef struct run {
    const trial_t *trial;
    world_t *world;
    helper_t *helpers;
    dice_t dice;
    unsigned turn_begins, put_ends; /* points of the first trial: the turn is taken; the call returns */
    unsigned points, first_points;
    bool returned;
    bool slept; /* Ben, when he wanted to put */
    bool asked[HELPERS];
} run_t;

/* Fails unless `condition` holds, and tells where the victim was killed. */
#define expect(r, condition) ((condition) ? (void)0 : expect_failed((r), #condition, __FILE__, __LINE__))

_Noreturn static void expect_failed(const run_t *r, const char *text, const char *file, int line) {
    fprintf(stderr, "# %s: killed at point %u%s, the first one at %u; got %u, version %u after %u\n", r->trial->name,
            r->points, r->returned ? ", after the call" : "", r->first_points, (unsigned)r->world->got,
            (unsigned)r->world->got_version, (unsigned)r->world->version);
    check_failed(text, file, line);
}

/* ---- values ---- */

static void make_value(unsigned char *value, const world_t *w, uint64_t number) {
    memcpy(value, &number, sizeof number);
    fill(value + 8, w->size - 8, number);
}

/* The number of a whole value; 0: it is none. */
static uint64_t number_of(const unsigned char *value, size_t len, const world_t *w) {
    uint64_t number = 0;
    memcpy(&number, value, sizeof number);
    return len == w->size && filled(value + 8, len - 8, number) ? number : 0;
}

/* ---- in the helpers and the victims ---- */

static ferry_cell_t *cell;

static void open_in(ferry_t *node) {
    ferry_cell_options_t options = {.max_bytes = LARGE, .count = CELLS, .wait = FERRY_WAIT_BLOCK, .patience = PATIENCE};
    cell = open_cell(node, "it", &options);
}

static int open_it(helper_t *h) {
    open_in(h->node);
    return ferry_cell_fd(cell) >= 0 ? 0 : -1;
}

static int close_it(helper_t *h) {
    (void)h;
    return ferry_cell_close(cell);
}

static int put_it(helper_t *h) {
    const world_t *w = h->world;
    unsigned char value[LARGE];
    make_value(value, w, w->number);
    return ferry_cell_put(cell, value, w->size, NULL);
}

static int put_bens(helper_t *h) {
    const world_t *w = h->world;
    unsigned char value[LARGE];
    make_value(value, w, BENS);
    return ferry_cell_put(cell, value, w->size, NULL);
}

static int get_it(helper_t *h) {
    world_t *w = h->world;
    unsigned char value[LARGE];
    size_t len = 0;
    int answer = ferry_cell_get(cell, value, sizeof value, &len, &w->got_version);
    w->got = number_of(value, len, w);
    return answer;
}

static int await_newer(helper_t *h) {
    const world_t *w = h->world;
    return ferry_cell_wait(cell, w->version, PATIENCE);
}

static int watch_it(helper_t *h) {
    const world_t *w = h->world;
    uint64_t seen[CELLS] = {w->version, 0};
    uint32_t changed[CELLS];
    return ferry_cell_watch(cell, seen, changed, CELLS, PATIENCE);
}

static int rearm_it(helper_t *h) {
    (void)h;
    return ferry_cell_rearm(cell);
}

static int poll_it(helper_t *h) {
    struct pollfd item = {.fd = ferry_cell_fd(cell), .events = POLLIN};
    (void)h;
    return poll(&item, 1, (int)(PATIENCE / MILLISECOND));
}

/* The victim's number is told by `arg`: it is forked when it is wanted. */
typedef struct victim {
    const run_t *run;
    uint64_t number;
} victim_t;

static void be_victim(void *arg) {
    const victim_t *v = arg;
    const world_t *w = v->run->world;
    unsigned char value[LARGE];
    make_value(value, w, v->number);
    open_in(open_node("test"));
    (void)ferry_cell_cas(cell, UINT64_MAX, value, w->size, NULL); /* what only the first call does is done */
    stepping_mark();
    if (v->run->trial->by_cas)
        check_is(ferry_cell_cas(cell, w->version, value, w->size, NULL), 0);
    else
        check_is(ferry_cell_put(cell, value, w->size, NULL), 0);
    stepping_mark();
}

/* ---- asking ---- */

static int tell(run_t *r, errand_t *errand) {
    return helper_do(&r->helpers[WITNESS], errand);
}

static void ask(run_t *r, unsigned who, errand_t *errand) {
    helper_ask(&r->helpers[who], errand);
    helper_await_sleep(&r->helpers[who]);
    r->asked[who] = true;
}

static int answer_of(run_t *r, unsigned who) {
    r->asked[who] = false;
    if (helper_answers(&r->helpers[who]))
        return r->helpers[who].answer;
    threads_print("a helper", r->helpers[who].pid);
    expect_failed(r, "nobody is left asleep", __FILE__, __LINE__);
}

/* ---- leading ---- */

/* A point to be killed at: an instruction of the library, or where it calls somebody or is returned to. */
static bool is_point(const run_t *r, pid_t pid, bool *inside) {
    bool is_inside = stepping_in_library(pid);
    bool point = is_inside || *inside || r->trial->everywhere;
    *inside = is_inside;
    return point;
}

/* So many points further, asleep or not. True: the call has returned before. `cue` comes at the point `cued`. */
static bool lead(run_t *r, pid_t pid, unsigned points, unsigned cued, void (*cue)(run_t *r)) {
    bool inside = false;
    for (unsigned passed = 0; passed < points;) {
        enum stopped at = stepping_on(pid, false, GLANCE);
        for (int64_t end = clock_ns() + PATIENCE; at == BLOCKED; at = stepping_await(pid, GLANCE))
            expect(r, clock_ns() < end);
        if (at == AT_MARK)
            return true;
        expect(r, at == AT_STEP);
        passed += is_point(r, pid, &inside);
        if (cue && passed == cued) {
            cue(r);
            cue = NULL;
        }
    }
    return false;
}

static void ben_wants_to_put(run_t *r) {
    ask(r, BEN, put_bens);
    r->slept = !helper_is_done(&r->helpers[BEN]);
}

/* Kills a victim so many points on. True: it had returned. */
static bool kill_at(run_t *r, uint64_t number, unsigned points) {
    victim_t v = {r, number};
    bool contended = r->trial->contended;
    pid_t pid = stepping_start(be_victim, &v);
    bool returned = lead(r, pid, points, r->turn_begins, contended ? ben_wants_to_put : NULL);
    stepping_kill(pid);
    return returned;
}

/* ---- before and after ---- */

static void arrange(run_t *r) {
    world_t *w = r->world;
    w->size = r->trial->size;
    w->number = OLD;
    check_is(tell(r, put_it), 0);
    check_is(tell(r, get_it), 0);
    check_is(w->got, OLD);
    w->version = w->got_version;
    if (!r->trial->awaited)
        return;
    check_is(tell(r, rearm_it), 0);
    ask(r, ANNA, await_newer);
    if (!r->trial->contended)
        ask(r, BEN, watch_it);
}

/* Whole, and what may be there; true: something newer than before is. */
static bool is_newer(run_t *r) {
    const world_t *w = r->world;
    expect(r, tell(r, get_it) == 0);
    uint64_t puts = w->got_version - w->version;
    switch (w->got) {
    case OLD:
        expect(r, puts == 0 && !r->returned && !r->trial->contended);
        return false;
    case VICTIMS:
        expect(r, puts == 1 && !(r->returned && r->trial->second_death) && !r->trial->contended);
        return true;
    case HEIRS:
        expect(r, r->trial->second_death && (puts == 1 || puts == 2));
        return true;
    case BENS:
        expect(r, r->trial->contended && (puts == 1 || puts == 2) && (puts == 2 || !r->returned));
        return true;
    default:
        expect_failed(r, "what is there is whole", __FILE__, __LINE__);
    }
}

static void all_who_wait_are_woken(run_t *r) {
    if (r->asked[ANNA])
        expect(r, answer_of(r, ANNA) == 0);
    if (r->asked[BEN])
        expect(r, answer_of(r, BEN) == 1);
    if (r->trial->awaited)
        expect(r, tell(r, poll_it) == 1);
}

static void others_can_put(run_t *r) {
    world_t *w = r->world;
    uint64_t before = w->got_version;
    w->number = LAST;
    expect(r, tell(r, put_it) == 0);
    expect(r, tell(r, get_it) == 0);
    expect(r, w->got == LAST && w->got_version == before + 1);
}

static void judge(run_t *r) {
    if (r->trial->contended && r->asked[BEN])
        expect(r, answer_of(r, BEN) == 0);
    bool newer = is_newer(r);
    if (newer)
        all_who_wait_are_woken(r);
    others_can_put(r);
    if (!newer)
        all_who_wait_are_woken(r);
}

/* ---- the hunt ---- */

static bool kill_and_judge(run_t *r, unsigned points) {
    const trial_t *t = r->trial;
    r->points = points;
    r->returned = false;
    arrange(r);
    if (t->second_death) {
        r->first_points = r->turn_begins + (unsigned)dice_below(&r->dice, r->put_ends - r->turn_begins);
        (void)kill_at(r, VICTIMS, r->first_points);
    }
    r->returned = kill_at(r, t->second_death ? HEIRS : VICTIMS, points);
    bool returned = r->returned;
    judge(r);
    return returned;
}

/* The turn begins where another one's put sleeps, and not before. */
static void find_the_turn(run_t *r) {
    static const trial_t plain = {.name = "the turn is looked for", .size = 24, .contended = true};
    r->trial = &plain;
    for (bool begun = false; !begun; r->turn_begins += !begun) {
        r->points = r->turn_begins;
        arrange(r);
        check(!kill_at(r, VICTIMS, r->points)); /* that far it has its turn */
        begun = r->slept;
        judge(r);
    }
}

static void expect_nothing_of_the_dead(const run_t *r, const holdings_t *before) {
    for (unsigned i = 0; i < HELPERS; i++)
        expect_holdings(r->helpers[i].pid, "a helper", &before[i]);
}

static bool has_met_all(void *arg) {
    const helper_t *h = arg;
    return holdings_of(h->pid).pidfds == HELPERS; /* its own is among them */
}

static void hunt(run_t *r, const trial_t *t, unsigned stride) {
    int64_t begin = clock_ns();
    unsigned points = t->contended ? r->turn_begins : 1, deaths = 1;
    r->trial = t;
    for (; !kill_and_judge(r, points); deaths++) {
        expect(r, points < POINTS_MAX);
        points += r->put_ends && points > 2 * r->put_ends ? SELDOM : stride;
    }
    r->put_ends = r->put_ends ? r->put_ends : points;
    printf("# %-58s %5u deaths, %5.1f ms each\n", t->name, deaths, (double)(clock_ns() - begin) / 1e6 / deaths);
    fflush(stdout);
}

static const trial_t trials[] = {
    {.name = "put, nobody waits", .size = 24}, /* shows where a put ends */
    {.name = "put, after one that died in his", .size = 24, .second_death = true},
    {.name = "put, another one wants to", .size = 24, .contended = true},
    {.name = "put, one waits, one watches, one polls", .size = 24, .awaited = true},
    {.name = "put, one waits, another one wants to put", .size = 24, .awaited = true, .contended = true},
    {.name = "cas, one waits, one watches, one polls", .size = 24, .by_cas = true, .awaited = true},
    {.name = "put, large", .size = LARGE, .everywhere = true},
};

static void killed_in_a_put(void) {
    holdings_t before[HELPERS];
    unsigned stride = fire_count("FERRY_FIRE_STRIDE", "instructions from one death to the next", 10, 10);
    world_t *world = share(sizeof *world);
    run_t r = {
        .world = world, .helpers = helpers_start(HELPERS, world), .dice = dice_new("first deaths"), .turn_begins = 1};
    for (unsigned i = 0; i < HELPERS; i++)
        check_is(helper_do(&r.helpers[i], open_it), 0);
    for (unsigned i = 0; i < HELPERS; i++) {
        await_that(has_met_all, &r.helpers[i], "the helpers do not meet");
        before[i] = holdings_at_rest(r.helpers[i].pid);
    }
    find_the_turn(&r);
    for (unsigned i = 0; i < sizeof trials / sizeof trials[0]; i++)
        hunt(&r, &trials[i], stride);
    expect_nothing_of_the_dead(&r, before);
    for (unsigned i = 0; i < HELPERS; i++)
        check_is(helper_do(&r.helpers[i], close_it), 0);
    helpers_end(r.helpers, HELPERS);
}

int main(int argc, char **argv) {
    const test_t tests[] = {TEST(killed_in_a_put)};
    return run_suite("cell-step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * step_heap.c - a process is killed at one instruction after the other of a call of a region's allocator; then at one
 * of the next one's, who repairs. The heap must be whole, and every block either free or referred to.
 */
#include "helpers.h"
#include "regions.h"
#include "stepping.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define PLACES 4
#define POINTS_MAX 20000u
/* From the call to "in hand", or from "handed out" to the return: points, and instructions where each of them is
 * one. */
#define EDGE 12u
#define EDGE_INSTRUCTIONS 80u

/* In the region. */
typedef struct table {
    ferry_ref_t places[PLACES];
    uint64_t filler; /* the blocks that fill the heap: a list */
} table_t;

#define NOTES_BYTES 24576u /* the allocator's notes stand in the region's first bytes */
#define SELDOM 70u         /* instructions from one death to the next, where nothing there changes */

typedef struct marks {
    atomic_ullong base; /* where the victim has the region */
} marks_t;

/* The victim's: a reference that the heap cannot see. */
static ferry_ref_t private_ref;
static ferry_region_t *region;
static marks_t *marks;

typedef struct trial {
    const char *name;
    void (*prepare)(table_t *t);
    void (*act)(table_t *t);
    unsigned stride; /* instructions from one death to the next, where nothing in the notes changes */
    bool grows;      /* in a region that is nearly full, and may become larger */
    /* The program has the only reference: before the call, and when it is handed out. */
    bool had_it, gets_it;
} trial_t;

/* ---- what the victim does ---- */

static void nothing(table_t *t) {
    (void)t;
}

static void have_blocks(table_t *t) {
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_region_alloc(region, 100, &t->places[i]), 0);
}

/* So that it cannot grow where it stands. */
static void have_neighbours(table_t *t) {
    have_blocks(t);
    check_is(ferry_region_free(region, &t->places[0]), 0);
}

static void have_large_blocks(table_t *t) {
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_region_alloc(region, 30000, &t->places[i]), 0);
}

static void have_a_private_block(table_t *t) {
    have_blocks(t);
    check_is(ferry_region_alloc(region, 100, &private_ref), 0);
}

/* Not so large that copying it, step by step, takes long. */
static void have_a_private_block_that_must_move(table_t *t) {
    check_is(ferry_region_alloc(region, 1000, &private_ref), 0);
    check_is(ferry_region_alloc(region, 1000, &t->places[0]), 0);
}

static void have_a_large_private_block(table_t *t) {
    check_is(ferry_region_alloc(region, 200000, &private_ref), 0);
    check_is(ferry_region_alloc(region, 1000, &t->places[0]), 0);
}

static void fill_it(table_t *t) {
    ferry_ref_t ref = 0;
    while (info_of_region(region).largest_free > 8192) {
        check_is(ferry_region_alloc(region, 4000, &ref), 0);
        *(ferry_ref_t *)ferry_region_at(region, ref) = t->filler;
        t->filler = ref;
    }
}

static void alloc_small(table_t *t) {
    check_is(ferry_region_alloc(region, 100, &t->places[3]), 0);
}
static void alloc_large(table_t *t) {
    check_is(ferry_region_alloc(region, 20000, &t->places[3]), 0);
}
static void alloc_private(table_t *t) {
    (void)t;
    check_is(ferry_region_alloc(region, 100, &private_ref), 0);
}
static void free_small(table_t *t) {
    check_is(ferry_region_free(region, &t->places[1]), 0);
}
static void free_private(table_t *t) {
    (void)t;
    check_is(ferry_region_free(region, &private_ref), 0);
}
static void grow_in_place(table_t *t) {
    check_is(ferry_region_resize(region, &t->places[2], 50000), 0);
}
static void shrink_in_place(table_t *t) {
    check_is(ferry_region_resize(region, &t->places[1], 64), 0);
}
static void grow_and_move(table_t *t) {
    check_is(ferry_region_resize(region, &t->places[1], 5000), 0);
}
static void grow_private(table_t *t) {
    (void)t;
    check_is(ferry_region_resize(region, &private_ref, 60000), 0);
}

static const trial_t trials[] = {
    {"alloc, small", have_neighbours, alloc_small, SELDOM, false, false, false},
    {"alloc, large", nothing, alloc_large, 2 * SELDOM, false, false, false},
    {"alloc, private", have_blocks, alloc_private, SELDOM, false, false, true},
    {"alloc, and the region grows", fill_it, alloc_large, 1000, true, false, false},
    {"free, small", have_blocks, free_small, SELDOM, false, false, false},
    {"free, large, between free ones", have_large_blocks, free_small, SELDOM, false, false, false},
    {"free, private", have_a_private_block, free_private, SELDOM, false, true, false},
    {"free, private, large", have_a_large_private_block, free_private, SELDOM, false, true, false},
    {"resize, larger, in place", have_large_blocks, grow_in_place, SELDOM, false, false, false},
    {"resize, smaller", have_large_blocks, shrink_in_place, SELDOM, false, false, false},
    {"resize, larger, elsewhere", have_neighbours, grow_and_move, SELDOM, false, false, false},
    {"resize, private, elsewhere", have_a_private_block_that_must_move, grow_private, SELDOM, false, true, true},
};

static ferry_region_t *open_it(ferry_t *node, bool grows) {
    ferry_region_options_t options = {.type_size = sizeof(table_t), .limit = grows ? 4 * MIB : 512 * KIB};
    return open_region(node, "heap", 512 * KIB, &options);
}

static void be_victim(void *arg) {
    const trial_t *trial = arg;
    region = open_it(open_node("test"), trial->grows);
    table_t *t = ferry_region_root(region);
    trial->prepare(t);
    atomic_store(&marks->base, (uintptr_t)t - ferry_region_ref(region, t));
    stepping_mark();
    trial->act(t);
    stepping_mark();
}

/* Comes next, repairs, and is killed in that. */
static void be_second(void *arg) {
    const trial_t *trial = arg;
    region = open_it(open_node("test"), trial->grows);
    table_t *t = ferry_region_root(region);
    atomic_store(&marks->base, (uintptr_t)t - ferry_region_ref(region, t));
    stepping_mark();
    check(ferry_region_check(region) >= 0);
    stepping_mark();
}

/* ---- the one who judges ---- */

static const trial_t *current; /* the helper's: it is forked before, and told by its world */

typedef struct world {
    unsigned trial;
    int64_t expected;
} world_t;

static int hold(helper_t *h) {
    const world_t *w = h->world;
    current = &trials[w->trial];
    region = open_it(h->node, current->grows);
    return 0;
}

static int let_go(helper_t *h) {
    (void)h;
    return ferry_region_close(region);
}

static int64_t referred(void) {
    const table_t *t = ferry_region_root(region);
    int64_t blocks = 1;
    for (unsigned i = 0; i < PLACES; i++)
        blocks += t->places[i] != 0;
    for (ferry_ref_t ref = t->filler; ref; ref = *(ferry_ref_t *)ferry_region_at(region, ref))
        blocks++;
    return blocks;
}

/* Blocks that nobody refers to; the steward may hear of the death a little later. */
static int count_lost(helper_t *h) {
    int64_t end = clock_ns() + PATIENCE;
    const world_t *w = h->world;
    int64_t lost;
    for (;;) {
        int64_t blocks = ferry_region_check(region);
        if (blocks < 0) {
            return (int)blocks;
        }
        lost = blocks - referred();
        if (lost == 0 || clock_ns() > end || (lost == w->expected && clock_ns() > end - PATIENCE + 20 * MILLISECOND))
            return (int)lost;
        nap(MILLISECOND / 20);
    }
}

static int use_it(helper_t *h) {
    ferry_ref_t ref = 0;
    (void)h;
    table_t *t = ferry_region_root(region);
    for (uint64_t size = 16; size <= 30000; size = size * 3 + 16) {
        check_is(ferry_region_alloc(region, size, &ref), 0);
        fill(ferry_region_at(region, ref), size, size);
        check_is(ferry_region_resize(region, &ref, size + 100), 0);
        check(filled(ferry_region_at(region, ref), size, size));
        check_is(ferry_region_free(region, &ref), 0);
    }
    for (unsigned i = 0; i < PLACES; i++)
        check_is(ferry_region_free(region, &t->places[i]), 0);
    while (t->filler) {
        ferry_ref_t block = t->filler;
        t->filler = *(ferry_ref_t *)ferry_region_at(region, block);
        check_is(ferry_region_free(region, &block), 0);
    }
    return (int)ferry_region_check(region);
}

/* ---- leading ---- */

static bool notes_have_changed(pid_t pid) {
    static unsigned char before[NOTES_BYTES], now[NOTES_BYTES];
    struct iovec here = {now, sizeof now}, there = {(void *)(uintptr_t)atomic_load(&marks->base), sizeof now};
    check_is(process_vm_readv(pid, &here, 1, &there, 1, 0), (int64_t)sizeof now);
    bool changed = memcmp(before, now, sizeof now) != 0;
    memcpy(before, now, sizeof now);
    return changed;
}

/* How far the victims of a trial have come: each one goes on where the one before it died. */
typedef struct life {
    way_t way;
    unsigned passed; /* points */
    unsigned since;  /* the last one: instructions of the library */
} life_t;

static void begin_life(life_t *life) {
    life->way.steps = life->passed = life->since = 0;
}

/*
 * So many points further: an instruction that changed the allocator's notes, each change of a block being noted there
 * before; or the last such point is `stride` instructions of the library ago. True: the call has returned before.
 */
static bool lead(pid_t pid, life_t *life, unsigned points, unsigned stride) {
    (void)notes_have_changed(pid);
    while (life->passed < points) {
        if (stepping_on(pid, false, PATIENCE) == AT_MARK)
            return true;
        way_note(&life->way, pid);
        life->since += stepping_in_library(pid);
        if (notes_have_changed(pid) || life->since >= stride) {
            life->passed++;
            life->since = 0;
        }
    }
    return false;
}

static bool goes_the_known_way(pid_t pid, life_t *life) {
    return stepping_along(pid, &life->way, 0, life->way.steps, PATIENCE) == AT_STEP &&
           way_is_kept(&life->way, pid, life->way.steps);
}

static void kill_the_next_one(const trial_t *trial, unsigned points) {
    static life_t its;
    pid_t second = stepping_start(be_second, (void *)(uintptr_t)trial);
    begin_life(&its);
    (void)lead(second, &its, points, SELDOM);
    stepping_kill(second);
}

/* ---- the hunt ---- */

typedef struct hunt {
    const trial_t *trial;
    helper_t *judge;
    world_t *world;
    dice_t dice;
    unsigned lost; /* points at which the block was the program's: still, or already */
    unsigned deaths;
    unsigned stride;
    life_t life;
    bool strayed; /* the victim took another way than those before it */
} hunt_t;

/* What the program alone refers to dies with it, which is its own loss; within the call it is in the heap's hand. */
static bool may_lose(hunt_t *h, bool through) {
    const trial_t *t = h->trial;
    if (h->strayed)
        return t->had_it || t->gets_it;
    if (through)
        return t->gets_it;
    unsigned edge = h->stride ? EDGE + EDGE_INSTRUCTIONS / h->stride : EDGE;
    h->lost++;
    return (t->had_it && t->gets_it) || ((t->had_it || t->gets_it) && h->lost <= edge);
}

/* The victim is led to this point. One that strays dies where it is, and another one is led there, by steps. */
static bool kill_the_first_one(hunt_t *h, unsigned points) {
    bool through = false;
    pid_t victim = stepping_start(be_victim, (void *)(uintptr_t)h->trial);
    h->strayed = !goes_the_known_way(victim, &h->life);
    if (h->strayed)
        begin_life(&h->life);
    else
        through = lead(victim, &h->life, points, h->stride ? h->stride : 2 * h->trial->stride);
    stepping_kill(victim);
    return through;
}

static bool kill_at(hunt_t *h, unsigned points) {
    check_is(helper_do(h->judge, hold), 0);
    bool through = kill_the_first_one(h, points);
    h->deaths++;
    if (points % 5 == 0) {
        kill_the_next_one(h->trial, 1 + (unsigned)dice_below(&h->dice, 60));
        h->deaths++;
    }
    h->world->expected = h->trial->had_it || h->trial->gets_it;
    int lost = helper_do(h->judge, count_lost);
    if (lost != 0 && (lost != 1 || !may_lose(h, through))) {
        fprintf(stderr, "# %s, killed at point %u%s: %d (%s)\n", h->trial->name, points,
                through ? ", after the call" : "", lost, h->judge->said);
        check_failed("the heap is whole, and no block is lost", __FILE__, __LINE__);
    }
    check_is(helper_do(h->judge, use_it), 1 + lost);
    check_is(helper_do(h->judge, let_go), 0);
    return through;
}

static void killed_in_the_allocator(void) {
    marks = share(sizeof *marks);
    world_t *world = share(sizeof *world);
    hunt_t h = {.world = world,
                .judge = helpers_start(1, world),
                .dice = dice_new("second deaths"),
                .stride =
                    fire_count("FERRY_FIRE_STRIDE",
                               "instructions at most from one death to the next (0: twice what the trial says)", 0, 0)};
    for (unsigned i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        int64_t begin = clock_ns();
        h.trial = &trials[i];
        h.deaths = h.lost = 0;
        world->trial = i;
        begin_life(&h.life);
        for (unsigned points = 1; !kill_at(&h, points); points += h.strayed ? 0 : trials[i].grows ? 29 : 1)
            check(points < POINTS_MAX && h.deaths < POINTS_MAX);
        printf("# %-34s %5u deaths, %5.1f ms each\n", trials[i].name, h.deaths,
               (double)(clock_ns() - begin) / 1e6 / h.deaths);
        fflush(stdout);
    }
    helpers_end(h.judge, 1);
}

int main(int argc, char **argv) {
    const test_t tests[] = {TEST(killed_in_the_allocator)};
    return run_suite("heap-step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

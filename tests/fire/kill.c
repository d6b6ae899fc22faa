/* SPDX-License-Identifier: MIT
 *
 * kill.c - SIGKILL at random moments, some hundred times, while others work on.
 *
 * After each death: every survivor makes progress; the victim's notes have arrived; its names are gone from the
 * directory, if anybody had met it. In the end: every job that the surviving sender could place was received, none
 * twice as if for the first time, none after it had been released; the survivors hold the descriptors and threads they
 * held before the first death, and no memory of anybody who is dead; after they have closed, the directory is empty.
 */
#include "conductor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* However slow the machine. */
#define LIMIT (45 * SECOND)

typedef struct victim {
    pid_t pid;
    int64_t started;
    bool early; /* to be killed while it is still opening, perhaps */
} victim_t;

typedef struct run {
    conductor_t c;
    dice_t dice;
    victim_t victims[SLOTS];
    unsigned started;
    unsigned histogram[OPS];
} run_t;

/* ---- victims ---- */

typedef struct victim_arg {
    world_t *w;
    slot_t *v;
} victim_arg_t;

static void run_victim(void *arg) {
    victim_arg_t *a = arg;
    victim_run(a->w, a->v);
}

static void start_victim(run_t *r, unsigned i) {
    static const enum role roles[] = {SENDER,    SENDER,     RECEIVER,   RECEIVER, PUBLISHER,
                                      PUBLISHER, SUBSCRIBER, SUBSCRIBER, OPENER,   NOTE_TAKER};
    slot_t *v = &r->c.w->slots[i];
    memset(v, 0, sizeof *v);
    v->who = ++r->started;
    v->role = roles[dice_below(&r->dice, sizeof roles / sizeof roles[0])];
    v->seed = dice_roll(&r->dice);
    victim_arg_t arg = {r->c.w, v};
    r->victims[i] = (victim_t){child_start(run_victim, &arg), clock_ns(), dice_below(&r->dice, 4) == 0};
}

/* Lets the victim come to its work, or not even that. */
static void wait_for_moment(run_t *r, unsigned i) {
    const slot_t *v = &r->c.w->slots[i];
    const victim_t *victim = &r->victims[i];
    int64_t range = (victim->early ? 3 : 5) * MILLISECOND * (FIRE_SLOW ? 4 : 1);
    int64_t delay = (int64_t)dice_below(&r->dice, (uint64_t)range);
    if (!victim->early)
        while (atomic_load(&v->calls) < 3 && clock_ns() - victim->started < SECOND)
            nap(MILLISECOND / 8);
    nap(delay);
}

static void kill_victim(run_t *r, unsigned i) {
    int status;
    check(kill(r->victims[i].pid, SIGKILL) == 0);
    check(waitpid(r->victims[i].pid, &status, 0) == r->victims[i].pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "# victim %u (role %d) had ended by itself, status %#x\n", r->c.w->slots[i].who,
                (int)r->c.w->slots[i].role, (unsigned)status);
        exit(1);
    }
    r->histogram[atomic_load(&r->c.w->slots[i].op)]++;
    r->c.deaths++;
}

static void print_histogram(const run_t *r) {
    unsigned inside = r->c.deaths - r->histogram[IN_PROGRAM];
    printf("# killed in, and the longest of these calls that returned:\n");
    for (unsigned i = 0; i < OPS; i++)
        printf("# %6u  %-26s %9.1f ms\n", r->histogram[i], op_names[i], (double)atomic_load(&r->c.w->slowest[i]) / 1e6);
    printf("# %u of %u deaths inside a call of Ferry's; slowest recovery %.1f ms\n", inside, r->c.deaths,
           (double)r->c.slowest / 1e6);
    fflush(stdout);
    check(2 * inside >= r->c.deaths);
}

/* One round: kills one of the victims, now and then both at once, and puts others in their place. */
static void one_round(run_t *r, unsigned i) {
    bool both = dice_below(&r->dice, 8) == 0;
    wait_for_moment(r, i);
    kill_victim(r, i);
    if (both)
        kill_victim(r, 1 - i); /* perhaps while it helps to repair what the first one left */
    conductor_expect_progress(&r->c);
    conductor_expect_no_traces(&r->c, &r->c.w->slots[i]);
    start_victim(r, i);
    if (both) {
        conductor_expect_no_traces(&r->c, &r->c.w->slots[1 - i]);
        start_victim(r, 1 - i);
    }
}

static void killed_at_any_moment_the_others_go_on_and_nothing_is_left(void) {
    static run_t r;
    unsigned kills = fire_count("FERRY_FIRE_KILLS", "kills", 500, 120);
    check(kills > 0 && kills < SENDERS_MAX - SLOTS - 2);
    r.dice = dice_new("the moments and the roles");
    conductor_begin(&r.c, 2 * MILLISECOND);
    for (unsigned i = 0; i < SLOTS; i++)
        start_victim(&r, i);
    int64_t end = clock_ns() + LIMIT;
    for (unsigned round = 0; r.c.deaths < kills && clock_ns() < end; round++)
        one_round(&r, round % SLOTS);
    if (r.c.deaths < kills)
        printf("# this machine managed %u kills in the time there is\n", r.c.deaths);
    check(r.c.deaths >= kills / 8);
    for (unsigned i = 0; i < SLOTS; i++) {
        kill_victim(&r, i);
        conductor_expect_progress(&r.c);
        conductor_expect_no_traces(&r.c, &r.c.w->slots[i]);
    }
    conductor_end(&r.c);
    print_histogram(&r);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_at_any_moment_the_others_go_on_and_nothing_is_left),
    };
    return run_suite("kill", tests, sizeof tests / sizeof tests[0], argc, argv);
}

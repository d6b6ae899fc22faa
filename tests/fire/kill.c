/* SPDX-License-Identifier: MIT
 *
 * kill.c - SIGKILL at random moments, two thousand times, while others work on.
 *
 * After each round of deaths: every survivor makes progress; the victims' notes have arrived; their names are gone from
 * the directory, if anybody had met them. In the end: every job that the surviving sender could place was received,
 * none twice as if for the first time, none after it had been released; the survivors hold the descriptors and threads
 * they held before the first death, and no memory of anybody who is dead; after they have closed, the directory is
 * empty.
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
    bool chosen;
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
    r->victims[i] = (victim_t){.started = clock_ns(), .early = dice_below(&r->dice, 4) == 0};
    r->victims[i].pid = child_start(run_victim, &arg);
}

/* Lets the victim come to its work, or not even that. */
static void wait_for_moment(run_t *r, unsigned i) {
    const slot_t *v = &r->c.w->slots[i];
    const victim_t *victim = &r->victims[i];
    int64_t range = (victim->early ? 3 : 2) * MILLISECOND * (FIRE_SLOW ? 4 : 1);
    int64_t delay = (int64_t)dice_below(&r->dice, (uint64_t)range);
    if (victim->early) {
        delay -= clock_ns() - victim->started;
    } else {
        while (atomic_load(&v->calls) < 3 && clock_ns() - victim->started < SECOND)
            nap(MILLISECOND / 8);
    }
    if (delay > 0)
        nap(delay);
}

static void kill_victim(run_t *r, unsigned i) {
    check(kill(r->victims[i].pid, SIGKILL) == 0);
}

/* The kernel needs some 30 ms to end a process that watches a directory: so others are killed meanwhile. */
static void collect_victim(run_t *r, unsigned i) {
    int status;
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

/* Kills all that are chosen, early ones first, each at its moment; perhaps while it repairs what another one left. */
static void kill_chosen(run_t *r) {
    for (unsigned late = 0; late < 2; late++)
        for (unsigned i = 0; i < SLOTS; i++)
            if (r->victims[i].chosen && r->victims[i].early == !late) {
                wait_for_moment(r, i);
                kill_victim(r, i);
            }
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->victims[i].chosen)
            collect_victim(r, i);
    conductor_expect_progress(&r->c);
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->victims[i].chosen)
            conductor_expect_no_traces(&r->c, &r->c.w->slots[i]);
}

/* One round: kills some of the victims, which are new or have seen others die, and puts others in their place. */
static void one_round(run_t *r) {
    for (unsigned i = 0; i < SLOTS; i++)
        r->victims[i].chosen = dice_below(&r->dice, 8) != 0;
    kill_chosen(r);
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->victims[i].chosen)
            start_victim(r, i);
}

static void killed_at_any_moment_the_others_go_on_and_nothing_is_left(void) {
    static run_t r;
    unsigned kills = fire_count("FERRY_FIRE_KILLS", "kills", 1500, 120);
    check(kills > 0 && kills < SENDERS_MAX - SLOTS - 2);
    r.dice = dice_new("the moments and the roles");
    conductor_begin(&r.c, 2 * MILLISECOND);
    for (unsigned i = 0; i < SLOTS; i++)
        start_victim(&r, i);
    int64_t end = clock_ns() + LIMIT;
    while (r.c.deaths < kills && clock_ns() < end)
        one_round(&r);
    if (r.c.deaths < kills)
        printf("# this machine managed %u kills in the time there is\n", r.c.deaths);
    check(r.c.deaths >= kills / 8);
    for (unsigned i = 0; i < SLOTS; i++)
        r.victims[i].chosen = true;
    kill_chosen(&r);
    conductor_end(&r.c);
    print_histogram(&r);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_at_any_moment_the_others_go_on_and_nothing_is_left),
    };
    return run_suite("kill", tests, sizeof tests / sizeof tests[0], argc, argv);
}

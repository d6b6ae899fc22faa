/* SPDX-License-Identifier: MIT
 *
 * lock_kill.c - SIGKILL at random moments, some thousand times, to users of all kinds of synchronization objects.
 *
 * After each death every survivor makes progress; what a lock guards is torn only where the death is told; no token
 * comes twice; no unit of an owned semaphore is lost or doubled, and of a plain one those only that the dead had. In
 * the end the survivors hold the descriptors and threads that they held before the first death.
 */
#include "lock_kill.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT (100 * SECOND)       /* however slow the machine */
#define LONGEST_WAIT (20 * SECOND) /* of a survivor: machines are known to stand still for seconds */

typedef struct run {
    world_t *w;
    dice_t dice;
    pid_t survivors[SURVIVORS];
    holdings_t before[SURVIVORS];
    pid_t victims[VICTIMS];
    int64_t started[VICTIMS];
    unsigned deaths;
    unsigned holding; /* of these, while they held something */
    unsigned units_lost, units_perhaps_lost;
    unsigned histogram[OPS];
    int64_t slowest; /* from a death until every survivor had made progress */
} run_t;

/* ---- survivors ---- */

typedef struct survivor_arg {
    world_t *w;
    unsigned who;
} survivor_arg_t;

static void run_survivor(void *arg) {
    const survivor_arg_t *a = arg;
    survivor_run(a->w, a->who);
}

static void expect_survivors_alive(const run_t *r) {
    for (unsigned i = 0; i < SURVIVORS; i++) {
        int status;
        if (waitpid(r->survivors[i], &status, WNOHANG) == 0)
            continue;
        fprintf(stderr, "# survivor %u has ended (status %#x) after %u deaths\n", i, (unsigned)status, r->deaths);
        exit(1);
    }
}

static void print_survivors(const run_t *r) {
    for (unsigned i = 0; i < SURVIVORS; i++) {
        fprintf(stderr, "# survivor %u has come to %llu and is in: %s\n", i,
                (unsigned long long)atomic_load(&r->w->progress[i]), op_name(atomic_load(&r->w->survivors[i].op)));
        threads_print("the survivor", r->survivors[i]);
    }
}

static void expect_progress(run_t *r) {
    uint64_t before[SURVIVORS];
    int64_t begin = clock_ns();
    for (unsigned i = 0; i < SURVIVORS; i++)
        before[i] = atomic_load(&r->w->progress[i]);
    for (unsigned i = 0; i < SURVIVORS; i++)
        while (atomic_load(&r->w->progress[i]) == before[i]) {
            expect_survivors_alive(r);
            if (clock_ns() - begin > PATIENCE) {
                fprintf(stderr, "# survivor %u makes no progress after %u deaths\n", i, r->deaths);
                print_survivors(r);
                exit(1);
            }
            nap(MILLISECOND / 8);
        }
    int64_t took = clock_ns() - begin;
    r->slowest = took > r->slowest ? took : r->slowest;
}

static bool has_met_all(void *arg) {
    return holdings_of(*(pid_t *)arg).pidfds == SURVIVORS; /* its own is among them */
}

static void begin(run_t *r) {
    r->w = share(sizeof *r->w);
    r->dice = dice_new("the moments");
    for (unsigned i = 0; i < SURVIVORS; i++) {
        survivor_arg_t arg = {r->w, i};
        r->w->survivors[i].seed = dice_roll(&r->dice);
        r->survivors[i] = child_start(run_survivor, &arg);
        await(&r->w->ready, i + 1);
    }
    for (unsigned i = 0; i < SURVIVORS; i++)
        await_that(has_met_all, &r->survivors[i], "the survivors do not meet");
    rest_begin(&r->w->rest, SURVIVORS);
    for (unsigned i = 0; i < SURVIVORS; i++)
        r->before[i] = holdings_at_rest(r->survivors[i]);
    rest_end(&r->w->rest);
    expect_progress(r);
}

/* ---- victims ---- */

typedef struct victim_arg {
    world_t *w;
    user_marks_t *marks;
} victim_arg_t;

static void run_victim(void *arg) {
    const victim_arg_t *a = arg;
    victim_run(a->w, a->marks);
}

static void start_victim(run_t *r, unsigned i, bool holds_on) {
    user_marks_t *marks = &r->w->victims[i];
    memset(marks, 0, sizeof *marks);
    marks->seed = dice_roll(&r->dice);
    marks->holds_on = holds_on;
    victim_arg_t arg = {r->w, marks};
    r->victims[i] = child_start(run_victim, &arg);
    r->started[i] = clock_ns();
}

/* Lets the victim come to its work, or not even that. */
static void wait_for_moment(run_t *r, unsigned i) {
    bool early = dice_below(&r->dice, 6) == 0;
    while (!early && atomic_load(&r->w->victims[i].calls) < 20 && clock_ns() - r->started[i] < SECOND)
        nap(MILLISECOND / 8);
    nap((int64_t)dice_below(&r->dice, (early ? 8 : 3) * MILLISECOND * (FIRE_SLOW ? 4 : 1)));
}

/* It is dead: what it had been doing. */
static void bury(run_t *r, unsigned i) {
    const user_marks_t *marks = &r->w->victims[i];
    int status;
    check(waitpid(r->victims[i], &status, 0) == r->victims[i]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "# a victim had ended by itself, status %#x\n", (unsigned)status);
        exit(1);
    }
    r->histogram[atomic_load(&marks->op)]++;
    r->holding += atomic_load(&marks->holds) > 0;
    r->units_lost += atomic_load(&marks->has_unit) == 2;
    r->units_perhaps_lost += atomic_load(&marks->has_unit) == 1;
    r->deaths++;
}

static void expect_no_name(const run_t *r, unsigned i) {
    uint64_t node = atomic_load(&r->w->victims[i].met);
    int64_t end = clock_ns() + PATIENCE;
    char name[20];
    name_of_node(node, name);
    while (node && names_with(name) > 0) {
        check(clock_ns() < end); /* else names of the dead stay in the directory */
        nap(MILLISECOND / 8);
    }
}

/* Kills one or several within an instant: perhaps while one helps to repair what another one left. */
static void one_round(run_t *r, unsigned first) {
    unsigned count = 1 + (unsigned)dice_below(&r->dice, VICTIMS);
    wait_for_moment(r, first);
    for (unsigned i = 0; i < count; i++) {
        check(kill(r->victims[(first + i) % VICTIMS], SIGKILL) == 0);
        nap((int64_t)dice_below(&r->dice, MILLISECOND / 4));
    }
    for (unsigned i = 0; i < count; i++)
        bury(r, (first + i) % VICTIMS);
    expect_progress(r);
    for (unsigned i = 0; i < count; i++) {
        expect_no_name(r, (first + i) % VICTIMS);
        start_victim(r, (first + i) % VICTIMS, false);
    }
}

static void kill_all(run_t *r) {
    for (unsigned i = 0; i < VICTIMS; i++) {
        if (!r->victims[i])
            continue;
        check(kill(r->victims[i], SIGKILL) == 0);
        bury(r, i);
        expect_progress(r);
        expect_no_name(r, i);
    }
}

/* ---- the end ---- */

static void end(run_t *r) {
    kill_all(r);
    for (unsigned i = 0; i < SURVIVORS; i++)
        expect_holdings(r->survivors[i], "a survivor", &r->before[i]);
    atomic_store(&r->w->stage, LEAVE);
    for (unsigned i = SURVIVORS; i-- > 0;)
        child_join(r->survivors[i]);
    unsigned units = atomic_load(&r->w->units_left),
             most = PLAIN_UNITS + atomic_load(&r->w->units_added) - r->units_lost;
    printf("# plain units: %u left; %u to %u are as they should be\n", units, most - r->units_perhaps_lost, most);
    check(units <= most && units + r->units_perhaps_lost >= most);
    check_is(names_with(""), 0);
}

static void print_figures(const run_t *r) {
    printf("# killed in:\n");
    for (unsigned op = 0; op < OPS; op++)
        if (r->histogram[op] > 0)
            printf("# %6u  %s\n", r->histogram[op], op_name(op));
    unsigned inside = r->deaths - r->histogram[IN_PROGRAM];
    printf("# %u deaths, %u inside a call of Ferry's, %u with something held; slowest recovery %.1f ms\n", r->deaths,
           inside, r->holding, (double)r->slowest / 1e6);
    for (kind_t kind = 0; kind < KINDS; kind++)
        printf("# %-32s longest wait of a survivor %8.1f ms; %4u times told of a death\n",
               op_name(kind * VERBS + TAKING), (double)atomic_load(&r->w->slowest[kind]) / 1e6,
               atomic_load(&r->w->told[kind]));
    fflush(stdout);
    for (kind_t kind = 0; kind < KINDS; kind++)
        check(atomic_load(&r->w->slowest[kind]) < LONGEST_WAIT);
    check(atomic_load(&r->w->told[MUTEX]) + atomic_load(&r->w->told[WRITER]) > 0);
    check(3 * inside >= r->deaths);
}

/* ---- the tests ---- */

static void killed_at_any_moment_the_others_go_on(void) {
    static run_t r;
    unsigned kills = fire_count("FERRY_FIRE_KILLS", "kills", 350, 60);
    int64_t latest = clock_ns() + LIMIT;
    begin(&r);
    for (unsigned i = 0; i < VICTIMS; i++)
        start_victim(&r, i, false);
    for (unsigned round = 0; r.deaths < kills && clock_ns() < latest; round++)
        one_round(&r, round % VICTIMS);
    if (r.deaths < kills)
        printf("# this machine managed %u kills in the time there is\n", r.deaths);
    check(r.deaths >= kills / 8);
    end(&r);
    print_figures(&r);
}

#if !UNDER_SANITIZER /* which has threads and locks of its own that must not stand still */

typedef void each_steward_fn(pid_t tid);

static void freeze(pid_t tid) {
    int status;
    check(ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0);
    check(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status));
}

static void thaw(pid_t tid) {
    check(ptrace(PTRACE_DETACH, tid, NULL, NULL) == 0);
}

static void with_stewards_of(pid_t pid, each_steward_fn *act) {
    char path[64], name[32];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    check(dir != NULL);
    for (struct dirent *item; (item = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", (int)pid, item->d_name);
        FILE *file = item->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        if (fgets(name, sizeof name, file) && strcmp(name, "ferry-steward\n") == 0) {
            act(atoi(item->d_name));
            count++;
        }
        fclose(file);
    }
    closedir(dir);
    check_is(count, 1);
}

static uint64_t progress_of_all(const run_t *r) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < SURVIVORS; i++)
        sum += atomic_load(&r->w->progress[i]);
    return sum;
}

/* Whether these tests would notice if nobody recovered: without stewards nobody does, and it is seen at once. */
static void while_the_stewards_stand_still_a_death_stops_everybody(void) {
    static run_t r;
    begin(&r);
    start_victim(&r, 0, true);
    await(&r.w->victims[0].holds, 1);
    for (unsigned i = 0; i < SURVIVORS; i++)
        with_stewards_of(r.survivors[i], freeze);
    check(kill(r.victims[0], SIGKILL) == 0);
    bury(&r, 0);
    r.victims[0] = 0;
    nap(SECOND);
    uint64_t before = progress_of_all(&r);
    nap(SECOND / 2);
    check_is(progress_of_all(&r), before);
    for (unsigned i = 0; i < SURVIVORS; i++)
        with_stewards_of(r.survivors[i], thaw);
    expect_progress(&r);
    check_is(atomic_load(&r.w->told[MUTEX]), 1);
    end(&r);
}

#endif

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_at_any_moment_the_others_go_on),
#if !UNDER_SANITIZER
        TEST(while_the_stewards_stand_still_a_death_stops_everybody),
#endif
    };
    return run_suite("lock-kill", tests, sizeof tests / sizeof tests[0], argc, argv);
}

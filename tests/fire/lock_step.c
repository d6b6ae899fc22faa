/* SPDX-License-Identifier: MIT
 *
 * lock_step.c - SIGKILL at controlled points of the calls on synchronization objects: wherever the object has changed
 * or the library has called somebody, and in short calls after every single instruction.
 *
 * Three helpers live through all of it. Anna and Ben hold the object or sleep in it as the trial says; the witness only
 * looks, and sets right afterwards what a death may change (a unit of a plain semaphore that is gone). Nobody looks for
 * deadlocks, since a look would wake a sleeper that was forgotten.
 */
#include "lock_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stepping.h"

#define GLANCE (MILLISECOND / 20)
#define DETOUR (4 * MILLISECOND) /* who sleeps so long where none has slept is on another way */
#define POINTS_MAX 5000u
#define STRAYED_MAX 1000u
#define OBJECT_MAX 16384
#define LIBRARY_MAX (8 << 20) /* bytes */

/* ---- the victim ---- */

object_t victim_object;
static marks_t *victim_marks;

void victim_comes_to(enum stage stage) {
    atomic_store(&victim_marks->stage, stage);
}

void victim_answers(int answer) {
    atomic_store(&victim_marks->answer, answer);
}

static object_t open_for_trial(ferry_t *node, kind_t kind) {
    ferry_sync_options_t options = {.wait = FERRY_WAIT_BLOCK, .deadlock_after = 10 * PATIENCE};
    object_t object = {.kind = kind};
    if (kind != BARRIER)
        return object_open(node, kind, "it", &options);
    check_is(ferry_barrier_open(node, "it", 3, &options, &object.barrier), 0);
    return object;
}

static void be_victim(void *arg) {
    const run_t *r = arg;
    victim_marks = r->marks;
    ferry_t *node = open_node("test");
    atomic_store(&r->marks->node, ferry_node_id(node));
    victim_object = open_for_trial(node, r->trial->kind);
    if (r->trial->prepare)
        r->trial->prepare();
    stepping_mark();
    victim_comes_to(INSIDE);
    r->trial->act();
    victim_comes_to(RETURNED);
    pause(); /* to be killed in any case */
}

/* ---- errands ---- */

int open_it(helper_t *h) {
    h->object = open_for_trial(h->node, h->kind);
    return 0;
}

int close_it(helper_t *h) {
    object_close(&h->object);
    return 0;
}

int take_it(helper_t *h) {
    h->object.kind = h->kind;
    return object_take(&h->object, PATIENCE);
}

int give_it(helper_t *h) {
    h->object.kind = h->kind;
    return object_give(&h->object);
}

static void wake_words(uint64_t inode, bool own, const char *line, void *arg) {
    uintptr_t begin, end;
    (void)inode;
    (void)own;
    (void)arg;
    if (!strstr(line, "ferry-object") || sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) != 2)
        return;
    wake_for_nothing((void *)begin, end - begin); /* NOLINT: an address of this process */
}

int call_for_nothing(helper_t *h) {
    nap(2 * MILLISECOND);
    each_ferry_map(h->pid, wake_words, NULL);
    return 0;
}

void become_hungry(run_t *r) {
    check_is(helper_do(&r->helpers[WITNESS], call_for_nothing), 0);
    for (unsigned who = ANNA; who <= BEN; who++)
        if (r->asked[who])
            helper_await_sleep(&r->helpers[who]);
}

void ask(run_t *r, unsigned who, errand_t *errand) {
    check(!r->asked[who]);
    r->asked[who] = true;
    helper_ask(&r->helpers[who], errand);
}

int answer_of(run_t *r, unsigned who) {
    helper_t *h = &r->helpers[who];
    check(r->asked[who]);
    r->asked[who] = false;
    if (helper_answers(h))
        return h->answer;
    threads_print(who == ANNA ? "Anna" : "Ben", h->pid);
    expect_failed(r, "nobody is left asleep", __FILE__, __LINE__);
}

_Noreturn void expect_failed(const run_t *r, const char *text, const char *file, int line) {
    static const char *const stages[] = {"before the call", "in the call", "after the first call", "after the call"};
    fprintf(stderr, "# %s: killed at point %u, %s%s%s\n", r->trial->name, r->points, stages[r->stage],
            r->asleep ? ", asleep" : "", r->held ? ", holding it" : "");
    check_failed(text, file, line);
}

/* ---- leading ---- */

static bool has_come_to(const run_t *r, enum stage stage) {
    return atomic_load(&r->marks->stage) >= stage;
}

/* In its sleep the victim is left for good; or called for nothing after a while, so that it is hungry in the next one;
 * or gets its cue. Then it is awaited. */
static void sleep_over(run_t *r, bool last) {
    int64_t end = clock_ns() + PATIENCE;
    bool cued = false;
    do {
        if (!cued && sleeps_on_futex(r->victim)) {
            r->asleep = last;
            if (last)
                return;
            if (r->called)
                r->trial->cue(r);
            else
                check_is(helper_do(&r->helpers[WITNESS], call_for_nothing), 0);
            r->called = cued = true;
        }
        check(clock_ns() < end);
    } while (stepping_await(r->victim, GLANCE) == BLOCKED);
}

/* False: it slept, or does. */
static bool advance(run_t *r, bool last) {
    enum stopped at = stepping_on(r->victim, false, GLANCE);
    if (at == BLOCKED)
        sleep_over(r, last);
    else
        check(at == AT_STEP);
    return at != BLOCKED;
}

static void remember_memory(uint64_t inode, bool own, const char *line, void *arg) {
    run_t *r = arg;
    uintptr_t begin, end;
    (void)inode;
    (void)own;
    if (!strstr(line, "ferry-object") || sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) != 2)
        return;
    r->memory = (const void *)begin; /* NOLINT: an address of the victim's */
    r->size = end - begin;
}

/* Has anything changed in the object since the last look? */
static bool object_has_changed(const run_t *r) {
    static unsigned char before[OBJECT_MAX], now[OBJECT_MAX];
    check(r->memory && r->size <= sizeof now);
    struct iovec here = {now, r->size}, there = {(void *)(uintptr_t)r->memory, r->size};
    check_is(process_vm_readv(r->victim, &here, 1, &there, 1, 0), (int64_t)r->size);
    bool changed = memcmp(before, now, r->size) != 0;
    memcpy(before, now, r->size);
    return changed;
}

/* Has the victim not come to this instruction yet since others could see a difference? A loop that only looks (at the
 * slots of all readers) comes to the same ones a thousand times, and a death is the same one each time. */
static bool is_new(int64_t at, bool differs) {
    static unsigned char been[LIBRARY_MAX / 8];
    if (differs)
        memset(been, 0, sizeof been);
    if (at < 0)
        return false;
    check(at < LIBRARY_MAX);
    unsigned char bit = (unsigned char)(1 << at % 8);
    bool new = !(been[at / 8] & bit);
    been[at / 8] |= bit;
    return new;
}

/* How far the victims of a trial have come: each one goes on where the one before it died. */
#define SLEEPS_MAX 64
static struct {
    way_t way;
    unsigned sleeps[SLEEPS_MAX]; /* after so many steps of it */
    unsigned slept;
    unsigned passed; /* points */
    bool in_library;
    unsigned instructions; /* of the library's, new ones, since the last point */
} life;

static void begin_life(void) {
    life.way.steps = life.slept = life.passed = life.instructions = 0;
    life.in_library = false;
}

/* A point to be killed at: the object has changed; the library has called somebody, who has returned; or the last such
 * point was `stride` new instructions ago. Between these, only the victim's own memory changes, which dies with it. */
static bool is_point(run_t *r) {
    int64_t at = stepping_at(r->victim);
    bool in_library = at >= 0;
    bool crossed = in_library != life.in_library;
    bool changed = (in_library || crossed) && object_has_changed(r); /* else others have changed it */
    life.in_library = in_library;
    life.instructions += is_new(at, changed || crossed);
    bool point = changed || crossed || life.instructions >= r->stride;
    if (point)
        life.instructions = 0;
    return point;
}

/* To where the last one died, over the sleeps of that. False: it has taken another way. */
static bool go_the_known_way(run_t *r) {
    unsigned at = 0;
    for (unsigned i = 0; i < life.slept && life.sleeps[i] < life.way.steps; at = life.sleeps[i++] + 1) {
        if (stepping_along(r->victim, &life.way, at, life.sleeps[i], DETOUR) != AT_STEP)
            return false;
        (void)advance(r, false);
    }
    return stepping_along(r->victim, &life.way, at, life.way.steps, DETOUR) == AT_STEP &&
           way_is_kept(&life.way, r->victim, life.way.steps);
}

static void note_sleep(void) {
    if (life.slept > 0 && life.sleeps[life.slept - 1] == life.way.steps)
        return; /* the last one was left there */
    check(life.slept < SLEEPS_MAX);
    life.sleeps[life.slept++] = life.way.steps;
}

static void lead(run_t *r, unsigned points) {
    each_ferry_map(r->victim, remember_memory, r);
    r->strayed = !go_the_known_way(r);
    if (r->strayed)
        return;
    (void)object_has_changed(r);
    while (life.passed < points && !has_come_to(r, RETURNED)) {
        if (!advance(r, life.passed + 1 == points))
            note_sleep();
        if (r->asleep)
            return;
        way_note(&life.way, r->victim);
        life.passed += is_point(r);
    }
}

/* ---- looking ---- */

/* Giving back what it does not have is refused with the name of him who has it. */
static bool victim_holds(run_t *r) {
    helper_t *witness = &r->helpers[WITNESS];
    char name[20];
    if (r->trial->kind != MUTEX && r->trial->kind != WRITER)
        return false;
    int answer = helper_do(witness, give_it);
    check(answer == -EPERM || answer == -EALREADY);
    name_of_node(atomic_load(&r->marks->node), name);
    return answer == -EPERM && strstr(witness->said, name + 8);
}

static bool name_is_gone(void *arg) {
    return names_with(arg) == 0;
}

static void expect_no_name(run_t *r) {
    char name[20];
    name_of_node(atomic_load(&r->marks->node), name);
    await_that(name_is_gone, name, "names of the dead stay in the directory");
}

/* Each has met the two others, and holds what it will hold. */
static bool has_met_all(void *arg) {
    const helper_t *h = arg;
    return holdings_of(h->pid).pidfds == HELPERS; /* its own is among them */
}

static void remember_holdings(run_t *r, holdings_t before[HELPERS]) {
    for (unsigned i = 0; i < HELPERS; i++) {
        await_that(has_met_all, &r->helpers[i], "the helpers do not meet");
        before[i] = holdings_at_rest(r->helpers[i].pid);
    }
    r->before = before;
}

static void expect_nothing_of_the_dead(const run_t *r) {
    for (unsigned i = 0; i < HELPERS; i++)
        expect_holdings(r->helpers[i].pid, "a helper", &r->before[i]);
}

/* ---- the hunt ---- */

/* True: the victim was through before it was killed. One that has strayed dies where it is; another one is led to this
 * point, by steps. */
static bool kill_after(run_t *r, unsigned points) {
    const trial_t *trial = r->trial;
    *r = (run_t){.trial = trial,
                 .marks = r->marks,
                 .helpers = r->helpers,
                 .before = r->before,
                 .stride = r->stride,
                 .points = points};
    atomic_store(&r->marks->stage, BEFORE);
    if (trial->arrange)
        trial->arrange(r);
    r->victim = stepping_start(be_victim, r);
    if (trial->gather)
        trial->gather(r);
    lead(r, points);
    r->stage = atomic_load(&r->marks->stage);
    r->held = victim_holds(r);
    r->asleep |= r->strayed && r->stage < RETURNED && sleeps_on_futex(r->victim);
    stepping_kill(r->victim);
    trial->judge(r);
    expect_no_name(r);
    if (r->strayed)
        begin_life();
    return r->stage == RETURNED && !r->strayed;
}

static void all_do(run_t *r, errand_t *errand) {
    for (unsigned i = 0; i < HELPERS; i++) {
        r->helpers[i].kind = i < WITNESS ? r->trial->ways[i] : r->trial->kind;
        check_is(helper_do(&r->helpers[i], errand), 0);
    }
}

static void hunt_in(run_t *r) {
    holdings_t before[HELPERS];
    unsigned points = 1, strayed = 0;
    int64_t begin = clock_ns();
    all_do(r, open_it);
    remember_holdings(r, before);
    begin_life();
    for (; !kill_after(r, points); points += !r->strayed, strayed += r->strayed)
        expect(r, points < POINTS_MAX && strayed < STRAYED_MAX);
    expect_nothing_of_the_dead(r);
    all_do(r, close_it);
    printf("# %-58s %5u deaths, %5.1f ms each\n", r->trial->name, points, (double)(clock_ns() - begin) / 1e6 / points);
    if (strayed > 0)
        printf("# and %u of victims that had taken another way than those before them\n", strayed);
    fflush(stdout);
}

void hunt(const trial_t *trials, size_t count) {
    const unsigned strides[] = {
        [EVERY] =
            fire_count("FERRY_FIRE_STRIDE", "instructions at most from one death to the next in short calls", 1, 1),
        [SELDOM] =
            fire_count("FERRY_FIRE_SELDOM", "at most in long ones (1: every one, in a quarter of an hour)", 100, 100),
    };
    marks_t *marks = share(sizeof *marks);
    run_t r = {.marks = marks, .helpers = helpers_start(HELPERS, marks)};
    for (size_t i = 0; i < count; i++) {
        r.trial = &trials[i];
        r.stride = strides[trials[i].often];
        hunt_in(&r);
    }
    helpers_end(r.helpers, HELPERS);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_in_a_mutex),           TEST(killed_in_a_reader_writer_lock),
        TEST(killed_while_taking_over),    TEST(killed_in_an_owned_semaphore),
        TEST(killed_in_a_plain_semaphore), TEST(killed_in_an_event),
        TEST(killed_in_a_barrier),
    };
    return run_suite("lock-step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

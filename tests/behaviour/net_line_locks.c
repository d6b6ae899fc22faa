/* SPDX-License-Identifier: MIT
 *
 * net_line_locks.c - locks over bad lines: who lives keeps what he holds, however late his answers come; who is cut off
 * is told so before another one has it, whichever way he is cut off; and who is far away gets his turn among the near,
 * and has nothing that he was not in time for.
 */
#include "lines.h"
#include "objects.h"

#include <stdio.h>

#define LARGE ((size_t)1 << 20)

/* What a holder and a waiter of one lock share. */
typedef struct scene {
    lines_t *lines;
    relay_t *line; /* the holder's */
    const char *name;
    atomic_uint held, told, done, kept, inherited;

    _Atomic int64_t last_check; /* ns, when the last check began that said it is held */
    _Atomic int64_t taken;      /* when the other one had it for sure */
    uint64_t tokens[2];
} scene_t;

static scene_t *scene_new(lines_t *lines, relay_t *line, const char *name) {
    scene_t *s = share(sizeof *s);
    s->lines = lines;
    s->line = line;
    s->name = name;
    return s;
}

/* An open gives up after five seconds without an answer: beside much else, and over a late line, that may not be
 * enough. */
static ferry_mutex_t *open_by_line(ferry_t *node, const char *name) {
    ferry_mutex_t *mutex = NULL;
    int r;
    int64_t end = monotonic() + PATIENCE;
    do {
        r = ferry_mutex_open(node, name, NULL, &mutex);
    } while (r == -ETIMEDOUT && monotonic() < end);
    check_is(r, 0);
    return mutex;
}

/* ---- a late line ---- */

static void hold_for_long(void *arg) {
    scene_t *s = arg;
    ferry_t *node = lines_node(s->lines, "holder", s->line);
    ferry_mutex_t *mutex = open_by_line(node, s->name);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    atomic_store(&s->held, 1);
    await(&s->done, 1); /* the other one is waiting */
    nap(2600 * MILLISECOND);
    int checked = ferry_mutex_check(mutex);
    int unlocked = ferry_mutex_unlock(mutex);
    check((checked == 0 || checked == -ESTALE) && (unlocked == 0 || unlocked == -ESTALE));
    atomic_store(&s->kept, checked == 0 && unlocked == 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static void wait_for_it(void *arg) {
    scene_t *s = arg;
    ferry_t *node = lines_node(s->lines, "waiter", s->lines->near);
    ferry_mutex_t *mutex = open_by_line(node, s->name);
    atomic_store(&s->done, 1);
    int r = ferry_mutex_lock(mutex, PATIENCE);
    check(r == 0 || r == FERRY_OWNER_DIED);
    atomic_store(&s->inherited, r == FERRY_OWNER_DIED);
    if (r == FERRY_OWNER_DIED)
        check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static bool does_a_late_holder_keep_its_lock(void) {
    lines_t *lines = lines_new();
    scene_t *s = scene_new(lines, lines->far, "ledger");
    relay_delay(lines->far, 70 * MILLISECOND);
    pid_t holder = child_start(hold_for_long, s);
    await(&s->held, 1);
    pid_t waiter = child_start(wait_for_it, s);
    child_join(holder);
    child_join(waiter);
    lines_end(lines);
    return atomic_load(&s->kept) && !atomic_load(&s->inherited);
}

/* Where the machine stands still for longer than a connection may be silent, a holder loses its lock: that is not what
 * is asked here. */
static void a_holder_whose_answers_come_late_keeps_its_lock(void) {
    check_in_some_process(does_a_late_holder_keep_its_lock, "a holder whose answers come late keeps its lock");
}

/* ---- lines that are gone ---- */

static void flood(ferry_sender_t *tx[8]) {
    static unsigned char bytes[LARGE];
    for (int k = 0; k < 8; k++)
        for (int i = 0; i < 8; i++)
            check_is(ferry_send(tx[i], bytes, LARGE, PATIENCE), 0);
}

static void check_until_told(scene_t *s, ferry_mutex_t *mutex) {
    for (;;) {
        int64_t begin = monotonic();
        int r = ferry_mutex_check(mutex);
        if (r < 0) {
            check_error(r, -ESTALE, "lease lost");
            return;
        }
        atomic_store(&s->last_check, begin);
        nap(MILLISECOND);
    }
}

/* By itself, once its connection is there again, and stays. */
static void recover(scene_t *s, ferry_mutex_t *mutex) {
    int r = -ESTALE;
    for (int64_t end = monotonic() + PATIENCE; r == -ESTALE && monotonic() < end;) {
        r = ferry_mutex_lock(mutex, PATIENCE);
        if (r == FERRY_OWNER_DIED)
            check_is(ferry_mutex_repaired(mutex), 0);
        check(r == 0 || r == FERRY_OWNER_DIED);
        check(ferry_mutex_token(mutex) > s->tokens[1]);
        r = ferry_mutex_unlock(mutex);
    }
    check_is(r, 0);
}

/* Up to then it has its answers, unless the machine stands still for longer than a connection may be silent. */
static void await_the_loss(scene_t *s, ferry_mutex_t *mutex) {
    int r = 0;
    for (; r == 0 && !atomic_load(&s->done); nap(MILLISECOND))
        r = ferry_mutex_check(mutex);
    if (r < 0) {
        check_error(r, -ESTALE, "lease lost");
        atomic_store(&s->lines->given_up, 1);
    }
}

static void hold_until_told(void *arg) {
    scene_t *s = arg;
    ferry_t *node = lines_node(s->lines, s->name, s->line);
    ferry_mutex_t *mutex = open_by_line(node, s->name);
    ferry_sender_t *tx[8];
    bool floods = s->line == s->lines->far;
    for (int i = 0; i < 8 && floods; i++)
        tx[i] = open_sender(node, "large", FERRY_QUEUE, NULL);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    s->tokens[0] = ferry_mutex_token(mutex);
    atomic_store(&s->held, 1);
    await_the_loss(s, mutex);
    if (floods)
        flood(tx);
    check_until_told(s, mutex);
    atomic_store(&s->told, 1);
    await(&s->done, 2);
    check_error(ferry_mutex_unlock(mutex), -ESTALE, "lease lost");
    recover(s, mutex);
    for (int i = 0; i < 8 && floods; i++)
        (void)drop_sender(tx[i]);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static void take_over(void *arg) {
    scene_t *s = arg;
    engine_machine(s->lines->engine, "waiter");
    ferry_t *node = open_node(engine_space(s->lines->engine));
    ferry_mutex_t *mutex = open_by_line(node, s->name);
    check_is(ferry_mutex_lock(mutex, PATIENCE), FERRY_OWNER_DIED);
    atomic_store(&s->taken, monotonic());
    s->tokens[1] = ferry_mutex_token(mutex);
    check(s->tokens[1] > s->tokens[0]);
    check_is(ferry_mutex_repaired(mutex), 0);
    await(&s->told, 1);
    check(atomic_load(&s->last_check) <= atomic_load(&s->taken));
    check_is(ferry_mutex_unlock(mutex), 0);
    atomic_fetch_add(&s->lines->received, 1);
    await(&s->done, 3); /* the last to close would take the mutex, and its tokens, along */
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static void drink(void *arg) {
    lines_t *lines = arg;
    engine_machine(lines->engine, "drinker");
    ferry_t *node = open_node(engine_space(lines->engine));
    ferry_receiver_t *rx = open_receiver(node, "large", FERRY_QUEUE, NULL);
    ferry_msg_t *m;
    atomic_store(&lines->ready, 1);
    while (ferry_recv(rx, PATIENCE, &m) == 0)
        release(m);
    close_receiver(rx);
    close_node(node);
}

/* Holders and waiters of each scene; the holders' lines are lost once all are there, until the waiters have what was
 * held. False: a holder lost its lock before. */
static bool play(lines_t *lines, scene_t **s, int count, void (*lose)(lines_t *lines)) {
    pid_t holders[2], waiters[2], drinker = child_start(drink, lines);
    await(&lines->ready, 1);
    for (int i = 0; i < count; i++)
        holders[i] = child_start(hold_until_told, s[i]);
    for (int i = 0; i < count; i++)
        await(&s[i]->held, 1);
    for (int i = 0; i < count; i++)
        waiters[i] = child_start(take_over, s[i]);
    nap(200 * MILLISECOND); /* they wait */
    lose(lines);
    for (int i = 0; i < count; i++)
        atomic_store(&s[i]->done, 1);
    await(&lines->received, (unsigned)count);
    relay_swallow(lines->near, false);
    relay_hold(lines->far, false);
    for (int i = 0; i < count; i++)
        atomic_store(&s[i]->done, 2);
    for (int i = 0; i < count; i++) {
        child_join(holders[i]);
        atomic_store(&s[i]->done, 3);
    }
    for (int i = 0; i < count; i++)
        child_join(waiters[i]);
    child_join(drinker);
    bool in_time = !atomic_load(&lines->given_up);
    lines_end(lines);
    return in_time;
}

static void swallow_one_and_hold_one(lines_t *lines) {
    relay_swallow(lines->near, true);
    relay_hold(lines->far, true);
}

/* One holder's line is half open, the other one's is stuck in the middle of a write. */
static bool are_holders_that_are_cut_off_told(void) {
    lines_t *lines = lines_new();
    scene_t *s[2] = {scene_new(lines, lines->near, "half-open"), scene_new(lines, lines->far, "stuck")};
    return play(lines, s, 2, swallow_one_and_hold_one);
}

static void a_holder_that_is_cut_off_is_told_before_another_has_it(void) {
    check_in_some_process(are_holders_that_are_cut_off_told, "holders had their locks until they were cut off");
}

static void abandon_one(lines_t *lines) {
    relay_abandon(lines->near);
}

/* The server says at once that its connection is gone, and it learns that only when pings are missing. */
static bool is_a_holder_that_hears_nothing_told(void) {
    lines_t *lines = lines_new();
    scene_t *s = scene_new(lines, lines->near, "abandoned");
    return play(lines, &s, 1, abandon_one);
}

static void a_holder_that_hears_nothing_of_its_end_is_told_before_another_has_it(void) {
    check_in_some_process(is_a_holder_that_hears_nothing_told, "the holder had its lock until it was cut off");
}

/* ---- a long line among short ones ---- */

#define FAR_IN_TIME (10 * SECOND)

/* With units for all, so that nobody stands in line, and hears of the others for that. */
static void change_all_the_time(void *arg) {
    scene_t *s = arg;
    char machine[16];
    snprintf(machine, sizeof machine, "near%u", atomic_fetch_add(&s->kept, 1));
    engine_machine(s->lines->engine, machine);
    ferry_t *node = open_node(engine_space(s->lines->engine));
    ferry_semaphore_t *units = open_semaphore(node, s->name, 9);
    atomic_fetch_add(&s->held, 1);
    for (int64_t end = monotonic() + FAR_IN_TIME; !atomic_load(&s->done) && monotonic() < end;) {
        check_is(ferry_semaphore_acquire(units, PATIENCE), 0);
        check_is(ferry_semaphore_release(units), 0);
    }
    atomic_fetch_add(&s->told, !atomic_load(&s->done));
    check_is(ferry_semaphore_close(units), 0);
    close_node(node);
}

static void a_far_node_gets_its_turn_among_near_ones(void) {
    lines_t *lines = lines_new();
    scene_t *s = scene_new(lines, lines->far, "busy");
    pid_t near[2] = {child_start(change_all_the_time, s), child_start(change_all_the_time, s)};
    await(&s->held, 2);
    relay_delay(lines->far, 10 * MILLISECOND);
    ferry_t *node = lines_node(lines, "far", lines->far);
    ferry_semaphore_t *units = open_semaphore(node, s->name, 9);
    check_is(ferry_semaphore_acquire(units, PATIENCE), 0);
    check_is(ferry_semaphore_release(units), 0);
    check_is(ferry_semaphore_close(units), 0);
    check_is(atomic_load(&s->told), 0); /* while they were at it */
    atomic_store(&s->done, 1);
    child_join(near[0]);
    child_join(near[1]);
    close_node(node);
    lines_end(lines);
}

/* ---- calls that end before their answer comes ---- */

/* The server does what they ask for, after their time is over. */
typedef struct late {
    lines_t *lines;
    ferry_t *near, *far;
} late_t;

static late_t late_begin(void) {
    lines_t *lines = lines_new();
    engine_machine(lines->engine, "near");
    ferry_t *near = open_node(engine_space(lines->engine));
    return (late_t){lines, near, lines_node(lines, "far", lines->far)};
}

static void late_end(const late_t *l) {
    close_node(l->near);
    close_node(l->far);
    lines_end(l->lines);
}

static void a_lock_that_was_not_had_in_time_is_not_held(void) {
    late_t l = late_begin();
    ferry_mutex_t *near = open_mutex(l.near, "ledger"), *far = open_mutex(l.far, "ledger");
    relay_delay(l.lines->far, 40 * MILLISECOND);
    check_is(ferry_mutex_lock(far, 10 * MILLISECOND), -ETIMEDOUT);
    check_is(ferry_mutex_trylock(near), 0);
    check_is(ferry_mutex_unlock(near), 0);
    check_is(ferry_mutex_close(near), 0);
    check_is(ferry_mutex_close(far), 0);
    late_end(&l);
}

static void a_unit_that_was_not_had_in_time_is_free_and_those_before_are_not(void) {
    const ferry_sync_options_t owned = {.owned = 1};
    late_t l = late_begin();
    ferry_semaphore_t *near, *far;
    check_is(ferry_semaphore_open(l.near, "fetch", 3, &owned, &near), 0);
    check_is(ferry_semaphore_open(l.far, "fetch", 3, &owned, &far), 0);
    relay_delay(l.lines->far, 40 * MILLISECOND);
    check_is(ferry_semaphore_acquire(far, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(far, 10 * MILLISECOND), -ETIMEDOUT);
    check_is(ferry_semaphore_value(near), 2);
    check_is(ferry_semaphore_release(far), 0);
    check_is(ferry_semaphore_close(near), 0);
    check_is(ferry_semaphore_close(far), 0);
    late_end(&l);
}

static void who_was_not_in_time_at_a_barrier_has_not_arrived(void) {
    late_t l = late_begin();
    ferry_barrier_t *near, *far;
    check_is(ferry_barrier_open(l.near, "round", 2, NULL, &near), 0);
    check_is(ferry_barrier_open(l.far, "round", 2, NULL, &far), 0);
    relay_delay(l.lines->far, 40 * MILLISECOND);
    check_is(ferry_barrier_wait(far, 10 * MILLISECOND), -ETIMEDOUT);
    check_is(ferry_barrier_wait(near, FERRY_NOW), -EAGAIN);
    check_is(ferry_barrier_close(near), 0);
    check_is(ferry_barrier_close(far), 0);
    late_end(&l);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_holder_whose_answers_come_late_keeps_its_lock),
        TEST(a_holder_that_is_cut_off_is_told_before_another_has_it),
        TEST(a_holder_that_hears_nothing_of_its_end_is_told_before_another_has_it),
        TEST(a_far_node_gets_its_turn_among_near_ones),
        TEST(a_lock_that_was_not_had_in_time_is_not_held),
        TEST(a_unit_that_was_not_had_in_time_is_free_and_those_before_are_not),
        TEST(who_was_not_in_time_at_a_barrier_has_not_arrived),
    };
    return run_suite("net_line_locks", tests, sizeof tests / sizeof tests[0], argc, argv);
}

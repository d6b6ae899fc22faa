/* SPDX-License-Identifier: MIT
 *
 * interleave_mutex.c - a mutex, in all interleavings.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "sync/mutex.h"

static fi_mutex_t mutex;

static struct {
    uint8_t inside[MODEL_WORKERS];
    uint8_t looked[MODEL_WORKERS]; /* why its wait takes so long */
    uint8_t hungry[MODEL_WORKERS]; /* has said so */
    uint8_t owes[MODEL_WORKERS];   /* it has given the mutex back: to one who is hungry, if one sleeps */
    bool owed;                     /* a death must be told to the next one */
    bool broken;
    uint64_t token;
} notes;

/* How each thread uses it. */
static struct {
    unsigned threads;
    unsigned rounds;
    uint32_t policy;
    int64_t timeout[MODEL_WORKERS];
    int64_t grace[MODEL_WORKERS]; /* 0: never looks why */
    int stalled;                  /* what it then finds */
    bool gives_up;                /* who took it from a dead one does not repair it */
    bool mourners_die;            /* who took it from a dead one may die, too */
} plan;

static unsigned owner_of(uint64_t word) {
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if ((word & FI_OWNER) == name_of(i))
            return i;
    return MODEL_WORKERS;
}

/* It may end while somebody holds the mutex: with a death, or with one who is not hungry and takes it; not with one who
 * gives up. */
static void look_at_hunger(unsigned who, uint64_t before, uint64_t after) {
    if (after & ~before & FI_HUNGRY)
        notes.hungry[who] = 1;
    bool stays = ((before ^ after) & FI_OWNER) == 0 && (before & FI_OWNER) != 0 && who < plan.threads; /* no steward */
    for (unsigned i = 0; i < MODEL_WORKERS && stays; i++)
        expect(!(before & ~after & FI_HUNGRY) || !sleeps_as(i, FI_STARVING), "who gives up ends the hunger of others");
}

static void wrote(unsigned who, const uint64_t *word, uint64_t before, uint64_t after) {
    uint64_t from = before & FI_OWNER, to = after & FI_OWNER;
    if (word == &mutex.word)
        look_at_hunger(who, before, after);
    if (word != &mutex.word || from == to)
        return;
    expect(from == 0 || to == 0, "the mutex goes from one owner to the next without becoming free");
    if (from == 0) {
        expect(to == name_of(who), "somebody else is made the owner");
        expect(!(before & FI_HUNGRY) || was_woken(who) || notes.looked[who] || has_waited(who) >= MILLISECOND,
               "a thread that has just come overtakes a hungry one");
        expect(!(before & FI_BROKEN), "a broken mutex is taken");
    } else if (from == name_of(who)) {
        expect(!(before & FI_HUNGRY) || after & (FI_HUNGRY | FI_BROKEN), "an unlock lets those in who have just come");
        notes.owes[who] = (after & FI_HUNGRY) != 0;
    } else {
        expect(owner_is_dead(from, NULL), "the mutex is taken away from a living owner");
        notes.inside[owner_of(from)] = 0;
    }
}

static void wakes(unsigned who, uint32_t bits) {
    if (who >= MODEL_WORKERS || !notes.owes[who])
        return;
    for (unsigned i = 0; i < MODEL_WORKERS; i++) {
        expect(!notes.hungry[i] || !is_asleep(i) || sleeps_as(i, FI_STARVING), "a hungry one sleeps like all others");
        expect(bits & FI_STARVING || !sleeps_as(i, FI_STARVING), "somebody is woken before a hungry one who sleeps");
    }
    notes.owes[who] = 0;
}

static void died(unsigned who) {
    if ((mutex.word & FI_OWNER) == name_of(who))
        notes.owed = true;
}

static void bury(void) {
    fi_mutex_bury(&mutex, owner_is_dead, NULL);
}

/* What each thread waits with. */
typedef struct waiter {
    fi_waiter_t base;
    unsigned self;
} waiter_t;

static int is_stalled(fi_waiter_t *who, int64_t since, int64_t deadline) {
    const waiter_t *w = (const waiter_t *)(const void *)who;
    (void)since;
    (void)deadline;
    notes.looked[w->self] = 1;
    return plan.stalled;
}

/* Holds it, and gives it back. */
static void be_inside(unsigned self, int how) {
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        expect(!notes.inside[i], "two hold the mutex");
    expect((how == FI_TAKEN_FROM_DEAD) == notes.owed, "the news of a death is wrong");
    notes.owed = false;
    notes.inside[self] = 1;
    forget_all_but((uint64_t)how);
    uint64_t token = fi_mutex_count(&mutex);
    expect(token > notes.token, "a token is not larger than that before");
    notes.token = token;
    if (how == FI_TAKEN_FROM_DEAD && plan.mourners_die)
        may_die(self);
    notes.inside[self] = 0;
    if (how == FI_TAKEN_FROM_DEAD && plan.gives_up) {
        fi_mutex_break(&mutex);
        notes.broken = true;
    } else {
        fi_mutex_unlock(&mutex, name_of(self));
    }
}

static void run(unsigned self) {
    for (unsigned round = 0; round < plan.rounds; round++) {
        waiter_t who = {.base = {.policy = plan.policy,
                                 .grace = plan.grace[self] ? plan.grace[self] : -1,
                                 .stalled = plan.grace[self] ? is_stalled : NULL},
                        .self = self};
        fi_wait_t w = fi_wait_begin(&who.base, plan.timeout[self]);
        int r = fi_mutex_lock(&mutex, name_of(self), &w);
        if (r > 0)
            be_inside(self, r);
        else
            expect((r == -ETIMEDOUT && plan.timeout[self] > 0) || (r == -EAGAIN && plan.timeout[self] == 0) ||
                       (r == plan.stalled && plan.grace[self]) || r == -EINTR ||
                       (r == -ENOTRECOVERABLE && plan.gives_up),
                   "a lock call fails without a reason");
        notes.looked[self] = notes.hungry[self] = notes.owes[self] = 0;
        forget_all_but(round);
    }
}

static void finish(void) {
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
    expect((mutex.word & FI_OWNER) == 0, "it is still owned");
    int r = fi_mutex_lock(&mutex, name_of(MODEL_WORKERS), &w);
    if (notes.broken) {
        expect(r == -ENOTRECOVERABLE, "a broken mutex is not broken for good");
        return;
    }
    expect(r == (notes.owed ? FI_TAKEN_FROM_DEAD : FI_TAKEN), "whoever comes later does not get it");
    fi_mutex_unlock(&mutex, name_of(MODEL_WORKERS));
    expect(mutex.word == 0, "a flag stays behind for ever");
}

static scenario_t mutex_scenario(unsigned threads, unsigned rounds) {
    memset(&plan, 0, sizeof plan);
    plan.threads = threads;
    plan.rounds = rounds;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        plan.timeout[i] = FERRY_FOREVER;
    return (scenario_t){.threads = threads,
                        .run = run,
                        .finish = finish,
                        .bury = bury,
                        .died = died,
                        .wrote = wrote,
                        .wakes = wakes,
                        .memory = &mutex,
                        .bytes = sizeof mutex,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

static void two_threads_exclude_each_other(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(2, 3);
    explore(&s);
}

static void three_threads_exclude_each_other(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    explore(&s);
}

static void threads_that_spin_first_exclude_each_other(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.policy = FERRY_WAIT_ADAPTIVE;
    explore(&s);
}

static void who_only_tries_leaves_no_trace(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.timeout[0] = FERRY_NOW;
    explore(&s);
}

static void who_gives_up_passes_the_wake_up_on(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 3;
    explore(&s);
}

static void a_signal_ends_a_wait_and_loses_no_wake_up(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.signals = 2;
    explore(&s);
}

static void the_hungry_come_before_those_who_have_not_slept(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.expiries = 2;
    s.delays = 1;
    s.preemptions = 2;
    explore(&s);
}

static void the_hungry_come_first_in_two_rounds(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 2);
    s.expiries = 1;
    s.preemptions = 3;
    explore(&s);
}

static void four_threads_exclude_each_other_when_one_is_hungry(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(4, 1);
    s.expiries = 1;
    s.preemptions = 2;
    explore(&s);
}

static void a_hungry_one_that_gives_up_leaves_no_hunger(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.timeout[0] = plan.timeout[1] = 3 * MILLISECOND;
    s.expiries = 4;
    s.preemptions = 2;
    explore(&s);
}

static void who_looks_for_a_deadlock_keeps_its_place(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.grace[0] = 2 * MILLISECOND;
    plan.grace[1] = 3 * MILLISECOND;
    s.expiries = 4;
    s.preemptions = 2;
    explore(&s);
}

static void who_looks_for_a_deadlock_early_does_not_sleep_beside_a_free_mutex(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.grace[0] = MILLISECOND / 2;
    plan.timeout[1] = 2 * MILLISECOND;
    s.expiries = 3;
    s.preemptions = 2;
    explore(&s);
}

static void who_finds_a_deadlock_passes_the_wake_up_on(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.grace[0] = plan.grace[1] = 2 * MILLISECOND;
    plan.stalled = -EDEADLK;
    s.expiries = 4;
    s.preemptions = 2;
    explore(&s);
}

static void a_death_is_told_exactly_if_it_was_inside(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.deaths = 1;
    s.mortals = 1;
    explore(&s);
}

static void two_stewards_may_look_after_a_death(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.deaths = 1;
    s.mortals = 1;
    s.stewards = 2;
    s.preemptions = 2;
    explore(&s);
}

static void who_learns_of_a_death_may_die_too(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.mourners_die = true;
    s.deaths = 2;
    s.mortals = 1;
    explore(&s);
}

static void any_two_may_die_and_the_third_gets_the_mutex(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 2;
    explore(&s);
}

static void a_death_among_those_who_give_up_loses_no_wake_up(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.deaths = 1;
    s.mortals = 3;
    s.preemptions = 2;
    explore(&s);
}

static void a_death_among_the_hungry_loses_no_wake_up(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    s.expiries = 2;
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void a_death_while_somebody_looks_for_a_deadlock_loses_no_wake_up(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.grace[0] = plan.grace[1] = 2 * MILLISECOND;
    s.expiries = 3;
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void what_is_given_up_unrepaired_is_broken_for_all(void **state) {
    (void)state;
    scenario_t s = mutex_scenario(3, 1);
    plan.gives_up = true;
    s.deaths = 1;
    s.mortals = 1;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_threads_exclude_each_other),
    cmocka_unit_test(three_threads_exclude_each_other),
    cmocka_unit_test(threads_that_spin_first_exclude_each_other),
    cmocka_unit_test(who_only_tries_leaves_no_trace),
    cmocka_unit_test(who_gives_up_passes_the_wake_up_on),
    cmocka_unit_test(a_signal_ends_a_wait_and_loses_no_wake_up),
    cmocka_unit_test(the_hungry_come_before_those_who_have_not_slept),
    cmocka_unit_test(the_hungry_come_first_in_two_rounds),
    cmocka_unit_test(four_threads_exclude_each_other_when_one_is_hungry),
    cmocka_unit_test(a_hungry_one_that_gives_up_leaves_no_hunger),
    cmocka_unit_test(who_looks_for_a_deadlock_keeps_its_place),
    cmocka_unit_test(who_looks_for_a_deadlock_early_does_not_sleep_beside_a_free_mutex),
    cmocka_unit_test(who_finds_a_deadlock_passes_the_wake_up_on),
    cmocka_unit_test(a_death_is_told_exactly_if_it_was_inside),
    cmocka_unit_test(two_stewards_may_look_after_a_death),
    cmocka_unit_test(who_learns_of_a_death_may_die_too),
    cmocka_unit_test(any_two_may_die_and_the_third_gets_the_mutex),
    cmocka_unit_test(a_death_among_those_who_give_up_loses_no_wake_up),
    cmocka_unit_test(a_death_among_the_hungry_loses_no_wake_up),
    cmocka_unit_test(a_death_while_somebody_looks_for_a_deadlock_loses_no_wake_up),
    cmocka_unit_test(what_is_given_up_unrepaired_is_broken_for_all),
};

group_t mutex_group(void) {
    return GROUP(tests);
}

/* SPDX-License-Identifier: MIT
 *
 * interleave_event.c - manual and auto-reset events and their count, in all interleavings.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "sync/event.h"

#define COUNT_MASK 0x3fffffffu

static uint64_t word;

static struct {
    uint8_t took[MODEL_WORKERS];   /* has changed it from set to not set, in this call */
    uint8_t due[MODEL_WORKERS];    /* slept when it was set */
    uint32_t count[MODEL_WORKERS]; /* it waits for a set after this one */
    uint32_t sets;
    bool happened; /* what the condition is about */
} notes;

typedef enum role { SETS, SETS_AND_RESETS, RESETS, WAITS, WAITS_AFTER, MAKES_IT_HAPPEN, WAITS_FOR_IT } role_t;

static struct {
    role_t role[MODEL_WORKERS];
    unsigned rounds[MODEL_WORKERS];
    bool auto_reset;
    uint32_t policy;
    int64_t timeout[MODEL_WORKERS];
} plan;

static fi_event_t event(void) {
    return (fi_event_t){.word = &word, .auto_reset = plan.auto_reset};
}

static void wrote(unsigned who, const uint64_t *at, uint64_t before, uint64_t after) {
    (void)at;
    if (before >> 32 != after >> 32) {
        expect(after >> 32 == (before >> 32) + 1 && after & FI_SET, "a set counts more or less than one");
        notes.sets++;
        for (unsigned i = 0; i < MODEL_WORKERS; i++)
            notes.due[i] |= is_asleep(i);
        return;
    }
    expect(!(after & FI_SET) || before & FI_SET, "it becomes set without being counted");
    if (before & FI_SET && !(after & FI_SET)) {
        notes.took[who] = 1;
        bool overtakes = before & FI_HUNGRY && plan.role[who] == WAITS && !was_woken(who);
        expect(!overtakes || has_waited(who) >= MILLISECOND, "a thread that has just come overtakes a hungry one");
    }
}

static void bury(void) {
    fi_event_t e = event();
    fi_event_bury(&e);
}

/* ---- what the threads do ---- */

static bool has_failed_for_a_reason(unsigned self, int r) {
    return (r == -ETIMEDOUT && plan.timeout[self] > 0) || (r == -EAGAIN && plan.timeout[self] == 0) || r == -EINTR;
}

static void wait_for_set(unsigned self) {
    fi_event_t e = event();
    fi_waiter_t who = {.policy = plan.policy, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
    int r = fi_event_wait(&e, &w);
    expect(r == FI_TAKEN || has_failed_for_a_reason(self, r), "a wait fails without a reason");
    expect(plan.auto_reset || r != FI_TAKEN || notes.sets > 0, "a wait ends before the event was set");
    expect(!plan.auto_reset || notes.took[self] == (r == FI_TAKEN), "a wait and the reset by it do not go together");
}

static void wait_after(unsigned self, uint32_t count) {
    fi_event_t e = event();
    fi_waiter_t who = {.policy = plan.policy, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
    notes.count[self] = count;
    int r = fi_event_wait_after(&e, count & COUNT_MASK, COUNT_MASK, &w);
    expect(r == FI_TAKEN || has_failed_for_a_reason(self, r), "a wait fails without a reason");
    expect(r != FI_TAKEN || notes.sets != count, "a wait ends before the event was set again");
    expect(!notes.took[self], "who only looks has reset the event");
}

static void reset(unsigned self) {
    fi_event_t e = event();
    bool was_set = fi_event_reset(&e);
    expect(was_set == notes.took[self], "a reset says wrongly whether it was set");
}

/* With the event as a condition variable. */
static void wait_until_it_has_happened(unsigned self) {
    fi_event_t e = event();
    for (;;) {
        uint32_t count = fi_event_count(&e);
        pass_time();
        bool happened = notes.happened;
        forget_all_but((uint64_t)count << 1 | happened);
        if (happened)
            return;
        wait_after(self, count);
    }
}

static void make_it_happen(void) {
    fi_event_t e = event();
    pass_time();
    notes.happened = true;
    fi_event_set(&e);
}

static void act(unsigned self) {
    fi_event_t e = event();
    switch (plan.role[self]) {
    case SETS:
        fi_event_set(&e);
        break;
    case SETS_AND_RESETS:
        fi_event_set(&e);
        forget_all_but(1);
        reset(self);
        break;
    case RESETS:
        reset(self);
        break;
    case WAITS:
        wait_for_set(self);
        break;
    case WAITS_AFTER:
        wait_after(self, 0);
        break;
    case MAKES_IT_HAPPEN:
        make_it_happen();
        break;
    case WAITS_FOR_IT:
        wait_until_it_has_happened(self);
        break;
    }
}

static void run(unsigned self) {
    for (unsigned round = 0; round < plan.rounds[self]; round++) {
        act(self);
        notes.took[self] = notes.due[self] = 0;
        forget_all_but(round);
    }
}

static bool may_sleep(unsigned who) {
    if (plan.role[who] == WAITS)
        return !(word & FI_SET) && (plan.auto_reset || !notes.due[who]);
    return word >> 32 == notes.count[who];
}

static void finish(void) {
    fi_event_t e = event();
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if (is_asleep(i))
            return; /* the next set is for him */
    fi_event_set(&e);
    expect(fi_event_wait(&e, &w) == FI_TAKEN, "whoever comes later does not see it set");
    expect(fi_event_is_set(&e) == !plan.auto_reset, "it is not reset by that");
    expect(plan.auto_reset == !fi_event_reset(&e) && !fi_event_is_set(&e), "it cannot be reset");
}

static scenario_t event_scenario(bool auto_reset, const role_t *roles, unsigned threads) {
    memset(&plan, 0, sizeof plan);
    plan.auto_reset = auto_reset;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < threads; i++) {
        plan.role[i] = roles[i];
        plan.rounds[i] = 1;
        plan.timeout[i] = FERRY_FOREVER;
    }
    return (scenario_t){.threads = threads,
                        .run = run,
                        .finish = finish,
                        .bury = bury,
                        .wrote = wrote,
                        .may_sleep = may_sleep,
                        .memory = &word,
                        .bytes = sizeof word,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

#define SCENARIO(auto_reset, ...)                                                                                      \
    event_scenario((auto_reset), (const role_t[]){__VA_ARGS__}, sizeof((role_t[]){__VA_ARGS__}) / sizeof(role_t))

/* ---- manual ---- */

static void a_set_lets_all_waiters_go(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS, WAITS, WAITS, WAITS);
    explore(&s);
}

static void a_reset_right_after_it_keeps_nobody_who_waited(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS_AND_RESETS, WAITS, WAITS, WAITS);
    explore(&s);
}

static void two_set_it_and_one_resets_it(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS, SETS_AND_RESETS, WAITS, WAITS);
    explore(&s);
}

static void waits_for_a_manual_event_end_in_time(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS_AND_RESETS, WAITS, WAITS);
    plan.timeout[1] = plan.timeout[2] = 2 * MILLISECOND;
    s.expiries = 3;
    s.preemptions = 3;
    explore(&s);
}

static void any_two_may_die_at_a_manual_event(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS_AND_RESETS, WAITS, WAITS);
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 3;
    explore(&s);
}

/* ---- auto-reset ---- */

static void each_set_lets_one_waiter_go(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = 2;
    explore(&s);
}

static void two_set_it_and_two_wait_twice(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, SETS, WAITS, WAITS);
    plan.rounds[2] = plan.rounds[3] = 2;
    s.preemptions = 4;
    explore(&s);
}

static void waiters_that_spin_first_get_it(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = 2;
    plan.policy = FERRY_WAIT_ADAPTIVE;
    s.preemptions = 3;
    explore(&s);
}

static void a_reset_and_waiters_do_not_both_get_it(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS, RESETS);
    plan.rounds[0] = 2;
    s.preemptions = 4;
    explore(&s);
}

static void who_gives_up_passes_the_set_on(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.timeout[1] = MILLISECOND / 2;
    plan.rounds[0] = 2;
    s.expiries = 2;
    s.preemptions = 3;
    explore(&s);
}

static void a_signal_loses_no_set(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = 2;
    s.signals = 2;
    explore(&s);
}

static void the_hungry_get_it_before_those_who_have_just_come(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = plan.rounds[1] = 2;
    s.expiries = 2;
    s.preemptions = 2;
    explore(&s);
}

static void the_hungry_give_up_and_leave_no_hunger(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.timeout[1] = plan.timeout[2] = 2 * MILLISECOND;
    plan.rounds[0] = 2;
    s.expiries = 4;
    s.preemptions = 2;
    explore(&s);
}

static void any_two_may_die_and_no_set_is_lost(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = 2;
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 3;
    explore(&s);
}

static void a_death_among_the_hungry_loses_no_set(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS);
    plan.rounds[0] = 2;
    s.expiries = 2;
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

/* ---- the count ---- */

static void who_waits_after_a_count_misses_no_set(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, SETS_AND_RESETS, WAITS_AFTER, WAITS_AFTER, WAITS);
    explore(&s);
}

static void who_only_looks_leaves_the_wake_up_to_the_others(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS_AFTER, WAITS_AFTER);
    s.preemptions = 4;
    explore(&s);
}

static void who_looks_and_gives_up_leaves_the_wake_up_to_the_others(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS_AFTER, WAITS_AFTER);
    plan.timeout[2] = plan.timeout[3] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 1;
    explore(&s);
}

static void who_looks_and_dies_leaves_the_wake_up_to_the_others(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS_AFTER, WAITS_AFTER);
    s.deaths = 1;
    s.mortals = 1 << 2;
    s.preemptions = 3;
    explore(&s);
}

static void the_hungry_wait_beside_those_who_only_look(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS, WAITS_AFTER);
    plan.rounds[0] = 2;
    s.expiries = 2;
    s.preemptions = 1;
    explore(&s);
}

static void hunger_without_sleepers_ends_also_when_somebody_comes_to_look(void **state) {
    (void)state;
    scenario_t s = SCENARIO(true, SETS, WAITS, WAITS, WAITS_FOR_IT);
    plan.timeout[1] = 2 * MILLISECOND;
    s.expiries = 2;
    s.preemptions = 1;
    explore(&s);
}

static void a_condition_that_has_become_true_is_noticed(void **state) {
    (void)state;
    scenario_t s = SCENARIO(false, MAKES_IT_HAPPEN, WAITS_FOR_IT, WAITS_FOR_IT, SETS);
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_set_lets_all_waiters_go),
    cmocka_unit_test(a_reset_right_after_it_keeps_nobody_who_waited),
    cmocka_unit_test(two_set_it_and_one_resets_it),
    cmocka_unit_test(waits_for_a_manual_event_end_in_time),
    cmocka_unit_test(any_two_may_die_at_a_manual_event),
    cmocka_unit_test(each_set_lets_one_waiter_go),
    cmocka_unit_test(two_set_it_and_two_wait_twice),
    cmocka_unit_test(waiters_that_spin_first_get_it),
    cmocka_unit_test(a_reset_and_waiters_do_not_both_get_it),
    cmocka_unit_test(who_gives_up_passes_the_set_on),
    cmocka_unit_test(a_signal_loses_no_set),
    cmocka_unit_test(the_hungry_get_it_before_those_who_have_just_come),
    cmocka_unit_test(the_hungry_give_up_and_leave_no_hunger),
    cmocka_unit_test(any_two_may_die_and_no_set_is_lost),
    cmocka_unit_test(a_death_among_the_hungry_loses_no_set),
    cmocka_unit_test(who_waits_after_a_count_misses_no_set),
    cmocka_unit_test(who_only_looks_leaves_the_wake_up_to_the_others),
    cmocka_unit_test(who_looks_and_gives_up_leaves_the_wake_up_to_the_others),
    cmocka_unit_test(who_looks_and_dies_leaves_the_wake_up_to_the_others),
    cmocka_unit_test(the_hungry_wait_beside_those_who_only_look),
    cmocka_unit_test(hunger_without_sleepers_ends_also_when_somebody_comes_to_look),
    cmocka_unit_test(a_condition_that_has_become_true_is_noticed),
};

group_t event_group(void) {
    return GROUP(tests);
}

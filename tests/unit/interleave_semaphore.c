/* SPDX-License-Identifier: MIT
 *
 * interleave_semaphore.c - plain and owned semaphores, in all interleavings.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "ferry/sync.h"
#include "sync/semaphore.h"

#define UNITS_MAX 3

static uint64_t memory[1 + UNITS_MAX]; /* the word, and owned units */

static struct {
    uint8_t holds[MODEL_WORKERS];
    uint32_t lost; /* plain: units that dead ones have taken along */
} notes;

static struct {
    unsigned rounds;
    uint32_t units;
    bool owned;
    bool passes; /* plain: none at first, all are released by thread 0 */
    uint32_t policy;
    int64_t timeout[MODEL_WORKERS];
} plan;

static fi_semaphore_t semaphore(void) {
    return (fi_semaphore_t){.shared = (fi_semaphore_memory_t *)(void *)memory, .units = plan.owned ? plan.units : 0};
}

static uint32_t held(void) {
    uint32_t count = 0;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        count += notes.holds[i];
    return count;
}

/* Who has taken a unit, as the memory says. */
static void wrote(unsigned who, const uint64_t *word, uint64_t before, uint64_t after) {
    if (word == memory) {
        expect(plan.owned || after >> 32 <= plan.units, "there are more units free than there are");
        uint64_t change = (after >> 32) - (before >> 32);
        if (!plan.owned && !plan.passes)
            notes.holds[who] = (uint8_t)(notes.holds[who] - change);
        return;
    }
    expect(before == 0 || after == 0, "a unit goes from one owner to the next without becoming free");
    unsigned owner = (unsigned)((before ? before : after) & FI_HANDLES) - 1;
    expect(owner == who || (after == 0 && is_dead(owner)), "a unit of a living owner is taken away");
    notes.holds[owner] = after != 0;
}

static void died(unsigned who) {
    notes.lost += plan.owned ? 0 : notes.holds[who];
}

static void bury(void) {
    fi_semaphore_t s = semaphore();
    fi_semaphore_bury(&s, owner_is_dead, NULL);
}

static int acquire(unsigned self, uint32_t *at, int64_t timeout) {
    fi_semaphore_t s = semaphore();
    fi_waiter_t who = {.policy = plan.policy, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, timeout);
    return fi_semaphore_try(&s) ? FI_TAKEN : fi_semaphore_acquire(&s, name_of(self), at, &w);
}

static void release(unsigned self, uint32_t *at) {
    fi_semaphore_t s = semaphore();
    expect(fi_semaphore_try_release(&s, FERRY_MAX_COUNT) ||
               fi_semaphore_release(&s, name_of(self), at, FERRY_MAX_COUNT) == 0,
           "a unit cannot be released");
}

static void use(unsigned self) {
    uint32_t at = self;
    int r = acquire(self, &at, plan.timeout[self]);
    if (r == FI_TAKEN) {
        expect(notes.holds[self] == 1, "who has acquired a unit does not have it");
        expect(held() <= plan.units, "more units are held than there are");
        forget_all_but(at);
        pass_time();
        release(self, &at);
        expect(notes.holds[self] == 0, "who has released a unit has it still");
    } else {
        expect((r == -ETIMEDOUT && plan.timeout[self] > 0) || (r == -EAGAIN && plan.timeout[self] == 0) || r == -EINTR,
               "an acquire call fails without a reason");
    }
}

static void run(unsigned self) {
    for (unsigned round = 0; round < plan.rounds; round++) {
        use(self);
        forget_all_but(round);
    }
}

/* One releases what the others acquire. */
static void pass_on(unsigned self) {
    uint32_t at = self;
    for (unsigned i = 0; i < (self == 0 ? plan.units : 1); i++) {
        if (self == 0)
            release(self, &at);
        else
            expect(acquire(self, &at, FERRY_FOREVER) == FI_TAKEN, "an acquire call fails without a reason");
        forget_all_but(i);
    }
}

/* Only where dead ones have taken all units along. */
static bool may_sleep(unsigned who) {
    (void)who;
    return notes.lost == plan.units;
}

static void set_up(void) {
    fi_semaphore_t s = semaphore();
    fi_semaphore_init(&s, plan.passes ? 0 : plan.units);
}

static void finish(void) {
    fi_semaphore_t s = semaphore();
    uint32_t at = 0, left = plan.passes ? 0 : plan.units - notes.lost;
    expect(fi_semaphore_value(&s) == left, "units are lost, or have come from nowhere");
    for (uint32_t i = 0; i < left; i++)
        expect(acquire(MODEL_WORKERS, &at, FERRY_NOW) == FI_TAKEN, "whoever comes later does not get a unit");
    expect(acquire(MODEL_WORKERS, &at, FERRY_NOW) == -EAGAIN, "there is one unit more than there should be");
}

static scenario_t semaphore_scenario(uint32_t units, bool owned, unsigned threads) {
    memset(&plan, 0, sizeof plan);
    plan.rounds = 1;
    plan.units = units;
    plan.owned = owned;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        plan.timeout[i] = FERRY_FOREVER;
    return (scenario_t){.threads = threads,
                        .run = run,
                        .set_up = set_up,
                        .finish = finish,
                        .bury = bury,
                        .died = died,
                        .wrote = wrote,
                        .may_sleep = may_sleep,
                        .memory = memory,
                        .bytes = sizeof memory,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

static void units_that_one_releases_let_the_others_go(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(3, false, 4);
    plan.passes = true;
    s.run = pass_on;
    s.preemptions = 3;
    explore(&s);
}

static void three_threads_share_one_plain_unit(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, false, 3);
    explore(&s);
}

static void three_threads_share_two_plain_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, false, 3);
    explore(&s);
}

static void three_threads_share_one_owned_unit(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.preemptions = 4;
    explore(&s);
}

static void three_threads_share_two_owned_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, true, 3);
    s.preemptions = 4;
    explore(&s);
}

static void threads_that_spin_first_share_two_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, false, 3);
    plan.policy = FERRY_WAIT_ADAPTIVE;
    explore(&s);
}

static void four_threads_share_two_plain_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, false, 4);
    s.preemptions = 3;
    explore(&s);
}

static void four_threads_share_two_owned_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, true, 4);
    s.preemptions = 2;
    explore(&s);
}

static void who_gives_up_takes_no_plain_unit_and_no_wake_up(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, false, 3);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 3;
    explore(&s);
}

static void who_gives_up_takes_no_owned_unit_and_no_wake_up(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 3;
    explore(&s);
}

static void the_hungry_get_plain_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, false, 4);
    s.expiries = 2;
    s.preemptions = 1;
    explore(&s);
}

static void the_hungry_that_give_up_units_leave_no_hunger(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, false, 3);
    plan.timeout[0] = plan.timeout[1] = 3 * MILLISECOND;
    s.expiries = 4;
    s.preemptions = 2;
    explore(&s);
}

static void the_hungry_get_owned_units(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.expiries = 2;
    s.preemptions = 2;
    explore(&s);
}

static void a_signal_ends_a_wait_for_a_unit(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.signals = 2;
    s.preemptions = 3;
    explore(&s);
}

static void an_owned_unit_returns_from_a_dead_one(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.deaths = 1;
    s.mortals = 1;
    s.preemptions = 3;
    explore(&s);
}

static void two_owned_units_return_from_two_dead_ones(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, true, 3);
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void two_stewards_bring_back_one_unit_only_once(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.deaths = 1;
    s.mortals = 1;
    s.stewards = 2;
    s.preemptions = 2;
    explore(&s);
}

static void a_plain_unit_stays_with_a_dead_one_and_no_wake_up_is_lost(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(2, false, 3);
    s.deaths = 1;
    s.mortals = 3;
    s.preemptions = 3;
    explore(&s);
}

static void a_death_among_those_who_give_up_loses_no_unit(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.deaths = 1;
    s.mortals = 3;
    s.preemptions = 1;
    explore(&s);
}

static void a_death_among_the_hungry_loses_no_unit(void **state) {
    (void)state;
    scenario_t s = semaphore_scenario(1, true, 3);
    s.expiries = 2;
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(units_that_one_releases_let_the_others_go),
    cmocka_unit_test(three_threads_share_one_plain_unit),
    cmocka_unit_test(three_threads_share_two_plain_units),
    cmocka_unit_test(three_threads_share_one_owned_unit),
    cmocka_unit_test(three_threads_share_two_owned_units),
    cmocka_unit_test(threads_that_spin_first_share_two_units),
    cmocka_unit_test(four_threads_share_two_plain_units),
    cmocka_unit_test(four_threads_share_two_owned_units),
    cmocka_unit_test(who_gives_up_takes_no_plain_unit_and_no_wake_up),
    cmocka_unit_test(who_gives_up_takes_no_owned_unit_and_no_wake_up),
    cmocka_unit_test(the_hungry_get_plain_units),
    cmocka_unit_test(the_hungry_that_give_up_units_leave_no_hunger),
    cmocka_unit_test(the_hungry_get_owned_units),
    cmocka_unit_test(a_signal_ends_a_wait_for_a_unit),
    cmocka_unit_test(an_owned_unit_returns_from_a_dead_one),
    cmocka_unit_test(two_owned_units_return_from_two_dead_ones),
    cmocka_unit_test(two_stewards_bring_back_one_unit_only_once),
    cmocka_unit_test(a_plain_unit_stays_with_a_dead_one_and_no_wake_up_is_lost),
    cmocka_unit_test(a_death_among_those_who_give_up_loses_no_unit),
    cmocka_unit_test(a_death_among_the_hungry_loses_no_unit),
};

group_t semaphore_group(void) {
    return GROUP(tests);
}

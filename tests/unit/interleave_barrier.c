/* SPDX-License-Identifier: MIT
 *
 * interleave_barrier.c - a barrier, in all interleavings.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "sync/barrier.h"

#define PARTIES_MAX 3
#define ROUND UINT64_C(0xffff) /* its lowest bits */
#define FLAGS UINT64_C(0xff000000)

static uint64_t memory[1 + PARTIES_MAX + FI_MEMBERS(PARTIES_MAX)]; /* the word, the slots, the nodes */

static struct {
    uint8_t arrived[MODEL_WORKERS]; /* in the round that goes on; who withdraws has until he has changed the word */
    uint8_t counted[MODEL_WORKERS]; /* a round has been completed with this one, who does not know it yet */
    uint8_t excused[MODEL_WORKERS]; /* since it waits, the barrier has been broken or reset */
    uint8_t completed;              /* rounds */
    uint8_t last;                   /* how many were told to be the last one, or died before they could be */
    uint8_t completer[MODEL_WORKERS];
    uint8_t resets[MODEL_WORKERS]; /* is about to */
    uint8_t deaths, broken;
} notes;

static struct {
    uint32_t parties;
    unsigned rounds[MODEL_WORKERS];
    uint32_t policy;
    int64_t timeout[MODEL_WORKERS]; /* of the first try */
    unsigned retries;               /* after -EOWNERDEAD */
    unsigned resetters;             /* bit mask: who resets it then */
    unsigned breaks_in;             /* bit mask: who does nothing but to reset it, at any time */
    bool some_stay_away;            /* so that others wait in vain */
    bool thread_dies;               /* not the process: the barrier is broken only if it waits */
} plan;

static fi_barrier_t barrier(void) {
    return (fi_barrier_t){.shared = (fi_barrier_memory_t *)(void *)memory, .parties = plan.parties};
}

/* ---- what is written ---- */

/* Who has arrived there in the round `word`; MODEL_WORKERS: nobody. */
static unsigned arrival(uint64_t slot, uint64_t word) {
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if (slot == (name_of(i) | (word & 0x7f) << 24))
            return i;
    return MODEL_WORKERS;
}

/* The round is completed by this one, who may have come last, and then needs no slot. */
static void note_completion(unsigned who, uint64_t word) {
    uint32_t count = 0;
    expect(!(word & FI_BROKEN), "a broken round is completed");
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        count += notes.arrived[i];
    if (count + 1 == plan.parties && !notes.arrived[who]) {
        notes.arrived[who] = 1;
        count++;
    }
    expect(count >= plan.parties, "a round is completed before all have arrived");
    expect(count == plan.parties, "a round is completed with more than there are");
    for (unsigned i = 0; i < MODEL_WORKERS; i++) {
        expect(!notes.arrived[i] || !notes.counted[i], "a thread is counted in two rounds");
        notes.counted[i] |= notes.arrived[i];
        notes.arrived[i] = 0;
    }
    notes.completed++;
    notes.completer[who] = 1;
}

static void died(unsigned who) {
    notes.last = (uint8_t)(notes.last + notes.completer[who]);
    notes.deaths++;
}

static void note_slot(unsigned who, uint64_t before, uint64_t after) {
    unsigned owner = arrival(before, memory[0]);
    expect(owner == who || owner == MODEL_WORKERS, "the arrival of somebody else is taken away");
    if (arrival(after, memory[0]) == who)
        notes.arrived[who] = 1;
}

static void wrote(unsigned who, const uint64_t *word, uint64_t before, uint64_t after) {
    if (word > memory + plan.parties)
        return; /* the nodes */
    if (word != memory) {
        note_slot(who, before, after);
        return;
    }
    bool new_round = ((before ^ after) & ROUND) != 0;
    if (new_round && notes.resets[who])
        memset(notes.arrived, 0, sizeof notes.arrived);
    else if (new_round)
        note_completion(who, before);
    else if ((before ^ after) & ~FLAGS)
        notes.arrived[who] = 0; /* it has withdrawn */
    notes.broken = (uint8_t)(notes.broken + (after & ~before & FI_BROKEN ? 1 : 0));
    expect(notes.broken <= notes.deaths, "it is broken more often than somebody has died");
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        notes.excused[i] |= (new_round && notes.resets[who]) || (after & FI_BROKEN) != 0;
}

static void bury(void) {
    fi_barrier_t b = barrier();
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if (is_dead(i) && !plan.thread_dies)
            fi_barrier_bury_member(&b, fi_owner_node(name_of(i)));
    fi_barrier_bury(&b, owner_is_dead, NULL);
}

/* ---- what the threads do ---- */

static int wait_once(unsigned self, int64_t timeout) {
    fi_barrier_t b = barrier();
    fi_waiter_t who = {.policy = plan.policy, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, timeout);
    notes.excused[self] = (memory[0] & FI_BROKEN) != 0;
    int r = fi_barrier_wait(&b, name_of(self), &w);
    bool success = r == 0 || r == FI_BARRIER_LAST;
    notes.last = (uint8_t)(notes.last + (r == FI_BARRIER_LAST));
    expect(success == notes.counted[self], success ? "a wait ends before its round" : "a wait fails, but was counted");
    expect(success || r == (timeout == 0 ? -EAGAIN : -ETIMEDOUT) || r == -EINTR ||
               (r == -EOWNERDEAD && notes.excused[self]),
           "a wait fails without a reason");
    notes.counted[self] = notes.completer[self] = 0;
    return r;
}

static void reset(unsigned self) {
    fi_barrier_t b = barrier();
    notes.resets[self] = 1;
    fi_barrier_reset(&b);
    notes.resets[self] = 0;
}

/* Until a round has been completed with it. */
static void wait_for_round(unsigned self) {
    int64_t timeout = plan.timeout[self];
    for (unsigned failures = 0; failures <= plan.retries;) {
        int r = wait_once(self, timeout);
        forget_all_but((uint64_t)failures << 8 | (r >= 0));
        if (r >= 0)
            return;
        timeout = FERRY_FOREVER;
        failures += r == -EOWNERDEAD;
        if (r == -EOWNERDEAD && plan.resetters >> self & 1)
            reset(self);
    }
}

static void run(unsigned self) {
    if (plan.breaks_in >> self & 1) {
        reset(self);
        return;
    }
    for (unsigned round = 0; round < plan.rounds[self]; round++) {
        wait_for_round(self);
        forget_all_but(round);
    }
}

/* Where one has died or given up, others may wait for it: if the round goes on, and is not complete. */
static bool may_sleep(unsigned who) {
    uint32_t count = 0;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        count += notes.arrived[i];
    return plan.some_stay_away && !(memory[0] & FI_BROKEN) && notes.arrived[who] && count < plan.parties;
}

/* Each thread is one of a node of its own, and all but the first slots stay as they are. */
static void set_up(void) {
    fi_barrier_t b = barrier();
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        expect(fi_barrier_add_member(&b, fi_owner_node(name_of(i))), "there is no room for a node");
}

static bool is_still(const uint64_t *word) {
    return word > memory + plan.parties + MODEL_WORKERS;
}

static void finish(void) {
    for (uint32_t i = 0; i < plan.parties; i++) {
        unsigned who = arrival(memory[1 + i], memory[0]);
        expect(who == MODEL_WORKERS || is_dead(who) || is_asleep(who), "somebody who has gone counts as arrived");
    }
    expect(notes.last == notes.completed, "a round does not have exactly one last one");
}

static scenario_t barrier_scenario(uint32_t parties, unsigned threads, unsigned rounds) {
    memset(&plan, 0, sizeof plan);
    plan.parties = parties;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < threads; i++) {
        plan.rounds[i] = rounds;
        plan.timeout[i] = FERRY_FOREVER;
    }
    return (scenario_t){.threads = threads,
                        .run = run,
                        .set_up = set_up,
                        .finish = finish,
                        .bury = bury,
                        .died = died,
                        .wrote = wrote,
                        .may_sleep = may_sleep,
                        .is_still = is_still,
                        .memory = memory,
                        .bytes = sizeof memory,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

static void two_parties_meet_in_three_rounds(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 2, 3);
    explore(&s);
}

static void three_parties_meet_in_two_rounds(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 2);
    s.preemptions = 3;
    explore(&s);
}

static void four_threads_meet_in_pairs(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 4, 1);
    s.preemptions = 2;
    explore(&s);
}

static void one_of_four_gives_up_and_the_pairs_meet(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 4, 1);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 1;
    s.preemptions = 1;
    explore(&s);
}

static void parties_that_spin_first_meet(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 1);
    plan.policy = FERRY_WAIT_ADAPTIVE;
    s.preemptions = 1;
    explore(&s);
}

static void one_of_two_gives_up_and_is_not_counted(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 2, 2);
    plan.timeout[0] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 4;
    explore(&s);
}

static void two_of_three_give_up_and_are_not_counted(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 2);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 1;
    s.preemptions = 1;
    explore(&s);
}

static void a_party_that_only_tries_is_not_counted(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 2);
    plan.timeout[0] = FERRY_NOW;
    s.preemptions = 2;
    explore(&s);
}

static void signals_end_waits_at_a_barrier(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 1);
    s.signals = 2;
    s.preemptions = 1;
    explore(&s);
}

static void a_death_ends_the_wait_of_all(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(3, 3, 2);
    s.deaths = 1;
    s.mortals = 1;
    s.preemptions = 1;
    explore(&s);
}

static void a_thread_that_dies_while_it_waits_ends_the_wait_of_all(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 2, 2);
    plan.thread_dies = true;
    plan.some_stay_away = true;
    s.deaths = 1;
    s.mortals = 1;
    explore(&s);
}

static void after_a_death_and_a_reset_others_meet(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 3, 1);
    plan.retries = 3;
    plan.resetters = 1 << 1;
    plan.some_stay_away = true;
    s.deaths = 1;
    s.mortals = 1;
    s.preemptions = 2;
    explore(&s);
}

static void a_steward_that_is_late_does_not_break_what_was_begun_anew(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 2, 1);
    plan.retries = 1;
    plan.resetters = 1 << 1;
    plan.some_stay_away = true;
    s.deaths = 1;
    s.mortals = 1;
    s.stewards = 2;
    s.preemptions = 2;
    explore(&s);
}

static void a_reset_ends_waits_and_those_meet_who_come_again(void **state) {
    (void)state;
    scenario_t s = barrier_scenario(2, 3, 2);
    plan.retries = 2;
    plan.breaks_in = 1 << 2;
    s.preemptions = 3;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_parties_meet_in_three_rounds),
    cmocka_unit_test(three_parties_meet_in_two_rounds),
    cmocka_unit_test(four_threads_meet_in_pairs),
    cmocka_unit_test(one_of_four_gives_up_and_the_pairs_meet),
    cmocka_unit_test(parties_that_spin_first_meet),
    cmocka_unit_test(one_of_two_gives_up_and_is_not_counted),
    cmocka_unit_test(two_of_three_give_up_and_are_not_counted),
    cmocka_unit_test(a_party_that_only_tries_is_not_counted),
    cmocka_unit_test(signals_end_waits_at_a_barrier),
    cmocka_unit_test(a_death_ends_the_wait_of_all),
    cmocka_unit_test(a_thread_that_dies_while_it_waits_ends_the_wait_of_all),
    cmocka_unit_test(after_a_death_and_a_reset_others_meet),
    cmocka_unit_test(a_steward_that_is_late_does_not_break_what_was_begun_anew),
    cmocka_unit_test(a_reset_ends_waits_and_those_meet_who_come_again),
};

group_t barrier_group(void) {
    return GROUP(tests);
}

/* SPDX-License-Identifier: MIT
 *
 * interleave_rwlock.c - a reader-writer lock, in all interleavings.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "sync/rwlock.h"

static fi_rwlock_t lock;

enum { OUT, READS, WRITES };

static struct {
    uint8_t inside[MODEL_WORKERS];
    bool may_be_told;  /* a dead writer owned the gate, and was about to change something as far as others can know */
    bool must_be_told; /* it was inside */
    bool broken;
} notes;

static struct {
    unsigned rounds;
    unsigned writers; /* the first ones; all others read */
    uint32_t policy;
    int64_t timeout[MODEL_WORKERS];
    bool gives_up;
    bool mourners_die;
    unsigned homes;
    bool full; /* but for one slot, all are taken by others */
} plan;

/* ---- what is written ---- */

static unsigned owner_of(uint64_t word) {
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if ((word & FI_OWNER) == name_of(i))
            return i;
    return MODEL_WORKERS;
}

static void wrote(unsigned who, const uint64_t *word, uint64_t before, uint64_t after) {
    uint64_t from = before & FI_OWNER, to = after & FI_OWNER;
    if ((word != &lock.gate.word && word < lock.slot) || from == to)
        return;
    expect(from == 0 || to == 0, "a slot or the gate goes from one owner to the next without becoming free");
    if (from == 0) {
        expect(to == name_of(who), "somebody else is made the owner");
    } else if (from != name_of(who)) {
        expect(owner_is_dead(from, NULL), "something is taken away from a living owner");
        notes.inside[owner_of(from)] = OUT;
    }
}

static void died(unsigned who) {
    uint64_t gate = lock.gate.word;
    bool owned = (gate & FI_OWNER) == name_of(who) && !(gate & FI_HARMLESS);
    bool inside = notes.inside[who] == WRITES;
    expect(owned || !inside, "nobody could tell that this writer was inside");
    notes.may_be_told |= owned;
    notes.must_be_told |= inside;
}

static void bury(void) {
    fi_rwlock_bury(&lock, owner_is_dead, NULL);
}

/* ---- what the threads do ---- */

static void check_alone(unsigned self, unsigned how) {
    for (unsigned i = 0; i < MODEL_WORKERS; i++) {
        expect(i == self || notes.inside[i] != WRITES, "somebody is inside together with a writer");
        expect(how == READS || notes.inside[i] == OUT, "a writer is inside together with somebody");
    }
    expect(!notes.broken, "a broken lock is taken");
    notes.inside[self] = (uint8_t)how;
}

static void write_inside(unsigned self, int how) {
    check_alone(self, WRITES);
    expect((how == FI_TAKEN_FROM_DEAD) == notes.may_be_told, "the news of a death is wrong");
    notes.may_be_told = notes.must_be_told = false;
    forget_all_but((uint64_t)how);
    if (how == FI_TAKEN_FROM_DEAD && plan.mourners_die)
        may_die(self);
    pass_time();
    notes.inside[self] = OUT;
    if (how == FI_TAKEN_FROM_DEAD && plan.gives_up) {
        notes.broken = true;
        fi_mutex_break(&lock.gate);
    } else {
        fi_mutex_unlock(&lock.gate, name_of(self));
    }
}

static void read_inside(unsigned self, int how, uint32_t slot) {
    check_alone(self, READS);
    expect(how != FI_TAKEN_FROM_DEAD || notes.may_be_told, "a reader is told of a death that has not been");
    expect(how == FI_TAKEN_FROM_DEAD || !notes.must_be_told, "a reader is not told of a death");
    forget_all_but(slot);
    pass_time();
    notes.inside[self] = OUT;
    fi_rwlock_read_unlock(&lock, slot);
}

static uint32_t home_of(unsigned self) {
    return self * (FI_READERS / FI_READER_LINES);
}

static void run(unsigned self) {
    bool writes = self < plan.writers;
    uint32_t slot = home_of(self);
    for (unsigned round = 0; round < plan.rounds; round++) {
        fi_waiter_t who = {.policy = plan.policy, .grace = -1};
        fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
        int r = writes ? fi_rwlock_write(&lock, name_of(self), &w) : fi_rwlock_read(&lock, name_of(self), &slot, &w);
        if (r > 0 && writes)
            write_inside(self, r);
        else if (r > 0)
            read_inside(self, r, slot);
        else
            expect((r == -ETIMEDOUT && plan.timeout[self] > 0) || (r == -EAGAIN && plan.timeout[self] == 0) ||
                       r == -EINTR || (r == -ENOTRECOVERABLE && plan.gives_up),
                   "a lock call fails without a reason");
        forget_all_but((uint64_t)slot << 32 | round);
    }
}

/* ---- before and after ---- */

/* Which slots can be taken is known: each thread has its home, and only when all others are full it takes another
 * one. */
static bool is_still(const uint64_t *word) {
    if (word < lock.slot)
        return false;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if (word == &lock.slot[home_of(i)])
            return false;
    return true;
}

static void set_up(void) {
    if (!plan.full) {
        for (unsigned i = 0; i < plan.homes; i++)
            (void)fi_rwlock_home(&lock);
        return;
    }
    lock.homes = FI_READERS;
    for (unsigned i = 0; i < FI_READERS; i++)
        lock.slot[i] = i == home_of(0) ? 0 : name_of(MODEL_WORKERS + 1);
}

static int take(bool writes) {
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
    uint32_t slot = home_of(0);
    int r = writes ? fi_rwlock_write(&lock, name_of(MODEL_WORKERS), &w)
                   : fi_rwlock_read(&lock, name_of(MODEL_WORKERS), &slot, &w);
    if (r > 0 && writes)
        fi_mutex_unlock(&lock.gate, name_of(MODEL_WORKERS));
    else if (r > 0)
        fi_rwlock_read_unlock(&lock, slot);
    return r;
}

static void finish(void) {
    int due = notes.may_be_told ? FI_TAKEN_FROM_DEAD : FI_TAKEN;
    expect((lock.gate.word & FI_OWNER) == 0, "the gate is still owned");
    if (notes.broken) {
        expect(take(false) == -ENOTRECOVERABLE, "a broken lock is not broken for readers");
        expect(take(true) == -ENOTRECOVERABLE, "a broken lock is not broken for writers");
        return;
    }
    expect(take(false) == due, "a reader who comes later does not get it");
    if (plan.full)
        return;
    expect(take(true) == due, "a writer who comes later does not get it");
    expect(lock.gate.word == 0, "a flag stays behind for ever");
    expect(fi_rwlock_any_holder(&lock) == 0, "somebody has left his name");
}

static scenario_t rwlock_scenario(unsigned writers, unsigned readers) {
    memset(&plan, 0, sizeof plan);
    plan.rounds = 1;
    plan.homes = writers + readers;
    plan.writers = writers;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        plan.timeout[i] = FERRY_FOREVER;
    return (scenario_t){.threads = writers + readers,
                        .run = run,
                        .set_up = set_up,
                        .finish = finish,
                        .bury = bury,
                        .died = died,
                        .wrote = wrote,
                        .is_still = is_still,
                        .memory = &lock,
                        .bytes = sizeof lock,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

static void a_writer_and_a_reader_are_never_in_together(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 1);
    plan.rounds = 2;
    explore(&s);
}

static void a_writer_and_two_readers_are_never_in_together(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    s.preemptions = 4;
    explore(&s);
}

static void two_writers_and_a_reader_are_never_in_together(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    s.preemptions = 4;
    explore(&s);
}

static void two_writers_and_two_readers_are_never_in_together(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 2);
    s.preemptions = 2;
    explore(&s);
}

static void readers_and_writers_that_spin_first_are_never_in_together(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    plan.policy = FERRY_WAIT_ADAPTIVE;
    s.preemptions = 3;
    explore(&s);
}

static void a_writer_that_gives_up_lets_readers_in(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    plan.timeout[0] = MILLISECOND / 2;
    s.expiries = 1;
    s.preemptions = 2;
    explore(&s);
}

static void readers_that_give_up_let_the_writer_in(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    plan.timeout[1] = plan.timeout[2] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 2;
    explore(&s);
}

static void a_signal_ends_the_wait_of_writers_and_readers(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    s.signals = 2;
    s.preemptions = 3;
    explore(&s);
}

static void hungry_writers_and_readers_are_let_in(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    s.expiries = 2;
    s.preemptions = 2;
    explore(&s);
}

static void who_only_tries_keeps_nobody_out(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 2);
    plan.timeout[0] = plan.timeout[2] = FERRY_NOW;
    s.preemptions = 3;
    explore(&s);
}

static void a_reader_that_dies_gives_its_hold_back(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    s.deaths = 1;
    s.mortals = 1 << 1;
    s.preemptions = 2;
    explore(&s);
}

static void a_writer_that_dies_is_told_of_exactly_if_it_was_inside(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    s.deaths = 1;
    s.mortals = 1 << 0;
    s.preemptions = 2;
    explore(&s);
}

static void any_two_may_die_and_the_third_gets_the_lock(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    plan.mourners_die = true;
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void two_stewards_may_look_after_a_dead_reader_or_writer(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(1, 2);
    s.deaths = 1;
    s.mortals = 3;
    s.stewards = 2;
    s.preemptions = 1;
    explore(&s);
}

static void a_lock_that_is_given_up_unrepaired_is_broken_for_all(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(2, 1);
    plan.gives_up = true;
    s.deaths = 1;
    s.mortals = 1 << 0;
    s.preemptions = 2;
    explore(&s);
}

/* ---- homes ---- */

static void open_two_handles(unsigned self) {
    (void)self;
    (void)fi_rwlock_home(&lock);
    (void)fi_rwlock_home(&lock);
}

static void set_up_homes(void) {
    lock.homes = 2 * FI_READERS - 1;
}

static void check_homes(void) {
    expect(lock.homes >= FI_READERS, "a writer would look at some of the slots only");
}

static void the_number_of_homes_never_becomes_small_again(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(0, 4);
    s.run = open_two_handles;
    s.set_up = set_up_homes;
    s.finish = check_homes;
    explore(&s);
}

static void a_reader_waits_for_one_of_very_many_to_leave(void **state) {
    (void)state;
    scenario_t s = rwlock_scenario(0, 3);
    plan.full = true;
    s.preemptions = 2;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_writer_and_a_reader_are_never_in_together),
    cmocka_unit_test(a_writer_and_two_readers_are_never_in_together),
    cmocka_unit_test(two_writers_and_a_reader_are_never_in_together),
    cmocka_unit_test(two_writers_and_two_readers_are_never_in_together),
    cmocka_unit_test(readers_and_writers_that_spin_first_are_never_in_together),
    cmocka_unit_test(a_writer_that_gives_up_lets_readers_in),
    cmocka_unit_test(readers_that_give_up_let_the_writer_in),
    cmocka_unit_test(a_signal_ends_the_wait_of_writers_and_readers),
    cmocka_unit_test(hungry_writers_and_readers_are_let_in),
    cmocka_unit_test(who_only_tries_keeps_nobody_out),
    cmocka_unit_test(a_reader_that_dies_gives_its_hold_back),
    cmocka_unit_test(a_writer_that_dies_is_told_of_exactly_if_it_was_inside),
    cmocka_unit_test(any_two_may_die_and_the_third_gets_the_lock),
    cmocka_unit_test(two_stewards_may_look_after_a_dead_reader_or_writer),
    cmocka_unit_test(a_lock_that_is_given_up_unrepaired_is_broken_for_all),
    cmocka_unit_test(the_number_of_homes_never_becomes_small_again),
    cmocka_unit_test(a_reader_waits_for_one_of_very_many_to_leave),
};

group_t rwlock_group(void) {
    return GROUP(tests);
}

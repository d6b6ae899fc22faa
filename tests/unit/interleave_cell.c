/* SPDX-License-Identifier: MIT
 *
 * interleave_cell.c - cells, in all interleavings: puts against puts, gets, waits and watchers, with deaths.
 *
 * A value is its own version, twice: so what was got shows whether it is whole, and which one it is.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "store/cell.h"

#define CELLS 2u
#define VALUE 16u

static _Alignas(FI_CACHE_LINE) uint64_t memory[(64 + CELLS * (64 + 64 + FI_CELL_BUFFERS * 64)) / 8];

static struct {
    uint64_t newest[CELLS];
    uint64_t after[MODEL_WORKERS]; /* waits for a version larger than this */
    uint64_t seen[MODEL_WORKERS][CELLS];
    uint8_t putting[CELLS]; /* 1 + who has the turn */
} notes;

typedef enum role { PUTS, GETS, WAITS, WATCHES } role_t;

static struct {
    role_t role[MODEL_WORKERS];
    unsigned rounds[MODEL_WORKERS];
    uint32_t cell[MODEL_WORKERS];
    int64_t timeout[MODEL_WORKERS];
} plan;

static fi_cells_t cells(void) {
    fi_cells_t c;
    fi_cells_find(&c, memory, CELLS, VALUE);
    return c;
}

/* ---- what may change, and how ---- */

static unsigned who_is(uint64_t owner) {
    unsigned who = 0;
    while (who < MODEL_WORKERS && owner != name_of(who))
        who++;
    return who;
}

static void turn_changes(unsigned who, uint32_t cell, uint64_t from, uint64_t to) {
    if (from == to)
        return;
    expect(from == 0 || to == 0, "a turn goes from one to the next without ending");
    if (from == 0)
        expect(to == name_of(who), "somebody else is given the turn");
    else
        expect(from == name_of(who) || is_dead(who_is(from)), "a turn is taken away from one who lives");
    notes.putting[cell] = (uint8_t)(to == 0 ? 0 : 1 + who);
}

static void word_changes(unsigned who, uint32_t cell, uint64_t from, uint64_t to) {
    if (from == to)
        return;
    expect(to == from + 1, "a put counts more or less than one");
    expect(notes.putting[cell] == 1 + who, "somebody publishes when it is not his turn");
    notes.newest[cell] = to;
}

static void wrote(unsigned who, const uint64_t *at, uint64_t before, uint64_t after) {
    fi_cells_t c = cells();
    for (uint32_t i = 0; i < CELLS; i++) {
        if (at == &c.control[i].word)
            word_changes(who, i, before >> 32, after >> 32);
        if (at == &c.turn[i].mutex.word)
            turn_changes(who, i, before & FI_OWNER, after & FI_OWNER);
    }
}

static void bury(void) {
    fi_cells_t c = cells();
    fi_cells_bury(&c, owner_is_dead, NULL);
}

/* ---- what the threads do ---- */

static bool has_failed_for_a_reason(unsigned self, int r) {
    return (r == -ETIMEDOUT && plan.timeout[self] > 0) || r == -EINTR;
}

static void put(unsigned self, uint32_t cell) {
    fi_cells_t c = cells();
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
    int r = fi_cell_try_turn(&c, cell, name_of(self)) ? FI_TAKEN : fi_cell_take_turn(&c, cell, name_of(self), &w);
    if (r < 0) {
        expect(has_failed_for_a_reason(self, r), "a turn is not given, without a reason");
        return;
    }
    uint64_t version = notes.newest[cell] + 1, value[2] = {version, version};
    forget_all_but(version);
    expect(fi_cell_publish(&c, cell, value, sizeof value) == version, "a put tells another version than it became");
    expect(notes.newest[cell] == version, "a put is not published");
    fi_cell_end_turn(&c, cell, name_of(self));
    forget_all_but(version);
    if (fi_cells_take_wanted(&c) & FI_CELLS_WATCHED)
        fi_cells_tell(&c);
}

static void get(unsigned self, uint32_t cell) {
    fi_cells_t c = cells();
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, FERRY_FOREVER);
    uint64_t value[2] = {0}, least = notes.newest[cell];
    fi_cell_look_t l;
    forget_all_but(least);
    int r = fi_cell_get(&c, cell, name_of(self), &w, value, sizeof value, &l);
    if (r == -ENODATA) {
        expect(least == 0, "a value that was put is not there");
        return;
    }
    expect(r == 0, "a get fails without a reason");
    expect(l.len == sizeof value && value[0] == value[1], "half a value is got");
    expect(value[0] == l.version, "a value comes with another version");
    expect(l.version >= least && l.version <= notes.newest[cell], "a get does not get the newest version");
    forget_all_but(l.version);
}

static void wait_for(unsigned self, uint32_t cell) {
    fi_cells_t c = cells();
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
    int r = fi_cell_wait(&c, cell, notes.after[self], &w);
    expect(r == 0 || has_failed_for_a_reason(self, r), "a wait fails without a reason");
    if (r < 0)
        return;
    expect(notes.newest[cell] > notes.after[self], "a wait ends before a newer version is there");
    notes.after[self]++;
}

static void watch(unsigned self) {
    fi_cells_t c = cells();
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, plan.timeout[self]);
    uint64_t before[CELLS], seen[CELLS];
    uint32_t changed[CELLS];
    memcpy(before, notes.seen[self], sizeof before);
    memcpy(seen, before, sizeof seen);
    int found = fi_cells_watch(&c, seen, changed, CELLS, 0, &w);
    expect(found > 0 || has_failed_for_a_reason(self, found), "a watch fails without a reason");
    for (int i = 0; i < found; i++)
        expect(seen[changed[i]] > before[changed[i]] && seen[changed[i]] <= notes.newest[changed[i]],
               "a watch sees a version that is not there");
    memcpy(notes.seen[self], seen, sizeof seen);
    forget_all_but(0);
}

static void act(unsigned self) {
    switch (plan.role[self]) {
    case PUTS:
        put(self, plan.cell[self]);
        break;
    case GETS:
        get(self, plan.cell[self]);
        break;
    case WAITS:
        wait_for(self, plan.cell[self]);
        break;
    case WATCHES:
        watch(self);
        break;
    }
}

static void run(unsigned self) {
    for (unsigned round = 0; round < plan.rounds[self]; round++) {
        act(self);
        forget_all_but(round);
    }
}

/* Nobody runs: then who waits has seen all that there is. */
static bool may_sleep(unsigned who) {
    if (plan.role[who] == WAITS)
        return notes.newest[plan.cell[who]] <= notes.after[who];
    return plan.role[who] == WATCHES && memcmp(notes.seen[who], notes.newest, sizeof notes.newest) == 0;
}

static void finish(void) {
    fi_cells_t c = cells();
    for (uint32_t i = 0; i < CELLS; i++) {
        expect(fi_cell_version(&c, i) == notes.newest[i], "a version is not the one that was published last");
        get(MODEL_WORKERS, i);
        fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
        fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
        expect(fi_cell_take_turn(&c, i, name_of(MODEL_WORKERS), &w) > 0, "a turn has not ended");
        uint64_t value[2] = {notes.newest[i] + 1, notes.newest[i] + 1};
        expect(fi_cell_publish(&c, i, value, sizeof value) == value[0], "whoever comes later cannot put");
        notes.newest[i]++;
        get(MODEL_WORKERS, i);
    }
}

static scenario_t cell_scenario(const role_t *roles, unsigned threads) {
    memset(&plan, 0, sizeof plan);
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
                        .memory = memory,
                        .bytes = sizeof memory,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = ANY_NUMBER};
}

#define SCENARIO(...) cell_scenario((const role_t[]){__VA_ARGS__}, sizeof((role_t[]){__VA_ARGS__}) / sizeof(role_t))

/* ---- puts and gets ---- */

static void gets_beside_a_put_get_one_version_or_the_other(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, GETS, GETS);
    plan.rounds[0] = plan.rounds[1] = 2;
    s.preemptions = 3;
    explore(&s);
}

/* Once round: the buffer that is being read is written again. */
static void a_get_that_four_puts_overtake_looks_again(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, GETS);
    plan.rounds[0] = 2 * FI_CELL_BUFFERS + 1;
    plan.rounds[1] = 2;
    s.preemptions = 3;
    explore(&s);
}

static void two_who_put_wait_for_each_other(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, GETS);
    plan.rounds[0] = plan.rounds[1] = 2;
    s.preemptions = 3;
    explore(&s);
}

static void three_who_put_wait_for_each_other(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, PUTS);
    s.preemptions = 3;
    explore(&s);
}

static void who_gives_up_his_turn_is_passed_over(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, PUTS);
    plan.timeout[0] = plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 2;
    explore(&s);
}

/* ---- waits ---- */

static void no_put_is_missed_by_those_who_wait(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WAITS, WAITS);
    plan.rounds[0] = plan.rounds[1] = 2;
    s.preemptions = 4;
    explore(&s);
}

static void no_put_of_two_is_missed_by_one_who_waits(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, WAITS);
    plan.rounds[2] = 2;
    s.preemptions = 4;
    explore(&s);
}

static void waits_end_in_time(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WAITS, WAITS);
    plan.timeout[1] = plan.timeout[2] = 2 * MILLISECOND;
    s.expiries = 2;
    s.signals = 1;
    s.preemptions = 2;
    explore(&s);
}

/* ---- watchers ---- */

static void no_put_is_missed_by_one_who_watches_all(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, WATCHES);
    plan.cell[1] = 1;
    plan.rounds[2] = 2;
    s.preemptions = 3;
    explore(&s);
}

static void no_put_is_missed_by_two_who_watch_all(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WATCHES, WATCHES);
    plan.rounds[0] = 2;
    s.preemptions = 3;
    explore(&s);
}

static void who_watches_and_gives_up_leaves_the_others_be(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WATCHES, WATCHES);
    plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 1;
    s.preemptions = 3;
    explore(&s);
}

/* ---- deaths ---- */

static void who_dies_in_a_put_leaves_a_version_or_the_one_before(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, GETS);
    s.deaths = 1;
    s.mortals = 1;
    s.preemptions = 2;
    explore(&s);
}

static void any_two_who_put_may_die(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, PUTS);
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void a_death_in_a_put_strands_nobody_who_waits(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WAITS, WAITS);
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 3;
    explore(&s);
}

static void two_stewards_may_look_after_a_put(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, WAITS);
    s.deaths = 1;
    s.mortals = 1;
    s.stewards = 2;
    s.preemptions = 1;
    explore(&s);
}

/* The one who sets things right may die in the middle, too: another one does it. */
static void a_steward_may_die_as_well(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, WAITS);
    s.deaths = 2;
    s.mortals = 1 | 1 << 2;
    s.preemptions = 2;
    explore(&s);
}

static void a_death_in_a_put_strands_nobody_who_watches(void **state) {
    (void)state;
    scenario_t s = SCENARIO(PUTS, PUTS, WATCHES);
    plan.cell[1] = 1;
    s.deaths = 1;
    s.mortals = 7;
    s.preemptions = 2;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(gets_beside_a_put_get_one_version_or_the_other),
    cmocka_unit_test(a_get_that_four_puts_overtake_looks_again),
    cmocka_unit_test(two_who_put_wait_for_each_other),
    cmocka_unit_test(three_who_put_wait_for_each_other),
    cmocka_unit_test(who_gives_up_his_turn_is_passed_over),
    cmocka_unit_test(no_put_is_missed_by_those_who_wait),
    cmocka_unit_test(no_put_of_two_is_missed_by_one_who_waits),
    cmocka_unit_test(waits_end_in_time),
    cmocka_unit_test(no_put_is_missed_by_one_who_watches_all),
    cmocka_unit_test(no_put_is_missed_by_two_who_watch_all),
    cmocka_unit_test(who_watches_and_gives_up_leaves_the_others_be),
    cmocka_unit_test(who_dies_in_a_put_leaves_a_version_or_the_one_before),
    cmocka_unit_test(any_two_who_put_may_die),
    cmocka_unit_test(a_death_in_a_put_strands_nobody_who_waits),
    cmocka_unit_test(two_stewards_may_look_after_a_put),
    cmocka_unit_test(a_steward_may_die_as_well),
    cmocka_unit_test(a_death_in_a_put_strands_nobody_who_watches),
};

group_t cell_group(void) {
    return GROUP(tests);
}

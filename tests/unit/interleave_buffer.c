/* SPDX-License-Identifier: MIT
 *
 * interleave_buffer.c - the bounded buffer, in all interleavings.
 *
 * What is put and taken is seen where it happens: at the one store to `tail`, and the one to `head`.
 */
#include "interleave_tests.h"

#include <errno.h>
#include <string.h>

#include "store/buffer.h"

#define SLOTS_MAX 2
#define ITEM 8u /* bytes */
#define WORDS ((sizeof(fi_buffer_memory_t) + SLOTS_MAX * 2 * ITEM) / sizeof(uint64_t))

static uint64_t memory[WORDS] __attribute__((aligned(64)));
static fi_buffer_t buffer;

static struct {
    uint8_t put[MODEL_WORKERS];   /* by each, so far: items are numbered by producer */
    uint8_t taken[MODEL_WORKERS]; /* of each producer's */
    uint8_t gets[MODEL_WORKERS];  /* by each */
    uint64_t got[MODEL_WORKERS];  /* the last item that each took */
    uint8_t begun[MODEL_WORKERS]; /* the item that each puts now */
} notes;

typedef enum role { PUTS, GETS, ENDS } role_t;

static struct {
    uint64_t slots;
    role_t role[MODEL_WORKERS];
    unsigned rounds[MODEL_WORKERS];
    int64_t timeout[MODEL_WORKERS];
    uint32_t policy;
} plan;

static fi_buffer_memory_t *shared(void) {
    return (fi_buffer_memory_t *)(void *)memory;
}

static uint64_t item_of(unsigned who, unsigned number) {
    return (uint64_t)(who + 1) << 8 | number;
}

static uint64_t item_at(uint64_t position) {
    return memory[(sizeof(fi_buffer_memory_t) + position % plan.slots * 2 * ITEM) / sizeof(uint64_t) + 1];
}

/* ---- what is seen ---- */

static void is_put(unsigned who, uint64_t position) {
    expect(notes.begun[who] > notes.put[who], "somebody puts an item that nobody has given it");
    expect(item_at(position) == item_of(who, notes.begun[who]), "an item is put that is not whole");
    notes.put[who] = notes.begun[who];
}

static void is_taken(unsigned who, uint64_t position) {
    uint64_t item = item_at(position);
    unsigned producer = (unsigned)(item >> 8) - 1;
    expect(producer < MODEL_WORKERS && item == item_of(producer, notes.taken[producer] + 1u),
           "an item is taken out of turn, or twice");
    notes.taken[producer]++;
    notes.got[who] = item;
    notes.gets[who]++;
}

static void wrote(unsigned who, const uint64_t *word, uint64_t before, uint64_t after) {
    fi_buffer_memory_t *m = shared();
    if (word == &m->lock.word || word == &m->filled || word == &m->emptied)
        return;
    expect((m->lock.word & FI_OWNER) == name_of(who), "something is changed by one who does not have the lock");
    if (word == &m->tail || word == &m->head)
        expect(after == before + 1, "more or less than one item");
    if (word == &m->tail)
        is_put(who, before);
    if (word == &m->head)
        is_taken(who, before);
}

/* What the lock protects, for whoever has it; those who spin look at it without. */
static bool is_mine(unsigned who, const uint64_t *word) {
    const fi_buffer_memory_t *m = shared();
    return plan.policy == FERRY_WAIT_BLOCK && word != &m->lock.word && word != &m->filled && word != &m->emptied &&
           (m->lock.word & FI_OWNER) == name_of(who);
}

static uint64_t items(void) {
    return shared()->tail - shared()->head;
}

/* Whoever is asleep when nobody runs must have nothing to do, and be counted. */
static bool may_sleep(unsigned who) {
    const fi_buffer_memory_t *m = shared();
    uint64_t asleep = 0;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        asleep += is_asleep(i) && plan.role[i] == plan.role[who];
    if (m->ended || m->lock.word & FI_OWNER)
        return false;
    return plan.role[who] == PUTS ? items() == plan.slots && m->producers >= asleep
                                  : items() == 0 && m->consumers >= asleep;
}

static void bury(void) {
    fi_buffer_bury(&buffer, owner_is_dead, NULL);
}

/* ---- what the threads do ---- */

static bool has_failed_for_a_reason(unsigned self, int r) {
    return (r == -ETIMEDOUT && plan.timeout[self] > 0) || (r == -EAGAIN && plan.timeout[self] == 0) || r == -EINTR ||
           (r == -EPIPE && shared()->ended);
}

static int put(unsigned self, const fi_buffer_user_t *user) {
    uint8_t before = notes.put[self];
    uint64_t item = item_of(self, before + 1u);
    notes.begun[self] = (uint8_t)(before + 1);
    int r = fi_buffer_put(&buffer, user, &item, ITEM, plan.timeout[self]);
    expect(notes.put[self] == before + (r == 0), "a put does not say what it did");
    return r;
}

static int get(unsigned self, const fi_buffer_user_t *user) {
    uint8_t before = notes.gets[self];
    uint64_t item = 0, length = 0;
    int r = fi_buffer_get(&buffer, user, &item, ITEM, &length, plan.timeout[self]);
    expect(notes.gets[self] == before + (r == 0), "a get does not say what it did");
    expect(r != 0 || (item == notes.got[self] && length == ITEM), "a get returns something else than it took");
    return r;
}

static void run(unsigned self) {
    for (unsigned round = 0; round < plan.rounds[self]; round++) {
        fi_waiter_t who = {.policy = plan.policy, .grace = -1};
        fi_buffer_user_t user = {.me = name_of(self), .waiter = &who, .patience = FERRY_FOREVER};
        int r = plan.role[self] == PUTS   ? put(self, &user)
                : plan.role[self] == GETS ? get(self, &user)
                                          : fi_buffer_end(&buffer, &user);
        expect(r == 0 || has_failed_for_a_reason(self, r), "a call fails without a reason");
        notes.begun[self] = notes.put[self];
        forget_all_but(round << 1 | (r == 0));
    }
}

static void set_up(void) {
    fi_buffer_init(memory, plan.slots, ITEM);
    expect(fi_buffer_find(&buffer, memory, sizeof memory) == 0, "it cannot be found");
}

/* All that was put and not taken is there, in order. */
static void finish(void) {
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_buffer_user_t user = {.me = name_of(MODEL_WORKERS), .waiter = &who, .patience = MILLISECOND};
    uint64_t item, length, left = 0;
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        left += notes.put[i] - (uint64_t)notes.taken[i];
    for (unsigned i = 0; i < MODEL_WORKERS; i++)
        if (is_asleep(i))
            return; /* has taken part in nothing since may_sleep was asked */
    expect((shared()->lock.word & FI_OWNER) == 0, "somebody has the lock when all have ended");
    if (shared()->lock.word & FI_OWNER)
        return;
    expect(fi_buffer_count(&buffer) == (int64_t)left, "the count is wrong");
    for (uint64_t i = 0; i < left; i++)
        expect(fi_buffer_get(&buffer, &user, &item, ITEM, &length, FERRY_NOW) == 0 && length == ITEM,
               "whoever comes later does not get what is left");
    expect(fi_buffer_get(&buffer, &user, &item, ITEM, &length, FERRY_NOW) == (shared()->ended ? -EPIPE : -EAGAIN),
           "something is left that nobody put");
}

static scenario_t buffer_scenario(uint64_t slots, const role_t *roles, unsigned threads) {
    memset(&plan, 0, sizeof plan);
    plan.slots = slots;
    plan.policy = FERRY_WAIT_BLOCK;
    for (unsigned i = 0; i < threads; i++) {
        plan.role[i] = roles[i];
        plan.rounds[i] = 1;
        plan.timeout[i] = FERRY_FOREVER;
    }
    return (scenario_t){.threads = threads,
                        .run = run,
                        .set_up = set_up,
                        .finish = finish,
                        .bury = bury,
                        .wrote = wrote,
                        .may_sleep = may_sleep,
                        .is_mine = is_mine,
                        .memory = memory,
                        .bytes = sizeof memory,
                        .notes = &notes,
                        .notes_bytes = sizeof notes,
                        .preemptions = 2};
}

#define SCENARIO(slots, ...)                                                                                           \
    buffer_scenario((slots), (const role_t[]){__VA_ARGS__}, sizeof((role_t[]){__VA_ARGS__}) / sizeof(role_t))

static void one_puts_and_one_gets(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS);
    plan.rounds[0] = plan.rounds[1] = 2;
    s.preemptions = ANY_NUMBER;
    explore(&s);
}

static void two_put_and_two_get(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, GETS, GETS);
    plan.rounds[0] = plan.rounds[1] = plan.rounds[2] = plan.rounds[3] = 2;
    s.preemptions = 1;
    explore(&s);
}

static void one_puts_for_three(void **state) {
    (void)state;
    scenario_t s = SCENARIO(2, PUTS, GETS, GETS, GETS);
    plan.rounds[0] = 3;
    explore(&s);
}

static void three_put_for_one(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, PUTS, GETS);
    plan.rounds[3] = 3;
    explore(&s);
}

static void those_who_spin_first_miss_nothing(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, GETS, GETS);
    plan.policy = FERRY_WAIT_ADAPTIVE;
    explore(&s);
}

static void an_end_is_told_to_all(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, ENDS, GETS, GETS, GETS);
    explore(&s);
}

static void an_end_stops_those_who_put(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, ENDS, GETS);
    plan.rounds[0] = plan.rounds[1] = 2;
    explore(&s);
}

static void who_gives_up_strands_nobody(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS, GETS);
    plan.rounds[0] = 2;
    plan.timeout[1] = MILLISECOND / 2;
    s.expiries = 2;
    s.preemptions = 1;
    explore(&s);
}

static void who_cannot_put_in_time_strands_nobody(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, PUTS, GETS);
    plan.rounds[3] = 2;
    plan.timeout[0] = MILLISECOND / 2;
    s.expiries = 1;
    s.preemptions = 1;
    explore(&s);
}

static void a_signal_strands_nobody(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS, GETS);
    plan.rounds[0] = 2;
    s.signals = 2;
    explore(&s);
}

static void who_only_looks_leaves_no_trace(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS, GETS);
    plan.rounds[0] = plan.rounds[2] = 2;
    plan.timeout[1] = FERRY_NOW;
    plan.rounds[1] = 3;
    explore(&s);
}

static void any_one_may_die_and_the_others_go_on(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, GETS, GETS);
    s.deaths = 1;
    s.mortals = 15;
    s.preemptions = 1;
    explore(&s);
}

static void any_one_may_die_among_three_who_get(void **state) {
    (void)state;
    scenario_t s = SCENARIO(2, PUTS, GETS, GETS, GETS);
    plan.rounds[0] = 2;
    s.deaths = 1;
    s.mortals = 15;
    s.preemptions = 1;
    explore(&s);
}

static void any_one_may_die_among_three_who_put(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, PUTS, PUTS, GETS);
    plan.rounds[3] = 3;
    s.deaths = 1;
    s.mortals = 15;
    s.preemptions = 1;
    explore(&s);
}

static void any_two_may_die(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS, GETS);
    s.deaths = 2;
    s.mortals = 7;
    s.preemptions = 1;
    explore(&s);
}

static void two_stewards_may_look_after_a_death_there(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, PUTS, GETS, GETS);
    plan.rounds[0] = 2;
    s.deaths = 1;
    s.mortals = 7;
    s.stewards = 2;
    s.preemptions = 1;
    explore(&s);
}

static void who_ends_it_may_die(void **state) {
    (void)state;
    scenario_t s = SCENARIO(1, ENDS, GETS, GETS, PUTS);
    s.deaths = 1;
    s.mortals = 1;
    s.preemptions = 1;
    explore(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_puts_and_one_gets),
    cmocka_unit_test(two_put_and_two_get),
    cmocka_unit_test(one_puts_for_three),
    cmocka_unit_test(three_put_for_one),
    cmocka_unit_test(those_who_spin_first_miss_nothing),
    cmocka_unit_test(an_end_is_told_to_all),
    cmocka_unit_test(an_end_stops_those_who_put),
    cmocka_unit_test(who_gives_up_strands_nobody),
    cmocka_unit_test(who_cannot_put_in_time_strands_nobody),
    cmocka_unit_test(a_signal_strands_nobody),
    cmocka_unit_test(who_only_looks_leaves_no_trace),
    cmocka_unit_test(any_one_may_die_and_the_others_go_on),
    cmocka_unit_test(any_one_may_die_among_three_who_get),
    cmocka_unit_test(any_one_may_die_among_three_who_put),
    cmocka_unit_test(any_two_may_die),
    cmocka_unit_test(two_stewards_may_look_after_a_death_there),
    cmocka_unit_test(who_ends_it_may_die),
};

group_t buffer_group(void) {
    return GROUP(tests);
}

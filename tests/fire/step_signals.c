/* SPDX-License-Identifier: MIT
 *
 * step_signals.c - trials with what belongs to nobody: units of plain semaphores, events, barriers.
 *
 * What the victim had taken is gone with it, and what it had given stays. So the helpers that sleep must go on by what
 * is there; and where nothing is there and all of them sleep, the witness gives one more.
 */
#include "lock_step.h"

#include <stdio.h>

/* ---- the victim's calls ---- */

static void take(void) {
    check_is(object_take(&victim_object, PATIENCE), 0);
}

/* What only the first call does is done with it. */
static void try_in_vain(void) {
    check_is(object_take(&victim_object, FERRY_NOW), -EAGAIN);
}

static void give(void) {
    check_is(object_give(&victim_object), 0);
}

static void arrive(void) {
    int answer = object_take(&victim_object, PATIENCE);
    check(answer >= 0);
    victim_answers(answer);
}

/* ---- errands ---- */

/* What is there to be taken, or just to be seen. */
static int look(helper_t *h) {
    return h->kind == PLAIN ? ferry_semaphore_value(h->object.semaphore) : ferry_event_is_set(h->object.event);
}

static int count_sets(helper_t *h) {
    return ferry_event_count(h->object.event);
}

static int take_the_rest(helper_t *h) {
    return h->kind == PLAIN ? ferry_semaphore_acquire(h->object.semaphore, FERRY_NOW) == 0
                            : ferry_event_reset(h->object.event);
}

/* Ben's way may be to wait for the next time. */
static int wait_for_it(helper_t *h) {
    if (h->kind == LATER_SET)
        h->object.count = ferry_event_count(h->object.event);
    return take_it(h);
}

static int take_at_once(helper_t *h) {
    return object_take(&h->object, FERRY_NOW);
}

static int begin_anew(helper_t *h) {
    return ferry_barrier_reset(h->object.barrier);
}

/* ---- before the victim acts ---- */

static void witness_gives(run_t *r) {
    check_is(helper_do(&r->helpers[WITNESS], give_it), 0);
    r->given++;
}

static void one_asks(run_t *r, unsigned who) {
    if (r->asked[who])
        return;
    ask(r, who, wait_for_it);
    helper_await_sleep(&r->helpers[who]);
}

static void both_ask(run_t *r) {
    one_asks(r, ANNA);
    one_asks(r, BEN);
    if (r->trial->kind == EVENT || r->trial->kind == AUTO_EVENT)
        r->count = helper_do(&r->helpers[WITNESS], count_sets);
}

static void both_ask_and_are_hungry(run_t *r) {
    both_ask(r);
    become_hungry(r);
}

/* Again, if somebody else came before the victim. */
static void ben_asks_and_witness_gives(run_t *r) {
    one_asks(r, BEN);
    witness_gives(r);
}

/* ---- judging: what is taken ---- */

static bool waits(run_t *r, unsigned who) {
    return r->asked[who] && !helper_is_done(&r->helpers[who]);
}

/* Nothing was there, and then everybody who still waits was asleep: so nobody had taken anything in between. */
static bool all_wait_for_nothing(run_t *r) {
    bool nothing = helper_do(&r->helpers[WITNESS], look) == 0;
    for (unsigned who = ANNA; who <= BEN; who++)
        nothing = nothing && (!waits(r, who) || helper_sleeps(&r->helpers[who]));
    return nothing;
}

static void serve(run_t *r, unsigned who) {
    int64_t end = clock_ns() + PATIENCE;
    while (waits(r, who)) {
        if (all_wait_for_nothing(r) && waits(r, who))
            witness_gives(r);
        expect(r, clock_ns() < end); /* something is there, and nobody takes it */
    }
    expect(r, answer_of(r, who) == 0);
}

static unsigned take_all_the_rest(run_t *r) {
    unsigned rest = 0;
    while (helper_do(&r->helpers[WITNESS], take_the_rest))
        rest++;
    return rest;
}

static void nothing_is_there(run_t *r) {
    (void)take_all_the_rest(r);
}

/* What the witness gave and the victim gave was taken by the victim, Anna and Ben, or is still there. */
static void all_get_one(run_t *r) {
    for (unsigned who = ANNA; who <= BEN; who++)
        one_asks(r, who);
    for (unsigned who = ANNA; who <= BEN; who++)
        serve(r, who);
    unsigned taken = 2 + take_all_the_rest(r);
    if (r->trial->gives) {
        expect(r, taken == r->given || taken == r->given + 1);
        expect(r, r->stage != RETURNED || taken == r->given + 1);
    } else {
        expect(r, taken == r->given || taken + 1 == r->given);
        expect(r, r->stage != RETURNED || taken + 1 == r->given);
    }
}

/* ---- judging: what is seen ---- */

/* It is set or it is not; where it is not, the witness sets it. */
static void all_see_it(run_t *r) {
    int sets = helper_do(&r->helpers[WITNESS], count_sets) - r->count;
    expect(r, sets == 1 || (sets == 0 && r->stage != RETURNED));
    if (sets == 0) {
        for (unsigned who = ANNA; who <= BEN; who++)
            helper_await_sleep(&r->helpers[who]);
        expect(r, waits(r, ANNA) && waits(r, BEN));
        witness_gives(r);
    }
    expect(r, answer_of(r, ANNA) == 0);
    expect(r, answer_of(r, BEN) == 0);
    expect(r, take_all_the_rest(r) == 1);
}

/* ---- judging: a barrier ---- */

static unsigned lasts_among(run_t *r, const int *answers, size_t count) {
    unsigned lasts = 0;
    for (size_t i = 0; i < count; i++) {
        expect(r, answers[i] == 0 || answers[i] == FERRY_BARRIER_LAST);
        lasts += answers[i] == FERRY_BARRIER_LAST;
    }
    return lasts;
}

static void meet(run_t *r) {
    int answers[HELPERS];
    for (unsigned i = 0; i < HELPERS; i++)
        helper_ask(&r->helpers[i], take_it);
    for (unsigned i = 0; i < HELPERS; i++) {
        expect(r, helper_answers(&r->helpers[i]));
        answers[i] = r->helpers[i].answer;
    }
    expect(r, lasts_among(r, answers, HELPERS) == 1);
}

/* If not in that round, the death is known soon after; and the first to know it speaks for all. */
static void expect_broken(run_t *r) {
    int64_t end = clock_ns() + PATIENCE;
    while (helper_do(&r->helpers[WITNESS], take_at_once) == -EAGAIN)
        expect(r, clock_ns() < end);
    expect(r, r->helpers[WITNESS].answer == -EOWNERDEAD);
}

/* Both were let go, or both were told of the death. */
static void they_agree(run_t *r) {
    int answers[HELPERS] = {answer_of(r, ANNA), answer_of(r, BEN), 0};
    if (r->stage == RETURNED)
        answers[WITNESS] = atomic_load(&r->marks->answer);
    if (answers[ANNA] == -EOWNERDEAD || answers[BEN] == -EOWNERDEAD) {
        expect(r, answers[ANNA] == answers[BEN] && r->stage != RETURNED);
    } else {
        unsigned lasts = lasts_among(r, answers, HELPERS);
        expect(r, lasts == 1 || (lasts == 0 && r->stage != RETURNED));
    }
    expect_broken(r);
    check_is(helper_do(&r->helpers[WITNESS], begin_anew), 0);
    for (unsigned round = 0; round < 3; round++)
        meet(r);
}

static void they_come_and_agree(run_t *r) {
    both_ask(r);
    they_agree(r);
}

/* ---- trials ---- */

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* clang-format off */
#define WAITED_FOR(word, way) \
    {.name = word, .kind = way, .ways = {way, way}, .often = SELDOM, .arrange = nothing_is_there, \
     .prepare = try_in_vain, .act = take, .cue = ben_asks_and_witness_gives, \
     .judge = all_get_one}
#define GIVEN(word, way, when, how) \
    {.name = word, .kind = way, .ways = {way, way}, .often = how, .arrange = nothing_is_there, \
     .prepare = try_in_vain, .gather = when, .act = give, .gives = true, .judge = all_get_one}
#define SET(word, first, second, when, how) \
    {.name = word, .kind = EVENT, .ways = {first, second}, .often = how, \
     .prepare = try_in_vain, .gather = when, .act = give, .judge = all_see_it}
#define MET(word, when, how) \
    {.name = word, .kind = BARRIER, .ways = {BARRIER, BARRIER}, .often = how, \
     .prepare = try_in_vain, .gather = when, .act = arrive, .judge = they_agree}
/* clang-format on */

static const trial_t plain_semaphore[] = {
    WAITED_FOR("plain unit, waited for and released", PLAIN),
    GIVEN("plain unit, released to two that sleep", PLAIN, both_ask, SELDOM),
    GIVEN("plain unit, released to two that are hungry", PLAIN, both_ask_and_are_hungry, EVERY),
};

void killed_in_a_plain_semaphore(void) {
    hunt(plain_semaphore, COUNT(plain_semaphore));
}

static const trial_t event[] = {
    SET("event, set for two that sleep", EVENT, LATER_SET, both_ask, SELDOM),
    SET("event, set for two that have slept long", EVENT, LATER_SET, both_ask_and_are_hungry, EVERY),
    WAITED_FOR("auto-reset event, waited for and set", AUTO_EVENT),
    GIVEN("auto-reset event, set for two that sleep", AUTO_EVENT, both_ask, SELDOM),
    GIVEN("auto-reset event, set for two that are hungry", AUTO_EVENT, both_ask_and_are_hungry, EVERY),
};

void killed_in_an_event(void) {
    hunt(event, COUNT(event));
}

static const trial_t barrier[] = {
    {.name = "barrier, the first one comes and sleeps",
     .kind = BARRIER,
     .ways = {BARRIER, BARRIER},
     .prepare = try_in_vain,
     .act = arrive,
     .cue = both_ask,
     .judge = they_come_and_agree,
     .often = SELDOM},
    MET("barrier, the last one comes to two that sleep", both_ask, SELDOM),
    MET("barrier, the last one comes to two that have slept long", both_ask_and_are_hungry, EVERY),
};

void killed_in_a_barrier(void) {
    hunt(barrier, COUNT(barrier));
}

/* SPDX-License-Identifier: MIT
 *
 * step_locks.c - trials with what belongs to its holder: mutexes, reader-writer locks, units of owned semaphores.
 *
 * Whoever gets the lock after the victim's death is told of it if, and only if, the victim held it. One exception is as
 * the library promises it: a reader-writer lock's writer who waits for readers may be taken for a holder in the instant
 * before he has said that he waits.
 */
#include "lock_step.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the victim's calls ---- */

static void take(void) {
    check_is(object_take(&victim_object, PATIENCE), 0);
}

static void give(void) {
    check_is(object_give(&victim_object), 0);
}

/* What only the first call does is done with it. */
static void take_and_give(void) {
    take();
    give();
}

static void try_in_vain(void) {
    check_is(object_take(&victim_object, FERRY_NOW), -EAGAIN);
}

static void take_from_dead(void) {
    check_is(object_take(&victim_object, PATIENCE), FERRY_OWNER_DIED);
}

static void take_and_then_give(void) {
    take();
    victim_comes_to(GOT);
    give();
}

static void take_repair_and_give(void) {
    take_from_dead();
    victim_comes_to(GOT);
    check_is(object_repaired(&victim_object), 0);
    give();
}

static void repair_and_give(void) {
    check_is(object_repaired(&victim_object), 0);
    give();
}

/* ---- errands ---- */

/* Alone, unless it reads; whatever a dead one has left is repaired. */
static int use_it(helper_t *h) {
    marks_t *marks = h->world;
    int answer = take_it(h);
    if (answer < 0)
        return answer;
    check_is(atomic_fetch_add(&marks->inside, h->kind != READER), 0);
    if (answer == FERRY_OWNER_DIED && h->kind != READER)
        check_is(object_repaired(&h->object), 0);
    check_is(atomic_fetch_sub(&marks->inside, h->kind != READER), h->kind != READER);
    check_is(object_give(&h->object), 0);
    return answer;
}

static int count_units(helper_t *h) {
    return ferry_semaphore_value(h->object.semaphore);
}

/* Dies, as far as the lock is concerned. */
static int leave_it_as_if_dead(helper_t *h) {
    ferry_t *node = open_node("test");
    object_t object = object_open(node, h->kind, "it", NULL);
    check_is(object_take(&object, PATIENCE), 0);
    return ferry_close(node);
}

/* ---- before the victim acts ---- */

static void anna_takes_it(run_t *r) {
    check_is(helper_do(&r->helpers[ANNA], take_it), 0);
    r->anna_holds = true;
}

static void anna_gives_it_back(run_t *r) {
    if (r->anna_holds)
        check_is(helper_do(&r->helpers[ANNA], give_it), 0);
    r->anna_holds = false;
}

static void ben_asks(run_t *r) {
    if (r->asked[BEN])
        return;
    ask(r, BEN, use_it);
    helper_await_sleep(&r->helpers[BEN]);
}

static void ben_asks_and_anna_gives(run_t *r) {
    ben_asks(r);
    anna_gives_it_back(r);
}

static void both_ask(run_t *r) {
    ask(r, ANNA, use_it);
    helper_await_sleep(&r->helpers[ANNA]);
    ben_asks(r);
}

static void both_ask_and_are_hungry(run_t *r) {
    both_ask(r);
    become_hungry(r);
}

static void ben_asks_and_is_hungry(run_t *r) {
    ben_asks(r);
    become_hungry(r);
}

static void an_owner_has_died(run_t *r) {
    check(helper_do(&r->helpers[WITNESS], leave_it_as_if_dead) >= 0);
}

typedef struct doom {
    kind_t kind;
    atomic_uint *holds;
} doom_t;

static void hold_until_killed(void *arg) {
    const doom_t *doom = arg;
    object_t object = object_open(open_node("test"), doom->kind, "it", NULL);
    check_is(object_take(&object, PATIENCE), 0);
    atomic_store(doom->holds, 1);
    pause();
}

static void a_doomed_one_holds_it(run_t *r) {
    doom_t doom = {r->trial->kind, &r->marks->doomed};
    atomic_store(&r->marks->doomed, 0);
    r->doomed = child_start(hold_until_killed, &doom);
    await(&r->marks->doomed, 1);
}

static void the_doomed_one_dies(run_t *r) {
    if (r->doomed)
        child_kill(r->doomed);
    r->doomed = 0;
}

/* ---- judging ---- */

enum told { NOBODY, ONE, PERHAPS_ONE };

/* How many shall be told of a death. */
static enum told who_is_told(const run_t *r) {
    const trial_t *trial = r->trial;
    if (trial->kind != MUTEX && trial->kind != WRITER)
        return NOBODY;
    if (r->held && trial->enters && r->stage < GOT)
        return r->asleep ? NOBODY : PERHAPS_ONE;
    return r->held || (trial->inherits && r->stage < GOT) ? ONE : NOBODY;
}

/* Uses it for itself, so that what a reader was told is repaired then. */
static int use_as_owner(helper_t *h) {
    kind_t way = h->kind;
    h->kind = way == READER ? WRITER : way;
    int answer = use_it(h);
    h->kind = way;
    return answer;
}

static void all_use_it(run_t *r) {
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < HELPERS; i++)
            helper_ask(&r->helpers[i], use_it);
        for (unsigned i = 0; i < HELPERS; i++)
            expect(r, helper_answers(&r->helpers[i]) && r->helpers[i].answer == 0);
    }
}

/* Anna's or Ben's answer; a reader is told what he cannot repair. */
static unsigned is_told(run_t *r, unsigned who, enum told told) {
    int answer = answer_of(r, who);
    expect(r, answer == 0 || (answer == FERRY_OWNER_DIED && told != NOBODY));
    return r->helpers[who].kind != READER && answer == FERRY_OWNER_DIED;
}

static void all_get_it(run_t *r) {
    enum told told = who_is_told(r);
    the_doomed_one_dies(r);
    anna_gives_it_back(r);
    for (unsigned who = ANNA; who <= BEN; who++)
        if (!r->asked[who])
            ask(r, who, use_it);
    unsigned count = is_told(r, ANNA, told) + is_told(r, BEN, told);
    ask(r, ANNA, use_as_owner);
    int last = answer_of(r, ANNA);
    expect(r, last == 0 || last == FERRY_OWNER_DIED);
    count += last == FERRY_OWNER_DIED;
    expect(r, told == PERHAPS_ONE ? count <= 1 : count == (told == ONE));
    all_use_it(r);
    expect(r, r->trial->kind != OWNED || helper_do(&r->helpers[WITNESS], count_units) == 1);
}

/* Given up unrepaired, it is lost for all, until they begin anew; else the next one inherits it. */
static void it_is_lost(run_t *r) {
    if (r->held) {
        all_get_it(r);
        return;
    }
    expect(r, answer_of(r, BEN) == -ENOTRECOVERABLE);
    for (unsigned i = 0; i < HELPERS; i++)
        expect(r, helper_do(&r->helpers[i], take_it) == -ENOTRECOVERABLE);
    for (unsigned i = 0; i < HELPERS; i++)
        check_is(helper_do(&r->helpers[i], close_it), 0);
    for (unsigned i = 0; i < HELPERS; i++)
        check_is(helper_do(&r->helpers[i], open_it), 0);
    all_use_it(r);
}

/* ---- trials ---- */

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* What the victim takes and Anna and Ben want in their ways: free, held, given back to sleepers. */
/* clang-format off */
#define FREE(word, way, a, b, how) \
    {.name = word ", free: taken and given back", .kind = way, .ways = {a, b}, .often = how, \
     .prepare = take_and_give, .act = take_and_then_give, .judge = all_get_it}
#define HELD(word, way, a, b) \
    {.name = word ", held: slept for, taken and given back", .kind = way, .ways = {a, b}, .often = SELDOM, \
     .arrange = anna_takes_it, .prepare = try_in_vain, .act = take_and_then_give, \
     .cue = ben_asks_and_anna_gives, .judge = all_get_it}
#define GIVEN(word, way, a, b, how) \
    {.name = word ", given back to two that sleep", .kind = way, .ways = {a, b}, .often = how, \
     .prepare = take, .gather = both_ask, .act = give, .judge = all_get_it}
#define GIVEN_LATE(word, way, a, b, how) \
    {.name = word ", given back to two that are hungry", .kind = way, .ways = {a, b}, .often = how, \
     .prepare = take, .gather = both_ask_and_are_hungry, .act = give, .judge = all_get_it}
#define ALL(word, way, a, b, how_free, how_given, how_late) \
    FREE(word, way, a, b, how_free), HELD(word, way, a, b), GIVEN(word, way, a, b, how_given), \
    GIVEN_LATE(word, way, a, b, how_late)
/* clang-format on */

static const trial_t mutex[] = {ALL("mutex", MUTEX, MUTEX, MUTEX, EVERY, EVERY, EVERY)};

void killed_in_a_mutex(void) {
    hunt(mutex, COUNT(mutex));
}

static const trial_t reader_writer_lock[] = {
    ALL("to write", WRITER, WRITER, READER, SELDOM, SELDOM, EVERY),
    ALL("to read", READER, WRITER, WRITER, EVERY, SELDOM, EVERY),
    {.name = "to write, after a reader",
     .kind = WRITER,
     .ways = {READER, READER},
     .arrange = anna_takes_it,
     .prepare = try_in_vain,
     .act = take_and_then_give,
     .cue = ben_asks_and_anna_gives,
     .judge = all_get_it,
     .enters = true,
     .often = SELDOM},
};

void killed_in_a_reader_writer_lock(void) {
    hunt(reader_writer_lock, COUNT(reader_writer_lock));
}

static const trial_t owned_semaphore[] = {ALL("owned unit", OWNED, OWNED, OWNED, SELDOM, SELDOM, EVERY)};

void killed_in_an_owned_semaphore(void) {
    hunt(owned_semaphore, COUNT(owned_semaphore));
}

/* The one who recovers is killed in its turn. */
/* clang-format off */
#define TAKEN_OVER(word, way, how) \
    {.name = word ", of one that died: taken, repaired, given back", .kind = way, .ways = {way, way}, \
     .often = how, .inherits = true, .prepare = take_and_give, .gather = an_owner_has_died, \
     .act = take_repair_and_give, .judge = all_get_it}
#define INHERITED(word, way) \
    {.name = word ", of one that dies meanwhile: the same", .kind = way, .ways = {way, way}, \
     .often = SELDOM, .inherits = true, .arrange = a_doomed_one_holds_it, .prepare = try_in_vain, \
     .act = take_repair_and_give, .cue = the_doomed_one_dies, .judge = all_get_it}
#define REPAIRED(word, way, how) \
    {.name = word ", of one that died: repaired and given to one asleep", .kind = way, .ways = {way, way}, \
     .often = how, .arrange = an_owner_has_died, .prepare = take_from_dead, .gather = ben_asks_and_is_hungry, \
     .act = repair_and_give, .judge = all_get_it}
#define GIVEN_UP(word, way) \
    {.name = word ", of one that died: given up unrepaired", .kind = way, .ways = {way, way}, \
     .often = SELDOM, .arrange = an_owner_has_died, .prepare = take_from_dead, .gather = ben_asks_and_is_hungry, \
     .act = give, .judge = it_is_lost}
/* clang-format on */

static const trial_t taking_over[] = {
    TAKEN_OVER("mutex", MUTEX, EVERY), TAKEN_OVER("to write", WRITER, SELDOM), INHERITED("mutex", MUTEX),
    INHERITED("to write", WRITER),     REPAIRED("mutex", MUTEX, EVERY),        REPAIRED("to write", WRITER, SELDOM),
    GIVEN_UP("mutex", MUTEX),          GIVEN_UP("to write", WRITER),
};

void killed_while_taking_over(void) {
    hunt(taking_over, COUNT(taking_over));
}

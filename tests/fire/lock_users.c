/* SPDX-License-Identifier: MIT
 *
 * lock_users.c - see lock_kill.h. Each call is announced before and taken back after it.
 */
#include "lock_kill.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct user {
    world_t *w;
    user_marks_t *marks;
    unsigned who;
    bool survives;
    dice_t dice;
    ferry_t *node;
    object_t things[THINGS];
} user_t;

static const char *const names[THINGS] = {"one", "two", "book", "chairs", "plain", "gate", "flag", "turn"};
static const kind_t kinds[THINGS] = {MUTEX, MUTEX, WRITER, OWNED, PLAIN, BARRIER, EVENT, AUTO_EVENT};

const char *op_name(unsigned op) {
    static const char *const others[] = {"the program itself", "ferry_open",  "opening an object",
                                         "closing an object",  "ferry_close", "resetting"};
    static const char *const words[KINDS] = {
        [MUTEX] = "a mutex",
        [WRITER] = "a lock, to write",
        [READER] = "a lock, to read",
        [OWNED] = "an owned unit",
        [PLAIN] = "a plain unit",
        [BARRIER] = "a barrier",
        [EVENT] = "an event",
        [AUTO_EVENT] = "an auto-reset event",
        [LATER_SET] = "an event's next set",
    };
    static char name[64];
    if (op >= IN_PROGRAM)
        return others[op - IN_PROGRAM];
    unsigned kind = op / VERBS;
    const char *verbs[VERBS] = {kind < BARRIER ? "taking" : "waiting for", kind < EVENT ? "giving back" : "setting",
                                "having repaired"};
    snprintf(name, sizeof name, "%s %s", verbs[op % VERBS], words[kind]);
    return name;
}

static bool chance(user_t *u, unsigned one_in) {
    return dice_below(&u->dice, one_in) == 0;
}

/* ---- calls ---- */

static int64_t in(user_t *u, unsigned op) {
    atomic_store(&u->marks->op, op);
    return clock_ns();
}

/* Out of the call again; passes its result on. */
static int out(user_t *u, int result) {
    atomic_store(&u->marks->op, IN_PROGRAM);
    atomic_fetch_add(&u->marks->calls, 1);
    return result;
}

/* Survivors wait for as long as it takes, mostly; a victim may be killed while it does. */
static int64_t some_timeout(user_t *u) {
    static const int64_t timeouts[] = {FERRY_NOW, MILLISECOND / 10, 3 * MILLISECOND};
    return chance(u, u->survives ? 4 : 2) ? timeouts[dice_below(&u->dice, 3)] : PATIENCE;
}

/* True: it has it, or has seen it. */
static bool take_within(user_t *u, enum thing thing, kind_t kind, int64_t timeout, bool *died) {
    object_t *object = &u->things[thing];
    object->kind = kind;
    if (kind == LATER_SET)
        object->count = ferry_event_count(object->event);
    int64_t begin = in(u, kind * VERBS + TAKING);
    int answer = out(u, object_take(object, timeout));
    int64_t took = clock_ns() - begin;
    if (u->survives && took > atomic_load(&u->w->slowest[kind]))
        atomic_store(&u->w->slowest[kind], took);
    *died = answer == FERRY_OWNER_DIED && kind <= READER;
    check(answer >= 0 || (timeout < PATIENCE && (answer == -EAGAIN || answer == -ETIMEDOUT)) ||
          (kind == BARRIER && answer == -EOWNERDEAD));
    check(answer <= 0 || *died || kind == BARRIER);
    atomic_fetch_add(&u->w->told[kind], *died);
    return answer >= 0;
}

static bool take(user_t *u, enum thing thing, kind_t kind, bool *died) {
    bool taken = take_within(u, thing, kind, some_timeout(u), died);
    atomic_fetch_add(&u->marks->holds, taken);
    if (taken && (kind == MUTEX || kind == WRITER)) {
        uint64_t token = object_token(&u->things[thing]);
        check(token > atomic_exchange(&u->w->goods[thing].token, token));
    }
    return taken;
}

static void give(user_t *u, enum thing thing, kind_t kind) {
    u->things[thing].kind = kind;
    in(u, kind * VERBS + GIVING);
    check_is(out(u, object_give(&u->things[thing])), 0);
    atomic_fetch_sub(&u->marks->holds, kind <= OWNED);
}

static void repair(user_t *u, enum thing thing, kind_t kind) {
    in(u, kind * VERBS + REPAIRING);
    check_is(out(u, object_repaired(&u->things[thing])), 0);
}

/* ---- what is guarded ---- */

/* So long that others come and wait, or not at all. */
static void dawdle(user_t *u) {
    unsigned how = (unsigned)dice_below(&u->dice, 8);
    if (how == 0)
        nap(MILLISECOND / 10);
    else if (how < 3)
        sched_yield();
}

/* What was torn by a death is mended by who is told of it; nobody else ever sees it so. */
static void change_goods(user_t *u, enum thing thing, kind_t kind, bool died) {
    goods_t *goods = &u->w->goods[thing];
    if (died) {
        atomic_store(&goods->right, atomic_load(&goods->left));
        atomic_store(&goods->inside, 0);
        dawdle(u);
        repair(u, thing, kind);
    }
    check_is(atomic_exchange(&goods->inside, 1), 0);
    check_is(atomic_load(&goods->left), atomic_load(&goods->right));
    atomic_fetch_add(&goods->left, 1);
    dawdle(u);
    atomic_fetch_add(&goods->right, 1);
    atomic_store(&goods->inside, 0);
}

static void use_alone(user_t *u, enum thing thing, kind_t kind) {
    bool died;
    if (!take(u, thing, kind, &died))
        return;
    change_goods(u, thing, kind, died);
    give(u, thing, kind);
}

static void use_both(user_t *u) {
    bool died;
    if (!take(u, ONE, MUTEX, &died))
        return;
    change_goods(u, ONE, MUTEX, died);
    use_alone(u, TWO, MUTEX);
    change_goods(u, ONE, MUTEX, false);
    give(u, ONE, MUTEX);
}

static void read_book(user_t *u) {
    goods_t *goods = &u->w->goods[BOOK];
    bool died;
    if (!take(u, BOOK, READER, &died))
        return;
    uint64_t left = atomic_load(&goods->left);
    check(died || (atomic_load(&goods->inside) == 0 && atomic_load(&goods->right) == left));
    dawdle(u);
    check_is(atomic_load(&goods->left), left);
    give(u, BOOK, READER);
}

static bool is_dead(int pid) {
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    (void)fscanf(file, "%*d (%*[^)]) %c", &state);
    fclose(file);
    return state == 'Z' || state == 'X';
}

/* Whoever has a unit finds a chair that is free, or left by a dead one: there are as many as units. */
static unsigned sit_down(user_t *u) {
    int64_t end = clock_ns() + SECOND;
    for (unsigned tries = 0;; tries++) {
        unsigned i = tries % CHAIRS;
        int sitter = atomic_load(&u->w->chairs[i]);
        if ((sitter == 0 || (tries >= CHAIRS && is_dead(sitter))) &&
            atomic_compare_exchange_strong(&u->w->chairs[i], &sitter, getpid()))
            return i;
        check(clock_ns() < end);
    }
}

static void use_chair(user_t *u) {
    bool died;
    if (!take(u, CHAIRS_FREE, OWNED, &died))
        return;
    unsigned chair = sit_down(u);
    dawdle(u);
    atomic_store(&u->w->chairs[chair], 0);
    give(u, CHAIRS_FREE, OWNED);
}

/* ---- what belongs to nobody ---- */

/* Units are lost with the dead; so that nobody waits for ever, the first survivor adds one where there is none. */
static void use_unit(user_t *u) {
    bool first = u->survives && u->who == 0, died;
    if (first && ferry_semaphore_value(u->things[UNITS].semaphore) == 0) {
        atomic_fetch_add(&u->w->units_added, 1);
        give(u, UNITS, PLAIN);
    }
    atomic_store(&u->marks->has_unit, 1);
    if (take_within(u, UNITS, PLAIN, first ? FERRY_NOW : some_timeout(u), &died)) {
        atomic_store(&u->marks->has_unit, 2);
        dawdle(u);
        atomic_store(&u->marks->has_unit, 1);
        give(u, UNITS, PLAIN);
    }
    atomic_store(&u->marks->has_unit, 0);
}

static void meet(user_t *u) {
    bool died;
    if (take_within(u, GATE, BARRIER, 2 * MILLISECOND, &died) || chance(u, 4))
        return;
    in(u, IN_RESET);
    check_is(out(u, ferry_barrier_reset(u->things[GATE].barrier)), 0);
}

/* The first survivor sets the events and waits for none, so that no other waits for ever. */
static void signal_or_wait(user_t *u, enum thing thing) {
    bool first = u->survives && u->who == 0, died;
    if (first || chance(u, 3))
        give(u, thing, kinds[thing]);
    else if (thing == FLAG && chance(u, 2))
        (void)take_within(u, thing, LATER_SET, some_timeout(u), &died);
    else
        (void)take_within(u, thing, kinds[thing], some_timeout(u), &died);
    if (thing == FLAG && chance(u, 2)) {
        in(u, IN_RESET);
        check(out(u, ferry_event_reset(u->things[thing].event)) >= 0);
    }
}

/* ---- handles ---- */

static void open_thing(user_t *u, enum thing thing) {
    ferry_sync_options_t options = {.wait = (ferry_wait_t)(chance(u, 2) * FERRY_WAIT_BLOCK),
                                    .deadlock_after = chance(u, 2) ? 0 : 10 * PATIENCE,
                                    .owned = thing == CHAIRS_FREE};
    object_t *object = &u->things[thing];
    *object = (object_t){.kind = kinds[thing]};
    in(u, IN_OPEN);
    if (thing == CHAIRS_FREE || thing == UNITS)
        check_is(ferry_semaphore_open(u->node, names[thing], thing == UNITS ? PLAIN_UNITS : CHAIRS, &options,
                                      &object->semaphore),
                 0);
    else if (thing == GATE)
        check_is(ferry_barrier_open(u->node, names[thing], 3, &options, &object->barrier), 0);
    else
        *object = object_open(u->node, kinds[thing], names[thing], &options);
    out(u, 0);
}

static void close_thing(user_t *u, enum thing thing) {
    in(u, IN_CLOSE);
    object_close(&u->things[thing]);
    out(u, 0);
}

static void arrive(user_t *u) {
    in(u, IN_OPEN_NODE);
    u->node = open_node("test");
    out(u, 0);
    atomic_store(&u->marks->met, 0);
    for (enum thing thing = 0; thing < THINGS; thing++) {
        open_thing(u, thing);
        atomic_store(&u->marks->met, ferry_node_id(u->node));
    }
}

static void depart(user_t *u) {
    for (enum thing thing = 0; thing < THINGS; thing++)
        close_thing(u, thing);
    in(u, IN_CLOSE_NODE);
    close_node(u->node);
    out(u, 0);
}

/* ---- lives ---- */

static void do_something(user_t *u) {
    unsigned what = (unsigned)dice_below(&u->dice, u->survives && u->who == 0 ? 20 : 16);
    if (what < 4)
        use_alone(u, what % 2 ? ONE : TWO, MUTEX);
    else if (what < 5)
        use_both(u);
    else if (what < 7)
        use_alone(u, BOOK, WRITER);
    else if (what < 9)
        read_book(u);
    else if (what < 11)
        use_chair(u);
    else if (what < 12)
        use_unit(u);
    else if (what < 13)
        meet(u);
    else
        signal_or_wait(u, what % 2 ? FLAG : TURN);
}

static void open_anew(user_t *u) {
    if (chance(u, 4)) {
        depart(u);
        arrive(u);
        return;
    }
    enum thing thing = (enum thing)dice_below(&u->dice, THINGS);
    close_thing(u, thing);
    open_thing(u, thing);
}

_Noreturn void victim_run(world_t *w, user_marks_t *marks) {
    static user_t u;
    bool died;
    u = (user_t){.w = w, .marks = marks, .dice = {marks->seed}};
    arrive(&u);
    if (marks->holds_on) {
        check(take_within(&u, ONE, MUTEX, PATIENCE, &died));
        atomic_store(&marks->holds, 1);
        for (;;)
            pause();
    }
    for (;;) {
        do_something(&u);
        if (chance(&u, 300))
            open_anew(&u);
    }
}

static bool all_chairs_are_free(void *semaphore) {
    return ferry_semaphore_value(semaphore) == CHAIRS;
}

/* All others have gone: nothing is missing, and nothing is too much. */
static void look_at_what_is_left(user_t *u) {
    for (enum thing thing = ONE; thing <= BOOK; thing++)
        for (unsigned i = 0; i < 2; i++) {
            bool died;
            check(take_within(u, thing, kinds[thing], PATIENCE, &died));
            check(i == 0 || !died);
            change_goods(u, thing, kinds[thing], died);
            check_is(object_give(&u->things[thing]), 0);
        }
    await_that(all_chairs_are_free, u->things[CHAIRS_FREE].semaphore, "units of the dead have not returned");
    atomic_store(&u->w->units_left, (unsigned)ferry_semaphore_value(u->things[UNITS].semaphore));
    printf("# %llu, %llu and %llu changes under the three locks\n",
           (unsigned long long)atomic_load(&u->w->goods[ONE].left),
           (unsigned long long)atomic_load(&u->w->goods[TWO].left),
           (unsigned long long)atomic_load(&u->w->goods[BOOK].left));
    fflush(stdout);
}

void survivor_run(world_t *w, unsigned who) {
    static user_t u;
    u = (user_t){.w = w, .marks = &w->survivors[who], .who = who, .survives = true, .dice = {w->survivors[who].seed}};
    arrive(&u);
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->stage) != LEAVE || (who == 0 && atomic_load(&w->quiet) < SURVIVORS - 1)) {
        if (who > 0 || atomic_load(&w->rest.resting) == SURVIVORS - 1) /* without the first one, others wait for ever */
            rest_when_asked(&w->rest);
        do_something(&u);
        atomic_fetch_add(&w->progress[who], 1);
    }
    if (who == 0)
        look_at_what_is_left(&u);
    depart(&u);
    atomic_fetch_add(&w->quiet, 1);
}

/* SPDX-License-Identifier: MIT
 *
 * interleave_schedule.c - who goes on, and what happens meanwhile.
 */
#include "interleave_model.h"

#include <errno.h>

#define STEPS_MAX 4000

model_t model;

typedef enum way_kind { RUN, EXPIRE, STIR, SIGNAL, KILL, DELAY } way_kind_t;

/* One way to go on. */
typedef struct way {
    way_kind_t kind;
    unsigned who;
} way_t;

typedef struct ways {
    unsigned count;
    unsigned runners; /* the first ones: threads that could run */
    way_t way[4 * FIBERS + 1];
} ways_t;

static void add(ways_t *ways, way_kind_t kind, unsigned who) {
    ways->way[ways->count++] = (way_t){kind, who};
}

static bool is_ready(unsigned who) {
    return model.thread[who].status == READY;
}

static bool can_go_on(void) {
    return model.current != MAIN_FIBER && is_ready(model.current);
}

/* The current thread first: to go on with it is no preemption. */
static void add_runners(ways_t *ways) {
    bool may_go_on = can_go_on();
    if (may_go_on)
        add(ways, RUN, model.current);
    if (may_go_on && model.preemptions == 0)
        return;
    for (unsigned i = 0; i < model.born; i++)
        if (i != model.current && is_ready(i))
            add(ways, RUN, i);
}

/* To find out that it is, it must be woken for nothing. */
static bool is_not_yet_hungry(const model_thread_t *t) {
    return (t->bits & (FI_TAKERS | FI_STARVING)) == FI_TAKERS;
}

static void add_events(ways_t *ways) {
    for (unsigned i = 0; i < model.born; i++) {
        const model_thread_t *t = &model.thread[i];
        bool alive = t->status == READY || t->status == ASLEEP;
        if (t->status == ASLEEP && t->deadline != FI_NEVER && model.expiries > 0)
            add(ways, EXPIRE, i);
        if (t->status == ASLEEP && model.expiries > 0 && is_not_yet_hungry(t))
            add(ways, STIR, i);
        if (t->status == ASLEEP && model.signals > 0)
            add(ways, SIGNAL, i);
        if (alive && model.deaths > 0 && model.mortals >> i & 1)
            add(ways, KILL, i);
    }
    if (model.delays > 0 && ways->runners > 0)
        add(ways, DELAY, 0);
}

static void list_ways(ways_t *ways) {
    ways->count = 0;
    add_runners(ways);
    ways->runners = ways->count;
    add_events(ways);
}

static void bear(unsigned who) {
    model.thread[who] = (model_thread_t){.status = READY};
    model.born++;
}

static void kill_thread(unsigned who) {
    model.deaths--;
    model_unqueue(who);
    model.thread[who].status = DEAD;
    if (model.scenario->died)
        model.scenario->died(who);
    unsigned stewards = model.scenario->stewards ? model.scenario->stewards : 1;
    for (unsigned i = 0; i < stewards; i++)
        bear(model.born);
}

static void happen(way_t way) {
    static const char *const words[] = {
        "runs", "its time is over",    "is woken late, for nothing", "a signal ends its sleep",
        "dies", "a millisecond passes"};
    model_print("* thread %u: %s", way.who, words[way.kind]);
    switch (way.kind) {
    case EXPIRE:
        model.expiries--;
        if (model.now < model.thread[way.who].deadline)
            model.now = model.thread[way.who].deadline;
        model_awake(way.who, -ETIMEDOUT);
        break;
    case STIR:
        model.expiries--;
        if (model.now < model.thread[way.who].since + MILLISECOND)
            model.now = model.thread[way.who].since + MILLISECOND;
        model_awake(way.who, 0);
        break;
    case SIGNAL:
        model.signals--;
        model_awake(way.who, -EINTR);
        break;
    case KILL:
        kill_thread(way.who);
        break;
    case DELAY:
        model.delays--;
        model.now += MILLISECOND;
        break;
    case RUN:
        break;
    }
}

/* Nobody runs. Whoever sleeps now must have a reason, for only time or a signal could wake him. */
static bool all_sleep_rightly(void) {
    for (unsigned i = 0; i < model.born; i++) {
        bool sleeps = model.thread[i].status == ASLEEP;
        if (sleeps && !(model.scenario->may_sleep && model.scenario->may_sleep(i)))
            return false;
    }
    return true;
}

/* The next thread to run, or MAIN_FIBER: the schedule is over. */
static unsigned next_thread(void) {
    for (;;) {
        ways_t ways;
        list_ways(&ways);
        if (ways.runners == 0 && !all_sleep_rightly()) {
            model.failure = "a thread sleeps, and nobody is left to wake it";
            return MAIN_FIBER;
        }
        if (ways.count == 0)
            return MAIN_FIBER;
        int chosen = model_choose(ways.count);
        if (chosen < 0 || model.failure)
            return MAIN_FIBER;
        way_t way = ways.way[chosen];
        if (way.kind == RUN) {
            bool preempts = can_go_on() && way.who != model.current;
            model.preemptions -= preempts && model.preemptions != ANY_NUMBER;
            return way.who;
        }
        happen(way);
        if (model.failure)
            return MAIN_FIBER;
    }
}

/* Goes on with `next`. */
static void hand_over(unsigned next) {
    unsigned self = model.current;
    model.current = next;
    fiber_switch(self, next);
    if (model.tears_down)
        fiber_start_over(self);
}

void model_schedule(void) {
    model_thread_t *t = &model.thread[model.current];
    if (t->begins) {
        t->begins = false; /* it has been chosen just now */
        return;
    }
    if (++model.steps > STEPS_MAX) {
        model_fail("it goes on and on");
        return;
    }
    unsigned next = next_thread();
    if (next != model.current)
        hand_over(next);
}

unsigned model_live(unsigned self) {
    const scenario_t *s = model.scenario;
    model_thread_t *t = &model.thread[self];
    t->begun = t->begins = true;
    if (self < s->threads)
        s->run(self);
    else
        s->bury();
    model_print("has done");
    t->begun = false;
    t->status = ENDED;
    model.current = next_thread();
    return model.current;
}

void model_fail(const char *sentence) {
    if (!model.failure)
        model.failure = sentence;
    if (model.current != MAIN_FIBER)
        hand_over(MAIN_FIBER);
}

void expect(bool holds, const char *sentence) {
    if (!holds)
        model_fail(sentence);
}

void forget_all_but(uint64_t knowledge) {
    model_thread_t *t = &model.thread[model.current];
    t->history = mix(1, knowledge);
    t->woken = false;
    t->since = 0;
}

void may_die(unsigned who) {
    model.mortals |= 1u << who;
}

bool is_dead(unsigned who) {
    return model.thread[who].status == DEAD;
}

bool is_asleep(unsigned who) {
    return model.thread[who].status == ASLEEP;
}

bool was_woken(unsigned who) {
    return model.thread[who].woken;
}

int64_t has_waited(unsigned who) {
    const model_thread_t *t = &model.thread[who];
    return t->since ? model.now - t->since : 0;
}

bool owner_is_dead(uint64_t owner, void *arg) {
    (void)arg;
    for (unsigned i = 0; i < model.scenario->threads; i++) {
        if (owner != name_of(i))
            continue;
        model.thread[model.current].history = mix(model.thread[model.current].history, is_dead(i));
        return is_dead(i);
    }
    model_fail("a steward asks about an owner that nobody is");
    return false;
}

/* SPDX-License-Identifier: MIT
 *
 * buffer_step.c - a process is killed at one instruction after the other of a put, a get, or the end of a bounded
 * buffer, while others sleep in it; and now and then the next one that comes is killed in the same call.
 *
 * Every item has a number of its own. What was put before a death comes out once; what was half put comes out once or
 * not at all; the item that a dead one was just taking is gone, or comes out once. And nobody sleeps beside what he
 * waits for.
 */
#include "helpers.h"
#include "regions.h"
#include "stepping.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define SLOTS 2
#define BUFFER_BYTES (256u + SLOTS * 16u)
#define GLANCE (MILLISECOND / 20)
#define POINTS_MAX 5000u
#define EVERY 3u
#define SELDOM 40u /* instructions from one death to the next, where nothing in the buffer changes */
#define SECOND_DEATHS 5u

enum { ANNA, BEN, WITNESS, HELPERS };

/* Numbers of items. */
enum { FROM_VICTIM = 1, FROM_SECOND, FROM_ANNA, FROM_BEN, FROM_WITNESS, ITEMS = 500 };

typedef enum call { PUT, GET, END } call_t;

typedef struct trial {
    const char *name;
    call_t victim;
    bool victim_sleeps; /* it finds nothing; Ben comes after it, and the witness helps */
    call_t sleepers;    /* PUT, GET; END: nobody sleeps */
    unsigned items;     /* in it from the start */
    unsigned stride;
} trial_t;

static const trial_t trials[] = {
    {"put", PUT, false, END, 1, EVERY},
    {"put, for two that sleep", PUT, false, GET, 0, EVERY},
    {"put, slept for, one behind", PUT, true, END, SLOTS, SELDOM},
    {"get", GET, false, END, 1, EVERY},
    {"get, for two that sleep", GET, false, PUT, SLOTS, EVERY},
    {"get, slept for, one behind", GET, true, END, 0, SELDOM},
    {"end, for two that sleep", END, false, GET, 0, EVERY},
};

/* The root object. */
typedef struct shop {
    ferry_ref_t buffer;
} shop_t;

/* What all processes of the test write down. */
typedef struct world {
    const helper_t *helpers;
    uint64_t number[HELPERS];  /* of the item that each puts next */
    atomic_ullong at;          /* where the victim has the buffer */
    atomic_uint returned, got; /* the victim's call has; the item */
} world_t;

static world_t *world;
static ferry_region_t *region;
static ferry_buffer_t *buffer;

/* Nobody looks for deadlocks: a look would wake a sleeper that was forgotten. */
static int open_in_region(void) {
    const ferry_sync_options_t options = {.wait = FERRY_WAIT_BLOCK, .deadlock_after = 10 * PATIENCE};
    shop_t *shop = ferry_region_root(region);
    return ferry_buffer_open(region, &shop->buffer, SLOTS, sizeof(uint64_t), &options, &buffer);
}

static void open_it(ferry_t *node) {
    region = open_region_with_root(node, "shop", 256 * KIB, sizeof(shop_t));
    check_is(open_in_region(), 0);
}

static void *buffer_bytes(void) {
    const shop_t *shop = ferry_region_root(region);
    return ferry_region_span(region, (shop->buffer + 63) / 64 * 64, BUFFER_BYTES);
}

static int put(uint64_t number, int64_t timeout) {
    return ferry_buffer_put(buffer, &number, sizeof number, timeout);
}

/* The item's number, or why there is none. */
static int get(int64_t timeout) {
    uint64_t number = 0;
    size_t size = 0;
    int r = ferry_buffer_get(buffer, &number, sizeof number, timeout, &size);
    check(r < 0 || (size == sizeof number && number > 0 && number < ITEMS));
    return r < 0 ? r : (int)number;
}

/* ---- the victims ---- */

typedef struct fate {
    const trial_t *trial;
    uint64_t number;
    unsigned points; /* it is killed after so many */
    unsigned deaths;
    bool hungry;
} fate_t;

static void act(const fate_t *f) {
    int r = f->trial->victim == PUT   ? put(f->number, PATIENCE)
            : f->trial->victim == GET ? get(PATIENCE)
                                      : ferry_buffer_end(buffer);
    check(r >= 0);
    atomic_store(&world->got, (unsigned)r);
    atomic_store(&world->returned, 1);
}

static void be_victim(void *arg) {
    const fate_t *f = arg;
    open_it(open_node("test"));
    atomic_store(&world->at, (uintptr_t)buffer_bytes());
    stepping_mark();
    act(f);
    stepping_mark();
}

/* ---- errands ---- */

static int hold(helper_t *h) {
    world = h->world;
    open_it(h->node);
    return 0;
}

static int close_buffer(helper_t *h) {
    (void)h;
    return ferry_buffer_close(buffer);
}

static int free_buffer(helper_t *h) {
    (void)h;
    shop_t *shop = ferry_region_root(region);
    return ferry_region_free(region, &shop->buffer);
}

static int open_buffer(helper_t *h) {
    (void)h;
    return open_in_region();
}

/* When all who sleep have waited long: then they are hungry, and the first victim to sleep comes before Ben. */
static int call_for_nothing(helper_t *h) {
    (void)h;
    nap(2 * MILLISECOND);
    wake_for_nothing(buffer_bytes(), BUFFER_BYTES);
    return 0;
}

static int let_go(helper_t *h) {
    check_is(close_buffer(h), 0);
    return ferry_region_close(region);
}

static int put_it(helper_t *h) {
    return put(world->number[h - world->helpers], PATIENCE);
}

static int get_it(helper_t *h) {
    (void)h;
    return get(PATIENCE);
}

static int get_at_once(helper_t *h) {
    (void)h;
    return get(FERRY_NOW);
}

static int count(helper_t *h) {
    (void)h;
    return (int)ferry_buffer_count(buffer);
}

static int end(helper_t *h) {
    (void)h;
    return ferry_buffer_end(buffer);
}

/* ---- one death ---- */

typedef struct run {
    const trial_t *trial;
    helper_t *helpers;
    bool asked[2]; /* Anna, Ben: an answer of theirs is still to come */
    call_t sleepers;
    bool sent[ITEMS]; /* was put for sure */
    bool perhaps[ITEMS];
    unsigned came[ITEMS];
    unsigned next;   /* the witness's */
    unsigned takers; /* that died, perhaps with an item */
    const fate_t *fate;
    bool called; /* the victim, out of its sleep, for nothing */
    bool asleep, through;
} run_t;

_Noreturn static void failed(const run_t *r, const char *text, int line) {
    fprintf(stderr, "# %s: killed at point %u%s%s\n", r->trial->name, r->fate->points, r->asleep ? ", asleep" : "",
            r->through ? ", after the call" : "");
    for (unsigned i = 1; i < ITEMS; i++)
        if (r->sent[i] || r->perhaps[i] || r->came[i])
            fprintf(stderr, "# item %u: %s, came out %u times\n", i, r->sent[i] ? "was put" : "perhaps", r->came[i]);
    check_failed(text, __FILE__, line);
}

#define expect(r, condition) ((condition) ? (void)0 : failed((r), #condition, __LINE__))

static void has_come(run_t *r, int item) {
    expect(r, item > 0 && item < ITEMS);
    r->came[item]++;
    expect(r, r->came[item] == 1 && (r->sent[item] || r->perhaps[item]));
}

static void witness_puts(run_t *r) {
    world->number[WITNESS] = r->next;
    expect(r, r->next < ITEMS);
    r->sent[r->next++] = true;
    check_is(helper_do(&r->helpers[WITNESS], put_it), 0);
}

static void witness_gets(run_t *r) {
    has_come(r, helper_do(&r->helpers[WITNESS], get_it));
}

static void ask(run_t *r, unsigned who) {
    if (r->asked[who])
        return;
    world->number[who] = FROM_ANNA + who;
    r->sent[FROM_ANNA + who] = r->sleepers == PUT; /* it comes in before the end, or the test fails */
    r->asked[who] = true;
    helper_ask(&r->helpers[who], r->sleepers == PUT ? put_it : get_it);
    helper_await_sleep(&r->helpers[who]);
}

static void arrange(run_t *r) {
    for (unsigned i = 0; i < r->trial->items; i++)
        witness_puts(r);
    if (r->trial->sleepers == END)
        return;
    ask(r, ANNA);
    ask(r, BEN);
    if (!r->fate->hungry)
        return;
    check_is(helper_do(&r->helpers[WITNESS], call_for_nothing), 0);
    helper_await_sleep(&r->helpers[ANNA]);
    helper_await_sleep(&r->helpers[BEN]);
}

/* The victim sleeps: Ben comes after it, and there will be something for one of them. */
static void cue(run_t *r) {
    ask(r, BEN);
    if (r->sleepers == PUT)
        witness_gets(r);
    else
        witness_puts(r);
}

/* ---- leading ---- */

static bool buffer_has_changed(pid_t pid) {
    static unsigned char before[BUFFER_BYTES], now[BUFFER_BYTES];
    struct iovec here = {now, sizeof now}, there = {(void *)(uintptr_t)atomic_load(&world->at), sizeof now};
    check_is(process_vm_readv(pid, &here, 1, &there, 1, 0), (int64_t)sizeof now);
    bool changed = memcmp(before, now, sizeof now) != 0;
    memcpy(before, now, sizeof now);
    return changed;
}

/* It is left in its sleep for good; or called for nothing; or, in its next sleep, helped. False: it stays. */
static bool sleep_over(run_t *r, pid_t pid, bool last) {
    int64_t end_of_it = clock_ns() + PATIENCE;
    bool cued = false;
    do {
        if (!cued && sleeps_on_futex(pid)) {
            if (last)
                return false;
            if (r->called)
                cue(r);
            else
                check_is(helper_do(&r->helpers[WITNESS], call_for_nothing), 0);
            r->called = cued = true;
        }
        check(clock_ns() < end_of_it);
    } while (stepping_await(pid, GLANCE) == BLOCKED);
    return true;
}

/* So many points further. */
static void lead(run_t *r, pid_t pid, unsigned points, unsigned stride, bool is_helped) {
    unsigned passed = 0, since = 0;
    (void)buffer_has_changed(pid);
    while (passed < points && !r->through) {
        enum stopped at = stepping_on(pid, false, GLANCE);
        r->through = at == AT_MARK;
        if (at == BLOCKED && !sleep_over(r, pid, !is_helped || passed + 1 == points)) {
            r->asleep = true;
            return;
        }
        since += stepping_in_library(pid);
        if (buffer_has_changed(pid) || since >= stride) {
            passed++;
            since = 0;
        }
    }
}

static void note_victim(run_t *r, const fate_t *f) {
    bool returned = atomic_load(&world->returned) != 0;
    if (r->trial->victim == PUT)
        r->sent[f->number] = returned;
    else if (r->trial->victim == GET && returned)
        has_come(r, (int)atomic_load(&world->got));
    else
        r->takers += r->trial->victim == GET;
}

static void kill_one(run_t *r, const fate_t *f, unsigned stride, bool is_helped) {
    atomic_store(&world->returned, 0);
    r->perhaps[f->number] = r->trial->victim == PUT;
    pid_t victim = stepping_start(be_victim, (void *)(uintptr_t)f);
    lead(r, victim, f->points, stride, is_helped);
    stepping_kill(victim);
    note_victim(r, f);
}

/* ---- judging ---- */

static bool waits(run_t *r, unsigned who) {
    return r->asked[who] && !helper_is_done(&r->helpers[who]);
}

static void hear(run_t *r, unsigned who) {
    int answer = helper_answer(&r->helpers[who]);
    r->asked[who] = false;
    if (r->sleepers == PUT)
        expect(r, answer == 0);
    else
        has_come(r, answer);
}

/* Nobody sleeps beside what he waits for. */
static bool all_sleep_rightly(run_t *r) {
    int items = helper_do(&r->helpers[WITNESS], count);
    bool rightly = items == (r->sleepers == PUT ? SLOTS : 0);
    for (unsigned who = ANNA; who <= BEN; who++)
        if (waits(r, who) && (!rightly || !helper_sleeps(&r->helpers[who])))
            return false;
    return true;
}

static void settle(run_t *r) {
    int64_t end_of_it = clock_ns() + PATIENCE;
    while (!all_sleep_rightly(r))
        expect(r, clock_ns() < end_of_it);
    for (unsigned who = ANNA; who <= BEN; who++)
        if (r->asked[who] && helper_is_done(&r->helpers[who]))
            hear(r, who);
}

static void all_get_theirs(run_t *r) {
    settle(r);
    while (r->asked[ANNA] || r->asked[BEN]) {
        if (r->sleepers == PUT)
            witness_gets(r);
        else
            witness_puts(r);
        settle(r);
    }
    int item;
    while ((item = helper_do(&r->helpers[WITNESS], get_at_once)) != -EAGAIN)
        has_come(r, item);
    unsigned missing = 0;
    for (unsigned i = 1; i < ITEMS; i++)
        missing += r->sent[i] && !r->came[i];
    expect(r, missing <= r->takers);
}

/* If it has ended, all who sleep are told. */
static void all_are_told(run_t *r) {
    world->number[WITNESS] = FROM_WITNESS;
    int answer = helper_do(&r->helpers[WITNESS], put_it);
    expect(r, answer == -EPIPE || (answer == 0 && !r->through));
    if (answer == 0) {
        r->sent[FROM_WITNESS] = true;
        settle(r);
        expect(r, r->asked[ANNA] + r->asked[BEN] == 1);
        check_is(helper_do(&r->helpers[WITNESS], end), 0);
    }
    for (unsigned who = ANNA; who <= BEN; who++) {
        expect(r, !r->asked[who] || helper_answer(&r->helpers[who]) == -EPIPE);
        r->asked[who] = false;
    }
}

static void all_use_it(run_t *r) {
    for (unsigned i = 0; i < HELPERS; i++) {
        world->number[i] = FROM_WITNESS;
        check_is(helper_do(&r->helpers[i], put_it), 0);
        check_is(helper_do(&r->helpers[(i + 1) % HELPERS], get_it), FROM_WITNESS);
    }
}

/* ---- the hunt ---- */

static void all_do(helper_t *helpers, errand_t *errand) {
    for (unsigned i = 0; i < HELPERS; i++)
        check_is(helper_do(&helpers[i], errand), 0);
}

/* What has ended, has ended: with another buffer, then. */
static void begin_anew(helper_t *helpers) {
    all_do(helpers, close_buffer);
    check_is(helper_do(&helpers[ANNA], free_buffer), 0);
    all_do(helpers, open_buffer);
}

/* True: the victim was through before it was killed. */
static bool kill_at(helper_t *helpers, fate_t *f, dice_t *dice, unsigned stride) {
    const trial_t *trial = f->trial;
    run_t r = {.trial = trial,
               .helpers = helpers,
               .sleepers = trial->victim_sleeps ? trial->victim : trial->sleepers,
               .next = FROM_WITNESS + 1,
               .fate = f};
    arrange(&r);
    kill_one(&r, f, stride, trial->victim_sleeps);
    bool through = r.through;
    f->deaths++;
    if (f->points % SECOND_DEATHS == 0 && trial->victim != END) {
        fate_t second = {trial, FROM_SECOND, 1 + (unsigned)dice_below(dice, 150), 0, false};
        r.through = false;
        kill_one(&r, &second, EVERY, false);
        f->deaths++;
    }
    if (trial->victim == END) {
        all_are_told(&r);
        begin_anew(helpers);
    } else {
        all_get_theirs(&r);
        all_use_it(&r);
    }
    return through;
}

static void killed_in_a_buffer(void) {
    world = share(sizeof *world);
    helper_t *helpers = helpers_start(HELPERS, world);
    world->helpers = helpers;
    dice_t dice = dice_new("second deaths");
    unsigned stride = fire_count(
        "FERRY_FIRE_STRIDE", "instructions at most from one death to the next (0: twice what the trial says)", 0, 0);
    for (unsigned i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        int64_t begin = clock_ns();
        fate_t f = {.trial = &trials[i], .number = FROM_VICTIM, .points = 1};
        all_do(helpers, hold);
        while (!kill_at(helpers, &f, &dice, stride ? stride : 2 * trials[i].stride)) {
            f.points++;
            f.hungry = !f.hungry;
            check(f.points < POINTS_MAX);
        }
        all_do(helpers, let_go);
        printf("# %-34s %5u deaths, %5.1f ms each\n", trials[i].name, f.deaths,
               (double)(clock_ns() - begin) / 1e6 / f.deaths);
        fflush(stdout);
    }
    helpers_end(helpers, HELPERS);
}

int main(int argc, char **argv) {
    const test_t tests[] = {TEST(killed_in_a_buffer)};
    return run_suite("buffer-step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * step_published.c - a published region's writer, and its readers, are killed at one instruction after the other of
 * their calls. Readers must see whole versions, the newest one among them, and hear of the death; a writer must have
 * its buffers back.
 */
#include "helpers.h"
#include "published.h"
#include "stepping.h"

#include <stdio.h>

#define REGION "map"
#define BYTES 300u /* few, since copying them is stepped, too */
#define BEFORE 3u  /* versions, before the call in which the writer is killed */
#define STEP_PATIENCE (SECOND / 5)

/* Shared by the leader, his victims and his helpers. */
typedef struct world {
    unsigned room;  /* versions that the writer's quota has room for */
    bool completed; /* the call had returned */
    bool whole;     /* what a victim had in view */
    atomic_uint deaths;
} world_t;

static world_t *world;

typedef struct trial {
    const char *name;
    void (*prepare)(void);
    void (*act)(void);
    bool sleeper; /* the helper waits in a call meanwhile */
} trial_t;

/* A victim's, or a helper's: each has its own copy. */
static struct {
    ferry_t *node;
    ferry_region_writer_t *writer;
    ferry_region_reader_t *reader;
    ferry_region_view_t *view, *other;
} me;

static void be_victim(void *arg) {
    const trial_t *trial = arg;
    me.node = open_node("test");
    trial->prepare();
    stepping_mark();
    trial->act();
    stepping_mark();
}

static way_t way; /* of the trial */

static int publish_once(helper_t *h);

/* Kills it after so many steps; true when the call had returned before. */
static bool kill_after(pid_t pid, unsigned steps, bool by_call) {
    enum stopped at = stepping_go(pid, &way, steps, by_call, STEP_PATIENCE);
    check(at != GONE);
    stepping_kill(pid);
    atomic_fetch_add(&world->deaths, 1);
    return at == AT_MARK;
}

/* `publisher` publishes when the victim is there, and has not begun its call; NULL: nobody does. */
static unsigned count_steps(const trial_t *trial, bool by_call, helper_t *publisher) {
    unsigned steps;
    pid_t pid = stepping_start(be_victim, (void *)(uintptr_t)trial);
    if (publisher)
        check_is(helper_do(publisher, publish_once), 0);
    enum stopped at = stepping_walk(pid, &way, by_call, STEP_PATIENCE, &steps);
    check(at == AT_MARK || at == BLOCKED);
    stepping_kill(pid);
    return steps;
}

typedef struct hunt {
    void (*before)(helper_t *h, const trial_t *trial); /* the victim is there, and has not begun its call */
    void (*after)(helper_t *h, const trial_t *trial);  /* it is dead */
    helper_t *helper;
    unsigned points;
} hunt_t;

static void hunt_in(const hunt_t *hunt, const trial_t *trial, bool by_call) {
    unsigned steps = count_steps(trial, by_call, NULL);
    hunt->after(hunt->helper, NULL);
    unsigned stride = steps / hunt->points + 1;
    unsigned before = atomic_load(&world->deaths);
    for (unsigned at = 0; at <= steps + stride; at += way.strayed ? 0 : stride) {
        pid_t pid = stepping_start(be_victim, (void *)(uintptr_t)trial);
        hunt->before(hunt->helper, trial);
        world->completed = kill_after(pid, at, by_call);
        hunt->after(hunt->helper, trial);
    }
    printf("# %-44s %6u %s, killed after every %u: %u times\n", trial->name, steps,
           by_call ? "doors of system calls" : "instructions", stride, atomic_load(&world->deaths) - before);
    fflush(stdout);
}

/* ---- the writer dies ---- */

static void publish_some(void) {
    me.writer = open_writer(me.node, REGION, BYTES, NULL);
    for (uint64_t v = 1; v <= BEFORE; v++) {
        stamp(me.writer, BYTES, v);
        check_is(publish(me.writer), v);
    }
    stamp(me.writer, BYTES, BEFORE + 1);
}

/* With a reader that views the newest version, there is no third buffer yet. */
static void publish_one_more(void) {
    check_is(ferry_region_publish(me.writer, FERRY_NOW, NULL), 0);
}

static void close_it(void) {
    publish_one_more();
    check_is(ferry_region_writer_close(me.writer), 0);
}

static void only_node_is_open(void) {
}

static void open_and_publish(void) {
    publish_some();
    publish_one_more();
}

static const trial_t writing[] = {
    {"ferry_region_publish", publish_some, publish_one_more, false},
    {"ferry_region_publish, a reader waits", publish_some, publish_one_more, true},
    {"ferry_region_publish, ferry_region_writer_close", publish_some, close_it, false},
};

static const trial_t beginning = {"ferry_region_writer_open, and first versions", only_node_is_open, open_and_publish,
                                  false};

static int hold_newest(helper_t *h) {
    if (!me.reader)
        me.reader = open_reader(h->node, REGION, NULL);
    me.view = view_newest(me.reader);
    check_is(ferry_view_version(me.view), BEFORE);
    check(is_whole(me.view));
    return 0;
}

static int wait_for_more(helper_t *h) {
    (void)h;
    int answer = ferry_region_wait(me.reader, BEFORE, PATIENCE);
    check(answer == 0 || answer == -EPIPE);
    return answer;
}

/* What it viewed is as it was; the newest version is there, whole; then it is told of the death. */
static int judge(helper_t *h) {
    const world_t *w = h->world;
    if (!me.view)
        return 0;
    check_error(ferry_region_wait(me.reader, BEFORE + 1, PATIENCE), -EPIPE, REGION);
    ferry_region_view_t *newest = view_newest(me.reader);
    uint64_t version = ferry_view_version(newest);
    check(version == BEFORE || version == BEFORE + 1);
    check(!w->completed || version == BEFORE + 1);
    check(is_whole(newest) && stamped(me.view, BEFORE));
    stop_viewing(newest);
    stop_viewing(me.view);
    me.view = NULL;
    return 0;
}

static void begin_to_watch(helper_t *h, const trial_t *trial) {
    check_is(helper_do(h, hold_newest), 0);
    if (trial->sleeper)
        helper_ask(h, wait_for_more);
}

static void see_what_is_left(helper_t *h, const trial_t *trial) {
    if (trial && trial->sleeper)
        (void)helper_answer(h);
    check_is(helper_do(h, judge), 0);
}

static int close_reader_of_helper(helper_t *h) {
    (void)h;
    return me.reader ? ferry_region_reader_close(me.reader) : 0;
}

static void a_writer_killed_after_any_instruction_leaves_whole_versions(void) {
    world = share(sizeof *world);
    helper_t *helper = helpers_start(1, world);
    hunt_t hunt = {begin_to_watch, see_what_is_left, helper,
                   fire_count("FERRY_FIRE_POINTS", "points in each call", 11, 11)};
    for (unsigned i = 0; i < sizeof writing / sizeof writing[0]; i++)
        hunt_in(&hunt, &writing[i], false);
    check_is(helper_do(helper, close_reader_of_helper), 0);
    helpers_end(helper, 1);
}

/* Whatever is there; and the next writer must be let in. */
static int use_what_is_left(helper_t *h) {
    ferry_region_reader_t *reader = open_reader(h->node, REGION, NULL);
    ferry_region_writer_t *writer = open_writer(h->node, REGION, BYTES, NULL);
    stamp(writer, BYTES, 1);
    check_is(publish(writer), 1);
    ferry_region_view_t *view = view_newest(reader);
    check(is_whole(view));
    stop_viewing(view);
    close_writer(writer);
    return ferry_region_reader_close(reader);
}

static void nothing_before(helper_t *h, const trial_t *trial) {
    (void)h;
    (void)trial;
}

static void see_that_it_can_be_used(helper_t *h, const trial_t *trial) {
    (void)trial;
    check_is(helper_do(h, use_what_is_left), 0);
}

static void a_writer_killed_at_any_system_call_of_its_beginning_is_no_obstacle(void) {
    world = share(sizeof *world);
    helper_t *helper = helpers_start(1, world);
    hunt_t hunt = {nothing_before, see_that_it_can_be_used, helper,
                   fire_count("FERRY_FIRE_POINTS", "points in each call", 11, 11)};
    hunt_in(&hunt, &beginning, true);
    helpers_end(helper, 1);
}

/* ---- a reader dies ---- */

static void open_only(void) {
    me.reader = open_reader(me.node, REGION, NULL);
}

static void view_one(void) {
    open_only();
    me.view = view_newest(me.reader);
}

static void view_again(void) {
    me.other = view_newest(me.reader);
}

static void view_first(void) {
    me.view = view_newest(me.reader);
}

static void let_go(void) {
    check_is(ferry_view_release(me.view), 0);
}

static void close_after_views(void) {
    let_go();
    check_is(ferry_region_reader_close(me.reader), 0);
}

/* The writer has room for two versions: with one viewed and one newest, it waits. */
static const trial_t reading[] = {
    {"ferry_region_view, the first one", open_only, view_first, false},
    {"ferry_region_view, of a newer version", view_one, view_again, false},
    {"ferry_view_release, the writer waits", view_one, let_go, true},
    {"ferry_view_release, ferry_region_reader_close", view_one, close_after_views, false},
};

static int publish_twice(helper_t *h) {
    (void)h;
    for (unsigned i = 0; i < 2; i++) {
        ferry_region_writer_stats_t stats = writer_stats(me.writer);
        stamp(me.writer, BYTES, stats.version + 1);
        int answer = ferry_region_publish(me.writer, PATIENCE, NULL);
        if (answer < 0)
            return answer;
    }
    return (int)writer_stats(me.writer).buffers;
}

static int be_writer(helper_t *h) {
    const world_t *w = h->world;
    ferry_region_writer_options_t options = {.quota = w->room * 4096ull};
    me.writer = open_writer(h->node, REGION, BYTES, &options);
    return publish_twice(h);
}

static int publish_once(helper_t *h) {
    (void)h;
    stamp(me.writer, BYTES, writer_stats(me.writer).version + 1);
    return ferry_region_publish(me.writer, PATIENCE, NULL);
}

static int close_writer_of_helper(helper_t *h) {
    (void)h;
    return ferry_region_writer_close(me.writer);
}

static void publish_meanwhile(helper_t *h, const trial_t *trial) {
    if (trial->prepare == open_only)
        return;
    check_is(helper_do(h, publish_once), 0);
    if (trial->sleeper) {
        helper_ask(h, publish_once);
        helper_await_sleep(h);
        check(!helper_is_done(h));
    }
}

static void see_that_the_writer_goes_on(helper_t *h, const trial_t *trial) {
    if (trial && trial->sleeper)
        check_is(helper_answer(h), 0);
    check_is(helper_do(h, publish_twice), 2);
}

static void a_reader_killed_after_any_instruction_gives_its_buffers_back(void) {
    world = share(sizeof *world);
    helper_t *helper = helpers_start(1, world);
    hunt_t hunt = {publish_meanwhile, see_that_the_writer_goes_on, helper,
                   fire_count("FERRY_FIRE_POINTS", "points in each call", 11, 11)};
    world->room = 2;
    check_is(helper_do(helper, be_writer), 2);
    for (unsigned i = 0; i < sizeof reading / sizeof reading[0]; i++)
        hunt_in(&hunt, &reading[i], false);
    check_is(helper_do(helper, close_writer_of_helper), 0);
    helpers_end(helper, 1);
}

/* ---- nobody dies ---- */

static void view_at_rest(void) {
    view_one();
    let_go();
}

static void view_and_judge(void) {
    view_first();
    stepping_mark();
    world->whole = is_whole(me.view);
}

/* The newest version is known, and not held; or there is a newer one, too. */
static const trial_t looking[] = {
    {"ferry_region_view, of a version at rest", view_at_rest, view_and_judge, false},
    {"ferry_region_view, of a newer one", view_at_rest, view_and_judge, true},
};

static void run_to_mark(pid_t pid) {
    enum stopped at;
    while ((at = stepping_on(pid, true, PATIENCE)) == AT_STEP) {
    }
    check(at == AT_MARK);
}

/* Enough to write over every buffer that is not held. */
static void publish_and_overtake(helper_t *h) {
    for (unsigned i = 0; i < 2; i++)
        check(helper_do(h, publish_twice) > 0);
}

/* The writer publishes after so many steps of the view, and once more when it is had. False: it was had before. */
static bool overtake_after(helper_t *h, const trial_t *trial, unsigned steps) {
    pid_t pid = stepping_start(be_victim, (void *)(uintptr_t)trial);
    if (trial->sleeper)
        check_is(helper_do(h, publish_once), 0);
    enum stopped at = stepping_go(pid, &way, steps, false, PATIENCE);
    check(at == AT_STEP || at == AT_MARK);
    publish_and_overtake(h);
    if (at != AT_MARK)
        run_to_mark(pid);
    publish_and_overtake(h);
    world->whole = false;
    run_to_mark(pid);
    check(world->whole);
    stepping_kill(pid);
    return at != AT_MARK;
}

static void whatever_the_writer_does_between_two_instructions_a_view_is_whole(void) {
    world = share(sizeof *world);
    helper_t *helper = helpers_start(1, world);
    unsigned points = fire_count("FERRY_FIRE_POINTS", "points in each call", 15, 15), stride = 0;
    world->room = 4;
    check(helper_do(helper, be_writer) > 0);
    for (unsigned i = 0; i < sizeof looking / sizeof looking[0]; i++) {
        unsigned steps = count_steps(&looking[i], false, looking[i].sleeper ? helper : NULL), count = 0;
        stride = stride ? stride : steps / points + 1;
        while ((overtake_after(helper, &looking[i], count * stride) || way.strayed) && count < 4 * points)
            count += !way.strayed;
        printf("# %-44s overtaken after every %u instructions: %u times\n", looking[i].name, stride, count);
        fflush(stdout);
    }
    check_is(helper_do(helper, close_writer_of_helper), 0);
    helpers_end(helper, 1);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_writer_killed_after_any_instruction_leaves_whole_versions),
        TEST(a_writer_killed_at_any_system_call_of_its_beginning_is_no_obstacle),
        TEST(a_reader_killed_after_any_instruction_gives_its_buffers_back),
        TEST(whatever_the_writer_does_between_two_instructions_a_view_is_whole),
    };
    return run_suite("published_step", tests, sizeof tests / sizeof tests[0], argc, argv);
}

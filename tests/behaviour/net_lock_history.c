/* SPDX-License-Identifier: MIT
 *
 * net_lock_history.c - what shows only over time in locks between machines: circles of waits, and whether there was
 * ever more than one holder.
 */
#include "engine.h"
#include "history.h"
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One test at a time; its children see all of it. */
typedef struct scene {
    atomic_uint step;
    atomic_uint taken;
    atomic_int results[8];
    char sentences[8][2048];
} scene_t;

static engine_t *engine;
static scene_t *scene;

static ferry_t *node_on(const char *machine) {
    engine_machine(engine, machine);
    return open_node(engine_space(engine));
}

static void set_up(void) {
    engine = engine_start();
    scene = share(sizeof *scene);
}

/* ---- deadlocks ---- */

typedef struct ring {
    unsigned members;
    kind_t kind;
    bool open; /* the last one wants nothing: it lets go after a while */
} ring_t;

static ring_t ring_of;

static void take_own_then_next(void *arg) {
    unsigned self = (unsigned)(uintptr_t)arg;
    char name[16], next[16], machine[16];
    snprintf(name, sizeof name, "fork%u", self);
    snprintf(next, sizeof next, "fork%u", (self + 1) % ring_of.members);
    snprintf(machine, sizeof machine, "m%u", self);
    ferry_t *node = node_on(machine);
    object_t own = object_open(node, ring_of.kind, name, NULL);
    object_t wanted = object_open(node, ring_of.kind, next, NULL);
    check_is(object_take(&own, PATIENCE), 0);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->step, ring_of.members);
    int r = 0;
    if (ring_of.open && self == ring_of.members - 1)
        nap(600 * MILLISECOND);
    else
        r = object_take(&wanted, PATIENCE);
    atomic_store(&scene->results[self], r);
    if (r < 0)
        snprintf(scene->sentences[self], sizeof scene->sentences[self], "%s", ferry_last_error());
    else if (!(ring_of.open && self == ring_of.members - 1))
        check_is(object_give(&wanted), 0);
    check_is(object_give(&own), 0);
    atomic_fetch_add(&scene->taken, 1);
    await(&scene->taken, ring_of.members);
    object_close(&own);
    object_close(&wanted);
    close_node(node);
}

static unsigned run_ring(unsigned members, kind_t kind, bool open) {
    pid_t pids[4];
    unsigned found = 0;
    set_up();
    ring_of = (ring_t){members, kind, open};
    for (unsigned i = 0; i < members; i++)
        pids[i] = child_start(take_own_then_next, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < members; i++)
        child_join(pids[i]);
    for (unsigned i = 0; i < members; i++) {
        int r = atomic_load(&scene->results[i]);
        check(r == 0 || r == -EDEADLK);
        if (r == 0)
            continue;
        found++;
        check(strstr(scene->sentences[i], "circle") != NULL);
        for (unsigned k = 0; k < members; k++) {
            char name[16];
            snprintf(name, sizeof name, "fork%u", k);
            check(strstr(scene->sentences[i], name) != NULL);
        }
    }
    engine_stop(engine);
    return found;
}

static void a_circle_of_two_is_found_once(void) {
    check_is(run_ring(2, MUTEX, false), 1);
}

static void a_circle_of_three_is_found_once(void) {
    check_is(run_ring(3, MUTEX, false), 1);
    check_is(run_ring(3, WRITER, false), 1);
    check_is(run_ring(2, OWNED, false), 1);
}

static void a_chain_of_three_is_no_circle(void) {
    check_is(run_ring(3, MUTEX, true), 0);
}

/* ---- histories ---- */

static history_t *history;

static void write_history(void *arg) {
    char machine[16];
    snprintf(machine, sizeof machine, "h%u", (unsigned)(uintptr_t)arg);
    ferry_t *node = node_on(machine);
    history_write(history, node, 0);
    close_node(node);
}

static int number_from(const char *variable, int otherwise) {
    const char *given = getenv(variable);
    return given ? atoi(given) : otherwise;
}

/* FERRY_HISTORY_KILLS, FERRY_HISTORY_HOLDS: more of them. */
static void a_history_with_kills_shows_one_holder_at_a_time(void) {
    int kills = number_from("FERRY_HISTORY_KILLS", 1);
    unsigned holds = (unsigned)number_from("FERRY_HISTORY_HOLDS", 300);
    pid_t pids[4];
    set_up();
    history = history_new();
    for (unsigned i = 0; i < 4; i++)
        pids[i] = child_start(write_history, (void *)(uintptr_t)i);
    for (int k = 0; k <= kills; k++) {
        unsigned wanted = holds * (unsigned)(k + 1) / (unsigned)(kills + 1);
        int64_t end = monotonic() + 2 * PATIENCE;
        while (history_count(history) < wanted && monotonic() < end)
            nap(MILLISECOND);
        check(history_count(history) >= wanted);
        if (k < kills) {
            child_kill(pids[k % 4]);
            pids[k % 4] = child_start(write_history, (void *)(uintptr_t)(4 + k));
        }
    }
    history_end(history);
    for (unsigned i = 0; i < 4; i++)
        child_join(pids[i]);
    history_check(history);
    engine_stop(engine);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_circle_of_two_is_found_once),
        TEST(a_circle_of_three_is_found_once),
        TEST(a_chain_of_three_is_no_circle),
        TEST(a_history_with_kills_shows_one_holder_at_a_time),
    };
    return run_suite("net_lock_history", tests, sizeof tests / sizeof tests[0], argc, argv);
}

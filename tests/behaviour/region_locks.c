/* SPDX-License-Identifier: MIT
 *
 * region_locks.c - mutexes, semaphores and events that stand inside a region: the same calls and the same promises as
 * for those with a name of their own.
 */
#include "objects.h"
#include "regions.h"

#include <stdio.h>
#include <string.h>

typedef struct shelf {
    uint64_t mutex[FERRY_LOCK_BYTES / 8];
    uint64_t plain[FERRY_LOCK_BYTES / 8];
    uint64_t event[FERRY_LOCK_BYTES / 8];
    uint64_t owned[FERRY_UNITS_BYTES(3) / 8];
    uint64_t counter;
    atomic_uint stage;
    atomic_uint left;
} shelf_t;

static ferry_region_t *open_shelf(ferry_t *node) {
    return open_region_with_root(node, "shelf", MIB, sizeof(shelf_t));
}

static shelf_t *shelf_of(ferry_region_t *region) {
    return ferry_region_root(region);
}

#define PLACE(region, field) ferry_region_ref((region), shelf_of(region)->field)

static ferry_mutex_t *mutex_in(ferry_region_t *region) {
    ferry_mutex_t *mutex = NULL;
    check_is(ferry_mutex_open_in(region, PLACE(region, mutex), NULL, &mutex), 0);
    return mutex;
}

static ferry_semaphore_t *plain_in(ferry_region_t *region, uint32_t count) {
    ferry_semaphore_t *semaphore = NULL;
    check_is(ferry_semaphore_open_in(region, PLACE(region, plain), count, NULL, &semaphore), 0);
    return semaphore;
}

static ferry_semaphore_t *owned_in(ferry_region_t *region) {
    ferry_sync_options_t options = {.owned = 1};
    ferry_semaphore_t *semaphore = NULL;
    check_is(ferry_semaphore_open_in(region, PLACE(region, owned), 3, &options, &semaphore), 0);
    return semaphore;
}

static ferry_event_t *event_in(ferry_region_t *region) {
    ferry_event_t *event = NULL;
    check_is(ferry_event_open_in(region, PLACE(region, event), NULL, &event), 0);
    return event;
}

/* ---- what they do ---- */

#define MEMBERS 4
#define ROUNDS 2000

static void count_up(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shelf(node);
    ferry_mutex_t *mutex = mutex_in(region);
    uint64_t token = 0;
    atomic_fetch_add(&shelf_of(region)->stage, 1);
    await(&shelf_of(region)->left, 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
        check(ferry_mutex_token(mutex) > token);
        token = ferry_mutex_token(mutex);
        shelf_of(region)->counter++;
        check_is(ferry_mutex_unlock(mutex), 0);
    }
    check_is(ferry_mutex_close(mutex), 0);
    close_region(region);
}

static void a_mutex_inside_excludes(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, count_up, NULL);
    ferry_region_t *region = open_shelf(crew_node(crew));
    await(&shelf_of(region)->stage, MEMBERS);
    atomic_store(&shelf_of(region)->left, 1);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_join(crew, i);
    check_is(shelf_of(region)->counter, MEMBERS * ROUNDS);
    close_region(region);
    crew_end(crew);
}

static void answer_every_unit(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shelf(node);
    ferry_semaphore_t *semaphore = plain_in(region, FERRY_ANY);
    ferry_event_t *event = event_in(region);
    for (unsigned i = 0; i < 500; i++) {
        check_is(ferry_semaphore_acquire(semaphore, PATIENCE), 0);
        check_is(ferry_event_set(event), 0);
    }
    check_is(ferry_semaphore_close(semaphore), 0);
    check_is(ferry_event_close(event), 0);
    close_region(region);
}

static void open_everything_first(ferry_region_t *region, ferry_semaphore_t **semaphore, ferry_event_t **event) {
    *semaphore = plain_in(region, 0);
    *event = event_in(region);
}

static void semaphores_and_events_inside_wake(where_t where) {
    if (where == IN_PROCESSES) { /* the first one has to say the count, and who forks has no node */
        where = IN_NODES;
    }
    crew_t *crew = crew_begin(where);
    ferry_semaphore_t *semaphore;
    ferry_event_t *event;
    ferry_region_t *region = open_shelf(crew_node(crew));
    open_everything_first(region, &semaphore, &event);
    crew_add(crew, answer_every_unit, NULL);
    for (unsigned i = 0; i < 500; i++) {
        int count = ferry_event_count(event);
        check_is(ferry_semaphore_release(semaphore), 0);
        check_is(ferry_event_wait_after(event, count, PATIENCE), 0);
    }
    check_is(ferry_semaphore_close(semaphore), 0);
    check_is(ferry_event_close(event), 0);
    crew_join(crew, 0);
    close_region(region);
    crew_end(crew);
}

/* ---- deaths ---- */

static void take_all_and_die(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shelf(node);
    ferry_mutex_t *mutex = mutex_in(region);
    ferry_semaphore_t *owned = owned_in(region);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(owned, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(owned, PATIENCE), 0);
    atomic_store(&shelf_of(region)->stage, 1);
    await(&shelf_of(region)->left, 1);
    crew_die();
}

static void the_next_one_is_told_of_a_death(where_t where) {
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, take_all_and_die, NULL);
    ferry_region_t *region = open_shelf(crew_node(crew));
    await(&shelf_of(region)->stage, 1);
    ferry_mutex_t *mutex = mutex_in(region);
    ferry_semaphore_t *owned = owned_in(region);
    check_is(ferry_mutex_trylock(mutex), -EAGAIN);
    check_is(ferry_semaphore_value(owned), 1);
    atomic_store(&shelf_of(region)->left, 1);
    check_is(ferry_mutex_lock(mutex, PATIENCE), FERRY_OWNER_DIED);
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_semaphore_acquire(owned, PATIENCE), 0);
    for (unsigned i = 0; i < 3; i++)
        check_is(ferry_semaphore_release(owned), 0);
    crew_bury(crew, doomed);
    check_is(ferry_mutex_close(mutex), 0);
    check_is(ferry_semaphore_close(owned), 0);
    close_region(region);
    crew_end(crew);
}

/* Nobody else had the lock open when its holder died: who opens it then finds out all the same. */
static void a_death_that_nobody_saw_is_found(void) {
    crew_t *crew = crew_begin(IN_PROCESSES);
    unsigned doomed = crew_add(crew, take_all_and_die, NULL);
    ferry_region_t *region = open_shelf(crew_node(crew));
    await(&shelf_of(region)->stage, 1);
    atomic_store(&shelf_of(region)->left, 1);
    crew_bury(crew, doomed);
    ferry_mutex_t *mutex = mutex_in(region);
    check_is(ferry_mutex_trylock(mutex), FERRY_OWNER_DIED);
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    ferry_semaphore_t *owned = owned_in(region);
    check_is(ferry_semaphore_value(owned), 3);
    check_is(ferry_mutex_close(mutex), 0);
    check_is(ferry_semaphore_close(owned), 0);
    close_region(region);
    crew_end(crew);
}

/* ---- deadlocks ---- */

typedef struct pair {
    uint64_t locks[2][FERRY_LOCK_BYTES / 8];
    atomic_uint watched; /* the region does not go with the two */
    atomic_uint come;
    atomic_uint held;
    atomic_uint told;
} pair_t;

/* Each is named by the place at which the program opened it. */
static void expect_names_of_both(ferry_region_t *region, pair_t *pair, int answer) {
    char names[64];
    snprintf(names, sizeof names, "pair+0x%llx\" pair+0x%llx\"",
             (unsigned long long)ferry_region_ref(region, pair->locks[0]),
             (unsigned long long)ferry_region_ref(region, pair->locks[1]));
    check_error(answer, -EDEADLK, names);
}

static void embrace(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_region_with_root(node, "pair", MIB, sizeof(pair_t));
    pair_t *pair = ferry_region_root(region);
    ferry_mutex_t *locks[2] = {NULL, NULL};
    for (unsigned i = 0; i < 2; i++)
        check_is(ferry_mutex_open_in(region, ferry_region_ref(region, pair->locks[i]), NULL, &locks[i]), 0);
    await(&pair->watched, 1);
    unsigned first = atomic_fetch_add(&pair->come, 1);
    check_is(ferry_mutex_lock(locks[first], PATIENCE), 0);
    atomic_fetch_add(&pair->held, 1);
    await(&pair->held, 2);
    int r = ferry_mutex_lock(locks[1 - first], PATIENCE);
    if (r < 0) {
        expect_names_of_both(region, pair, r);
        atomic_fetch_add(&pair->told, 1);
    } else {
        check_is(ferry_mutex_unlock(locks[1 - first]), 0);
    }
    check_is(ferry_mutex_unlock(locks[first]), 0);
    for (unsigned i = 0; i < 2; i++)
        check_is(ferry_mutex_close(locks[i]), 0);
    close_region(region);
}

static void a_deadlock_inside_is_found(where_t where) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, embrace, NULL);
    crew_add(crew, embrace, NULL);
    ferry_region_t *region = open_region_with_root(crew_node(crew), "pair", MIB, sizeof(pair_t));
    pair_t *pair = ferry_region_root(region);
    atomic_store(&pair->watched, 1);
    crew_join(crew, 0);
    crew_join(crew, 1);
    check_is(atomic_load(&pair->told), 1);
    close_region(region);
    crew_end(crew);
}

/* ---- mistakes ---- */

static void a_place_holds_one_kind(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shelf(node);
    ferry_ref_t place = PLACE(region, mutex);
    ferry_mutex_t *mutex = mutex_in(region), *wrong = NULL;
    ferry_event_t *event = NULL;
    ferry_semaphore_t *semaphore = NULL;
    check_error(ferry_event_open_in(region, place, NULL, &event), -EPROTOTYPE, "shelf mutex event");
    check_error(ferry_semaphore_open_in(region, place, 3, NULL, &semaphore), -EPROTOTYPE, "shelf mutex semaphore");
    check_is(ferry_mutex_close(mutex), 0);
    check_error(ferry_event_open_in(region, place, NULL, &event), -EPROTOTYPE, "shelf mutex event");
    semaphore = plain_in(region, 5);
    check_is(ferry_semaphore_close(semaphore), 0);
    check_error(ferry_semaphore_open_in(region, PLACE(region, plain), 6, NULL, &semaphore), -EPROTOTYPE, "5 6");
    semaphore = plain_in(region, FERRY_ANY);
    check_is(ferry_semaphore_value(semaphore), 5);
    check_is(ferry_semaphore_close(semaphore), 0);
    check_error(ferry_mutex_open_in(region, place + 4, NULL, &wrong), -EINVAL, "aligned");
    check_error(ferry_mutex_open_in(region, 0, NULL, &wrong), -EINVAL, "inside");
    check_error(ferry_mutex_open_in(region, MIB - 16, NULL, &wrong), -EINVAL, "inside");
    check_error(ferry_mutex_open_in(region, UINT64_MAX - 7, NULL, &wrong), -EINVAL, "inside");
    check_error(ferry_mutex_open_in(region, place, NULL, NULL), -EINVAL, "result");
    check_error(ferry_mutex_open_in(NULL, place, NULL, &wrong), -EBADF, "region");
    check_error(ferry_semaphore_open_in(region, PLACE(region, event), FERRY_ANY, NULL, &semaphore), -ENOENT, "count");
    ferry_sync_options_t owned = {.owned = 1};
    check_error(ferry_semaphore_open_in(region, PLACE(region, owned), 5000, &owned, &semaphore), -EINVAL, "4096");
    close_region(region);
    close_node(node);
}

static void a_region_stays_open_while_locks_inside_are(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shelf(node);
    ferry_region_t *second = open_shelf(node);
    ferry_mutex_t *mutex = mutex_in(region);
    close_region(region); /* the second handle keeps it */
    check_error(ferry_region_close(second), -EBUSY, "shelf close");
    check_is(ferry_mutex_lock(mutex, FERRY_NOW), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_region(second);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_PROTECTED(a_mutex_inside_excludes),
        TEST_ALL(semaphores_and_events_inside_wake),
        TEST_ALL(the_next_one_is_told_of_a_death),
        TEST(a_death_that_nobody_saw_is_found),
        TEST_ALL(a_deadlock_inside_is_found),
        TEST(a_place_holds_one_kind),
        TEST(a_region_stays_open_while_locks_inside_are),
    };
    return run_suite("region_locks", tests, sizeof tests / sizeof tests[0], argc, argv);
}

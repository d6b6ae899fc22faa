/* SPDX-License-Identifier: MIT
 *
 * death.c - what becomes of locks and units whose holders die: a process is killed, a thread ends, a node is closed.
 */
#include "objects.h"

#include <pthread.h>
#include <stdlib.h>

/* One of each kind that belongs to its holder. */
static const char *const names[KINDS_HELD] = {"mutex", "written", "read", "owned"};

typedef struct scene {
    atomic_uint ready; /* how many have taken what they are to take, or wait */
    atomic_uint die;
    atomic_uint told;
    atomic_uint go;
    uint64_t tokens[KINDS_HELD];
} scene_t;

/* The wait for what a dead one held must end when it dies, not by looking now and then. */
static int take_after_death(object_t *lock) {
    int64_t begin = monotonic();
    int answer = object_take(lock, PATIENCE);
    check(monotonic() - begin < PATIENCE / 2);
    return answer;
}

static void open_all(ferry_t *node, object_t locks[KINDS_HELD]) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND}; /* shown as waiting after a millisecond */
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        locks[kind] = object_open(node, kind, names[kind], &options);
}

static void close_all(object_t locks[KINDS_HELD]) {
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        object_close(&locks[kind]);
}

static void take_all_and_die(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t locks[KINDS_HELD];
    open_all(node, locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        check_is(object_take(&locks[kind], PATIENCE), 0);
        scene->tokens[kind] = kind <= WRITER ? object_token(&locks[kind]) : 0;
    }
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->die, 1);
    crew_die();
}

/* ---- the next one ---- */

/* Mutexes and writers are told and repair; dead readers and units leave nothing to repair. */
static void take_over(object_t locks[KINDS_HELD], scene_t *scene) {
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        check_is(take_after_death(&locks[kind]), FERRY_OWNER_DIED);
        check(object_token(&locks[kind]) > scene->tokens[kind]);
        check_is(object_repaired(&locks[kind]), 0);
        check_error(object_repaired(&locks[kind]), -EINVAL, names[kind]);
        check_is(object_give(&locks[kind]), 0);
        check_is(object_take(&locks[kind], FERRY_NOW), 0);
        check_is(object_give(&locks[kind]), 0);
    }
    locks[READER].kind = WRITER;
    check_is(take_after_death(&locks[READER]), 0);
    check_is(object_give(&locks[READER]), 0);
    check_is(take_after_death(&locks[OWNED]), 0);
    check_is(object_give(&locks[OWNED]), 0);
}

static void the_next_taker_is_told_of_the_death(where_t where) {
    scene_t *scene = share(sizeof *scene);
    object_t locks[KINDS_HELD];
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_all_and_die, scene);
    open_all(crew_node(crew), locks);
    await(&scene->ready, 1);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        locks[kind].kind = kind == READER ? WRITER : kind;
        check_is(object_take(&locks[kind], FERRY_NOW), -EAGAIN);
    }
    atomic_store(&scene->die, 1);
    crew_bury(crew, 0);
    take_over(locks, scene);
    close_all(locks);
    crew_end(crew);
}

/* Opens what it will need only when the holder is dead, and somebody else keeps it alive. */
static void whoever_opens_it_after_the_death_is_told_of_it(where_t where) {
    scene_t *scene = share(sizeof *scene);
    object_t kept[KINDS_HELD], locks[KINDS_HELD];
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_all_and_die, scene);
    open_all(crew_node(crew), kept);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    crew_bury(crew, 0);
    ferry_t *late = open_node("test");
    open_all(late, locks);
    take_over(locks, scene);
    close_all(locks);
    close_node(late);
    close_all(kept);
    crew_end(crew);
}

/* One sleeper for each kind; the one that waits for the reader to leave wants to write. */
static void sleep_until_death(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    unsigned kind = atomic_fetch_add(&scene->go, 1);
    object_t locks[KINDS_HELD];
    open_all(node, locks);
    object_t *lock = &locks[kind];
    if (kind == READER)
        lock->kind = WRITER;
    await(&scene->ready, 1);
    check_is(take_after_death(lock), kind <= WRITER ? FERRY_OWNER_DIED : 0);
    atomic_fetch_add(&scene->told, 1);
    if (kind <= WRITER)
        check_is(object_repaired(lock), 0);
    check_is(object_give(lock), 0);
    close_all(locks);
}

static void a_sleeper_is_told_of_the_death(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, take_all_and_die, scene);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        crew_add(crew, sleep_until_death, scene);
    crew_node(crew);
    await_waits(KINDS_HELD);
    check_is(atomic_load(&scene->told), 0);
    atomic_store(&scene->die, 1);
    crew_bury(crew, doomed);
    await(&scene->told, KINDS_HELD);
    crew_end(crew);
}

/* ---- not repaired ---- */

static void sleep_until_it_is_lost(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    unsigned kind = atomic_fetch_add(&scene->go, 1);
    object_t locks[KINDS_HELD];
    open_all(node, locks);
    object_t *lock = &locks[kind == READER ? WRITER : kind];
    lock->kind = kind;
    await(&scene->ready, 2);
    check_error(take_after_death(lock), -ENOTRECOVERABLE, names[kind == READER ? WRITER : kind]);
    check_error(object_take(lock, PATIENCE), -ENOTRECOVERABLE, "");
    atomic_fetch_add(&scene->told, 1);
    close_all(locks);
}

/* Asleep meanwhile: one for the mutex, a second writer, a reader. */
static void what_is_given_up_unrepaired_is_lost_for_all(where_t where) {
    scene_t *scene = share(sizeof *scene);
    object_t locks[KINDS_HELD];
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, take_all_and_die, scene);
    for (kind_t kind = MUTEX; kind <= READER; kind++)
        crew_add(crew, sleep_until_it_is_lost, scene);
    open_all(crew_node(crew), locks);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    crew_bury(crew, doomed);
    for (kind_t kind = MUTEX; kind <= WRITER; kind++)
        check_is(take_after_death(&locks[kind]), FERRY_OWNER_DIED);
    atomic_store(&scene->ready, 2);
    await_waits(3);
    check_is(atomic_load(&scene->told), 0);
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        check_is(object_give(&locks[kind]), 0);
        check_error(object_take(&locks[kind], FERRY_NOW), -ENOTRECOVERABLE, names[kind]);
        check_error(object_take(&locks[kind], PATIENCE), -ENOTRECOVERABLE, names[kind]);
    }
    await(&scene->told, 3);
    close_all(locks);
    crew_end(crew);
}

static void what_is_lost_is_found_again_when_all_have_closed_it(void) {
    scene_t *scene = share(sizeof *scene);
    object_t locks[KINDS_HELD];
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, take_all_and_die, scene);
    open_all(crew_node(crew), locks);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    crew_bury(crew, 0);
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        check_is(take_after_death(&locks[kind]), FERRY_OWNER_DIED);
        check_is(object_give(&locks[kind]), 0);
    }
    close_all(locks);
    open_all(crew_node(crew), locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        check_is(object_take(&locks[kind], FERRY_NOW), 0);
        check_is(object_give(&locks[kind]), 0);
    }
    close_all(locks);
    crew_end(crew);
}

/* ---- the next one dies, too ---- */

static void take_over_and_die(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t locks[KINDS_HELD];
    open_all(node, locks);
    await(&scene->ready, 1);
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        check_is(take_after_death(&locks[kind]), FERRY_OWNER_DIED);
        scene->tokens[kind] = object_token(&locks[kind]);
    }
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->die, 2);
    crew_die();
}

static void who_dies_while_repairing_leaves_it_to_the_next(where_t where) {
    scene_t *scene = share(sizeof *scene);
    object_t locks[KINDS_HELD];
    crew_t *crew = crew_begin(where);
    unsigned first = crew_add(crew, take_all_and_die, scene);
    unsigned second = crew_add(crew, take_over_and_die, scene);
    open_all(crew_node(crew), locks);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    crew_bury(crew, first);
    await(&scene->ready, 2);
    atomic_store(&scene->die, 2);
    crew_bury(crew, second);
    take_over(locks, scene);
    close_all(locks);
    crew_end(crew);
}

/* ---- readers ---- */

static void readers_are_told_of_a_writers_death_until_it_is_repaired(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_all_and_die, scene);
    object_t writer = object_open(crew_node(crew), WRITER, names[WRITER], NULL);
    object_t readers[2];
    for (unsigned i = 0; i < 2; i++)
        readers[i] = object_open(crew_node(crew), READER, names[WRITER], NULL);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2; i++)
            check_is(take_after_death(&readers[i]), FERRY_OWNER_DIED);
        check(ferry_rwlock_repaired(readers[0].rwlock) < 0); /* it is for writers */
        check_is(object_take(&writer, FERRY_NOW), -EAGAIN);  /* they hold it */
        for (unsigned i = 0; i < 2; i++)
            check_is(object_give(&readers[i]), 0);
    }
    crew_bury(crew, 0);
    check_is(take_after_death(&writer), FERRY_OWNER_DIED);
    check_is(object_take(&readers[0], FERRY_NOW), -EAGAIN);
    check_is(object_repaired(&writer), 0);
    check_is(object_give(&writer), 0);
    check_is(object_take(&readers[0], FERRY_NOW), 0);
    check_is(object_give(&readers[0]), 0);
    for (unsigned i = 0; i < 2; i++)
        object_close(&readers[i]);
    object_close(&writer);
    crew_end(crew);
}

static void sleep_to_read(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    object_t reader = object_open(node, READER, names[WRITER], &options);
    await(&scene->ready, 1);
    check_is(take_after_death(&reader), FERRY_OWNER_DIED);
    check_is(object_give(&reader), 0);
    object_close(&reader);
}

static void sleeping_readers_are_told_of_a_writers_death(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    unsigned doomed = crew_add(crew, take_all_and_die, scene);
    crew_add(crew, sleep_to_read, scene);
    crew_add(crew, sleep_to_read, scene);
    crew_node(crew);
    await_waits(2);
    atomic_store(&scene->die, 1);
    crew_bury(crew, doomed);
    crew_end(crew);
}

static void a_reader_that_dies_takes_nothing_from_other_readers(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_all_and_die, scene);
    object_t reader = object_open(crew_node(crew), READER, names[READER], NULL);
    object_t writer = object_open(crew_node(crew), WRITER, names[READER], NULL);
    await(&scene->ready, 1);
    check_is(object_take(&reader, FERRY_NOW), 0);
    atomic_store(&scene->die, 1);
    crew_bury(crew, 0);
    check_is(object_take(&writer, 3 * MILLISECOND), -ETIMEDOUT);
    check_is(object_give(&reader), 0);
    check_is(take_after_death(&writer), 0);
    check_is(object_give(&writer), 0);
    object_close(&reader);
    object_close(&writer);
    crew_end(crew);
}

/* ---- units ---- */

static void take_three_units_and_die(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_semaphore_t *owned = open_owned_semaphore(node, "owned", 5), *plain = open_semaphore(node, "plain", 5);
    for (unsigned i = 0; i < 3; i++) {
        check_is(ferry_semaphore_acquire(owned, FERRY_NOW), 0);
        check_is(ferry_semaphore_acquire(plain, FERRY_NOW), 0);
    }
    atomic_store(&scene->ready, 1);
    await(&scene->die, 1);
    crew_die();
}

static void owned_units_return_from_the_dead_and_plain_ones_do_not(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_three_units_and_die, scene);
    ferry_semaphore_t *owned = open_owned_semaphore(crew_node(crew), "owned", 5);
    ferry_semaphore_t *plain = open_semaphore(crew_node(crew), "plain", 5);
    await(&scene->ready, 1);
    check_is(ferry_semaphore_value(owned), 2);
    check_is(ferry_semaphore_value(plain), 2);
    atomic_store(&scene->die, 1);
    crew_bury(crew, 0);
    for (unsigned i = 0; i < 5; i++)
        check_is(ferry_semaphore_acquire(owned, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(owned, FERRY_NOW), -EAGAIN);
    check_is(ferry_semaphore_value(plain), 2);
    for (unsigned i = 0; i < 5; i++)
        check_is(ferry_semaphore_release(owned), 0);
    check_is(ferry_semaphore_value(owned), 5);
    check_is(ferry_semaphore_close(owned), 0);
    check_is(ferry_semaphore_close(plain), 0);
    crew_end(crew);
}

/* ---- other ways to go ---- */

static void closing_a_node_with_something_held_is_a_death(void) {
    object_t held[KINDS_HELD], locks[KINDS_HELD];
    scene_t scene = {0};
    ferry_t *leaver = open_node("test"), *node = open_node("test");
    open_all(leaver, held);
    open_all(node, locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        check_is(object_take(&held[kind], FERRY_NOW), 0);
    check_is(ferry_close(leaver), KINDS_HELD);
    take_over(locks, &scene);
    close_all(locks);
    close_node(node);
}

static void take_all_and_exit(void *arg) {
    scene_t *scene = arg;
    object_t locks[KINDS_HELD];
    open_all(open_node("test"), locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        check_is(object_take(&locks[kind], FERRY_NOW), 0);
    atomic_store(&scene->ready, 1);
    await(&scene->die, 1);
    exit(0);
}

static void a_process_that_just_exits_has_died(void) {
    scene_t *scene = share(sizeof *scene);
    object_t locks[KINDS_HELD];
    pid_t child = child_start(take_all_and_exit, scene);
    ferry_t *node = open_node("test");
    open_all(node, locks);
    await(&scene->ready, 1);
    atomic_store(&scene->die, 1);
    child_join(child);
    take_over(locks, scene);
    close_all(locks);
    close_node(node);
}

static void wait_to_be_killed(void *arg) {
    atomic_uint *kind = arg;
    object_t locks[KINDS_HELD];
    open_all(open_node("test"), locks);
    await(kind, 1);
    object_take(&locks[atomic_load(kind) - 1], PATIENCE);
}

static void wait_behind_the_doomed(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t locks[KINDS_HELD];
    open_all(node, locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        await(&scene->go, kind + 1);
        check_is(take_after_death(&locks[kind]), 0);
        check_is(object_give(&locks[kind]), 0);
        atomic_fetch_add(&scene->told, 1);
    }
    close_all(locks);
}

/* The doomed one fell asleep first: its turn comes when it is dead. */
static void a_waiter_killed_in_its_sleep_strands_nobody(void) {
    scene_t *scene = share(sizeof *scene);
    atomic_uint *sleeping = share(KINDS_HELD * sizeof *sleeping);
    pid_t doomed[KINDS_HELD];
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, wait_behind_the_doomed, scene);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        doomed[kind] = child_start(wait_to_be_killed, &sleeping[kind]);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        object_t obstacle = obstacle_open(crew_node(crew), kind, names[kind]);
        atomic_store(&sleeping[kind], kind + 1);
        await_waits(1);
        atomic_store(&scene->go, kind + 1);
        await_waits(2);
        child_kill(doomed[kind]);
        check_is(atomic_load(&scene->told), kind);
        obstacle_remove(&obstacle);
        await(&scene->told, kind + 1);
        obstacle_close(&obstacle);
    }
    crew_end(crew);
}

/* ---- at any instruction ---- */

#define DEATHS 120
#define SURVIVORS 2

/* What each lock protects: changed in two steps, which may be seen apart only where a death is told. */
typedef struct storm {
    atomic_uint victims;
    atomic_uint rounds[SURVIVORS];
    atomic_uint survivors;
    atomic_uint stop;
    volatile uint64_t left[KINDS_HELD], right[KINDS_HELD];
} storm_t;

static void change_under(storm_t *storm, object_t *lock, bool died) {
    kind_t kind = lock->kind;
    if (died) {
        storm->right[kind] = storm->left[kind];
        check_is(object_repaired(lock), 0);
    }
    check(storm->left[kind] == storm->right[kind]);
    storm->left[kind] = storm->left[kind] + 1;
    storm->right[kind] = storm->right[kind] + 1;
}

static void read_under(storm_t *storm, object_t *lock, bool died) {
    check(died || storm->left[WRITER] == storm->right[WRITER]);
    check_is(object_give(lock), 0);
}

static void use_one(storm_t *storm, object_t locks[KINDS_HELD], uint64_t *seed) {
    static const int64_t timeouts[] = {FERRY_NOW, MILLISECOND / 10, PATIENCE};
    object_t *lock = &locks[random_below(seed, KINDS_HELD)];
    int64_t timeout = timeouts[random_below(seed, 3)];
    int answer = object_take(lock, timeout);
    check(answer == 0 || answer == FERRY_OWNER_DIED ||
          (timeout != PATIENCE && (answer == -EAGAIN || answer == -ETIMEDOUT)));
    check(answer != FERRY_OWNER_DIED || lock->kind != OWNED);
    if (answer < 0)
        return;
    if (lock->kind == READER) {
        read_under(storm, lock, answer == FERRY_OWNER_DIED);
        return;
    }
    if (lock->kind <= WRITER)
        change_under(storm, lock, answer == FERRY_OWNER_DIED);
    check_is(object_give(lock), 0);
}

static void open_storm(ferry_t *node, object_t locks[KINDS_HELD]) {
    locks[MUTEX] = object_open(node, MUTEX, "m", NULL);
    locks[WRITER] = object_open(node, WRITER, "rw", NULL);
    locks[READER] = object_open(node, READER, "rw", NULL);
    locks[OWNED] = object_open(node, OWNED, "s", NULL);
}

static void use_until_killed(void *arg) {
    storm_t *storm = arg;
    object_t locks[KINDS_HELD];
    ferry_t *node = open_node("test");
    uint64_t seed = ferry_node_id(node);
    open_storm(node, locks);
    atomic_fetch_add(&storm->victims, 1);
    for (;;)
        use_one(storm, locks, &seed);
}

static void survive(ferry_t *node, void *arg) {
    storm_t *storm = arg;
    object_t locks[KINDS_HELD];
    uint64_t seed = ferry_node_id(node);
    unsigned self = atomic_fetch_add(&storm->survivors, 1);
    open_storm(node, locks);
    while (!atomic_load(&storm->stop)) {
        use_one(storm, locks, &seed);
        atomic_fetch_add(&storm->rounds[self], 1);
    }
    close_all(locks);
}

static void await_progress(storm_t *storm) {
    for (unsigned i = 0; i < SURVIVORS; i++)
        await(&storm->rounds[i], atomic_load(&storm->rounds[i]) + 50);
}

static void deaths_at_any_instruction_strand_nobody(void) {
    storm_t *storm = share(sizeof *storm);
    uint64_t seed = 7;
    crew_t *crew = crew_begin(IN_PROCESSES);
    for (unsigned i = 0; i < SURVIVORS; i++)
        crew_add(crew, survive, storm);
    for (unsigned i = 0; i < DEATHS; i++) {
        pid_t victim = child_start(use_until_killed, storm);
        await(&storm->victims, i + 1);
        nap(random_below(&seed, 20) * (MILLISECOND / 10));
        child_kill(victim);
        await_progress(storm);
    }
    atomic_store(&storm->stop, 1);
    crew_end(crew);
}

typedef struct ending {
    ferry_t *node;
    storm_t *storm;
    object_t locks[KINDS_HELD];
} ending_t;

/* Ends while it holds one of them. */
static void *take_one_and_end(void *arg) {
    ending_t *ending = arg;
    uint64_t seed = atomic_fetch_add(&ending->storm->victims, 1);
    open_storm(ending->node, ending->locks);
    object_t *lock = &ending->locks[random_below(&seed, KINDS_HELD)];
    int answer = object_take(lock, PATIENCE);
    check(answer == 0 || answer == FERRY_OWNER_DIED);
    if (lock->kind <= WRITER)
        change_under(ending->storm, lock, answer == FERRY_OWNER_DIED);
    return NULL;
}

static void threads_that_end_with_something_held_strand_nobody(void) {
    storm_t *storm = share(sizeof *storm);
    crew_t *crew = crew_begin(UNDER_TSAN ? IN_THREADS : IN_NODES); /* see TEST_PROTECTED */
    for (unsigned i = 0; i < SURVIVORS; i++)
        crew_add(crew, survive, storm);
    ending_t ending = {.node = crew_node(crew), .storm = storm};
    for (unsigned i = 0; i < DEATHS; i++) {
        pthread_t thread;
        check_is(pthread_create(&thread, NULL, take_one_and_end, &ending), 0);
        pthread_join(thread, NULL);
        for (unsigned k = 0; k < SURVIVORS; k++)
            await(&storm->rounds[k], atomic_load(&storm->rounds[k]) + 5);
        close_all(ending.locks);
    }
    atomic_store(&storm->stop, 1);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(the_next_taker_is_told_of_the_death),
        TEST_ALL(whoever_opens_it_after_the_death_is_told_of_it),
        TEST_ALL(a_sleeper_is_told_of_the_death),
        TEST_ALL(what_is_given_up_unrepaired_is_lost_for_all),
        TEST(what_is_lost_is_found_again_when_all_have_closed_it),
        TEST_ALL(who_dies_while_repairing_leaves_it_to_the_next),
        TEST_ALL(readers_are_told_of_a_writers_death_until_it_is_repaired),
        TEST_ALL(sleeping_readers_are_told_of_a_writers_death),
        TEST_ALL(a_reader_that_dies_takes_nothing_from_other_readers),
        TEST_ALL(owned_units_return_from_the_dead_and_plain_ones_do_not),
        TEST(closing_a_node_with_something_held_is_a_death),
        TEST(a_process_that_just_exits_has_died),
        TEST(a_waiter_killed_in_its_sleep_strands_nobody),
        TEST(deaths_at_any_instruction_strand_nobody),
        TEST(threads_that_end_with_something_held_strand_nobody),
    };
    return run_suite("death", tests, sizeof tests / sizeof tests[0], argc, argv);
}

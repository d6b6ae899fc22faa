/* SPDX-License-Identifier: MIT
 *
 * no_deadlock.c - waits that last long and may look like a deadlock, and are none: nobody is told of one.
 */
#include "objects.h"

#include <pthread.h>
#include <stdio.h>

#define IMPATIENT (5 * MILLISECOND) /* deadlock_after: many looks in a short time */

static object_t open_impatiently(ferry_t *node, kind_t kind, const char *name) {
    ferry_sync_options_t options = {.deadlock_after = IMPATIENT};
    return object_open(node, kind, name, &options);
}

/* ---- an open chain ---- */

#define LINKS 8

typedef struct chain {
    unsigned number;
    bool leads_through_two_spaces; /* every other link is in another one */
    atomic_uint members;
    atomic_uint holding;
    atomic_uint go;
    atomic_uint finished;
} chain_t;

static const char *link_of(const chain_t *chain, unsigned link) {
    static __thread char name[32];
    snprintf(name, sizeof name, "chain-%u-%u", chain->number, link);
    return name;
}

/* Holds its own and waits for the next one's; the last waits for nobody. */
static void be_a_link(ferry_t *node, void *arg) {
    static const kind_t kinds[] = {MUTEX, OWNED, WRITER};
    chain_t *chain = arg;
    unsigned self = atomic_fetch_add(&chain->members, 1);
    ferry_t *nodes[] = {node, chain->leads_through_two_spaces ? open_node("other") : node};
    object_t mine = open_impatiently(nodes[self % 2], kinds[self % 3], link_of(chain, self));
    object_t next = open_impatiently(nodes[(self + 1) % 2], kinds[(self + 1) % 3], link_of(chain, self + 1));
    check_is(object_take(&mine, FERRY_NOW), 0);
    atomic_fetch_add(&chain->holding, 1);
    await(&chain->holding, LINKS);
    if (self == LINKS - 1)
        await(&chain->go, 1);
    check_is(object_take(&next, PATIENCE), 0);
    check_is(object_give(&next), 0);
    check_is(object_give(&mine), 0);
    atomic_fetch_add(&chain->finished, 1);
    object_close(&next);
    object_close(&mine);
    if (nodes[1] != node)
        close_node(nodes[1]);
}

static crew_t *begin_chain(where_t where, chain_t *chain) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < LINKS; i++)
        crew_add(crew, be_a_link, chain);
    return crew;
}

#define CHAINS 4

static void a_chain_that_stands_for_five_seconds_is_no_circle(void) {
    chain_t *chains = share(CHAINS * sizeof *chains);
    crew_t *crews[CHAINS];
    for (unsigned i = 0; i < CHAINS; i++) {
        chains[i].number = i;
        chains[i].leads_through_two_spaces = i % 2;
        crews[i] = begin_chain(i < 2 ? IN_PROCESSES : IN_THREADS, &chains[i]); /* the forks first */
    }
    for (unsigned i = 0; i < CHAINS; i++)
        await(&chains[i].holding, LINKS);
    nap(5 * SECOND);
    for (unsigned i = 0; i < CHAINS; i++) {
        check_is(atomic_load(&chains[i].finished), 0);
        atomic_store(&chains[i].go, 1);
    }
    for (unsigned i = CHAINS; i > 0; i--)
        crew_end(crews[i - 1]);
}

/* ---- correct programs ---- */

#define WORKERS 6
#define LOCKS 6

typedef struct work {
    int64_t end;
    atomic_uint members;
    atomic_uint done;
    unsigned number;
} work_t;

/* Place by place in the one order that all keep to: two mutexes, two reader-writer locks, two semaphores; every other
 * one in another space. */
static void open_locks(ferry_t *const nodes[2], const work_t *work, object_t locks[LOCKS]) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND, .owned = 1};
    for (unsigned i = 0; i < LOCKS; i++) {
        char name[32];
        snprintf(name, sizeof name, "work-%u-%u", work->number, i);
        if (i % 3 < 2) {
            locks[i] = object_open(nodes[i % 2], i % 3 ? WRITER : MUTEX, name, &options);
            continue;
        }
        locks[i] = (object_t){.kind = OWNED};
        check_is(ferry_semaphore_open(nodes[i % 2], name, 2, &options, &locks[i].semaphore), 0);
    }
}

static void take_some_in_order(object_t locks[LOCKS], uint64_t *seed) {
    bool taken[LOCKS] = {false};
    for (unsigned i = 0; i < LOCKS; i++) {
        taken[i] = random_below(seed, 2);
        if (!taken[i])
            continue;
        if (i % 3 == 1)
            locks[i].kind = random_below(seed, 2) ? WRITER : READER;
        check_is(object_take(&locks[i], PATIENCE), 0);
    }
    if (random_below(seed, 4) == 0)
        nap(random_below(seed, 5) * MILLISECOND);
    for (unsigned i = 0; i < LOCKS; i++)
        if (taken[i])
            check_is(object_give(&locks[i]), 0);
}

static void work_in_order(ferry_t *node, void *arg) {
    work_t *work = arg;
    object_t locks[LOCKS];
    uint64_t seed = atomic_fetch_add(&work->members, 1) + 100 * work->number;
    ferry_t *nodes[] = {node, open_node("other")};
    open_locks(nodes, work, locks);
    while (monotonic() < work->end) {
        take_some_in_order(locks, &seed);
        atomic_fetch_add(&work->done, 1);
    }
    for (unsigned i = 0; i < LOCKS; i++)
        object_close(&locks[i]);
    close_node(nodes[1]);
}

static crew_t *begin_work(where_t where, work_t *work) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < WORKERS; i++)
        crew_add(crew, work_in_order, work);
    return crew;
}

static void programs_that_keep_to_an_order_never_hear_of_a_deadlock(void) {
    work_t *work = share(2 * sizeof *work);
    work[1].number = 1;
    work[0].end = work[1].end = monotonic() + 2 * SECOND;
    crew_t *processes = begin_work(IN_PROCESSES, &work[0]); /* the forks first */
    crew_t *threads = begin_work(IN_THREADS, &work[1]);
    crew_end(threads);
    crew_end(processes);
    check(work[0].done > WORKERS && work[1].done > WORKERS);
}

/* ---- waits that somebody else may end ---- */

typedef struct scene {
    kind_t kind;
    atomic_uint ready;
    atomic_uint go;
    atomic_uint ended;
} scene_t;

static void hold_mutex_and_want(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t mutex = open_impatiently(node, MUTEX, "mutex"), other = open_impatiently(node, scene->kind, "other");
    check_is(object_take(&mutex, FERRY_NOW), 0);
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->go, 1);
    int answer = object_take(&other, PATIENCE);
    check(answer == 0 || (scene->kind == BARRIER && answer == FERRY_BARRIER_LAST));
    check_is(object_give(&mutex), 0);
    atomic_fetch_add(&scene->ended, 1);
    object_close(&other);
    object_close(&mutex);
}

static void want_mutex(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t mutex = open_impatiently(node, MUTEX, "mutex");
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->go, 1);
    check_is(object_take(&mutex, PATIENCE), 0);
    check_is(object_give(&mutex), 0);
    atomic_fetch_add(&scene->ended, 1);
    object_close(&mutex);
}

/* Plain units, barriers and events belong to nobody: whoever comes may end the wait, and in the end one does. */
static void let_another_end_it(where_t where, kind_t kind) {
    scene_t *scene = share(sizeof *scene);
    scene->kind = kind;
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_mutex_and_want, scene);
    crew_add(crew, want_mutex, scene);
    object_t obstacle = obstacle_open(crew_node(crew), kind, "other");
    await(&scene->ready, 2);
    atomic_store(&scene->go, 1);
    await_waits(2);
    nap(20 * IMPATIENT);
    check_is(atomic_load(&scene->ended), 0);
    obstacle_remove(&obstacle);
    await(&scene->ended, 2);
    obstacle_close(&obstacle);
    crew_end(crew);
}

static void a_wait_for_a_plain_unit_is_no_deadlock(where_t where) {
    let_another_end_it(where, PLAIN);
}

static void a_wait_for_a_barrier_is_no_deadlock(where_t where) {
    let_another_end_it(where, BARRIER);
}

static void a_wait_for_an_event_is_no_deadlock(where_t where) {
    let_another_end_it(where, EVENT);
}

/* ---- a circle that ends by itself ---- */

static void hold_and_give_up(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    object_t left = open_impatiently(node, MUTEX, "left");
    ferry_sync_options_t late = {.deadlock_after = PATIENCE};
    object_t right = object_open(node, MUTEX, "right", &late);
    check_is(object_take(&left, FERRY_NOW), 0);
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->ready, 2);
    check_is(object_take(&right, 30 * MILLISECOND), -ETIMEDOUT);
    check_is(object_give(&left), 0);
    object_close(&left);
    object_close(&right);
}

static void hold_and_be_patient(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_sync_options_t late = {.deadlock_after = PATIENCE};
    object_t left = object_open(node, MUTEX, "left", &late), right = object_open(node, MUTEX, "right", &late);
    check_is(object_take(&right, FERRY_NOW), 0);
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->ready, 2);
    check_is(object_take(&left, PATIENCE), 0);
    check_is(object_give(&left), 0);
    check_is(object_give(&right), 0);
    object_close(&left);
    object_close(&right);
}

static void who_gives_up_in_time_ends_the_circle(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_and_give_up, scene);
    crew_add(crew, hold_and_be_patient, scene);
    crew_end(crew);
}

/* ---- channels ---- */

static void send_with_mutex(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_contract_t contract = {.capacity = 1};
    ferry_sender_t *tx = open_sender(node, "full", FERRY_QUEUE, &contract);
    object_t mutex = open_impatiently(node, MUTEX, "mutex");
    check_is(object_take(&mutex, FERRY_NOW), 0);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_number(tx, 1);
    atomic_fetch_add(&scene->ready, 1);
    send_number(tx, 2);
    check_is(object_give(&mutex), 0);
    close_sender(tx);
    object_close(&mutex);
}

/* The receiver is slow, but it runs: it sleeps for long, and takes the message in the end. */
static void receive_slowly(ferry_t *node, void *arg) {
    (void)arg;
    ferry_receiver_t *rx = open_receiver(node, "full", FERRY_QUEUE, NULL);
    nap(300 * MILLISECOND);
    check_is(receive_number(rx), 1);
    check_is(receive_number(rx), 2);
    close_receiver(rx);
}

static void a_slow_receiver_is_no_deadlock(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_with_mutex, scene);
    crew_add(crew, receive_slowly, scene);
    crew_add(crew, want_mutex, scene);
    crew_node(crew);
    await(&scene->ready, 2);
    atomic_store(&scene->go, 1);
    crew_end(crew);
}

static void *release_late(void *m) {
    nap(300 * MILLISECOND);
    release(m);
    return NULL;
}

/* Any thread may release a received message: that the receiver's own thread waits does not keep the queue full. */
static void receive_and_leave_the_release_to_another(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    pthread_t thread;
    ferry_receiver_t *rx = open_receiver(node, "full", FERRY_QUEUE, NULL);
    object_t mutex = open_impatiently(node, MUTEX, "mutex");
    await(&scene->ready, 1);
    check_is(pthread_create(&thread, NULL, release_late, receive(rx)), 0);
    check_is(object_take(&mutex, PATIENCE), 0);
    check_is(object_give(&mutex), 0);
    check_is(receive_number(rx), 2);
    pthread_join(thread, NULL);
    close_receiver(rx);
    object_close(&mutex);
}

static void a_message_that_another_thread_will_release_is_no_deadlock(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_with_mutex, scene);
    crew_add(crew, receive_and_leave_the_release_to_another, scene);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_chain_that_stands_for_five_seconds_is_no_circle),
        TEST(programs_that_keep_to_an_order_never_hear_of_a_deadlock),
        TEST_ALL(a_wait_for_a_plain_unit_is_no_deadlock),
        TEST_ALL(a_wait_for_a_barrier_is_no_deadlock),
        TEST_ALL(a_wait_for_an_event_is_no_deadlock),
        TEST_ALL(who_gives_up_in_time_ends_the_circle),
        TEST_ALL(a_slow_receiver_is_no_deadlock),
        TEST_ALL(a_message_that_another_thread_will_release_is_no_deadlock),
    };
    return run_suite("no_deadlock", tests, sizeof tests / sizeof tests[0], argc, argv);
}

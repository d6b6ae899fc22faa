/* SPDX-License-Identifier: MIT
 *
 * cell_wait.c - waiting for a newer version of one cell, or of any of many; and no put is missed. See also cell_poll.c.
 */
#include "cells.h"
#include "objects.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

static ferry_cell_t *open_with_policy(ferry_t *node, const char *name, uint32_t count, ferry_wait_t wait) {
    ferry_cell_options_t options = {.max_bytes = 8, .count = count, .wait = wait};
    return open_cell(node, name, &options);
}

/* ---- one cell ---- */

static void a_wait_ends_at_once_if_the_version_is_newer(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 2);
    check_error(ferry_cell_wait_at(cell, 1, 0, FERRY_NOW), -EAGAIN, "newer");
    check_error(ferry_cell_wait_at(cell, 1, 0, 2 * MILLISECOND), -ETIMEDOUT, "c 2.000");
    put_number(cell, 1, 1);
    put_number(cell, 1, 2);
    check_is(ferry_cell_wait_at(cell, 1, 0, FERRY_NOW), 0);
    check_is(ferry_cell_wait_at(cell, 1, 1, FERRY_FOREVER), 0);
    check_error(ferry_cell_wait_at(cell, 1, 2, FERRY_NOW), -EAGAIN, "newer");
    check_error(ferry_cell_wait_at(cell, 1, 2, 2 * MILLISECOND), -ETIMEDOUT, "newer");
    check_error(ferry_cell_wait_at(cell, 0, 0, 2 * MILLISECOND), -ETIMEDOUT, "newer");
    close_cell(cell);
    close_node(node);
}

/* It is not over with the first put. */
static void a_wait_may_name_a_version_far_ahead(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 1);
    put_number(cell, 0, 1);
    check_error(ferry_cell_wait(cell, 5, 2 * MILLISECOND), -ETIMEDOUT, "newer");
    check_error(ferry_cell_wait(cell, UINT64_MAX, 2 * MILLISECOND), -ETIMEDOUT, "newer");
    check_error(ferry_cell_wait(cell, (uint64_t)1 << 32, 2 * MILLISECOND), -ETIMEDOUT, "newer");
    close_cell(cell);
    close_node(node);
}

#define WAITERS 3

typedef struct audience {
    atomic_uint opened, go, passed;
} audience_t;

static void wait_for_news(ferry_t *node, void *arg) {
    audience_t *audience = arg;
    ferry_cell_t *cell = open_cells(node, "news", 2);
    atomic_fetch_add(&audience->opened, 1);
    await(&audience->go, 1);
    check_is(ferry_cell_wait_at(cell, 1, 2, PATIENCE), 0);
    check_is(get_number(cell, 1, NULL), 33);
    atomic_fetch_add(&audience->passed, 1);
    close_cell(cell);
}

static void a_put_wakes_all_who_wait_for_it(where_t where) {
    audience_t *audience = share(sizeof *audience);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < WAITERS; i++)
        crew_add(crew, wait_for_news, audience);
    ferry_cell_t *cell = open_cells(crew_node(crew), "news", 2);
    await(&audience->opened, WAITERS);
    atomic_store(&audience->go, 1);
    await_waits(WAITERS);
    put_number(cell, 0, 1);
    put_number(cell, 1, 31);
    put_number(cell, 1, 32);
    await_waits(WAITERS);
    check_is(atomic_load(&audience->passed), 0);
    put_number(cell, 1, 33);
    await(&audience->passed, WAITERS);
    close_cell(cell);
    crew_end(crew);
}

#define TRIPS 3000

/* Two who tell each other a number. */
typedef struct talk {
    ferry_wait_t wait;
} talk_t;

static uint64_t await_version(ferry_cell_t *cell, uint64_t version) {
    check_is(ferry_cell_wait(cell, version - 1, PATIENCE), 0);
    return get_number(cell, 0, NULL);
}

static void answer_all(ferry_t *node, void *arg) {
    const talk_t *talk = arg;
    ferry_cell_t *there = open_with_policy(node, "there", 1, talk->wait);
    ferry_cell_t *back = open_with_policy(node, "back", 1, talk->wait);
    for (uint64_t i = 1; i <= TRIPS; i++) {
        check(await_version(there, i) == 3 * i);
        check(put_number(back, 0, 5 * i) == i);
    }
    close_cell(there);
    close_cell(back);
}

static void run_talk(where_t where, ferry_wait_t wait) {
    talk_t *talk = share(sizeof *talk);
    talk->wait = wait;
    crew_t *crew = crew_begin(where);
    crew_add(crew, answer_all, talk);
    ferry_cell_t *there = open_with_policy(crew_node(crew), "there", 1, wait);
    ferry_cell_t *back = open_with_policy(crew_node(crew), "back", 1, wait);
    for (uint64_t i = 1; i <= TRIPS; i++) {
        check(put_number(there, 0, 3 * i) == i);
        check(await_version(back, i) == 5 * i);
        if (i % 100 == 0)
            nap(MILLISECOND / 10); /* lets the other side fall asleep now and then */
    }
    crew_join(crew, 0);
    close_cell(there);
    close_cell(back);
    crew_end(crew);
}

static void no_put_is_missed(where_t where) {
    run_talk(where, FERRY_WAIT_ADAPTIVE);
}

static void no_put_is_missed_when_both_sleep(where_t where) {
    run_talk(where, FERRY_WAIT_BLOCK);
}

/* ---- any of many ---- */

static void watching_tells_what_has_changed(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "c", 5);
    uint64_t seen[5] = {0};
    uint32_t changed[5] = {99, 99, 99, 99, 99};
    check_error(ferry_cell_watch(cells, seen, changed, 5, FERRY_NOW), -EAGAIN, "newer");
    check_error(ferry_cell_watch(cells, seen, changed, 5, 2 * MILLISECOND), -ETIMEDOUT, "c 2.000");
    put_number(cells, 3, 1);
    put_number(cells, 3, 2);
    check_is(ferry_cell_watch(cells, seen, changed, 5, FERRY_NOW), 1);
    check(changed[0] == 3 && changed[1] == 99 && seen[3] == 2 && seen[0] == 0);
    check_error(ferry_cell_watch(cells, seen, changed, 5, FERRY_NOW), -EAGAIN, "newer");
    seen[4] = 12; /* another version than the one that is there, whichever is larger */
    check_is(ferry_cell_watch(cells, seen, changed, 5, FERRY_FOREVER), 1);
    check(changed[0] == 4 && seen[4] == 0);
    close_cell(cells);
    close_node(node);
}

/* The first ones change all the time, and there is room for one index only. */
static void watching_passes_no_cell_over(void) {
    enum { COUNT = 10 };
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "c", COUNT);
    uint64_t seen[COUNT] = {0};
    uint32_t changed[1];
    put_number(cells, COUNT - 1, 1);
    for (unsigned i = 0; seen[COUNT - 1] == 0; i++) {
        for (uint32_t k = 0; k < COUNT - 1; k++)
            put_number(cells, k, i);
        check_is(ferry_cell_watch(cells, seen, changed, 1, FERRY_NOW), 1);
        check(i < 2 * COUNT);
    }
    close_cell(cells);
    close_node(node);
}

#define SYMBOLS 200u
#define QUOTES 2000u
#define QUOTERS 2u

typedef struct market {
    atomic_uint opened, go, watchers;
    uint64_t versions[SYMBOLS]; /* at last */
} market_t;

static void quote(ferry_t *node, void *arg) {
    market_t *market = arg;
    ferry_cell_t *cells = open_cells(node, "symbols", SYMBOLS);
    uint64_t seed = 5 + atomic_fetch_add(&market->opened, 1);
    await(&market->go, 1);
    for (unsigned i = 0; i < QUOTES; i++) {
        put_number(cells, random_below(&seed, SYMBOLS), i);
        if (i % 50 == 0)
            nap(MILLISECOND / 10); /* lets the watchers fall asleep now and then */
    }
    close_cell(cells);
}

/* Until it has seen all: the sum of all versions is the number of puts. */
static void watch_all(ferry_t *node, void *arg) {
    market_t *market = arg;
    ferry_cell_t *cells = open_cells(node, "symbols", SYMBOLS);
    uint64_t seen[SYMBOLS] = {0}, before[SYMBOLS], sum = 0;
    uint32_t changed[7];
    atomic_fetch_add(&market->watchers, 1);
    while (sum < QUOTERS * QUOTES) {
        memcpy(before, seen, sizeof seen);
        int count = ferry_cell_watch(cells, seen, changed, 7, PATIENCE);
        check(count > 0 && count <= 7);
        for (int i = 0; i < count; i++) {
            check(seen[changed[i]] > before[changed[i]]);
            sum += seen[changed[i]] - before[changed[i]];
        }
    }
    check_is(sum, QUOTERS * QUOTES);
    close_cell(cells);
}

static void no_put_is_missed_by_those_who_watch_all(where_t where) {
    market_t *market = share(sizeof *market);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < QUOTERS; i++)
        crew_add(crew, quote, market);
    for (unsigned i = 0; i < 2; i++)
        crew_add(crew, watch_all, market);
    ferry_cell_t *cells = open_cells(crew_node(crew), "symbols", SYMBOLS);
    await(&market->opened, QUOTERS);
    await(&market->watchers, 2);
    atomic_store(&market->go, 1);
    for (unsigned i = 0; i < QUOTERS + 2; i++)
        crew_join(crew, i);
    close_cell(cells);
    crew_end(crew);
}

/* ---- descriptors ---- */

static void watch_by_descriptor(ferry_t *node, void *arg) {
    market_t *market = arg;
    ferry_cell_t *cells = open_cells(node, "symbols", SYMBOLS);
    uint64_t seen[SYMBOLS] = {0}, sum = 0;
    uint32_t changed[SYMBOLS];
    int fd = ferry_cell_fd(cells);
    check(fd >= 0);
    atomic_fetch_add(&market->watchers, 1);
    while (sum < QUOTERS * QUOTES) {
        check(is_readable(fd, (int)(PATIENCE / MILLISECOND)));
        check_is(ferry_cell_rearm(cells), 0);
        int count = ferry_cell_watch(cells, seen, changed, SYMBOLS, FERRY_NOW);
        check(count > 0 || count == -EAGAIN);
        sum = 0;
        for (unsigned i = 0; i < SYMBOLS; i++)
            sum += seen[i];
    }
    check_is(sum, QUOTERS * QUOTES);
    close_cell(cells);
}

static void no_put_is_missed_by_those_who_poll(where_t where) {
    market_t *market = share(sizeof *market);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < QUOTERS; i++)
        crew_add(crew, quote, market);
    crew_add(crew, watch_by_descriptor, market);
    crew_add(crew, watch_all, market);
    ferry_cell_t *cells = open_cells(crew_node(crew), "symbols", SYMBOLS);
    await(&market->opened, QUOTERS);
    await(&market->watchers, 2);
    atomic_store(&market->go, 1);
    for (unsigned i = 0; i < QUOTERS + 2; i++)
        crew_join(crew, i);
    close_cell(cells);
    crew_end(crew);
}

/* ---- how waits end ---- */

typedef struct waiting {
    ferry_t *node;
    bool watches;
    int expected;
    atomic_uint begun;
} waiting_t;

static void *wait_in_a_thread(void *arg) {
    waiting_t *waiting = arg;
    ferry_cell_t *cell = open_cells(waiting->node, "c", 3);
    uint64_t seen[3] = {0};
    uint32_t changed[3];
    atomic_store(&waiting->begun, 1);
    if (waiting->watches)
        check_error(ferry_cell_watch(cell, seen, changed, 3, PATIENCE), waiting->expected, "c");
    else
        check_error(ferry_cell_wait_at(cell, 2, 0, PATIENCE), waiting->expected, "c");
    close_cell(cell);
    return NULL;
}

static void a_shutdown_ends_waits(void) {
    for (unsigned watches = 0; watches < 2; watches++) {
        ferry_t *node = open_node("test");
        waiting_t waiting = {.node = node, .watches = watches, .expected = -ESHUTDOWN};
        pthread_t thread;
        check(pthread_create(&thread, NULL, wait_in_a_thread, &waiting) == 0);
        await_waits(1);
        ferry_shutdown(node);
        check(pthread_join(thread, NULL) == 0);
        close_node(node);
    }
}

static void on_signal(int signal) {
    (void)signal;
}

static void a_signal_ends_waits(void) {
    struct sigaction action = {.sa_handler = on_signal};
    check(sigaction(SIGUSR1, &action, NULL) == 0);
    for (unsigned watches = 0; watches < 2; watches++) {
        ferry_t *node = open_node("test");
        waiting_t waiting = {.node = node, .watches = watches, .expected = -EINTR};
        pthread_t thread;
        check(pthread_create(&thread, NULL, wait_in_a_thread, &waiting) == 0);
        await_waits(1);
        while (pthread_tryjoin_np(thread, NULL) != 0) {
            pthread_kill(thread, SIGUSR1);
            nap(MILLISECOND);
        }
        close_node(node);
    }
}

static void who_waits_is_shown(void) {
    ferry_t *node = open_node("test");
    waiting_t waiting = {.node = node, .expected = -ESHUTDOWN};
    pthread_t thread;
    ferry_look_t *look = NULL;
    check(pthread_create(&thread, NULL, wait_in_a_thread, &waiting) == 0);
    await_waits(1);
    check_is(ferry_look("test", NULL, &look), 0);
    check_is(ferry_look_objects(look), 1);
    const ferry_look_object_t *object = ferry_look_object(look, 0);
    check(strcmp(object->name, "c") == 0 && strcmp(object->kind, "cell") == 0);
    check(object->count == 3 && object->bytes == 8 && object->handles == 1);
    const ferry_look_wait_t *wait = ferry_look_wait(look, 0);
    check(strcmp(wait->name, "c") == 0 && wait->what == FERRY_FOR_CELL);
    ferry_look_close(look);
    ferry_shutdown(node);
    check(pthread_join(thread, NULL) == 0);
    close_node(node);
}

/* ---- deaths ---- */

static void wait_to_be_killed(void *arg) {
    wait_for_news(open_node("test"), arg);
}

static void a_killed_waiter_strands_no_other_waiter(void) {
    audience_t *audience = share(sizeof *audience), *later = share(sizeof *later);
    pid_t doomed = child_start(wait_to_be_killed, audience);
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, wait_for_news, later);
    ferry_cell_t *cell = open_cells(crew_node(crew), "news", 2);
    atomic_store(&audience->go, 1);
    await_waits(1);
    atomic_store(&later->go, 1);
    await_waits(2);
    child_kill(doomed);
    for (uint64_t i = 31; i <= 33; i++)
        put_number(cell, 1, i);
    await(&later->passed, 1);
    check_is(atomic_load(&audience->passed), 0);
    close_cell(cell);
    crew_end(crew);
}

typedef struct storm {
    atomic_uint meddlers, stop, rounds;
} storm_t;

/* Puts, waits, watches and polls, until it is killed. */
static void meddle(void *arg) {
    storm_t *storm = arg;
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "storm", 3);
    uint64_t seen[3] = {0};
    uint32_t changed[3];
    check(ferry_cell_fd(cells) >= 0);
    atomic_fetch_add(&storm->meddlers, 1);
    for (uint64_t seed = ferry_node_id(node);;) {
        uint32_t index = random_below(&seed, 2);
        switch (random_below(&seed, 4)) {
        case 0:
            (void)ferry_cell_wait_at(cells, index, version_of(cells, index), MILLISECOND / 5);
            break;
        case 1:
            (void)ferry_cell_watch(cells, seen, changed, 3, MILLISECOND / 5);
            break;
        case 2:
            check_is(ferry_cell_rearm(cells), 0);
            break;
        default:
            put_number(cells, index, 1);
            break;
        }
    }
}

/* Counts how often something has changed. */
static void echo(ferry_t *node, void *arg) {
    storm_t *storm = arg;
    ferry_cell_t *cells = open_cells(node, "storm", 3);
    uint64_t seen[3] = {0};
    uint32_t changed[3];
    while (!atomic_load(&storm->stop)) {
        int count = ferry_cell_watch(cells, seen, changed, 3, PATIENCE);
        check(count > 0);
        atomic_fetch_add(&storm->rounds, 1);
    }
    close_cell(cells);
}

#define DEATHS 60

static void deaths_in_the_middle_of_a_call_strand_nobody(void) {
    storm_t *storm = share(sizeof *storm);
    uint64_t seed = 1;
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, echo, storm);
    for (unsigned i = 0; i < DEATHS; i++) {
        pid_t meddler = child_start(meddle, storm);
        await(&storm->meddlers, i + 1);
        nap(random_below(&seed, 20) * (MILLISECOND / 10));
        child_kill(meddler);
    }
    ferry_cell_t *cells = open_cells(crew_node(crew), "storm", 3);
    int fd = ferry_cell_fd(cells);
    for (uint32_t i = 0; i < 100; i++) {
        unsigned rounds = atomic_load(&storm->rounds);
        check_is(ferry_cell_rearm(cells), 0);
        put_number(cells, i % 3, i);
        await(&storm->rounds, rounds + 1);
        check(is_readable(fd, (int)(PATIENCE / MILLISECOND)));
    }
    atomic_store(&storm->stop, 1);
    put_number(cells, 2, 1);
    crew_join(crew, 0);
    close_cell(cells);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_wait_ends_at_once_if_the_version_is_newer),
        TEST(a_wait_may_name_a_version_far_ahead),
        TEST_ALL(a_put_wakes_all_who_wait_for_it),
        TEST_ALL(no_put_is_missed),
        TEST_ALL(no_put_is_missed_when_both_sleep),
        TEST(watching_tells_what_has_changed),
        TEST(watching_passes_no_cell_over),
        TEST_ALL(no_put_is_missed_by_those_who_watch_all),
        TEST_ALL(no_put_is_missed_by_those_who_poll),
        TEST(a_shutdown_ends_waits),
        TEST(a_signal_ends_waits),
        TEST(who_waits_is_shown),
        TEST(a_killed_waiter_strands_no_other_waiter),
        TEST(deaths_in_the_middle_of_a_call_strand_nobody),
    };
    return run_suite("cell-wait", tests, sizeof tests / sizeof tests[0], argc, argv);
}

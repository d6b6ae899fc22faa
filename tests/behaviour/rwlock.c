/* SPDX-License-Identifier: MIT
 *
 * rwlock.c - reader-writer locks: readers together, writers alone, and who comes before whom.
 */
#include "objects.h"

#include <pthread.h>

/* ---- readers together, writers alone ---- */

#define ROUNDS 3000
#define READERS 3

typedef struct page {
    ferry_wait_t wait;
    atomic_uint readers;
    atomic_uint most_readers;
    atomic_uint writers;
    atomic_uint go;
    volatile uint64_t left, right; /* the same, unless somebody writes */
} page_t;

static ferry_rwlock_t *open_page(ferry_t *node, const page_t *page) {
    ferry_sync_options_t options = {.wait = page->wait};
    return object_open(node, WRITER, "page", &options).rwlock;
}

static void write_page(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_page(node, page);
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_is(ferry_rwlock_write(rwlock, PATIENCE), 0);
        check_is(atomic_fetch_add(&page->writers, 1), 0);
        check_is(atomic_load(&page->readers), 0);
        page->left = page->left + 1;
        page->right = page->right + 1;
        atomic_fetch_sub(&page->writers, 1);
        check_is(ferry_rwlock_unlock(rwlock), 0);
    }
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void read_page(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_page(node, page);
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
        atomic_fetch_add(&page->readers, 1);
        check_is(atomic_load(&page->writers), 0);
        check_is(page->left, page->right);
        atomic_fetch_sub(&page->readers, 1);
        check_is(ferry_rwlock_unlock(rwlock), 0);
    }
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void read_and_write(where_t where, ferry_wait_t wait) {
    page_t *page = share(sizeof *page);
    page->wait = wait;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < READERS; i++) {
        crew_add(crew, read_page, page);
        if (i < 2)
            crew_add(crew, write_page, page);
    }
    crew_end(crew);
    check_is(page->left, 2 * ROUNDS);
    check_is(page->right, 2 * ROUNDS);
}

static void no_reader_sees_what_is_half_written(where_t where) {
    read_and_write(where, FERRY_WAIT_ADAPTIVE);
}

static void no_reader_sees_what_is_half_written_when_all_sleep(where_t where) {
    read_and_write(where, FERRY_WAIT_BLOCK);
}

static void read_until_all_do(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_page(node, page);
    check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
    atomic_fetch_add(&page->readers, 1);
    await(&page->readers, READERS);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void readers_hold_it_at_the_same_time(where_t where) {
    page_t *page = share(sizeof *page);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < READERS; i++)
        crew_add(crew, read_until_all_do, page);
    crew_end(crew);
}

/* ---- who comes before whom ---- */

/* Shown as waiting after a millisecond. */
static ferry_rwlock_t *open_to_be_seen(ferry_t *node) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    return object_open(node, WRITER, "page", &options).rwlock;
}

static void write_once(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_to_be_seen(node);
    await(&page->go, 1);
    check_is(ferry_rwlock_write(rwlock, PATIENCE), 0);
    page->left = page->left + 1;
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void later_readers_wait_for_a_writer_that_waits(where_t where) {
    page_t *page = share(sizeof *page);
    crew_t *crew = crew_begin(where);
    crew_add(crew, write_once, page);
    ferry_rwlock_t *early = open_rwlock(crew_node(crew), "page"), *late = open_rwlock(crew_node(crew), "page");
    check_is(ferry_rwlock_read(early, FERRY_NOW), 0);
    check_is(ferry_rwlock_read(late, FERRY_NOW), 0);
    check_is(ferry_rwlock_unlock(late), 0);
    atomic_store(&page->go, 1);
    await_waits(1);
    check_error(ferry_rwlock_read(late, FERRY_NOW), -EAGAIN, "");
    check_is(ferry_rwlock_read(late, 3 * MILLISECOND), -ETIMEDOUT);
    check_is(page->left, 0);
    check_is(ferry_rwlock_unlock(early), 0);
    check_is(ferry_rwlock_read(late, PATIENCE), 0);
    check_is(page->left, 1);
    check_is(ferry_rwlock_unlock(late), 0);
    check_is(ferry_rwlock_close(early), 0);
    check_is(ferry_rwlock_close(late), 0);
    crew_end(crew);
}

static void write_or_give_up(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_to_be_seen(node);
    await(&page->go, 1);
    while (atomic_load(&page->go) == 1) /* until somebody has seen it wait */
        check_is(ferry_rwlock_write(rwlock, 100 * MILLISECOND), -ETIMEDOUT);
    check_is(ferry_rwlock_write(rwlock, 100 * MILLISECOND), -ETIMEDOUT);
    atomic_store(&page->go, 3);
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void read_behind_the_writer(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_to_be_seen(node);
    await(&page->go, 2);
    check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
    atomic_fetch_add(&page->readers, 1);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_close(rwlock), 0);
}

/* One reader is asleep behind the writer when that gives up; another comes later. */
static void a_writer_that_gave_up_holds_no_reader_back(where_t where) {
    page_t *page = share(sizeof *page);
    crew_t *crew = crew_begin(where);
    crew_add(crew, write_or_give_up, page);
    crew_add(crew, read_behind_the_writer, page);
    ferry_rwlock_t *early = open_rwlock(crew_node(crew), "page"), *late = open_rwlock(crew_node(crew), "page");
    check_is(ferry_rwlock_read(early, FERRY_NOW), 0);
    atomic_store(&page->go, 1);
    await_waits(1);
    atomic_store(&page->go, 2);
    await(&page->readers, 1);
    await(&page->go, 3);
    check_is(ferry_rwlock_read(late, FERRY_NOW), 0);
    check_is(ferry_rwlock_unlock(early), 0);
    check_is(ferry_rwlock_unlock(late), 0);
    check_is(ferry_rwlock_close(early), 0);
    check_is(ferry_rwlock_close(late), 0);
    crew_end(crew);
}

static void read_on_sight(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_to_be_seen(node);
    await(&page->go, 1);
    check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
    atomic_fetch_add(&page->readers, 1);
    await(&page->readers, READERS);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void a_writer_that_leaves_lets_all_readers_in(where_t where) {
    page_t *page = share(sizeof *page);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < READERS; i++)
        crew_add(crew, read_on_sight, page);
    ferry_rwlock_t *rwlock = open_rwlock(crew_node(crew), "page");
    check_is(ferry_rwlock_write(rwlock, FERRY_NOW), 0);
    atomic_store(&page->go, 1);
    await_waits(READERS);
    check_is(atomic_load(&page->readers), 0);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    await(&page->readers, READERS);
    check_is(ferry_rwlock_close(rwlock), 0);
    crew_end(crew);
}

static void read_all_the_time(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_page(node, page);
    while (!atomic_load(&page->go)) {
        check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
        atomic_fetch_add(&page->readers, 1);
        nap(MILLISECOND / 5);
        check_is(ferry_rwlock_unlock(rwlock), 0);
    }
    check_is(ferry_rwlock_close(rwlock), 0);
}

/* There is always a reader inside; the bound is generous for machines that stand still now and then. */
static void readers_that_never_pause_do_not_starve_a_writer(where_t where) {
    enum { TRIES = 10, FEW = 200 };
    page_t *page = share(sizeof *page);
    unsigned good = 0;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < READERS; i++)
        crew_add(crew, read_all_the_time, page);
    ferry_rwlock_t *rwlock = open_page(crew_node(crew), page);
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned before = atomic_load(&page->readers);
        check_is(ferry_rwlock_write(rwlock, PATIENCE), 0);
        good += atomic_load(&page->readers) - before <= FEW;
        check_is(ferry_rwlock_unlock(rwlock), 0);
        await(&page->readers, atomic_load(&page->readers) + 5);
    }
    check(good >= TRIES / 2);
    atomic_store(&page->go, 1);
    check_is(ferry_rwlock_close(rwlock), 0);
    crew_end(crew);
}

static void write_all_the_time(ferry_t *node, void *arg) {
    page_t *page = arg;
    ferry_rwlock_t *rwlock = open_page(node, page);
    while (!atomic_load(&page->go)) {
        check_is(ferry_rwlock_write(rwlock, PATIENCE), 0);
        atomic_fetch_add(&page->writers, 1);
        nap(MILLISECOND / 5);
        check_is(ferry_rwlock_unlock(rwlock), 0);
    }
    check_is(ferry_rwlock_close(rwlock), 0);
}

static void writers_that_never_pause_do_not_starve_a_reader(where_t where) {
    enum { TRIES = 10, FEW = 200 };
    page_t *page = share(sizeof *page);
    unsigned good = 0;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 2; i++)
        crew_add(crew, write_all_the_time, page);
    ferry_rwlock_t *rwlock = open_page(crew_node(crew), page);
    for (unsigned i = 0; i < TRIES; i++) {
        await(&page->writers, atomic_load(&page->writers) + 5);
        unsigned before = atomic_load(&page->writers);
        check_is(ferry_rwlock_read(rwlock, PATIENCE), 0);
        good += atomic_load(&page->writers) - before <= FEW;
        check_is(ferry_rwlock_unlock(rwlock), 0);
    }
    check(good >= TRIES / 2);
    atomic_store(&page->go, 1);
    check_is(ferry_rwlock_close(rwlock), 0);
    crew_end(crew);
}

/* ---- one handle ---- */

static void a_handle_neither_goes_up_nor_down(void) {
    ferry_t *node = open_node("test");
    ferry_rwlock_t *rwlock = open_rwlock(node, "page"), *other = open_rwlock(node, "page");
    check_is(ferry_rwlock_read(rwlock, FERRY_NOW), 0);
    check_error(ferry_rwlock_write(rwlock, FERRY_FOREVER), -EDEADLK, "page");
    check_is(ferry_rwlock_read(other, FERRY_NOW), 0);
    check_is(ferry_rwlock_unlock(other), 0);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_write(rwlock, FERRY_NOW), 0);
    check_error(ferry_rwlock_read(rwlock, FERRY_FOREVER), -EDEADLK, "page");
    check_is(ferry_rwlock_read(other, FERRY_NOW), -EAGAIN);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_error(ferry_rwlock_unlock(rwlock), -EALREADY, "page");
    check_is(ferry_rwlock_close(rwlock), 0);
    check_is(ferry_rwlock_close(other), 0);
    close_node(node);
}

static void a_reader_has_no_number_and_nothing_to_repair(void) {
    ferry_t *node = open_node("test");
    ferry_rwlock_t *rwlock = open_rwlock(node, "page");
    check_is(ferry_rwlock_read(rwlock, FERRY_NOW), 0);
    check_is(ferry_rwlock_token(rwlock), 0);
    int answer = ferry_rwlock_repaired(rwlock);
    check(answer == -EINVAL || answer == -EPERM);
    check_is(ferry_rwlock_unlock(rwlock), 0);
    check_is(ferry_rwlock_close(rwlock), 0);
    close_node(node);
}

/* ---- as many readers as there may be ---- */

typedef struct excess {
    ferry_rwlock_t *rwlock;
    atomic_uint entered;
} excess_t;

static void *read_when_there_is_room(void *arg) {
    excess_t *excess = arg;
    check_is(ferry_rwlock_read(excess->rwlock, PATIENCE), 0);
    atomic_store(&excess->entered, 1);
    check_is(ferry_rwlock_unlock(excess->rwlock), 0);
    return NULL;
}

static void one_reader_too_many_waits_for_another_to_leave(void) {
    static ferry_rwlock_t *readers[FERRY_MAX_READERS];
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < FERRY_MAX_READERS; i++) {
        readers[i] = open_rwlock(node, "page");
        check_is(ferry_rwlock_read(readers[i], FERRY_NOW), 0);
    }
    excess_t excess = {.rwlock = open_to_be_seen(node)};
    check_is(ferry_rwlock_read(excess.rwlock, FERRY_NOW), -EAGAIN);
    check_is(ferry_rwlock_read(excess.rwlock, MILLISECOND), -ETIMEDOUT);
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, read_when_there_is_room, &excess), 0);
    await_waits(1);
    check_is(atomic_load(&excess.entered), 0);
    check_is(ferry_rwlock_unlock(readers[100]), 0);
    pthread_join(thread, NULL);
    check_is(ferry_rwlock_write(excess.rwlock, FERRY_NOW), -EAGAIN);
    check_is(ferry_rwlock_read(readers[100], FERRY_NOW), 0);
    for (unsigned i = 0; i < FERRY_MAX_READERS; i++) {
        check_is(ferry_rwlock_unlock(readers[i]), 0);
        check_is(ferry_rwlock_close(readers[i]), 0);
    }
    check_is(ferry_rwlock_write(excess.rwlock, FERRY_NOW), 0);
    check_is(ferry_rwlock_unlock(excess.rwlock), 0);
    check_is(ferry_rwlock_close(excess.rwlock), 0);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_PROTECTED(no_reader_sees_what_is_half_written),
        TEST_PROTECTED(no_reader_sees_what_is_half_written_when_all_sleep),
        TEST_ALL(readers_hold_it_at_the_same_time),
        TEST_PROTECTED(later_readers_wait_for_a_writer_that_waits),
        TEST_ALL(a_writer_that_gave_up_holds_no_reader_back),
        TEST_ALL(a_writer_that_leaves_lets_all_readers_in),
        TEST_BOTH(readers_that_never_pause_do_not_starve_a_writer),
        TEST_BOTH(writers_that_never_pause_do_not_starve_a_reader),
        TEST(a_handle_neither_goes_up_nor_down),
        TEST(a_reader_has_no_number_and_nothing_to_repair),
        TEST(one_reader_too_many_waits_for_another_to_leave),
    };
    return run_suite("rwlock", tests, sizeof tests / sizeof tests[0], argc, argv);
}

/* SPDX-License-Identifier: MIT
 *
 * cell_load.c - cells under load: whoever gets sees whole values, and never an older one after a newer one, however
 * fast others put, and whether they are stopped or killed in the middle.
 */
#include "cells.h"
#include "objects.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MOST ((size_t)1 << 20)

/* ---- values that show what they are ---- */

/* The first bytes say how large it is and which one; the rest follows from that. A value of less than 16 is its number,
 * in each byte. */
static size_t make_value(unsigned char *value, size_t size, uint64_t number) {
    if (size < 16) {
        memset(value, (int)(number & 0xff), size);
        return size;
    }
    uint64_t head[2] = {size, number};
    memcpy(value, head, sizeof head);
    fill(value + 16, size - 16, size ^ number << 32);
    return size;
}

static void check_value(const unsigned char *value, size_t size) {
    uint64_t head[2];
    if (size < 16) {
        for (size_t i = 1; i < size; i++)
            check(value[i] == value[0]);
        return;
    }
    memcpy(head, value, sizeof head);
    check_is(size, (int64_t)head[0]);
    check(filled(value + 16, size - 16, head[0] ^ head[1] << 32));
}

static size_t some_size(uint64_t *seed, size_t most) {
    static const size_t sizes[] = {1, 8, 15, 16, 63, 64, 65, 1000, 4096, 65536, MOST};
    size_t size = sizes[random_below(seed, sizeof sizes / sizeof sizes[0])];
    return size < most ? size : most;
}

/* ---- readers under writers ---- */

typedef struct load {
    size_t most;
    bool one_size;
    unsigned gets; /* of each reader */
    atomic_uint writing, stop, done;
} load_t;

static ferry_cell_t *open_for_load(ferry_t *node, const load_t *load) {
    ferry_cell_options_t options = {.max_bytes = load->most};
    return open_cell(node, "c", &options);
}

/* At full speed. */
static void write_all(ferry_t *node, void *arg) {
    load_t *load = arg;
    ferry_cell_t *cell = open_for_load(node, load);
    unsigned char *value = malloc(load->most);
    uint64_t seed = 1 + atomic_fetch_add(&load->writing, 1), before = 0;
    check(value != NULL);
    for (uint64_t number = seed; !atomic_load(&load->stop); number += 8) {
        uint64_t version = 0;
        size_t size = make_value(value, load->one_size ? load->most : some_size(&seed, load->most), number);
        check_is(ferry_cell_put(cell, value, size, &version), 0);
        check(version > before);
        before = version;
    }
    free(value);
    close_cell(cell);
}

static void read_all(ferry_cell_t *cell, const load_t *load) {
    unsigned char *value = malloc(load->most);
    uint64_t before = 0, version = 0;
    check(value != NULL);
    check_is(ferry_cell_wait(cell, 0, PATIENCE), 0);
    for (unsigned i = 0; i < load->gets; i++) {
        size_t len = 0;
        check_is(ferry_cell_get(cell, value, load->most, &len, &version), 0);
        check_value(value, len);
        check(version >= before);
        before = version;
    }
    free(value);
}

static void be_reader(ferry_t *node, void *arg) {
    load_t *load = arg;
    ferry_cell_t *cell = open_for_load(node, load);
    read_all(cell, load);
    atomic_fetch_add(&load->done, 1);
    close_cell(cell);
}

/* It is over when the readers are: the writers go on for that long, and starve nobody. */
static void read_under_writers(where_t where, load_t how, unsigned writers) {
    load_t *load = share(sizeof *load);
    *load = how;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < writers; i++)
        crew_add(crew, write_all, load);
    for (unsigned i = 0; i < 2; i++)
        crew_add(crew, be_reader, load);
    ferry_cell_t *cell = open_for_load(crew_node(crew), load);
    await(&load->done, 2);
    atomic_store(&load->stop, 1);
    for (unsigned i = 0; i < writers + 2; i++)
        crew_join(crew, i);
    close_cell(cell);
    crew_end(crew);
}

static void readers_see_whole_values_of_all_sizes(where_t where) {
    read_under_writers(where, (load_t){.most = MOST, .gets = UNDER_SANITIZER ? 300 : 3000}, 2);
}

static void readers_of_large_values_are_not_starved(where_t where) {
    read_under_writers(where, (load_t){.most = MOST, .one_size = true, .gets = UNDER_SANITIZER ? 50 : 300}, 1);
}

static void readers_of_small_values_are_not_starved(where_t where) {
    read_under_writers(where, (load_t){.most = 64, .one_size = true, .gets = UNDER_SANITIZER ? 20000 : 200000}, 2);
}

/* ---- many threads, one handle ---- */

#define READERS 3

typedef struct shared_handle {
    ferry_cell_t *cell;
    load_t load;
} shared_handle_t;

static void *read_by_the_same_handle(void *arg) {
    shared_handle_t *shared = arg;
    unsigned char value[256];
    uint64_t before = 0, version = 0;
    for (unsigned i = 0; i < shared->load.gets; i++) {
        size_t len = 0;
        check_is(ferry_cell_get(shared->cell, value, sizeof value, &len, &version), 0);
        check_value(value, len);
        check(version >= before);
        check(version_of(shared->cell, 0) >= version);
        before = version;
    }
    atomic_fetch_add(&shared->load.done, 1);
    return NULL;
}

/* While one puts by it, and others by theirs. */
static void many_threads_get_by_one_handle(where_t where) {
    load_t *load = share(sizeof *load);
    *load = (load_t){.most = 256};
    shared_handle_t shared = {.load = {.gets = UNDER_SANITIZER ? 3000 : 50000}};
    pthread_t threads[READERS];
    unsigned char value[256];
    crew_t *crew = crew_begin(where);
    crew_add(crew, write_all, load);
    shared.cell = open_for_load(crew_node(crew), load);
    check_is(ferry_cell_wait(shared.cell, 0, PATIENCE), 0);
    for (unsigned i = 0; i < READERS; i++)
        check(pthread_create(&threads[i], NULL, read_by_the_same_handle, &shared) == 0);
    for (uint64_t number = 7; atomic_load(&shared.load.done) < READERS; number += 8)
        check_is(ferry_cell_put(shared.cell, value, make_value(value, 200, number), NULL), 0);
    for (unsigned i = 0; i < READERS; i++)
        check(pthread_join(threads[i], NULL) == 0);
    atomic_store(&load->stop, 1);
    crew_join(crew, 0);
    close_cell(shared.cell);
    crew_end(crew);
}

/* ---- writers that are stopped or killed ---- */

static void write_until_killed(void *arg) {
    write_all(open_node("test"), arg);
}

static void stop(pid_t pid) {
    int status;
    check(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
}

/* Puts a value, in vain if the one who is stopped has its turn. */
static bool can_put(ferry_cell_t *cell, unsigned char *value, uint64_t number) {
    int answer = ferry_cell_put(cell, value, make_value(value, 100, number), NULL);
    if (answer < 0)
        check_error(answer, -ETIMEDOUT, "c put stopped");
    return answer == 0;
}

/* Most of its time it is in the middle of a put. */
static void a_writer_that_is_stopped_keeps_nobody_from_getting(void) {
    load_t *load = share(sizeof *load);
    *load = (load_t){.most = MOST, .one_size = true, .gets = 3};
    unsigned char *value = malloc(MOST);
    unsigned stopped_in_a_put = 0;
    pid_t writer = child_start(write_until_killed, load);
    ferry_t *node = open_node("test");
    ferry_cell_options_t options = {.max_bytes = MOST, .patience = 3 * MILLISECOND};
    ferry_cell_t *cell = open_cell(node, "c", &options);
    check(value != NULL);
    check_is(ferry_cell_wait(cell, 0, PATIENCE), 0);
    for (unsigned i = 0; i < 300 && stopped_in_a_put < 5; i++) {
        uint64_t version = 0, again = 0;
        size_t len = 0;
        stop(writer);
        check_is(ferry_cell_get(cell, value, MOST, &len, &version), 0);
        check_value(value, len);
        if (!can_put(cell, value, i)) {
            stopped_in_a_put++;
            read_all(cell, load);
            check_is(ferry_cell_get(cell, value, MOST, &len, &again), 0);
            check_is(again, (int64_t)version);
        }
        check(kill(writer, SIGCONT) == 0);
        nap(MILLISECOND / 2);
    }
    check_is(stopped_in_a_put, 5);
    child_kill(writer);
    check_is(ferry_cell_close(cell), 0);
    cell = open_cell(node, "c", &(ferry_cell_options_t){.max_bytes = MOST});
    check(can_put(cell, value, 1));
    free(value);
    close_cell(cell);
    close_node(node);
}

#define DEATHS 40

/* Others can put at once, and what is there is whole. */
static void writers_that_are_killed_leave_whole_values(void) {
    load_t *load = share(sizeof *load);
    *load = (load_t){.most = MOST, .one_size = true};
    unsigned char *value = malloc(MOST);
    uint64_t before = 0, seed = 3;
    check(value != NULL);
    pid_t keeper = child_start(write_until_killed, load);
    for (unsigned i = 0; i < DEATHS; i++) {
        pid_t writer = child_start(write_until_killed, load);
        await(&load->writing, i + 2);
        nap(random_below(&seed, 20) * (MILLISECOND / 10));
        child_kill(writer);
    }
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_for_load(node, load);
    child_kill(keeper);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t version = 0;
        size_t len = 0;
        check_is(ferry_cell_get(cell, value, MOST, &len, &version), 0);
        check_value(value, len);
        check(version > before);
        before = version;
        check(can_put(cell, value, i));
    }
    free(value);
    close_cell(cell);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(readers_see_whole_values_of_all_sizes),          TEST_ALL(readers_of_large_values_are_not_starved),
        TEST_ALL(readers_of_small_values_are_not_starved),        TEST_ALL(many_threads_get_by_one_handle),
        TEST(a_writer_that_is_stopped_keeps_nobody_from_getting), TEST(writers_that_are_killed_leave_whole_values),
    };
    return run_suite("cell-load", tests, sizeof tests / sizeof tests[0], argc, argv);
}

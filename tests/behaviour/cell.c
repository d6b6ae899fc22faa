/* SPDX-License-Identifier: MIT
 *
 * cell.c - cells: values and their versions, what openers must agree on, bad input, who keeps a cell alive.
 */
#include "cells.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

/* ---- values and versions ---- */

static void a_value_comes_back_with_its_version(void) {
    enum { MOST = 3000 };
    static unsigned char in[MOST], out[MOST + 1];
    ferry_t *node = open_node("test");
    ferry_cell_options_t options = {.max_bytes = MOST};
    ferry_cell_t *cell = open_cell(node, "price", &options), *other = open_cell(node, "price", NULL);
    for (size_t size = 0; size <= MOST; size += size < 300 ? 1 : 299) {
        uint64_t version = 0, seen = 0;
        size_t len = 77;
        fill(in, size, size);
        memset(out, 0x5a, sizeof out);
        check_is(ferry_cell_put(cell, in, size, &version), 0);
        check_is(ferry_cell_get(other, out, MOST, &len, &seen), 0);
        check_is(len, size);
        check_is(seen, version);
        check_is(version_of(cell, 0), version);
        check(filled(out, size, size) && out[size] == 0x5a);
    }
    check_is(ferry_cell_put(cell, NULL, 0, NULL), 0);
    check_is(ferry_cell_get(other, NULL, 0, NULL, NULL), 0);
    close_cell(other);
    close_cell(cell);
    close_node(node);
}

static void versions_count_puts_from_one(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 1);
    uint64_t number = 1, version = 5;
    size_t len = 6;
    check_is(version_of(cell, 0), 0);
    check_error(ferry_cell_get(cell, &number, sizeof number, &len, &version), -ENODATA, "put");
    check(number == 1 && version == 5 && len == 6);
    for (uint64_t i = 1; i <= 100; i++) {
        check_is(put_number(cell, 0, i * i), i);
        check_is(get_number(cell, 0, &version), (int64_t)(i * i));
        check_is(version, (int64_t)i);
    }
    close_cell(cell);
    close_node(node);
}

static void a_place_that_is_too_small_is_told_the_size(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cell(node, "c", NULL);
    char in[1000] = {0}, out[1000] = "untouched";
    uint64_t version = 7;
    size_t len = 0;
    check_is(ferry_cell_put(cell, in, sizeof in, NULL), 0);
    check_error(ferry_cell_get(cell, out, 999, &len, &version), -EMSGSIZE, "c 1000 999");
    check_is(len, 1000);
    check_is(version, 7);
    check(strcmp(out, "untouched") == 0);
    len = 0;
    check_error(ferry_cell_get(cell, NULL, 0, &len, NULL), -EMSGSIZE, "1000");
    check_is(len, 1000);
    check_is(ferry_cell_get(cell, out, len, NULL, NULL), 0);
    close_cell(cell);
    close_node(node);
}

static void the_largest_value_comes_back(void) {
    ferry_t *node = open_node("test");
    ferry_cell_options_t options = {.max_bytes = FERRY_MAX_CELL_BYTES};
    ferry_cell_t *cell = open_cell(node, "large", &options);
    unsigned char *in = malloc(FERRY_MAX_CELL_BYTES), *out = malloc(FERRY_MAX_CELL_BYTES);
    check(in && out);
    for (uint64_t round = 0; round < 2; round++) {
        size_t size = FERRY_MAX_CELL_BYTES - round, len = 0;
        fill(in, size, round);
        check_is(ferry_cell_put(cell, in, size, NULL), 0);
        check_is(ferry_cell_get(cell, out, size, &len, NULL), 0);
        check(len == size && memcmp(in, out, size) == 0);
    }
    free(in);
    free(out);
    close_cell(cell);
    close_node(node);
}

static void an_array_has_a_value_for_each_index(void) {
    enum { COUNT = 300 };
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "book", COUNT), *other = open_cells(node, "book", COUNT);
    uint64_t versions[COUNT] = {0}, numbers[COUNT], version = 0, seed = 1;
    for (unsigned round = 0; round < 3000; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t i = (uint32_t)(seed >> 33) % COUNT;
        numbers[i] = seed;
        check_is(put_number(cells, i, seed), (int64_t)++versions[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        check_is(version_of(other, i), (int64_t)versions[i]);
        if (versions[i] == 0)
            continue;
        check(get_number(other, i, &version) == numbers[i] && version == versions[i]);
    }
    close_cell(other);
    close_cell(cells);
    close_node(node);
}

static void calls_without_an_index_mean_the_first_cell(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "book", 3);
    uint64_t number = 4, version = 0;
    check_is(put_number(cells, 0, 3), 1);
    check_is(put_number(cells, 1, 5), 1);
    check_is(ferry_cell_put(cells, &number, sizeof number, &version), 0);
    check_is(version, 2);
    check_is(get_number(cells, 0, NULL), 4);
    check_is(ferry_cell_cas(cells, 2, &number, sizeof number, &version), 0);
    check_is(ferry_cell_wait(cells, 2, FERRY_NOW), 0);
    check_is(version_of(cells, 0), 3);
    check_is(version_of(cells, 1), 1);
    close_cell(cells);
    close_node(node);
}

/* ---- compare and set ---- */

static void a_cas_puts_only_over_the_version_it_names(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 2);
    uint64_t number = 1, version = 77;
    check_error(ferry_cell_cas_at(cell, 1, 1, &number, sizeof number, &version), -ESTALE, "version");
    check_is(version, 77);
    check_is(ferry_cell_cas_at(cell, 1, 0, &number, sizeof number, &version), 0);
    check_is(version, 1);
    number = 2;
    check_error(ferry_cell_cas_at(cell, 1, 0, &number, sizeof number, &version), -ESTALE, "version");
    check_error(ferry_cell_cas_at(cell, 1, 2, &number, sizeof number, &version), -ESTALE, "version");
    check_error(ferry_cell_cas_at(cell, 1, UINT64_MAX, &number, sizeof number, NULL), -ESTALE, "version");
    check_error(ferry_cell_cas_at(cell, 1, ((uint64_t)1 << 32) + 1, &number, sizeof number, NULL), -ESTALE, "version");
    check_is(get_number(cell, 1, NULL), 1);
    check_is(ferry_cell_cas_at(cell, 1, 1, &number, sizeof number, NULL), 0);
    check_is(get_number(cell, 1, &version), 2);
    check_is(version, 2);
    check_is(version_of(cell, 0), 0);
    close_cell(cell);
    close_node(node);
}

#define COUNTERS 4
#define COUNTS 5000

static void put_with_old_token_later(ferry_t *node, void *arg) {
    await((const atomic_uint *)arg, 1);
    ferry_cell_t *cell = open_cells(node, "ledger", 2);
    uint64_t number = 6, version;
    check_error(ferry_cell_put_fenced(cell, 0, 6, &number, sizeof number, NULL), -ESTALE, "ledger 6");
    check_is(ferry_cell_put_fenced(cell, 0, 7, &number, sizeof number, &version), 0);
    check_is(version, 3);
    check_is(ferry_cell_put_fenced(cell, 1, 1, &number, sizeof number, NULL), 0); /* each cell has its own */
    close_cell(cell);
}

static void an_older_token_is_refused(where_t where) {
    crew_t *crew = crew_begin(where);
    atomic_uint *go = share(sizeof *go);
    unsigned other = crew_add(crew, put_with_old_token_later, go);
    ferry_t *node = crew_node(crew);
    ferry_cell_t *cell = open_cells(node, "ledger", 2);
    uint64_t number = 5;
    check_is(ferry_cell_put_fenced(cell, 0, 5, &number, sizeof number, NULL), 0);
    check_is(ferry_cell_put_fenced(cell, 0, 7, &number, sizeof number, NULL), 0);
    atomic_store(go, 1);
    crew_join(crew, other);
    check_is(get_number(cell, 0, NULL), 6);
    check_is(ferry_cell_put(cell, &number, sizeof number, NULL), 0); /* without one: not looked at */
    check_is(ferry_cell_put_fenced(cell, 0, 6, &number, sizeof number, NULL), -ESTALE);
    check_is(ferry_cell_put_fenced(cell, 0, 0, &number, sizeof number, NULL), -EINVAL);
    check_is(ferry_cell_put_fenced(cell, 2, 9, &number, sizeof number, NULL), -ERANGE);
    check_is(ferry_cell_remove(node, "ledger"), -ENOTSUP);
    close_cell(cell);
    crew_end(crew);
}

static void count(ferry_t *node, void *arg) {
    atomic_uint *opened = arg;
    ferry_cell_t *cell = open_cells(node, "counter", 1);
    atomic_fetch_add(opened, 1);
    await(opened, COUNTERS + 1);
    for (unsigned i = 0; i < COUNTS;) {
        uint64_t version = 0, number = get_number(cell, 0, &version) + 1, newer = 0;
        int answer = ferry_cell_cas(cell, version, &number, sizeof number, &newer);
        check(answer == 0 || answer == -ESTALE);
        check(answer < 0 || newer == version + 1);
        i += answer == 0;
    }
    close_cell(cell);
}

static void counts_by_cas_are_exact(where_t where) {
    atomic_uint *opened = share(sizeof *opened);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < COUNTERS; i++)
        crew_add(crew, count, opened);
    ferry_cell_t *cell = open_cells(crew_node(crew), "counter", 1);
    uint64_t version = 0;
    put_number(cell, 0, 0);
    await(opened, COUNTERS);
    atomic_fetch_add(opened, 1);
    for (unsigned i = 0; i < COUNTERS; i++)
        crew_join(crew, i);
    check_is(get_number(cell, 0, &version), COUNTERS * COUNTS);
    check_is(version, COUNTERS * COUNTS + 1);
    close_cell(cell);
    crew_end(crew);
}

/* ---- who opens it ---- */

/* What the members of a test tell each other. */
typedef struct stages {
    atomic_uint opened;
    atomic_uint may_close;
    ferry_cell_options_t options;
} stages_t;

static void keep_cell(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    ferry_cell_t *cell = open_cell(node, "c", &stages->options);
    atomic_store(&stages->opened, 1);
    await(&stages->may_close, 1);
    close_cell(cell);
}

static void refuse(ferry_t *node, const ferry_cell_options_t *options, int error, const char *words) {
    ferry_cell_t *cell = NULL;
    check_error(ferry_cell_open(node, "c", options, &cell), error, words);
    check(cell == NULL);
}

static void all_openers_agree(where_t where) {
    stages_t *stages = share(sizeof *stages);
    stages->options = (ferry_cell_options_t){.max_bytes = 100, .count = 7, .type_name = "quote"};
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_cell, stages);
    await(&stages->opened, 1);
    ferry_t *node = crew_node(crew);
    refuse(node, &(ferry_cell_options_t){.max_bytes = 101}, -EPROTOTYPE, "c size 100 101");
    refuse(node, &(ferry_cell_options_t){.count = 8}, -EPROTOTYPE, "c 7 8");
    refuse(node, &(ferry_cell_options_t){.type_name = "trade"}, -EPROTOTYPE, "c quote trade");
    refuse(node, &(ferry_cell_options_t){.max_bytes = 100, .count = 6}, -EPROTOTYPE, "c 7 6");
    ferry_mutex_t *mutex = NULL;
    check_error(ferry_mutex_open(node, "c", NULL, &mutex), -EPROTOTYPE, "c cell mutex");
    ferry_cell_t *same = open_cell(node, "c", &stages->options), *any = open_cell(node, "c", NULL);
    ferry_cell_info_t info = {.size = sizeof info};
    check_is(ferry_cell_info(any, &info), 0);
    check(info.max_bytes == 100 && info.count == 7 && strcmp(info.type_name, "quote") == 0);
    check(info.memory >= 7 * 4 * 100);
    close_cell(same);
    close_cell(any);
    atomic_store(&stages->may_close, 1);
    crew_end(crew);
}

static void a_name_of_another_kind_is_refused(void) {
    ferry_t *node = open_node("test");
    ferry_event_t *event = NULL;
    check_is(ferry_event_open(node, "c", NULL, &event), 0);
    refuse(node, NULL, -EPROTOTYPE, "c event cell");
    refuse(node, &(ferry_cell_options_t){.max_bytes = 8, .count = 1}, -EPROTOTYPE, "c event cell");
    check_is(ferry_event_close(event), 0);
    close_node(node);
}

static void who_has_no_opinion_makes_one_cell_of_4_kib(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cell(node, "c", NULL);
    ferry_cell_info_t info = {0};
    check_is(ferry_cell_info(cell, &info), 0);
    check(info.max_bytes == 4096 && info.count == 1 && info.type_name[0] == '\0');
    close_cell(cell);
    cell = open_cell(node, "c", &(ferry_cell_options_t){.count = 9});
    check_is(ferry_cell_info(cell, &info), 0);
    check(info.max_bytes == 4096 && info.count == 9);
    close_cell(cell);
    cell = open_cell(node, "c", &(ferry_cell_options_t){.max_bytes = 9});
    check_is(ferry_cell_info(cell, &info), 0);
    check(info.max_bytes == 9 && info.count == 1);
    close_cell(cell);
    close_node(node);
}

static void what_must_exist_is_not_made(where_t where) {
    stages_t *stages = share(sizeof *stages);
    ferry_cell_options_t must_exist = {.must_exist = 1};
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_cell, stages);
    await(&stages->opened, 1);
    close_cell(open_cell(crew_node(crew), "c", &must_exist));
    atomic_store(&stages->may_close, 1);
    crew_join(crew, 0);
    refuse(crew_node(crew), &must_exist, -ENOENT, "c nobody");
    crew_end(crew);
}

static void put_and_stay(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    ferry_cell_t *cell = open_cell(node, "c", NULL);
    check_is(ferry_cell_put(cell, "old", 3, NULL), 0);
    check_is(ferry_cell_put(cell, "newer", 5, NULL), 0);
    atomic_store(&stages->opened, 1);
    await(&stages->may_close, 1);
    close_cell(cell);
}

/* Any holder keeps it, and nobody who comes after the last one finds anything. */
static void a_cell_lives_as_long_as_its_last_holder(where_t where) {
    stages_t *stages = share(sizeof *stages);
    char value[8] = "";
    size_t len = 0;
    uint64_t version = 0;
    crew_t *crew = crew_begin(where);
    crew_add(crew, put_and_stay, stages);
    await(&stages->opened, 1);
    ferry_cell_t *cell = open_cell(crew_node(crew), "c", NULL);
    atomic_store(&stages->may_close, 1);
    crew_join(crew, 0);
    check_is(ferry_cell_get(cell, value, sizeof value, &len, &version), 0);
    check(len == 5 && memcmp(value, "newer", 5) == 0 && version == 2);
    ferry_cell_t *later = open_cell(crew_node(crew), "c", NULL);
    close_cell(cell);
    check_is(ferry_cell_get(later, value, sizeof value, &len, &version), 0);
    check_is(version, 2);
    close_cell(later);
    cell = open_cell(crew_node(crew), "c", NULL);
    check_error(ferry_cell_get(cell, value, sizeof value, &len, &version), -ENODATA, "put");
    close_cell(cell);
    crew_end(crew);
}

static void put_and_die(ferry_t *node, void *arg) {
    ferry_cell_t *cell = open_cell(node, "c", NULL);
    await(arg, 1);
    check_is(ferry_cell_put(cell, "last", 4, NULL), 0);
    crew_die();
}

static void what_the_dead_have_put_is_there(where_t where) {
    atomic_uint *go = share(sizeof *go);
    char value[8] = "";
    crew_t *crew = crew_begin(where);
    crew_add(crew, put_and_die, go);
    ferry_cell_t *cell = open_cell(crew_node(crew), "c", NULL);
    atomic_store(go, 1);
    check_is(ferry_cell_wait(cell, 0, PATIENCE), 0);
    crew_bury(crew, 0);
    check_is(ferry_cell_get(cell, value, sizeof value, NULL, NULL), 0);
    check(memcmp(value, "last", 4) == 0);
    check_is(ferry_cell_put(cell, "next", 4, NULL), 0);
    close_cell(cell);
    crew_end(crew);
}

/* The name of the directory's entries for an object begins with o-. */
static unsigned entries(void) {
    char path[300];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/test", getenv("FERRY_DIR"));
    DIR *directory = opendir(path);
    check(directory != NULL);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, "o-", 2) == 0;
    closedir(directory);
    return count;
}

static void five_thousand_cells_are_one_name(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_cell_t *cells = open_cells(node, "symbols", 5000);
    check_is(entries(), 1);
    ferry_cell_t *same = open_cells(other, "symbols", 5000);
    check_is(entries(), 2);
    for (uint32_t i = 0; i < 5000; i++)
        put_number(cells, i, i);
    for (uint32_t i = 0; i < 5000; i++)
        check_is(get_number(same, i, NULL), i);
    check_is(entries(), 2);
    close_cell(cells);
    check_is(entries(), 1);
    close_cell(same);
    close_node(other);
    close_node(node);
}

/* ---- bad input ---- */

static void bad_names_and_options_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = NULL;
    check_error(ferry_cell_open(node, "a/b", NULL, &cell), -EINVAL, "a/b");
    check_error(ferry_cell_open(node, "", NULL, &cell), -EINVAL, "name");
    check_error(ferry_cell_open(node, NULL, NULL, &cell), -EINVAL, "name");
    check_error(ferry_cell_open(node, "c", NULL, NULL), -EINVAL, "ferry_cell_open NULL");
    check_error(ferry_cell_open(NULL, "c", NULL, &cell), -EBADF, "node");
    refuse(node, &(ferry_cell_options_t){.size = 3}, -EINVAL, "ferry_cell_options_t size 3");
    refuse(node, &(ferry_cell_options_t){.must_exist = 2}, -EINVAL, "must_exist 2");
    refuse(node, &(ferry_cell_options_t){.wait = (ferry_wait_t)9}, -EINVAL, "wait 9");
    refuse(node, &(ferry_cell_options_t){.max_bytes = FERRY_MAX_CELL_BYTES + 1}, -EINVAL, "c 67108864 67108865");
    refuse(node, &(ferry_cell_options_t){.count = FERRY_MAX_CELLS + 1}, -EINVAL, "c 1000000 1000001");
    refuse(node, &(ferry_cell_options_t){.count = FERRY_MAX_CELLS, .max_bytes = MIB}, -EINVAL, "c 1000000 1048576 TiB");
    refuse(node, &(ferry_cell_options_t){.type_name = "two words"}, -EINVAL, "two words type");
    check(cell == NULL);
    close_node(node);
}

static void bad_arguments_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 3);
    uint64_t number = 1, seen[3] = {0};
    uint32_t changed[3];
    ferry_cell_info_t info = {.size = 2};
    put_number(cell, 0, 1);
    check_error(ferry_cell_put(cell, &number, 9, NULL), -EMSGSIZE, "c 8 9");
    check_error(ferry_cell_cas(cell, 1, &number, 9, NULL), -EMSGSIZE, "c 8 9");
    check_error(ferry_cell_put(cell, NULL, 8, NULL), -EINVAL, "NULL 8");
    check_error(ferry_cell_get(cell, NULL, 8, NULL, NULL), -EINVAL, "NULL 8");
    check_error(ferry_cell_put_at(cell, 3, &number, 8, NULL), -ERANGE, "c index 3");
    check_error(ferry_cell_cas_at(cell, 3, 0, &number, 8, NULL), -ERANGE, "c index 3");
    check_error(ferry_cell_get_at(cell, 3, &number, 8, NULL, NULL), -ERANGE, "c index 3");
    check_error(ferry_cell_get_at(cell, UINT32_MAX, &number, 8, NULL, NULL), -ERANGE, "c index 4294967295");
    check_error(ferry_cell_wait_at(cell, 3, 0, FERRY_NOW), -ERANGE, "c index 3");
    check_error(ferry_cell_version(cell, 3, &number), -ERANGE, "c index 3");
    check_error(ferry_cell_version(cell, 0, NULL), -EINVAL, "ferry_cell_version NULL");
    check_error(ferry_cell_watch(cell, NULL, changed, 3, FERRY_NOW), -EINVAL, "seen");
    check_error(ferry_cell_watch(cell, seen, NULL, 3, FERRY_NOW), -EINVAL, "changed");
    check_error(ferry_cell_watch(cell, seen, changed, 0, FERRY_NOW), -EINVAL, "one");
    check_error(ferry_cell_rearm(cell), -EINVAL, "ferry_cell_fd");
    check_error(ferry_cell_info(cell, &info), -EINVAL, "size 2");
    check_error(ferry_cell_info(cell, NULL), -EINVAL, "ferry_cell_info NULL");
    check_is(get_number(cell, 0, &number), 1);
    check_is(number, 1);
    close_cell(cell);
    close_node(node);
}

/* ---- handles ---- */

static void every_call_answers(ferry_cell_t *cell, int error, const char *words) {
    uint64_t number = 0, seen[1] = {0};
    uint32_t changed[1];
    ferry_cell_info_t info = {0};
    check_error(ferry_cell_put(cell, &number, 8, NULL), error, words);
    check_error(ferry_cell_cas(cell, 0, &number, 8, NULL), error, words);
    check_error(ferry_cell_get(cell, &number, 8, NULL, NULL), error, words);
    check_error(ferry_cell_wait(cell, 0, FERRY_NOW), error, words);
    check_error(ferry_cell_version(cell, 0, &number), error, words);
    check_error(ferry_cell_watch(cell, seen, changed, 1, FERRY_NOW), error, words);
    check_error(ferry_cell_fd(cell), error, words);
    check_error(ferry_cell_rearm(cell), error, words);
    check_error(ferry_cell_info(cell, &info), error, words);
}

static void a_handle_that_is_none_is_known(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 1);
    ferry_mutex_t *mutex = NULL;
    close_cell(cell);
    every_call_answers(cell, -EBADF, "cell closed");
    check_error(ferry_cell_close(cell), -EBADF, "cell closed");
    every_call_answers(NULL, -EBADF, "cell NULL");
    check_is(ferry_cell_close(NULL), 0);
    check_is(ferry_mutex_open(node, "m", NULL, &mutex), 0);
    every_call_answers((ferry_cell_t *)(void *)mutex, -EBADF, "cell");
    check_is(ferry_mutex_close(mutex), 0);
    cell = open_cells(node, "c", 1);
    check_is(ferry_close(node), 1);
    every_call_answers(cell, -EBADF, "cell closed");
}

static void use_inherited(void *arg) {
    ferry_cell_t *cell = arg;
    every_call_answers(cell, -ECHILD, "parent");
    check_error(ferry_cell_close(cell), -ECHILD, "parent");
#if !UNDER_TSAN /* it cannot start threads in the child of a process that had several */
    ferry_t *node = open_node("test");
    ferry_cell_t *own = open_cells(node, "c", 1);
    check_is(get_number(own, 0, NULL), 5);
    put_number(own, 0, 6);
    close_cell(own);
    close_node(node);
#endif
}

static void an_inherited_handle_is_the_parents(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 1);
    put_number(cell, 0, 5);
    check(ferry_cell_fd(cell) >= 0);
    child_join(child_start(use_inherited, cell));
    check_is(get_number(cell, 0, NULL), UNDER_TSAN ? 5 : 6);
    close_cell(cell);
    close_node(node);
}

typedef struct sleeper {
    ferry_cell_t *cell;
    atomic_uint begun;
} sleeper_t;

static void *wait_in_a_thread(void *arg) {
    sleeper_t *sleeper = arg;
    atomic_store(&sleeper->begun, 1);
    check_is(ferry_cell_wait(sleeper->cell, 1, PATIENCE), 0);
    return NULL;
}

static bool is_busy(void *arg) {
    return ferry_cell_wait(arg, 0, FERRY_NOW) == -EBUSY;
}

/* Others may still get by it. */
static void a_handle_in_use_by_another_thread_is_busy(void) {
    ferry_t *node = open_node("test");
    sleeper_t sleeper = {.cell = open_cells(node, "c", 1)};
    ferry_cell_t *other = open_cells(node, "c", 1);
    pthread_t thread;
    uint64_t number = 3, seen[1] = {0};
    uint32_t changed[1];
    put_number(other, 0, 8);
    check(pthread_create(&thread, NULL, wait_in_a_thread, &sleeper) == 0);
    await(&sleeper.begun, 1);
    await_that(is_busy, sleeper.cell, "the handle is not busy while a thread waits by it");
    check_error(ferry_cell_put(sleeper.cell, &number, 8, NULL), -EBUSY, "c thread");
    check_error(ferry_cell_cas(sleeper.cell, 1, &number, 8, NULL), -EBUSY, "c thread");
    check_error(ferry_cell_watch(sleeper.cell, seen, changed, 1, FERRY_NOW), -EBUSY, "c thread");
    check_error(ferry_cell_close(sleeper.cell), -EBUSY, "c thread");
    check_is(get_number(sleeper.cell, 0, NULL), 8);
    check_is(version_of(sleeper.cell, 0), 1);
    put_number(other, 0, 9);
    check(pthread_join(thread, NULL) == 0);
    check_is(put_number(sleeper.cell, 0, 10), 3);
    close_cell(other);
    close_cell(sleeper.cell);
    close_node(node);
}

static void *end_with_it(void *arg) {
    put_number(arg, 0, 1);
    return NULL;
}

static void a_handle_outlives_its_thread(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = open_cells(node, "c", 1);
    pthread_t thread;
    check(pthread_create(&thread, NULL, end_with_it, cell) == 0 && pthread_join(thread, NULL) == 0);
    check_is(put_number(cell, 0, 2), 2);
    close_cell(cell);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_value_comes_back_with_its_version),
        TEST(versions_count_puts_from_one),
        TEST(a_place_that_is_too_small_is_told_the_size),
        TEST(the_largest_value_comes_back),
        TEST(an_array_has_a_value_for_each_index),
        TEST(calls_without_an_index_mean_the_first_cell),
        TEST(a_cas_puts_only_over_the_version_it_names),
        TEST_ALL(an_older_token_is_refused),
        TEST_ALL(counts_by_cas_are_exact),
        TEST_ALL(all_openers_agree),
        TEST(a_name_of_another_kind_is_refused),
        TEST(who_has_no_opinion_makes_one_cell_of_4_kib),
        TEST_ALL(what_must_exist_is_not_made),
        TEST_ALL(a_cell_lives_as_long_as_its_last_holder),
        TEST_ALL(what_the_dead_have_put_is_there),
        TEST(five_thousand_cells_are_one_name),
        TEST(bad_names_and_options_are_refused),
        TEST(bad_arguments_are_refused),
        TEST(a_handle_that_is_none_is_known),
        TEST(an_inherited_handle_is_the_parents),
        TEST(a_handle_in_use_by_another_thread_is_busy),
        TEST(a_handle_outlives_its_thread),
    };
    return run_suite("cell", tests, sizeof tests / sizeof tests[0], argc, argv);
}

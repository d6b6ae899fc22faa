/* SPDX-License-Identifier: MIT
 *
 * region.c - shared regions: who makes them, who sees what, what all must agree on, and how they grow.
 */
#include "regions.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- one memory for all ---- */

typedef struct board {
    atomic_uint arrived;
    atomic_uint go;
    uint64_t sum;
    ferry_ref_t list;
} board_t;

typedef struct stages {
    atomic_uint opened;
    atomic_uint go;
    atomic_uint done;
} stages_t;

static void sign(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    board_t *board = ferry_region_root(region);
    atomic_fetch_add(&board->arrived, 1);
    await(&board->go, 1);
    close_region(region);
}

static void all_see_the_same_memory(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 6; i++)
        crew_add(crew, sign, NULL);
    ferry_region_t *region = open_region_with_root(crew_node(crew), "board", MIB, sizeof(board_t));
    board_t *board = ferry_region_root(region);
    await(&board->arrived, 6);
    atomic_store(&board->go, 1);
    for (unsigned i = 0; i < 6; i++)
        crew_join(crew, i);
    check_is(board->arrived, 6);
    close_region(region);
    crew_end(crew);
}

static void hold_one_after_the_other(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    ferry_region_t *region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    board_t *board = ferry_region_root(region);
    board->sum++;
    atomic_fetch_add(&stages->opened, 1);
    await(&stages->go, 1);
    close_region(region);
    atomic_fetch_add(&stages->done, 1);
}

/* Any holder serves it; with the last one it is gone, and who comes then finds a new one, which is zero. */
static void it_lives_as_long_as_somebody_holds_it(void) {
    stages_t *stages = share(sizeof *stages);
    crew_t *crew = crew_begin(IN_PROCESSES);
    for (unsigned i = 0; i < 3; i++) {
        crew_add(crew, hold_one_after_the_other, stages);
        await(&stages->opened, i + 1);
    }
    ferry_t *node = crew_node(crew);
    ferry_region_t *region = open_region(node, "board", 0, NULL);
    check_is(((board_t *)ferry_region_root(region))->sum, 3);
    close_region(region);
    atomic_store(&stages->go, 1);
    await(&stages->done, 3);
    check_error(ferry_region_open(node, "board", 0, NULL, &region), -ENOENT, "board");
    region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    check_is(((board_t *)ferry_region_root(region))->sum, 0);
    close_region(region);
    crew_end(crew);
}

static void die_as_maker(void *arg) {
    stages_t *stages = arg;
    ferry_region_t *region = open_region_with_root(open_node("test"), "board", MIB, sizeof(board_t));
    ((board_t *)ferry_region_root(region))->sum = 42;
    atomic_fetch_add(&stages->opened, 1);
    await(&stages->go, 9);
}

static void it_outlives_its_maker(void) {
    stages_t *stages = share(sizeof *stages);
    pid_t maker = child_start(die_as_maker, stages);
    await(&stages->opened, 1);
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    child_kill(maker);
    check_is(((board_t *)ferry_region_root(region))->sum, 42);
    (void)allocate(region, 100);
    close_region(region);
    close_node(node);
}

static void one_process_may_have_many_handles(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *regions[40];
    for (unsigned i = 0; i < 40; i++)
        regions[i] = open_region_with_root(node, "board", MIB, sizeof(board_t));
    check_is(info_of_region(regions[0]).handles, 40);
    ((board_t *)ferry_region_root(regions[7]))->sum = 1;
    check_is(((board_t *)ferry_region_root(regions[31]))->sum, 1);
    for (unsigned i = 0; i < 40; i++)
        close_region(regions[i]);
    close_node(node);
}

/* ---- what all must agree on ---- */

static void refuse(ferry_t *node, uint64_t bytes, const ferry_region_options_t *options, int error, const char *words) {
    ferry_region_t *region = NULL;
    check_error(ferry_region_open(node, "board", bytes, options, &region), error, words);
    check(region == NULL);
}

static void make_a_board(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    ferry_region_options_t options = {.limit = 2 * MIB, .type_name = "board", .type_size = 4000};
    ferry_region_t *region = open_region(node, "board", MIB, &options);
    atomic_fetch_add(&stages->opened, 1);
    await(&stages->go, 1);
    close_region(region);
}

static void all_openers_agree(where_t where) {
    stages_t *stages = share(sizeof *stages);
    crew_t *crew = crew_begin(where);
    crew_add(crew, make_a_board, stages);
    ferry_t *node = crew_node(crew);
    await(&stages->opened, 1);
    refuse(node, MIB + 4096, NULL, -EPROTOTYPE, "board 1048576 1052672");
    refuse(node, MIB, &(ferry_region_options_t){.limit = 3 * MIB}, -EPROTOTYPE, "board limit 2097152 3145728");
    refuse(node, MIB, &(ferry_region_options_t){.type_name = "pose"}, -EPROTOTYPE, "board pose");
    refuse(node, MIB, &(ferry_region_options_t){.type_size = 4001}, -EPROTOTYPE, "board 4000 4001");
    ferry_mutex_t *mutex = NULL;
    check_error(ferry_mutex_open(node, "board", NULL, &mutex), -EPROTOTYPE, "board region mutex");
    ferry_region_t *region = open_region(node, "board", 0, NULL);
    ferry_region_info_t info = info_of_region(region);
    check_is(info.created_as, MIB);
    check_is(info.limit, 2 * MIB);
    check_is(info.type_size, 4000);
    check(strcmp(info.type_name, "board") == 0);
    close_region(region);
    atomic_store(&stages->go, 1);
    crew_end(crew);
}

static void impossible_regions_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = NULL;
    refuse(node, 0, NULL, -ENOENT, "board");
    refuse(node, 1, NULL, -EINVAL, "board least");
    refuse(node, FERRY_MAX_REGION + 1, NULL, -EINVAL, "board largest");
    refuse(node, MIB, &(ferry_region_options_t){.limit = MIB - 1}, -EINVAL, "limit 1048576 1048575");
    refuse(node, MIB, &(ferry_region_options_t){.type_size = MIB}, -EINVAL, "root");
    refuse(node, MIB, &(ferry_region_options_t){.type_size = UINT64_MAX}, -EINVAL, "root");
    refuse(node, MIB, &(ferry_region_options_t){.type_name = "two words"}, -EINVAL, "two words");
    refuse(node, MIB, &(ferry_region_options_t){.read_only = 2}, -EINVAL, "read_only");
    refuse(node, MIB, &(ferry_region_options_t){.size = 3}, -EINVAL, "size");
    refuse(node, MIB, &(ferry_region_options_t){.wait = (ferry_wait_t)9}, -EINVAL, "wait");
    check_error(ferry_region_open(node, "a/b", MIB, NULL, &region), -EINVAL, "a/b");
    check_error(ferry_region_open(node, NULL, MIB, NULL, &region), -EINVAL, "name");
    check_error(ferry_region_open(NULL, "board", MIB, NULL, &region), -EBADF, "node");
    check_error(ferry_region_open(node, "board", MIB, NULL, NULL), -EINVAL, "result");
    close_node(node);
}

static void more_memory_than_there_is_is_refused(void) {
    ferry_t *node = open_node("test");
    refuse(node, (uint64_t)1 << 43, NULL, -ENOMEM, "free");
    ferry_region_t *region = open_region(node, "board", MIB, &(ferry_region_options_t){.limit = (uint64_t)1 << 39});
    ferry_ref_t ref = 0;
    check_error(ferry_region_alloc(region, (uint64_t)400 << 30, &ref), -ENOMEM, "free");
    check(ref == 0);
    (void)allocate(region, 100);
    close_region(region);
    close_node(node);
}

/* ---- addresses ---- */

static void references_are_places_not_addresses(void) {
    ferry_t *node = open_node("test");
    ferry_t *other = open_node("test");
    ferry_region_t *here = open_region_with_root(node, "board", MIB, sizeof(board_t));
    ferry_region_t *there = open_region_with_root(other, "board", MIB, sizeof(board_t));
    check(ferry_region_root(here) != ferry_region_root(there));
    check(ferry_region_ref(here, ferry_region_root(here)) == ferry_region_ref(there, ferry_region_root(there)));
    ferry_ref_t ref = allocate(here, 1000);
    fill(ferry_region_at(here, ref), 1000, 5);
    check(filled(ferry_region_at(there, ref), 1000, 5));
    check(ferry_region_ref(there, (char *)ferry_region_at(there, ref) + 17) == ref + 17);
    free_block(there, ref);
    close_region(here);
    close_region(there);
    close_node(node);
    close_node(other);
}

static void what_is_outside_has_no_address(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "board", MIB, NULL);
    int outside = 0;
    check(ferry_region_root(region) == NULL);
    check(ferry_region_at(region, 0) == NULL);
    check(ferry_region_at(region, MIB) == NULL);
    check(ferry_region_at(region, UINT64_MAX) == NULL);
    check(ferry_region_at(region, MIB - 1) != NULL);
    check(ferry_region_span(region, MIB - 8, 8) != NULL);
    check(ferry_region_span(region, MIB - 8, 9) == NULL);
    check(ferry_region_span(region, 64, UINT64_MAX) == NULL);
    check(ferry_region_ref(region, &outside) == 0);
    check(ferry_region_ref(region, NULL) == 0);
    close_region(region);
    check(ferry_region_at(region, 64) == NULL);
    close_node(node);
}

/* ---- for reading only ---- */

static void write_to_it(void *arg) {
    stages_t *stages = arg;
    await(&stages->go, 1);
    ferry_region_t *region = open_region(open_node("test"), "board", 0, &(ferry_region_options_t){.read_only = 1});
    check_is(((board_t *)ferry_region_root(region))->sum, 7);
    atomic_fetch_add(&stages->opened, 1);
    ((board_t *)ferry_region_root(region))->sum = 8;
}

static void who_reads_cannot_write(void) {
    stages_t *stages = share(sizeof *stages);
    pid_t scribe = child_start(write_to_it, stages);
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    ((board_t *)ferry_region_root(region))->sum = 7;
    atomic_store(&stages->go, 1);
    int status = child_wait(scribe);
    check(!WIFEXITED(status) || (UNDER_SANITIZER && WEXITSTATUS(status) != 0)); /* a sanitizer makes an exit of it */
    check_is(stages->opened, 1);
    check_is(((board_t *)ferry_region_root(region))->sum, 7);
    close_region(region);
    close_node(node);
}

static void who_reads_changes_nothing(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "board", MIB, sizeof(board_t));
    ferry_region_options_t prefaulted = {.read_only = 1, .prefault = 1};
    ferry_region_t *reader = open_region(node, "board", 0, &prefaulted);
    ferry_ref_t ref = allocate(region, 64), none = 0;
    ferry_mutex_t *mutex = NULL;
    ferry_buffer_t *buffer = NULL;
    check_error(ferry_region_alloc(reader, 64, &none), -EROFS, "reading");
    check_error(ferry_region_free(reader, &ref), -EROFS, "reading");
    check_error(ferry_region_resize(reader, &ref, 100), -EROFS, "reading");
    check_error(ferry_mutex_open_in(reader, ref, NULL, &mutex), -EROFS, "reading");
    check_error(ferry_buffer_open(reader, &none, 4, 8, NULL, &buffer), -EROFS, "reading");
    fill(ferry_region_at(region, ref), 64, 9);
    check(filled(ferry_region_at(reader, ref), 64, 9));
    check_is(info_of_region(reader).blocks, info_of_region(region).blocks);
    check_is(ferry_region_check(reader), 2);
    close_region(region);
    check(filled(ferry_region_at(reader, ref), 64, 9)); /* it is a holder like any other */
    region = open_region(node, "board", 0, NULL);
    free_block(region, ref);
    close_region(region);
    close_region(reader);
    close_node(node);
}

/* ---- growing ---- */

static void it_grows_without_moving(void) {
    ferry_t *node = open_node("test");
    ferry_t *other = open_node("test");
    ferry_region_options_t options = {.limit = 64 * MIB, .type_size = sizeof(board_t)};
    ferry_region_t *here = open_region(node, "board", 256 * KIB, &options);
    ferry_region_t *there = open_region(other, "board", 256 * KIB, &options);
    ferry_region_t *reader = open_region(other, "board", 0, &(ferry_region_options_t){.read_only = 1});
    const void *root = ferry_region_root(here);
    ferry_ref_t refs[60];
    for (unsigned i = 0; i < 60; i++) {
        refs[i] = allocate(i % 2 ? here : there, 900 * KIB);
        fill(ferry_region_at(here, refs[i]), 900 * KIB, i);
    }
    check(ferry_region_root(here) == root);
    for (unsigned i = 0; i < 60; i++) {
        check(filled(ferry_region_at(there, refs[i]), 900 * KIB, i));
        check(filled(ferry_region_at(reader, refs[i]), 900 * KIB, i));
    }
    ferry_region_info_t info = info_of_region(there);
    check(info.bytes > 52 * MIB && info.bytes <= 64 * MIB);
    check_is(info.created_as, 256 * KIB);
    ferry_ref_t more = 0;
    check_error(ferry_region_alloc(here, 20 * MIB, &more), -ENOSPC, "board 67108864 limit");
    for (unsigned i = 0; i < 60; i++)
        free_block(here, refs[i]);
    check_is(ferry_region_check(there), 1);
    (void)allocate(here, 60 * MIB); /* what it has grown by is one piece */
    close_region(reader);
    close_region(there);
    close_region(here);
    close_node(other);
    close_node(node);
}

/* ---- handles ---- */

/* The memory file of the only object that is open; -1: none. */
static int memory_file(struct stat *st) {
    char link[64];
    for (int fd = 0; fd < 256; fd++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n < 0 ? 0 : n] = '\0';
        if (strstr(link, "memfd:ferry-object") && fstat(fd, st) == 0)
            return fd;
    }
    return -1;
}

/* A file that is longer than the heap, with holes: what somebody leaves who finds no memory for what he needs, or dies. */
static void who_opens_it_does_not_fill_what_another_one_had_no_memory_for(void) {
    ferry_t *node = open_node("test"), *late = open_node("test");
    ferry_region_t *region = open_region(node, "board", MIB, &(ferry_region_options_t){.limit = 16 * MIB});
    struct stat before, after;
    int fd = memory_file(&before);
    check(fd >= 0 && ftruncate(fd, (off_t)(8 * MIB)) == 0);
    for (uint32_t prefault = 0; prefault < 2; prefault++) {
        for (uint32_t read_only = 0; read_only < 2; read_only++) {
            ferry_region_options_t options = {.prefault = prefault, .read_only = read_only};
            close_region(open_region(late, "board", 0, &options));
            check(fstat(fd, &after) == 0);
            check_is(after.st_blocks, before.st_blocks);
        }
    }
    ferry_ref_t large = allocate(region, 2 * MIB);
    fill(ferry_region_at(region, large), 2 * MIB, 1); /* whoever needs it fills it */
    close_region(region);
    close_node(late);
    close_node(node);
}

static void handles_are_checked(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "board", MIB, NULL);
    ferry_region_info_t info = {.size = 5};
    ferry_ref_t ref = 0;
    check_error(ferry_region_info(region, &info), -EINVAL, "size");
    check_error(ferry_region_info(region, NULL), -EINVAL, "result");
    check_error(ferry_region_alloc(NULL, 8, &ref), -EBADF, "region NULL");
    check_is(ferry_region_close(NULL), 0);
    close_region(region);
    check_error(ferry_region_close(region), -EBADF, "region closed");
    check_error(ferry_region_alloc(region, 8, &ref), -EBADF, "region closed");
    check_error(ferry_region_check(region), -EBADF, "region closed");
    close_node(node);
}

static void use_what_the_parent_opened(void *arg) {
    ferry_region_t *region = arg;
    ferry_ref_t ref = 0;
    check_error(ferry_region_alloc(region, 8, &ref), -ECHILD, "fork");
    check_error(ferry_region_close(region), -ECHILD, "fork");
    check(ferry_region_root(region) == NULL);
}

static void a_forked_child_opens_its_own(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "board", MIB, 64);
    child_join(child_start(use_what_the_parent_opened, region));
    close_region(region);
    close_node(node);
}

static void closing_the_node_closes_them(void) {
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = NULL;
    ferry_region_t *region = open_region_with_root(node, "board", MIB, 64);
    (void)open_region(node, "board", 0, &(ferry_region_options_t){.read_only = 1});
    check_is(ferry_mutex_open_in(region, ferry_region_ref(region, ferry_region_root(region)), NULL, &mutex), 0);
    check_is(ferry_mutex_lock(mutex, FERRY_NOW), 0);
    check(ferry_close(node) >= 0);
    check_error(ferry_region_close(region), -EBADF, "closed");
    check_error(ferry_mutex_unlock(mutex), -EBADF, "closed");
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(all_see_the_same_memory),
        TEST(it_lives_as_long_as_somebody_holds_it),
        TEST(it_outlives_its_maker),
        TEST(one_process_may_have_many_handles),
        TEST_ALL(all_openers_agree),
        TEST(impossible_regions_are_refused),
        TEST(more_memory_than_there_is_is_refused),
        TEST(references_are_places_not_addresses),
        TEST(what_is_outside_has_no_address),
        TEST(who_reads_cannot_write),
        TEST(who_reads_changes_nothing),
        TEST(it_grows_without_moving),
        TEST(who_opens_it_does_not_fill_what_another_one_had_no_memory_for),
        TEST(handles_are_checked),
        TEST(a_forked_child_opens_its_own),
        TEST(closing_the_node_closes_them),
    };
    return run_suite("region", tests, sizeof tests / sizeof tests[0], argc, argv);
}

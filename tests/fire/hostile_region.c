/* SPDX-License-Identifier: MIT
 *
 * hostile_region.c - a holder of a region, a cell or a buffer writes garbage wherever it can, at any time. The others
 * may lose what they keep there; they get errors or wrong bytes, in bounded time, and their own code never faults.
 */
#include "regions.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fire.h"

#define VICTIMS 3u
#define NOTES_BYTES 24576u
#define ROOT_BYTES 4096u

typedef struct world {
    atomic_uint opened;
    atomic_uint over;
    atomic_ullong calls;
    atomic_ullong errors[3]; /* damage found; not recoverable; others */
} world_t;

typedef enum target { THE_NOTES, THE_LOCK, EVERYTHING } target_t;

static target_t target;

static ferry_region_t *open_it(ferry_t *node) {
    ferry_region_options_t options = {.limit = 4 * MIB, .type_size = ROOT_BYTES, .patience = 10 * MILLISECOND};
    return open_region(node, "prey", 256 * KIB, &options);
}

/* ---- the hostile one ---- */

/* Words that make sense somewhere are worse than mere noise. */
static uint64_t nasty_word(dice_t *dice, const uint64_t *words, uint64_t count) {
    switch (dice_below(dice, 6)) {
    case 0:
        return dice_roll(dice);
    case 1:
        return dice_below(dice, 300000) & ~(uint64_t)15;
    case 2:
        return (uint64_t)1 << dice_below(dice, 64);
    case 3:
        return UINT64_MAX - dice_below(dice, 64);
    default:
        return words[dice_below(dice, count)];
    }
}

static void write_garbage(void *arg) {
    world_t *world = arg;
    dice_t dice = dice_new("garbage");
    ferry_region_t *region = open_it(open_node("test"));
    char *root = ferry_region_root(region);
    uint64_t *words = (uint64_t *)(void *)(root - ferry_region_ref(region, root));
    uint64_t first = target == THE_LOCK ? 16 : 0, count = target == THE_LOCK ? 8 : NOTES_BYTES / 8;
    if (target == EVERYTHING)
        count = 256 * KIB / 8;
    atomic_fetch_add(&world->opened, 1);
    while (!atomic_load(&world->over)) {
        for (unsigned i = 0; i < 1 + dice_below(&dice, 4); i++)
            __atomic_store_n(&words[first + dice_below(&dice, count)], nasty_word(&dice, words, count + first),
                             __ATOMIC_RELAXED);
        if (dice_below(&dice, 3) == 0)
            nap(MILLISECOND / 20);
    }
}

/* ---- its victims ---- */

static void note(world_t *world, int64_t r) {
    atomic_fetch_add(&world->calls, 1);
    if (r < 0)
        atomic_fetch_add(&world->errors[r == -EPROTO ? 0 : r == -ENOTRECOVERABLE ? 1 : 2], 1);
}

static void use_the_allocator(world_t *world, ferry_region_t *region, dice_t *dice, ferry_ref_t *mine) {
    ferry_ref_t *slot = dice_below(dice, 2) ? mine : ferry_region_root(region);
    switch (dice_below(dice, 5)) {
    case 0:
        note(world, ferry_region_alloc(region, 1 + dice_below(dice, 3000), slot));
        break;
    case 1:
        note(world, ferry_region_resize(region, slot, 1 + dice_below(dice, 9000)));
        break;
    case 2:
        note(world, ferry_region_free(region, slot));
        break;
    case 3:
        note(world, ferry_region_check(region));
        break;
    default:
        (void)ferry_region_block_size(region, *slot);
        (void)ferry_region_span(region, *slot, 100);
    }
}

static void use_a_buffer(world_t *world, ferry_region_t *region, dice_t *dice, ferry_buffer_t **buffer) {
    ferry_ref_t *place = (ferry_ref_t *)ferry_region_root(region) + 1;
    char item[64] = {0};
    size_t len;
    if (!*buffer) {
        int r = ferry_buffer_open(region, place, 8, sizeof item, NULL, buffer);
        note(world, r);
        if (r < 0) {
            *buffer = NULL;
            __atomic_store_n(place, 0, __ATOMIC_RELAXED);
            return;
        }
    }
    if (dice_below(dice, 2))
        note(world, ferry_buffer_put(*buffer, item, dice_below(dice, sizeof item), MILLISECOND));
    else
        note(world, ferry_buffer_get(*buffer, item, sizeof item, MILLISECOND, &len));
    if (dice_below(dice, 50) == 0) {
        note(world, ferry_buffer_close(*buffer));
        *buffer = NULL;
    }
}

static void use_a_mutex(world_t *world, ferry_region_t *region, ferry_mutex_t **mutex) {
    ferry_ref_t place = ferry_region_ref(region, (char *)ferry_region_root(region) + 64);
    if (!*mutex) {
        int r = ferry_mutex_open_in(region, place, NULL, mutex);
        note(world, r);
        if (r < 0) {
            *mutex = NULL;
            return;
        }
    }
    int r = ferry_mutex_lock(*mutex, MILLISECOND);
    note(world, r < 0 ? r : ferry_mutex_unlock(*mutex));
}

static void endure(void *arg) {
    world_t *world = arg;
    dice_t dice = dice_new("use");
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_it(node);
    ferry_buffer_t *buffer = NULL;
    ferry_mutex_t *mutex = NULL;
    ferry_ref_t mine = 0;
    atomic_fetch_add(&world->opened, 1);
    while (!atomic_load(&world->over)) {
        use_the_allocator(world, region, &dice, &mine);
        if (dice_below(&dice, 4) == 0)
            use_a_buffer(world, region, &dice, &buffer);
        if (dice_below(&dice, 4) == 0)
            use_a_mutex(world, region, &mutex);
    }
    check(ferry_close(node) >= 0); /* a mutex that it holds may have been taken from it */
}

static void run_against(target_t what) {
    world_t *world = share(sizeof *world);
    pid_t victims[VICTIMS];
    target = what;
    for (unsigned i = 0; i < VICTIMS; i++)
        victims[i] = child_start(endure, world);
    await(&world->opened, VICTIMS);
    pid_t hostile = child_start(write_garbage, world);
    nap((int64_t)fire_count("FERRY_FIRE_MS", "milliseconds of garbage", 1500, 1500) * MILLISECOND);
    atomic_store(&world->over, 1);
    for (unsigned i = 0; i < VICTIMS; i++)
        child_join(victims[i]);
    child_join(hostile);
    printf("# %llu calls: %llu found damage, %llu not recoverable, %llu other errors\n",
           (unsigned long long)world->calls, (unsigned long long)world->errors[0], (unsigned long long)world->errors[1],
           (unsigned long long)world->errors[2]);
    check(world->calls > 100);
    check(world->errors[0] + world->errors[1] + world->errors[2] > 0);
}

static void garbage_in_the_allocators_notes(void) {
    run_against(THE_NOTES);
}

static void garbage_in_its_lock(void) {
    run_against(THE_LOCK);
}

static void garbage_everywhere(void) {
    run_against(EVERYTHING);
}

/* The allocator says itself how far it reaches: with too little left for a block it must not try to grow for ever. */
static void an_end_that_leaves_no_room_for_a_block(void) {
    ferry_t *node = open_node("test");
    ferry_region_options_t options = {.limit = 128 * KIB, .type_size = ROOT_BYTES};
    ferry_region_t *region = open_region(node, "prey", 64 * KIB, &options);
    ferry_ref_t ref = 0;
    while (ferry_region_alloc(region, 16, &ref) == 0)
        ref = 0;
    char *root = ferry_region_root(region);
    uint64_t *words = (uint64_t *)(void *)(root - ferry_region_ref(region, root));
    uint64_t *ends[16];
    unsigned found = 0;
    for (unsigned i = 0; i < NOTES_BYTES / 8 && found < 16; i++) {
        if (words[i] == 128 * KIB)
            ends[found++] = &words[i];
    }
    check(found > 0);
    static const uint64_t lies[] = {128 * KIB - 8, 128 * KIB - 16, 128 * KIB - 24, 128 * KIB - 32, 0, 1};
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        ref = 0;
        for (unsigned k = 0; k < found; k++)
            __atomic_store_n(ends[k], lies[i], __ATOMIC_RELAXED);
        int r = ferry_region_alloc(region, 16, &ref);
        check(r == -ENOSPC || r == -EPROTO);
        r = ferry_region_resize(region, &ref, 16);
        check(r == -ENOSPC || r == -EPROTO);
    }
    close_region(region);
    close_node(node);
}

/* ---- cells ---- */

static void put_and_get(void *arg) {
    world_t *world = arg;
    ferry_cell_options_t options = {.max_bytes = 200, .count = 16, .patience = 10 * MILLISECOND};
    ferry_t *node = open_node("test");
    ferry_cell_t *cell = NULL;
    char value[200] = {0};
    uint64_t seen[16] = {0}, version;
    uint32_t changed[16];
    size_t len;
    dice_t dice = dice_new("cells");
    check_is(ferry_cell_open(node, "prey", &options, &cell), 0);
    atomic_fetch_add(&world->opened, 1);
    while (!atomic_load(&world->over)) {
        uint32_t at = (uint32_t)dice_below(&dice, 16);
        note(world, ferry_cell_put_at(cell, at, value, dice_below(&dice, sizeof value), &version));
        int r = ferry_cell_get_at(cell, at, value, sizeof value, &len, &version);
        check(r < 0 || len <= sizeof value);
        note(world, r);
        note(world, ferry_cell_cas_at(cell, at, version, value, 10, NULL));
        note(world, ferry_cell_wait_at(cell, at, version + 5, MILLISECOND / 10));
        note(world, ferry_cell_watch(cell, seen, changed, 16, MILLISECOND / 10));
    }
    check(ferry_close(node) >= 0);
}

/* The memory of a cell has no address in the API: a hostile process finds it in its own map. */
static void find_object(uint64_t inode, bool own, const char *line, void *arg) {
    uintptr_t begin, end;
    uint64_t **words = arg;
    (void)inode;
    (void)own;
    if (strstr(line, "ferry-object") && sscanf(line, "%lx-%lx", &begin, &end) == 2) {
        words[0] = (uint64_t *)begin; /* NOLINT: as the kernel says */
        words[1] = (uint64_t *)end;   /* NOLINT */
    }
}

static void spoil_cells(void *arg) {
    world_t *world = arg;
    dice_t dice = dice_new("garbage");
    ferry_cell_t *cell = NULL;
    uint64_t *words[2] = {NULL, NULL};
    check_is(ferry_cell_open(open_node("test"), "prey", NULL, &cell), 0);
    each_ferry_map(getpid(), find_object, words);
    check(words[0] != NULL);
    uint64_t count = (uint64_t)(words[1] - words[0]);
    while (!atomic_load(&world->over)) {
        __atomic_store_n(&words[0][16 + dice_below(&dice, count - 16)], nasty_word(&dice, words[0], count),
                         __ATOMIC_RELAXED);
        if (dice_below(&dice, 8) == 0)
            nap(MILLISECOND / 50);
    }
}

static void garbage_in_cells(void) {
    world_t *world = share(sizeof *world);
    pid_t victims[VICTIMS];
    for (unsigned i = 0; i < VICTIMS; i++)
        victims[i] = child_start(put_and_get, world);
    await(&world->opened, VICTIMS);
    pid_t hostile = child_start(spoil_cells, world);
    nap((int64_t)fire_count("FERRY_FIRE_MS", "milliseconds of garbage", 1500, 1500) * MILLISECOND);
    atomic_store(&world->over, 1);
    for (unsigned i = 0; i < VICTIMS; i++)
        child_join(victims[i]);
    child_join(hostile);
    printf("# %llu calls\n", (unsigned long long)world->calls);
    check(world->calls > 100);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(garbage_in_the_allocators_notes),        TEST(garbage_in_its_lock), TEST(garbage_everywhere),
        TEST(an_end_that_leaves_no_room_for_a_block), TEST(garbage_in_cells),
    };
    return run_suite("hostile-region", tests, sizeof tests / sizeof tests[0], argc, argv);
}

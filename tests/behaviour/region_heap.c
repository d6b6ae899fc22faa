/* SPDX-License-Identifier: MIT
 *
 * region_heap.c - the allocator inside a region: for many threads and processes at once, against mistakes, and what the
 * dead had in hand.
 */
#include "objects.h"
#include "regions.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- one user ---- */

static void blocks_keep_what_is_written_in_them(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "heap", 4 * MIB, NULL);
    ferry_ref_t refs[200];
    for (unsigned i = 0; i < 200; i++) {
        refs[i] = allocate(region, 1 + i * i / 4);
        fill(ferry_region_at(region, refs[i]), 1 + i * i / 4, i);
    }
    for (unsigned i = 0; i < 200; i++) {
        check(filled(ferry_region_at(region, refs[i]), 1 + i * i / 4, i));
        check(ferry_region_block_size(region, refs[i]) >= 1 + i * i / 4);
    }
    check_is(ferry_region_check(region), 200);
    for (unsigned i = 0; i < 200; i++)
        free_block(region, refs[(i * 77) % 200]);
    check_is(ferry_region_check(region), 0);
    check_is(info_of_region(region).blocks, 0);
    close_region(region);
    close_node(node);
}

static void resizing_keeps_the_bytes(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "heap", 4 * MIB, NULL);
    ferry_ref_t ref = 0;
    uint64_t seed = 1, size = 10;
    check_is(ferry_region_resize(region, &ref, size), 0); /* of nothing */
    fill(ferry_region_at(region, ref), size, 1);
    for (unsigned i = 0; i < 500; i++) {
        uint64_t next = 1 + random_below(&seed, 100000);
        ferry_ref_t between = allocate(region, 1 + random_below(&seed, 5000));
        check_is(ferry_region_resize(region, &ref, next), 0);
        check(filled(ferry_region_at(region, ref), size < next ? size : next, i + 1));
        fill(ferry_region_at(region, ref), next, i + 2);
        size = next;
        free_block(region, between);
    }
    check_is(ferry_region_check(region), 1);
    ferry_ref_t before = ref;
    check_error(ferry_region_resize(region, &ref, 5 * MIB), -ENOSPC, "heap");
    check(ref == before && filled(ferry_region_at(region, ref), size, 501));
    close_region(region);
    close_node(node);
}

static void a_full_region_says_so_and_goes_on(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "heap", 256 * KIB, NULL);
    ferry_ref_t refs[4096], none = 0;
    unsigned count = 0;
    while (count < 4096 && ferry_region_alloc(region, 200, &refs[count]) == 0)
        count++;
    check(count > 900 && count < 1200);
    check_error(ferry_region_alloc(region, 200, &none), -ENOSPC, "heap 200 limit");
    check(none == 0);
    for (unsigned i = 0; i < count; i += 2)
        free_block(region, refs[i]);
    for (unsigned i = 0; i < count; i += 2)
        refs[i] = allocate(region, 200);
    for (unsigned i = 0; i < count; i++)
        free_block(region, refs[i]);
    (void)allocate(region, 200 * KIB); /* nothing is left in pieces */
    close_region(region);
    close_node(node);
}

static void mistakes_are_noticed(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "heap", MIB, 64);
    ferry_ref_t ref = allocate(region, 100), again = ref, inside = ref + 16, wild = 777 * 16, zero = 0;
    check_error(ferry_region_alloc(region, 0, &zero), -EINVAL, "least one byte");
    check_error(ferry_region_alloc(region, 8, NULL), -EINVAL, "place");
    check_error(ferry_region_resize(region, &ref, 0), -EINVAL, "least one byte");
    check_error(ferry_region_alloc(region, UINT64_MAX, &zero), -ENOSPC, "room");
    check_error(ferry_region_free(region, &inside), -EINVAL, "block");
    check_error(ferry_region_free(region, &wild), -EINVAL, "block");
    check_is(ferry_region_free(region, &zero), 0);
    check_is(ferry_region_free(region, &ref), 0);
    check_error(ferry_region_free(region, &again), -EINVAL, "free");
    check_error(ferry_region_resize(region, &again, 5), -EINVAL, "free");
    check_is(ferry_region_block_size(region, again), 0);
    check_is(ferry_region_block_size(region, UINT64_MAX), 0);
    check_is(ferry_region_check(region), 1);
    close_region(region);
    close_node(node);
}

static void a_reference_in_the_region_changes_with_the_block(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region_with_root(node, "heap", MIB, 64);
    ferry_ref_t *place = ferry_region_root(region);
    check_is(ferry_region_alloc(region, 500, place), 0);
    fill(ferry_region_at(region, *place), 500, 3);
    ferry_ref_t before = *place;
    (void)allocate(region, 10);
    check_is(ferry_region_resize(region, place, 100000), 0);
    check(*place != before && filled(ferry_region_at(region, *place), 500, 3));
    check_is(ferry_region_free(region, place), 0);
    check(*place == 0);
    check_is(ferry_region_check(region), 2);
    close_region(region);
    close_node(node);
}

/* ---- many users ---- */

#define USERS 4
#define SLOTS 64
#define TURNS 3000

typedef struct table {
    atomic_ullong slots[SLOTS]; /* blocks that anybody takes, checks and frees */
    atomic_uint turns;
} table_t;

/* A block says itself how long it is, and of what seed. */
static ferry_ref_t make_block(ferry_region_t *region, uint64_t *seed) {
    uint64_t size = 16 + random_below(seed, random_below(seed, 8) == 0 ? 20000 : 400);
    ferry_ref_t ref = allocate(region, size);
    uint64_t *block = ferry_region_at(region, ref);
    block[0] = size;
    block[1] = *seed;
    fill(block + 2, size - 16, *seed);
    return ref;
}

static void end_block(ferry_region_t *region, ferry_ref_t ref) {
    const uint64_t *block = ferry_region_span(region, ref, 16);
    check(block != NULL && filled(block + 2, block[0] - 16, block[1]));
    free_block(region, ref);
}

static void churn(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_options_t options = {.limit = 32 * MIB, .type_size = sizeof(table_t)};
    ferry_region_t *region = open_region(node, "heap", 128 * KIB, &options);
    table_t *table = ferry_region_root(region);
    uint64_t seed = (uint64_t)getpid() ^ (uint64_t)(uintptr_t)&seed;
    for (unsigned i = 0; i < TURNS; i++) {
        atomic_ullong *slot = &table->slots[random_below(&seed, SLOTS)];
        ferry_ref_t mine = random_below(&seed, 5) ? make_block(region, &seed) : 0;
        ferry_ref_t other = atomic_exchange(slot, mine);
        if (other)
            end_block(region, other);
    }
    close_region(region);
}

static void many_users_at_once_keep_it_whole(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < USERS; i++)
        crew_add(crew, churn, NULL);
    ferry_region_options_t options = {.limit = 32 * MIB, .type_size = sizeof(table_t)};
    ferry_region_t *region = open_region(crew_node(crew), "heap", 128 * KIB, &options);
    for (unsigned i = 0; i < USERS; i++)
        crew_join(crew, i);
    close_region(region);
    crew_end(crew);
}

static void many_processes_leave_no_block_behind(void) {
    crew_t *crew = crew_begin(IN_PROCESSES);
    for (unsigned i = 0; i < USERS; i++)
        crew_add(crew, churn, NULL);
    ferry_t *node = crew_node(crew);
    ferry_region_options_t options = {.limit = 32 * MIB, .type_size = sizeof(table_t)};
    ferry_region_t *region = open_region(node, "heap", 128 * KIB, &options);
    table_t *table = ferry_region_root(region);
    for (unsigned i = 0; i < USERS; i++)
        crew_join(crew, i);
    int64_t left = 1;
    for (unsigned i = 0; i < SLOTS; i++)
        left += table->slots[i] != 0;
    check_is(ferry_region_check(region), left);
    for (unsigned i = 0; i < SLOTS; i++)
        if (table->slots[i])
            end_block(region, table->slots[i]);
    check_is(ferry_region_check(region), 1);
    close_region(region);
    crew_end(crew);
}

/* ---- deaths ---- */

static void churn_until_killed(void *arg) {
    ferry_region_options_t options = {.limit = 64 * MIB, .type_size = sizeof(table_t)};
    ferry_region_t *region = open_region(open_node("test"), "heap", 128 * KIB, &options);
    table_t *table = ferry_region_root(region);
    uint64_t seed = (uint64_t)getpid();
    atomic_fetch_add((atomic_uint *)arg, 1);
    for (;;) { /* every reference stands in the region: nothing can be lost */
        ferry_ref_t *slot = (ferry_ref_t *)(void *)&table->slots[random_below(&seed, SLOTS)];
        switch (random_below(&seed, 3)) {
        case 0:
            if (*slot == 0)
                check_is(ferry_region_alloc(region, 1 + random_below(&seed, 3000), slot), 0);
            break;
        case 1:
            check_is(ferry_region_resize(region, slot, 1 + random_below(&seed, 6000)), 0);
            break;
        default:
            check_is(ferry_region_free(region, slot), 0);
        }
    }
}

/* What it had in hand is freed as soon as the steward has heard of the death. */
static bool all_is_referred_to(void *arg) {
    ferry_region_t *region = arg;
    const table_t *table = ferry_region_root(region);
    int64_t blocks = ferry_region_check(region), referred = 1;
    for (unsigned s = 0; s < SLOTS; s++)
        referred += table->slots[s] != 0;
    check(blocks >= referred);
    return blocks == referred;
}

static void a_killed_user_leaves_it_whole(void) {
    atomic_uint *opened = share(sizeof *opened);
    ferry_t *node = NULL;
    ferry_region_t *region = NULL;
    for (unsigned i = 0; i < 40; i++) {
        pid_t victim = 0;
        atomic_store(opened, 0);
        if (region) { /* who forks has no node */
            close_region(region);
            close_node(node);
        }
        victim = child_start(churn_until_killed, opened);
        await(opened, 1);
        node = open_node("test");
        region = open_region(node, "heap", 0, NULL);
        nap((int64_t)(i % 7) * MILLISECOND / 3);
        child_kill(victim);
        await_that(all_is_referred_to, region, "a block is lost");
    }
    close_region(region);
    close_node(node);
}

static void stop_in_the_middle(void *arg) {
    churn_until_killed(arg);
}

/* A process that was stopped may be in the middle of a step: then the others wait for it, as long as they want. */
static void a_stopped_user_is_waited_for_with_patience(void) {
    atomic_uint *opened = share(sizeof *opened);
    pid_t stopped = child_start(stop_in_the_middle, opened);
    await(opened, 1);
    ferry_t *node = open_node("test");
    ferry_region_options_t options = {.patience = 20 * MILLISECOND};
    ferry_region_t *region = open_region(node, "heap", 0, &options);
    ferry_region_t *patient = open_region(node, "heap", 0, NULL);
    unsigned blocked = 0;
    for (unsigned i = 0; i < 2000 && blocked == 0; i++) {
        ferry_ref_t ref = 0;
        check(kill(stopped, SIGSTOP) == 0);
        int status;
        check(waitpid(stopped, &status, WUNTRACED) == stopped && WIFSTOPPED(status));
        int r = ferry_region_alloc(region, 100, &ref);
        if (r < 0) {
            check_error(r, -ETIMEDOUT, "heap stopped patience");
            blocked++;
        }
        check(kill(stopped, SIGCONT) == 0);
        if (r == 0)
            free_block(region, ref);
        nap((int64_t)(i % 10) * MILLISECOND / 20); /* elsewhere in its round */
    }
    check(blocked > 0);
    child_kill(stopped);
    check(ferry_region_check(patient) > 0); /* however long this machine takes to see its death */
    close_region(patient);
    close_region(region);
    close_node(node);
}

/* ---- a thread that is cancelled ---- */

static void *grow_cancelled(void *region) {
    ferry_ref_t ref = 0;
    check_is(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL), 0);
    check_is(pthread_cancel(pthread_self()), 0);
    check_is(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL), 0);
    (void)ferry_region_alloc(region, 4 * MIB, &ref);
    pthread_testcancel();
    return NULL;
}

/* It is ended before or after it makes the region longer, and not with the allocator's lock. */
static void a_thread_cancelled_while_the_region_grows_blocks_nobody(void) {
    ferry_t *node = open_node("test");
    ferry_region_options_t options = {.limit = 32 * MIB, .patience = SECOND};
    ferry_region_t *region = open_region(node, "heap", MIB, &options);
    ferry_region_t *its = open_region(node, "heap", MIB, &options);
    pthread_t thread;
    void *result = NULL;
    check_is(pthread_create(&thread, NULL, grow_cancelled, its), 0);
    check_is(pthread_join(thread, &result), 0);
    check(result == PTHREAD_CANCELED);
    (void)allocate(region, 1000);
    (void)allocate(region, 8 * MIB);
    check(ferry_region_check(region) > 0);
    close_region(its);
    close_region(region);
    close_node(node);
}

/* ---- two threads with one handle ---- */

#define SHARED_ROUNDS 20000u
#define SHARED_BLOCKS 8u

typedef struct sharing {
    ferry_region_t *region;
    uint64_t mark;
    unsigned got, foreign;
} sharing_t;

static void give_back(sharing_t *mine, ferry_ref_t *ref, uint64_t expected) {
    int r;

    mine->foreign += *(uint64_t *)ferry_region_at(mine->region, *ref) != expected;
    while ((r = ferry_region_free(mine->region, ref)) == -EBUSY) {
    }
    check_is(r, 0);
}

static void *use_the_same_handle(void *arg) {
    sharing_t *mine = arg;

    for (unsigned round = 0; round < SHARED_ROUNDS / SHARED_BLOCKS; round++) {
        ferry_ref_t refs[SHARED_BLOCKS] = {0};
        for (unsigned i = 0; i < SHARED_BLOCKS; i++) {
            int r = ferry_region_alloc(mine->region, 48, &refs[i]);
            check(r == 0 || r == -EBUSY);
            if (r == 0)
                *(uint64_t *)ferry_region_at(mine->region, refs[i]) = mine->mark + i;
            mine->got += r == 0;
        }
        for (unsigned i = 0; i < SHARED_BLOCKS; i++) {
            if (refs[i])
                give_back(mine, &refs[i], mine->mark + i);
        }
    }
    return NULL;
}

/* It is a mistake, and answered with -EBUSY; never are both given the same block. */
static void two_threads_with_one_handle_never_have_the_same_block(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_region(node, "heap", MIB, NULL);
    sharing_t users[2] = {{.region = region, .mark = 1000}, {.region = region, .mark = 2000}};
    pthread_t other;
    check_is(pthread_create(&other, NULL, use_the_same_handle, &users[1]), 0);
    (void)use_the_same_handle(&users[0]);
    check_is(pthread_join(other, NULL), 0);
    check(users[0].got + users[1].got > 0); /* one may find the other inside whenever it comes */
    check_is(users[0].foreign + users[1].foreign, 0);
    check_is(ferry_region_check(region), 0);
    close_region(region);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(blocks_keep_what_is_written_in_them),
        TEST(resizing_keeps_the_bytes),
        TEST(a_full_region_says_so_and_goes_on),
        TEST(mistakes_are_noticed),
        TEST(a_reference_in_the_region_changes_with_the_block),
        TEST_PROTECTED(many_users_at_once_keep_it_whole),
        TEST(many_processes_leave_no_block_behind),
        TEST(a_killed_user_leaves_it_whole),
        TEST(a_stopped_user_is_waited_for_with_patience),
        TEST(a_thread_cancelled_while_the_region_grows_blocks_nobody),
        TEST(two_threads_with_one_handle_never_have_the_same_block),
    };
    return run_suite("region_heap", tests, sizeof tests / sizeof tests[0], argc, argv);
}

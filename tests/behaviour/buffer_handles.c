/* SPDX-License-Identifier: MIT
 *
 * buffer_handles.c - opening a bounded buffer, agreeing on its numbers, mistakes, and memory that somebody has ruined.
 */
#include "objects.h"
#include "regions.h"

#include <string.h>
#include <unistd.h>

typedef struct shop {
    ferry_ref_t buffer;
    ferry_ref_t other;
    atomic_uint opened, go, left;
    atomic_ullong made; /* all who open it get the same */
} shop_t;

static ferry_region_t *open_shop(ferry_t *node, const ferry_region_options_t *options) {
    ferry_region_options_t with_root = options ? *options : (ferry_region_options_t){0};
    with_root.type_size = sizeof(shop_t);
    return open_region(node, "shop", MIB, &with_root);
}

static shop_t *shop_of(ferry_region_t *region) {
    return ferry_region_root(region);
}

static int try_open(ferry_region_t *region, ferry_ref_t *place, uint32_t slots, uint64_t bytes,
                    ferry_buffer_t **buffer) {
    *buffer = NULL;
    return ferry_buffer_open(region, place, slots, bytes, NULL, buffer);
}

static ferry_buffer_t *open_at(ferry_region_t *region, ferry_ref_t *place, uint32_t slots, uint64_t bytes) {
    ferry_buffer_t *buffer;
    check_is(try_open(region, place, slots, bytes, &buffer), 0);
    return buffer;
}

static ferry_buffer_t *open_buffer(ferry_region_t *region, uint32_t slots, uint64_t bytes) {
    return open_at(region, &shop_of(region)->buffer, slots, bytes);
}

static void close_buffer(ferry_buffer_t *buffer) {
    check_is(ferry_buffer_close(buffer), 0);
}

/* ---- opening ---- */

static void open_all_at_once(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shop(node, NULL);
    shop_t *shop = shop_of(region);
    unsigned long long nobody = 0;
    atomic_fetch_add(&shop->opened, 1);
    await(&shop->go, 1);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8);
    if (!atomic_compare_exchange_strong(&shop->made, &nobody, shop->buffer))
        check_is(nobody, shop->buffer);
    check_is(ferry_buffer_put(buffer, &(uint64_t){1}, 8, FERRY_NOW), 0);
    atomic_fetch_add(&shop->left, 1);
    close_buffer(buffer);
    close_region(region);
}

static void those_who_open_it_at_once_make_one(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 4; i++)
        crew_add(crew, open_all_at_once, NULL);
    ferry_region_t *region = open_shop(crew_node(crew), NULL);
    shop_t *shop = shop_of(region);
    await(&shop->opened, 4);
    atomic_store(&shop->go, 1);
    await(&shop->left, 4);
    for (unsigned i = 0; i < 4; i++)
        crew_join(crew, i);
    ferry_buffer_t *buffer = open_buffer(region, 0, 0);
    check_is(ferry_buffer_count(buffer), 4);
    check_is(info_of_region(region).blocks, 2); /* the root and this one */
    check_is(ferry_region_check(region), 2);
    close_buffer(buffer);
    close_region(region);
    crew_end(crew);
}

static void a_buffer_outlives_its_handles_and_is_freed_like_a_block(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8), *second;
    check_is(ferry_buffer_put(buffer, &(uint64_t){7}, 8, FERRY_NOW), 0);
    check_error(ferry_region_close(region), -EBUSY, "shop");
    close_buffer(buffer);
    uint64_t number = 0;
    buffer = open_buffer(region, 4, 0);
    check_is(ferry_buffer_get(buffer, &number, 8, FERRY_NOW, NULL), 0);
    check_is(number, 7);
    close_buffer(buffer);
    ferry_ref_t old = shop_of(region)->buffer;
    check_is(ferry_region_free(region, &shop_of(region)->buffer), 0);
    check_is(shop_of(region)->buffer, 0);
    check_error(try_open(region, &old, 0, 0, &second), -EPROTOTYPE, "shop no buffer");
    close_region(region);
    close_node(node);
}

static void its_reference_may_be_a_variable(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_ref_t refs[2] = {0, 0};
    ferry_buffer_t *first = open_at(region, &refs[0], 3, 100), *second = open_at(region, &refs[1], 3, 100);
    check(refs[0] != 0 && refs[1] != 0 && refs[0] != refs[1]);
    check_is(ferry_buffer_put(first, "a", 1, FERRY_NOW), 0);
    check_is(ferry_buffer_count(second), 0);
    close_buffer(first);
    close_buffer(second);
    free_block(region, refs[0]);
    free_block(region, refs[1]);
    close_region(region);
    close_node(node);
}

/* ---- mistakes ---- */

static void all_openers_agree_on_its_numbers(where_t where) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, open_all_at_once, NULL);
    ferry_region_t *region = open_shop(crew_node(crew), NULL);
    ferry_buffer_t *buffer;
    atomic_store(&shop_of(region)->go, 1);
    await(&shop_of(region)->left, 1);
    check_error(try_open(region, &shop_of(region)->buffer, 5, 8, &buffer), -EPROTOTYPE, "shop 4 5");
    check_error(try_open(region, &shop_of(region)->buffer, 4, 16, &buffer), -EPROTOTYPE, "shop 8 16");
    check_error(try_open(region, &shop_of(region)->buffer, 0, 16, &buffer), -EPROTOTYPE, "shop 8 16");
    check(buffer == NULL);
    crew_join(crew, 0);
    close_region(region);
    crew_end(crew);
}

static void a_buffer_needs_numbers_and_room(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_ref_t none = 0, nowhere = 0x10, block = allocate(region, 1000);
    ferry_buffer_t *buffer;
    check_error(try_open(region, &none, 0, 8, &buffer), -EINVAL, "slots 0 8");
    check_error(try_open(region, &none, 8, 0, &buffer), -EINVAL, "bytes 8 0");
    check_error(try_open(region, &none, UINT32_MAX, FERRY_MAX_REGION, &buffer), -EINVAL, "4294967295 larger");
    check_error(try_open(region, &none, 1, UINT64_MAX, &buffer), -EINVAL, "larger");
    check_error(try_open(region, &none, 1000, 2000, &buffer), -ENOSPC, "shop");
    check_error(try_open(region, NULL, 4, 8, &buffer), -EINVAL, "place");
    check_error(try_open(region, (ferry_ref_t *)(void *)((char *)&none + 1), 4, 8, &buffer), -EINVAL, "aligned");
    check_error(ferry_buffer_open(region, &none, 4, 8, NULL, NULL), -EINVAL, "NULL");
    check_error(ferry_buffer_open(NULL, &none, 4, 8, NULL, &buffer), -EBADF, "NULL");
    check_error(try_open(region, &nowhere, 0, 0, &buffer), -EPROTOTYPE, "no buffer");
    check_error(try_open(region, &block, 0, 0, &buffer), -EPROTOTYPE, "no buffer");
    check_is(none, 0);
    free_block(region, block);
    close_region(region);
    close_node(node);
}

static void a_buffer_handle_is_checked(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8);
    char byte = 0;
    check_error(ferry_buffer_put(buffer, NULL, 8, FERRY_NOW), -EINVAL, "NULL 8");
    check_error(ferry_buffer_get(buffer, NULL, 8, FERRY_NOW, NULL), -EINVAL, "NULL");
    check_error(ferry_buffer_put(NULL, &byte, 1, FERRY_NOW), -EBADF, "NULL");
    check_error(ferry_buffer_get(NULL, &byte, 1, FERRY_NOW, NULL), -EBADF, "NULL");
    check_error(ferry_buffer_count(NULL), -EBADF, "NULL");
    check_error(ferry_buffer_end(NULL), -EBADF, "NULL");
    check_is(ferry_buffer_close(NULL), 0);
    check_is(ferry_buffer_put(buffer, NULL, 0, FERRY_NOW), 0);
    close_buffer(buffer);
    check_error(ferry_buffer_put(buffer, &byte, 1, FERRY_NOW), -EBADF, "closed");
    check_error(ferry_buffer_get(buffer, &byte, 1, FERRY_NOW, NULL), -EBADF, "closed");
    check_error(ferry_buffer_count(buffer), -EBADF, "closed");
    check_error(ferry_buffer_close(buffer), -EBADF, "closed");
    close_region(region);
    close_node(node);
}

static void a_forked_child_cannot_use_it(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        check_error(ferry_buffer_put(buffer, "a", 1, FERRY_NOW), -ECHILD, "parent fork");
        check_error(ferry_buffer_count(buffer), -ECHILD, "parent fork");
        check_error(ferry_buffer_close(buffer), -ECHILD, "parent fork");
        _exit(0);
    }
    check_is(child_wait(pid), 0);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

/* ---- nonsense in its memory ---- */

/* As store/buffer.h draws it. */
enum { SLOTS_AT = 1, BYTES_AT = 2, LOCK_AT = 8, HEAD_AT = 10, TAIL_AT = 11, SLOT_AT = 32 };

static uint64_t *words_of(ferry_region_t *region) {
    ferry_ref_t ref = (shop_of(region)->buffer + 63) / 64 * 64;
    return ferry_region_span(region, ref, 256);
}

static void nonsense_is_found(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node, NULL);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8), *second;
    uint64_t *words = words_of(region), number;
    check_is(ferry_buffer_put(buffer, &(uint64_t){7}, 8, FERRY_NOW), 0);
    words[HEAD_AT] = 2;
    check_error(ferry_buffer_get(buffer, &number, 8, PATIENCE, NULL), -EPROTO, "shop damaged");
    check_error(ferry_buffer_put(buffer, &number, 8, PATIENCE), -EPROTO, "shop damaged");
    check_error(ferry_buffer_count(buffer), -EPROTO, "shop damaged");
    words[HEAD_AT] = 0;
    words[TAIL_AT] = 5;
    check_error(ferry_buffer_put(buffer, &number, 8, PATIENCE), -EPROTO, "shop damaged");
    words[TAIL_AT] = 1;
    words[SLOT_AT] = 9;
    check_error(ferry_buffer_get(buffer, &number, 8, PATIENCE, NULL), -EPROTO, "shop damaged");
    words[SLOT_AT] = 8;
    words[SLOTS_AT] = 1000000; /* known since it was opened */
    words[BYTES_AT] = 1000000;
    check_is(ferry_buffer_get(buffer, &number, 8, PATIENCE, NULL), 0);
    check_is(number, 7);
    check_error(try_open(region, &shop_of(region)->buffer, 0, 0, &second), -EPROTOTYPE, "no buffer");
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

static void a_lock_that_is_never_given_back_is_waited_for_with_patience(void) {
    ferry_t *node = open_node("test");
    ferry_region_options_t options = {.patience = MILLISECOND};
    ferry_region_t *region = open_shop(node, &options);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8);
    uint64_t *words = words_of(region);
    words[LOCK_AT] = UINT64_C(0x1234567800000001);
    check_error(ferry_buffer_put(buffer, "a", 1, FERRY_NOW), -ETIMEDOUT, "shop 12345678 stopped");
    check_error(ferry_buffer_get(buffer, &(char){0}, 1, MILLISECOND, NULL), -ETIMEDOUT, "shop");
    check_error(ferry_buffer_end(buffer), -ETIMEDOUT, "shop");
    words[LOCK_AT] = 0;
    check_is(ferry_buffer_put(buffer, "a", 1, FERRY_NOW), 0);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

#define VANDALISM 20000u
#define CALLS 2000u

static void ruin_it(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shop(node, NULL);
    shop_t *shop = shop_of(region);
    uint64_t seed = 42;
    atomic_fetch_add(&shop->opened, 1);
    await(&shop->go, 1);
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)words_of(region);
    for (unsigned i = 0; i < VANDALISM && atomic_load(&shop->left) == 0; i++) {
        unsigned word = 3 + random_below(&seed, SLOT_AT + 8 - 3);
        uint64_t small = random_below(&seed, 10), large = (uint64_t)random_below(&seed, UINT32_MAX) << 32 | small;
        atomic_store_explicit(&words[word], i % 3 ? small : large, memory_order_relaxed);
        if (i % 8 == 0)
            atomic_store_explicit(&words[LOCK_AT], 0, memory_order_relaxed); /* else nobody would come further */
        if (i % 64 == 0)
            nap(MILLISECOND / 10);
    }
    close_region(region);
}

static bool may_answer(int64_t r) {
    return r >= 0 || r == -EAGAIN || r == -ETIMEDOUT || r == -EPROTO || r == -EPIPE || r == -EMSGSIZE || r == -EBUSY;
}

/* Others get errors: no call faults, goes on for ever, or says that there is an item that cannot be. */
static void a_vandal_does_no_harm_to_others(void) {
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, ruin_it, NULL);
    ferry_region_options_t options = {.patience = MILLISECOND};
    ferry_region_t *region = open_shop(crew_node(crew), &options);
    ferry_buffer_t *buffer = open_buffer(region, 4, 8);
    shop_t *shop = shop_of(region);
    int64_t end = monotonic() + SECOND;
    uint64_t place[2];
    size_t size = 0;
    await(&shop->opened, 1);
    atomic_store(&shop->go, 1);
    for (unsigned i = 0; i < CALLS && monotonic() < end; i++) {
        check(may_answer(ferry_buffer_put(buffer, &(uint64_t){i}, 1 + i % 8, i % 4 ? FERRY_NOW : MILLISECOND)));
        place[1] = 0xeeeeeeeeeeeeeeee;
        int r = ferry_buffer_get(buffer, place, 8, i % 4 ? FERRY_NOW : MILLISECOND, &size);
        check(may_answer(r) && size <= 8 && place[1] == 0xeeeeeeeeeeeeeeee);
        check(may_answer(ferry_buffer_count(buffer)));
    }
    atomic_store(&shop->left, 1);
    crew_join(crew, 0);
    close_buffer(buffer);
    close_region(region);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(those_who_open_it_at_once_make_one),
        TEST(a_buffer_outlives_its_handles_and_is_freed_like_a_block),
        TEST(its_reference_may_be_a_variable),
        TEST_BOTH(all_openers_agree_on_its_numbers),
        TEST(a_buffer_needs_numbers_and_room),
        TEST(a_buffer_handle_is_checked),
        TEST(a_forked_child_cannot_use_it),
        TEST(nonsense_is_found),
        TEST(a_lock_that_is_never_given_back_is_waited_for_with_patience),
        TEST(a_vandal_does_no_harm_to_others),
    };
    return run_suite("buffer_handles", tests, sizeof tests / sizeof tests[0], argc, argv);
}

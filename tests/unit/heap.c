/* SPDX-License-Identifier: MIT
 *
 * heap.c - the allocator of shared regions: what it refuses, and what becomes of the blocks in hands.
 */
#include "heap_fixture.h"

/* ---- what is refused ---- */

static void a_block_is_freed_once(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 16, 1000, 5000, 200000};
    fixture_t f;
    open_heap(&f, 1 << 20, 1 << 20);
    const fi_heap_t *h = &f.heap[0];

    for (unsigned i = 0; i < 5; i++) {
        uint64_t keep[3] = {0}, again;
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(alloc_private(h, sizes[i], &keep[k]), 0);
        }
        for (unsigned order = 0; order < 3; order++) {
            again = keep[(order + 1) % 3];
            assert_int_equal(free_private(h, &keep[(order + 1) % 3]), 0);
            assert_int_equal(free_private(h, &again), -EINVAL);
            assert_non_null(strstr(fi_error_text(), "refers to no block of the region \"r\""));
            assert_int_equal(fi_heap_empty_bins(h), 0);
            assert_int_equal(free_private(h, &again), -EINVAL);
            assert_int_equal(h->shared->hands[HAND].block, 0);
        }
        assert_whole(h, 0);
    }
    uint64_t twice = 0, also;
    assert_int_equal(alloc_private(h, 64, &twice), 0);
    also = twice;
    assert_int_equal(free_private(h, &twice), 0);
    assert_int_equal(free_private(h, &also), -EINVAL);
    assert_non_null(strstr(fi_error_text(), "freed before"));
    close_heap(&f);
}

static void a_wild_reference_is_refused(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0, chance = 5;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 30000, &ref), 0);
    memset(h->base + ref, 0xee, 30000);

    const uint64_t wild[] = {1,
                             8,
                             16,
                             HEAD_AT,
                             h->first,
                             h->first + 8,
                             ref + 1,
                             ref + 8,
                             ref + 16,
                             h->bytes - 16,
                             h->bytes - 8,
                             h->bytes,
                             h->bytes + 16,
                             UINT64_MAX,
                             UINT64_MAX - 15,
                             ref | UINT64_C(1) << 63};
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t one = i < sizeof wild / sizeof *wild ? wild[i] : unit_random(&chance) >> i % 60;
        uint64_t same = one;
        if (one == ref || one == 0) {
            continue;
        }
        assert_int_equal(free_private(h, &one), -EINVAL);
        assert_int_equal(one, same);
        assert_int_equal(fi_heap_block_size(h, one), 0);
        assert_int_equal(resize_anywhere(h, 0, 100, &one), -EINVAL);
        fi_store_relaxed64(fi_heap_word(h, place_number(1)), one);
        assert_int_equal(fi_heap_free(h, HAND, place_number(1), 0), -EINVAL);
        assert_int_equal(at_place(h, place_number(1)), one);
    }
    assert_whole(h, 1);
    close_heap(&f);
}

static void a_reference_has_its_place_in_a_block_or_before_the_head(void **state) {
    (void)state;
    fixture_t f;
    uint64_t a = 0, b = 0, c = 0, ref = 0;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 64, &a), 0);
    assert_int_equal(alloc_private(h, 64, &b), 0);
    assert_int_equal(alloc_private(h, 5000, &c), 0);

    for (uint64_t at = b; at < b + 64; at += 8) {
        fi_store_relaxed64(fi_heap_word(h, at), 0);
        assert_int_equal(fi_heap_alloc(h, HAND, at, 0, 100, &ref), 0);
        assert_int_equal(at_place(h, at), ref);
        assert_int_equal(fi_heap_free(h, HAND, at, 0), 0);
    }
    assert_int_equal(free_private(h, &a), 0);
    uint64_t binned = a = b - 80;
    uint64_t wrong[] = {4,
                        PLACES_AT + 1,
                        HEAD_AT,
                        HEAD_AT + 8,
                        HEAD_AT + fi_heap_head_bytes() - 8,
                        b - 16,
                        b - 8,
                        c - 16,
                        c - 8,
                        binned - 16,
                        binned - 8,
                        binned,
                        binned + 8,
                        h->bytes,
                        h->bytes - 4,
                        h->bytes - 16,
                        UINT64_MAX - 7,
                        c + fi_heap_block_size(h, c),
                        c + fi_heap_block_size(h, c) + 8,
                        c + fi_heap_block_size(h, c) + 16};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(fi_heap_alloc(h, HAND, wrong[i], 0, 100, &ref), -EINVAL);
        assert_non_null(strstr(fi_error_text(), "no reference can stand at"));
        assert_int_equal(fi_heap_free(h, HAND, wrong[i], 0), -EINVAL);
        assert_int_equal(resize_anywhere(h, wrong[i], 100, &ref), -EINVAL);
    }
    assert_whole(h, 2);
    close_heap(&f);
}

static void a_reference_may_stand_in_its_own_block(void **state) {
    (void)state;
    static const uint64_t sizes[] = {16, 1000, 200000};
    fixture_t f;
    open_heap(&f, 1 << 20, 1 << 20);
    const fi_heap_t *h = &f.heap[0];

    for (unsigned i = 0; i < 3; i++) {
        uint64_t usable = fi_align_up(sizes[i], 16);
        const uint64_t offsets[] = {0, 8, usable - 16, usable - 8};
        for (unsigned k = 0; k < 4; k++) {
            uint64_t ref = 0;
            assert_int_equal(alloc_private(h, sizes[i], &ref), 0);
            fi_store_relaxed64(fi_heap_word(h, ref + offsets[k]), ref);
            assert_int_equal(fi_heap_free(h, HAND, ref + offsets[k], 0), 0);
            assert_whole(h, 0);
            assert_int_equal(fi_heap_empty_bins(h), 0);
            assert_whole(h, 0);
        }
    }
    close_heap(&f);
}

static void the_first_of_two_who_want_one_block_at_a_place_has_it(void **state) {
    (void)state;
    fixture_t f;
    uint64_t one = 0, two = 0;
    open_heap(&f, 1 << 16, 1 << 16);
    assert_int_equal(fi_heap_alloc(&f.heap[0], HAND, place_number(0), FI_HEAP_IF_NONE, 64, &one), 0);
    assert_int_equal(fi_heap_alloc(&f.heap[1], HAND, place_number(0), FI_HEAP_IF_NONE, 64, &two), -EEXIST);
    assert_int_equal(one, two);
    assert_whole(&f.heap[0], 1);
    close_heap(&f);
}

static void odd_sizes_are_answered_clearly(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 99, mine = 0;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 0, &ref), -EINVAL);
    static const uint64_t large[] = {65536,          UINT64_C(1) << 40, UINT64_C(1) << 44, (UINT64_C(1) << 44) + 5,
                                     UINT64_MAX / 2, UINT64_MAX - 15,   UINT64_MAX};
    assert_int_equal(alloc_private(h, 50, &mine), 0);
    uint64_t before = mine;
    for (unsigned i = 0; i < sizeof large / sizeof *large; i++) {
        assert_int_equal(alloc_private(h, large[i], &ref), -ENOSPC);
        assert_non_null(strstr(fi_error_text(), "the region \"r\" has no free block of"));
        assert_int_equal(resize_anywhere(h, 0, large[i], &mine), -ENOSPC);
        assert_int_equal(mine, before);
    }
    assert_int_equal(ref, 99);
    assert_int_equal(resize_anywhere(h, 0, 0, &mine), -EINVAL);
    assert_whole(h, 1);
    fi_heap_t small = *h;
    small.bytes = small.first + FI_HEAP_LEAST - 1;
    assert_int_equal(fi_heap_init(&small), -EINVAL);
    close_heap(&f);
}

static void the_smallest_heap_has_one_block(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0, more = 0;
    open_heap(&f, FI_HEAP_LEAST, FI_HEAP_LEAST);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(alloc_private(&f.heap[0], 32, &ref), 0);
        assert_int_equal(alloc_private(&f.heap[1], 1, &more), -ENOSPC);
        assert_int_equal(free_private(&f.heap[1], &ref), 0);
        assert_whole(&f.heap[0], 0);
    }
    close_heap(&f);
}

/* ---- sizes that change in place ---- */

static void a_block_grows_and_shrinks_where_it_stands_if_it_can(void **state) {
    (void)state;
    fixture_t f;
    uint64_t a = 0, b = 0, was;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 10000, &a), 0);
    was = a;
    assert_int_equal(resize_anywhere(h, 0, 20000, &a), 0);
    assert_int_equal(a, was);
    assert_int_equal(resize_anywhere(h, 0, 100, &a), 0);
    assert_int_equal(a, was);
    assert_int_equal(fi_heap_block_size(h, a), 112);
    assert_int_equal(alloc_private(h, 100, &b), 0);
    assert_int_equal(b, a + 128);
    assert_int_equal(resize_anywhere(h, 0, 200, &a), 0);
    assert_int_not_equal(a, was);
    assert_whole(h, 2);
    close_heap(&f);
}

static void a_move_is_given_up_when_the_place_refers_to_another_block(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0, other = 0;
    fi_heap_move_t move;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(fi_heap_alloc(h, HAND, place_number(0), 0, 100, &ref), 0);
    assert_int_equal(alloc_private(h, 100, &other), 0);
    assert_int_equal(fi_heap_resize(h, HAND, place_number(0), 500, &ref, &move), FI_HEAP_MOVES);
    assert_int_equal(move.bytes, 112);
    assert_int_equal(h->shared->hands[HAND].block, move.to);
    fi_store_relaxed64(fi_heap_word(h, place_number(0)), other);
    assert_int_equal(fi_heap_moved(h, HAND, place_number(0), &move), -EINVAL);
    assert_int_equal(h->shared->hands[HAND].block, 0);
    assert_int_equal(at_place(h, place_number(0)), other);
    assert_true(fi_heap_block_size(h, move.from) > 0);
    assert_int_equal(fi_heap_block_size(h, move.to), 0);
    assert_whole(h, 2);
    close_heap(&f);
}

/* ---- hands ---- */

static void what_the_dead_had_in_hand_is_freed_once(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0, other = 0;
    uint32_t hand, theirs;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(fi_heap_hand_take(h, OWNER, &hand), 0);
    assert_int_equal(fi_heap_hand_take(h, OWNER + 1, &theirs), 0);
    assert_int_not_equal(hand, theirs);
    assert_int_equal(fi_heap_alloc(h, hand, 0, 0, 100, &ref), 0);
    assert_int_equal(fi_heap_reclaim(h, hand, OWNER + 1), 0); /* not his */
    assert_whole(h, 1);
    assert_int_equal(fi_heap_reclaim(&f.heap[1], hand, OWNER), 0);
    assert_whole(h, 0);
    /* The same block is somebody else's now. */
    assert_int_equal(fi_heap_alloc(h, theirs, 0, 0, 100, &other), 0);
    assert_int_equal(other, ref);
    assert_int_equal(fi_heap_reclaim(h, hand, OWNER), 0);
    assert_whole(h, 1);
    /* And so is the hand. */
    uint32_t again;
    assert_int_equal(fi_heap_hand_take(h, OWNER + 2, &again), 0);
    assert_int_equal(again, hand);
    fi_heap_hand_hold(h, again, ref);
    assert_int_equal(fi_heap_reclaim(h, hand, OWNER), 0);
    assert_whole(h, 1);
    close_heap(&f);
}

static void what_is_no_block_does_not_come_into_a_hand(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0, also;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 100, &ref), 0);
    also = ref;
    assert_int_equal(free_private(h, &ref), 0);
    /* Freed twice, and killed before the second time was refused; meanwhile somebody gets the block. */
    fi_heap_hand_hold(h, HAND, also);
    assert_int_equal(fi_heap_alloc(h, OTHER_HAND, 0, 0, 100, &ref), 0);
    assert_int_equal(ref, also);
    fi_heap_hand_done(h, OTHER_HAND);
    assert_int_equal(fi_heap_drop(h, HAND), 0);
    assert_whole(h, 1);
    close_heap(&f);
}

static void what_was_held_is_looked_at_again(void **state) {
    (void)state;
    fixture_t f;
    uint64_t ref = 0;
    open_heap(&f, 1 << 16, 1 << 16);
    const fi_heap_t *h = &f.heap[0];
    assert_int_equal(alloc_private(h, 100, &ref), 0);
    uint64_t held = fi_heap_hand_hold(h, HAND, ref);
    assert_int_not_equal(held, 0);
    /* Before we have the lock somebody else frees it, which is wrong. */
    assert_int_equal(fi_heap_free(&f.heap[1], OTHER_HAND, 0, ref), 0);
    assert_false(fi_heap_free_quick(h, HAND, 0, ref, held));
    assert_int_equal(fi_heap_free(h, HAND, 0, ref), -EINVAL);
    assert_whole(h, 0);
    close_heap(&f);
}

static void there_is_a_hand_for_each_of_a_thousand(void **state) {
    (void)state;
    fixture_t f;
    uint32_t hand;
    open_heap(&f, 1 << 16, 1 << 16);
    for (uint64_t i = 0; i < FI_HEAP_HANDS; i++) {
        assert_int_equal(fi_heap_hand_take(&f.heap[i % 2], OWNER + i, &hand), 0);
        assert_int_equal(fi_heap_hand_owner(&f.heap[0], hand), OWNER + i);
    }
    assert_int_equal(fi_heap_hand_take(&f.heap[0], OWNER, &hand), -EUSERS);
    assert_int_equal(fi_heap_reclaim(&f.heap[1], 500, OWNER + 500), 0);
    assert_int_equal(fi_heap_hand_take(&f.heap[0], OWNER, &hand), 0);
    assert_int_equal(hand, 500);
    close_heap(&f);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_freed_once),
        cmocka_unit_test(a_wild_reference_is_refused),
        cmocka_unit_test(a_reference_has_its_place_in_a_block_or_before_the_head),
        cmocka_unit_test(a_reference_may_stand_in_its_own_block),
        cmocka_unit_test(the_first_of_two_who_want_one_block_at_a_place_has_it),
        cmocka_unit_test(odd_sizes_are_answered_clearly),
        cmocka_unit_test(the_smallest_heap_has_one_block),
        cmocka_unit_test(a_block_grows_and_shrinks_where_it_stands_if_it_can),
        cmocka_unit_test(a_move_is_given_up_when_the_place_refers_to_another_block),
        cmocka_unit_test(what_the_dead_had_in_hand_is_freed_once),
        cmocka_unit_test(what_is_no_block_does_not_come_into_a_hand),
        cmocka_unit_test(what_was_held_is_looked_at_again),
        cmocka_unit_test(there_is_a_hand_for_each_of_a_thousand),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}

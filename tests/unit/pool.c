/* SPDX-License-Identifier: MIT
 *
 * pool.c - a sender's memory by itself: blocks that do not overlap, a quota that holds, segments that go back.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "memory/pool.h"

typedef struct fixture {
    fi_pool_t pool;
    unsigned removed;
    uint64_t removed_bytes;
} fixture_t;

static void segment_removed(void *owner, fi_segment_t *s) {
    fixture_t *f = owner;
    f->removed++;
    f->removed_bytes += s->memory->bytes;
}

static void open_pool(fixture_t *f, uint64_t quota) {
    *f = (fixture_t){0};
    fi_pool_events_t events = {.removed = segment_removed, .owner = f};
    fi_pool_init(&f->pool, quota, &events);
}

/* What always holds: the segments are what is charged, and the quota is not exceeded. */
static void check_books(const fixture_t *f) {
    uint64_t bytes = 0, used = 0, idle = 0;
    for (const struct fi_list *at = f->pool.segments.next; at != &f->pool.segments; at = at->next) {
        const fi_segment_t *s = fi_container(at, fi_segment_t, link);
        bytes += s->memory->bytes;
        used += s->used;
        idle += s->used == 0 ? s->memory->bytes : 0;
    }
    assert_int_equal(bytes, f->pool.charged);
    assert_int_equal(idle, f->pool.idle_bytes);
    assert_int_equal(used, f->pool.blocks);
    assert_true(f->pool.charged <= f->pool.quota);
    assert_true(f->pool.bytes <= f->pool.charged);
}

/* Whoever maps the pool must hear of every segment that goes. */
static void close_pool(fixture_t *f) {
    check_books(f);
    uint64_t charged = f->pool.charged, removed = f->removed_bytes;
    fi_pool_done(&f->pool);
    assert_int_equal(f->removed_bytes, removed + charged);
    assert_int_equal(f->pool.charged, 0);
}

static void blocks_are_large_enough_and_aligned(void **state) {
    (void)state;
    fixture_t f;
    open_pool(&f, 64 << 20);
    for (uint64_t size = 0; size < 600000; size = size * 5 / 4 + 1) {
        fi_block_t *b;
        assert_int_equal(fi_pool_alloc(&f.pool, size, &b), 0);
        assert_true(b->segment->block_bytes >= size);
        assert_true(b->offset + b->segment->block_bytes <= b->segment->memory->bytes);
        assert_int_equal((uintptr_t)fi_block_data(b) % FI_BLOCK_ALIGN, 0);
        /* A block wastes at most a quarter of itself, but for the smallest and a page's rounding. */
        assert_true(size <= 256 || b->segment->block_bytes <= size * 4 / 3 + 4096);
        assert_int_equal(b->size, size);
        memset(fi_block_data(b), 0xa5, size);
        fi_pool_unref(&f.pool, b);
        check_books(&f);
    }
    assert_int_equal(f.pool.blocks, 0);
    close_pool(&f);
}

/* One size after the other: none keeps more of the quota to itself than it needs, or what is there anyway. */
static void many_sizes_share_a_small_quota(void **state) {
    (void)state;
    enum { KIB = 1024 };
    for (uint64_t quota = 64 * KIB; quota <= 4096 * KIB; quota *= 4) {
        fixture_t f;
        fi_block_t *b;
        uint64_t bytes = 0, size = 0;
        open_pool(&f, quota);
        for (uint64_t i = 0; i < 1000000; i++) {
            size = 64 + i * 37 % (quota / 64);
            if (fi_pool_alloc(&f.pool, size, &b) < 0)
                break;
            bytes += size;
        }
        assert_false(fi_pool_has_room(&f.pool, size));
        assert_true(bytes >= quota / 3);
        close_pool(&f);
    }
}

static void a_larger_block_that_is_free_serves_where_the_quota_is_used_up(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *b, *last = NULL;
    open_pool(&f, 64 << 10);
    while (fi_pool_alloc(&f.pool, 1000, &b) == 0)
        last = b;
    assert_non_null(last);
    assert_int_equal(fi_pool_alloc(&f.pool, 100, &b), -EDQUOT);
    fi_pool_unref(&f.pool, last);
    assert_true(fi_pool_has_room(&f.pool, 100));
    assert_int_equal(fi_pool_alloc(&f.pool, 100, &b), 0);
    assert_ptr_equal(b, last);
    assert_false(fi_pool_has_room(&f.pool, 1000));
    fi_pool_unref(&f.pool, b);
    assert_int_equal(fi_pool_alloc(&f.pool, 1000, &b), 0); /* it is what it was */
    assert_ptr_equal(b, last);
    close_pool(&f);
}

enum { LIVE = 200 };

static void blocks_in_use_never_overlap(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *live[LIVE] = {0};
    uint64_t chance = 7;
    open_pool(&f, 16 << 20);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)(unit_random(&chance) % LIVE);
        if (live[i]) {
            unsigned char *data = fi_block_data(live[i]);
            for (uint64_t k = 0; k < live[i]->size; k += 61)
                assert_int_equal(data[k], i);
            fi_pool_unref(&f.pool, live[i]);
            live[i] = NULL;
        } else {
            uint64_t size = unit_random(&chance) % (round % 20 ? 2000 : 400000);
            int answer = fi_pool_alloc(&f.pool, size, &live[i]);
            assert_true(answer == 0 || answer == -EDQUOT);
            if (answer == 0)
                memset(fi_block_data(live[i]), (int)i, size);
        }
        check_books(&f);
    }
    close_pool(&f);
}

static void a_block_lives_until_its_last_reference_is_gone(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *a, *b;
    open_pool(&f, 16 << 20);
    assert_int_equal(fi_pool_alloc(&f.pool, 1000, &a), 0);
    a->refs++;
    fi_pool_unref(&f.pool, a);
    assert_int_equal(f.pool.blocks, 1);
    assert_int_equal(fi_pool_alloc(&f.pool, 1000, &b), 0);
    assert_ptr_not_equal(a, b);
    fi_pool_unref(&f.pool, a);
    fi_pool_unref(&f.pool, b);
    assert_int_equal(f.pool.blocks, 0);
    close_pool(&f);
}

static void the_quota_is_never_exceeded_and_is_named_when_it_is_used_up(void **state) {
    (void)state;
    static const uint64_t sizes[] = {100, 5000, 100000, 300000};
    for (unsigned s = 0; s < 4; s++) {
        fixture_t f;
        fi_block_t *b;
        unsigned count = 0;
        int answer;
        open_pool(&f, 1 << 20);
        while ((answer = fi_pool_alloc(&f.pool, sizes[s], &b)) == 0) {
            count++;
            check_books(&f);
            assert_true(count < 100000);
        }
        assert_int_equal(answer, -EDQUOT);
        assert_non_null(strstr(fi_error_text(), "quota"));
        assert_true(count * sizes[s] >= (1 << 20) * 3 / 10); /* not wasted on anything else */
        close_pool(&f);
    }
}

static void memory_of_one_size_becomes_memory_of_another(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *b[200];
    open_pool(&f, 1 << 20);
    for (unsigned round = 0; round < 20; round++) {
        unsigned count = 0;
        uint64_t size = round % 2 ? 200000 : 6000;
        while (count < 200 && fi_pool_alloc(&f.pool, size, &b[count]) == 0)
            count++;
        assert_true(count >= 2);
        while (count > 0)
            fi_pool_unref(&f.pool, b[--count]);
        check_books(&f);
    }
    close_pool(&f);
}

static void freed_memory_is_used_again_without_asking_the_system(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *b;
    open_pool(&f, 64 << 20);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(fi_pool_alloc(&f.pool, i % 2 ? 3000 : 1 << 20, &b), 0);
        fi_pool_unref(&f.pool, b);
    }
    assert_int_equal(f.removed, 0);
    assert_int_equal(f.pool.next_id,
                     2 + FI_ROTATION_NARROW / (1 << 20)); /* one for the small ones, few for the large */
    close_pool(&f);
}

static void a_block_alone_shares_no_page_and_no_segment(void **state) {
    (void)state;
    fixture_t f;
    fi_block_t *blocks[4], *small;
    open_pool(&f, 4 * 4096);
    assert_int_equal(fi_pool_alloc(&f.pool, 100, &small), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fi_pool_alloc_alone(&f.pool, 100, &blocks[i]), 0);
        assert_int_equal((uintptr_t)fi_block_data(blocks[i]) % 4096, 0);
        assert_int_equal(blocks[i]->segment->count, 1);
        assert_int_equal(f.pool.charged, (i + 2) * 4096);
        memset(fi_block_data(blocks[i]), (int)i + 1, 4096);
        check_books(&f);
    }
    assert_int_equal(fi_pool_alloc_alone(&f.pool, 100, &blocks[3]), -EDQUOT);
    fi_pool_unref(&f.pool, blocks[1]);
    assert_int_equal(f.pool.charged, 3 * 4096);
    assert_int_equal(f.removed, 1);
    assert_int_equal(fi_pool_alloc_alone(&f.pool, 4096, &blocks[1]), 0);
    assert_int_equal(fi_block_data(blocks[1])[0], 0);
    assert_int_equal(fi_block_data(blocks[0])[0], 1);
    assert_int_equal(fi_block_data(blocks[2])[4095], 3);
    close_pool(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_large_enough_and_aligned),
        cmocka_unit_test(many_sizes_share_a_small_quota),
        cmocka_unit_test(a_larger_block_that_is_free_serves_where_the_quota_is_used_up),
        cmocka_unit_test(blocks_in_use_never_overlap),
        cmocka_unit_test(a_block_lives_until_its_last_reference_is_gone),
        cmocka_unit_test(the_quota_is_never_exceeded_and_is_named_when_it_is_used_up),
        cmocka_unit_test(memory_of_one_size_becomes_memory_of_another),
        cmocka_unit_test(freed_memory_is_used_again_without_asking_the_system),
        cmocka_unit_test(a_block_alone_shares_no_page_and_no_segment),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * heap_mix.c - the allocator of shared regions in long use: against a plain table of what should be in it, and how much
 * of the heap can be used.
 */
#include "heap_fixture.h"

/* ---- random calls, compared with a table ---- */

enum { LIVE = 400, SHADOW = 1 << 17 };

typedef struct live {
    uint64_t ref; /* 0: none */
    uint64_t bytes;
    uint64_t place; /* 0: this table is where it stands */
    uint64_t id;
} live_t;

typedef struct table {
    fixture_t f;
    live_t live[LIVE];
    unsigned char taken[SHADOW]; /* by unit of 16 bytes: 1 somebody's */
    uint64_t chance;
    uint64_t ids;
    int64_t count;
} table_t;

static const fi_heap_t *any_process(table_t *t) {
    return &t->f.heap[unit_random(&t->chance) % 2];
}

static uint64_t random_bytes(table_t *t) {
    static const uint64_t most[] = {16, 64, 256, 1024, 4096, 20000, 140000};
    return 1 + unit_random(&t->chance) % most[unit_random(&t->chance) % 7];
}

static void mark(table_t *t, uint64_t ref, uint64_t bytes, unsigned char before) {
    uint64_t from = (ref - 16 - t->f.heap[0].first) / 16;
    uint64_t to = (ref + bytes - t->f.heap[0].first + 15) / 16;

    assert_true(ref % 16 == 0 && to <= SHADOW);
    for (uint64_t i = from; i < to; i++) {
        assert_int_equal(t->taken[i], before);
        t->taken[i] = !before;
    }
}

static unsigned char pattern(uint64_t id, uint64_t i) {
    return (unsigned char)(id * 37 + i * 11 + i / 256);
}
static void fill(const fi_heap_t *h, const live_t *l) {
    for (uint64_t i = 0; i < l->bytes; i++) {
        h->base[l->ref + i] = (char)pattern(l->id, i);
    }
}
static void compare(const fi_heap_t *h, const live_t *l, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) {
        if ((unsigned char)h->base[l->ref + i] != pattern(l->id, i)) {
            fail_msg("byte %d of a block of %d is not as it was written", (int)i, (int)l->bytes);
        }
    }
}

static void grew(table_t *t, const fi_heap_t *h, live_t *l, uint64_t ref, uint64_t bytes) {
    assert_true(fi_heap_block_size(h, ref) >= bytes);
    l->ref = ref;
    l->bytes = bytes;
    mark(t, ref, bytes, 0);
}

/* What the figures promise is kept, and "full" is said only if they say so, too. */
static void judge_full(const fi_heap_t *h, const fi_heap_figures_t *before, uint64_t bytes, int r) {
    if (bytes <= before->largest_free) {
        assert_int_equal(r, 0);
    }
    if (r == -ENOSPC) {
        fi_heap_figures_t now;
        fi_heap_figures(h, &now);
        assert_true(now.largest_free < bytes);
        assert_int_equal(h->shared->binned, 0);
    }
}

static void one_alloc(table_t *t, live_t *l) {
    const fi_heap_t *h = any_process(t);
    uint64_t bytes = random_bytes(t), ref = 0;
    fi_heap_figures_t before;

    fi_heap_figures(h, &before);
    l->place = unit_random(&t->chance) % 2 ? place_number((unsigned)(l - t->live)) : 0;
    int r = l->place ? fi_heap_alloc(h, HAND, l->place, FI_HEAP_IF_NONE, bytes, &ref) : alloc_private(h, bytes, &ref);
    judge_full(h, &before, bytes, r);
    if (r == 0) {
        l->id = ++t->ids;
        grew(t, h, l, ref, bytes);
        fill(h, l);
        t->count++;
    }
    if (l->place) {
        assert_int_equal(at_place(h, l->place), r == 0 ? ref : 0);
    }
}

static void one_free(table_t *t, live_t *l) {
    const fi_heap_t *h = any_process(t);

    compare(h, l, l->bytes);
    mark(t, l->ref, l->bytes, 1);
    assert_int_equal(l->place ? fi_heap_free(h, HAND, l->place, 0) : free_private(h, &l->ref), 0);
    if (l->place) {
        assert_int_equal(at_place(h, l->place), 0);
    }
    l->ref = 0;
    t->count--;
}

static void one_resize(table_t *t, live_t *l) {
    const fi_heap_t *h = any_process(t);
    uint64_t bytes = random_bytes(t), ref = l->ref;
    int r = resize_anywhere(h, l->place, bytes, &ref);

    if (l->place) {
        assert_int_equal(at_place(h, l->place), ref);
    }
    if (r < 0) {
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(ref, l->ref);
        compare(h, l, l->bytes);
        return;
    }
    mark(t, l->ref, l->bytes, 1);
    uint64_t kept = fi_min(l->bytes, bytes);
    grew(t, h, l, ref, bytes);
    compare(h, l, kept);
    fill(h, l);
}

static void one_step(table_t *t) {
    live_t *l = &t->live[unit_random(&t->chance) % LIVE];

    if (!l->ref) {
        one_alloc(t, l);
    } else if (unit_random(&t->chance) % 3) {
        one_free(t, l);
    } else {
        one_resize(t, l);
    }
}

static void check_table(table_t *t) {
    const fi_heap_t *h = any_process(t);
    fi_heap_figures_t f;

    assert_whole(h, t->count);
    fi_heap_figures(h, &f);
    assert_int_equal(f.blocks, t->count);
    assert_int_equal(f.used + f.free_bytes, fi_heap_end(h) - h->first - 16);
    assert_int_equal(h->shared->hands[HAND].block, 0);
}

/* Nothing is left, and it is one piece. */
static void free_all(table_t *t) {
    const fi_heap_t *h = &t->f.heap[0];
    fi_heap_figures_t f;

    for (unsigned i = 0; i < LIVE; i++) {
        if (t->live[i].ref) {
            one_free(t, &t->live[i]);
        }
    }
    assert_int_equal(fi_heap_empty_bins(h), 0);
    assert_whole(h, 0);
    fi_heap_figures(h, &f);
    assert_int_equal(f.used, 0);
    assert_int_equal(f.free_bytes, fi_heap_end(h) - h->first - 16);
    assert_int_equal(f.largest_free, f.free_bytes - 16);
}

static table_t *open_table(uint64_t space, uint64_t most) {
    table_t *t = test_calloc(1, sizeof *t);

    t->chance = 42;
    open_heap(&t->f, space, most);
    return t;
}

static void close_table(table_t *t) {
    free_all(t);
    close_heap(&t->f);
    test_free(t);
}

static void any_calls_keep_blocks_apart_and_their_bytes(void **state) {
    (void)state;
    static const uint64_t spaces[] = {1000, 20000, 300000, 2000000};
    for (unsigned s = 0; s < 4; s++) {
        table_t *t = open_table(spaces[s], spaces[s]);
        for (unsigned i = 0; i < 40000; i++) {
            one_step(t);
            if (i % 64 == 0) {
                check_table(t);
            }
        }
        close_table(t);
    }
}

static void a_heap_may_grow_at_any_time(void **state) {
    (void)state;
    table_t *t = open_table(1000, 2000000);
    for (unsigned i = 0; i < 40000; i++) {
        one_step(t);
        if (i % 200 == 0) {
            uint64_t bytes = first_of_heap() + 1000 + (uint64_t)i * 49;
            /* The first process grows the heap, the other one is told so and looks. */
            t->f.heap[0].bytes = bytes;
            assert_int_equal(fi_heap_extend(&t->f.heap[0], bytes), 0);
            uint64_t ref;
            int r = fi_heap_alloc(&t->f.heap[1], HAND, 0, 0, 1 << 24, &ref);
            assert_int_equal(r, i == 0 ? -ENOSPC : -ESTALE);
            t->f.heap[1].bytes = bytes;
            check_table(t);
        }
    }
    assert_true(fi_heap_end(&t->f.heap[0]) > first_of_heap() + 1900000);
    close_table(t);
}

/* ---- fragmentation ---- */

enum { MANY = 20000 };

typedef struct crowd {
    uint64_t refs[MANY];
    unsigned count;
    uint64_t used; /* bytes asked for */
    uint64_t bytes[MANY];
} crowd_t;

/* Sizes whose logarithm is even: as many of 16 to 32 bytes as of 8 to 16 KiB. */
static uint64_t spread_bytes(uint64_t *chance) {
    uint64_t power = UINT64_C(16) << unit_random(chance) % 10;
    return power + unit_random(chance) % power;
}

static void leave(const fi_heap_t *h, crowd_t *c, unsigned i) {
    c->used -= c->bytes[i];
    assert_int_equal(free_private(h, &c->refs[i]), 0);
    c->count--;
    c->refs[i] = c->refs[c->count];
    c->bytes[i] = c->bytes[c->count];
}

static bool join(const fi_heap_t *h, crowd_t *c, uint64_t bytes) {
    if (c->count == MANY || alloc_private(h, bytes, &c->refs[c->count]) != 0) {
        return false;
    }
    c->bytes[c->count++] = bytes;
    c->used += bytes;
    return true;
}

/* Of all sizes, half of them freed in no order, again and again: on the average, nine tenths of the heap can be
 * used. */
static void a_long_mix_of_all_sizes_leaves_the_heap_usable(void **state) {
    (void)state;
    fixture_t f;
    crowd_t *c = test_calloc(1, sizeof *c);
    uint64_t chance = 11, space = 4 << 20, all = 0;
    open_heap(&f, space, space);
    const fi_heap_t *h = &f.heap[0];

    for (unsigned round = 0; round < 60; round++) {
        while (join(h, c, spread_bytes(&chance))) {
        }
        fi_heap_figures_t now;
        fi_heap_figures(h, &now);
        assert_true(c->count < MANY && now.used >= space / 4 * 3);
        all += now.used / 60;
        while (c->used > space / 2) {
            leave(h, c, (unsigned)(unit_random(&chance) % c->count));
        }
        assert_whole(h, c->count);
    }
    assert_true(all >= space / 10 * 9);
    while (c->count > 0) {
        leave(h, c, c->count - 1);
    }
    assert_int_equal(fi_heap_empty_bins(h), 0);
    assert_whole(h, 0);
    close_heap(&f);
    test_free(c);
}

/* What was freed in one size can be had in another, also while bins hold it. */
static void memory_of_one_size_becomes_memory_of_another(void **state) {
    (void)state;
    static const uint64_t sizes[] = {16, 100000, 48, 1024, 5000, 32, 65536, 700};
    fixture_t f;
    crowd_t *c = test_calloc(1, sizeof *c);
    uint64_t space = 600000;
    open_heap(&f, space, space);
    const fi_heap_t *h = &f.heap[0];

    for (unsigned round = 0; round < 16; round++) {
        uint64_t bytes = sizes[round % 8];
        while (join(h, c, bytes)) {
        }
        uint64_t block = (bytes + 31) / 16 * 16;
        assert_true(c->count < MANY && space - c->count * block < block + space / 200);
        while (c->count > 0) {
            leave(h, c, round % 2 ? 0 : c->count - 1);
        }
        assert_whole(h, 0);
        assert_true((h->shared->binned & FI_BINNED_UNITS) * FI_UNIT <= fi_max(65536, h->bytes / 8));
    }
    close_heap(&f);
    test_free(c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_calls_keep_blocks_apart_and_their_bytes),
        cmocka_unit_test(a_heap_may_grow_at_any_time),
        cmocka_unit_test(a_long_mix_of_all_sizes_leaves_the_heap_usable),
        cmocka_unit_test(memory_of_one_size_becomes_memory_of_another),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("heap-mix", tests, NULL, NULL);
}

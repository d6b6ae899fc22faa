/* SPDX-License-Identifier: MIT
 *
 * heap_garbage.c - somebody writes nonsense into the heap's notes: it is found by a check, and whoever calls meanwhile
 * gets errors, but no fault, no block that reaches outside, and an answer in the end.
 */
#include "heap_fixture.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- a check finds every damage ---- */

enum { BLOCKS = 60, SPACE = 40000 };

/* Used, binned and free blocks of many sizes, side by side. */
static void make_mixed(const fi_heap_t *h, uint64_t chance) {
    uint64_t refs[BLOCKS];
    unsigned n = 0;

    while (n < BLOCKS && alloc_private(h, 1 + unit_random(&chance) % 900, &refs[n]) == 0) {
        n++;
    }
    assert_int_equal(n, BLOCKS);
    for (unsigned i = 0; i < n; i += 2 + (unsigned)(unit_random(&chance) % 2)) {
        assert_int_equal(free_private(h, &refs[i]), 0);
        refs[i] = 0;
    }
    assert_int_equal(fi_heap_empty_bins(h), 0);
    for (unsigned i = 1; i < n; i += 3) {
        if (refs[i]) {
            assert_int_equal(free_private(h, &refs[i]), 0);
        }
    }
}

static void damage(const fi_heap_t *h, uint64_t place, uint64_t *chance) {
    uint64_t *word = fi_heap_word(h, place);
    uint64_t was = *word;
    const uint64_t wrong[] = {0,
                              was + 1,
                              was - 16,
                              was ^ 1ull << unit_random(chance) % 64,
                              was ^ FI_BLOCK_PREV_FREE,
                              was << 1,
                              UINT64_MAX,
                              was + 16,
                              unit_random(chance)};

    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (wrong[i] != was) {
            *word = wrong[i];
            int64_t r = fi_heap_check(h);
            if (r != -EPROTO && r != -ESTALE) {
                fail_msg("%llx instead of %llx at %d was not found", (unsigned long long)wrong[i],
                         (unsigned long long)was, (int)place);
            }
        }
    }
    *word = was;
}

/* The words of a block that mean something. */
static void damage_block(const fi_heap_t *h, uint64_t block, uint64_t *chance) {
    uint64_t word = *fi_heap_word(h, block);
    uint64_t state = word & FI_BLOCK_STATE;

    damage(h, block, chance);
    if (state != FI_BLOCK_USED) {
        damage(h, block + 8, chance);
    }
    if (state == FI_BLOCK_FREE) {
        damage(h, block + 16, chance);
        damage(h, block + fi_block_units(word) * FI_UNIT - 8, chance);
    }
}

static void a_check_finds_every_word_that_is_wrong(void **state) {
    (void)state;
    fixture_t f;
    uint64_t chance = 3, head = HEAD_AT, blocks = 0;
    open_heap(&f, SPACE, SPACE);
    const fi_heap_t *h = &f.heap[0];

    make_mixed(h, 77);
    int64_t used = fi_heap_check(h);
    assert_true(used > 0);
    for (uint64_t block = h->first; block < fi_heap_end(h);
         block += fi_block_units(*fi_heap_word(h, block)) * FI_UNIT) {
        damage_block(h, block, &chance);
        blocks++;
    }
    assert_true(blocks > BLOCKS / 2 && (int64_t)blocks > used);
    for (uint64_t at = offsetof(fi_heap_memory_t, filled); at < offsetof(fi_heap_memory_t, hands); at += 8) {
        damage(h, head + at, &chance);
    }
    damage(h, head + offsetof(fi_heap_memory_t, noted), &chance);
    damage(h, head + offsetof(fi_heap_memory_t, binned), &chance);
    damage(h, head + offsetof(fi_heap_memory_t, end), &chance);
    damage(h, head + offsetof(fi_heap_memory_t, blocks), &chance);
    damage(h, head + offsetof(fi_heap_memory_t, free_units), &chance);
    assert_int_equal(fi_heap_check(h), used);
    close_heap(&f);
}

/* A chain that bites its own tail, with as many blocks as it should have. */
static void a_check_ends_in_a_circle(void **state) {
    (void)state;
    fixture_t f;
    uint64_t refs[3];
    open_heap(&f, SPACE, SPACE);
    const fi_heap_t *h = &f.heap[0];
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(alloc_private(h, 100, &refs[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        uint64_t ref = refs[i];
        assert_int_equal(free_private(h, &ref), 0);
    }
    *fi_heap_word(h, refs[0] - 8) = refs[2] - 16;
    assert_int_equal(fi_heap_check(h), -EPROTO);
    assert_int_equal(fi_heap_empty_bins(h), -EPROTO);
    close_heap(&f);
}

/* ---- an error changes nothing ---- */

enum { LARGE = 140000, LARGE_BLOCKS = 9 };

/* Frees the block with one word damaged; refused, it leaves all bytes as they were. Returns whether it was refused. */
static bool is_refused_whole(const fi_heap_t *h, uint64_t place, uint64_t ref, const char *before, char *after) {
    uint64_t bytes = h->bytes, after_log = HEAD_AT + offsetof(fi_heap_memory_t, end);

    memcpy(h->base, before, bytes);
    *fi_heap_word(h, place) ^= 32;
    memcpy(after, h->base, bytes);
    fi_store_relaxed64(fi_heap_word(h, place_number(1)), ref);
    memcpy(after + place_number(1), &ref, sizeof ref);
    int r = fi_heap_free(h, HAND, place_number(1), 0);
    if (r == 0) {
        return false;
    }
    assert_int_equal(r, -EPROTO);
    assert_int_equal(h->shared->noted, 0);
    assert_memory_equal(h->base, after, HEAD_AT);
    assert_memory_equal(h->base + after_log, after + after_log, bytes - after_log);
    return true;
}

static void a_call_that_finds_damage_changes_nothing(void **state) {
    (void)state;
    fixture_t f;
    uint64_t refs[LARGE_BLOCKS] = {0};
    unsigned refused = 0;
    open_heap(&f, (uint64_t)LARGE * (LARGE_BLOCKS + 1), (uint64_t)LARGE * (LARGE_BLOCKS + 1));
    const fi_heap_t *h = &f.heap[0];
    char *before = test_malloc(h->bytes), *after = test_malloc(h->bytes);

    for (unsigned i = 0; i < LARGE_BLOCKS; i++) {
        assert_int_equal(alloc_private(h, LARGE, &refs[i]), 0);
    }
    for (unsigned i = 0; i < LARGE_BLOCKS; i += 2) {
        uint64_t ref = refs[i];
        assert_int_equal(free_private(h, &ref), 0);
    }
    memcpy(before, h->base, h->bytes);
    for (unsigned i = 1; i < LARGE_BLOCKS; i += 2) {
        for (unsigned k = 0; k < LARGE_BLOCKS; k += 2) {
            const uint64_t words[] = {refs[k] - 16, refs[k] - 8, refs[k], refs[k + 1 < LARGE_BLOCKS ? k + 1 : k] - 24};
            for (unsigned j = 0; j < 4; j++) {
                refused += is_refused_whole(h, words[j], refs[i], before, after);
            }
        }
        uint64_t list = fi_heap_place_of(h, &h->shared->lists[fi_fit_class((LARGE + 31) / 16)]);
        refused += is_refused_whole(h, list, refs[i], before, after);
    }
    assert_true(refused > 20);
    test_free(before);
    test_free(after);
    close_heap(&f);
}

/* ---- calls in the middle of it ---- */

typedef struct user {
    const fi_heap_t *h;
    uint64_t chance;
    uint64_t refs[BLOCKS];
    unsigned answers[2]; /* done, refused */
} user_t;

/* The word of a block there, of whatever size and state. */
static uint64_t any_block_word(uint64_t block, uint64_t *chance) {
    uint64_t any = unit_random(chance);
    uint64_t units = (unit_random(chance) & FI_BLOCK_UNITS) >> any % 40;

    return fi_block_word(block, units, FI_BLOCK_USED * (1 + any / 64 % 3)) | (any / 1024 % 2 ? FI_BLOCK_PREV_FREE : 0);
}

/* A word that could stand there: a number, a reference, another word of the heap. */
static uint64_t nonsense(const fi_heap_t *h, uint64_t *chance) {
    uint64_t any = unit_random(chance);
    uint64_t at = unit_random(chance) % h->bytes & ~UINT64_C(7);

    switch (any % 6) {
    case 0:
        return any >> unit_random(chance) % 64;
    case 1:
        return at;
    case 2:
        return at & ~UINT64_C(15);
    case 3:
        return any_block_word(at & ~UINT64_C(15), chance);
    case 4:
        return 0;
    default:
        return at_place(h, at);
    }
}

/* Most of it where it does harm. Not to the lock, nor to who owns a hand. */
static void write_nonsense(const fi_heap_t *h, uint64_t *chance) {
    uint64_t what = nonsense(h, chance);
    uint64_t at = unit_random(chance) % (h->bytes - h->first) + h->first;

    switch (unit_random(chance) % 6) {
    case 0:
        at = HEAD_AT + 64 + unit_random(chance) % (offsetof(fi_heap_memory_t, hands) - 64);
        break;
    case 1:
        at &= ~UINT64_C(15);
        what = any_block_word(at, chance);
        break;
    case 2:
        at = HEAD_AT + offsetof(fi_heap_memory_t, hands[HAND].block);
        break;
    case 3:
        at = HEAD_AT + offsetof(fi_heap_memory_t, noted) + unit_random(chance) % 128;
        what = unit_random(chance) % 4 ? what : unit_random(chance) % 40;
        break;
    default:
        break;
    }
    fi_store_relaxed64(fi_heap_word(h, at & ~UINT64_C(7)), what);
}

static bool is_an_answer(int r) {
    return r == 0 || r == -EPROTO || r == -EINVAL || r == -ENOSPC || r == -ESTALE || r == -EEXIST;
}

/* What was handed out may be written to its last byte; outside, a page faults. */
static void use(const fi_heap_t *h, uint64_t ref, uint64_t bytes) {
    assert_true(ref % 16 == 0 && ref >= h->first && bytes <= h->bytes && ref <= h->bytes - bytes);
    fi_store_relaxed64(fi_heap_word(h, ref), bytes);
    fi_store_relaxed64(fi_heap_word(h, ref + ((bytes - 8) & ~UINT64_C(7))), bytes);
}

static int any_alloc(user_t *u, uint64_t *ref) {
    const fi_heap_t *h = u->h;
    uint64_t bytes = 16 + unit_random(&u->chance) % (unit_random(&u->chance) % 8 ? 300 : SPACE);
    uint64_t place = unit_random(&u->chance) % 2 ? place_number(1) : 0;
    uint64_t got = 0;
    int r = place ? fi_heap_alloc(h, HAND, place, (unsigned)place % 2, bytes, &got) : alloc_private(h, bytes, &got);

    if (r == 0) {
        use(h, got, bytes);
        *ref = got;
    }
    return r;
}

static int any_resize(user_t *u, uint64_t *ref) {
    uint64_t bytes = 16 + unit_random(&u->chance) % 600;
    uint64_t now = *ref;
    int r = resize_anywhere(u->h, 0, bytes, &now);

    if (r == 0) {
        use(u->h, now, bytes);
        *ref = now;
    }
    return r;
}

static int any_other(user_t *u, uint64_t *ref) {
    const fi_heap_t *h = u->h;
    fi_heap_figures_t figures;

    switch (unit_random(&u->chance) % 8) {
    case 0:
        return fi_heap_check(h) < 0 ? -EPROTO : 0;
    case 1:
        return fi_heap_empty_bins(h);
    case 2:
        fi_heap_recover(h);
        return 0;
    case 3:
        return fi_heap_drop(h, HAND);
    case 4:
        fi_heap_figures(h, &figures);
        return 0;
    case 5:
        return fi_heap_extend(h, h->bytes);
    case 6:
        return fi_heap_free(h, HAND, place_number(1), 0);
    default:
        return fi_heap_block_size(h, *ref) <= h->bytes ? 0 : 1;
    }
}

static void one_call(user_t *u) {
    uint64_t *ref = &u->refs[unit_random(&u->chance) % BLOCKS];
    uint64_t kind = unit_random(&u->chance) % 8;
    int r;

    if (*ref == 0) {
        r = any_alloc(u, ref);
    } else if (kind < 4) {
        r = free_private(u->h, ref);
        *ref = 0;
    } else {
        r = kind < 6 ? any_resize(u, ref) : any_other(u, ref);
    }
    assert_true(is_an_answer(r));
    u->answers[r < 0]++;
}

/* A heap in which everything is again as it should be. */
static void begin_anew(fixture_t *f, user_t *u) {
    memset(f->heap[0].base, 0, f->mapped);
    memset(u->refs, 0, sizeof u->refs);
    assert_int_equal(fi_heap_init(&f->heap[0]), 0);
}

static void calls_between_nonsense_get_errors(void **state) {
    (void)state;
    fixture_t f;
    open_heap(&f, SPACE, SPACE);
    user_t u = {.h = &f.heap[0], .chance = 21};

    for (unsigned round = 0; round < 4000; round++) {
        begin_anew(&f, &u);
        for (unsigned i = 0; i < 30; i++) {
            one_call(&u);
        }
        for (unsigned i = 0; i < 30; i++) {
            for (uint64_t k = unit_random(&u.chance) % 4; k > 0; k--) {
                write_nonsense(&f.heap[1], &u.chance);
            }
            one_call(&u);
        }
    }
    assert_true(u.answers[0] > 1000 && u.answers[1] > 1000);
    close_heap(&f);
}

typedef struct vandal {
    const fi_heap_t *h;
    uint32_t stop;
} vandal_t;

static void *vandalize(void *arg) {
    vandal_t *v = arg;
    uint64_t chance = 99;

    while (!fi_load_relaxed32(&v->stop)) {
        write_nonsense(v->h, &chance);
        for (uint64_t pause = unit_random(&chance) % 200; pause > 0; pause--) {
            fi_compiler_barrier();
        }
    }
    return NULL;
}

static void calls_while_nonsense_is_written_get_errors(void **state) {
    (void)state;
    fixture_t f;
    pthread_t thread;
    open_heap(&f, SPACE, SPACE);
    user_t u = {.h = &f.heap[0], .chance = 23};

    for (unsigned round = 0; round < 300; round++) {
        begin_anew(&f, &u);
        vandal_t v = {.h = &f.heap[1]};
        assert_int_equal(pthread_create(&thread, NULL, vandalize, &v), 0);
        for (unsigned i = 0; i < 3000; i++) {
            one_call(&u);
        }
        fi_store_relaxed32(&v.stop, 1);
        pthread_join(thread, NULL);
    }
    assert_true(u.answers[0] > 1000 && u.answers[1] > 1000);
    close_heap(&f);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_finds_every_word_that_is_wrong),
        cmocka_unit_test(a_check_ends_in_a_circle),
        cmocka_unit_test(a_call_that_finds_damage_changes_nothing),
        cmocka_unit_test(calls_between_nonsense_get_errors),
        cmocka_unit_test(calls_while_nonsense_is_written_get_errors),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("heap-garbage", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * marks.c - the notes of a published region by themselves: what is marked is copied, nothing else, once; against a
 * plain table with one byte for each granule.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "region/published_marks.h"

#define MOST (24u << 20) /* beyond what is copied past the caches */

typedef struct fixture {
    uint64_t bytes;
    uint64_t granules;
    fi_marks_t a, b;
    unsigned char *in_a, *in_b; /* the oracle: is the granule marked? */
    unsigned char *from, *to;
} fixture_t;

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static unsigned char *aligned(uint64_t bytes) {
    unsigned char *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

static void set_up(fixture_t *f, uint64_t bytes) {
    f->bytes = bytes;
    f->granules = (bytes + FI_GRANULE - 1) / FI_GRANULE;
    assert_int_equal(fi_marks_init(&f->a, bytes), 0);
    assert_int_equal(fi_marks_init(&f->b, bytes), 0);
    f->in_a = calloc(1, f->granules);
    f->in_b = calloc(1, f->granules);
    f->from = aligned(bytes);
    f->to = aligned(bytes);
    memset(f->from, 1, bytes);
    memset(f->to, 2, bytes + 1);
}

static void tear_down(fixture_t *f) {
    fi_marks_done(&f->a);
    fi_marks_done(&f->b);
    free(f->in_a);
    free(f->in_b);
    free(f->from);
    free(f->to);
}

static void mark(const fixture_t *f, bool in_b, uint64_t at, uint64_t bytes) {
    fi_marks_t m = in_b ? f->b : f->a;
    fi_marks_add(&m, at, bytes);
    uint64_t first = at / FI_GRANULE, last = (at + bytes - 1) / FI_GRANULE;
    memset((in_b ? f->in_b : f->in_a) + first, 1, last - first + 1);
}

static void mark_at_random(const fixture_t *f, bool in_b, uint64_t most) {
    uint64_t at = unit_random(&seed) % f->bytes;
    uint64_t left = f->bytes - at;
    mark(f, in_b, at, 1 + unit_random(&seed) % (left < most ? left : most));
}

/* Copies, and compares every byte with what the oracle says. */
static void copy_and_check(fixture_t *f) {
    uint64_t wanted = 0;
    memset(f->to, 2, f->bytes + 1);
    uint64_t copied = fi_marks_copy(&f->a, &f->b, f->to, f->from, f->bytes);
    for (uint64_t g = 0; g < f->granules; g++) {
        uint64_t end = (g + 1) * FI_GRANULE < f->bytes ? (g + 1) * FI_GRANULE : f->bytes;
        bool marked = f->in_a[g] || f->in_b[g];
        wanted += marked ? end - g * FI_GRANULE : 0;
        for (uint64_t i = g * FI_GRANULE; i < end; i++) {
            assert_int_equal(f->to[i], marked ? 1 : 2);
        }
    }
    assert_int_equal(f->to[f->bytes], 2);
    assert_int_equal(copied, wanted);
    memset(f->in_a, 0, f->granules);
    memset(f->in_b, 0, f->granules);
    assert_int_equal(fi_marks_copy(&f->a, &f->b, f->to, f->from, f->bytes), 0); /* the marks are gone */
}

static void what_is_marked_is_copied_and_nothing_else(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 63, 64, 65, 4095, 4096, 64 * 64, 64 * 64 + 1, 64 * 64 * 64 + 100, 1000003};
    fixture_t f;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_up(&f, sizes[i]);
        for (unsigned round = 0; round < 60; round++) {
            for (uint64_t k = unit_random(&seed) % 40; k > 0; k--) {
                mark_at_random(&f, k % 2 != 0, round % 3 == 0 ? 64 : f.bytes / 7 + 1);
            }
            copy_and_check(&f);
        }
        tear_down(&f);
    }
}

static void all_of_it_may_be_marked(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 64, 4096, 262144, 262145, 1000003, MOST, MOST + 17};
    fixture_t f;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_up(&f, sizes[i]);
        mark(&f, i % 2 != 0, 0, sizes[i]);
        copy_and_check(&f);
        tear_down(&f);
    }
}

static void many_small_marks_in_a_large_region_are_copied(void **state) {
    (void)state;
    fixture_t f;
    set_up(&f, MOST + 5);
    for (unsigned i = 0; i < 5000; i++) {
        mark_at_random(&f, i % 3 == 0, i % 10 == 0 ? 10000 : 100);
    }
    mark(&f, false, MOST + 4, 1);
    copy_and_check(&f);
    tear_down(&f);
}

/* Every way in which a range can begin and end in words and groups. */
static void every_edge_of_a_range_is_exact(void **state) {
    (void)state;
    static const uint64_t edges[] = {0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 8192, 8200};
    fixture_t f;
    set_up(&f, 8201 * FI_GRANULE);
    for (unsigned i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        for (unsigned k = i; k < sizeof edges / sizeof edges[0]; k++) {
            mark(&f, false, edges[i] * FI_GRANULE, (edges[k] - edges[i] + 1) * FI_GRANULE);
            copy_and_check(&f);
        }
    }
    tear_down(&f);
}

static void joining_adds_marks_and_takes_none_away(void **state) {
    (void)state;
    fixture_t f;
    set_up(&f, 700001);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned k = 0; k < 10; k++) {
            mark_at_random(&f, k % 2 != 0, 2000);
        }
        fi_marks_join(&f.a, &f.b);
        for (uint64_t g = 0; g < f.granules; g++) {
            bool marked = f.a.words[g / 64] >> g % 64 & 1;
            assert_int_equal(marked, f.in_a[g] || f.in_b[g]);
        }
        copy_and_check(&f);
    }
    tear_down(&f);
}

/* What is found run by run is what is marked; clearing leaves nothing. */
static void runs_are_found_one_after_another(void **state) {
    (void)state;
    fixture_t f;
    set_up(&f, 8201 * FI_GRANULE);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned k = 0; k < round % 20; k++) {
            mark_at_random(&f, false, k % 7 == 0 ? 300000 : 3000);
        }
        uint64_t first = 0, count = 0, at = 0;
        while (fi_marks_next(&f.a, at, &first, &count)) {
            assert_true(first >= at && count > 0 && first + count <= f.granules);
            for (; at < first; at++) {
                assert_false(f.in_a[at]);
            }
            for (; at < first + count; at++) {
                assert_true(f.in_a[at]);
            }
            assert_true(at == f.granules || !f.in_a[at]);
        }
        for (; at < f.granules; at++) {
            assert_false(f.in_a[at]);
        }
        if (round % 20 == 19) {
            fi_marks_clear(&f.a);
            assert_false(fi_marks_next(&f.a, 0, &first, &count));
            memset(f.in_a, 0, f.granules * sizeof *f.in_a);
        }
    }
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_marked_is_copied_and_nothing_else),
        cmocka_unit_test(all_of_it_may_be_marked),
        cmocka_unit_test(many_small_marks_in_a_large_region_are_copied),
        cmocka_unit_test(every_edge_of_a_range_is_exact),
        cmocka_unit_test(joining_adds_marks_and_takes_none_away),
        cmocka_unit_test(runs_are_found_one_after_another),
    };
    return cmocka_run_group_tests_name("marks", tests, NULL, NULL);
}

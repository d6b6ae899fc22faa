/* SPDX-License-Identifier: MIT
 *
 * rotation.c - which large block is taken next, as it is fast or slow to take what was released last.
 */
#include "unit.h"

#include <string.h>

#include "memory/pool.h"
#include "memory/rotation.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define QUOTA (64 * MIB)

/* A stream of blocks of a MiB, each of which takes `narrow` or `wide` ns. */
typedef struct stream {
    fi_rotation_t rotation;
    int64_t now;
    int64_t narrow;
    int64_t wide;
    uint64_t in_wide; /* bytes */
    unsigned shrunk;
} stream_t;

static stream_t stream(int64_t narrow, int64_t wide, uint64_t quota) {
    stream_t s = {.now = 1, .narrow = narrow, .wide = wide};
    fi_rotation_init(&s.rotation, quota);
    return s;
}

static void flow(stream_t *s, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += MIB) {
        s->now += s->rotation.wide ? s->wide : s->narrow;
        s->in_wide += s->rotation.wide ? MIB : 0;
        if (at % (7 * MIB) == 0)
            s->now += 300000; /* an interruption */
        if (fi_rotation_asks(&s->rotation, MIB))
            s->shrunk += fi_rotation_tell(&s->rotation, s->now);
    }
}

static void what_is_fast_stays_narrow(void **state) {
    (void)state;
    stream_t s = stream(30000, 10000, QUOTA);
    flow(&s, 100 * GIB);
    assert_int_equal(s.in_wide, 0);
}

static void caches_of_the_other_side_make_it_wide(void **state) {
    (void)state;
    stream_t s = stream(400000, 75000, QUOTA);
    flow(&s, 100 * GIB);
    assert_true(s.rotation.wide);
    assert_true(s.in_wide > 96 * GIB); /* looks at narrow take little of it */
    assert_int_equal(s.shrunk, 0);
}

static void who_is_slow_for_another_reason_tries_ever_more_seldom(void **state) {
    (void)state;
    stream_t s = stream(900000, 800000, QUOTA);
    flow(&s, 2 * GIB);
    assert_int_equal(s.shrunk, 1);
    flow(&s, 1000 * GIB);
    assert_in_range(s.shrunk, 3, 8);
    assert_true(s.in_wide < 4 * GIB);
}

static void it_becomes_narrow_again_when_the_sides_come_near(void **state) {
    (void)state;
    stream_t s = stream(400000, 75000, QUOTA);
    flow(&s, 4 * GIB);
    assert_true(s.rotation.wide);
    s.narrow = 25000;
    flow(&s, FI_ROTATION_REST + GIB);
    assert_false(s.rotation.wide);
    assert_int_equal(s.shrunk, 1);
    s.narrow = 400000;
    flow(&s, 2 * GIB);
    assert_true(s.rotation.wide); /* that was not in vain: it does not wait long */
}

static void a_small_quota_has_nothing_to_rotate(void **state) {
    (void)state;
    stream_t s = stream(400000, 75000, 16 * MIB);
    flow(&s, 10 * GIB);
    assert_int_equal(s.in_wide, 0);
}

/* ---- the pool ---- */

static void forget(void *owner, fi_segment_t *s) {
    (void)owner, (void)s;
}

static void open_pool(fi_pool_t *p) {
    const fi_pool_events_t events = {.removed = forget};
    fi_pool_init(p, QUOTA, &events);
}

static fi_block_t *take(fi_pool_t *p) {
    fi_block_t *b;
    assert_int_equal(fi_pool_alloc(p, MIB, &b), 0);
    return b;
}

static void a_narrow_pool_takes_turns_among_a_few_that_were_released_last(void **state) {
    (void)state;
    static fi_block_t *many[10];
    enum { FEW = FI_ROTATION_NARROW / MIB };
    fi_pool_t p;
    open_pool(&p);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < FEW; i++) {
            fi_block_t *b = take(&p);
            many[i] = round == 0 ? b : many[i];
            assert_ptr_equal(b, many[i]);
            fi_pool_unref(&p, b);
        }
    assert_int_equal(p.large_bytes, FI_ROTATION_NARROW);
    for (unsigned i = 0; i < 10; i++)
        many[i] = take(&p);
    for (unsigned i = 0; i < 10; i++)
        fi_pool_unref(&p, many[i]);
    for (unsigned i = 0; i < 20; i++) {
        fi_block_t *b = take(&p);
        assert_ptr_equal(b, many[10 - FEW - 1 + i % (FEW + 1)]);
        fi_pool_unref(&p, b);
    }
    fi_pool_done(&p);
}

static void a_wide_pool_grows_to_its_span_and_takes_what_was_released_first(void **state) {
    (void)state;
    static fi_block_t *order[64];
    fi_pool_t p;
    open_pool(&p);
    p.rotation.wide = true;
    unsigned count = (unsigned)(p.rotation.span / MIB);
    for (unsigned i = 0; i < count; i++) {
        order[i] = take(&p);
        for (unsigned k = 0; k < i; k++)
            assert_ptr_not_equal(order[k], order[i]);
        fi_pool_unref(&p, order[i]);
    }
    for (unsigned round = 0; round < 3 * count; round++) {
        fi_block_t *b = take(&p);
        assert_ptr_equal(b, order[round % count]);
        fi_pool_unref(&p, b);
    }
    assert_int_equal(p.large_bytes, count * MIB);
    assert_true(p.charged <= QUOTA);
    fi_pool_done(&p);
}

static void memory_of_a_trial_in_vain_goes_back(void **state) {
    (void)state;
    fi_pool_t p;
    open_pool(&p);
    p.rotation = (fi_rotation_t){
        .near = p.rotation.near, .span = p.rotation.span, .wide = true, .trying = true, .pace = 1, .best = UINT64_MAX};
    fi_block_t *kept = take(&p);
    for (unsigned i = 0; p.rotation.wide; i++) {
        assert_true(i < 1000);
        fi_pool_unref(&p, take(&p));
    }
    assert_true(p.large_bytes <= 2 * MIB); /* what is in use */
    memset(fi_block_data(kept), 1, MIB);
    fi_pool_unref(&p, kept);
    fi_pool_done(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_fast_stays_narrow),
        cmocka_unit_test(caches_of_the_other_side_make_it_wide),
        cmocka_unit_test(who_is_slow_for_another_reason_tries_ever_more_seldom),
        cmocka_unit_test(it_becomes_narrow_again_when_the_sides_come_near),
        cmocka_unit_test(a_small_quota_has_nothing_to_rotate),
        cmocka_unit_test(a_narrow_pool_takes_turns_among_a_few_that_were_released_last),
        cmocka_unit_test(a_wide_pool_grows_to_its_span_and_takes_what_was_released_first),
        cmocka_unit_test(memory_of_a_trial_in_vain_goes_back),
    };
    return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}

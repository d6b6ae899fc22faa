/* SPDX-License-Identifier: MIT
 *
 * window.c - how many messages lie ready for a receiver: what a sender makes of what it sees, with a clock of the
 * test's own.
 */
#include "unit.h"

#include "channel/window.h"

#define US 1000
#define MS 1000000

/* A receiver that is never without messages takes so many of them, one by one. */
static int64_t take_steadily(fi_window_t *w, int64_t now, int64_t service_ns, int count) {
    for (int i = 0; i < count; i++) {
        fi_window_note(w, now, w->most, w->most);
        now += service_ns;
        fi_window_note(w, now, w->most - 1, w->most - 1);
    }
    return now;
}

static void a_slow_receiver_finds_two_messages(void **state) {
    (void)state;
    fi_window_t w;

    fi_window_begin(&w, 0);
    assert_true(w.used);
    assert_int_equal(w.most, FI_WINDOW_FIRST);
    take_steadily(&w, MS, 3 * MS, 10);
    assert_int_equal(w.most, 2);
    assert_in_range(w.service_ns, 2900000, 3100000);
    assert_true(w.used && !w.open);
}

static void what_lies_ready_is_worth_a_millisecond(void **state) {
    (void)state;
    fi_window_t w;

    fi_window_begin(&w, 0);
    int64_t now = take_steadily(&w, MS, 50 * US, 20);
    assert_in_range(w.most, 18, 22);
    take_steadily(&w, now, 400 * US, 20);
    assert_int_equal(w.most, 2);
}

static void a_quick_one_gets_as_many_as_fit_after_some_doublings(void **state) {
    (void)state;
    fi_window_t w;
    int64_t now = MS;
    uint32_t taken = 0;

    fi_window_begin(&w, 0);
    for (int rounds = 0; w.used; rounds++) {
        assert_true(rounds < 10);
        uint32_t had = w.most;
        fi_window_note(&w, now, had, had);
        w.wanted = true;
        now += 100 * US; /* it slept before */
        fi_window_note(&w, now, 0, 0);
        taken += had;
        assert_true(w.most <= taken + 2);
    }
    assert_true(w.open);
}

static void one_that_nothing_waits_for_tells_no_more_than_an_upper_bound(void **state) {
    (void)state;
    fi_window_t w;
    int64_t now = MS;

    fi_window_begin(&w, 0);
    for (int i = 0; i < 100; i++) { /* a message in 10 ms, which may be done in no time */
        fi_window_note(&w, now, 1, 0);
        now += 10 * MS;
        fi_window_note(&w, now, 0, 0);
    }
    assert_int_equal(w.service_ns, 0);
    assert_int_equal(w.most, FI_WINDOW_FIRST);
    fi_window_note(&w, now, 1, 0);
    fi_window_note(&w, now + 2 * US, 0, 0); /* this one was quick, whatever else it did */
    assert_int_equal(w.service_ns, 2 * US);
}

static void one_that_did_not_run_for_a_while_loses_half(void **state) {
    (void)state;
    fi_window_t w;

    fi_window_begin(&w, 20 * US);
    assert_int_equal(w.most, 50);
    fi_window_note(&w, MS, 50, 0);
    fi_window_note(&w, 101 * MS, 49, 49);
    assert_int_equal(w.most, 25);
    assert_true(w.used);
}

static void what_is_known_before_counts(void **state) {
    (void)state;
    fi_window_t w;

    fi_window_begin(&w, 500);
    assert_true(w.open && !w.used && !fi_window_is_full(&w));
    fi_window_begin(&w, 200 * MS);
    assert_int_equal(w.most, 2);
    fi_window_note(&w, MS, 2, 0);
    assert_true(fi_window_is_full(&w));
    fi_window_note(&w, MS, 0, 5); /* nonsense is no progress */
    assert_int_equal(w.service_ns, 200 * MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_receiver_finds_two_messages),
        cmocka_unit_test(what_lies_ready_is_worth_a_millisecond),
        cmocka_unit_test(a_quick_one_gets_as_many_as_fit_after_some_doublings),
        cmocka_unit_test(one_that_nothing_waits_for_tells_no_more_than_an_upper_bound),
        cmocka_unit_test(one_that_did_not_run_for_a_while_loses_half),
        cmocka_unit_test(what_is_known_before_counts),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * Pleas for a turn (net/value_turn.h): what is one, and how long others may keep us waiting by them.
 */
#include "unit.h"

#include <stddef.h>
#include <string.h>

#include "net/value_turn.h"
#include "platform/clock.h"

#define SECOND INT64_C(1000000000)

static void only_a_plea_is_taken_for_one(void **state) {
    (void)state;
    char bytes[sizeof(fi_plea_t) + 1] = {1};
    fi_plea_t plea;

    assert_true(fi_turn_hear(bytes, sizeof plea, &plea));
    assert_false(fi_turn_hear(bytes, 0, &plea));
    assert_false(fi_turn_hear(bytes, sizeof plea - 1, &plea));
    assert_false(fi_turn_hear(bytes, sizeof plea + 1, &plea));
    bytes[0] = 2; /* a later version's */
    assert_false(fi_turn_hear(bytes, sizeof plea, &plea));
    bytes[0] = 1;
    memset(bytes + offsetof(fi_plea_t, name), 'x', sizeof plea.name); /* its name does not end */
    assert_false(fi_turn_hear(bytes, sizeof plea, &plea));
}

static void a_turn_is_a_second_long_at_most_and_is_not_cut_short_by_another(void **state) {
    (void)state;
    fi_value_t value = {.yield_until = 0};
    int64_t begin = fi_now_ns();

    fi_turn_yield(&value, INT64_MIN);
    assert_true(value.yield_until <= fi_now_ns());
    fi_turn_yield(&value, SECOND / 2);
    int64_t first = value.yield_until;
    assert_true(first >= begin + SECOND / 2 && first <= fi_now_ns() + SECOND / 2);
    fi_turn_yield(&value, 0);
    assert_true(value.yield_until == first);
    fi_turn_yield(&value, INT64_MAX);
    assert_true(value.yield_until > first && value.yield_until <= fi_now_ns() + SECOND);
}

static void pass_time(fi_value_t *value, int64_t ns) {
    value->yield_until -= ns;
    value->yield_asked -= ns;
}

static void who_asks_all_the_time_gets_half_of_it(void **state) {
    (void)state;
    const int64_t step = SECOND / 100;
    fi_value_t value = {.yield_until = 0};
    int64_t given = 0;

    for (int64_t passed = 0; passed < 20 * SECOND; passed += step) {
        fi_turn_yield(&value, SECOND);
        int64_t now = fi_now_ns();
        given += value.yield_until > now ? fi_earlier(value.yield_until - now, step) : 0;
        pass_time(&value, step);
    }
    assert_true(given >= 9 * SECOND && given <= 12 * SECOND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_plea_is_taken_for_one),
        cmocka_unit_test(a_turn_is_a_second_long_at_most_and_is_not_cut_short_by_another),
        cmocka_unit_test(who_asks_all_the_time_gets_half_of_it),
    };
    return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}

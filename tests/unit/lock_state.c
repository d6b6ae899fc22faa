/* SPDX-License-Identifier: MIT
 *
 * Synchronization objects of networked spaces as values (net/lock_state.h): single steps, then long random histories
 * against what must always hold, then messages that are not good.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "net/lock_state.h"

static fi_lease_who_t who(uint64_t node, uint32_t handle) {
    static uint64_t number;

    return (fi_lease_who_t){.node = node, .handle = handle, .number = ++number, .now = (int64_t)number, .tid = 1};
}

static int take(fi_lease_state_t *s, uint32_t role, uint64_t node, bool queue) {
    fi_lease_who_t w = who(node, 1);

    return fi_lease_take(s, role, &w, queue);
}

static fi_lease_state_t begin(uint32_t kind, uint32_t options, uint32_t count) {
    fi_lease_state_t s;

    fi_lease_init(&s, kind, options, count, 1000);
    assert_int_equal(fi_lease_add_opener(&s, 1), 0);
    assert_int_equal(fi_lease_add_opener(&s, 2), 0);
    return s;
}

static void who_comes_first_is_served_first(void **state) {
    (void)state;
    fi_lease_state_t s = begin('m', 0, 0);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 1, false), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 2, false), -EAGAIN);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 2, true), 0);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, true), 0);
    assert_int_equal(fi_lease_give(&s, 2, 1, false), -ESTALE);
    assert_int_equal(fi_lease_give(&s, 1, 1, false), 0);
    /* Reserved for the head of the line. */
    assert_int_equal(take(&s, FI_LEASE_WRITE, 1, false), -EAGAIN);
    assert_false(fi_lease_may_take(&s, FI_LEASE_WRITE, 3, 1));
    assert_true(fi_lease_may_take(&s, FI_LEASE_WRITE, 2, 1));
    fi_lease_unqueue(&s, 2, 1);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, true), FI_LEASE_TAKEN);
    assert_int_equal(s.head.entries, 1);
    fi_lease_free(&s);
}

static void a_death_is_told_until_it_is_repaired(void **state) {
    (void)state;
    fi_lease_state_t s = begin('m', 0, 0);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 1, false), FI_LEASE_TAKEN);
    fi_lease_evict_node(&s, 1);
    assert_false(fi_lease_has_opener(&s, 1));
    assert_int_equal(take(&s, FI_LEASE_WRITE, 2, false), FI_LEASE_TAKEN_FROM_DEAD);
    fi_lease_evict_node(&s, 2);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, false), FI_LEASE_TAKEN_FROM_DEAD);
    assert_int_equal(fi_lease_give(&s, 3, 1, false), 0);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, false), FI_LEASE_TAKEN);
    fi_lease_evict(&s, fi_lease_holding(&s, 3, 1), false); /* it did not know of it */
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, false), FI_LEASE_TAKEN);
    fi_lease_evict(&s, fi_lease_holding(&s, 3, 1), true);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 4, false), FI_LEASE_TAKEN_FROM_DEAD);
    assert_int_equal(fi_lease_give(&s, 4, 1, true), 0);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 4, true), -ENOTRECOVERABLE);
    fi_lease_free(&s);
}

static void readers_wait_behind_a_waiting_writer(void **state) {
    (void)state;
    fi_lease_state_t s = begin('w', 0, 0);
    assert_int_equal(take(&s, FI_LEASE_READ, 1, true), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_READ, 2, true), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, true), 0);
    assert_int_equal(take(&s, FI_LEASE_READ, 4, true), 0);
    fi_lease_evict_node(&s, 1); /* a reader's death is no more than that */
    assert_int_equal(fi_lease_give(&s, 2, 1, false), 0);
    assert_false(fi_lease_may_take(&s, FI_LEASE_READ, 4, 1));
    assert_int_equal(take(&s, FI_LEASE_WRITE, 3, true), FI_LEASE_TAKEN);
    fi_lease_evict_node(&s, 3);
    assert_int_equal(take(&s, FI_LEASE_READ, 4, true), FI_LEASE_TAKEN_FROM_DEAD);
    assert_int_equal(take(&s, FI_LEASE_READ, 5, true), FI_LEASE_TAKEN_FROM_DEAD);
    fi_lease_free(&s);
}

static void units_return_and_plain_ones_do_not(void **state) {
    (void)state;
    fi_lease_state_t s = begin('s', 1, 2);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 1, true), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 1, true), FI_LEASE_TAKEN);
    assert_int_equal(s.head.entries, 1);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 2, true), 0);
    assert_int_equal(fi_lease_give(&s, 1, 1, false), 0);
    assert_int_equal(fi_lease_free_units(&s), 1);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 2, true), FI_LEASE_TAKEN);
    fi_lease_evict_node(&s, 1);
    assert_int_equal(fi_lease_free_units(&s), 1);
    fi_lease_free(&s);
    s = begin('s', 0, 1);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 1, true), FI_LEASE_TAKEN);
    fi_lease_evict_node(&s, 1);
    assert_int_equal(fi_lease_free_units(&s), 0);
    assert_int_equal(fi_lease_add_unit(&s, 1), 0);
    assert_int_equal(fi_lease_add_unit(&s, 1), -EOVERFLOW);
    fi_lease_free(&s);
}

static bool count_one(const fi_lease_entry_t *e, void *arg) {
    (void)e;
    ++*(unsigned *)arg;
    return true;
}

static unsigned obstacles_of(const fi_lease_state_t *s, uint64_t node) {
    unsigned count = 0;

    fi_lease_each_obstacle(s, node, 1, count_one, &count);
    return count;
}

/* Who waits may not have seen it yet. Else a circle through the other holders would be taken for a deadlock. */
static void a_free_unit_has_nobody_in_its_way(void **state) {
    (void)state;
    fi_lease_state_t s = begin('s', 1, 2);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 1, true), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 1, true), FI_LEASE_TAKEN);
    assert_int_equal(take(&s, FI_LEASE_UNIT, 2, true), 0);
    assert_int_equal(obstacles_of(&s, 2), 1);
    assert_int_equal(fi_lease_give(&s, 1, 1, false), 0);
    assert_int_equal(obstacles_of(&s, 2), 0);
    fi_lease_free(&s);
}

static void rounds_end_complete_or_spoilt(void **state) {
    (void)state;
    fi_lease_state_t s = begin('b', 0, 2);
    fi_lease_who_t one = who(1, 1), two = who(2, 1);
    uint32_t first, second;
    assert_int_equal(fi_lease_arrive(&s, &one, true, &first), -EAGAIN);
    assert_int_equal(fi_lease_arrive(&s, &one, false, &first), 0);
    assert_int_equal(fi_lease_round(&s, first), 0);
    assert_int_equal(fi_lease_withdraw(&s, 1, 1, first), 0);
    assert_int_equal(fi_lease_arrive(&s, &two, false, &second), 0);
    assert_int_equal(fi_lease_arrive(&s, &one, false, &first), 1);
    assert_int_equal(fi_lease_round(&s, second), 1);
    assert_int_equal(fi_lease_arrive(&s, &one, false, &first), 0);
    fi_lease_evict_node(&s, 2); /* had it open, was not there */
    assert_int_equal(fi_lease_round(&s, first), -EOWNERDEAD);
    assert_int_equal(fi_lease_arrive(&s, &one, false, &second), -EOWNERDEAD);
    fi_lease_reset_barrier(&s);
    assert_int_equal(fi_lease_round(&s, first), -EOWNERDEAD);
    assert_int_equal(fi_lease_arrive(&s, &one, false, &second), 0);
    assert_int_equal(fi_lease_withdraw(&s, 1, 1, first), -EOWNERDEAD);
    fi_lease_free(&s);
}

static void the_last_takes_it_along(void **state) {
    (void)state;
    fi_lease_state_t s = begin('e', 1, 0);
    fi_lease_set_event(&s);
    assert_true(fi_lease_pass_event(&s));
    assert_false(fi_lease_pass_event(&s));
    fi_lease_part(&s, 1);
    assert_false(s.head.flags & FI_LEASE_GONE);
    fi_lease_part(&s, 2);
    assert_true(s.head.flags & FI_LEASE_GONE);
    fi_lease_free(&s);
}

static void operations_are_known_for_a_while(void **state) {
    (void)state;
    fi_lease_state_t s = begin('m', 0, 0);
    for (uint64_t i = 1; i <= 20; i++) {
        fi_lease_sign(&s, 7, i);
    }
    assert_true(fi_lease_is_signed(&s, 7, 20) && fi_lease_is_signed(&s, 7, 20 - FI_LEASE_RECENT + 1));
    assert_false(fi_lease_is_signed(&s, 7, 20 - FI_LEASE_RECENT) || fi_lease_is_signed(&s, 8, 20));
    fi_lease_free(&s);
}

/* ---- random histories ---- */

/* What must hold of a value, whoever has done what to it: the same that a message is checked for. */
static void check_value(const fi_lease_state_t *s, uint32_t units) {
    static char buffer[1 << 18];
    fi_lease_state_t again = {.changed = false};
    size_t len = fi_lease_encode(s, buffer, sizeof buffer);

    assert_true(len > 0);
    assert_int_equal(fi_lease_decode(&again, buffer, len), 0);
    assert_int_equal(again.head.entries, s->head.entries);
    assert_true(fi_lease_free_units(s) <= units);
    fi_lease_free(&again);
}

static void wander(uint32_t kind, uint32_t options, uint32_t units, uint64_t seed) {
    fi_lease_state_t s = begin(kind, options, units);
    static const uint32_t roles[] = {FI_LEASE_WRITE, FI_LEASE_READ};
    int held[9] = {0};

    for (unsigned i = 0; i < 4000; i++) {
        uint64_t node = 1 + unit_random(&seed) % 8;
        uint32_t role = kind == 's' ? FI_LEASE_UNIT : kind == 'm' ? FI_LEASE_WRITE : roles[unit_random(&seed) % 2];
        switch (unit_random(&seed) % 8) {
        case 0:
            fi_lease_unqueue(&s, node, 1);
            break;
        case 1:
            if (unit_random(&seed) % 8 == 0) {
                fi_lease_evict_node(&s, node);
                held[node] = 0;
                s.head.flags = 0; /* repaired */
            }
            break;
        case 2:
        case 3:
        case 4:
            assert_int_equal(fi_lease_give(&s, node, 1, false), held[node] ? 0 : -ESTALE);
            held[node] -= held[node] > 0;
            break;
        default:
            if ((kind == 's' || !held[node]) && take(&s, role, node, unit_random(&seed) % 2) > 0) {
                held[node]++;
            }
        }
        check_value(&s, units);
        for (uint64_t k = 1; k <= 8; k++) {
            assert_int_equal(fi_lease_holding(&s, k, 1) != NULL, held[k] != 0);
        }
    }
    fi_lease_free(&s);
}

static void values_stay_good(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        wander('m', 0, 0, seed);
        wander('w', 0, 0, seed);
        wander('s', 1, 3, seed);
    }
}

/* Bytes from the wire: taken, then still good after any step, or refused; never read beyond their end. */
static void garbage_is_refused(void **state) {
    (void)state;
    uint64_t seed = 42;
    fi_lease_state_t s = begin('w', 0, 0);
    fi_lease_state_t got = {.changed = false};
    for (uint64_t node = 1; node < 6; node++) {
        (void)take(&s, FI_LEASE_READ + 0u, node, true);
    }
    (void)take(&s, FI_LEASE_WRITE, 9, true);
    size_t len = fi_lease_bytes(&s);
    for (unsigned i = 0; i < 20000; i++) {
        size_t cut = unit_random(&seed) % 4 ? len : unit_random(&seed) % (len + 1);
        char *whole = malloc(len);
        assert_non_null(whole);
        assert_int_equal(fi_lease_encode(&s, whole, len), len);
        char *exact = realloc(whole, cut ? cut : 1); /* so that a sanitizer sees what is read beyond */
        assert_non_null(exact);
        for (unsigned k = 0; k < 4 && cut; k++) {
            exact[unit_random(&seed) % cut] = (char)unit_random(&seed);
        }
        if (fi_lease_decode(&got, exact, cut) == 0) {
            (void)take(&got, got.head.kind == 'w' ? FI_LEASE_READ : FI_LEASE_WRITE, 3, true);
            fi_lease_evict_node(&got, 2);
            assert_true(got.head.entries <= FI_LEASE_ENTRIES);
        }
        free(exact);
    }
    char other[256] = {2};
    assert_int_equal(fi_lease_decode(&got, other, sizeof other), -EPROTONOSUPPORT);
    assert_int_equal(fi_lease_decode(&got, other, 0), -EPROTO);
    fi_lease_free(&got);
    fi_lease_free(&s);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_first_is_served_first),
        cmocka_unit_test(a_death_is_told_until_it_is_repaired),
        cmocka_unit_test(readers_wait_behind_a_waiting_writer),
        cmocka_unit_test(units_return_and_plain_ones_do_not),
        cmocka_unit_test(a_free_unit_has_nobody_in_its_way),
        cmocka_unit_test(rounds_end_complete_or_spoilt),
        cmocka_unit_test(the_last_takes_it_along),
        cmocka_unit_test(operations_are_known_for_a_while),
        cmocka_unit_test(values_stay_good),
        cmocka_unit_test(garbage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * known.c - which messages of a durable channel were here lately.
 */
#include "unit.h"

#include <stdlib.h>

#include "net/known.h"

static fi_known_t *new_known(void) {
    fi_known_t *k = calloc(1, sizeof *k);
    assert_non_null(k);
    return k;
}

static fi_identity_t message(uint64_t origin, uint64_t number) {
    return (fi_identity_t){origin, number};
}

/* All number from 1 on; what tells them apart may be in any bit. */
static void senders_do_not_push_each_other_out(void **state) {
    const uint64_t senders[] = {1, 2, 1ull << 32, 1ull << 63, 0x1234567890abcdefull};
    const uint64_t each = FI_KNOWN / 5;
    fi_known_t *k = new_known();
    (void)state;
    for (uint64_t n = 1; n <= each; n++)
        for (unsigned i = 0; i < 5; i++)
            assert_false(fi_known_add(k, message(senders[i], n)));
    for (uint64_t n = 1; n <= each; n++)
        for (unsigned i = 0; i < 5; i++)
            assert_true(fi_known_add(k, message(senders[i], n)));
    free(k);
}

static void the_oldest_makes_room(void **state) {
    fi_known_t *k = new_known();
    (void)state;
    for (uint64_t n = 1; n <= 3 * FI_KNOWN; n++)
        assert_false(fi_known_add(k, message(7, n)));
    for (uint64_t n = 3 * FI_KNOWN; n > 2 * FI_KNOWN; n--)
        assert_true(fi_known_add(k, message(7, n)));
    assert_false(fi_known_add(k, message(7, 2 * FI_KNOWN)));
    assert_false(fi_known_add(k, message(7, 2 * FI_KNOWN + 1))); /* made room for that one */
    free(k);
}

static void what_is_forgotten_is_new_and_takes_nobodys_place(void **state) {
    fi_known_t *k = new_known();
    (void)state;
    assert_false(fi_known_add(k, message(0, 0)));
    assert_true(fi_known_add(k, message(0, 0)));
    for (uint64_t n = 1; n <= 100; n++) {
        assert_false(fi_known_add(k, message(9, n)));
        fi_known_forget(k, message(9, n));
        fi_known_forget(k, message(9, n));
        assert_false(fi_known_add(k, message(9, n)));
    }
    for (uint64_t n = 101; n < FI_KNOWN - 100; n++) /* over the places of those that were forgotten */
        assert_false(fi_known_add(k, message(9, n)));
    for (uint64_t n = 1; n < FI_KNOWN - 100; n++)
        assert_true(fi_known_add(k, message(9, n)));
    free(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(senders_do_not_push_each_other_out),
        cmocka_unit_test(the_oldest_makes_room),
        cmocka_unit_test(what_is_forgotten_is_new_and_takes_nobodys_place),
    };
    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}

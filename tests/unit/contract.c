/* SPDX-License-Identifier: MIT
 *
 * contract.c - names and contracts by themselves.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "node/contract.h"

static fi_contract_t contract_of(const ferry_contract_t *from) {
    fi_contract_t c;
    assert_int_equal(fi_contract_from_public(from, &c), 0);
    return c;
}

static bool says(const char *word) {
    return strstr(fi_error_text(), word) != NULL;
}

static void names_have_only_the_characters_that_are_allowed(void **state) {
    (void)state;
    for (int c = 1; c < 256; c++) {
        char name[] = {'a', (char)c, '\0'};
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '_' || c == '-';
        assert_int_equal(fi_channel_check(name), good ? 0 : -EINVAL);
    }
    assert_int_equal(fi_channel_check(""), -EINVAL);
    assert_int_equal(fi_channel_check(".a"), -EINVAL);
    assert_int_equal(fi_channel_check(NULL), -EINVAL);
    assert_int_equal(fi_name_check("space", "abc", 3), 0);
    assert_int_equal(fi_name_check("space", "abcd", 3), -EINVAL);
    assert_true(says("space") && says("abcd") && says("3"));
}

static void a_published_region_is_called_so_and_its_name_is_no_channels(void **state) {
    (void)state;
    ferry_contract_t a = {.type_name = "pose", .type_size = 8}, b = {.type_size = 24}, c = {.type_name = "image"};
    fi_contract_t mine = contract_of(&a), theirs = contract_of(&b);
    assert_int_equal(fi_channel_check("@map"), -EINVAL);
    assert_int_equal(fi_contract_merge(&mine, &theirs, "@map", "this writer", "reader 3"), -EPROTOTYPE);
    assert_true(says("published region \"map\": this writer says bytes 8, but reader 3 says bytes 24"));
    theirs = contract_of(&c);
    assert_int_equal(fi_contract_merge(&mine, &theirs, "@map", "this writer", "reader 3"), -EPROTOTYPE);
    assert_true(says("published region \"map\": this writer says type \"pose\", but reader 3 says \"image\""));
}

static void no_opinion_agrees_with_everything(void **state) {
    (void)state;
    ferry_contract_t full = {.type_name = "pose", .type_size = 8, .max_size = 9, .hold = 1, .timestamps = 1};
    fi_contract_t none = contract_of(NULL), all = contract_of(&full), merged = none;
    assert_int_equal(fi_contract_digest(&none), 0);
    assert_int_not_equal(fi_contract_digest(&all), 0);
    assert_int_equal(fi_contract_merge(&merged, &all, "c", "mine", "theirs"), 0);
    assert_true(fi_contract_equal(&merged, &all));
    assert_int_equal(fi_contract_merge(&merged, &none, "c", "mine", "theirs"), 0);
    assert_true(fi_contract_equal(&merged, &all));
}

static void opinions_about_different_fields_add_up(void **state) {
    (void)state;
    ferry_contract_t name = {.type_name = "pose"}, size = {.type_size = 8},
                     both = {.type_name = "pose", .type_size = 8};
    fi_contract_t merged = contract_of(&name), other = contract_of(&size), want = contract_of(&both);
    assert_int_equal(fi_contract_merge(&merged, &other, "c", "mine", "theirs"), 0);
    assert_true(fi_contract_equal(&merged, &want));
    assert_int_equal(fi_contract_digest(&merged), fi_contract_digest(&want));
}

static void every_field_that_differs_is_refused_and_both_sides_are_shown(void **state) {
    (void)state;
    static const struct {
        ferry_contract_t a, b;
        const char *words[2];
    } cases[] = {
        {{.type_name = "pose"}, {.type_name = "image"}, {"pose", "image"}},
        {{.type_size = 8}, {.type_size = 24}, {"8", "24"}},
        {{.max_size = 100}, {.max_size = 200}, {"100", "200"}},
        {{.hold = FERRY_HOLD_BACK}, {.hold = FERRY_HOLD_NEVER}, {"back", "never"}},
        {{.type_size = 300}, {.max_size = 200}, {"300", "200"}},
        {{.max_size = 200}, {.type_size = 300}, {"300", "200"}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fi_contract_t a = contract_of(&cases[i].a), b = contract_of(&cases[i].b), before = a;
        assert_int_equal(fi_contract_merge(&a, &b, "chan", "this sender", "that receiver"), -EPROTOTYPE);
        assert_true(fi_contract_equal(&a, &before));
        assert_true(says("chan") && says("this sender") && says("that receiver"));
        assert_true(says(cases[i].words[0]) && says(cases[i].words[1]));
        assert_int_not_equal(fi_contract_digest(&a), fi_contract_digest(&b));
    }
}

static void type_names_are_short_and_printable(void **state) {
    (void)state;
    char name[66];
    memset(name, 'x', sizeof name);
    name[64] = '\0';
    assert_false(fi_contract_is_type_name(name));
    name[63] = '\0';
    assert_true(fi_contract_is_type_name(name));
    assert_true(fi_contract_is_type_name(""));
    assert_false(fi_contract_is_type_name("two words"));
    assert_false(fi_contract_is_type_name("tab\t"));
    assert_false(fi_contract_is_type_name("caf\xc3\xa9"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_only_the_characters_that_are_allowed),
        cmocka_unit_test(a_published_region_is_called_so_and_its_name_is_no_channels),
        cmocka_unit_test(no_opinion_agrees_with_everything),
        cmocka_unit_test(opinions_about_different_fields_add_up),
        cmocka_unit_test(every_field_that_differs_is_refused_and_both_sides_are_shown),
        cmocka_unit_test(type_names_are_short_and_printable),
    };
    return cmocka_run_group_tests_name("contract", tests, NULL, NULL);
}

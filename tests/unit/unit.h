/* SPDX-License-Identifier: MIT
 *
 * unit.h - what the tests of internals share: cmocka, and a repeatable source of numbers.
 */
#ifndef FERRY_TESTS_UNIT_H
#define FERRY_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/** The next number of a repeatable sequence (xorshift); `*state` is not 0. */
static inline uint64_t unit_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif

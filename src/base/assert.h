/* SPDX-License-Identifier: MIT
 *
 * base/assert.h - what the program believes about itself.
 *
 * fi_assert is for our own mistakes only.  What a user or a peer may get wrong is checked and answered with an error.
 */
#ifndef FI_BASE_ASSERT_H
#define FI_BASE_ASSERT_H

#include <stdbool.h>

static inline bool fi_likely(bool condition) {
    return __builtin_expect(condition, 1) != 0;
}

static inline bool fi_unlikely(bool condition) {
    return __builtin_expect(condition, 0) != 0;
}

#ifndef NDEBUG

/** Writes the broken belief to standard error and aborts. Debug builds only. */
void fi_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn, cold));

#define fi_assert(condition) (fi_likely(condition) ? (void)0 : fi_assert_failed(#condition, __FILE__, __LINE__))

#else

/* sizeof keeps the names in it "used" and evaluates nothing. */
#define fi_assert(condition) ((void)sizeof(!(condition)))

#endif

#endif

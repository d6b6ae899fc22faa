/* SPDX-License-Identifier: MIT
 *
 * interleave_tests.h - the scenarios, by object.
 */
#ifndef FERRY_TESTS_INTERLEAVE_TESTS_H
#define FERRY_TESTS_INTERLEAVE_TESTS_H

#include "interleave.h"

typedef struct group {
    const struct CMUnitTest *tests;
    size_t count;
} group_t;

#define GROUP(tests) ((group_t){(tests), sizeof(tests) / sizeof *(tests)})

group_t mutex_group(void);
group_t rwlock_group(void);
group_t semaphore_group(void);
group_t event_group(void);
group_t barrier_group(void);
group_t buffer_group(void);
group_t cell_group(void);

#endif

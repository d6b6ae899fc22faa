/* SPDX-License-Identifier: MIT
 *
 * mounts.h - mounts that nobody else sees: a full disk, for example.
 */
#ifndef FERRY_TESTS_MOUNTS_H
#define FERRY_TESTS_MOUNTS_H

#include <stdbool.h>

/** Gives this process, a child of the test's, a mount namespace of its own, in which it may mount. False: not to be
 * had. */
bool have_own_mounts(void);

#endif

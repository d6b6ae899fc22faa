/* SPDX-License-Identifier: MIT
 *
 * groups.h - a control group with a limit of memory, whose processes the kernel kills when they need more: see
 * cgroups(7). It takes root, as a rule, and the memory controller, of the first version or of the second.
 *
 * There is one group at a time, of the test program's own. However a test ends, it does not stay.
 */
#ifndef FERRY_TESTS_GROUPS_H
#define FERRY_TESTS_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

/** For main(), before the tests. NULL, or a sentence that says why no such group can be made here. */
const char *groups_begin(void);
/** Makes the group; its processes may have so much memory, and no swap space beside it. */
void group_make(uint64_t bytes);
/** Removes it, if it is there; its processes have ended. */
void group_remove(void);
/** For a child of the test's, before it opens a node: goes into the group, to be killed rather than others. */
void group_enter(void);
/** The same, to be spared: the kernel kills nobody of the group, and refuses memory. False: not to be had here. */
bool group_enter_spared(void);
/** How many processes the kernel has killed because of this limit. */
unsigned group_kills(void);

#endif

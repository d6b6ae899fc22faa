/* SPDX-License-Identifier: MIT
 *
 * heap_hooks.h - included before the heap's sources, and before the test that kills it: every store to the region is a
 * call of the test, which may "kill" the process before it, by a jump out of everything.
 *
 * What counts for those who come after is which stores have happened, so this tries all that a kill can do.
 */
#ifndef FERRY_TESTS_HEAP_HOOKS_H
#define FERRY_TESTS_HEAP_HOOKS_H

#include "base/atomic.h"

void heap_hook_store(uint64_t *p, uint64_t v);

#define fi_store_relaxed64(p, v) heap_hook_store((p), (v))
#define fi_store_release64(p, v) heap_hook_store((p), (v))

/* What the hook does not know must not be used unnoticed. */
#pragma GCC poison fi_store_relaxed32 fi_store_release32 fi_store_relaxed8 fi_store_release8 __atomic_store_n

#endif

/* SPDX-License-Identifier: MIT
 *
 * interleave_hooks.h - included before the sources of src/sync: turns what they do to shared memory, to the futex and
 * to the clock into calls of the model.  Each call is a point at which another thread may go on.
 */
#ifndef FERRY_TESTS_INTERLEAVE_HOOKS_H
#define FERRY_TESTS_INTERLEAVE_HOOKS_H

#include "base/atomic.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/futex.h"

#include <sched.h>
#include <string.h>

/* `where` is the function that does it, for the schedule that is printed. */
uint32_t model_load32(const uint32_t *p, const char *where);
uint64_t model_load64(const uint64_t *p, const char *where);
void model_store32(uint32_t *p, uint32_t v, const char *where);
void model_store64(uint64_t *p, uint64_t v, const char *where);
bool model_cas32(uint32_t *p, uint32_t *expected, uint32_t desired, const char *where);
bool model_cas64(uint64_t *p, uint64_t *expected, uint64_t desired, const char *where);
uint32_t model_add32(uint32_t *p, uint32_t n, const char *where);
uint64_t model_exchange64(uint64_t *p, uint64_t v, const char *where);
uint64_t model_or64(uint64_t *p, uint64_t v, const char *where);
uint64_t model_and64(uint64_t *p, uint64_t v, const char *where);
void model_copy(void *to, const void *from, size_t bytes, const char *where);
int model_futex_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline, const char *where);
int model_futex_wake(uint32_t *word, uint32_t bits, int count, const char *where);
int64_t model_now(const char *where);
int64_t model_deadline(int64_t timeout, const char *where);
uint64_t model_ticks(void);

#define fi_load_relaxed32(p) model_load32((p), __func__)
#define fi_load_acquire32(p) model_load32((p), __func__)
#define fi_load_relaxed64(p) model_load64((p), __func__)
#define fi_load_acquire64(p) model_load64((p), __func__)
#define fi_store_relaxed32(p, v) model_store32((p), (v), __func__)
#define fi_store_release32(p, v) model_store32((p), (v), __func__)
#define fi_store_relaxed64(p, v) model_store64((p), (v), __func__)
#define fi_store_release64(p, v) model_store64((p), (v), __func__)
#define fi_cas32(p, expected, desired) model_cas32((p), (expected), (desired), __func__)
#define fi_cas64(p, expected, desired) model_cas64((p), (expected), (desired), __func__)
#define fi_add32(p, n) model_add32((p), (n), __func__)
#define fi_sub32(p, n) model_add32((p), 0 - (uint32_t)(n), __func__)
#define fi_exchange64(p, v) model_exchange64((p), (v), __func__)
#define __atomic_fetch_or(p, v, order) model_or64((p), (v), __func__)
#define __atomic_fetch_and(p, v, order) model_and64((p), (v), __func__)
#define memcpy(to, from, bytes) model_copy((to), (from), (bytes), __func__)
#define fi_futex_wait_shared(word, expected, bits, deadline)                                                           \
    model_futex_wait((word), (expected), (bits), (deadline), __func__)
#define fi_futex_wake_shared(word, bits, count) model_futex_wake((word), (bits), (count), __func__)
#define fi_now_ns() model_now(__func__)
#define fi_deadline(timeout) model_deadline((timeout), __func__)
#define fi_ticks() model_ticks()
#define fi_ticks_per_us() UINT64_C(1)
#define fi_cpu_relax() ((void)0)
#define sched_yield() ((void)0)
#define fi_sleep_until(deadline) ((void)(deadline))
#define FI_CELL_BY_WORDS 1 /* store/cell.h: bytes are memory, too */

/* What the model does not know must not be used unnoticed. */
#pragma GCC poison fi_load_relaxed8 fi_load_acquire8 fi_store_relaxed8 fi_store_release8 fi_exchange32 fi_add64
#pragma GCC poison fi_add_relaxed64 fi_load_relaxed_ptr fi_load_acquire_ptr fi_store_release_ptr fi_futex_wait
#pragma GCC poison fi_futex_wake __atomic_load_n __atomic_store_n __atomic_exchange_n __atomic_compare_exchange_n
#pragma GCC poison __atomic_fetch_add __atomic_fetch_sub __atomic_fetch_xor __atomic_add_fetch __atomic_sub_fetch

#endif

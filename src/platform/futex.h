/* SPDX-License-Identifier: MIT
 *
 * platform/futex.h - sleeping on a word.
 *
 * Whoever maps a word that processes share, even only for reading, can move its sleepers elsewhere.  So the shared kind
 * is for synchronization objects alone, whose holders could keep each other waiting anyway; elsewhere, sleep on a bell.
 */
#ifndef FI_PLATFORM_FUTEX_H
#define FI_PLATFORM_FUTEX_H

#include <stdint.h>

/**
 * For threads of this process. Sleeps while `*word` is `expected`, until woken or `deadline`. 0: woken, perhaps for
 * nothing; -EAGAIN: the word differs; -ETIMEDOUT; -EINTR. Look at the word again in every case.
 */
int fi_futex_wait(const uint32_t *word, uint32_t expected, int64_t deadline);

/** Wakes up to `count` sleepers; returns how many. Never blocks; async-signal-safe. */
int fi_futex_wake(uint32_t *word, int count);

/**
 * The same two for a word in memory that processes share; no cancellation point. Only those sleepers are woken, in
 * their order, that gave a bit which is in `bits`, too.
 */
int fi_futex_wait_shared(uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline);
int fi_futex_wake_shared(uint32_t *word, uint32_t bits, int count);

#endif

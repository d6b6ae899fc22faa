/* SPDX-License-Identifier: MIT
 *
 * platform/futex.h - sleeping on a word that only threads of this process use.
 *
 * There is no version for words that processes share, on purpose: whoever maps such a word, even only for reading, can
 * move its sleepers elsewhere.  Between processes, sleep on a bell.
 */
#ifndef FI_PLATFORM_FUTEX_H
#define FI_PLATFORM_FUTEX_H

#include <stdint.h>

/**
 * Sleeps while `*word` is `expected`, until woken or `deadline`. 0: woken, perhaps for nothing; -EAGAIN: the word
 * differs; -ETIMEDOUT; -EINTR. Look at the word again in every case.
 */
int fi_futex_wait(const uint32_t *word, uint32_t expected, int64_t deadline);

/** Wakes up to `count` sleepers; returns how many. Never blocks; async-signal-safe. */
int fi_futex_wake(uint32_t *word, int count);

#endif

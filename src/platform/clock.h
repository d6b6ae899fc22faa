/* SPDX-License-Identifier: MIT
 *
 * platform/clock.h - time.
 *
 * Nanoseconds are CLOCK_MONOTONIC, so they compare across processes of one machine.  A deadline is such a time, and
 * FI_NEVER is the deadline that does not come.  Ticks are the processor's own counter: for spins, which must not pay
 * for a clock call per turn; they never leave the thread that read them.  No call here blocks.
 */
#ifndef FI_PLATFORM_CLOCK_H
#define FI_PLATFORM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define FI_NEVER INT64_MAX

/** Nanoseconds of CLOCK_MONOTONIC. */
int64_t fi_now_ns(void);

/** The moment `timeout` nanoseconds from now; FI_NEVER when it is negative or beyond what can be counted. */
int64_t fi_deadline(int64_t timeout);

/** Nanoseconds left until `deadline`, never negative; FI_NEVER for FI_NEVER. */
int64_t fi_time_left(int64_t deadline);

/** The same as the timeout of what is left to do: 1 at least, since 0 would be FERRY_NOW, which has another error. */
int64_t fi_timeout_left(int64_t deadline);

/** `ns` as a timespec; negative counts as 0. */
struct timespec fi_timespec(int64_t ns);

/** Sleeps until `deadline` or a signal. */
void fi_sleep_until(int64_t deadline);

/** The same within microseconds, for half the price: the processor's counter since a look at the clock a moment ago. */
int64_t fi_now_about(void);

/** Ticks per microsecond, at least 1. The first call of a process may spin for up to 100 microseconds. */
uint64_t fi_ticks_per_us(void);

/** The processor's counter: x86-64 and arm64 read it directly (10 ns), others take the clock. */
static inline uint64_t fi_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
#else
    return (uint64_t)fi_now_ns();
#endif
}

/* Of two times or spans in ns. */
static inline int64_t fi_earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t fi_later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * clock.h - time inside measured loops.
 *
 * A round trip between two cores takes about 100 ns, and reading CLOCK_MONOTONIC a good part of that. Round trips are
 * therefore measured in ticks of the processor's own counter, read once per trip (the end of one is the beginning of
 * the next), and in the same way for the limit as for Ferry.
 */
#ifndef FERRY_BENCH_CLOCK_H
#define FERRY_BENCH_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

static inline int64_t bench_now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint64_t bench_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)bench_now_ns();
#endif
}

/* Ticks per nanosecond, measured against CLOCK_MONOTONIC; takes 20 ms. */
double bench_ticks_per_ns(void);

/* A series of round trips. */
typedef struct bench_trips {
    uint32_t *sample; /* ticks of each; a trip of over 4 G ticks counts as that */
    size_t count;
    size_t room;
    uint64_t last;  /* when the trip before ended */
    uint64_t until; /* when the series shall end */
} bench_trips_t;

static inline void bench_trips_begin(bench_trips_t *t, uint64_t ticks) {
    t->last = bench_ticks();
    t->until = t->last + ticks;
}

/* Notes that a trip has ended; false when it was the last one. */
static inline bool bench_trips_add(bench_trips_t *t) {
    uint64_t now = bench_ticks();
    uint64_t took = now - t->last;

    t->sample[t->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    t->last = now;
    return now < t->until && t->count < t->room;
}

/* How long calls took that can wait; every one is timed. */
typedef struct bench_waits {
    uint64_t longest; /* ticks, of all calls */
    uint64_t calls;
    uint64_t long_ticks; /* a call that takes more is a long one */
    uint64_t long_calls;
    uint32_t *sample; /* ticks of each 64th, as in bench_trips */
    size_t count;
    size_t room;
} bench_waits_t;

static inline void bench_waits_add(bench_waits_t *w, uint64_t ticks) {
    if (ticks > w->longest)
        w->longest = ticks;
    if (ticks > w->long_ticks)
        w->long_calls++;
    if ((++w->calls & 63) == 0 && w->count < w->room)
        w->sample[w->count++] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

#endif

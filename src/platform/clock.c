/* SPDX-License-Identifier: MIT
 *
 * platform/clock.c - see clock.h.
 */
#include "platform/clock.h"

#include "base/assert.h"
#include "base/atomic.h"
#include "platform/cpu.h"

#define NS_PER_S INT64_C(1000000000)

int64_t fi_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* A moment on both clocks, not long ago. */
typedef struct fi_moment {
    int64_t ns;
    uint64_t ticks;
    uint64_t ns_per_tick; /* times 2^24 */
} fi_moment_t;

static __thread fi_moment_t near_moment __attribute__((tls_model("initial-exec")));

#define NEAR_NS 1000000u
#define NEAR_US 2u

int64_t fi_now_about(void) {
    fi_moment_t *m = &near_moment;
    uint64_t gone = ((fi_ticks() - m->ticks) * m->ns_per_tick) >> 24;

    if (fi_likely(gone < NEAR_NS && m->ns_per_tick != 0)) {
        return m->ns + (int64_t)gone;
    }
    uint64_t before = fi_ticks();
    int64_t now = fi_now_ns();
    bool is_one_moment =
        fi_ticks() - before < NEAR_US * fi_ticks_per_us(); /* nobody else had the processor in between */
    *m = (fi_moment_t){now, before, is_one_moment ? (UINT64_C(1000) << 24) / fi_ticks_per_us() : 0};
    return now;
}

int64_t fi_deadline(int64_t timeout) {
    int64_t deadline;
    if (timeout < 0 || __builtin_add_overflow(fi_now_ns(), timeout, &deadline))
        return FI_NEVER;
    return deadline;
}

int64_t fi_time_left(int64_t deadline) {
    if (deadline == FI_NEVER)
        return FI_NEVER;
    int64_t now = fi_now_ns();
    return deadline > now ? deadline - now : 0;
}

int64_t fi_timeout_left(int64_t deadline) {
    int64_t left = fi_time_left(deadline);
    return left > 0 ? left : 1;
}

struct timespec fi_timespec(int64_t ns) {
    if (ns < 0)
        ns = 0;
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

void fi_sleep_until(int64_t deadline) {
    struct timespec until = fi_timespec(deadline);
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

#if defined(__aarch64__)

static uint64_t measure(void) {
    uint64_t hertz;
    __asm__("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz / 1000000;
}

#elif defined(__x86_64__)

/* One moment on both clocks: of three tries, the one that was interrupted least. */
static void both_clocks(int64_t *ns, uint64_t *ticks) {
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        uint64_t before = fi_ticks();
        int64_t now = fi_now_ns();
        uint64_t width = fi_ticks() - before;
        if (width < narrowest) {
            narrowest = width;
            *ns = now;
            *ticks = before + width / 2;
        }
    }
}

/* 60 microseconds: at 30 ns of error on either side this is right to 0.1 %, plenty for the length of a spin. */
static uint64_t measure(void) {
    int64_t from_ns = 0, to_ns = 0;
    uint64_t from = 0, to = 0;
    both_clocks(&from_ns, &from);
    while (fi_now_ns() - from_ns < 60000)
        fi_cpu_relax();
    both_clocks(&to_ns, &to);
    return (to - from) * 1000 / (uint64_t)(to_ns - from_ns);
}

#else

static uint64_t measure(void) {
    return 1000;
} /* fi_ticks() is the clock itself */

#endif

uint64_t fi_ticks_per_us(void) {
    static uint64_t known;
    uint64_t rate = fi_load_relaxed64(&known); /* the number is all there is to see: no order needed */
    if (rate != 0)
        return rate;
    uint64_t measured = measure();
    if (measured == 0)
        measured = 1;
    /* Two threads may both measure; the first result stays, so that the rate is one constant for everybody. */
    uint64_t expected = 0;
    return fi_cas64(&known, &expected, measured) ? measured : expected;
}

/* SPDX-License-Identifier: MIT
 *
 * platform/cpu.h - the processor: hints for spinning, size of a cache line, number of cores.
 */
#ifndef FI_PLATFORM_CPU_H
#define FI_PLATFORM_CPU_H

#include <stdbool.h>

/** Bytes that travel together between cores. Layouts are built on it; a peer with another value is refused. */
#define FI_CACHE_LINE 64

/** Tells the core that this is a spin: it yields to its sibling thread and saves power. */
static inline void fi_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

/** Starts to bring the line at `p` into the cache, to read it. Never faults. */
static inline void fi_prefetch(const void *p) {
    __builtin_prefetch(p, 0, 3);
}

/** The same, to write it: takes it away from other cores now, not when the store waits for it. Never faults. */
static inline void fi_prefetch_to_write(const void *p) {
#if defined(__x86_64__)
    /* __builtin_prefetch would only ask to read, since not every processor counts as having this; there it does
     * nothing. */
    __asm__ __volatile__("prefetchw %0" ::"m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1, 3);
#endif
}

/** Can lines be put out of the caches one by one, without waiting? Found out when the library is loaded. */
extern bool fi_cpu_flushes;

/** Puts the line at `p`, which may be read-only, out of all caches; does not wait for it. Only where fi_cpu_flushes. */
static inline void fi_flush_line(const void *p) {
#if defined(__x86_64__)
    __asm__ __volatile__("clflushopt %0" ::"m"(*(const char *)p));
#else
    (void)p;
#endif
}

/**
 * Number of cores this process may run on, at least 1. Asked of the kernel once per process; a mask that is changed
 * later is not noticed, which costs speed, never correctness.
 */
int fi_cpu_count(void);

/** Number of cores that the machine has, whoever may run on which; at least 1. */
int fi_cpu_online(void);

#endif

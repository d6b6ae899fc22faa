/* SPDX-License-Identifier: MIT
 *
 * platform/cpu.c - see cpu.h.
 */
#include "platform/cpu.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "base/atomic.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

bool fi_cpu_flushes;

#if defined(__x86_64__)

#define LEAF_FEATURES 7
#define EBX_CLFLUSHOPT (1u << 23)

__attribute__((constructor)) static void look_at_cpu(void) {
    unsigned eax, ebx, ecx, edx;
    fi_cpu_flushes = __get_cpuid_count(LEAF_FEATURES, 0, &eax, &ebx, &ecx, &edx) && (ebx & EBX_CLFLUSHOPT) != 0;
}

#endif

/* The kernel refuses (EINVAL) a mask smaller than its own, so ask with larger ones: up to 65536 cores. */
static int count_allowed(void) {
    for (int cores = 1024; cores <= 65536; cores *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cores);
        if (set == NULL)
            return 0;
        size_t bytes = CPU_ALLOC_SIZE((size_t)cores);
        int failed = sched_getaffinity(0, bytes, set);
        int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (!failed || errno != EINVAL)
            return count;
    }
    return 0;
}

int fi_cpu_online(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int fi_cpu_count(void) {
    static uint32_t known;
    uint32_t count = fi_load_relaxed32(&known);
    if (count != 0)
        return (int)count;
    int allowed = count_allowed();
    if (allowed <= 0)
        allowed = fi_cpu_online();
    fi_store_relaxed32(&known, (uint32_t)allowed);
    return allowed;
}

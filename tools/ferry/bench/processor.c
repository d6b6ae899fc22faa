/* SPDX-License-Identifier: MIT
 *
 * Processors: which ones sides are pinned to, and a load that needs nothing else.
 */
#include <sched.h>
#include <stdio.h>

#include "bench/clock.h"
#include "bench/sides.h"

/* Whether the processor is the first one of its core: two on one core share what is being measured. */
static bool is_first_of_core(int cpu) {
    char path[96];
    int first = cpu;

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%d", &first) != 1)
            first = cpu;
        fclose(file);
    }
    return first == cpu;
}

unsigned bench_processors(int *cpus, unsigned max) {
    cpu_set_t allowed;
    unsigned n = 0;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    for (int first = 1; first >= 0; first--) {
        for (int cpu = 0; cpu < CPU_SETSIZE && n < max; cpu++) {
            if (CPU_ISSET((size_t)cpu, &allowed) && is_first_of_core(cpu) == (first == 1))
                cpus[n++] = cpu;
        }
    }
    return n;
}

double bench_compute(int64_t ns) {
    int64_t from = bench_now_ns();
    int64_t now = from;
    uint64_t steps = 0;
    uint64_t x = (uint64_t)from;

    while (now - from < ns) {
        for (int i = 0; i < 4096; i++) {
            x = x * UINT64_C(6364136223846793005) + 1;
            __asm__ volatile("" : "+r"(x)); /* the arithmetic must take place */
        }
        steps += 4096;
        now = bench_now_ns();
    }
    return (double)steps / (double)(now - from);
}

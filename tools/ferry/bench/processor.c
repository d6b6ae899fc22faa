/* SPDX-License-Identifier: MIT
 *
 * Processors: which ones sides are pinned to, and a load that needs nothing else.
 */
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

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

bool bench_is_shared_core(const bench_settings_t *settings) {
    int cpus[2];

    return settings->pin == BENCH_PIN_TOGETHER || bench_processors(cpus, 2) < 2;
}

double bench_cpu_ms(void) {
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

static int64_t thread_cpu_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double bench_compute(int64_t ns) {
    int64_t from_ns = bench_now_ns();
    int64_t cpu_ns = thread_cpu_ns();
    int64_t now_ns = from_ns;
    uint64_t x = (uint64_t)from_ns;

    while (now_ns - from_ns < ns) {
        for (int i = 0; i < 4096; i++) {
            x = x * UINT64_C(6364136223846793005) + 1;
            __asm__ volatile("" : "+r"(x)); /* the arithmetic must take place */
        }
        now_ns = bench_now_ns();
    }
    return (double)(thread_cpu_ns() - cpu_ns) / (double)(now_ns - from_ns);
}

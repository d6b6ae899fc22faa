/* SPDX-License-Identifier: MIT
 *
 * crew.c - what members use, be they processes or threads.
 */
#include "crew.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

int crew_meet(ferry_t *node, unsigned members) {
    ferry_barrier_t *barrier;
    if (ferry_barrier_open(node, "all-are-here", members, NULL, &barrier) < 0) {
        return crew_failed("opening the barrier");
    }
    if (ferry_barrier_wait(barrier, CREW_PATIENCE) < 0) {
        return crew_failed("waiting for the others");
    }
    return ferry_barrier_close(barrier) < 0 ? crew_failed("closing the barrier") : 0;
}

int crew_lock(ferry_mutex_t *mutex, const char *what) {
    int r = ferry_mutex_lock(mutex, CREW_PATIENCE);
    if (r == FERRY_OWNER_DIED) {
        ferry_mutex_unlock(mutex); /* not repaired: so nobody else takes it, either */
        fprintf(stderr, "%s: %s: whoever held the lock has died\n", program_invocation_short_name, what);
        return -1;
    }
    return r == 0 || r == -EDEADLK ? r : crew_failed(what);
}

void *crew_memory(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "%s: there is no shared memory of %zu bytes: %s\n", program_invocation_short_name, size,
                strerror(errno));
        exit(1);
    }
    return memory;
}

int crew_failed(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, ferry_last_error());
    return -1;
}

unsigned crew_number(const char *option, const char *text, unsigned least, unsigned most) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n < least || n > most) {
        fprintf(stderr, "%s: --%s is \"%s\", but must be a number from %u to %u\n", program_invocation_short_name,
                option, text, least, most);
        exit(2);
    }
    return (unsigned)n;
}

int64_t crew_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void crew_nap(int64_t nanoseconds) {
    struct timespec t = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
    nanosleep(&t, NULL);
}

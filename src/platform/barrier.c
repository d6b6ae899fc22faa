/* SPDX-License-Identifier: MIT
 *
 * platform/barrier.c - see barrier.h, and membarrier(2).
 */
#include "platform/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool fi_barrier_asymmetric;

static bool membarrier(int command) {
    int saved = errno;
    bool done = syscall(SYS_membarrier, command, 0U, 0) == 0;
    errno = saved;
    return done;
}

static bool is_wanted(void) {
    const char *refused = getenv("FERRY_NO_MEMBARRIER");
    return !FI_TSAN && (refused == NULL || strcmp(refused, "1") != 0);
}

/*
 * As a constructor it runs before main and before any thread of ours.  When the library is loaded late, by a program
 * that has threads already, registration is slow but right, and threads that could read the flag come after dlopen.
 */
__attribute__((constructor)) void fi_barrier_register(void) {
    static bool tried;
    if (tried)
        return;
    tried = true;
    fi_barrier_asymmetric = is_wanted() && membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) &&
                            membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

/*
 * A refusal after a successful registration is either a system-call filter or the kernel out of memory for a core mask;
 * MEMBARRIER_CMD_GLOBAL needs no mask, takes milliseconds, and reaches everybody.
 */
static bool heavy(int command) {
    fi_fence_seq_cst();
    if (!fi_barrier_asymmetric)
        return true;
    return membarrier(command) || membarrier(MEMBARRIER_CMD_GLOBAL);
}

bool fi_barrier_heavy_global(void) {
    return heavy(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

bool fi_barrier_heavy_private(void) {
    return heavy(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

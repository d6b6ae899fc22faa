/* SPDX-License-Identifier: MIT
 *
 * platform/barrier.h - a memory barrier whose whole price is paid by the side that goes to sleep.
 *
 * Two sides each store one word and then load the other's; at least one must see the other's store.  The common side
 * (a sender: data, then the sleeper's flag) runs fi_barrier_light(), which costs nothing; the rare side (the sleeper:
 * flag, then data) runs fi_barrier_heavy_*(), which makes the kernel run a full barrier on every core that runs a
 * registered process.  Whatever the light side did before that point is visible to the heavy side, and whatever it does
 * after sees the heavy side's store.  Membarrier(2) is the idea's source.
 *
 * Between processes both must take part: a light side that relies on the kernel needs a heavy side that calls it.  A
 * process tells its peers fi_barrier_is_asymmetric() in the handshake, and a sender uses
 * fi_barrier_light_for(what the peer told).  The heavy side calls heavy whatever its peers do: it is a full fence too.
 *
 * Registration happens when the library is loaded, since it is cheap only while the process has one thread (20
 * microseconds, else 11 milliseconds). A forked child inherits it; exec drops it and loads the library again.
 *
 * It does not happen when the kernel refuses, when FERRY_NO_MEMBARRIER=1 is in the environment at load time, or under
 * ThreadSanitizer; every barrier is then an ordinary full fence.
 */
#ifndef FI_PLATFORM_BARRIER_H
#define FI_PLATFORM_BARRIER_H

#include <stdbool.h>

#include "base/atomic.h"

/** Written once, before main. Read it through fi_barrier_is_asymmetric(). */
extern bool fi_barrier_asymmetric;

/** Registers this process; runs by itself at load time, and calling it again does nothing. */
void fi_barrier_register(void);

/** True: this process is registered, and its heavy barriers reach every registered process. Constant after load. */
static inline bool fi_barrier_is_asymmetric(void) {
    return fi_barrier_asymmetric;
}

/** The common side, towards a peer that told `peer_is_asymmetric`. */
static inline void fi_barrier_light_for(bool peer_is_asymmetric) {
    if (fi_barrier_asymmetric && peer_is_asymmetric)
        fi_compiler_barrier();
    else
        fi_fence_seq_cst();
}

/** The common side, towards threads of this process. */
static inline void fi_barrier_light(void) {
    fi_barrier_light_for(true);
}

/**
 * The rare side, towards every process (0.4 to 10 microseconds; does not sleep).
 * Returns false when the kernel, which had agreed at load time, now refuses (a system-call filter installed
 * meanwhile): the order then holds only towards sides that fence, so the caller must not sleep without a time limit.
 */
bool fi_barrier_heavy_global(void);

/** The rare side, towards threads of this process only: disturbs fewer cores. Returns as above. */
bool fi_barrier_heavy_private(void);

#endif

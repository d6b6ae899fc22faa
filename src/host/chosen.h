/* SPDX-License-Identifier: MIT
 *
 * host/chosen.h - what this process has chosen from its host's profile (current.h), for those who act on it.
 *
 * Single words, read where a thread waits already or where a sender looks at its books; a change is seen some time
 * later, which is early enough.
 */
#ifndef FI_HOST_CHOSEN_H
#define FI_HOST_CHOSEN_H

#include <stdint.h>

/** How long a thread spins before it sleeps, where nothing more is known: ns. */
uint64_t fi_host_spin(void);

/** Bytes up to which a message goes into the ring. */
uint32_t fi_host_inline(void);

/** Changes both. */
void fi_host_choose(uint64_t spin_ns, uint32_t inline_max);

#endif

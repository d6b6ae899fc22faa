/* SPDX-License-Identifier: MIT
 *
 * deadlock.h - a wait that goes on for long, and whether it can end.
 */
#ifndef FI_DEADLOCK_H
#define FI_DEADLOCK_H

#include "lock/lock.h"

/* fi_waiter_t.stalled: 0, or -EDEADLK with the circle in words. */
int fi_lock_stalled(fi_waiter_t *w, int64_t since, int64_t deadline);
/* The wait is over. */
void fi_lock_waited(fi_lock_t *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * host/current.h - the profile that this process uses.
 */
#ifndef FI_HOST_CURRENT_H
#define FI_HOST_CURRENT_H

#include "ferry/route.h"

/** Uses this profile from now on. Any thread. */
void fi_host_use(const ferry_host_t *host);

/** The one in use. Any thread. */
void fi_host_current(ferry_host_t *host);

#endif

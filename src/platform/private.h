/* SPDX-License-Identifier: MIT
 *
 * platform/private.h - memory of this process alone, to be read and written at random: every page is there from the
 * start, in huge pages where the kernel has them, and a forked child does not have it.
 */
#ifndef FI_PLATFORM_PRIVATE_H
#define FI_PLATFORM_PRIVATE_H

#include <stddef.h>

/**
 * Makes `bytes` bytes (a multiple of the page size, not 0) of zero. Takes about 0.1 microseconds per KiB.
 * Error: -ENOMEM.
 */
int fi_private_new(size_t bytes, void **map);

/** NULL is allowed. */
void fi_private_free(void *map, size_t bytes);

#endif

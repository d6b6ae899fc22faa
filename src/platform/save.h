/* SPDX-License-Identifier: MIT
 *
 * platform/save.h - a file that appears whole or not at all.
 */
#ifndef FI_PLATFORM_SAVE_H
#define FI_PLATFORM_SAVE_H

#include <stddef.h>

/**
 * Writes `bytes` bytes to the file `path`, in place of the file that had that name: first to a file of another name beside
 * it, which then takes the name. When this returns 0, both the bytes and the name are on the disk. Blocks for as long as that takes.
 *
 * Errors, after which nothing is left behind: -EINVAL no name of a file, or that of a link, device or FIFO; -EFBIG over ulimit -f; those of open(2),
 * write(2), fsync(2), rename(2).
 */
int fi_save_file(const char *path, const void *data, size_t bytes);

#endif

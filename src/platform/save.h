/* SPDX-License-Identifier: MIT
 *
 * platform/save.h - a file that appears whole or not at all.
 */
#ifndef FI_PLATFORM_SAVE_H
#define FI_PLATFORM_SAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

/** May this process make a file so large (ulimit -f)? Beyond that limit the kernel would end it with SIGXFSZ. */
static inline bool fi_may_make_file(size_t bytes) {
    struct rlimit size;
    return getrlimit(RLIMIT_FSIZE, &size) != 0 || size.rlim_cur >= bytes;
}

/**
 * Writes `bytes` bytes to the file `path`, in place of the file that had that name: first to a file of another name
 * beside it, which then takes the name. When this returns 0, both the bytes and the name are on the disk. Blocks for as
 * long as that takes.
 *
 * Errors, after which nothing is left behind: -EINVAL no name of a file, or that of a link, device or FIFO; -EFBIG over
 * ulimit -f; those of open(2), write(2), fsync(2), rename(2).
 */
int fi_save_file(const char *path, const void *data, size_t bytes);

#endif

/* SPDX-License-Identifier: MIT
 *
 * platform/private.c - see private.h, and madvise(2).
 */
#include "platform/private.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/error.h"
#include "platform/memfd.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Kernels that do not know how to make pages present do so at the first access. 0 or a positive errno value. */
static int populate(void *map, size_t bytes) {
    int rc;
    do
        rc = madvise(map, bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    while (rc == EINTR || rc == EAGAIN);
    return rc == EINVAL ? 0 : rc;
}

int fi_private_new(size_t bytes, void **map) {
    fi_assert(bytes != 0 && bytes % fi_page_size() == 0);
    if (!fi_memory_is_available(bytes))
        return fi_fail(-ENOMEM, "%zu bytes are more than this machine has free", bytes);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return fi_fail_errno(ENOMEM, "cannot map %zu bytes", bytes);
    (void)madvise(at, bytes, MADV_DONTFORK);
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* a wish */
    if (populate(at, bytes) != 0) {
        munmap(at, bytes);
        return fi_fail_errno(ENOMEM, "cannot allocate %zu bytes; free memory, or raise the limit of this control group",
                             bytes);
    }
    *map = at;
    return 0;
}

void fi_private_free(void *map, size_t bytes) {
    if (map != NULL)
        (void)munmap(map, bytes);
}

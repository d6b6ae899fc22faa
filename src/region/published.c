/* SPDX-License-Identifier: MIT
 *
 * What writers, readers and views of a published region have in common: what is asked of their handles and options.
 */
#include "region/published.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"

#define NAME_MAX_BYTES 100

int fi_published_check(const void *handle, uint32_t magic, const char *role) {
    const fi_published_t *head = handle;

    if (!head || head->magic != magic) {
        return fi_fail(-EBADF,
                       !head                               ? "the handle of a region's %s is NULL: open one first"
                       : head->magic == FI_PUBLISHED_ENDED ? "this %s of a region was closed or released before"
                                                           : "this handle is not that of a region's open %s",
                       role);
    }
    if (head->generation != fi_process_generation) {
        return fi_fail(-ECHILD,
                       "this %s of a region belongs to the parent process: after fork(), open your own node with "
                       "ferry_open",
                       role);
    }
    return 0;
}

int fi_published_enter(fi_end_t *e, uint32_t magic, const char *role, const char *name) {
    int r = fi_end_enter(e, magic);

    switch (r) {
    case -EBUSY:
        return fi_fail(r, "another thread is inside a call on this %s of the region \"%s\": open one for each thread",
                       role, name);
    case -EOWNERDEAD:
        return fi_fail(r,
                       "the thread that used this %s of the region \"%s\" last has ended without closing it, so it "
                       "counts as dead: close it and open a new one",
                       role, name);
    default:
        return r;
    }
}

int fi_published_options(const char *name, const char *type_name, ferry_wait_t wait, char channel[104]) {
    int r = fi_name_check("region", name, NAME_MAX_BYTES);

    if (r < 0) {
        return r;
    }
    if (type_name && !fi_contract_is_type_name(type_name)) {
        return fi_fail(-EINVAL,
                       "the region \"%s\": \"%.80s\" is no name of a type: it has up to 63 printable characters, no "
                       "spaces",
                       name, type_name);
    }
    if ((unsigned)wait > FERRY_WAIT_BLOCK) {
        return fi_fail(-EINVAL, "the region \"%s\": %d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK",
                       name, (int)wait);
    }
    snprintf(channel, 104, "%c%s", FI_PUBLISHED, name);
    return 0;
}

int fi_published_not_open(int r, const char *role, const char *name) {
    switch (r) {
    case -EEXIST:
    case -EPROTOTYPE:
        return r; /* these have their sentence */
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down: no %s of the region \"%s\" can be opened on it", role, name);
    default:
        return fi_fail(r, "no %s of the region \"%s\" can be opened: %s", role, name, fi_error_text());
    }
}

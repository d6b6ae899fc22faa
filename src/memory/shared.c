/* SPDX-License-Identifier: MIT */
#include "memory/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/error.h"
#include "platform/cancel.h"
#include "platform/memfd.h"

static fi_shared_t *shared_alloc(void) {
    fi_shared_t *s = calloc(1, sizeof *s);
    if (s) {
        s->refs = 1;
        s->fd = -1;
        s->companion = -1;
    }
    return s;
}

typedef int create_fn(const char *label, size_t bytes, int *fd, void **map);

static int shared_new(const char *label, size_t bytes, create_fn *create, fi_shared_t **out) {
    fi_shared_t *s = shared_alloc();
    if (!s) {
        return fi_fail(-ENOMEM, "no memory to describe a shared mapping of %zu bytes", bytes);
    }
    s->own = true;
    s->bytes = fi_align_up(bytes, fi_page_size());
    int r = create(label, s->bytes, &s->fd, &s->map);
    if (r < 0) {
        free(s);
        return r;
    }
    s->inode = fi_memfd_inode(s->fd);
    *out = s;
    return 0;
}

static int shared_new_uncancelled(const char *label, size_t bytes, create_fn *create, fi_shared_t **out) {
    int cancel = fi_cancel_off();

    int r = shared_new(label, bytes, create, out);
    fi_cancel_restore(cancel);
    return r;
}

int fi_shared_new(const char *label, size_t bytes, fi_shared_t **out) {
    return shared_new_uncancelled(label, bytes, fi_memfd_create, out);
}

int fi_shared_new_for_all(const char *label, size_t bytes, fi_shared_t **out) {
    return shared_new_uncancelled(label, bytes, fi_memfd_create_shared, out);
}

int fi_shared_accept_for_all(int fd, size_t min_bytes, size_t max_bytes, fi_shared_t **out) {
    fi_shared_t *s = shared_alloc();
    if (!s) {
        close(fd);
        return fi_fail(-ENOMEM, "no memory to describe a shared object");
    }
    int r = fi_memfd_map_shared(fd, min_bytes, max_bytes, &s->map, &s->bytes);
    if (r < 0) {
        close(fd);
        free(s);
        return r;
    }
    s->fd = fd;
    *out = s;
    return 0;
}

int fi_shared_accept(int fd, size_t min_bytes, size_t max_bytes, fi_shared_t **out) {
    const void *map;
    fi_shared_t *s = shared_alloc();
    if (!s) {
        close(fd);
        return fi_fail(-ENOMEM, "no memory to describe a peer's mapping");
    }
    int r = fi_memfd_map_peer(fd, min_bytes, max_bytes, &map, &s->bytes, &s->inode);
    close(fd);
    if (r < 0) {
        free(s);
        return r;
    }
    s->map = (void *)(uintptr_t)map;
    *out = s;
    return 0;
}

int fi_shared_reach(fi_shared_t *s, size_t bytes) {
    void *map;

    if (bytes <= s->bytes) {
        return 0;
    }
    int r = fi_memfd_map_reach(s->fd, bytes, true, &map);
    if (r == 0) {
        fi_memfd_unmap(s->map, s->bytes);
        s->map = map;
        s->bytes = bytes;
    }
    return r;
}

fi_shared_t *fi_shared_ref(fi_shared_t *s) {
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void fi_shared_unref(fi_shared_t *s) {
    /* acq_rel: whoever unmaps has seen everybody's last look. */
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    int cancel = fi_cancel_off();
    fi_memfd_unmap(s->map, s->bytes);
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->companion >= 0) {
        close(s->companion);
    }
    free(s);
    fi_cancel_restore(cancel);
}

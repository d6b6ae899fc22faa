/* SPDX-License-Identifier: MIT */
#include "region/buffer.h"

#include "api/check.h"

#define BUFFER FI_BUFFER_HANDLE_MAGIC

int ferry_buffer_open(ferry_region_t *region, ferry_ref_t *place, uint32_t slots, uint64_t item_bytes,
                      const ferry_sync_options_t *options, ferry_buffer_t **buffer) {
    int r = fi_check_output(buffer, "ferry_buffer_open");

    return r < 0
               ? r
               : fi_region_buffer_open(region, place, slots, item_bytes, options, buffer, __builtin_return_address(0));
}

int ferry_buffer_close(ferry_buffer_t *buffer) {
    return fi_lock_close(fi_lock_of(buffer), BUFFER, NULL);
}

/* ---- one call ---- */

__attribute__((noinline)) static int enter_closely(fi_lock_t *l) {
    return fi_lock_enter(l, BUFFER);
}

/* Should this thread end in the middle, it counts as dead: so it holds something from the start. */
static inline int enter(ferry_buffer_t *buffer, const void *where) {
    fi_lock_t *l = fi_lock_of(buffer);

    if (fi_lock_is_mine(l, BUFFER)) {
        fi_store_relaxed32(&l->handle.busy, 1);
    } else {
        int r = enter_closely(l);
        if (r < 0) {
            return r;
        }
    }
    fi_set_held(&l->handle, 1);
    l->what = FERRY_FOR_BUFFER;
    l->where = where;
    return 0;
}

static inline int leave(ferry_buffer_t *buffer, int r) {
    fi_lock_t *l = &buffer->base;

    fi_set_held(&l->handle, 0);
    if (fi_unlikely(l->blocked.number != 0)) {
        return fi_lock_leave(l, r);
    }
    fi_store_release32(&l->handle.busy, 0);
    return r;
}

/* ---- how it ended, in words ---- */

static int damaged(const ferry_buffer_t *buffer) {
    return fi_fail(-EPROTO,
                   "the buffer \"%s\" is damaged: somebody has written nonsense into its memory; free it and make "
                   "another one",
                   fi_lock_name(&buffer->base));
}

static int timed_out(const ferry_buffer_t *buffer, const char *what, int64_t timeout) {
    uint64_t owner = fi_load_acquire64(&buffer->buffer.shared->lock.word);
    const char *name = fi_lock_name(&buffer->base);

    if (timeout != FERRY_NOW) {
        return fi_fail(-ETIMEDOUT, "there was no %s in the buffer \"%s\" within %.3f ms", what, name,
                       (double)timeout / 1e6);
    }
    return fi_fail(-ETIMEDOUT,
                   "somebody has been in the middle of a step on the buffer \"%s\" for longer than %.1f s (node "
                   "..%08x, handle %u): is it stopped?",
                   name, (double)buffer->user.patience / 1e9, fi_owner_node(owner), fi_owner_handle(owner));
}

static int explain(const ferry_buffer_t *buffer, int r, const char *what, int64_t timeout) {
    const char *name = fi_lock_name(&buffer->base);

    switch (r) {
    case -ETIMEDOUT:
        return timed_out(buffer, what, timeout);
    case -EPIPE:
        return fi_fail(r, "the buffer \"%s\" was ended: there will be no more %s", name, what);
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for %s in the buffer \"%s\"", what, name);
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down while %s in the buffer \"%s\" was waited for", what, name);
    case -EDEADLK:
        return fi_fail(-EBUSY, "another thread is inside a call on this handle on \"%s\": open one for each thread",
                       name);
    case -EPROTO:
        return damaged(buffer);
    default:
        return r;
    }
}

/* ---- putting ---- */

__attribute__((noinline)) static int explain_put(const ferry_buffer_t *buffer, int r, size_t len, int64_t timeout) {
    switch (r) {
    case -EAGAIN:
        return fi_fail_static(r, "the buffer is full now");
    case -EMSGSIZE:
        return fi_fail(r, "items of the buffer \"%s\" have up to %llu bytes, not %zu", fi_lock_name(&buffer->base),
                       (unsigned long long)buffer->buffer.item_bytes, len);
    default:
        return explain(buffer, r, "room", timeout);
    }
}

int ferry_buffer_put(ferry_buffer_t *buffer, const void *data, size_t len, int64_t timeout) {
    int r = enter(buffer, __builtin_return_address(0));
    if (fi_unlikely(r < 0)) {
        return r;
    }
    if (fi_unlikely(!data && len > 0)) {
        return leave(buffer, fi_fail(-EINVAL, "ferry_buffer_put was given NULL for %zu bytes", len));
    }
    r = fi_buffer_put(&buffer->buffer, &buffer->user, data, len, timeout);
    return leave(buffer, fi_likely(r == 0) ? 0 : explain_put(buffer, r, len, timeout));
}

/* ---- getting ---- */

__attribute__((noinline)) static int explain_get(const ferry_buffer_t *buffer, int r, size_t cap, uint64_t size,
                                                 int64_t timeout) {
    switch (r) {
    case -EAGAIN:
        return fi_fail_static(r, "the buffer is empty now");
    case -EMSGSIZE:
        return fi_fail(r, "the next item in the buffer \"%s\" has %llu bytes, the place for it %zu: it stays there",
                       fi_lock_name(&buffer->base), (unsigned long long)size, cap);
    default:
        return explain(buffer, r, "item", timeout);
    }
}

int ferry_buffer_get(ferry_buffer_t *buffer, void *buf, size_t cap, int64_t timeout, size_t *len) {
    uint64_t size = 0;

    int r = enter(buffer, __builtin_return_address(0));
    if (fi_unlikely(r < 0)) {
        return r;
    }
    if (fi_unlikely(!buf && cap > 0)) {
        return leave(buffer, fi_fail(-EINVAL, "ferry_buffer_get needs a place for %zu bytes, not NULL", cap));
    }
    r = fi_buffer_get(&buffer->buffer, &buffer->user, buf, cap, &size, timeout);
    if (len && (r == 0 || r == -EMSGSIZE)) {
        *len = size;
    }
    return leave(buffer, fi_likely(r == 0) ? 0 : explain_get(buffer, r, cap, size, timeout));
}

/* ---- the rest ---- */

int ferry_buffer_end(ferry_buffer_t *buffer) {
    int r = enter(buffer, __builtin_return_address(0));
    if (r < 0) {
        return r;
    }
    r = fi_buffer_end(&buffer->buffer, &buffer->user);
    return leave(buffer, r == 0 ? 0 : explain(buffer, r, "room", FERRY_NOW));
}

/* Looking does not wait, so any thread may do it through any handle. */
int64_t ferry_buffer_count(ferry_buffer_t *buffer) {
    int r = fi_lock_check(fi_lock_of(buffer), BUFFER);
    if (r < 0) {
        return r;
    }
    int64_t count = fi_buffer_count(&buffer->buffer);
    return count < 0 ? damaged(buffer) : count;
}

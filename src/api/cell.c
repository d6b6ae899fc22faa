/* SPDX-License-Identifier: MIT */
#include "region/cell.h"
#include "api/check.h"
#include "net/cell.h"

/*
 * A cell of a space that spans machines has a magic number of its own (net/cell.h): the quick ways below are not its,
 * and each of the others looks for it first.
 */
static inline fi_net_cell_t *far(const ferry_cell_t *cell) {
    return fi_net_cell_of(cell);
}

/* ---- opening ---- */

static int check_numbers(const ferry_cell_options_t *o, const char *name) {
    if (o->max_bytes > FERRY_MAX_CELL_BYTES) {
        return fi_fail(-EINVAL, "the cell \"%s\": a value can have up to %llu bytes, not %llu", name,
                       (unsigned long long)FERRY_MAX_CELL_BYTES, (unsigned long long)o->max_bytes);
    }
    if (o->count > FERRY_MAX_CELLS) {
        return fi_fail(-EINVAL, "the cell \"%s\": there can be up to %u under one name, not %u", name, FERRY_MAX_CELLS,
                       o->count);
    }
    if (fi_cell_memory(o->count, o->max_bytes) > FI_CELL_MEMORY_MAX) {
        return fi_fail(-EINVAL,
                       "the cell \"%s\": %u cells of %llu bytes would take more than 1 TiB of memory: make fewer or "
                       "smaller ones",
                       name, o->count, (unsigned long long)o->max_bytes);
    }
    return 0;
}

static int check_options(const ferry_cell_options_t *o, const char *name) {
    int r = o ? fi_check_size(o->size, sizeof *o, "ferry_cell_options_t") : 0;
    if (!o || r < 0) {
        return r;
    }
    if (o->must_exist > 1) {
        return fi_fail(-EINVAL, "`must_exist` is 0 or 1, not %u", o->must_exist);
    }
    return check_numbers(o, name ? name : "");
}

int ferry_cell_open(ferry_t *node, const char *name, const ferry_cell_options_t *options, ferry_cell_t **cell) {
    int r = fi_check_output(cell, "ferry_cell_open");

    r = r == 0 ? fi_check_node(node) : r;
    r = r == 0 ? check_options(options, name) : r;
    if (r == 0 && node->net) {
        return FI_WHOLE(fi_net_cell_open(node->net, name, options, cell));
    }
    return r == 0 ? fi_cell_open(node, name, options, cell) : r;
}

int ferry_cell_close(ferry_cell_t *cell) {
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_close(far(cell)));
    }
    return fi_lock_close(fi_lock_of(cell), FI_CELL_MAGIC, NULL);
}

/* ---- what all calls check ---- */

static inline bool is_open(const ferry_cell_t *cell) {
    return fi_likely(cell && cell->base.handle.magic == FI_CELL_MAGIC &&
                     !fi_node_is_forked(cell->base.handle.own.node));
}

static int check_index(const ferry_cell_t *cell, uint32_t index) {
    if (index < cell->cells.count) {
        return 0;
    }
    return fi_fail(-ERANGE, "the cell \"%s\" has no index %u: there are %u under this name, from 0",
                   fi_lock_name(&cell->base), index, cell->cells.count);
}

static int check(const ferry_cell_t *cell, uint32_t index) {
    int r = fi_lock_check(fi_lock_of(cell), FI_CELL_MAGIC);

    return r < 0 ? r : check_index(cell, index);
}

/* Begins a call that waits, or puts. */
static int enter(ferry_cell_t *cell, uint32_t index, const void *where) {
    fi_lock_t *l = fi_lock_of(cell);
    int r = fi_lock_enter(l, FI_CELL_MAGIC);
    if (r < 0) {
        return r;
    }
    r = check_index(cell, index);
    if (r < 0) {
        return fi_lock_leave(l, r);
    }
    fi_store_relaxed32(&cell->at, index);
    l->what = FERRY_FOR_CELL;
    l->where = where;
    return 0;
}

static int damaged(const ferry_cell_t *cell) {
    return fi_fail(-EPROTO,
                   "the cell \"%s\" is damaged: somebody has written nonsense into its memory; close it "
                   "everywhere to begin anew",
                   fi_lock_name(&cell->base));
}

/* How a wait for one's turn ended. */
static int no_turn(const ferry_cell_t *cell, uint32_t index, int r) {
    uint64_t owner = fi_load_acquire64(&cell->cells.turn[index].mutex.word);
    const char *name = fi_lock_name(&cell->base);

    switch (r) {
    case -EPROTO:
        return damaged(cell);
    case -ETIMEDOUT:
        return fi_fail(r,
                       "somebody has been in the middle of a put on the cell \"%s\" for longer than %.3f ms (node "
                       "..%08x, handle %u): is it stopped?",
                       name, (double)cell->patience / 1e6, fi_owner_node(owner), fi_owner_handle(owner));
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for the turn to put into the cell \"%s\"", name);
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down while the turn to put into the cell \"%s\" was waited for", name);
    default:
        return r;
    }
}

/* How a wait for a newer version ended. */
static int no_newer(const ferry_cell_t *cell, int r, int64_t timeout) {
    const char *name = fi_lock_name(&cell->base);

    switch (r) {
    case -EAGAIN:
        return fi_fail_static(r, "nothing newer was put now");
    case -ETIMEDOUT:
        return fi_fail(r, "nothing newer was put into the cell \"%s\" within %.3f ms", name, (double)timeout / 1e6);
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for a newer version in the cell \"%s\"", name);
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down while a newer version in the cell \"%s\" was waited for", name);
    default:
        return r;
    }
}

/* ---- getting ---- */

static int explain_get(const ferry_cell_t *cell, uint32_t index, int r, size_t cap, uint64_t len) {
    switch (r) {
    case -ENODATA:
        return fi_fail_static(r, "no value was put into this cell yet");
    case -EMSGSIZE:
        return fi_fail(r, "the value in the cell \"%s\" has %llu bytes, the place for it %zu",
                       fi_lock_name(&cell->base), (unsigned long long)len, cap);
    default:
        return no_turn(cell, index, r);
    }
}

/* Where a value shall go. */
typedef struct place {
    void *buf;
    size_t cap;
    size_t *len;       /* NULL: nobody wants to know */
    uint64_t *version; /* likewise */
} place_t;

static inline int got(const place_t *p, const fi_cell_look_t *l) {
    if (p->len) {
        *p->len = l->len;
    }
    if (p->version) {
        *p->version = l->version;
    }
    return 0;
}

__attribute__((noinline)) static int get_closely(ferry_cell_t *cell, uint32_t index, const place_t *p) {
    fi_cell_look_t l;

    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_get(far(cell), index, p->buf, p->cap, p->len, p->version));
    }
    int r = check(cell, index);
    if (r == 0 && !p->buf && p->cap > 0) {
        r = fi_fail(-EINVAL, "ferry_cell_get needs a place for %zu bytes, not NULL", p->cap);
    }
    if (r < 0) {
        return r;
    }
    fi_waiter_t who = {.policy = FERRY_WAIT_ADAPTIVE, .grace = -1}; /* not the handle's: many threads may get by it */
    fi_wait_t w = fi_wait_begin(&who, cell->patience);
    r = fi_cell_get(&cell->cells, index, cell->base.handle.me, &w, p->buf, p->cap, &l);
    if (r == 0) {
        return got(p, &l);
    }
    if (r == -EMSGSIZE && p->len) {
        *p->len = l.len;
    }
    return explain_get(cell, index, r, p->cap, l.len);
}

static inline bool got_quickly(const ferry_cell_t *cell, uint32_t index, bool few, const place_t *p,
                               fi_cell_look_t *l) {
    return fi_likely(is_open(cell) && (index == 0 || index < cell->cells.count) && p->buf &&
                     fi_cell_get_quick(&cell->cells, index, few, p->buf, p->cap, l));
}

/* More bytes than are copied without a call. */
__attribute__((noinline)) static int get_many(ferry_cell_t *cell, uint32_t index, void *buf, size_t cap, size_t *len,
                                              uint64_t *version) {
    place_t p = {buf, cap, len, version};
    fi_cell_look_t l;

    return got_quickly(cell, index, false, &p, &l) ? got(&p, &l) : get_closely(cell, index, &p);
}

static inline int get(ferry_cell_t *cell, uint32_t index, void *buf, size_t cap, size_t *len, uint64_t *version) {
    place_t p = {buf, cap, len, version};
    fi_cell_look_t l;

    return got_quickly(cell, index, true, &p, &l) ? got(&p, &l) : get_many(cell, index, buf, cap, len, version);
}

int ferry_cell_get(ferry_cell_t *cell, void *buf, size_t cap, size_t *len, uint64_t *version) {
    return get(cell, 0, buf, cap, len, version);
}

int ferry_cell_get_at(ferry_cell_t *cell, uint32_t index, void *buf, size_t cap, size_t *len, uint64_t *version) {
    return get(cell, index, buf, cap, len, version);
}

int ferry_cell_version(ferry_cell_t *cell, uint32_t index, uint64_t *version) {
    int r = fi_check_output(version, "ferry_cell_version");

    if (r == 0 && far(cell)) {
        return FI_WHOLE(fi_net_cell_version(far(cell), index, version));
    }
    r = r == 0 ? check(cell, index) : r;
    if (r == 0) {
        *version = fi_cell_version(&cell->cells, index);
    }
    return r;
}

/* ---- putting ---- */

/* What is to be put, and where. */
typedef struct put {
    uint32_t index;
    const uint64_t *only_if; /* it is still this version; NULL: in any case */
    uint64_t token;          /* no larger one was used; 0: does not matter */
    const void *data;
    size_t len;
    uint64_t *version; /* NULL: nobody wants to know */
} put_t;

static inline bool is_stale(const ferry_cell_t *cell, const put_t *p) {
    return p->only_if && fi_cell_version(&cell->cells, p->index) != *p->only_if;
}

static int stale(void) {
    return fi_fail_static(-ESTALE, "the cell has another version: get it again, and try with that");
}

__attribute__((noinline)) static int too_old(const ferry_cell_t *cell, const put_t *p) {
    return fi_fail(-ESTALE, "the cell \"%s\" was put into with a token newer than %llu", fi_lock_name(&cell->base),
                   (unsigned long long)p->token);
}

/* It is our turn. */
static inline int put_in_turn(ferry_cell_t *cell, const put_t *p) {
    uint64_t version = 0;
    bool is_new = !is_stale(cell, p) && (p->token == 0 || fi_cell_raise_fence(&cell->cells, p->index, p->token));

    if (is_new) {
        version = fi_cell_publish(&cell->cells, p->index, p->data, p->len);
    }
    fi_cell_end_turn(&cell->cells, p->index, cell->base.handle.me);
    fi_set_held(&cell->base.handle, 0);
    if (!is_new) {
        return p->token ? too_old(cell, p) : stale();
    }
    uint64_t wanted = fi_cells_take_wanted(&cell->cells);
    if (fi_unlikely(wanted)) {
        fi_cell_tell(cell, wanted);
    }
    if (p->version) {
        *p->version = version;
    }
    return 0;
}

static int check_value(const ferry_cell_t *cell, const put_t *p) {
    if (!p->data && p->len > 0) {
        return fi_fail(-EINVAL, "ferry_cell_put was given NULL for %zu bytes", p->len);
    }
    if (p->len > cell->cells.max_bytes) {
        return fi_fail(-EMSGSIZE, "the cell \"%s\" has room for values of %llu bytes, not of %zu",
                       fi_lock_name(&cell->base), (unsigned long long)cell->cells.max_bytes, p->len);
    }
    return 0;
}

static int wait_and_put(ferry_cell_t *cell, const put_t *p) {
    fi_lock_t *l = &cell->base;
    fi_wait_t w = fi_wait_begin(&l->waiter, cell->patience);

    int r = check_value(cell, p);
    if (r < 0) {
        return r;
    }
    if (is_stale(cell, p)) {
        return stale();
    }
    fi_set_held(&l->handle, 1); /* should this thread end in the middle, its turn must end, too */
    r = fi_cell_take_turn(&cell->cells, p->index, l->handle.me, &w);
    if (r < 0) {
        fi_set_held(&l->handle, 0);
        return no_turn(cell, p->index, r);
    }
    return put_in_turn(cell, p);
}

static int put_far(fi_net_cell_t *cell, const put_t *p) {
    fi_net_put_t f = {.index = p->index,
                      .only_if = p->only_if,
                      .token = p->token,
                      .data = p->data,
                      .len = p->len,
                      .version = p->version};

    return FI_WHOLE(fi_net_cell_put(cell, &f));
}

__attribute__((noinline)) static int put_closely(ferry_cell_t *cell, const put_t *p, const void *where) {
    if (far(cell)) {
        return put_far(far(cell), p);
    }
    int r = enter(cell, p->index, where);

    return r < 0 ? r : fi_lock_leave(&cell->base, wait_and_put(cell, p));
}

static inline bool takes_turn_at_once(ferry_cell_t *cell, const put_t *p) {
    fi_handle_t *h = &cell->base.handle;

    if (!fi_lock_is_mine(&cell->base, FI_CELL_MAGIC) || p->index >= cell->cells.count ||
        p->len > cell->cells.max_bytes || !p->data) {
        return false;
    }
    fi_set_held(h, 1);
    if (fi_likely(fi_cell_try_turn(&cell->cells, p->index, h->me))) {
        return true;
    }
    fi_set_held(h, 0);
    return false;
}

static inline int put(ferry_cell_t *cell, const put_t *p, const void *where) {
    return fi_likely(cell && takes_turn_at_once(cell, p)) ? put_in_turn(cell, p) : put_closely(cell, p, where);
}

int ferry_cell_put(ferry_cell_t *cell, const void *data, size_t len, uint64_t *version) {
    put_t p = {.data = data, .len = len, .version = version};
    return put(cell, &p, __builtin_return_address(0));
}

int ferry_cell_put_at(ferry_cell_t *cell, uint32_t index, const void *data, size_t len, uint64_t *version) {
    put_t p = {.index = index, .data = data, .len = len, .version = version};
    return put(cell, &p, __builtin_return_address(0));
}

int ferry_cell_cas(ferry_cell_t *cell, uint64_t version, const void *data, size_t len, uint64_t *newer) {
    put_t p = {.only_if = &version, .data = data, .len = len, .version = newer};
    return put(cell, &p, __builtin_return_address(0));
}

int ferry_cell_cas_at(ferry_cell_t *cell, uint32_t index, uint64_t version, const void *data, size_t len,
                      uint64_t *newer) {
    put_t p = {.index = index, .only_if = &version, .data = data, .len = len, .version = newer};
    return put(cell, &p, __builtin_return_address(0));
}

int ferry_cell_put_fenced(ferry_cell_t *cell, uint32_t index, uint64_t token, const void *data, size_t len,
                          uint64_t *version) {
    put_t p = {.index = index, .token = token, .data = data, .len = len, .version = version};

    if (token == 0) {
        return fi_fail(-EINVAL, "0 is no token: ferry_mutex_token gives one to who holds the mutex");
    }
    return put(cell, &p, __builtin_return_address(0));
}

/* ---- waiting ---- */

static int wait_for_newer(ferry_cell_t *cell, uint32_t index, uint64_t after, int64_t timeout, const void *where) {
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_wait(far(cell), index, after, timeout));
    }
    int r = enter(cell, index, where);
    if (r < 0) {
        return r;
    }
    fi_wait_t w = fi_wait_begin(&cell->base.waiter, timeout);
    r = fi_cell_wait(&cell->cells, index, after, &w);
    return fi_lock_leave(&cell->base, no_newer(cell, r, timeout));
}

int ferry_cell_wait(ferry_cell_t *cell, uint64_t after, int64_t timeout) {
    return wait_for_newer(cell, 0, after, timeout, __builtin_return_address(0));
}

int ferry_cell_wait_at(ferry_cell_t *cell, uint32_t index, uint64_t after, int64_t timeout) {
    return wait_for_newer(cell, index, after, timeout, __builtin_return_address(0));
}

static int watch(ferry_cell_t *cell, uint64_t *seen, uint32_t *changed, uint32_t max, int64_t timeout) {
    if (!seen || !changed || max == 0) {
        return fi_fail(-EINVAL, "ferry_cell_watch needs `seen`, and room for one index in `changed` at least");
    }
    fi_wait_t w = fi_wait_begin(&cell->base.waiter, timeout);
    int r = fi_cells_watch(&cell->cells, seen, changed, max, cell->next, &w);
    if (r <= 0) {
        return no_newer(cell, r, timeout);
    }
    cell->next = (changed[r - 1] + 1) % cell->cells.count;
    return r;
}

int ferry_cell_watch(ferry_cell_t *cell, uint64_t *seen, uint32_t *changed, uint32_t max, int64_t timeout) {
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_watch(far(cell), seen, changed, max, timeout));
    }
    int r = enter(cell, 0, __builtin_return_address(0));

    return r < 0 ? r : fi_lock_leave(&cell->base, watch(cell, seen, changed, max, timeout));
}

int ferry_cell_fd(ferry_cell_t *cell) {
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_fd(far(cell)));
    }
    int r = enter(cell, 0, NULL);

    return r < 0 ? r : fi_lock_leave(&cell->base, fi_cell_fd(cell));
}

int ferry_cell_rearm(ferry_cell_t *cell) {
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_rearm(far(cell)));
    }
    int r = enter(cell, 0, NULL);
    if (r < 0) {
        return r;
    }
    if (cell->base.handle.wake_fd < 0) {
        return fi_lock_leave(&cell->base, fi_fail(-EINVAL,
                                                  "this handle on the cell \"%s\" has no descriptor yet: call "
                                                  "ferry_cell_fd first",
                                                  fi_lock_name(&cell->base)));
    }
    fi_cell_arm(cell);
    return fi_lock_leave(&cell->base, 0);
}

/* ---- looking ---- */

int ferry_cell_info(ferry_cell_t *cell, ferry_cell_info_t *info) {
    int r = fi_check_output(info, "ferry_cell_info");

    r = r == 0 && !far(cell) ? fi_lock_check(fi_lock_of(cell), FI_CELL_MAGIC) : r;
    r = r == 0 ? fi_check_size(info->size, sizeof *info, "ferry_cell_info_t") : r;
    if (r < 0) {
        return r;
    }
    if (far(cell)) {
        return FI_WHOLE(fi_net_cell_info(far(cell), info));
    }
    const fi_object_t *o = cell->base.handle.object;
    *info = (ferry_cell_info_t){
        .size = info->size, .max_bytes = cell->cells.max_bytes, .count = cell->cells.count, .memory = o->memory->bytes};
    memcpy(info->type_name, o->spec.type, sizeof info->type_name);
    return 0;
}

/* ---- what the engine keeps ---- */

static int only_far(const ferry_t *node, const char *what) {
    int r = fi_check_node(node);

    if (r == 0 && !node->net) {
        r = fi_fail(-ENOTSUP, "%s: in a space of one machine, cells exist while somebody has them open", what);
    }
    return r;
}

int ferry_cell_remove(ferry_t *node, const char *name) {
    int r = only_far(node, "nothing to remove");

    return r < 0 ? r : FI_WHOLE(fi_net_cell_remove(node->net, name));
}

int ferry_cell_each(ferry_t *node, int (*each)(const char *name, const ferry_cell_info_t *info, void *arg), void *arg) {
    int r = only_far(node, "nothing is kept");

    if (r == 0 && !each) {
        r = fi_fail(-EINVAL, "ferry_cell_each needs a function to call, not NULL");
    }
    return r < 0 ? r : FI_WHOLE(fi_net_cell_each(node->net, each, arg));
}

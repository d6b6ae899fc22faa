/* SPDX-License-Identifier: MIT */
#include "region/cell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/cancel.h"

#define DEFAULT_BYTES 4096u
#define OPEN_TRIES 100u

/* ---- as the node sees them ---- */

uint64_t fi_cell_memory(uint64_t count, uint64_t max_bytes) {
    return sizeof(fi_object_head_t) + fi_cells_bytes(count, max_bytes);
}

/* A holder's word on them may be anything. */
static size_t cell_bytes(const fi_object_spec_t *spec) {
    bool can_be = spec->count >= 1 && spec->count <= FERRY_MAX_CELLS && spec->size >= 1 &&
                  spec->size <= FERRY_MAX_CELL_BYTES && fi_cell_memory(spec->count, spec->size) <= FI_CELL_MEMORY_MAX;

    return can_be ? fi_cells_bytes(spec->count, spec->size) : SIZE_MAX / 2;
}

static fi_cells_t cells_of(const fi_object_t *o) {
    fi_cells_t c;

    fi_cells_find(&c, fi_object_of(o), o->spec.count, o->spec.size);
    return c;
}

static void cell_bury(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    fi_cells_t c = cells_of(o);

    fi_cells_bury(&c, is_dead, arg);
}

/* Each handle waits for one cell at a time. */
static void cell_wake(const fi_object_t *o) {
    fi_cells_t c = cells_of(o);
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &o->handles) {
        const fi_lock_t *l = fi_container(fi_container(at, fi_handle_t, link), fi_lock_t, handle);
        fi_cells_wake(&c, fi_load_relaxed32(&fi_container(l, ferry_cell_t, base)->at));
    }
}

const fi_object_ops_t fi_cell_ops = {.word = "cell", .bytes = cell_bytes, .bury = cell_bury, .wake = cell_wake};

/* ---- opening ---- */

static int open_as(const fi_opening_t *o, ferry_cell_t **cell) {
    fi_lock_t *l;

    int r = fi_lock_open(o, &l);
    if (r == 0) {
        *cell = fi_container(l, ferry_cell_t, base);
        (*cell)->cells = cells_of(l->handle.object);
    }
    return r;
}

/*
 * Who has no opinion takes what is there, and makes it with the defaults only if nothing is.  Somebody else may make it
 * in between, or the last one close it: then it is tried again.
 */
static int open_in_any_form(const fi_opening_t *asked, ferry_cell_t **cell) {
    fi_opening_t there = *asked;
    fi_opening_t made = *asked;
    int r = -ENOENT;

    there.must_exist = true;
    made.count = asked->count == FI_COUNT_ANY ? 1 : asked->count;
    made.size = asked->size == 0 ? DEFAULT_BYTES : asked->size;
    for (uint32_t tries = 0; tries < OPEN_TRIES; tries++) {
        r = open_as(&there, cell);
        if (r != -ENOENT || asked->must_exist) {
            break;
        }
        r = open_as(&made, cell);
        if (r != -EPROTOTYPE) {
            break;
        }
    }
    return r;
}

int fi_cell_open(ferry_t *node, const char *name, const ferry_cell_options_t *options, ferry_cell_t **cell) {
    ferry_cell_options_t none = {0};
    const ferry_cell_options_t *o = options ? options : &none;
    ferry_sync_options_t waits = {.wait = o->wait, .deadlock_after = -1};
    fi_opening_t asked = {.node = node,
                          .name = name,
                          .kind = 'c',
                          .count = o->count == 0 ? FI_COUNT_ANY : o->count,
                          .size = o->max_bytes,
                          .type = o->type_name,
                          .must_exist = o->must_exist != 0,
                          .options = &waits,
                          .ops = &fi_cell_ops,
                          .bytes = sizeof(ferry_cell_t)};
    bool settled = asked.must_exist || (o->count != 0 && o->max_bytes != 0);

    int r = settled ? open_as(&asked, cell) : open_in_any_form(&asked, cell);
    if (r == 0) {
        (*cell)->patience = o->patience == 0 ? INT64_C(5000000000) : o->patience;
    }
    return r;
}

/* ---- the descriptor ---- */

static int make_fd(fi_handle_t *h) {
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* perhaps something was put before it was there */

    if (fd < 0) {
        return fi_fail_errno(errno, "cannot make a descriptor for the cell \"%s\" (see ulimit -n)",
                             h->object->spec.name);
    }
    pthread_mutex_lock(&h->own.node->lock);
    h->wake_fd = fd;
    pthread_mutex_unlock(&h->own.node->lock);
    return fd;
}

int fi_cell_fd(ferry_cell_t *cell) {
    fi_handle_t *h = &cell->base.handle;
    int cancel = fi_cancel_off();
    int fd = h->wake_fd;

    if (fd < 0) {
        fd = make_fd(h);
        if (fd >= 0) {
            fi_cells_want(&cell->cells, FI_CELLS_POLLED);
        }
    }
    fi_cancel_restore(cancel);
    return fd;
}

void fi_cell_arm(ferry_cell_t *cell) {
    int cancel = fi_cancel_off();
    uint64_t rings;

    if (read(cell->base.handle.wake_fd, &rings, sizeof rings) < 0) {
        rings = 0; /* it was not readable */
    }
    fi_cells_want(&cell->cells, FI_CELLS_POLLED);
    fi_cancel_restore(cancel);
}

void fi_cell_tell(ferry_cell_t *cell, uint64_t wanted) {
    if (wanted & FI_CELLS_WATCHED) {
        fi_cells_tell(&cell->cells);
    }
    if (wanted & FI_CELLS_POLLED) {
        int cancel = fi_cancel_off();
        fi_object_changed(cell->base.handle.object);
        fi_cancel_restore(cancel);
    }
}

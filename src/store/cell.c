/* SPDX-License-Identifier: MIT */
#include "store/cell.h"

#include "base/bits.h"
#include "platform/cancel.h"
#include "platform/clock.h"

#define LOOKS 8u                 /* that are in vain, before a get takes its turn with those who put */
#define NAP_NS INT64_C(50000)    /* while another thread is in its turn by the same handle */
#define NEAR (UINT64_C(1) << 30) /* versions that cannot be mistaken for each other by their lower halves */

/* ---- memory ---- */

static uint64_t buffer_bytes(uint64_t max_bytes) {
    return fi_align_up(max_bytes, FI_CACHE_LINE);
}

uint64_t fi_cells_bytes(uint64_t count, uint64_t max_bytes) {
    uint64_t each = sizeof(fi_cell_control_t) + sizeof(fi_cell_turn_t) + FI_CELL_BUFFERS * buffer_bytes(max_bytes);

    return sizeof(fi_cells_head_t) + count * each;
}

void fi_cells_find(fi_cells_t *c, void *memory, uint32_t count, uint64_t max_bytes) {
    *c = (fi_cells_t){.head = memory,
                      .buffer_bytes = buffer_bytes(max_bytes),
                      .max_bytes = max_bytes,
                      .few_bytes = fi_min(max_bytes, FI_COPY_FEW),
                      .count = count};
    c->control = (fi_cell_control_t *)(void *)(c->head + 1);
    c->turn = (fi_cell_turn_t *)(void *)(c->control + count);
    c->buffer = (unsigned char *)(c->turn + count);
}

static fi_event_t event_of(const fi_cells_t *c, uint32_t index) {
    return (fi_event_t){.word = &c->control[index].word};
}

/* ---- versions ---- */

uint64_t fi_cell_version(const fi_cells_t *c, uint32_t index) {
    const fi_cell_control_t *control = &c->control[index];
    uint32_t looks = LOOKS; /* whoever writes nonsense could make it go on for ever */
    uint64_t version;

    do {
        version = fi_cell_look(control).version;
    } while (fi_load_relaxed64(&control->version) - version >= NEAR && --looks > 0);
    return version;
}

int fi_cell_wait(const fi_cells_t *c, uint32_t index, uint64_t after, fi_wait_t *w) {
    fi_event_t e = event_of(c, index);
    uint64_t version;

    while ((version = fi_cell_version(c, index)) <= after) {
        int r = fi_event_wait_after(&e, (uint32_t)version, UINT32_MAX, w);
        if (r < 0) {
            return r;
        }
        if (version == after) {
            fi_prefetch(fi_cell_buffer(c, index, version + 1)); /* mostly what is wanted next */
            return 0;
        }
    }
    return 0;
}

/* ---- turns ---- */

/* Told to the stewards before anybody sleeps. */
static void announce(fi_cell_turn_t *turn) {
    if (fi_load_relaxed64(&turn->awaited) == 0) {
        fi_store_release64(&turn->awaited, 1);
    }
}

/* -EDEADLK: another thread is in its turn by the same handle. Any number may get by it, so no name tells them apart. */
static int take_turn(fi_cell_turn_t *turn, uint64_t me, fi_wait_t *w) {
    announce(turn);
    int r = fi_mutex_lock(&turn->mutex, me, w);
    return r == -ENOTRECOVERABLE ? -EPROTO : r;
}

/* Lets a moment pass. 0, or -ETIMEDOUT. */
static int nap(int64_t *deadline, const fi_wait_t *w) {
    int64_t now = fi_now_ns();

    if (*deadline == 0) {
        *deadline = fi_deadline(w->timeout);
    }
    if (now >= *deadline) {
        return -ETIMEDOUT;
    }
    int cancel = fi_cancel_off();
    fi_sleep_until(now + NAP_NS);
    fi_cancel_restore(cancel);
    return 0;
}

int fi_cell_take_turn(const fi_cells_t *c, uint32_t index, uint64_t me, fi_wait_t *w) {
    int64_t deadline = 0;
    int r;

    while ((r = take_turn(&c->turn[index], me, w)) == -EDEADLK && (r = nap(&deadline, w)) == 0) {
    }
    return r;
}

/* ---- putting ---- */

uint64_t fi_cell_publish(const fi_cells_t *c, uint32_t index, const void *data, uint64_t len) {
    uint64_t version = fi_cell_version(c, index) + 1;
    fi_cell_control_t *control = &c->control[index];
    fi_event_t e = event_of(c, index);

    fi_fence_release(); /* R2 */
    fi_cell_copy_in(fi_cell_buffer(c, index, version), data, len);
    fi_store_relaxed32(&control->length[version % FI_CELL_BUFFERS], (uint32_t)len + 1);
    fi_store_release64(&control->version, version); /* R3 */
    fi_event_set(&e);                               /* R1 */
    return version;
}

/* ---- getting ---- */

#define LOOK_AGAIN 1

/* One look, with all that can come of it: 0, LOOK_AGAIN, -ENODATA, -EMSGSIZE, -EPROTO. */
static int look(const fi_cells_t *c, uint32_t index, void *buf, uint64_t cap, fi_cell_look_t *l) {
    if (fi_cell_get_quick(c, index, false, buf, cap, l)) {
        return 0;
    }
    if (!fi_cell_was_whole(&c->control[index], l->version)) {
        return LOOK_AGAIN;
    }
    if (l->version == 0) {
        return -ENODATA;
    }
    return l->len > c->max_bytes ? -EPROTO : l->len > cap ? -EMSGSIZE : LOOK_AGAIN;
}

static int look_often(const fi_cells_t *c, uint32_t index, void *buf, uint64_t cap, fi_cell_look_t *l) {
    int r = LOOK_AGAIN;

    for (uint32_t looks = 0; r == LOOK_AGAIN && looks < LOOKS; looks++) {
        r = look(c, index, buf, cap, l);
    }
    return r;
}

/* While it is our turn nobody puts: what cannot be read now is nonsense. */
static int look_in_turn(const fi_cells_t *c, uint32_t index, uint64_t me, void *buf, uint64_t cap, fi_cell_look_t *l) {
    int r = look(c, index, buf, cap, l);

    fi_cell_end_turn(c, index, me);
    return r == LOOK_AGAIN ? -EPROTO : r;
}

int fi_cell_get(const fi_cells_t *c, uint32_t index, uint64_t me, fi_wait_t *w, void *buf, uint64_t cap,
                fi_cell_look_t *l) {
    int64_t deadline = 0;

    for (;;) {
        int r = look_often(c, index, buf, cap, l);
        if (r != LOOK_AGAIN) {
            return r;
        }
        r = take_turn(&c->turn[index], me, w);
        if (r > 0) {
            return look_in_turn(c, index, me, buf, cap, l);
        }
        /* Whoever is in its turn by our own handle is the only one who may put now: look, not wait. */
        r = r == -EDEADLK ? nap(&deadline, w) : r;
        if (r < 0 && r != -EINTR) {
            return r;
        }
    }
}

/* ---- any of them ---- */

void fi_cells_want(const fi_cells_t *c, uint64_t flag) {
    (void)__atomic_fetch_or(&c->head->wanted, flag, __ATOMIC_ACQ_REL);
    fi_fence_after_cas();
}

static uint32_t scan_part(const fi_cells_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, uint32_t from,
                          uint32_t to) {
    uint32_t found = 0;

    for (uint32_t i = from; i < to && found < max; i++) {
        uint64_t version = fi_cell_version(c, i);
        if (version != seen[i]) {
            seen[i] = version;
            changed[found++] = i;
        }
    }
    return found;
}

uint32_t fi_cells_scan(const fi_cells_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, uint32_t from) {
    uint32_t found = scan_part(c, seen, changed, max, from, c->count);

    return found + scan_part(c, seen, changed + found, max - found, 0, from);
}

int fi_cells_watch(const fi_cells_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, uint32_t from, fi_wait_t *w) {
    fi_event_t e = fi_cells_event(c);
    uint32_t found = fi_cells_scan(c, seen, changed, max, from);

    while (found == 0) {
        if (w->timeout == FERRY_NOW) {
            return -EAGAIN;
        }
        uint32_t count = fi_event_count(&e); /* before the flag is set: whoever takes that back, sets the event later */
        fi_cells_want(c, FI_CELLS_WATCHED);
        found = fi_cells_scan(c, seen, changed, max, from);
        if (found > 0) {
            break;
        }
        int r = fi_event_wait_after(&e, count, UINT32_MAX, w);
        if (r < 0) {
            return r;
        }
        found = fi_cells_scan(c, seen, changed, max, from);
    }
    return (int)found;
}

/* ---- deaths ---- */

static void bury(const fi_cells_t *c, uint32_t index, fi_is_dead_fn *is_dead, void *arg) {
    fi_cell_turn_t *turn = &c->turn[index];
    uint64_t word = fi_load_acquire64(&turn->mutex.word);

    if (word & FI_OWNER) {
        fi_event_t e = event_of(c, index);
        fi_event_bury(&e);
    }
    if (word != 0 || fi_load_acquire64(&turn->awaited) != 0) {
        fi_mutex_bury(&turn->mutex, is_dead, arg);
    }
}

void fi_cells_bury(const fi_cells_t *c, fi_is_dead_fn *is_dead, void *arg) {
    fi_event_t e = fi_cells_event(c);

    for (uint32_t i = 0; i < c->count; i++) {
        bury(c, i, is_dead, arg);
    }
    fi_event_set(&e);
    fi_event_bury(&e);
}

void fi_cells_wake(const fi_cells_t *c, uint32_t index) {
    fi_wake_all(&c->control[index].word);
    fi_wake_all(&c->turn[index].mutex.word);
    fi_wake_all(&c->head->word);
}

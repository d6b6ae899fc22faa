/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "api/check.h"
#include "net/region.h"
#include "platform/cancel.h"
#include "platform/memfd.h"
#include "region/region.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

/* In a space that spans machines: nobody may make it here while others have it open elsewhere. */
static int make_here_only(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                          ferry_region_t **region) {
    int r = fi_region_open(node, name, bytes, options, true, region);

    if (r == -ENOENT) {
        int elsewhere = fi_region_ask(node->net, name);
        r = elsewhere < 0 ? elsewhere : fi_region_open(node, name, bytes, options, false, region);
    }
    return r;
}

static int open_held(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                     ferry_region_t **region) {
    fi_held_region_t *held = NULL;
    int cancel = fi_cancel_here();

    int r = fi_name_check("region", name, 100);
    r = r == 0 ? fi_region_hold(node->net, name, &held) : r;
    if (r == 0) {
        r = make_here_only(node, name, bytes, options, region);
        if (r == 0) {
            (*region)->held = held;
            fi_region_is_open(held);
        } else {
            fi_region_let_go(held);
        }
    }
    fi_cancel_restore(cancel);
    return r;
}

int ferry_region_open(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                      ferry_region_t **region) {
    int r = fi_check_output(region, "ferry_region_open");

    r = r == 0 ? fi_check_node(node) : r;
    r = r == 0 && options ? fi_check_size(options->size, sizeof *options, "ferry_region_options_t") : r;
    if (r == 0 && options && options->wait > FERRY_WAIT_BLOCK) {
        r = fi_fail(-EINVAL, "%d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK", (int)options->wait);
    }
    if (r == 0 && node->net) {
        return open_held(node, name, bytes, options, region);
    }
    return r == 0 ? fi_region_open(node, name, bytes, options, false, region) : r;
}

int ferry_region_close(ferry_region_t *region) {
    fi_held_region_t *held = region && region->base.handle.magic == FI_REGION_MAGIC ? region->held : NULL;

    int r = fi_region_close(region);
    if (r == 0 && held) {
        int cancel = fi_cancel_off();
        fi_region_let_go(held);
        fi_cancel_restore(cancel);
    }
    return r;
}

/* Any thread may ask for addresses, through any handle. */
static bool is_open(const ferry_region_t *region) {
    return fi_lock_check(region ? &region->base : NULL, FI_REGION_MAGIC) == 0;
}

void *ferry_region_root(const ferry_region_t *region) {
    return is_open(region) ? fi_region_span(region, region->root, 1) : NULL;
}

void *ferry_region_at(const ferry_region_t *region, ferry_ref_t ref) {
    return is_open(region) ? fi_region_span(region, ref, 1) : NULL;
}

void *ferry_region_span(const ferry_region_t *region, ferry_ref_t ref, uint64_t bytes) {
    return is_open(region) ? fi_region_span(region, ref, bytes) : NULL;
}

ferry_ref_t ferry_region_ref(const ferry_region_t *region, const void *address) {
    return is_open(region) ? fi_region_ref(region, address) : 0;
}

int ferry_region_alloc(ferry_region_t *region, uint64_t bytes, ferry_ref_t *place) {
    return fi_region_alloc(region, bytes, place, __builtin_return_address(0));
}

int ferry_region_resize(ferry_region_t *region, ferry_ref_t *place, uint64_t bytes) {
    return fi_region_resize(region, bytes, place, __builtin_return_address(0));
}

int ferry_region_free(ferry_region_t *region, ferry_ref_t *place) {
    return fi_region_free(region, place, __builtin_return_address(0));
}

/* Begins a look at the allocator: with its lock, if the handle may take it. */
static int begin_look(ferry_region_t *region) {
    int r = fi_lock_check(region ? &region->base : NULL, FI_REGION_MAGIC);

    return r == 0 && !region->read_only ? fi_region_begin(region, __builtin_return_address(0)) : r;
}

static int end_look(ferry_region_t *region, int r) {
    return region->read_only ? r : fi_region_end(region, r);
}

uint64_t ferry_region_block_size(ferry_region_t *region, ferry_ref_t ref) {
    if (begin_look(region) < 0) {
        return 0;
    }
    uint64_t bytes = fi_heap_block_size(&region->heap, ref);
    (void)end_look(region, 0);
    return bytes;
}

int64_t ferry_region_check(ferry_region_t *region) {
    int r = begin_look(region);
    if (r < 0) {
        return r;
    }
    int64_t blocks = fi_heap_check(&region->heap);
    (void)end_look(region, 0);
    return blocks;
}

static uint32_t count_handles(const ferry_region_t *region) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < FI_HEAP_HANDS; i++) {
        count += fi_heap_hand_owner(&region->heap, i) != 0;
    }
    return count;
}

int ferry_region_info(ferry_region_t *region, ferry_region_info_t *info) {
    fi_heap_figures_t figures;
    int r = fi_check_output(info, "ferry_region_info");
    r = r == 0 ? fi_check_size(info->size, sizeof *info, "ferry_region_info_t") : r;
    r = r == 0 ? begin_look(region) : r;
    if (r < 0) {
        return r;
    }
    const fi_object_t *o = region->base.handle.object;
    fi_heap_figures(&region->heap, &figures);
    *info = (ferry_region_info_t){.size = sizeof *info,
                                  .bytes = region->heap.bytes,
                                  .created_as = o->spec.size,
                                  .limit = o->spec.limit > o->spec.size ? o->spec.limit : o->spec.size,
                                  .type_size = o->spec.type_size,
                                  .blocks = figures.blocks,
                                  .used = figures.used,
                                  .free_bytes = figures.free_bytes,
                                  .largest_free = figures.largest_free,
                                  .huge_bytes = region->heap.bytes >= HUGE_PAGE ? fi_memfd_huge_bytes(region->seen) : 0,
                                  .inode = fi_memfd_inode(o->memory->fd),
                                  .handles = count_handles(region),
                                  .repairs = (uint32_t)figures.repairs};
    memcpy(info->type_name, o->spec.type, sizeof info->type_name);
    return end_look(region, 0);
}

/* ---- locks inside ---- */

int ferry_mutex_open_in(ferry_region_t *region, ferry_ref_t place, const ferry_sync_options_t *options,
                        ferry_mutex_t **mutex) {
    fi_opening_t o = {.options = options};

    int r = fi_check_output(mutex, "ferry_mutex_open_in");
    r = r == 0 ? fi_region_place(region, place, 'm', &o) : r;
    return r == 0 ? fi_mutex_open(&o, mutex) : r;
}

int ferry_semaphore_open_in(ferry_region_t *region, ferry_ref_t place, uint32_t count,
                            const ferry_sync_options_t *options, ferry_semaphore_t **semaphore) {
    fi_opening_t o = {.count = count, .flags = options && options->owned, .options = options};

    int r = fi_check_output(semaphore, "ferry_semaphore_open_in");
    r = r == 0 ? fi_region_place(region, place, 's', &o) : r;
    return r == 0 ? fi_semaphore_open(&o, semaphore) : r;
}

int ferry_event_open_in(ferry_region_t *region, ferry_ref_t place, const ferry_sync_options_t *options,
                        ferry_event_t **event) {
    fi_opening_t o = {.flags = options && options->auto_reset, .options = options};

    int r = fi_check_output(event, "ferry_event_open_in");
    r = r == 0 ? fi_region_place(region, place, 'e', &o) : r;
    return r == 0 ? fi_event_open(&o, event) : r;
}

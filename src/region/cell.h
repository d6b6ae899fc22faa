/* SPDX-License-Identifier: MIT
 *
 * region/cell.h - handles on cells: shared objects of kind 'c', of `count` cells with up to `size` bytes each.
 */
#ifndef FI_REGION_CELL_H
#define FI_REGION_CELL_H

#include "ferry/cell.h"
#include "lock/lock.h"
#include "store/cell.h"

#define FI_CELL_MAGIC FI_LOCK_MAGIC('c')

struct ferry_cell {
    fi_lock_t base;
    fi_cells_t cells;
    int64_t patience;
    uint32_t at;   /* relaxed; which cell a call waits for: shutdown wakes it there */
    uint32_t next; /* where watching goes on, so that no cell is always looked at before another */
};

extern const fi_object_ops_t fi_cell_ops;

/* The options are checked. */
int fi_cell_open(ferry_t *node, const char *name, const ferry_cell_options_t *options, ferry_cell_t **cell);

/* Bytes of memory, with the head that all objects have; any numbers that options may have. */
uint64_t fi_cell_memory(uint64_t count, uint64_t max_bytes);
#define FI_CELL_MEMORY_MAX ((uint64_t)1 << 40)

/* The descriptor that every put makes readable, once it is armed. Errors: -EMFILE, -ENFILE. */
int fi_cell_fd(ferry_cell_t *cell);
/* Makes it unreadable until the next put. */
void fi_cell_arm(ferry_cell_t *cell);

/* After a put: tells those who wait for any. */
void fi_cell_tell(ferry_cell_t *cell, uint64_t wanted);

#endif

/* SPDX-License-Identifier: MIT
 *
 * region/buffer.h - handles on bounded buffers inside regions: objects of kind 'q'.
 *
 * A buffer is a block of the region's heap; in it the buffer begins at the first line of its own.
 */
#ifndef FI_REGION_BUFFER_H
#define FI_REGION_BUFFER_H

#include "region/region.h"
#include "store/buffer.h"

#define FI_BUFFER_HANDLE_MAGIC FI_LOCK_MAGIC('q')

struct ferry_buffer {
    fi_lock_t base;
    fi_buffer_t buffer;
    fi_buffer_user_t user;
};

extern const fi_object_ops_t fi_buffer_ops;

/* As ferry_buffer_open; `where`: the program's call. */
int fi_region_buffer_open(ferry_region_t *region, ferry_ref_t *place, uint64_t slots, uint64_t item_bytes,
                          const ferry_sync_options_t *options, ferry_buffer_t **buffer, const void *where);

#endif

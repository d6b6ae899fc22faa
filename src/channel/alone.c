/* SPDX-License-Identifier: MIT
 *
 * Messages that belong to no end: their bytes are their own.  A taken one has no link, a sent one no sender.
 */
#include <stdlib.h>

#include "base/error.h"
#include "channel/messages.h"
#include "node/node.h"

#define ALIGNMENT 64u

ferry_msg_t *fi_alone_new(uint32_t magic, uint64_t size) {
    ferry_msg_t *m = calloc(1, sizeof *m);
    uint64_t whole = (size + ALIGNMENT) / ALIGNMENT * ALIGNMENT;

    if (m) {
        m->copy = whole > size ? aligned_alloc(ALIGNMENT, whole) : NULL;
    }
    if (!m || !m->copy) {
        free(m);
        (void)fi_fail(-ENOMEM, "no memory for a message of %llu bytes", (unsigned long long)size);
        return NULL;
    }
    m->magic = magic;
    m->refs = 1;
    m->generation = fi_process_generation;
    m->slot = -1;
    m->attempt = 1;
    m->data = m->copy;
    m->copy_cap = m->capacity = m->size = size;
    return m;
}

int fi_alone_release(ferry_msg_t *m) {
    if (fi_sub32(&m->refs, 1) > 1) {
        return 0;
    }
    m->magic = FI_MSG_FREE;
    free(m->copy);
    m->copy = NULL;
    m->data = NULL;
    fi_graveyard_add(m);
    return 0;
}

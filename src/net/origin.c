/* SPDX-License-Identifier: MIT
 *
 * Where a dead letter comes from, in a header while it is in a stream, and behind its bytes in a ring.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/durable.h"

bool fi_durable_origin(natsMsg *msg, struct fi_origin *o) {
    const char *text = NULL;
    int at = 0;

    if (fi_nats.natsMsgHeader_Get(msg, "Ferry-Origin", &text) != NATS_OK || !text) {
        return false;
    }
    memset(o, 0, sizeof *o);
    if (sscanf(text, "%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64 "-%8" SCNx32 " %n", &o->node, &o->end, &o->seq,
               &o->attempts, &at) != 4 ||
        at == 0) {
        return false;
    }
    return (size_t)snprintf(o->queue, sizeof o->queue, "%s", text + at) < sizeof o->queue;
}

natsStatus fi_durable_set_origin(natsMsg *msg, const unsigned char *origin) {
    struct fi_origin o;
    char text[192];

    memcpy(&o, origin, sizeof o);
    o.queue[sizeof o.queue - 1] = '\0';
    if (fi_channel_check(o.queue) < 0) {
        return NATS_OK; /* a receiver's word: nothing that would do harm in a header */
    }
    snprintf(text, sizeof text, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx32 " %s", o.node, o.end, o.seq, o.attempts,
             o.queue);
    return fi_nats.natsMsgHeader_Set(msg, "Ferry-Origin", text);
}

void fi_origin_append(natsMsg *msg, fi_item_t *item) {
    struct fi_origin o;

    if (fi_durable_origin(msg, &o)) {
        memcpy((unsigned char *)fi_block_data(item->block) + item->size, &o, sizeof o);
        item->size += sizeof o;
    }
}

bool fi_origin_copy(fi_sender_t *tx, natsMsg *msg, fi_item_t *item) {
    if (fi_sender_alloc_now(tx, item->size + FI_DURABLE_MORE, &item->block) < 0) {
        return false;
    }
    memcpy(fi_block_data(item->block), item->data, item->size);
    item->data = NULL;
    fi_origin_append(msg, item);
    return true;
}

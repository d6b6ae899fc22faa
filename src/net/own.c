/* SPDX-License-Identifier: MIT
 *
 * What users' threads tell the bridge: which ends they open and close, and with which token they send.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/bridge.h"
#include "platform/clock.h"

#define STUCK_NS 500000000ll /* beyond the bridge's own patience: it is stuck */

static void describe(fi_own_t *own, fi_end_t *e) {
    *own = (fi_own_t){
        .id = e->id, .is_sender = e->magic == FI_END_SENDER, .kind = e->kind, .contract = fi_end_contract(e)};
    memcpy(own->channel, e->channel, sizeof own->channel);
    if (own->is_sender) {
        own->retain = fi_sender_of(e)->retain;
        own->quota = fi_sender_of(e)->pool.quota;
        own->capacity = fi_sender_of(e)->capacity;
        own->kept = fi_sender_of(e)->part.kept;
        own->plain = fi_sender_of(e)->part.plain;
    } else {
        const fi_receiver_t *rx = fi_receiver_of(e);
        own->replay = rx->part.replay;
        own->plain = rx->part.plain;
        own->flags = (rx->may_lose ? FI_FAR_MAY_LOSE : 0u) | (rx->no_history ? FI_FAR_NO_HISTORY : 0u);
        own->prefetch = rx->prefetch;
    }
}

/* The bridge's patience is shorter than this, unless it is inside a write to a server that takes nothing. Then, as
 * without a connection, nobody is asked: 1. */
static int await_answer(fi_bridge_t *b, fi_asking_t *a, int64_t more) {
    fi_patience_t patience = {.left = FI_FAR_SETTLE_NS + STUCK_NS + more};
    bool goes_on = true;

    pthread_mutex_lock(&b->lock);
    while (!a->done && goes_on) {
        const struct timespec end = fi_timespec(fi_patience_slice(&patience));
        (void)pthread_cond_timedwait(&b->answered, &b->lock, &end);
        goes_on = fi_patience_goes_on(&patience);
    }
    a->abandoned = !a->done;
    int r = a->abandoned ? 1 : a->error < 0 ? fi_fail(a->error, "%s", a->text) : 0;
    bool done = a->done;
    pthread_mutex_unlock(&b->lock);
    if (done) {
        free(a);
    }
    return r;
}

/* What the bridge is to be told of an end, and will answer. */
static int new_item(fi_end_t *e, enum fi_box_kind kind, fi_box_item_t **out) {
    fi_box_item_t *item = calloc(1, sizeof *item);
    fi_asking_t *a = calloc(1, sizeof *a);

    if (!item || !a) {
        free(item);
        free(a);
        return fi_fail(-ENOMEM, "no memory to tell other machines of '%s'", e->channel);
    }
    fi_list_init(&a->link);
    item->kind = kind;
    describe(&item->own, e);
    item->asking = a;
    *out = item;
    return 0;
}

static int opened(fi_net_t *net, fi_end_t *e) {
    fi_bridge_t *b = net->bridge;
    fi_box_item_t *item;

    if (!b || fi_channel_is_reserved(e->channel)) {
        return 0;
    }
    int r = new_item(e, FI_BOX_OPENED, &item);
    if (r < 0) {
        return r;
    }
    uint32_t denials = fi_load_acquire32(&net->denials);
    fi_asking_t *a = item->asking;
    bool needs_link = fi_meet_needs_link(&item->own);
    fi_bridge_post(b, item);
    r = await_answer(b, a, needs_link ? FI_OWN_LINK_NS : 0);
    if (r > 0 && needs_link) { /* what it sent would go nowhere */
        return fi_fail(-ETIMEDOUT, "'%s' cannot be opened: this node's connection takes nothing", e->channel);
    }
    return r < 0 ? r : r > 0 ? 0 : fi_permit_end(b, e, denials);
}

int fi_bridge_set_token(fi_net_t *net, fi_sender_t *tx, uint64_t token) {
    fi_bridge_t *b = net->bridge;
    fi_box_item_t *item;

    int r = new_item(&tx->end, FI_BOX_TOKEN, &item);
    if (r < 0) {
        return r;
    }
    fi_asking_t *a = item->asking;
    item->from = tx->seq + 1;
    item->token = token;
    fi_bridge_post(b, item);
    r = await_answer(b, a, FI_OWN_LINK_NS);
    return r <= 0 ? r
                  : fi_fail(-ETIMEDOUT, "'%s' cannot have another token: this node's connection takes nothing",
                            tx->end.channel);
}

static void closing(fi_net_t *net, fi_end_t *e) {
    fi_bridge_t *b = net->bridge;
    fi_box_item_t *item = b && !fi_channel_is_reserved(e->channel) ? calloc(1, sizeof *item) : NULL;

    if (item) {
        item->kind = FI_BOX_CLOSING;
        item->own.id = e->id;
        fi_bridge_post(b, item);
    }
}

const fi_far_t fi_far_ops = {opened, closing, fi_far_watch, fi_far_unwatch};

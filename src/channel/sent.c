/* SPDX-License-Identifier: MIT
 *
 * A sender's own message handles: new, edit, send, release.
 *
 *   fresh ── send ──> sent ── edit ──> fresh (in place when nobody else holds it, else in a copy) ── ...
 *
 * A message's block counts one reference for the handle and one for each record that points at it.  Whether anybody
 * else holds it is told by the receivers' release maps, exactly.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/error.h"
#include "channel/ghosts.h"
#include "channel/messages.h"
#include "channel/sender.h"
#include "node/shown.h"

static ferry_msg_t *handle_new(fi_sender_t *tx) {
    ferry_msg_t *m = tx->free_handles;

    if (m) {
        tx->free_handles = m->next;
    } else {
        m = calloc(1, sizeof *m);
    }
    if (m) {
        m->magic = FI_MSG_SENT;
        m->generation = fi_process_generation;
        m->refs = 1;
        m->sender = tx;
        m->sent = false;
        m->tag = 0;
        fi_list_add_tail(&tx->handles, &m->held);
    }
    return m;
}

static void handle_free(ferry_msg_t *m) {
    fi_list_remove(&m->held);
    m->magic = FI_MSG_FREE;
    m->data = NULL;
    m->next = m->sender->free_handles;
    m->sender->free_handles = m;
}

/* Takes the block's reference over, also when it fails. */
static int wrap(fi_sender_t *tx, fi_block_t *block, uint64_t size, ferry_msg_t **out) {
    ferry_msg_t *m = handle_new(tx);
    if (!m) {
        fi_pool_unref(&tx->pool, block);
        return fi_fail(-ENOMEM, "no memory for a message handle");
    }
    m->block = block;
    m->size = m->capacity = size;
    m->data = fi_block_data(block);
    *out = m;
    return 0;
}

int fi_sent_new_alone(fi_sender_t *tx, uint64_t size, ferry_msg_t **out) {
    fi_block_t *block;

    int r = fi_pool_alloc_alone(&tx->pool, size, &block);
    return r < 0 ? r : wrap(tx, block, size, out);
}

int fi_sent_new(fi_sender_t *tx, uint64_t size, int64_t timeout, void **data, ferry_msg_t **out) {
    fi_block_t *block;

    if (size > tx->largest) {
        return fi_fail(-EMSGSIZE,
                       "a message of %" PRIu64 " bytes is larger than '%s' allows (%" PRIu64
                       " bytes): raise `max_size` or `quota`",
                       size, fi_channel_shown(tx->end.channel), tx->largest);
    }
    int r = fi_sender_alloc(tx, size ? size : 1, timeout, &block);
    if (r == 0) {
        r = wrap(tx, block, size, out);
    }
    if (r == 0) {
        *data = fi_block_data(block);
    }
    return r;
}

static int check(const ferry_msg_t *m) {
    if (!m->sender->check || !m->sent || m->block->sum == fi_checksum(m->data, m->block->size)) {
        return 0;
    }
    return fi_fail(-EBADMSG,
                   "a message of %" PRIu64 " bytes on '%s' was changed after it was sent: call ferry_msg_edit before "
                   "you write, and do not use older pointers",
                   m->size, fi_channel_shown(m->sender->end.channel));
}

int fi_sent_send(ferry_msg_t *m, const void *annex, int64_t timeout) {
    fi_sender_t *tx = m->sender;
    int r = check(m);

    if (r == 0) {
        if (tx->check && !m->sent) {
            m->block->size = m->size;
            m->block->sum = fi_checksum(m->data, m->size);
        }
        r = fi_sender_send_block(tx, m->block, m->size, m->tag, annex, timeout);
    }
    if (r == 0) {
        m->sent = true;
    }
    return r;
}

void fi_sender_reclaim(fi_sender_t *tx) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        fi_outlet_refresh(tx->outlets[i]);
        fi_outlet_reclaim(tx->outlets[i], true);
    }
    fi_haunted_settle(tx);
}

/* Does anybody but this handle hold the block? */
static bool is_shared(fi_sender_t *tx, const fi_block_t *b) {
    if (b->refs > 1) {
        fi_sender_reclaim(tx);
    }
    if (b->refs > 1 && tx->taps) {
        fi_taps_let_go(tx, b);
    }
    return b->refs > 1;
}

int fi_sent_edit(ferry_msg_t *m, void **data) {
    fi_sender_t *tx = m->sender;
    fi_block_t *copy;
    int copied = 0;

    int r = check(m);
    if (r < 0) {
        return r;
    }
    if (is_shared(tx, m->block)) {
        /* As large as was asked for: how much may be written does not depend on who holds it. */
        r = fi_pool_alloc(&tx->pool, m->capacity ? m->capacity : 1, &copy);
        if (r == -EDQUOT) {
            return fi_fail(r,
                           "the quota of '%s' (%" PRIu64 " bytes) has no room for a copy of %" PRIu64
                           " bytes, which editing a message that others hold needs: wait, or raise `quota`",
                           fi_channel_shown(tx->end.channel), tx->pool.quota, m->capacity);
        }
        if (r < 0) {
            return r;
        }
        memcpy(fi_block_data(copy), m->data, m->size);
        fi_pool_unref(&tx->pool, m->block);
        m->block = copy;
        m->data = fi_block_data(copy);
        fi_store_relaxed64(&tx->stats.copies_made, tx->stats.copies_made + 1);
        tx->stats.copied_bytes += m->size;
        copied = 1;
    }
    m->sent = false;
    *data = fi_block_data(m->block);
    return copied;
}

int fi_sent_release(ferry_msg_t *m) {
    int r = check(m);

    if (--m->refs == 0) {
        fi_pool_unref(&m->sender->pool, m->block);
        handle_free(m);
    }
    return r;
}

int fi_messages_check(fi_sender_t *tx) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &tx->handles) {
        int r = check(fi_container(at, ferry_msg_t, held));
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

void fi_messages_forget(fi_sender_t *tx) {
    while (!fi_list_empty(&tx->handles)) {
        ferry_msg_t *m = fi_container(tx->handles.next, ferry_msg_t, held);
        fi_pool_unref(&tx->pool, m->block);
        handle_free(m);
    }
    while (tx->free_handles) {
        ferry_msg_t *m = tx->free_handles;
        tx->free_handles = m->next;
        fi_graveyard_add(m); /* the program may still have it */
    }
}

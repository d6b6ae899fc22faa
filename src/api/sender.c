/* SPDX-License-Identifier: MIT */
#include "channel/sender.h"
#include "api/check.h"
#include "api/durable.h"
#include "api/plain.h"
#include "channel/messages.h"
#include "channel/quick.h"
#include "net/token.h"
#include "platform/cancel.h"

static int sender_open_uncancelled(ferry_t *node, const char *channel, ferry_kind_t kind,
                                   const ferry_contract_t *contract, ferry_sender_t **tx) {
    int r = fi_check_output(tx, "ferry_sender_open");
    if (r == 0) {
        r = fi_check_node(node);
    }
    if (r == 0) {
        r = fi_check_channel(channel, kind);
    }
    if (r == 0 && contract) {
        r = fi_check_size(contract->size, sizeof *contract, "ferry_contract_t");
    }
    if (r < 0) {
        return r;
    }
    ferry_contract_t c = contract ? *contract : (ferry_contract_t){.size = 0};
    fi_part_t part = {.whole = NULL};
    r = fi_settle_durable_sender(node, channel, kind, &c, &part);
    r = r < 0 ? r : fi_settle_plain_sender(node, channel, kind, &c, &part);
    return r < 0 ? r : fi_sender_new_part(node, channel, kind, &c, &part, tx);
}

int ferry_sender_open(ferry_t *node, const char *channel, ferry_kind_t kind, const ferry_contract_t *contract,
                      ferry_sender_t **tx) {
    int cancel = fi_cancel_here();

    int r = sender_open_uncancelled(node, channel, kind, contract, tx);
    fi_cancel_restore(cancel);
    return r;
}

static int no_data(void) {
    return fi_fail(-EINVAL, "the message's bytes are NULL, but its size is not 0");
}

/*
 * The calls that carry messages try the usual case first (channel/quick.h).  Everything else is a function of its own
 * in tail position: `..._begun` goes on with a call that has begun, `..._closely` begins it.
 */

/* Ends a call in which a record was put into a ring. */
__attribute__((noinline)) static int ring_and_leave(fi_sender_t *tx) {
    fi_outlet_ring(tx->quick);
    return fi_end_leave(&tx->end);
}

static inline int sent(fi_sender_t *tx) {
    if (fi_unlikely(fi_outlet_sleeps(tx->quick))) {
        return ring_and_leave(tx);
    }
    return fi_end_leave(&tx->end);
}

__attribute__((noinline)) static int send_begun(ferry_sender_t *tx, const void *data, size_t len, int64_t timeout) {
    int r = fi_end_go_on(&tx->end);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    if (fi_sender_send_quick(tx, data, len)) {
        return sent(tx);
    }
    r = fi_likely(data || len == 0) ? fi_sender_send_copy(tx, data, len, 0, timeout) : no_data();
    fi_end_leave(&tx->end);
    return r;
}

__attribute__((noinline)) static int send_closely(ferry_sender_t *tx, const void *data, size_t len, int64_t timeout) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    return fi_unlikely(r < 0) ? r : send_begun(tx, data, len, timeout);
}

/* Longer messages are copied by a call, which has no place in a quick way without a frame. */
FI_QUICK_CALL int ferry_send(ferry_sender_t *tx, const void *data, size_t len, int64_t timeout) {
    if (fi_unlikely(len > FI_COPY_SMALL || !fi_end_is_mine(fi_end_of(tx), FI_END_SENDER))) {
        return send_closely(tx, data, len, timeout);
    }
    if (fi_unlikely(!fi_end_begin(&tx->end) || !fi_sender_send_quick(tx, data, len))) {
        return send_begun(tx, data, len, timeout);
    }
    return sent(tx);
}

__attribute__((noinline)) static int claim_begun(ferry_sender_t *tx, size_t len, int64_t timeout, void **data) {
    int r = fi_end_go_on(&tx->end);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_check_output(data, "ferry_claim");
    if (fi_likely(r == 0)) {
        r = fi_sender_claim(tx, len, timeout, data);
    }
    fi_end_leave(&tx->end);
    return r;
}

__attribute__((noinline)) static int claim_closely(ferry_sender_t *tx, size_t len, int64_t timeout, void **data) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    return fi_unlikely(r < 0) ? r : claim_begun(tx, len, timeout, data);
}

FI_QUICK_CALL int ferry_claim(ferry_sender_t *tx, size_t len, int64_t timeout, void **data) {
    if (fi_unlikely(!fi_end_is_mine(fi_end_of(tx), FI_END_SENDER))) {
        return claim_closely(tx, len, timeout, data);
    }
    if (fi_unlikely(!fi_end_begin(&tx->end) || !data || !fi_sender_claim_quick(tx, len, data))) {
        return claim_begun(tx, len, timeout, data);
    }
    return fi_end_leave(&tx->end);
}

__attribute__((noinline)) static int commit_begun(ferry_sender_t *tx, size_t len) {
    int r = fi_end_go_on(&tx->end);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_sender_commit(tx, len);
    fi_end_leave(&tx->end);
    return r;
}

__attribute__((noinline)) static int commit_closely(ferry_sender_t *tx, size_t len) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    return fi_unlikely(r < 0) ? r : commit_begun(tx, len);
}

FI_QUICK_CALL int ferry_commit(ferry_sender_t *tx, size_t len) {
    if (fi_unlikely(!fi_end_is_mine(fi_end_of(tx), FI_END_SENDER))) {
        return commit_closely(tx, len);
    }
    if (fi_unlikely(!fi_end_begin(&tx->end) || !fi_sender_commit_quick(tx, len))) {
        return commit_begun(tx, len);
    }
    return sent(tx);
}

int ferry_abort(ferry_sender_t *tx) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sender_abort(tx);
    fi_end_leave(&tx->end);
    return r;
}

/* A received one's may stand in its record. */
static uint64_t tag_of(const ferry_msg_t *m) {
    ferry_msg_info_t info;

    if (m->magic == FI_MSG_SENT) {
        return m->tag;
    }
    fi_taken_describe(m, &info);
    return info.tag;
}

/* A message of this sender goes by pointer, any other one as a copy. */
static int send_message(ferry_sender_t *tx, ferry_msg_t *m, int64_t timeout) {
    if (m && m->magic == FI_MSG_SENT && m->sender == tx) {
        return fi_sent_send(m, NULL, timeout);
    }
    if (!m || (m->magic != FI_MSG_SENT && m->magic != FI_MSG_TAKEN)) {
        return fi_fail(-EBADF, "this message handle was released before, or is none");
    }
    return fi_sender_send_copy(tx, m->data, m->size, tag_of(m), timeout);
}

__attribute__((noinline)) static int send_msg_begun(ferry_sender_t *tx, ferry_msg_t *m, int64_t timeout) {
    int r = fi_end_go_on(&tx->end);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = send_message(tx, m, timeout);
    fi_end_leave(&tx->end);
    return r;
}

__attribute__((noinline)) static int send_msg_closely(ferry_sender_t *tx, ferry_msg_t *m, int64_t timeout) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    return fi_unlikely(r < 0) ? r : send_msg_begun(tx, m, timeout);
}

int ferry_send_msg(ferry_sender_t *tx, ferry_msg_t *m, int64_t timeout) {
    if (fi_unlikely(!m || m->magic != FI_MSG_SENT || m->sender != tx || m->tag != 0 ||
                    !fi_end_is_mine(fi_end_of(tx), FI_END_SENDER))) {
        return send_msg_closely(tx, m, timeout);
    }
    if (fi_unlikely(!fi_end_begin(&tx->end) || tx->check || !fi_sender_send_block_quick(tx, m->block, m->size))) {
        return send_msg_begun(tx, m, timeout);
    }
    m->sent = true;
    return sent(tx);
}

int ferry_sender_wait(ferry_sender_t *tx, unsigned receivers, int64_t timeout) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sender_wait(tx, receivers, timeout);
    fi_end_leave(&tx->end);
    return r;
}

int ferry_sender_flush(ferry_sender_t *tx, int64_t timeout) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sender_flush(tx, timeout);
    fi_end_leave(&tx->end);
    return r;
}

static int sender_close_uncancelled(ferry_sender_t *tx, int64_t timeout, uint64_t *undelivered) {
    if (!tx) {
        if (undelivered) {
            *undelivered = 0;
        }
        return 0;
    }
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r == -EOWNERDEAD) {
        if (undelivered) {
            *undelivered = 0; /* its rings went with its thread */
        }
        fi_sender_drop(tx);
        return 0;
    }
    if (r < 0) {
        return r;
    }
    r = fi_sender_close(tx, timeout, undelivered);
    if (r == -EINTR) {
        fi_end_leave(&tx->end);
    }
    return r;
}

int ferry_sender_close(ferry_sender_t *tx, int64_t timeout, uint64_t *undelivered) {
    int cancel = fi_cancel_here();

    int r = sender_close_uncancelled(tx, timeout, undelivered);
    fi_cancel_restore(cancel);
    return r;
}

static int set_token(fi_sender_t *tx, uint64_t token) {
    fi_net_t *net = tx->end.node->net;

    if (!net || tx->end.contract.durable != FERRY_DURABLE) {
        return fi_fail(
            -ENOTSUP,
            "'%s' is not durable: who receives from it cannot tell an older token from a newer one; open the "
            "sender with FERRY_DURABLE",
            tx->end.channel);
    }
    int r = token ? fi_token_raise(net, (ferry_kind_t)tx->end.kind, tx->end.channel, token) : 0;
    r = r == 0 ? fi_bridge_set_token(net, tx, token) : r;
    tx->fencing.token = r == 0 ? token : tx->fencing.token;
    return r;
}

int ferry_sender_set_token(ferry_sender_t *tx, uint64_t token) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    int cancel = fi_cancel_here();
    r = set_token(tx, token);
    fi_cancel_restore(cancel);
    fi_end_leave(&tx->end);
    return r;
}

int ferry_sender_stats(ferry_sender_t *tx, ferry_sender_stats_t *stats) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_check_output(stats, "ferry_sender_stats");
    if (r == 0) {
        r = fi_check_size(stats->size, sizeof *stats, "ferry_sender_stats_t");
    }
    if (r == 0) {
        fi_sender_stats(tx, stats);
        stats->size = sizeof *stats;
    }
    fi_end_leave(&tx->end);
    return r;
}

/* SPDX-License-Identifier: MIT */
#include "channel/receiver.h"
#include "api/check.h"
#include "api/durable.h"
#include "api/plain.h"
#include "channel/messages.h"
#include "channel/quick.h"
#include "platform/cancel.h"

static int receiver_open_uncancelled(ferry_t *node, const char *channel, ferry_kind_t kind,
                                     const ferry_receiver_options_t *options, ferry_receiver_t **rx) {
    int r = fi_check_output(rx, "ferry_receiver_open");
    if (r == 0) {
        r = fi_check_node(node);
    }
    if (r == 0) {
        r = fi_check_channel(channel, kind);
    }
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_receiver_options_t");
    }
    if (r == 0 && options && options->contract) {
        r = fi_check_size(options->contract->size, sizeof *options->contract, "ferry_contract_t");
    }
    if (r < 0) {
        return r;
    }
    ferry_receiver_options_t o = options ? *options : (ferry_receiver_options_t){.size = 0};
    ferry_contract_t c = o.contract ? *o.contract : (ferry_contract_t){.size = 0};
    fi_rxpart_t part = {.whole = NULL};
    r = fi_settle_durable_receiver(node, channel, kind, &o, &c, &part);
    r = r < 0 ? r : fi_settle_plain_receiver(node, channel, kind, &o, &c, &part);
    fi_dead_end_t dead;
    r = r < 0 ? r : fi_settle_dead_letters(node, &o, &dead, &part);
    o.contract = &c;
    return r < 0 ? r : fi_receiver_new_part(node, channel, kind, &o, &part, rx);
}

int ferry_receiver_open(ferry_t *node, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *options,
                        ferry_receiver_t **rx) {
    int cancel = fi_cancel_here();

    int r = receiver_open_uncancelled(node, channel, kind, options, rx);
    fi_cancel_restore(cancel);
    return r;
}

/* Begun, closely: see sender.c. */
__attribute__((noinline)) static int recv_begun(ferry_receiver_t *rx, int64_t timeout, ferry_msg_t **m) {
    int r = fi_end_go_on(&rx->end);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_check_output(m, "ferry_recv");
    if (fi_likely(r == 0) && (timeout == FERRY_NOW || !fi_receiver_take_soon(rx, m))) {
        r = fi_receiver_recv(rx, timeout, m);
    }
    fi_end_leave(&rx->end);
    return r;
}

/* Begun, and the next message is not like the one before. */
__attribute__((noinline)) static int recv_otherwise(ferry_receiver_t *rx, int64_t timeout, ferry_msg_t **m) {
    if (fi_unlikely(!fi_receiver_take_unlike(rx, m))) {
        return recv_begun(rx, timeout, m);
    }
    return fi_end_leave(&rx->end);
}

__attribute__((noinline)) static int recv_closely(ferry_receiver_t *rx, int64_t timeout, ferry_msg_t **m) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    return fi_unlikely(r < 0) ? r : recv_begun(rx, timeout, m);
}

FI_QUICK_CALL int ferry_recv(ferry_receiver_t *rx, int64_t timeout, ferry_msg_t **m) {
    if (fi_unlikely(!fi_end_is_mine(fi_end_of(rx), FI_END_RECEIVER))) {
        return recv_closely(rx, timeout, m);
    }
    if (fi_unlikely(!fi_end_begin(&rx->end) || !m)) {
        return recv_begun(rx, timeout, m);
    }
    if (fi_unlikely(!fi_receiver_take_alike(rx, m))) {
        return recv_otherwise(rx, timeout, m);
    }
    return fi_end_leave(&rx->end);
}

int ferry_recv_batch(ferry_receiver_t *rx, ferry_msg_t **msgs, size_t max, int64_t timeout) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_check_output(msgs, "ferry_recv_batch");
    size_t n = 0;
    while (r == 0 && n < max && n < INT32_MAX) {
        r = fi_receiver_recv(rx, n == 0 ? timeout : FERRY_NOW, &msgs[n]);
        n += r == 0;
    }
    fi_end_leave(&rx->end);
    return n > 0 ? (int)n : r;
}

int ferry_recv_into(ferry_receiver_t *rx, void *buf, size_t cap, int64_t timeout, size_t *len) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_check_output(len, "ferry_recv_into");
    if (r == 0 && !buf && cap > 0) {
        r = fi_fail(-EINVAL, "the buffer is NULL, but its size is not 0");
    }
    if (r == 0) {
        r = fi_receiver_recv_into(rx, buf, cap, timeout, len);
    }
    fi_end_leave(&rx->end);
    return r;
}

int ferry_receiver_fd(ferry_receiver_t *rx) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (r < 0) {
        return r;
    }
    r = fi_receiver_fd(rx);
    fi_end_leave(&rx->end);
    return r;
}

int ferry_receiver_senders(ferry_receiver_t *rx) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (r < 0) {
        return r;
    }
    r = (int)rx->link_count;
    fi_end_leave(&rx->end);
    return r;
}

int ferry_receiver_stats(ferry_receiver_t *rx, ferry_receiver_stats_t *stats) {
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (r < 0) {
        return r;
    }
    r = fi_check_output(stats, "ferry_receiver_stats");
    if (r == 0) {
        r = fi_check_size(stats->size, sizeof *stats, "ferry_receiver_stats_t");
    }
    if (r == 0) {
        fi_receiver_stats(rx, stats);
        stats->size = sizeof *stats;
    }
    fi_end_leave(&rx->end);
    return r;
}

static int receiver_close_uncancelled(ferry_receiver_t *rx) {
    if (!rx) {
        return 0;
    }
    int r = fi_end_enter(fi_end_of(rx), FI_END_RECEIVER);
    if (r < 0 && r != -EOWNERDEAD) {
        return r;
    }
    return fi_receiver_close(rx);
}

int ferry_receiver_close(ferry_receiver_t *rx) {
    int cancel = fi_cancel_here();

    int r = receiver_close_uncancelled(rx);
    fi_cancel_restore(cancel);
    return r;
}

/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a sender, and what it can be asked.
 */
#include "channel/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/dispatch.h"
#include "channel/ghosts.h"
#include "host/chosen.h"
#include "node/shown.h"
#include "platform/clock.h"
#include "platform/memfd.h"

#define DEFAULT_QUOTA (64ull << 20)
#define MAX_QUOTA (1ull << 46) /* what a process can map */
#define MAX_RETAIN 65536u
#define RETAIN_INLINE_MAX 96u /* two lines with the extension, so that the ring's size bounds the history */

static void figures(fi_end_t *e, fi_frame_t *f) {
    fi_sender_t *tx = fi_sender_of(e);

    f->figures[3] = fi_load_acquire64(&tx->stats.copies_avoided); /* first: it never passes the messages */
    f->figures[0] = fi_load_relaxed64(&tx->seq);
    f->figures[1] = fi_load_relaxed64(&tx->stats.bytes);
    f->figures[2] = f->figures[0] - f->figures[3] + fi_load_relaxed64(&tx->stats.copies_made);
    f->figures[4] = fi_load_relaxed64(&tx->depth);
    f->figures[6] = fi_load_relaxed64(&tx->pool.charged);
    f->figures[7] = tx->pool.quota;
    f->figures[8] = fi_load_relaxed32(&tx->outlet_count);
}

static const fi_end_ops_t sender_ops = {
    .deliver = fi_sender_deliver,
    .wake = fi_sender_wake,
    .figures = figures,
    .wants_room = fi_sender_wants_room,
    .tends = fi_sender_tends,
    .stirs = fi_sender_stirs,
};

void fi_sender_set_limits(fi_sender_t *tx) {
    uint64_t max = tx->end.contract.max_size;
    uint64_t quota = tx->part.outgrows ? UINT64_MAX : tx->pool.quota;

    tx->largest = max ? fi_min(max, quota) : quota;
    tx->largest = tx->part.most ? fi_min(tx->largest, tx->part.most) : tx->largest;
    tx->timestamps = tx->end.contract.timestamps != 0;
}

static int check_rendezvous(const fi_node_t *n, ferry_kind_t kind) {
    if (kind != FERRY_QUEUE) {
        return fi_fail(-EINVAL, "`rendezvous` is for queues: a topic's message is not for one receiver to take");
    }
    if (n->far) {
        return fi_fail(-EOPNOTSUPP,
                       "a rendezvous ends at the machine: whether a receiver on another one has taken a message, "
                       "or has not, could not be said at a timeout. Open the sender in a space of one machine, or "
                       "wait with ferry_sender_flush until messages are released");
    }
    return 0;
}

static int check_own(const fi_node_t *n, const ferry_contract_t *c, ferry_kind_t kind) {
    if (c->rendezvous) {
        int r = check_rendezvous(n, kind);
        if (r < 0) {
            return r;
        }
    }
    if (c->quota && c->quota < FI_MIN_QUOTA) {
        return fi_fail(-EINVAL, "a quota of %" PRIu64 " bytes is too small: at least %" PRIu64 " are needed", c->quota,
                       (uint64_t)FI_MIN_QUOTA);
    }
    if (c->retain && kind != FERRY_TOPIC) {
        return fi_fail(-EINVAL, "`retain` is for topics: a queue keeps every message until it is released anyway");
    }
    if (c->retain > MAX_RETAIN) {
        return fi_fail(-EINVAL, "`retain` is %u, more than the %u messages a topic can keep", c->retain, MAX_RETAIN);
    }
    if ((unsigned)c->overflow > FERRY_OVERFLOW_FAIL || (unsigned)c->wait > FERRY_WAIT_BLOCK) {
        return fi_fail(-EINVAL, "the contract's overflow (%d) or wait (%d) is not one of the values in ferry/channel.h",
                       (int)c->overflow, (int)c->wait);
    }
    return 0;
}

static int set_up(fi_sender_t *tx, const ferry_contract_t *c) {
    fi_pool_events_t events = {.removed = fi_sender_retire, .yield = fi_taps_yield, .owner = tx};
    uint64_t quota = c->quota ? c->quota : DEFAULT_QUOTA;
    const char *check = getenv("FERRY_CHECK");

    fi_pool_init(&tx->pool, fi_align_up(fi_min(quota, MAX_QUOTA), fi_page_size()), &events);
    fi_list_init(&tx->backlog);
    tx->backlog_place = &tx->backlog;
    fi_list_init(&tx->delayed);
    fi_list_init(&tx->buried);
    tx->scan_due = FI_NEVER;
    fi_list_init(&tx->handles);
    tx->room_fd = -1;
    fi_sender_forget_quick(tx);
    tx->overflow = c->overflow;
    tx->capacity = c->capacity ? c->capacity : UINT64_MAX;
    tx->sampling = (fi_sampling_t){.at = 1, .every = FI_SAMPLE_FIRST};
    tx->free_to = fi_min(tx->capacity, tx->sampling.at);
    tx->retain = c->retain;
    tx->spinner.policy = (uint32_t)c->wait;
    tx->rendezvous = c->rendezvous != 0;
    tx->inline_max = tx->retain ? RETAIN_INLINE_MAX : fi_host_inline();
    tx->check = check && strcmp(check, "1") == 0;
    tx->first_lines = FI_SMALL_RING_LINES;
    if (tx->end.contract.hold == FERRY_HOLD_NEVER) {
        tx->first_lines = FI_LARGE_RING_LINES; /* what a slow receiver can lag behind before it loses */
    }
    if (tx->retain) {
        tx->first_lines = (uint32_t)fi_max(FI_LINES_PER_MESSAGE * tx->retain + 14, tx->first_lines);
        tx->retained = calloc(tx->retain, sizeof *tx->retained);
        if (!tx->retained) {
            return fi_fail(-ENOMEM, "no memory to remember %u retained messages", tx->retain);
        }
    }
    fi_sender_set_limits(tx);
    return tx->end.kind == FERRY_TOPIC ? fi_sender_add_outlet(tx, tx->first_lines, &tx->topic) : 0;
}

static void tear_down(fi_sender_t *tx) {
    fi_purge_forget(tx);
    fi_backlog_drop(tx);
    fi_sender_unlink_all(tx);
    fi_messages_forget(tx);
    fi_pool_done(&tx->pool);
    free(tx->retained);
    free(tx->outlets);
    free(tx->links);
    if (tx->room_fd >= 0) {
        close(tx->room_fd);
    }
    fi_end_done(&tx->end);
}

int fi_sender_new(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c, fi_sender_t **out) {
    static const fi_part_t nothing;

    return fi_sender_new_part(n, channel, kind, c, &nothing, out);
}

int fi_sender_check(const fi_node_t *n, ferry_kind_t kind, const ferry_contract_t *c, fi_contract_t *shared) {
    int r = fi_contract_from_public(c, shared);

    return r < 0 ? r : check_own(n, c, kind);
}

int fi_sender_new_part(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c,
                       const fi_part_t *part, fi_sender_t **out) {
    static const ferry_contract_t none;
    fi_contract_t shared;

    c = c ? c : &none;
    int r = fi_sender_check(n, kind, c, &shared);
    if (r < 0) {
        return r;
    }
    fi_sender_t *tx = calloc(1, sizeof *tx);
    if (!tx) {
        return fi_fail(-ENOMEM, "no memory for a sender on '%s'", fi_channel_shown(channel));
    }
    fi_end_init(&tx->end, n, FI_END_SENDER, &sender_ops);
    tx->end.kind = (uint32_t)kind;
    tx->end.in_haste = part->in_haste;
    tx->end.hidden = part->hidden;
    tx->end.only = part->only;
    tx->seq = part->first_seq ? part->first_seq - 1 : 0;
    tx->end.contract = shared;
    tx->part = *part;
    memcpy(tx->end.channel, channel, strlen(channel) + 1);
    r = set_up(tx, c);
    if (r == 0) {
        (void)fi_own(&tx->end.own);
        r = fi_node_join(n, &tx->end);
    }
    if (r < 0) {
        fi_node_part(n, &tx->end);
        fi_disown(&tx->end.own);
        tear_down(tx);
        free(tx);
        return r;
    }
    if (fi_end_enter(&tx->end, FI_END_SENDER) == 0) {
        fi_sender_set_limits(tx); /* the channel's contract may say more than ours */
        fi_end_leave(&tx->end);
    }
    *out = tx;
    return 0;
}

uint64_t fi_sender_unreleased(fi_sender_t *tx, bool exactly) {
    uint64_t count = tx->backlog_count + tx->aside_count;

    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        fi_outlet_refresh(tx->outlets[i]);
        count += fi_outlet_unreleased(tx->outlets[i], exactly);
    }
    if (exactly) {
        fi_store_relaxed64(&tx->depth, count);
    }
    return count;
}

struct visit {
    void (*each)(uint64_t seq, void *arg);
    void *arg;
};

static bool visit_unreleased(const fi_unreleased_t *u, void *arg) {
    const struct visit *v = arg;

    v->each(u->seq, v->arg);
    return false;
}

void fi_sender_each_oldest(fi_sender_t *tx, void (*each)(uint64_t seq, void *arg), void *arg) {
    uint64_t seq = fi_backlog_oldest(tx);

    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        if (seq != UINT64_MAX) {
            each(seq, arg);
        }
        (void)fi_outlet_refresh_exactly(tx->outlets[i]);
        seq = fi_outlet_oldest(tx->outlets[i]);
    }
    if (seq != UINT64_MAX) {
        each(seq, arg);
    }
    if (tx->stats.redelivered > 0) {
        struct visit v = {each, arg};
        fi_backlog_each(tx, visit_unreleased, &v);
    }
}

/* Is nothing unreleased? Unlike a count, this ends at the first that is. */
static bool is_drained(fi_sender_t *tx) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        fi_outlet_refresh(tx->outlets[i]);
        if (fi_outlet_oldest(tx->outlets[i]) != UINT64_MAX) {
            return false;
        }
    }
    return tx->backlog_count + tx->aside_count == 0;
}

static int try_drained(fi_sender_t *tx, void *arg) {
    (void)arg;
    if (tx->backlog_count > 0 && tx->link_count > 0) {
        fi_backlog_watch(tx);
    }
    return is_drained(tx) && !fi_purge_goes_on(tx) ? 0 : -EAGAIN;
}

static unsigned live_links(const fi_sender_t *tx) {
    unsigned live = tx->link_count;

    if (tx->topic) {
        for (uint32_t i = 0; i < tx->topic->link_count; i++) {
            live += tx->topic->links[i]->live;
        }
    }
    return live;
}

static int not_drained(fi_sender_t *tx, int r) {
    char text[320];
    char words[FI_UNMET_WORDS];

    if (tx->part.explain && tx->part.explain(tx, text, sizeof text)) {
        return fi_fail(r, "%s", text);
    }
    uint64_t count = fi_sender_unreleased(tx, true);
    return fi_fail(r, "%llu message%s of '%s' %s not released: %s%s", (unsigned long long)count, count == 1 ? "" : "s",
                   fi_channel_shown(tx->end.channel), count == 1 ? "is" : "are",
                   live_links(tx) == 0 ? "nobody has it open to receive" : "its receivers have not done with it",
                   fi_end_unmet_words(&tx->end, words));
}

int fi_sender_flush(fi_sender_t *tx, int64_t timeout) {
    int r = fi_sender_wait_until(tx, try_drained, NULL, timeout, false);

    if (r == -EAGAIN || r == -ETIMEDOUT) {
        return not_drained(tx, r);
    }
    return r == 0 && tx->fencing.token ? fi_sender_take_denial(tx) : r;
}

static int try_receivers(fi_sender_t *tx, void *arg) {
    const unsigned *wanted = arg;
    return live_links(tx) >= *wanted ? 0 : -EAGAIN;
}

int fi_sender_wait(fi_sender_t *tx, unsigned receivers, int64_t timeout) {
    tx->stall.bears_it = true; /* whoever is stuck, others may come */
    int r = fi_sender_wait_until(tx, try_receivers, &receivers, timeout, false);

    tx->stall.bears_it = false;
    if (r == -EAGAIN || r == -ETIMEDOUT) {
        return fi_fail(r, "%u receivers are linked with '%s', fewer than the %u waited for", live_links(tx),
                       fi_channel_shown(tx->end.channel), receivers);
    }
    return r < 0 ? r : (int)live_links(tx);
}

static void finish(fi_sender_t *tx) {
    fi_sender_waited(tx); /* a thread that was cancelled in its sleep has left it listed */
    fi_node_part(tx->end.node, &tx->end);
    fi_disown(&tx->end.own);
    (void)fi_end_do_chores(&tx->end); /* a receiver that was met meanwhile needs its answer */
    fi_dispatch_rest(tx);
    fi_end_set_due(&tx->end, FI_NEVER); /* they may have named a time */
    tx->end.magic = FI_END_CLOSED;
    if (tx->part.ends) {
        tx->part.ends(tx->part.whole);
    }
    tear_down(tx);
    fi_graveyard_add(tx);
}

int fi_sender_close(fi_sender_t *tx, int64_t timeout, uint64_t *undelivered) {
    if (tx->claim.open) {
        (void)fi_sender_abort(tx);
    }
    tx->stall.bears_it = true; /* to give up would lose what is not delivered */
    int r = fi_sender_flush(tx, timeout);
    if (r == -EINTR) {
        tx->stall.bears_it = false;
        return r;
    }
    if (undelivered) {
        *undelivered = fi_sender_unreleased(tx, true) + tx->stats.purged + fi_load_relaxed64(&tx->fencing.refused);
    }
    int violation = fi_messages_check(tx);
    finish(tx);
    return violation;
}

void fi_sender_drop(fi_sender_t *tx) {
    fi_node_part(tx->end.node, &tx->end); /* from here on the steward keeps off */
    tx->claim = (fi_claim_t){0};
    finish(tx);
}

static void settle(fi_outlet_t *o) {
    fi_outlet_refresh_exactly(o);
    fi_outlet_reclaim(o, true);
}

void fi_sender_stats(fi_sender_t *tx, ferry_sender_stats_t *stats) {
    tx->stats.unreleased = fi_sender_unreleased(tx, true);
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        settle(tx->outlets[i]);
    }
    if (tx->taps) {
        settle(tx->taps);
    }
    fi_haunted_settle(tx);
    tx->stats.pool_blocks = tx->pool.blocks;
    tx->stats.pool_bytes = tx->pool.bytes;
    tx->stats.memory = tx->pool.charged;
    tx->stats.receivers = live_links(tx);
    *stats = tx->stats;
    stats->messages = tx->seq;
    stats->refused = fi_load_relaxed64(&tx->fencing.refused);
    stats->unpublished = fi_load_relaxed64(&tx->unpublished);
    stats->copies_made += stats->messages - stats->copies_avoided;
    stats->copied_bytes += stats->bytes - stats->avoided_bytes;
}

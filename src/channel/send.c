/* SPDX-License-Identifier: MIT
 *
 * Putting messages in: by copy, in place, by pointer.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/dispatch.h"
#include "channel/quick.h"
#include "channel/rendezvous.h"
#include "channel/tell.h"
#include "node/shown.h"
#include "platform/clock.h"

/* The link of a queue with the least before it, as far as is known; in turn among equals. */
static fi_outlet_t *choose(fi_sender_t *tx) {
    fi_outlet_t *best = NULL;
    uint64_t least = UINT64_MAX;
    uint32_t n = tx->link_count;

    if (fi_likely(n == 1)) {
        best = tx->links[0]->outlet;
        return fi_outlet_is_claimed(best) || fi_txlink_is_sated(tx->links[0]) ? NULL : best;
    }
    if (tx->part.choose) {
        return tx->part.choose(tx);
    }
    if (tx->windows > 0) {
        return fi_dispatch_choose(tx);
    }
    for (uint32_t i = 0; i < n && (i < FI_CHOICES || (!best && tx->rationed)); i++) {
        fi_txlink_t *l = tx->links[(tx->turn + i) % n];
        fi_outlet_t *o = l->outlet;
        fi_log_t *log = fi_outlet_log(o);
        if (log->w.pos - log->freed > FI_LOOK_AGAIN_AT) {
            fi_outlet_refresh(o);
        }
        if (log->w.pos - log->freed < least && !fi_outlet_is_claimed(o) && !fi_txlink_is_sated(l)) {
            least = log->w.pos - log->freed;
            best = o;
        }
    }
    tx->turn = (tx->turn + 1) % n;
    return best;
}

/* Any link that takes it, after the chosen one did not. */
static int put_anywhere(fi_sender_t *tx, const fi_item_t *item) {
    for (uint32_t i = 0; i < tx->link_count; i++) {
        fi_txlink_t *l = tx->links[(tx->turn + i) % tx->link_count];
        fi_outlet_t *o = l->outlet;
        if (!fi_outlet_is_claimed(o) && !fi_txlink_is_sated(l)) {
            fi_outlet_refresh(o);
            int r = fi_outlet_put(o, item);
            if (r != -EAGAIN) {
                return r;
            }
        }
    }
    return -EAGAIN;
}

int fi_sender_put(fi_sender_t *tx, const fi_item_t *item) {
    fi_outlet_t *o = tx->topic;

    if (!o) {
        if (tx->link_count == 0) {
            return -EAGAIN;
        }
        o = choose(tx);
    }
    int r = o ? fi_outlet_put(o, item) : -EAGAIN;
    if (fi_unlikely(r == -EAGAIN && o)) {
        if (fi_outlet_refresh(o)) {
            r = fi_outlet_put(o, item);
        }
        if (r == -EAGAIN && tx->link_count > 1) {
            r = put_anywhere(tx, item);
        }
    }
    if (item->block && o) {
        fi_outlet_give_back(o, fi_outlet_log(o));
    }
    if (fi_unlikely(tx->rationed) && r == 0) {
        fi_returned_watch(tx);
    }
    return r;
}

/* Nobody may hold this sender back. */
static bool never_waits(const fi_sender_t *tx) {
    return tx->topic && tx->topic->strict_count == 0;
}

bool fi_sender_is_over_capacity(fi_sender_t *tx) {
    if (fi_likely(tx->seq < tx->free_to)) {
        return false;
    }
    if (tx->seq >= tx->sampling.at) {
        fi_sender_sample(tx);
    }
    if (never_waits(tx)) {
        return false;
    }
    if (tx->capacity == UINT64_MAX) {
        tx->free_to = tx->sampling.at;
        return false;
    }
    uint64_t unreleased = fi_sender_unreleased(tx, false);
    if (unreleased >= tx->capacity) {
        unreleased = fi_sender_unreleased(tx, true);
    }
    if (unreleased >= tx->capacity) {
        return true;
    }
    tx->free_to = fi_min(tx->seq + (tx->capacity - unreleased), tx->sampling.at);
    return false;
}

static bool has_no_reader(const fi_sender_t *tx) {
    return !tx->topic && tx->link_count == 0;
}

/* Since we spun in vain for a message that waits, nobody has released any: to spin for the next one would be in vain,
 * too. With readers that go on, however slowly, it is not: they are better waited for than run away from. */
static bool is_stuck(fi_sender_t *tx) {
    for (uint32_t i = 0; tx->stuck && i < tx->outlet_count; i++) {
        tx->stuck = !fi_outlet_refresh_exactly(tx->outlets[i]);
    }
    return tx->stuck && tx->backlog_count > 0;
}

/* Whoever shall have it may not have it now: it waits in the pool, as far as the quota goes. */
static bool goes_to_backlog(fi_sender_t *tx) {
    return tx->stalled || has_no_reader(tx) || tx->part.choose || tx->rationed || tx->windows || tx->part.unhurried ||
           fi_sender_is_read_far_away(tx) || is_stuck(tx);
}

/* One attempt to accept an item. */
static int accept_item(fi_sender_t *tx, const fi_item_t *item) {
    if (fi_unlikely(fi_sender_is_over_capacity(tx))) {
        return -EAGAIN;
    }
    if (fi_unlikely(tx->backlog_count > 0)) {
        int r = fi_backlog_pump(tx);
        if (r < 0 && r != -EAGAIN) {
            return r;
        }
    }
    int r = tx->backlog_count == 0 ? fi_sender_put(tx, item) : -EAGAIN;
    if (r == -EAGAIN && goes_to_backlog(tx)) {
        r = fi_backlog_add(tx, item);
        if (r == 0 && !has_no_reader(tx) && !tx->waiting) {
            fi_backlog_watch(tx);
        }
    }
    return r;
}

struct attempt {
    fi_item_t *item;
    bool no_quota;
};

static int try_item(fi_sender_t *tx, void *arg) {
    struct attempt *a = arg;
    int r = accept_item(tx, a->item);

    a->no_quota = r == -EDQUOT;
    return r == -EDQUOT ? -EAGAIN : r;
}

static int quota_error(fi_sender_t *tx) {
    return fi_fail(-EDQUOT,
                   "the quota of '%s' (%" PRIu64 " bytes) is used up by messages that nobody has received yet: open a "
                   "receiver, or raise `quota`",
                   fi_channel_shown(tx->end.channel), tx->pool.quota);
}

/* Counts a message that was accepted, and lets others look at it. */
static void accepted(fi_sender_t *tx, const fi_item_t *item) {
    fi_sender_count(tx, item->size);
    if (fi_unlikely(tx->taps != NULL)) {
        fi_taps_show(tx, item);
    }
}

/* Is the next message one that is looked at (sample.h)? What is retained is seen long after. */
static bool is_probe(const fi_sender_t *tx) {
    return fi_unlikely(tx->seq >= tx->sampling.at) && tx->retain == 0 && !tx->timestamps;
}

static void put_time(const fi_sender_t *tx, fi_item_t *item, bool probe) {
    item->probe = probe;
    if (probe || tx->timestamps) {
        item->time_ns = (uint64_t)fi_now_ns();
    }
}

static int send_item(fi_sender_t *tx, fi_item_t *item, int64_t timeout) {
    item->seq = tx->seq + 1;
    item->attempt = 1;
    put_time(tx, item, is_probe(tx));
    struct attempt a = {item, false};
    int r = tx->rendezvous ? fi_rendezvous_send(tx, item, timeout) : try_item(tx, &a);
    if (fi_unlikely(r == -EAGAIN && !tx->rendezvous)) {
        r = fi_sender_wait_until(tx, try_item, &a, timeout, tx->overflow == FERRY_OVERFLOW_FAIL);
        if (r == -EAGAIN && a.no_quota) {
            r = quota_error(tx);
        }
    }
    if (fi_likely(r == 0)) {
        accepted(tx, item);
        fi_sender_find_quick(tx);
    }
    return r;
}

fi_log_t fi_no_log;

void fi_sender_find_quick(fi_sender_t *tx) {
    fi_outlet_t *o = tx->topic ? tx->topic : tx->link_count == 1 ? tx->links[0]->outlet : NULL;
    /* A reader that stands still may never accept the next ring. When all have, their mail makes us look again. */
    bool turns_over = o && o->growing && o->awaiting == 0;
    bool usual = o && o->link_count > 0 && !(FI_TSAN && o->lossy_count > 0) && !turns_over && o->first == o->current &&
                 tx->backlog_count == 0 && tx->retain == 0 && tx->rationed == 0 && !tx->timestamps && !tx->abandoned &&
                 !tx->taps && !tx->rendezvous && !tx->denied;

    fi_sender_forget_quick(tx);
    if (usual) {
        tx->quick = o;
        tx->quick_log = fi_outlet_log(o);
        fi_log_set_silent(o, tx->quick_log);
    }
}

bool fi_sender_find_form(fi_sender_t *tx, uint64_t size) {
    if (!tx->quick || size > tx->inline_max || !fi_sender_size_fits(tx, size)) {
        return false;
    }
    unsigned flags = fi_record_place(size, false);
    tx->form = (fi_form_t){size, fi_record_word((uint32_t)size, FI_REC_INLINE, flags, 1),
                           (uint32_t)fi_record_lines(size, flags), fi_payload_offset(flags)};
    return true;
}

static int bad_size(const fi_sender_t *tx, uint64_t size) {
    const fi_contract_t *c = &tx->end.contract;

    if (c->type_size && size != c->type_size) {
        return fi_fail(-EMSGSIZE, "'%s' carries messages of exactly %" PRIu64 " bytes (%s), this one has %" PRIu64,
                       fi_channel_shown(tx->end.channel), c->type_size, c->type_name[0] ? c->type_name : "type_size",
                       size);
    }
    if (c->max_size && size > c->max_size) {
        return fi_fail(-EMSGSIZE, "'%s' carries messages of at most %" PRIu64 " bytes, this one has %" PRIu64,
                       fi_channel_shown(tx->end.channel), c->max_size, size);
    }
    if (tx->part.most && size > tx->part.most) {
        return fi_fail(-EMSGSIZE,
                       "'%s' is %s, and takes messages of at most %" PRIu64 " bytes, this one has %" PRIu64
                       ": split it",
                       fi_channel_shown(tx->end.channel), tx->part.plain ? "plain" : "durable", tx->part.most, size);
    }
    return fi_fail(-EMSGSIZE,
                   "a message of %" PRIu64 " bytes can never fit the quota of '%s' (%" PRIu64 " bytes): raise `quota`",
                   size, fi_channel_shown(tx->end.channel), tx->pool.quota);
}

static int not_now(fi_sender_t *tx) {
    if (tx->abandoned) {
        return fi_fail(-EOWNERDEAD, "the thread that owned this sender on '%s' has ended: close it and open a new one",
                       fi_channel_shown(tx->end.channel));
    }
    if (fi_node_is_shut(tx->end.node)) {
        return fi_fail(-ESHUTDOWN, "the node %s: nothing more can be sent on '%s'", fi_node_end_word(tx->end.node),
                       fi_channel_shown(tx->end.channel));
    }
    if (tx->claim.open) {
        return fi_fail(-EBUSY, "a claim is open on '%s': end it with ferry_commit or ferry_abort first",
                       fi_channel_shown(tx->end.channel));
    }
    return fi_sender_take_denial(tx);
}

static int check_send(fi_sender_t *tx, uint64_t size) {
    if (fi_unlikely(tx->abandoned || tx->denied || tx->claim.open || fi_node_is_shut(tx->end.node))) {
        int r = not_now(tx);
        if (r < 0) {
            return r;
        }
    }
    return fi_sender_size_fits(tx, size) ? 0 : bad_size(tx, size);
}

int fi_sender_send_copy(fi_sender_t *tx, const void *data, uint64_t size, uint64_t tag, int64_t timeout) {
    fi_block_t *block = NULL;

    int r = check_send(tx, size);
    if (r == 0 && size > tx->inline_max) {
        int64_t deadline = timeout > 0 ? fi_deadline(timeout) : timeout;
        r = fi_sender_alloc(tx, size, timeout, &block);
        if (r == 0) {
            memcpy(fi_block_data(block), data, size);
            timeout = timeout > 0 ? fi_timeout_left(deadline) : timeout;
        }
    }
    if (r < 0) {
        return r;
    }
    fi_item_t item = {.data = data, .block = block, .size = size, .tag = tag};
    r = send_item(tx, &item, timeout);
    if (block) {
        fi_pool_unref(&tx->pool, block);
    }
    return r;
}

int fi_sender_send_block(fi_sender_t *tx, fi_block_t *block, uint64_t size, uint64_t tag, const void *annex,
                         int64_t timeout) {
    fi_item_t item = {.block = block, .annex = annex, .size = size, .tag = tag};

    int r = check_send(tx, size);
    if (r == 0) {
        r = send_item(tx, &item, timeout);
    }
    if (r == 0) {
        fi_sender_count_no_copy(tx, size);
    }
    return r;
}

int fi_sender_forward(fi_sender_t *tx, fi_item_t *item) {
    fi_block_t *block = NULL;

    item->origin = item->origin && item->size >= sizeof(struct fi_origin);
    int r = check_send(tx, item->size - (item->origin ? sizeof(struct fi_origin) : 0));
    if (r == 0 && !item->block && item->size > tx->inline_max) {
        r = fi_sender_alloc_now(tx, item->size, &block);
        if (r == 0) {
            memcpy(fi_block_data(block), item->data, item->size);
            item->block = block;
        }
    }
    if (r == 0) {
        uint64_t before = tx->seq;
        tx->seq = item->seq - 1;
        tx->stalled = !tx->topic; /* what finds no room in a ring waits in the pool */
        r = accept_item(tx, item);
        if (r == 0) {
            accepted(tx, item);
        } else {
            tx->seq = before;
        }
        for (uint32_t i = 0; r == -EAGAIN && i < tx->outlet_count; i++) {
            fi_outlet_consider_growth(tx->outlets[i], false);
        }
    }
    if (block) {
        fi_pool_unref(&tx->pool, block);
        item->block = NULL;
    }
    return r == -EDQUOT ? -EAGAIN : r;
}

struct wanted_claim {
    uint64_t size;
    bool probe;
    bool no_quota;
};

static int claim_block(fi_sender_t *tx, uint64_t size) {
    fi_claim_t *c = &tx->claim;
    int r = fi_sender_alloc_now(tx, size, &c->block);

    if (r == 0) {
        c->outlet = NULL;
        c->flags = 0;
        c->data = fi_block_data(c->block);
    }
    return r;
}

static int try_claim(fi_sender_t *tx, void *arg) {
    struct wanted_claim *want = arg;
    fi_claim_t *c = &tx->claim;

    want->no_quota = false;
    c->data = NULL;
    if (fi_sender_is_over_capacity(tx)) {
        return -EAGAIN;
    }
    bool ext = tx->timestamps || want->probe;
    bool behind = tx->backlog_count > 0 && fi_backlog_pump(tx) == -EAGAIN;
    if (!behind && want->size <= tx->inline_max && !has_no_reader(tx)) {
        fi_outlet_t *o = tx->topic ? tx->topic : choose(tx);
        if (o) {
            c->data = fi_outlet_claim(o, want->size, ext, &c->flags);
        }
        if (o && !c->data && fi_outlet_refresh(o)) {
            c->data = fi_outlet_claim(o, want->size, ext, &c->flags);
        }
        c->outlet = o;
        behind = !c->data;
    }
    if (c->data || (behind && !goes_to_backlog(tx))) {
        return c->data ? 0 : -EAGAIN;
    }
    int r = claim_block(tx, want->size);
    want->no_quota = r == -EDQUOT;
    return r == -EDQUOT ? -EAGAIN : r;
}

/* Its time is put in when it is committed, which is not done the quick way. */
static void note_probe(fi_sender_t *tx, bool probe) {
    if (fi_unlikely(probe)) {
        tx->claim.flags |= FI_REC_PROBE;
        fi_sender_forget_quick(tx);
    }
}

int fi_sender_claim(fi_sender_t *tx, uint64_t size, int64_t timeout, void **data) {
    struct wanted_claim want = {.size = size, .probe = is_probe(tx)};

    int r = check_send(tx, size);
    if (r == 0 && tx->rendezvous) {
        r = fi_fail(-EINVAL,
                    "'%s' is sent on by rendezvous, for which ferry_commit could not wait: use ferry_send or "
                    "ferry_send_msg",
                    fi_channel_shown(tx->end.channel));
    }
    if (r < 0) {
        return r;
    }
    r = try_claim(tx, &want);
    if (fi_unlikely(r == -EAGAIN)) {
        r = fi_sender_wait_until(tx, try_claim, &want, timeout, tx->overflow == FERRY_OVERFLOW_FAIL);
        if (r == -EAGAIN && want.no_quota) {
            r = quota_error(tx);
        }
    }
    if (r == 0) {
        tx->claim.open = true;
        tx->claim.size = size;
        *data = tx->claim.data;
        note_probe(tx, want.probe);
    }
    return r;
}

static int no_claim(const fi_sender_t *tx) {
    return fi_fail(-EINVAL, "no claim is open on '%s': call ferry_claim first", fi_channel_shown(tx->end.channel));
}

/* Sends the claim that stands in a block, or in the ring of a receiver that has gone meanwhile. */
static int commit_elsewhere(fi_sender_t *tx, const fi_claim_t *c, const fi_item_t *item) {
    /* Claimed is accepted: what has room already cannot fail now, and must not wait. */
    tx->pool.overdraft = true;
    int r = tx->backlog_count == 0 && c->block ? fi_sender_put(tx, item) : -EAGAIN;
    if (r == -EAGAIN) {
        r = fi_backlog_add(tx, item);
        if (r == 0) {
            fi_backlog_watch(tx);
        }
    }
    tx->pool.overdraft = false;
    return r;
}

static void end_claim(fi_sender_t *tx) {
    fi_claim_t c = tx->claim;

    tx->claim = (fi_claim_t){0};
    if (c.block) {
        fi_pool_unref(&tx->pool, c.block);
    }
    if (c.outlet && c.outlet != tx->topic && c.outlet->link_count == 0) {
        fi_sender_forget_outlet(tx, c.outlet);
    }
}

int fi_sender_commit(fi_sender_t *tx, uint64_t size) {
    fi_claim_t c = tx->claim;
    int r = 0;

    if (!c.open) {
        return no_claim(tx);
    }
    if (size > c.size) {
        return fi_fail(-EINVAL, "%" PRIu64 " bytes were committed on '%s', but only %" PRIu64 " claimed", size,
                       fi_channel_shown(tx->end.channel), c.size);
    }
    if (!fi_sender_size_fits(tx, size)) {
        return bad_size(tx, size);
    }
    fi_item_t item = {
        .data = c.block ? NULL : c.data, .block = c.block, .size = size, .seq = tx->seq + 1, .attempt = 1};
    put_time(tx, &item, (c.flags & FI_REC_PROBE) != 0);
    bool in_place = c.outlet && (c.outlet == tx->topic || c.outlet->link_count > 0);
    if (fi_likely(in_place)) {
        fi_outlet_commit(c.outlet, &item, c.flags);
        tx->claim.open = false;
        if (fi_unlikely(tx->rationed)) {
            fi_returned_watch(tx);
        }
    } else {
        r = commit_elsewhere(tx, &c, &item);
    }
    if (r == 0) {
        accepted(tx, &item);
        fi_sender_count_no_copy(tx, size);
        if (fi_unlikely(!tx->quick)) {
            fi_sender_find_quick(tx);
        }
    }
    if (!in_place) {
        end_claim(tx);
    }
    return r;
}

int fi_sender_abort(fi_sender_t *tx) {
    if (!tx->claim.open) {
        return no_claim(tx);
    }
    end_claim(tx);
    return 0;
}

bool fi_sender_has_room(fi_sender_t *tx) {
    if (never_waits(tx)) {
        return true;
    }
    if (fi_sender_is_over_capacity(tx)) {
        return false;
    }
    if (tx->rendezvous) {
        return (tx->backlog_count == 0 || fi_backlog_pump(tx) == 0) && fi_rendezvous_is_awaited(tx);
    }
    if (!has_no_reader(tx) && (tx->backlog_count == 0 || fi_backlog_pump(tx) == 0)) {
        fi_outlet_t *o = tx->topic ? tx->topic : choose(tx);
        if (!o && !tx->rationed && !tx->windows) {
            return false; /* a claim is open */
        }
        if (o) {
            fi_outlet_refresh_exactly(o);
        }
        if (o && fi_ringw_fits(&fi_outlet_log(o)->w, 2)) {
            return true;
        }
    }
    fi_sender_reclaim(tx); /* as a send would */
    while (!fi_pool_has_room(&tx->pool, tx->inline_max)) {
        if (!fi_taps_yield(tx)) {
            return false;
        }
    }
    return true;
}

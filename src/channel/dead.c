/* SPDX-License-Identifier: MIT
 *
 * Dead letters: a receiver sends what was tried too often to another queue, by a sender of its own.
 *
 *   receiver                                        sender's holder
 *   puts a copy into the dead-letter queue
 *   REJECT (buried)                                 keeps the message aside: nobody is to try it
 *   the copy has been released by its reader
 *   REJECT (done)                                   lets the message go
 *
 * Until its reader has released the copy, the message is with its first sender: when this process dies, and the copy
 * with it, the message is tried again, and buried by another receiver.  So it reaches the dead-letter queue at least
 * once.  A copy that was purged is done, too, and the first sender counts its message as purged.
 *
 * What the other queue's contract does not admit, because of its size, it will not admit later either: contracts only
 * become more definite.  The message stays with its first sender, without being tried, until this receiver goes (REJECT,
 * refused), and the next call that receives says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/messages.h"
#include "node/shown.h"

#define TRY_AGAIN_NS 1000000000ll /* when the dead-letter queue has no room */
#define SHARE 64u                 /* of the copies; see `look` */

/* A copy that was sent, and whose original waits. */
typedef struct fi_buried {
    uint64_t number; /* of the copy */
    fi_peer_t *peer; /* the original's sender; counted */
    uint64_t tx;
    uint64_t seq;
    bool waits; /* found among those that are not released */
} fi_buried_t;

struct fi_dead {
    fi_receiver_t *rx;
    fi_sender_t *tx; /* NULL: it was closed with the node */
    uint32_t max_attempts;
    /* Whoever holds `tx`. In the order of the copies' numbers. */
    fi_buried_t *buried;
    size_t first, end, cap; /* they stand from `first` up to `end` */
    size_t looks;           /* since all of them were looked at */
    uint64_t purged;        /* copies that their senders know to be purged */
    char refusal[240];      /* why the queue did not take one, which is to be told; */
    int64_t told_at;        /* when that was done last; 0: never */
};

/* --- what has become of the copies ------------------------------------------------------------------------------- */

static size_t waiting(const fi_dead_t *d) {
    return d->end - d->first;
}

static int by_number(const void *a, const void *b) {
    uint64_t left = ((const fi_buried_t *)a)->number;
    uint64_t right = ((const fi_buried_t *)b)->number;

    return left < right ? -1 : left > right;
}

static bool note_waiting(const fi_unreleased_t *u, void *arg) {
    fi_dead_t *d = arg;
    fi_buried_t key = {.number = u->seq};
    fi_buried_t *found = bsearch(&key, d->buried + d->first, waiting(d), sizeof key, by_number);

    if (found) {
        found->waits = true;
    }
    return false;
}

static void tell_done(const fi_dead_t *d, const fi_buried_t *b, bool purged) {
    fi_frame_t f = fi_frame(FI_REJECT, b->tx, d->rx->end.id);

    f.flags = FI_REJECT_DONE | (purged ? FI_REJECT_PURGED : 0);
    f.a = b->seq;
    (void)fi_peer_send(b->peer, &f, NULL);
    fi_peer_unref(b->peer);
}

static void note_oldest(uint64_t seq, void *arg) {
    uint64_t *oldest = arg;

    *oldest = fi_min(*oldest, seq);
}

/* Those before the first that is not released. */
static void settle_first(fi_dead_t *d) {
    uint64_t oldest = UINT64_MAX;

    fi_sender_each_oldest(d->tx, note_oldest, &oldest);
    while (d->first < d->end && d->buried[d->first].number < oldest) {
        tell_done(d, &d->buried[d->first++], false);
    }
}

/*
 * How many have been purged is known, and not which.  What a reader is asked to leave out stands behind what it has
 * taken, so they are the newest; with several readers, and letters of several senders, it may count as another one's.
 */
static void settle_all(fi_dead_t *d) {
    uint64_t purged = d->tx->stats.purged - d->purged;
    uint64_t done = 0;
    size_t left = 0;

    fi_backlog_each(d->tx, note_waiting, d);
    for (size_t i = d->first; i < d->end; i++) {
        done += !d->buried[i].waits;
    }
    for (size_t i = d->first; i < d->end; i++) {
        if (d->buried[i].waits) {
            d->buried[left] = d->buried[i];
            d->buried[left++].waits = false;
        } else {
            tell_done(d, &d->buried[i], done-- <= purged);
        }
    }
    d->purged = d->tx->stats.purged;
    d->first = 0;
    d->end = left;
}

/*
 * Something may have been released.  While copies wait, the next release shall call the steward.  Mostly it is the
 * first ones.  To find others, all must be looked at, which is done once in so many looks that no look costs more, on
 * average, than SHARE copies: of thousands, one that was released before older ones may be noticed some releases later.
 * While a reader is asked to leave out what was purged, it is not known what it releases.  `tx` is held.
 */
static void look_at(fi_dead_t *d, bool at_all) {
    if (waiting(d) == 0) {
        return;
    }
    fi_sender_arm(d->tx);
    if (fi_purge_goes_on(d->tx)) {
        return;
    }
    if (at_all || d->purged != d->tx->stats.purged || ++d->looks > waiting(d) / SHARE) {
        d->looks = 0;
        settle_all(d);
    } else {
        settle_first(d);
    }
    if (waiting(d) == 0 && d->tx->backlog_count == 0) {
        fi_sender_disarm(d->tx);
    }
}

static void look(void *whole) {
    look_at(whole, false);
}

/* --- whoever has the receiver takes its sender ------------------------------------------------------------------- */

static bool hold(fi_dead_t *d) {
    return d->tx && fi_end_enter(&d->tx->end, FI_END_SENDER) == 0;
}

static void let_go(fi_dead_t *d) {
    fi_disown(&d->tx->end.own); /* it goes with the receiver, whichever thread uses that next */
    fi_end_leave(&d->tx->end);
}

uint64_t fi_dead_waiting(const fi_receiver_t *rx) {
    fi_dead_t *d = rx->dead_letters;
    uint64_t count = 0;

    if (d && hold(d)) {
        count = fi_sender_unreleased(d->tx, true);
        let_go(d);
    }
    return count;
}

/* --- burying ----------------------------------------------------------------------------------------------------- */

static bool make_room(fi_dead_t *d) {
    if (d->end < d->cap) {
        return true;
    }
    if (d->first > d->cap / 2) {
        memmove(d->buried, d->buried + d->first, waiting(d) * sizeof *d->buried);
        d->end = waiting(d);
        d->first = 0;
        return true;
    }
    size_t cap = d->cap ? 2 * d->cap : 16;
    fi_buried_t *more = realloc(d->buried, cap * sizeof *more);
    if (more) {
        d->buried = more;
        d->cap = cap;
    }
    return more != NULL;
}

static void describe(const ferry_msg_t *m, const ferry_msg_info_t *info, struct fi_origin *o) {
    memset(o, 0, sizeof *o);
    o->node = m->link->from_node;
    o->end = m->link->from_end;
    o->seq = info->sequence;
    o->attempts = info->attempt - 1;
    memcpy(o->queue, m->link->rx->end.channel, sizeof o->queue);
}

/* What would never have room is let in nevertheless: its original, which waits meanwhile, is within its own sender's
 * quota. */
static int alloc(fi_sender_t *tx, uint64_t size, fi_block_t **out) {
    tx->pool.overdraft = size > tx->pool.quota;
    int r = fi_sender_alloc_now(tx, size, out);
    tx->pool.overdraft = false;
    return r;
}

/* When it was sent first; or now, where only the dead-letter queue's contract asks for that. */
static uint64_t time_of(const fi_sender_t *tx, const ferry_msg_info_t *info) {
    return info->time_ns == 0 && tx->timestamps ? (uint64_t)fi_now_ns() : info->time_ns;
}

/* The message, and behind it where it comes from. */
static int put_copy(fi_sender_t *tx, const ferry_msg_t *m, const ferry_msg_info_t *info) {
    fi_item_t item = {.size = m->size + sizeof(struct fi_origin),
                      .seq = tx->seq + 1,
                      .tag = info->tag,
                      .time_ns = time_of(tx, info),
                      .attempt = 1,
                      .origin = true};
    struct fi_origin origin;

    int r = alloc(tx, item.size, &item.block);
    if (r < 0) {
        return r;
    }
    fi_block_t *block = item.block;
    describe(m, info, &origin);
    memcpy(fi_block_data(block), m->data, m->size);
    memcpy((unsigned char *)fi_block_data(block) + m->size, &origin, sizeof origin);
    r = fi_sender_forward(tx, &item);
    fi_pool_unref(&tx->pool, block);
    return r;
}

static int put_and_note(fi_dead_t *d, const ferry_msg_t *m) {
    ferry_msg_info_t info = {0};

    if (!make_room(d)) {
        return -ENOMEM;
    }
    fi_taken_describe(m, &info);
    int r = put_copy(d->tx, m, &info);
    if (r == 0) {
        d->buried[d->end++] = (fi_buried_t){d->tx->seq, fi_peer_ref(m->link->peer), m->link->tx, info.sequence, false};
    }
    return r;
}

/* Hands it back to be kept aside; or, when there is no room for a copy, to be tried again; or, when the queue refuses
 * it, when this receiver has gone. False: that cannot be done, and there is no copy. */
static bool hand_back(ferry_msg_t *m, int put) {
    bool buried = put == 0;
    uint32_t refused = put == -EMSGSIZE ? FI_REJECT_REFUSED : 0;

    if (m->log->ctl.due) {
        (void)fi_held_settle(m, FI_DUE_SETTLING); /* it is not held any more */
    }
    if (fi_taken_reject(m, buried ? 0 : TRY_AGAIN_NS, buried ? FI_REJECT_BURIED : FI_REJECT_UNCOUNTED | refused) == 0) {
        return true;
    }
    if (buried) {
        fi_taken_release_held(m); /* its sender has ended: the copy is all that there is */
    } else if (m->log->ctl.due) {
        (void)fi_held_settle(m, fi_held_until(m->link->rx)); /* it is held, after all */
    }
    return buried;
}

/* The next call that receives tells. */
static void note_refusal(fi_dead_t *d, const ferry_msg_t *m) {
    int64_t now = fi_now_ns();

    if (d->rx->starved || (d->told_at != 0 && now - d->told_at < FI_TELL_NS)) {
        return;
    }
    d->told_at = now;
    snprintf(d->refusal, sizeof d->refusal,
             "a message of '%s' that was tried %u time%s cannot go to its dead-letter queue: %.160s",
             fi_channel_shown(d->rx->end.channel), (unsigned)fi_taken_attempt(m) - 1,
             fi_taken_attempt(m) == 2 ? "" : "s", fi_error_text());
    d->rx->starved = -EPROTOTYPE;
}

int fi_dead_tell_refusal(const fi_receiver_t *rx) {
    return fi_fail(
        -EPROTOTYPE,
        "%s. It stays with its sender and is tried again when this receiver has closed: open one with another "
        "`dead_letter`",
        rx->dead_letters->refusal);
}

/* The sender hears of the burial before it can hear that the copy was released. False: the message is still here. */
static bool bury(fi_dead_t *d, ferry_msg_t *m) {
    if (!hold(d)) {
        return hand_back(m, -EAGAIN);
    }
    int put = put_and_note(d, m);
    d->rx->stats.dead_letters += put == 0;
    if (put == -EMSGSIZE) {
        note_refusal(d, m);
    }
    bool gone = hand_back(m, put);
    if (!d->tx->waiting) {
        look(d); /* else the next release calls the steward, which looks */
    }
    let_go(d);
    return gone;
}

bool fi_dead_soon(const ferry_msg_t *m) {
    const fi_dead_t *d = m->link->rx->dead_letters;

    return d && fi_taken_attempt(m) >= d->max_attempts;
}

bool fi_dead_takes(fi_receiver_t *rx, ferry_msg_t *m) {
    if (fi_taken_attempt(m) <= rx->dead_letters->max_attempts) {
        return false;
    }
    /* Of one that has outlived its sender, and has no room in the other queue, there is no other instance. */
    return bury(rx->dead_letters, m);
}

/* --- beginning and end ------------------------------------------------------------------------------------------- */

static void sender_ends(void *whole) {
    ((fi_dead_t *)whole)->tx = NULL;
}

int fi_dead_open(fi_receiver_t *rx, const char *queue, uint32_t max_attempts) {
    fi_dead_t *d = calloc(1, sizeof *d);

    if (!d) {
        return fi_fail(-ENOMEM, "no memory for a receiver of '%s'", fi_channel_shown(rx->end.channel));
    }
    fi_part_t part = rx->part.dead ? rx->part.dead->part : (fi_part_t){.whole = NULL};
    part.whole = d;
    part.ends = sender_ends;
    part.released = look;
    part.in_haste = true;
    part.outgrows = true;
    const ferry_contract_t *contract = rx->part.dead ? &rx->part.dead->contract : NULL;
    int r = fi_sender_new_part(rx->end.node, queue, FERRY_QUEUE, contract, &part, &d->tx);
    if (r < 0) {
        free(d);
        return r;
    }
    fi_disown(&d->tx->end.own);
    d->rx = rx;
    d->max_attempts = max_attempts;
    rx->dead_letters = d;
    return 0;
}

void fi_dead_close(fi_receiver_t *rx) {
    fi_dead_t *d = rx->dead_letters;

    rx->dead_letters = NULL;
    if (!d) {
        return;
    }
    if (hold(d)) {
        look_at(d, true); /* the original of what was released a moment ago is not to be tried again */
        let_go(d);
    }
    if (d->tx) {
        fi_sender_drop(d->tx);
    }
    for (size_t i = d->first; i < d->end; i++) {
        fi_peer_unref(d->buried[i].peer);
    }
    free(d->buried);
    free(d);
}

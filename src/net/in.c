/* SPDX-License-Identifier: MIT
 *
 * Inwards: what senders elsewhere send to own receivers.
 *
 * Numbers are taken in order only.  What finds no room with own receivers waits here, within the window that the sender
 * keeps to; what they have released is told to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/bridge.h"
#include "platform/clock.h"

#define MUST_ACK 0x80000000u
#define MAX_RETAIN_TAKEN 65536u
#define LEAST_QUOTA (64ull << 20)
/* Acknowledgements come at once where messages are alone. In a stream they come together, or each would let the sender
 * send a little, which makes small batches of what could be large ones. */
#define ACK_INTERVAL_NS 1000000ll
#define ACK_MESSAGES 2048u
#define ACK_BYTES (FI_FAR_WINDOW / 8)

/* ---- finding ---- */

static fi_inward_t *find(fi_bridge_t *b, const fi_far_node_t *n, uint64_t tx) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (in->node == n && in->tx == tx) {
            return in;
        }
    }
    return NULL;
}

uint32_t fi_in_count(fi_bridge_t *b, uint32_t kind, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;
    uint32_t count = 0;

    fi_list_each(at, after, &b->inwards) {
        const fi_inward_t *in = fi_container(at, fi_inward_t, link);
        count += in->kind == kind && in->live && strcmp(in->channel, channel) == 0;
    }
    return count;
}

bool fi_in_serves(fi_bridge_t *b, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->inwards) {
        if (fi_container(at, fi_inward_t, link)->node == n) {
            return true;
        }
    }
    return false;
}

/* ---- opening and closing ---- */

/* Something has been released, for which the sender was armed (watch). Also by the steward, while it is being opened. */
static void released(void *whole) {
    const fi_inward_t *in = whole;
    const fi_sender_t *tx = fi_load_acquire_ptr(&in->sender);
    uint64_t one = 1;

    if (tx && (tx->rationed || tx->waiting)) {
        (void)!write(in->bridge->bell, &one, sizeof one);
    }
}

static void tell(fi_bridge_t *b, const fi_inward_t *in, enum fi_far_type type, uint32_t flags) {
    fi_far_frame_t f = fi_far_frame(b, type, in->kind, type == FI_FAR_ACK ? "" : in->channel);

    f.head.tx = in->tx;
    f.head.token = in->token;
    f.head.a = in->received;
    f.head.b = in->released;
    f.head.c = in->got;
    f.head.flags = flags;
    if (type == FI_FAR_REFUSED) {
        snprintf(f.text, sizeof f.text, "%s", fi_error_text());
    }
    fi_far_send(b, in->node->id, &f);
}

static int open_sender(fi_bridge_t *b, fi_inward_t *in, const fi_far_frame_t *f) {
    uint64_t last = f->head.a; /* sequence number of what receivers here have had, or shall not have */
    bool goes_on = in->kind == FERRY_TOPIC && fi_heard_goes_on(b, f->head.node, in->tx, &last);
    const ferry_contract_t c = {.type_name = f->contract.type_name[0] ? f->contract.type_name : NULL,
                                .type_size = f->contract.type_size,
                                .max_size = f->contract.max_size,
                                .hold = (ferry_hold_t)f->contract.hold,
                                .timestamps = f->contract.timestamps,
                                .quota = fi_max(f->head.c, LEAST_QUOTA),
                                .retain = (uint32_t)fi_min(f->head.b, (uint64_t)MAX_RETAIN_TAKEN)};
    const fi_part_t part = {.whole = in,
                            .released = released,
                            .in_haste = true,
                            .hidden = true,
                            .from_node = f->head.node,
                            .from_end = in->tx,
                            .counted = goes_on && last != f->head.a, /* it costs a little for each message */
                            .first_seq = in->kind == FERRY_TOPIC ? last + 1 : 0};

    fi_sender_t *tx = NULL;
    int r = fi_sender_new_part(b->net->node, in->channel, (ferry_kind_t)in->kind, &c, &part, &tx);
    fi_store_release_ptr(&in->sender, tx);
    return r;
}

static void free_arrived(fi_sender_t *tx, fi_arrived_t *a) {
    fi_list_remove(&a->link);
    fi_nats.natsMsg_Destroy(a->msg);
    if (a->item.block) {
        fi_pool_unref(&tx->pool, a->item.block);
    }
    free(a);
}

static void drop_pieces(fi_inward_t *in) {
    if (in->pieces.block) {
        fi_pool_unref(&in->sender->pool, in->pieces.block);
    }
    in->pieces.block = NULL;
    in->got = 0;
}

static void free_inward(fi_inward_t *in) {
    if (in->sender) {
        if (fi_end_enter(&in->sender->end, FI_END_SENDER) == 0) {
            drop_pieces(in);
            while (!fi_list_empty(&in->waiting)) {
                free_arrived(in->sender, fi_container(in->waiting.next, fi_arrived_t, link));
            }
            if (in->cut_off && in->kind == FERRY_TOPIC) {
                fi_heard_note(in->bridge, in->sender);
            }
            (void)fi_sender_close(in->sender, FERRY_NOW, NULL);
        }
    }
    fi_heard_end(in->bridge, in->hearing);
    fi_list_remove(&in->link);
    free(in->seqs);
    free(in);
}

/* One of us was given up by the other, or both were: there is no more of it, unless its sender comes again. */
static void cut_off(fi_inward_t *in) {
    in->cut_off = true;
    in->shut = in->received;
}

static void opened(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f) {
    fi_inward_t *in = find(b, n, f->head.tx);

    if (in && in->token == f->head.token) {
        tell(b, in, FI_FAR_READY, 0);
        return;
    }
    if (in) {
        cut_off(in);
        free_inward(in);
    }
    in = calloc(1, sizeof *in);
    if (!in) {
        return; /* it asks again */
    }
    in->bridge = b;
    in->node = n;
    in->tx = f->head.tx;
    in->token = f->head.token;
    in->kind = f->head.kind;
    in->shut = UINT64_MAX;
    in->began = fi_now_ns();
    memcpy(in->channel, f->channel, sizeof in->channel);
    fi_list_init(&in->waiting);
    fi_list_add_tail(&b->inwards, &in->link);
    int r = fi_channel_check(in->channel);
    r = r < 0 ? r : open_sender(b, in, f);
    if (r == 0 && in->kind == FERRY_TOPIC && !(in->hearing = fi_hear(b, in->channel, n->id))) {
        r = -ENOMEM;
    }
    tell(b, in, r < 0 ? FI_FAR_REFUSED : FI_FAR_READY, 0);
    if (r < 0) {
        free_inward(in);
    }
}

static void live(fi_inward_t *in, uint64_t first) {
    if (!in->live && first > 0) {
        in->live = true;
        in->received = in->put = in->released = first - 1;
        in->told_received = in->told_released = first - 1;
    }
}

void fi_in_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f) {
    struct fi_list *at;
    struct fi_list *after;

    if (f->head.type == FI_FAR_OPEN) {
        if (fi_meet_has_receivers(b, f->head.kind, f->channel)) {
            opened(b, n, f);
        } else {
            fi_far_frame_t gone = fi_far_frame(b, FI_FAR_GONE, f->head.kind, f->channel);
            fi_far_send(b, n->id, &gone);
        }
        return;
    }
    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (in->node != n) {
            continue;
        }
        if (f->head.type == FI_FAR_PROBE) {
            in->must_ack |= MUST_ACK | FI_FAR_PROBED;
            in->told_fates.again = true;
        } else if (in->token == f->head.token) {
            if (f->head.type == FI_FAR_LIVE) {
                live(in, f->head.a);
            } else if (f->head.type == FI_FAR_SHUT) {
                in->shut = f->head.a;
            } else { /* LOST */
                cut_off(in);
            }
        }
    }
}

/* ---- arriving ---- */

/* How many records a batch has; 0: it is malformed. */
static uint32_t count_records(const unsigned char *data, size_t len) {
    uint32_t count = 0;

    for (size_t at = 0; at < len; count++) {
        fi_far_record_t rec;
        if (len - at < sizeof rec) {
            return 0;
        }
        memcpy(&rec, data + at, sizeof rec);
        uint64_t size = sizeof rec + (rec.described & FI_FAR_DESCRIBED ? sizeof(fi_far_described_t) : 0) +
                        fi_align_up((uint64_t)rec.size, 8);
        if (size > len - at) {
            return 0;
        }
        at += (size_t)size;
    }
    return count;
}

/* Takes a record that count_records has seen. Returns where the next one begins. */
static size_t take_record(const unsigned char *data, size_t at, fi_item_t *item) {
    fi_far_record_t rec;
    fi_far_described_t described = {0, 0};

    memcpy(&rec, data + at, sizeof rec);
    at += sizeof rec;
    if (rec.described & FI_FAR_DESCRIBED) {
        memcpy(&described, data + at, sizeof described);
        at += sizeof described;
    }
    *item = (fi_item_t){.data = data + at,
                        .size = rec.size,
                        .seq = rec.seq,
                        .tag = described.tag,
                        .time_ns = described.time_ns,
                        .attempt = rec.attempt ? rec.attempt : 1,
                        .origin = (rec.described & FI_FAR_ORIGIN) != 0};
    return at + fi_align_up(rec.size, 8);
}

static const unsigned char *records_of(natsMsg *msg, size_t *len) {
    *len = (size_t)fi_nats.natsMsg_GetDataLength(msg) - FI_FAR_HEAD;
    return (const unsigned char *)fi_nats.natsMsg_GetData(msg) + FI_FAR_HEAD;
}

/* Something before it is missing: that is said once. */
static void complain(fi_inward_t *in) {
    if (!in->complained) {
        in->complained = true;
        in->must_ack |= MUST_ACK | FI_FAR_MISSES;
    }
}

static bool queue_arrived(fi_inward_t *in, fi_arrived_t what, uint32_t count) {
    fi_arrived_t *a = malloc(sizeof *a);

    if (!a) {
        return false;
    }
    *a = what;
    fi_list_add_tail(&in->waiting, &a->link);
    in->received += count;
    if (in->node) {
        in->node->traffic.messages_received += count;
    }
    in->complained = false;
    return true;
}

static bool batch_arrived(fi_inward_t *in, uint64_t first, natsMsg *msg) {
    size_t len;
    const unsigned char *data = records_of(msg, &len);
    uint32_t count = count_records(data, len);
    fi_item_t item;
    size_t at = 0;

    if (count == 0 || first == 0 || first + count - 1 <= in->received) {
        return false; /* malformed, or all of it was here before */
    }
    if (first > in->received + 1) {
        complain(in);
        return false;
    }
    uint32_t known = (uint32_t)(in->received + 1 - first);
    for (uint32_t i = 0; i < known; i++) {
        at = take_record(data, at, &item);
    }
    drop_pieces(in);
    return queue_arrived(in, (fi_arrived_t){.msg = msg, .at = at, .left = count - known}, count - known);
}

/* The first piece says all about the message. False: there is no room for it now. */
static bool begin_pieces(fi_inward_t *in, const fi_item_t *piece, uint64_t total) {
    drop_pieces(in);
    if (fi_sender_alloc_now(in->sender, total, &in->pieces.block) < 0) {
        in->pieces.block = NULL;
        return false;
    }
    fi_block_t *block = in->pieces.block;
    in->pieces = *piece;
    in->pieces.data = NULL;
    in->pieces.block = block;
    in->pieces.size = total;
    return true;
}

static void piece_arrived(fi_inward_t *in, const fi_far_head_t *h, natsMsg *msg) {
    size_t len;
    const unsigned char *data = records_of(msg, &len);
    fi_item_t piece;

    if (h->a <= in->received || count_records(data, len) != 1) {
        return;
    }
    (void)take_record(data, 0, &piece);
    if (h->a > in->received + 1 || (h->b > 0 && h->b > in->got)) {
        complain(in);
        return;
    }
    if (h->b == 0 && (in->got > 0 || !in->pieces.block) && !begin_pieces(in, &piece, h->c)) {
        return; /* it is asked for again when it is missed */
    }
    if (h->b != in->got || h->c != in->pieces.size || piece.size > h->c - h->b) {
        return; /* of an earlier try, or nonsense */
    }
    memcpy((unsigned char *)fi_block_data(in->pieces.block) + h->b, piece.data, piece.size);
    in->got += piece.size;
    if (in->got == h->c && queue_arrived(in, (fi_arrived_t){.left = 1, .item = in->pieces}, 1)) {
        in->pieces.block = NULL;
        in->got = 0;
    }
}

void fi_in_data(fi_bridge_t *b, fi_far_node_t *n, const fi_far_head_t *h, natsMsg *msg) {
    fi_inward_t *in = find(b, n, h->tx);
    bool taken = false;

    if (in) {
        in->untold += (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
        n->traffic.bytes_received += (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    }
    if (in && in->live && in->kind == h->kind && (h->token == 0 || h->token == in->token) &&
        fi_end_enter(&in->sender->end, FI_END_SENDER) == 0) {
        if (h->c > 0) {
            piece_arrived(in, h, msg);
        } else {
            taken = batch_arrived(in, h->a, msg);
        }
        fi_end_leave(&in->sender->end);
    }
    if (!taken) {
        fi_nats.natsMsg_Destroy(msg);
    }
}

/* ---- passing on ---- */

static int remember_seq(fi_inward_t *in, uint64_t number, uint64_t seq) {
    if (number - in->released > in->seqs_cap) {
        uint32_t cap = in->seqs_cap ? 2 * in->seqs_cap : 256;
        uint64_t *more = malloc(cap * sizeof *more);
        if (!more) {
            return -EAGAIN;
        }
        for (uint64_t i = in->released + 1; i < number; i++) {
            more[i & (cap - 1)] = in->seqs[i & (in->seqs_cap - 1)];
        }
        free(in->seqs);
        in->seqs = more;
        in->seqs_cap = cap;
    }
    in->seqs[number & (in->seqs_cap - 1)] = seq;
    return 0;
}

/* What a queue has waits for its receivers, but what a topic's receiver has no link for goes by. The end is held. */
static bool is_linked(fi_inward_t *in) {
    if (!in->linked) {
        in->linked = in->kind == FERRY_QUEUE || fi_heard_by_all(in->sender) || fi_now_ns() - in->began > FI_OWN_LINK_NS;
    }
    return in->linked;
}

/* Puts what waits into own receivers' rings, as far as there is room. The end is held. */
static void pass_on(fi_bridge_t *b, fi_inward_t *in) {
    while (is_linked(in) && !fi_list_empty(&in->waiting)) {
        fi_arrived_t *a = fi_container(in->waiting.next, fi_arrived_t, link);
        size_t len;
        const unsigned char *data = a->msg ? records_of(a->msg, &len) : NULL;
        while (a->left > 0) {
            fi_item_t item = a->item;
            size_t next = a->msg ? take_record(data, a->at, &item) : 0;
            if (remember_seq(in, in->put + 1, item.seq) < 0 || fi_sender_forward(in->sender, &item) < 0) {
                return;
            }
            in->put++;
            a->at = next;
            a->left--;
            b->progress = true;
        }
        free_arrived(in->sender, a);
    }
}

struct oldest {
    const fi_inward_t *in;
    uint64_t number; /* of the oldest that is not released */
};

static void note_oldest(uint64_t seq, void *arg) {
    struct oldest *o = arg;

    for (uint64_t i = o->in->released + 1; i < o->number; i++) {
        if (o->in->seqs[i & (o->in->seqs_cap - 1)] == seq) {
            o->number = i;
        }
    }
}

static void find_released(fi_bridge_t *b, fi_inward_t *in) {
    struct oldest o = {in, in->put + 1};

    if (in->kind == FERRY_QUEUE && in->put > in->released) {
        fi_sender_each_oldest(in->sender, note_oldest, &o);
    }
    b->progress |= o.number - 1 != in->released;
    in->released = o.number - 1;
}

static void acknowledge(fi_bridge_t *b, fi_inward_t *in) {
    bool news = in->received != in->told_received || in->released != in->told_released || in->got != in->told_got;

    in->keeps_silent = false;
    if (in->node && in->live && (news || in->must_ack)) {
        int64_t now = fi_now_ns();
        if (!in->must_ack && now - in->told_at < ACK_INTERVAL_NS && in->received - in->told_received < ACK_MESSAGES &&
            in->untold < ACK_BYTES) {
            in->keeps_silent = true;
            return;
        }
        in->told_at = now;
        in->untold = 0;
        tell(b, in, FI_FAR_ACK, in->must_ack & ~MUST_ACK);
        in->must_ack = 0;
        in->told_received = in->received;
        in->told_released = in->released;
        in->told_got = in->got;
    }
}

/* Where the sender far away waits for each release before it gives more, the next one calls the bridge. */
static void watch(fi_bridge_t *b, fi_inward_t *in) {
    if (in->sender->rationed && in->kind == FERRY_QUEUE && in->put > in->released) {
        fi_sender_arm(in->sender);
        find_released(b, in); /* what was released before that rings no bell */
    }
}

/* `over`: nobody here takes any more. True: it has ended. */
static bool turn(fi_bridge_t *b, fi_inward_t *in, bool over) {
    if (fi_end_enter(&in->sender->end, FI_END_SENDER) < 0) {
        return false;
    }
    pass_on(b, in);
    find_released(b, in);
    watch(b, in);
    bool fates = fi_in_has_fates(in, over);
    in->must_ack |= fates ? MUST_ACK : 0; /* first: what may have to be sent again is not let go */
    acknowledge(b, in);
    if (fates) {
        fi_in_tell_fates(b, in, over);
    }
    fi_end_leave(&in->sender->end);
    return in->shut != UINT64_MAX && in->released >= in->shut && in->put >= in->shut;
}

bool fi_in_turn(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    bool waits = false;

    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (turn(b, in, false)) {
            free_inward(in);
        } else {
            waits |= in->released != in->received || in->keeps_silent;
        }
    }
    return waits;
}

/* ---- ends ---- */

void fi_in_probed(fi_bridge_t *b, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (in->node == n) {
            if (in->live) {
                in->must_ack |= MUST_ACK;
                acknowledge(b, in);
            } else {
                tell(b, in, FI_FAR_READY, 0);
            }
        }
    }
}

void fi_in_close_channel(fi_bridge_t *b, uint32_t kind, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (in->kind == kind && strcmp(in->channel, channel) == 0) {
            in->must_ack |= MUST_ACK; /* what was released until now must not come again */
            (void)turn(b, in, true);
            free_inward(in);
        }
    }
    if (kind == FERRY_TOPIC) {
        fi_heard_forget(b, channel);
    }
}

/* Own receivers get what has arrived, and then see the end. */
void fi_in_node_gone(fi_bridge_t *b, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->inwards) {
        fi_inward_t *in = fi_container(at, fi_inward_t, link);
        if (in->node == n) {
            in->node = NULL;
            cut_off(in);
        }
    }
}

void fi_in_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->inwards)) {
        free_inward(fi_container(b->inwards.next, fi_inward_t, link));
    }
}

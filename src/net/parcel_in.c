/* SPDX-License-Identifier: MIT
 *
 * Large durable messages, the receiving side: see parcel.h.
 */
#include "net/parcel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "platform/clock.h"

#define WINDOW_BYTES (8u << 20) /* of pieces that are asked for and have not come */
#define ANSWER_NS 2000000000ll  /* an answer that takes longer has been lost */
#define MISSING_NS 2000000000ll /* a piece that is not there for so long will not come: a replica may lag behind */
#define LEAST_PIECE 256u        /* of what a head may say */
#define SPARE (64ull << 20)     /* of memory, beside the message */

#define LEAST_NS 1000000ll

/* ---- heads ---- */

static bool read_head(natsMsg *msg, uint64_t *size, uint64_t *piece) {
    const char *text = NULL;
    char written[64];

    if (fi_nats.natsMsgHeader_Get(msg, "Ferry-Parcel", &text) != NATS_OK || !text ||
        sscanf(text, "%16" SCNx64 "-%16" SCNx64, size, piece) != 2) {
        return false;
    }
    snprintf(written, sizeof written, "%" PRIx64 "-%" PRIx64, *size, *piece);
    return strcmp(text, written) == 0 && *size <= FI_PARCEL_MOST && *piece >= LEAST_PIECE && *piece < *size;
}

bool fi_parcel_is_head(natsMsg *msg, uint64_t *size) {
    uint64_t piece;

    return read_head(msg, size, &piece);
}

bool fi_parcel_subject(const fi_net_t *net, ferry_kind_t kind, const char *channel, natsMsg *head,
                       char subject[FI_SUBJECT_MAX + 64]) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    const char *text = NULL;
    uint64_t node, end, number;

    if (fi_nats.natsMsgHeader_Get(head, "Nats-Msg-Id", &text) != NATS_OK || !text ||
        sscanf(text, "%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64, &node, &end, &number) != 3) {
        return false;
    }
    fi_parcel_names(net, kind, channel, base, stream);
    snprintf(subject, FI_SUBJECT_MAX + 64, "%s.%016" PRIx64 "-%" PRIx64 ".%" PRIx64, base, node, end, number);
    return true;
}

/* ---- fetching ---- */

static bool has(const fi_parcel_t *f, uint32_t i) {
    return f->seqs[i] != 0;
}

static fi_parcel_state_t begin(fi_bridge_t *b, fi_parcel_t *f, natsMsg *head, int64_t now) {
    if (!read_head(head, &f->size, &f->piece) || !fi_parcel_subject(b->net, f->kind, f->channel, head, f->subject)) {
        return FI_PARCEL_MISSING;
    }
    if (f->tx->end.contract.type_size || (f->tx->end.contract.max_size && f->size > f->tx->end.contract.max_size)) {
        if (f->size != f->tx->end.contract.type_size) {
            return FI_PARCEL_UNFIT;
        }
    }
    if (f->size + SPARE > f->tx->pool.quota) {
        f->tx->pool.quota = f->size + SPARE;
        fi_sender_set_limits(f->tx);
    }
    f->count = (uint32_t)((f->size + f->piece - 1) / f->piece);
    f->asked = f->first = 0;
    f->missing_since = 0;
    f->answered_at = now;
    f->seqs = calloc(f->count, sizeof *f->seqs);
    if (!f->seqs ||
        fi_sender_alloc_now(f->tx, f->size + FI_DURABLE_MORE, &f->block) < 0) { /* no room now: it is tried again */
        free(f->seqs);
        f->seqs = NULL;
        f->block = NULL;
        return FI_PARCEL_GOING;
    }
    f->number = ++b->parcels_ever;
    fi_list_add_tail(&b->parcels, &f->link);
    return FI_PARCEL_GOING;
}

static void ask_for(fi_bridge_t *b, const fi_parcel_t *f, uint32_t i) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX + 2 * FI_SUBJECT_MAX];
    char reply[FI_SUBJECT_MAX], word[48];

    fi_parcel_names(b->net, f->kind, f->channel, base, stream);
    snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s.%s.%" PRIx32, stream, f->subject, i);
    snprintf(word, sizeof word, "b.%" PRIx32 ".%" PRIx32, f->number, i);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, api, reply, "", 0);
    b->progress = true;
}

/* What is missing is asked for again soon. */
static int64_t patience(const fi_parcel_t *f) {
    return f->missing_since ? ANSWER_NS / 16 : ANSWER_NS;
}

fi_parcel_state_t fi_parcel_fetch(fi_bridge_t *b, fi_parcel_t *f, natsMsg *head, int64_t now) {
    uint32_t ahead = (uint32_t)(WINDOW_BYTES / fi_max(f->piece, (uint64_t)LEAST_PIECE)) + 1;

    if (f->number == 0) {
        fi_parcel_state_t state = begin(b, f, head, now);
        if (f->number == 0) {
            return state;
        }
    }
    if (f->first == f->count) {
        return FI_PARCEL_WHOLE;
    }
    if (f->missing_since && now - f->missing_since > MISSING_NS) {
        return FI_PARCEL_MISSING;
    }
    if (now - f->answered_at > patience(f)) { /* lost, or was not there */
        f->asked = f->first;
        f->answered_at = now;
    }
    for (; f->asked < f->count && f->asked - f->first < ahead; f->asked++) {
        if (!has(f, f->asked)) {
            ask_for(b, f, f->asked);
        }
    }
    return FI_PARCEL_GOING;
}

int64_t fi_parcel_due(const fi_parcel_t *f, int64_t now) {
    if (f->number == 0) {
        return -1;
    }
    int64_t left = f->answered_at + patience(f) - now;
    return left > LEAST_NS ? left : LEAST_NS;
}

/* The end is held. */
static void take(fi_parcel_t *f, uint32_t i, natsMsg *msg, int64_t now) {
    uint64_t at = f->piece * i;
    uint64_t len = fi_min(f->piece, f->size - at);
    uint64_t seq = fi_parcel_seq(msg);

    if (seq == 0) {
        f->missing_since = f->missing_since ? f->missing_since : now;
        return;
    }
    if (has(f, i) || (uint64_t)fi_nats.natsMsg_GetDataLength(msg) != len) {
        return; /* of an earlier question, or nonsense */
    }
    memcpy((unsigned char *)fi_block_data(f->block) + at, fi_nats.natsMsg_GetData(msg), len);
    f->seqs[i] = seq;
    f->answered_at = now;
    f->missing_since = 0;
    while (f->first < f->count && has(f, f->first)) {
        f->first++;
    }
}

static void came(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    (void)c;
    (void)sub;
    fi_bridge_post_message(arg, FI_BOX_PIECE, 0, msg);
}

int fi_parcel_listen(fi_bridge_t *b) {
    char subject[FI_SUBJECT_MAX];

    if (b->pieces) {
        return 0;
    }
    fi_net_node_subject(b->net, subject, b->net->node->id, "b.*.*");
    return fi_net_subscribe(b->net, b->net->bulk, subject, NULL, came, b, &b->pieces);
}

void fi_parcel_arrived(fi_bridge_t *b, natsMsg *msg) {
    /* The space may be called "b", and so may the number. */
    const char *words = strstr(fi_nats.natsMsg_GetSubject(msg) + strlen("ferry.") + strlen(b->net->space), ".b.");
    struct fi_list *at, *after;
    char *end = NULL;

    uint64_t number = words ? strtoull(words + 3, &end, 16) : 0;
    uint64_t i = end && *end == '.' ? strtoull(end + 1, NULL, 16) : UINT64_MAX;
    if (number == 0) {
        fi_parcel_remove_mark(b, msg);
        return;
    }
    fi_list_each(at, after, &b->parcels) {
        fi_parcel_t *f = fi_container(at, fi_parcel_t, link);
        if (f->number == number && i < f->count && fi_end_enter(&f->tx->end, FI_END_SENDER) == 0) {
            take(f, (uint32_t)i, msg, fi_now_ns());
            fi_end_leave(&f->tx->end);
            b->progress = true;
            break;
        }
    }
}

fi_pieces_t *fi_parcel_pieces(fi_parcel_t *f) {
    fi_pieces_t *pieces = calloc(1, sizeof *pieces);

    if (pieces) {
        pieces->seqs = f->seqs;
        pieces->count = f->count;
        memcpy(pieces->subject, f->subject, sizeof pieces->subject);
        f->seqs = NULL;
    }
    return pieces;
}

void fi_parcel_end(fi_parcel_t *f) {
    if (f->number) {
        fi_list_remove(&f->link);
        fi_pool_unref(&f->tx->pool, f->block);
        free(f->seqs);
        f->seqs = NULL;
        f->block = NULL;
        f->number = 0;
    }
}

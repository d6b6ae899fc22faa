/* SPDX-License-Identifier: MIT
 *
 * Large durable messages, the sending side: see parcel.h.
 */
#include "net/parcel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "net/ask.h"
#include "platform/clock.h"

#define WINDOW_BYTES (8u << 20) /* of pieces that are not answered */
#define ANSWER_NS 2000000000ll  /* an answer that takes longer has been lost */
#define PATIENCE_NS 5000000000ll
#define MOST_SWEPT 1000u
#define MOST_PIECES (1u << 20)
#define DEFAULT_BYTES (1ull << 30)

void fi_parcel_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                     char stream[FI_SUBJECT_MAX]) {
    const char *word = kind == FERRY_TOPIC ? "dtb" : "qb";

    fi_net_subject(net, subject, word, channel);
    fi_net_stream(net, stream, word, channel);
}

/* ---- the stream ---- */

static void make_stream(fi_bridge_t *b, const fi_deposit_t *p, const fi_depositor_t *d) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX], reply[FI_SUBJECT_MAX];
    char json[FI_DURABLE_JSON_MAX], word[32];
    uint64_t bytes = p->kept.bytes ? p->kept.bytes : DEFAULT_BYTES;

    fi_parcel_names(b->net, p->kind, p->channel, subject, stream);
    fi_durable_api(api, "STREAM.CREATE", stream, "");
    snprintf(word, sizeof word, "d.%" PRIx32 ".s", d->number);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    for (int replicas = 3; replicas > 0; replicas -= 2) {
        int len =
            snprintf(json, sizeof json,
                     "{\"name\":\"%s\",\"subjects\":[\"%s.*.*.*\"],\"retention\":\"limits\",\"storage\":\"file\","
                     "\"discard\":\"old\",\"max_consumers\":-1,\"max_msgs\":-1,\"max_msgs_per_subject\":1,"
                     "\"max_bytes\":%" PRId64 ",\"max_age\":%" PRIu64 ",\"max_msg_size\":-1,\"allow_direct\":true,"
                     "\"num_replicas\":%d}",
                     stream, subject, p->kind == FERRY_TOPIC ? (int64_t)bytes : -1,
                     p->kind == FERRY_TOPIC ? p->kept.age : 0, replicas);
        /* The first fails where there is one server only: the second one's answer is the one that counts. */
        if (replicas > 1) {
            (void)fi_net_send(b->net, b->net->bulk, api, json, (size_t)len);
        } else {
            (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, api, reply, json, len);
        }
    }
}

/* ---- pieces ---- */

static uint32_t count_of(const fi_bridge_t *b, uint64_t size) {
    uint64_t piece = fi_parcel_piece(b->net);

    return (uint32_t)((size + piece - 1) / piece);
}

static bool put_piece(fi_bridge_t *b, const fi_deposit_t *p, const fi_depositor_t *d, uint32_t i) {
    const fi_put_t *put = fi_put_at(d, d->parcel.number);
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_SUBJECT_MAX + 64], reply[FI_SUBJECT_MAX], word[64];
    uint64_t piece = fi_parcel_piece(b->net);
    uint64_t at = piece * i;

    fi_parcel_names(b->net, p->kind, p->channel, base, stream);
    snprintf(subject, sizeof subject, "%s.%016" PRIx64 "-%" PRIx64 ".%" PRIx64 ".%" PRIx32, base, b->net->node->id,
             d->tx, put->seq, i);
    snprintf(word, sizeof word, "d.%" PRIx32 ".p%" PRIx64 "-%" PRIx32, d->number, d->parcel.number, i);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    return fi_nats.natsConnection_PublishRequest(b->net->bulk, subject, reply, (const char *)put->msg->data + at,
                                                 (int)fi_min(piece, put->size - at)) == NATS_OK;
}

bool fi_parcel_put(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, uint64_t number, int64_t now) {
    fi_put_out_t *o = &d->parcel;
    uint32_t ahead = (uint32_t)(WINDOW_BYTES / fi_parcel_piece(b->net)) + 1;

    if (o->number != number || o->losses != d->losses) {
        *o = (fi_put_out_t){.number = number,
                            .count = count_of(b, fi_put_at(d, number)->size),
                            .losses = d->losses,
                            .answered_at = now};
    }
    if (o->stored == o->count) {
        return true;
    }
    if (now - o->answered_at > ANSWER_NS) {
        fi_deposit_note(b, p, "it does not answer", now);
        o->sent = o->stored;
        o->there = false;
        o->asked = false;
        o->answered_at = now;
    }
    if (!o->there && !o->asked) {
        o->asked = true;
        make_stream(b, p, d);
    }
    while (o->there && o->sent < o->count && o->sent - o->stored < ahead && put_piece(b, p, d, o->sent)) {
        o->sent++;
        b->progress = true;
    }
    return false;
}

natsStatus fi_parcel_head(const fi_bridge_t *b, natsMsg *msg, uint64_t size) {
    char text[64];

    snprintf(text, sizeof text, "%" PRIx64 "-%" PRIx64, size, fi_parcel_piece(b->net));
    return fi_nats.natsMsgHeader_Set(msg, "Ferry-Parcel", text);
}

void fi_parcel_mark(fi_bridge_t *b, const fi_deposit_t *p, const fi_depositor_t *d, uint64_t number) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_SUBJECT_MAX + 64], reply[FI_SUBJECT_MAX], word[64];

    fi_parcel_names(b->net, p->kind, p->channel, base, stream);
    snprintf(subject, sizeof subject, "%s.%016" PRIx64 "-%" PRIx64 ".%" PRIx64 ".done", base, b->net->node->id, d->tx,
             fi_put_at(d, number)->seq);
    snprintf(word, sizeof word, "d.%" PRIx32 ".m%" PRIx64, d->number, number);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, subject, reply, "", 0);
}

void fi_parcel_answer(fi_bridge_t *b, fi_depositor_t *d, const char *word, bool refused, int64_t now) {
    fi_put_out_t *o = &d->parcel;
    char *end = NULL;

    b->progress = true;
    if (word[0] == 's') { /* made, or there before: else pieces are refused */
        o->there = true;
        o->answered_at = now;
        return;
    }
    uint64_t number = strtoull(word + 1, &end, 16);
    uint64_t i = *end == '-' ? strtoull(end + 1, NULL, 16) : UINT64_MAX;
    if (number == o->number && i == o->stored && !refused) {
        o->stored++;
        o->answered_at = now;
    }
}

/* ---- removing ---- */

uint64_t fi_parcel_seq(natsMsg *msg) {
    const char *text = NULL;

    if (fi_nats.natsMsg_IsNoResponders(msg) || fi_nats.natsMsgHeader_Get(msg, "Nats-Sequence", &text) != NATS_OK) {
        return 0;
    }
    return text ? strtoull(text, NULL, 10) : 0;
}

static int delete_json(uint64_t seq, char json[64]) {
    return snprintf(json, 64, "{\"seq\":%" PRIu64 ",\"no_erase\":true}", seq);
}

void fi_pieces_free(fi_pieces_t *pieces) {
    if (pieces) {
        free(pieces->seqs);
        free(pieces);
    }
}

void fi_parcel_remove(fi_bridge_t *b, const char *queue, fi_pieces_t *pieces) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX + 2 * FI_SUBJECT_MAX];
    char reply[FI_SUBJECT_MAX], json[64];

    if (!pieces) {
        return;
    }
    fi_parcel_names(b->net, FERRY_QUEUE, queue, base, stream);
    fi_durable_api(api, "STREAM.MSG.DELETE", stream, "");
    for (uint32_t i = 0; i < pieces->count; i++) {
        int len = delete_json(pieces->seqs[i], json);
        (void)fi_net_send(b->net, b->net->bulk, api, json, (size_t)len);
    }
    snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s.%s.done", stream, pieces->subject);
    fi_net_node_subject(b->net, reply, b->net->node->id, "b.0.0");
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, api, reply, "", 0);
    fi_pieces_free(pieces);
}

void fi_parcel_remove_mark(fi_bridge_t *b, natsMsg *mark) {
    char api[FI_DURABLE_API_MAX], json[64];
    const char *stream = NULL;
    uint64_t seq = fi_parcel_seq(mark);

    if (seq && fi_nats.natsMsgHeader_Get(mark, "Nats-Stream", &stream) == NATS_OK && strlen(stream) < FI_SUBJECT_MAX &&
        fi_nats.natsMsg_GetDataLength(mark) == 0) {
        fi_durable_api(api, "STREAM.MSG.DELETE", stream, "");
        int len = delete_json(seq, json);
        (void)fi_net_send(b->net, b->net->bulk, api, json, (size_t)len);
    }
}

/* ---- sweeping ---- */

typedef struct sweep {
    fi_ask_t ask;
    char stream[FI_SUBJECT_MAX];
    uint64_t last; /* number of the newest piece when it began: what is put later is not touched */
    bool empty;    /* the queue: so all that is marked is done with */
    uint64_t node; /* of whom was asked last whether it is there, */
    bool gone;     /* and the answer */
} sweep_t;

static bool is_gone(sweep_t *s, uint64_t node) {
    if (node != s->node) {
        s->node = node;
        s->gone = fi_net_is_there(s->ask.net, node, PATIENCE_NS) == 0;
    }
    return s->gone;
}

/* The number of the message with this subject; 0: there is none; -1: nobody knows. */
static int64_t look_up(sweep_t *s, const char *subject, const char *word) {
    char api[FI_DURABLE_API_MAX + 2 * FI_SUBJECT_MAX];
    natsMsg *msg = NULL;
    int code;

    snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s.%s.%s", s->stream, subject, word);
    if (fi_durable_ask(&s->ask, api, "", &code, &msg) < 0) {
        return -1;
    }
    int64_t seq = (int64_t)fi_parcel_seq(msg);
    fi_nats.natsMsg_Destroy(msg);
    return seq;
}

/* True: it was there. What was put since it began stays. */
static bool delete_one(sweep_t *s, const char *subject, const char *word) {
    char api[FI_DURABLE_API_MAX], json[64];
    int64_t seq = look_up(s, subject, word);
    int code;

    if (seq <= 0 || (uint64_t)seq > s->last) {
        return false;
    }
    fi_durable_api(api, "STREAM.MSG.DELETE", s->stream, "");
    (void)delete_json((uint64_t)seq, json);
    return fi_durable_ask(&s->ask, api, json, &code, NULL) == 0;
}

/* `subject`: "BASE.NODE-END.SEQUENCE"; `names`: what follows the base. */
static void sweep_one(sweep_t *s, const char *subject, const char *names) {
    char word[16];
    uint64_t node;

    if (sscanf(names, "%16" SCNx64, &node) != 1) {
        return;
    }
    bool gone = node != s->ask.net->node->id && is_gone(s, node);
    int64_t mark = gone || s->empty ? look_up(s, subject, "done") : -1;
    if (!(mark == 0 && gone) && !(mark > 0 && s->empty)) {
        return;
    }
    for (uint32_t i = 1; i < MOST_PIECES; i++) { /* the first goes last: it is what is listed */
        snprintf(word, sizeof word, "%" PRIx32, i);
        if (!delete_one(s, subject, word)) {
            break;
        }
    }
    (void)delete_one(s, subject, "done");
    (void)delete_one(s, subject, "0");
}

/* For each subject that is listed in the answer. */
static void sweep_all(sweep_t *s, natsMsg *listed, const char *base) {
    const char *at = fi_nats.natsMsg_GetData(listed); /* libnats ends each message with a zero */
    char before[FI_SUBJECT_MAX + 4], subject[FI_SUBJECT_MAX + 64];

    int skip = snprintf(before, sizeof before, "\"%s.", base);
    at = strstr(at, "\"subjects\":{");
    for (uint32_t n = 0; n < MOST_SWEPT && at && (at = strstr(at, before)) != NULL; n++) {
        size_t len = strcspn(++at, "\"");
        if (len > 2 && len < sizeof subject && at[len - 1] == '0' && at[len - 2] == '.') {
            snprintf(subject, sizeof subject, "%.*s", (int)len - 2, at);
            sweep_one(s, subject, subject + skip - 1);
        }
        at += len;
    }
}

void fi_parcels_sweep(fi_net_t *net, const char *queue) {
    sweep_t s = {.ask = fi_ask_begin(net, PATIENCE_NS, "look for what dead senders have left of", queue)};
    char base[FI_SUBJECT_MAX], subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX];
    char json[FI_DURABLE_JSON_MAX];
    natsMsg *listed = NULL, *info = NULL;
    uint64_t messages = 1;
    int code = 0;

    fi_parcel_names(net, FERRY_QUEUE, queue, base, s.stream);
    fi_durable_api(api, "STREAM.INFO", s.stream, "");
    snprintf(json, sizeof json, "{\"subjects_filter\":\"%s.*.*.0\"}", base);
    if (fi_durable_ask(&s.ask, api, json, &code, &listed) < 0) {
        return;
    }
    if (code == 0 && fi_durable_number(listed, "\"last_seq\":", &s.last)) {
        fi_durable_names(net, FERRY_QUEUE, queue, subject, stream);
        fi_durable_api(api, "STREAM.INFO", stream, "");
        if (fi_durable_ask(&s.ask, api, "", &code, &info) == 0) {
            (void)fi_durable_number(info, "\"messages\":", &messages);
            fi_nats.natsMsg_Destroy(info);
        }
        s.empty = messages == 0;
        sweep_all(&s, listed, base);
    }
    fi_nats.natsMsg_Destroy(listed);
}

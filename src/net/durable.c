/* SPDX-License-Identifier: MIT
 *
 * The streams and consumers of durable channels. What is said to the engine is JSON of its own; names need no escapes.
 */
#include "net/durable.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/ask.h"

#define ASK_NS 5000000000ll
#define REPLICAS 3                    /* where there are servers for them */
#define SETTLES_NS INT64_C(500000000) /* so long after, the server has made or removed a stream */

void fi_durable_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                      char stream[FI_SUBJECT_MAX]) {
    fi_net_subject(net, subject, fi_durable_word(kind), channel);
    fi_net_stream(net, stream, fi_durable_word(kind), channel);
}

void fi_durable_sender_subject(const fi_net_t *net, ferry_kind_t kind, const char *channel, uint64_t end,
                               char subject[FI_SUBJECT_MAX]) {
    char stream[FI_SUBJECT_MAX];

    fi_durable_names(net, kind, channel, subject, stream);
    size_t len = strlen(subject);
    snprintf(subject + len, FI_SUBJECT_MAX - len, ".%016" PRIx64 "-%" PRIx64, net->node->id, end);
}

/* `done`: how this node comes to make it, for the description. See make_stream. */
static int queue_json(const fi_net_t *net, const char *channel, const char *done, int replicas,
                      char json[FI_DURABLE_JSON_MAX]) {
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];

    fi_durable_names(net, FERRY_QUEUE, channel, subject, stream);
    return snprintf(json, FI_DURABLE_JSON_MAX,
                    "{\"name\":\"%s\",\"description\":\"%s by %016" PRIx64
                    "\",\"subjects\":[\"%s.*\"],\"retention\":\"workqueue\",\"storage\":\"file\","
                    "\"discard\":\"new\",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,"
                    "\"max_msg_size\":-1,\"num_replicas\":%d,\"duplicate_window\":%llu}",
                    stream, done, net->node->id, subject, replicas, FI_DURABLE_IDS_NS);
}

static int stream_json(const fi_net_t *net, ferry_kind_t kind, const char *channel, const fi_kept_bounds_t *kept,
                       const char *done, int replicas, char json[FI_DURABLE_JSON_MAX]) {
    return kind == FERRY_TOPIC ? fi_durable_topic_json(net, channel, kept, replicas, json)
                               : queue_json(net, channel, done, replicas, json);
}

static int consumer_json(const char *stream, char json[FI_DURABLE_JSON_MAX]) {
    return snprintf(json, FI_DURABLE_JSON_MAX,
                    "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"ferry\",\"deliver_policy\":\"all\","
                    "\"ack_policy\":\"explicit\",\"ack_wait\":%lld,\"max_deliver\":-1,\"max_ack_pending\":1000000,"
                    "\"max_waiting\":8192,\"replay_policy\":\"instant\"}}",
                    stream, (long long)FI_DURABLE_ACK_NS);
}

void fi_durable_api(char out[FI_DURABLE_API_MAX], const char *what, const char *stream, const char *after) {
    snprintf(out, FI_DURABLE_API_MAX, "$JS.API.%s.%s%s", what, stream, after);
}

int fi_durable_ask(fi_ask_t *a, const char *subject, const char *json, int *code, natsMsg **answer) {
    natsStatus s;

    do {
        natsMsg *msg = NULL;
        int r = fi_ask_next(a);
        if (r < 0) {
            return r;
        }
        s = fi_nats.natsConnection_Request(&msg, a->net->control, subject, json, (int)strlen(json), a->options.Wait);
        *code = s == NATS_OK ? fi_durable_error(msg) : 0;
        a->code = (jsErrCode)*code;
        if (s == NATS_OK && answer) {
            *answer = msg;
        } else {
            fi_nats.natsMsg_Destroy(msg);
        }
        if (s == NATS_NO_RESPONDERS) {
            int there = fi_net_stream_check(a->net, "durable channels");
            if (there < 0) {
                return there;
            }
        }
    } while (fi_ask_again(a, s == NATS_OK && a->code ? NATS_ERR : s));
    return s == NATS_OK ? 0 : fi_ask_fail(a, s);
}

int fi_durable_refused(const fi_ask_t *a, int code) {
    switch (code) {
    case JSInsufficientResourcesErr:
    case JSMaximumStreamsLimitErr:
    case JSStorageResourcesExceededErr:
        return fi_fail(-ENOSPC, "cannot %s '%s': the server has no room for it (%d)", a->doing, a->what, code);
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
        return fi_net_stream_check(a->net, "durable channels");
    case JSStreamSubjectOverlapErr:
        return fi_fail(-EEXIST, "cannot %s '%s': another stream of the server's has its subjects", a->doing, a->what);
    default:
        return fi_fail(-EIO, "cannot %s '%s': the server refuses it with error %d", a->doing, a->what, code);
    }
}

/* 1: there is such a stream; 0: there is none. */
static int exists(fi_ask_t *a, const char *stream) {
    char subject[FI_DURABLE_API_MAX];
    int code = 0;

    fi_durable_api(subject, "STREAM.INFO", stream, "");
    int r = fi_durable_ask(a, subject, "", &code, NULL);
    return r < 0 ? r : code == 0;
}

/*
 * nats-server 2.9 shows a stream before it is whole.  A consumer that is made then never says a word, though it takes
 * questions and counts as delivered what goes nowhere.  So only who has made the stream makes its consumer at once;
 * others wait for that, and make it in the place of one that has not come so far.
 */
static int look_for_consumer(fi_ask_t *a, const char *stream, bool waits, int *code) {
    char subject[FI_DURABLE_API_MAX];
    uint64_t since = 0;
    int r;

    fi_durable_api(subject, "CONSUMER.INFO", stream, ".ferry");
    do {
        r = fi_durable_ask(a, subject, "", code, NULL);
        a->failed = r == 0 && waits && *code == JSConsumerNotFoundErr && !fi_ask_is_gone(&since);
        a->deadline = a->failed ? fi_deadline(a->timeout) : a->deadline; /* that was an answer */
    } while (a->failed);
    return r;
}

static int make_consumer(fi_ask_t *a, const char *stream, bool made_stream) {
    char subject[FI_DURABLE_API_MAX];
    char json[FI_DURABLE_JSON_MAX];
    int code = 0;

    int r = look_for_consumer(a, stream, !made_stream, &code);
    if (r < 0 || code == 0) {
        return r;
    }
    fi_durable_api(subject, "CONSUMER.DURABLE.CREATE", stream, ".ferry");
    (void)consumer_json(stream, json);
    r = fi_durable_ask(a, subject, json, &code, NULL);
    return r == 0 && code ? fi_durable_refused(a, code) : r;
}

/*
 * What is there is left alone: to make it again would have the server forget how far its consumers are, and how often
 * they have delivered what (2.9.10).
 *
 * `*made`: this node has made a queue's stream.  The server says yes also to who asks for what is there already; so by
 * the description each node asks for something else.
 */
static int make_stream(fi_ask_t *a, ferry_kind_t kind, const char *channel, const char *stream,
                       const fi_kept_bounds_t *kept, bool *made) {
    char subject[FI_DURABLE_API_MAX];
    char json[FI_DURABLE_JSON_MAX];
    int code = 0;

    int there = exists(a, stream);
    if (there < 0) {
        return there;
    }
    if (there > 0) {
        return kind == FERRY_TOPIC ? fi_durable_topic_bound(a, channel, kept) : make_consumer(a, stream, *made);
    }
    fi_durable_api(subject, "STREAM.CREATE", stream, "");
    (void)stream_json(a->net, kind, channel, kept, "made", REPLICAS, json);
    int r = fi_durable_ask(a, subject, json, &code, NULL);
    if (r == 0 && (code == JSStreamReplicasNotSupportedErr || code == JSClusterNoPeersErr)) {
        (void)stream_json(a->net, kind, channel, kept, "made", 1, json);
        r = fi_durable_ask(a, subject, json, &code, NULL);
    }
    if (r < 0) {
        return r;
    }
    if (code == JSStreamSubjectOverlapErr) { /* said also while another one is just making it */
        there = exists(a, stream);
        code = there > 0 ? JSStreamNameExistErr : code;
    }
    if (code &&
        code !=
            JSStreamNameExistErr) { /* that one is there, with other bounds, or of another version, or made by hand */
        return fi_durable_refused(a, code);
    }
    if (kind == FERRY_TOPIC) {
        return code ? fi_durable_topic_bound(a, channel, kept) : 0;
    }
    *made |= code == 0;
    return make_consumer(a, stream, *made);
}

/* In a cluster a server may not have heard yet of the stream that another one has. */
static int make_stream_in_time(fi_ask_t *a, ferry_kind_t kind, const char *channel, const char *stream,
                               const fi_kept_bounds_t *kept) {
    bool made = false;
    int r;

    do {
        r = make_stream(a, kind, channel, stream, kept, &made);
    } while (r == -EIO && a->code == JSStreamNotFoundErr && fi_time_left(a->deadline) > 0);
    return r;
}

int fi_durable_settle(fi_net_t *net, const char *channel, ferry_kind_t kind, const fi_kept_bounds_t *kept,
                      ferry_contract_t *c) {
    bool topic = kind == FERRY_TOPIC;
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];

    fi_durable_names(net, kind, channel, subject, stream);
    if (c->durable == FERRY_DURABLE_ANY) {
        /* An engine that cannot be asked now, or keeps nothing, leaves it at a channel that waits in memory. */
        fi_ask_t a = fi_ask_begin(net, FI_FAR_SETTLE_NS,
                                  topic ? "look for the durable topic" : "look for the durable queue", channel);
        c->durable = fi_net_is_up(net) && exists(&a, stream) > 0 ? FERRY_DURABLE : FERRY_DURABLE_NOT;
        if (c->durable == FERRY_DURABLE_NOT || !topic) { /* a topic's sender may have something to state */
            return c->durable == FERRY_DURABLE ? fi_way_open(net) : 0;
        }
    }
    if (c->durable != FERRY_DURABLE) {
        return 0;
    }
    fi_ask_t a = fi_ask_begin(net, ASK_NS, topic ? "open the durable topic" : "open the durable queue", channel);
    int r = make_stream_in_time(&a, kind, channel, stream, kept);
    return r < 0 ? r : fi_way_open(net);
}

/* ---- making it again ---- */

/* Does not wait for an answer. */
static void tell(fi_net_t *net, const char *subject, const char *json, int len) {
    (void)fi_net_send(net, net->bulk, subject, json, (size_t)len);
}

static void mend_stream(fi_net_t *net, ferry_kind_t kind, const char *channel, const fi_kept_bounds_t *kept,
                        const char *stream) {
    char subject[FI_DURABLE_API_MAX];
    char json[FI_DURABLE_JSON_MAX];

    fi_durable_api(subject, "STREAM.CREATE", stream, "");
    int len = stream_json(net, kind, channel, kept, "mended", REPLICAS, json);
    tell(net, subject, json, len);
    /* Where there are no servers for them; else it is there already. */
    len = stream_json(net, kind, channel, kept, "mended", 1, json);
    tell(net, subject, json, len);
}

static void mend_consumer(fi_net_t *net, const char *stream) {
    char subject[FI_DURABLE_API_MAX];
    char json[FI_DURABLE_JSON_MAX];

    fi_durable_api(subject, "CONSUMER.DURABLE.CREATE", stream, ".ferry");
    int len = consumer_json(stream, json);
    tell(net, subject, json, len);
}

void fi_durable_mend(fi_mending_t *m, int64_t now) {
    if (m->stream_at == 0 && m->consumer_at == 0) {
        m->stream_at = now + SETTLES_NS;
    }
}

int64_t fi_durable_tend(fi_net_t *net, ferry_kind_t kind, const char *channel, const fi_kept_bounds_t *kept,
                        fi_mending_t *m, int64_t now) {
    char base[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];

    if ((m->stream_at == 0 && m->consumer_at == 0) || !fi_net_is_up(net)) {
        return -1;
    }
    fi_durable_names(net, kind, channel, base, stream);
    if (m->stream_at != 0 && now >= m->stream_at) {
        mend_stream(net, kind, channel, kept, stream);
        m->stream_at = 0;
        m->consumer_at = kind == FERRY_QUEUE ? now + SETTLES_NS : 0;
    } else if (m->consumer_at != 0 && now >= m->consumer_at) {
        mend_consumer(net, stream);
        m->consumer_at = 0;
    }
    int64_t at = m->stream_at != 0 ? m->stream_at : m->consumer_at;
    return at != 0 ? at - now : -1;
}

bool fi_durable_number(natsMsg *msg, const char *key, uint64_t *number) {
    const char *data = fi_nats.natsMsg_GetData(msg);
    size_t len = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    const char *at = len > 0 ? memmem(data, len, key, strlen(key)) : NULL;
    char digits[24] = "";
    size_t n = 0;

    for (at = at ? at + strlen(key) : NULL; at && at < data + len && *at >= '0' && *at <= '9' && n < 20; at++) {
        digits[n++] = *at;
    }
    if (n == 0) {
        return false;
    }
    *number = strtoull(digits, NULL, 10);
    return true;
}

int fi_durable_error(natsMsg *msg) {
    uint64_t code = 0;

    (void)fi_durable_number(msg, "\"err_code\":", &code);
    return (int)(code & 0xffff);
}

/* The text behind `"key":"` in an answer; it stays as it is if there is none. */
static void take_text(natsMsg *msg, const char *key, char *text, size_t cap) {
    const char *data = fi_nats.natsMsg_GetData(msg);
    size_t len = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    const char *at = len > 0 ? memmem(data, len, key, strlen(key)) : NULL;

    if (!at) {
        return;
    }
    at += strlen(key);
    size_t n = 0;
    while (n + 1 < cap && at < data + len && *at != '"' && *at != '\\' && *at >= ' ') {
        text[n++] = *at++;
    }
    text[n] = '\0';
}

void fi_durable_words(natsMsg *msg, char *words, size_t cap) {
    take_text(msg, "\"description\":\"", words, cap);
}

void fi_durable_created(natsMsg *msg, char created[FI_CREATED_MAX]) {
    created[0] = '\0';
    take_text(msg, "\"created\":\"", created, FI_CREATED_MAX);
}

/* $JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.DELIVERED.SEQUENCE.CONSUMER-SEQUENCE.TIME.PENDING[.RANDOM] */
bool fi_durable_read_ack(const char *ack, fi_delivery_t *d) {
    const char *words[13];
    uint32_t count = 0;

    if (!ack || strncmp(ack, "$JS.ACK.", 8) != 0) {
        return false;
    }
    for (const char *at = ack; at && count < 13; at = strchr(at, '.')) {
        at += *at == '.';
        words[count++] = at;
    }
    uint32_t base = count == 9 ? 4 : 6;
    if (count < 9 || count == 10) {
        return false;
    }
    d->attempt = (uint32_t)fi_min(strtoull(words[base], NULL, 10), 65535ull);
    d->seq = strtoull(words[base + 1], NULL, 10);
    d->number = strtoull(words[base + 2], NULL, 10);
    d->time = strtoull(words[base + 3], NULL, 10);
    return d->attempt > 0 && d->seq > 0;
}

/* A number, and what stands behind it: exactly as a deposit writes them, `wide` with zeros before it. */
static bool take_hex(const char **at, bool wide, char after, uint64_t *n) {
    const char *first = *at;

    *n = 0;
    for (; (**at >= '0' && **at <= '9') || (**at >= 'a' && **at <= 'f'); (*at)++) {
        *n = *n << 4 | (uint64_t)(**at - (**at <= '9' ? '0' : 'a' - 10));
    }
    size_t digits = (size_t)(*at - first);
    bool written = wide ? digits == 16 : digits > 0 && digits <= 16 && (*first != '0' || digits == 1);
    return written && *(*at)++ == after;
}

fi_identity_t fi_durable_identify(natsMsg *msg, const fi_delivery_t *d) {
    const char *text = NULL;
    uint64_t node, end, number;

    if (fi_nats.natsMsgHeader_Get(msg, "Nats-Msg-Id", &text) == NATS_OK && text && take_hex(&text, true, '-', &node) &&
        take_hex(&text, false, '-', &end) && take_hex(&text, false, '\0', &number)) {
        return (fi_identity_t){node ^ (end << 32 | end >> 32), number};
    }
    return (fi_identity_t){d->time, d->seq}; /* others' ids mean something else */
}

uint64_t fi_durable_tag(natsMsg *msg) {
    const char *text = NULL;

    return fi_nats.natsMsgHeader_Get(msg, "Ferry-Tag", &text) == NATS_OK && text ? strtoull(text, NULL, 16) : 0;
}

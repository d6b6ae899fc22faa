/* SPDX-License-Identifier: MIT
 *
 * The streams and consumers of durable queues. What is said to the engine is JSON of its own; names need no escapes.
 */
#include "net/durable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/ask.h"

#define ASK_NS 5000000000ll
#define JSON_MAX 1024
#define REPLICAS 3 /* where there are servers for them */

void fi_durable_names(const fi_net_t *net, const char *channel, char subject[FI_SUBJECT_MAX],
                      char stream[FI_SUBJECT_MAX]) {
    fi_net_subject(net, subject, "q", channel);
    fi_net_stream(net, stream, "q", channel);
}

static int stream_json(const fi_net_t *net, const char *channel, int replicas, char json[JSON_MAX]) {
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];

    fi_durable_names(net, channel, subject, stream);
    return snprintf(json, JSON_MAX,
                    "{\"name\":\"%s\",\"subjects\":[\"%s.*\"],\"retention\":\"workqueue\",\"storage\":\"file\","
                    "\"discard\":\"new\",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,"
                    "\"max_msg_size\":-1,\"num_replicas\":%d,\"duplicate_window\":120000000000}",
                    stream, subject, replicas);
}

static int consumer_json(const char *stream, char json[JSON_MAX]) {
    return snprintf(json, JSON_MAX,
                    "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"ferry\",\"deliver_policy\":\"all\","
                    "\"ack_policy\":\"explicit\",\"ack_wait\":%lld,\"max_deliver\":-1,\"max_ack_pending\":1000000,"
                    "\"max_waiting\":8192,\"replay_policy\":\"instant\"}}",
                    stream, (long long)FI_DURABLE_ACK_NS);
}

static void api_subject(char out[FI_DURABLE_API_MAX], const char *what, const char *stream, const char *after) {
    snprintf(out, FI_DURABLE_API_MAX, "$JS.API.%s.%s%s", what, stream, after);
}

/* Asks the engine. 0: it has answered; `*code` is its error's number, or 0. */
static int ask(fi_ask_t *a, const char *subject, const char *json, int *code) {
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
        fi_nats.natsMsg_Destroy(msg);
        if (s == NATS_NO_RESPONDERS) {
            int there = fi_net_stream_check(a->net, "durable queues");
            if (there < 0) {
                return there;
            }
        }
    } while (fi_ask_again(a, s == NATS_OK && a->code ? NATS_ERR : s));
    return s == NATS_OK ? 0 : fi_ask_fail(a, s);
}

static int refused(const fi_ask_t *a, int code) {
    switch (code) {
    case JSInsufficientResourcesErr:
    case JSMaximumStreamsLimitErr:
    case JSStorageResourcesExceededErr:
        return fi_fail(-ENOSPC, "cannot %s '%s': the server has no room for it (%d)", a->doing, a->what, code);
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
        return fi_net_stream_check(a->net, "durable queues");
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

    api_subject(subject, "STREAM.INFO", stream, "");
    int r = ask(a, subject, "", &code);
    return r < 0 ? r : code == 0;
}

static int make_consumer(fi_ask_t *a, const char *stream) {
    char subject[FI_DURABLE_API_MAX];
    char json[JSON_MAX];
    int code = 0;

    api_subject(subject, "CONSUMER.DURABLE.CREATE", stream, ".ferry");
    (void)consumer_json(stream, json);
    int r = ask(a, subject, json, &code);
    return r == 0 && code ? refused(a, code) : r;
}

static int make_stream(fi_ask_t *a, const char *channel, const char *stream) {
    char subject[FI_DURABLE_API_MAX];
    char json[JSON_MAX];
    int code = 0;

    api_subject(subject, "STREAM.CREATE", stream, "");
    (void)stream_json(a->net, channel, REPLICAS, json);
    int r = ask(a, subject, json, &code);
    if (r == 0 && (code == JSStreamReplicasNotSupportedErr || code == JSClusterNoPeersErr)) {
        (void)stream_json(a->net, channel, 1, json);
        r = ask(a, subject, json, &code);
    }
    if (r < 0) {
        return r;
    }
    if (code == JSStreamSubjectOverlapErr) { /* said also while another one is just making it */
        int there = exists(a, stream);
        code = there > 0 ? 0 : code;
    }
    if (code && code != JSStreamNameExistErr) { /* that one is there, made by another version or by hand */
        return refused(a, code);
    }
    return make_consumer(a, stream);
}

int fi_durable_settle(fi_net_t *net, const char *channel, ferry_contract_t *c) {
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];

    fi_durable_names(net, channel, subject, stream);
    if (c->durable == FERRY_DURABLE) {
        fi_ask_t a = fi_ask_begin(net, ASK_NS, "open the durable queue", channel);
        int r = make_stream(&a, channel, stream);
        return r < 0 ? r : fi_net_open_stream(net);
    }
    if (c->durable == FERRY_DURABLE_ANY) {
        /* An engine that cannot be asked now, or keeps nothing, leaves it at a queue that waits in memory. */
        fi_ask_t a = fi_ask_begin(net, FI_FAR_SETTLE_NS, "look for the durable queue", channel);
        c->durable = fi_net_is_up(net) && exists(&a, stream) > 0 ? FERRY_DURABLE : FERRY_DURABLE_NOT;
    }
    return c->durable == FERRY_DURABLE ? fi_net_open_stream(net) : 0;
}

void fi_durable_mend(fi_net_t *net, const char *channel) {
    char base[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];
    char subject[FI_DURABLE_API_MAX];
    char json[JSON_MAX];

    fi_durable_names(net, channel, base, stream);
    api_subject(subject, "STREAM.CREATE", stream, "");
    int len = stream_json(net, channel, REPLICAS, json);
    (void)fi_net_send(net, net->bulk, subject, json, (size_t)len);
    len = stream_json(net, channel, 1, json); /* where there are no servers for them; else it is there already */
    (void)fi_net_send(net, net->bulk, subject, json, (size_t)len);
    api_subject(subject, "CONSUMER.DURABLE.CREATE", stream, ".ferry");
    len = consumer_json(stream, json);
    (void)fi_net_send(net, net->bulk, subject, json, (size_t)len);
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

void fi_durable_words(natsMsg *msg, char *words, size_t cap) {
    static const char key[] = "\"description\":\"";
    const char *data = fi_nats.natsMsg_GetData(msg);
    size_t len = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    const char *at = memmem(data, len, key, sizeof key - 1);

    if (!at) {
        return;
    }
    at += sizeof key - 1;
    size_t n = 0;
    while (n + 1 < cap && at < data + len && *at != '"' && *at != '\\' && *at >= ' ') {
        words[n++] = *at++;
    }
    words[n] = '\0';
}

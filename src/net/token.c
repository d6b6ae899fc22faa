/* SPDX-License-Identifier: MIT
 *
 * The fence of a durable channel: raising it. See token.h.
 */
#include "net/token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "net/ask.h"
#include "net/last.h"

#define PATIENCE_NS INT64_C(5000000000)

void fi_token_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                    char stream[FI_SUBJECT_MAX]) {
    const char *word = kind == FERRY_TOPIC ? "dtf" : "qf";

    fi_net_subject(net, subject, word, channel);
    fi_net_stream(net, stream, word, channel);
}

/* 0 also if it is there. */
static int make_stream(fi_ask_t *a, const char *subject, const char *stream) {
    char api[FI_DURABLE_API_MAX], json[FI_DURABLE_JSON_MAX];
    int code = 0;
    int r = 0;

    fi_durable_api(api, "STREAM.CREATE", stream, "");
    for (int replicas = 3; replicas > 0; replicas -= 2) {
        snprintf(json, sizeof json,
                 "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"retention\":\"limits\",\"storage\":\"file\","
                 "\"discard\":\"old\",\"max_consumers\":-1,\"max_msgs\":1,\"max_bytes\":-1,\"max_age\":0,"
                 "\"max_msg_size\":-1,\"num_replicas\":%d}",
                 stream, subject, replicas);
        r = fi_durable_ask(a, api, json, &code, NULL);
        if (r < 0 || (code != JSStreamReplicasNotSupportedErr && code != JSClusterNoPeersErr)) {
            break;
        }
    }
    bool made = code == 0 || code == JSStreamNameExistErr || code == JSStreamSubjectOverlapErr;
    return r < 0 || made ? r : fi_durable_refused(a, code);
}

/* The number at which the stream ends, if it has no message. */
static int end_of(fi_ask_t *a, const char *stream, uint64_t *last) {
    char api[FI_DURABLE_API_MAX];
    natsMsg *msg = NULL;
    int code = 0;

    fi_durable_api(api, "STREAM.INFO", stream, "");
    int r = fi_durable_ask(a, api, "", &code, &msg);
    if (r == 0) {
        *last = 0;
        (void)fi_durable_number(msg, "\"last_seq\":", last);
        fi_nats.natsMsg_Destroy(msg);
        r = code ? fi_durable_refused(a, code) : 0;
    }
    return r;
}

/* The largest token that was used, and the number of the message that says so; 0: none. */
static int read_fence(fi_ask_t *a, const char *subject, const char *stream, uint64_t *token, uint64_t *number) {
    fi_fence_t fence = {.version = 0};
    fi_last_t last;
    natsStatus s;

    do {
        int r = fi_ask_next(a);
        if (r < 0) {
            return r;
        }
        s = fi_last_ask(a, stream, subject, &last);
    } while (fi_ask_again(a, s));
    *token = 0;
    if (s != NATS_OK && (a->code == JSNoMessageFoundErr || a->code == JSStreamNotFoundErr)) {
        int r = a->code == JSStreamNotFoundErr ? make_stream(a, subject, stream) : 0;
        return r == 0 ? end_of(a, stream, number) : r;
    }
    if (s != NATS_OK) {
        return fi_ask_fail(a, s);
    }
    if (last.len == sizeof fence) {
        fi_last_copy(&last, &fence);
    }
    *number = last.number;
    *token = fence.token;
    fi_last_done(&last);
    return fence.version == 1 ? 0
                              : fi_fail(-EPROTO, "'%s' has a token that this version of Ferry cannot read", a->what);
}

/* In the place of number `last`. 0: it is there; 1: look again. */
static int put_fence(fi_ask_t *a, const char *subject, uint64_t token, uint64_t last) {
    const fi_fence_t fence = {.version = 1, .token = token};
    char number[24];
    natsMsg *msg = NULL;
    jsPubAck *ack = NULL;
    jsPubOptions o;

    int r = fi_ask_next(a);
    if (r < 0) {
        return r;
    }
    fi_nats.jsPubOptions_Init(&o);
    o.MaxWait = a->options.Wait;
    snprintf(number, sizeof number, "%" PRIu64, last);
    natsStatus s = fi_nats.natsMsg_Create(&msg, subject, NULL, (const char *)&fence, sizeof fence);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Expected-Last-Sequence", number) : s;
    s = s == NATS_OK ? fi_nats.js_PublishMsg(&ack, a->net->js, msg, &o, &a->code) : s;
    fi_nats.natsMsg_Destroy(msg);
    fi_nats.jsPubAck_Destroy(ack);
    if (s == NATS_OK) {
        return 0;
    }
    return a->code == JSStreamWrongLastSequenceErr || fi_ask_again(a, s) ? 1 : fi_ask_fail(a, s);
}

int fi_token_raise(fi_net_t *net, ferry_kind_t kind, const char *channel, uint64_t token) {
    fi_ask_t a = fi_ask_begin(net, PATIENCE_NS, "use a token on", channel);
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    uint64_t used, number;
    int r;

    fi_token_names(net, kind, channel, subject, stream);
    do {
        r = read_fence(&a, subject, stream, &used, &number);
        if (r == 0 && used > token) {
            return fi_fail(-ESTALE, "'%s' was sent to with token %" PRIu64 ", which is newer than %" PRIu64, channel,
                           used, token);
        }
        if (r == 0 && used < token) {
            r = put_fence(&a, subject, token, number);
        }
    } while (r == 1);
    return r;
}

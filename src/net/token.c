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

/*
 * The number at which the stream ends, and how many messages it has; it is made if it is not there.
 *
 * This must be asked before the last message is.  While the server makes a stream for somebody else, nats-server 2.9
 * crashes when it is asked for a message of it; this question it answers once the stream can be read.
 */
static int look_at(fi_ask_t *a, const char *subject, const char *stream, uint64_t *last, uint64_t *messages) {
    char api[FI_DURABLE_API_MAX];
    natsMsg *msg = NULL;
    int code = 0;

    fi_durable_api(api, "STREAM.INFO", stream, "");
    int r = fi_durable_ask(a, api, "", &code, &msg);
    *last = *messages = 0;
    if (r < 0) {
        return r;
    }
    if (code == 0) {
        (void)fi_durable_number(msg, "\"last_seq\":", last);
        (void)fi_durable_number(msg, "\"messages\":", messages);
    }
    fi_nats.natsMsg_Destroy(msg);
    return code == JSStreamNotFoundErr ? make_stream(a, subject, stream) : code ? fi_durable_refused(a, code) : 0;
}

/* The largest token that was used, and the number of the message that says so. 1: look again. */
static int read_message(fi_ask_t *a, const char *subject, const char *stream, uint64_t *token, uint64_t *number) {
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
    if (s != NATS_OK) {
        return a->code == JSNoMessageFoundErr || a->code == JSStreamNotFoundErr ? 1 : fi_ask_fail(a, s);
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

/* Likewise; token 0, and the number at which the stream ends: none was used. */
static int read_fence(fi_ask_t *a, const char *subject, const char *stream, uint64_t *token, uint64_t *number) {
    uint64_t messages;
    int r = look_at(a, subject, stream, number, &messages);

    *token = 0;
    return r == 0 && messages > 0 ? read_message(a, subject, stream, token, number) : r;
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

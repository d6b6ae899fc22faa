/* SPDX-License-Identifier: MIT */
#include "net/value_stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/last.h"
#include "net/streams.h"
#include "platform/clock.h"

#define ASK_AT_LEAST_MS 50
#define NEWS_BYTES 4096 /* on the stack; larger values are allocated */

/* Who has no time to wait for others still needs the server's answer, and gets it though that is slow. */
static int64_t wait_ms(const fi_term_t *p) {
    int64_t left = fi_time_left(p->deadline) / 1000000;

    if (left == 0 || left > FI_NET_ASK_MS) {
        return FI_NET_ASK_MS;
    }
    return left < ASK_AT_LEAST_MS ? ASK_AT_LEAST_MS : left;
}

/* What could not be stored: because somebody is just deleting the stream, whose files are gone already? */
static bool is_being_deleted(natsStatus s) {
    return strstr(fi_net_words(s), "error opening msg block file") != NULL;
}

/* There was no answer: because the server does not let us ask? It may just as well have denied something else, to
 * another thread, or what leases ask other nodes. */
static bool is_denied(const fi_value_t *r, uint32_t denials, char words[256]) {
    return fi_net_newest_denial(r->net, denials, words) &&
           (strstr(words, r->subject) || strstr(words, "$JS.") || strstr(words, "_INBOX."));
}

/* One of the above, or a negative errno with a sentence. */
static int outcome(const fi_value_t *r, natsStatus s, jsErrCode code, uint32_t denials, const char *doing) {
    char words[sizeof r->net->denied];

    if (s == NATS_OK) {
        return FI_DONE;
    }
    if (code == 0 && is_denied(r, denials, words)) {
        return fi_fail(-EACCES, "cannot %s the %s \"%s\": the server denies it (%s)", doing, r->word, r->name, words);
    }
    switch ((unsigned)code) {
    case JSStreamWrongLastSequenceErr:
        return FI_RACE_LOST;
    case JSStreamNotFoundErr:
    case JSStreamNotMatchErr:
        return FI_STREAM_GONE;
    case JSNoMessageFoundErr:
        return FI_EMPTY;
    case JSStreamStoreFailedErr:
        if (is_being_deleted(s)) {
            return FI_UNKNOWN;
        }
        /* fall through */
    case JSInsufficientResourcesErr:
    case JSStorageResourcesExceededErr:
        return fi_fail(-ENOSPC, "cannot %s the %s \"%s\": the server has no room for it (%s)", doing, r->word, r->name,
                       fi_net_words(s));
    case 0:
        break;
    case JSClusterNotAvailErr:
    case JSClusterNotLeaderErr:
    case JSClusterNotAssignedErr:
    case JSNotEnabledErr:   /* also said while a stream is being made */
    case JSStreamCreateErr: /* the server is just deleting one */
        return FI_UNKNOWN;
    default:
        return fi_fail(-EIO, "cannot %s the %s \"%s\": %s (%d)", doing, r->word, r->name, fi_net_words(s), (int)code);
    }
    if (s == NATS_NOT_FOUND) {
        return FI_EMPTY;
    }
    if (s == NATS_NO_MEMORY || s == NATS_MAX_PAYLOAD || s == NATS_INVALID_ARG) {
        return fi_net_fail(r->net, s, doing, r->name);
    }
    return FI_UNKNOWN; /* no answer, no connection, a leader is being elected */
}

int fi_value_pause(fi_net_t *net, int64_t ns, const fi_term_t *p) {
    struct pollfd halt = {.fd = net->node->halt, .events = POLLIN};
    int64_t left = fi_time_left(p->deadline);
    struct timespec t = fi_timespec(left < ns ? left : ns);

    if (left == 0) {
        return fi_net_is_up(net) ? fi_fail(-ETIMEDOUT, "the server does not answer in time")
                                 : fi_fail(-ENOTCONN, "there is no connection to a server; it is being tried again");
    }
    int got = ppoll(&halt, p->stubborn ? 0 : 1, &t, NULL);
    if (got > 0) {
        return fi_fail(-ESHUTDOWN, "the node was shut down");
    }
    return got < 0 && !p->stubborn ? fi_fail(-EINTR, "a signal ended the wait") : 0;
}

/* What the message holds. */
static int take_in(const fi_value_t *r, int decoded) {
    switch (decoded) {
    case -EPROTONOSUPPORT:
        return fi_fail(decoded,
                       "the %s \"%s\" is in use by another version of Ferry, which describes it otherwise than "
                       "version %u: use one version in a space",
                       r->word, r->name, FI_LEASE_VERSION);
    case -ENOMEM:
        return fi_fail(decoded, "no memory for the %s \"%s\"", r->word, r->name);
    default:
        return decoded < 0
                   ? fi_fail(decoded, "what stands in the stream of the %s \"%s\" is not Ferry's", r->word, r->name)
                   : 0;
    }
}

/* Nothing is to be asked now: while libnats connects again it holds its callers for as long as that takes. */
static bool is_away(const fi_value_t *r) {
    return !fi_net_is_up(r->net);
}

/* What the engine's answer holds. */
static int decode(const fi_last_t *last, fi_lease_state_t *s) {
    char *data = malloc(last->len + 1);

    if (!data) {
        return -ENOMEM;
    }
    fi_last_copy(last, data);
    int r = fi_lease_decode(s, data, last->len);
    free(data);
    return r;
}

/* FI_DONE, FI_STREAM_GONE, FI_EMPTY, FI_UNKNOWN or an error. Not by libnats' own call, which does not tell why there is
 * no message: that of a stream which is gone would be waited for. */
int fi_stream_read(const fi_value_t *r, const char *stream, const fi_term_t *p, fi_lease_state_t *s, uint64_t *seq) {
    fi_ask_t ask = {.net = r->net};
    fi_last_t last;
    uint32_t denials = fi_load_relaxed32(&r->net->denials);

    if (is_away(r)) {
        return FI_UNKNOWN;
    }
    ask.options.Wait = wait_ms(p);
    natsStatus got = fi_last_ask(&ask, stream, r->subject, &last);
    int how = outcome(r, got, ask.code, denials, "read");
    if (how == FI_DONE) {
        *seq = last.number;
        how = take_in(r, decode(&last, s));
    }
    fi_last_done(&last);
    return how;
}

/* The names come from the wire: is it a stream of that name, and nothing that the server would take for something
 * else? */
static bool is_stream_of(const fi_net_t *net, const char *stream, const char *name) {
    static const char hex[] = "0123456789abcdef";
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char base[FI_SUBJECT_MAX];

    fi_net_stream(net, base, FI_VALUE_KIND, name);
    size_t len = strlen(base);
    return name[0] && strspn(name, allowed) == strlen(name) && strncmp(stream, base, len) == 0 && stream[len] == '_' &&
           strlen(stream) == len + 17 && strspn(stream + len + 1, hex) == 16;
}

int fi_value_read_other(fi_net_t *net, const char *stream, const char *name, fi_lease_state_t *s) {
    fi_ask_t ask = {.net = net};
    char subject[FI_SUBJECT_MAX];
    fi_last_t last;

    if (!is_stream_of(net, stream, name)) {
        return -EPROTO;
    }
    fi_net_subject(net, subject, FI_VALUE_KIND, name);
    ask.options.Wait = FI_NET_ASK_MS;
    int r = fi_last_ask(&ask, stream, subject, &last) == NATS_OK ? decode(&last, s) : -ENOENT;
    fi_last_done(&last);
    return r;
}

/* Without a message before it, that is said in words of our own: the library's means something else. */
static natsStatus publish_first(const fi_value_t *r, const void *data, size_t len, jsPubOptions *o, jsPubAck **ack,
                                jsErrCode *code) {
    natsMsg *msg = NULL;

    natsStatus s = fi_nats.natsMsg_Create(&msg, r->subject, NULL, data, (int)len);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Expected-Last-Sequence", "0") : s;
    s = s == NATS_OK ? fi_nats.js_PublishMsg(ack, r->net->js, msg, o, code) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s;
}

/* Puts the value in the place of number `*seq`, which becomes its own number. FI_DONE, FI_RACE_LOST, FI_STREAM_GONE,
 * FI_UNKNOWN, error. */
int fi_stream_put(const fi_value_t *r, const char *stream, const fi_lease_state_t *s, const fi_term_t *p,
                  uint64_t *seq) {
    char small[NEWS_BYTES];
    uint32_t denials = fi_load_relaxed32(&r->net->denials);
    jsPubAck *ack = NULL;
    jsErrCode code = 0;
    jsPubOptions o;

    if (is_away(r)) {
        return FI_UNKNOWN;
    }
    size_t len = fi_lease_bytes(s);
    char *data = len <= sizeof small ? small : malloc(len);
    if (!data) {
        return fi_fail(-ENOMEM, "no memory for the %s \"%s\"", r->word, r->name);
    }
    (void)fi_lease_encode(s, data, len);
    fi_nats.jsPubOptions_Init(&o);
    o.MaxWait = wait_ms(p);
    o.ExpectStream = stream;
    o.ExpectLastSeq = *seq;
    natsStatus got = *seq == 0 ? publish_first(r, data, len, &o, &ack, &code)
                               : fi_nats.js_Publish(&ack, r->net->js, r->subject, data, (int)len, &o, &code);
    int how = outcome(r, got, code, denials, "change");
    if (how == FI_DONE) {
        *seq = ack->Sequence;
    }
    fi_nats.jsPubAck_Destroy(ack);
    if (data != small) {
        free(data);
    }
    return how;
}

/* ---- finding the stream ---- */

/* "streams":["A","B"], by hand: names have no characters that JSON writes otherwise. */
static void take_names(const char *json, fi_found_t *found) {
    const char *at = strstr(json, "\"streams\":[");

    if (!at) {
        return;
    }
    at += strlen("\"streams\":[");
    while (*at == '"' && found->count < FI_FOUND_MOST) {
        const char *end = strchr(at + 1, '"');
        size_t len = end ? (size_t)(end - at - 1) : 0;
        if (len == 0 || len >= FI_SUBJECT_MAX) {
            return;
        }
        memcpy(found->names[found->count], at + 1, len);
        found->names[found->count++][len] = '\0';
        at = end[1] == ',' ? end + 2 : end + 1;
    }
}

/* Which streams hold the subject? FI_DONE, FI_UNKNOWN, or an error. */
int fi_stream_find(const fi_value_t *r, const fi_term_t *p, fi_found_t *found) {
    char question[FI_SUBJECT_MAX + 32];
    uint32_t denials = fi_load_relaxed32(&r->net->denials);
    natsMsg *msg = NULL;

    *found = (fi_found_t){.count = 0};
    if (is_away(r)) {
        return FI_UNKNOWN;
    }
    snprintf(question, sizeof question, "{\"subject\":\"%s\"}", r->subject);
    natsStatus s = fi_nats.natsConnection_Request(&msg, r->net->control, "$JS.API.STREAM.NAMES", question,
                                                  (int)strlen(question), wait_ms(p));
    int how = outcome(r, s, 0, denials, "look for");
    if (s == NATS_NO_RESPONDERS) {
        how = fi_net_stream_check(r->net, "locks and events");
        return how == -ENOTSUP ? how : FI_UNKNOWN;
    }
    if (how == FI_DONE) {
        const char *data = fi_nats.natsMsg_GetData(msg);
        int len = fi_nats.natsMsg_GetDataLength(msg);
        char *json = malloc((size_t)len + 1);
        if (json) {
            memcpy(json, data, (size_t)len);
            json[len] = '\0';
            take_names(json, found);
            how = strstr(json, "\"error\"") ? FI_UNKNOWN : FI_DONE;
        }
        free(json);
    }
    fi_nats.natsMsg_Destroy(msg);
    return how;
}

void fi_stream_delete(const fi_value_t *r, const char *stream, const fi_term_t *p) {
    jsErrCode code = 0;
    jsOptions o;

    if (is_away(r)) {
        return; /* it stays, as where the server does not answer */
    }
    fi_nats.jsOptions_Init(&o);
    o.Wait = wait_ms(p);
    (void)fi_nats.js_DeleteStream(r->net->js, stream, &o, &code);
}

static natsStatus add_stream(const fi_value_t *r, const char *stream, uint32_t replicas, const fi_term_t *p,
                             jsErrCode *code) {
    const char *subject = r->subject;
    jsStreamInfo *info = NULL;
    jsStreamConfig c;
    jsOptions o;

    fi_nats.jsStreamConfig_Init(&c);
    c.Name = stream;
    c.Subjects = &subject;
    c.SubjectsLen = 1;
    c.MaxMsgs = 1;
    c.Storage = js_FileStorage;
    c.Replicas = replicas;
    fi_nats.jsOptions_Init(&o);
    o.Wait = wait_ms(p);
    natsStatus s = fi_nats.js_AddStream(&info, r->net->js, &c, &o, code);
    fi_nats.jsStreamInfo_Destroy(info);
    return s;
}

/* Three replicas where there are servers for them. FI_DONE also when somebody else was faster. */
int fi_stream_make(const fi_value_t *r, const char *stream, const fi_term_t *p) {
    uint32_t denials = fi_load_relaxed32(&r->net->denials);
    uint32_t replicas = fi_load_relaxed32(r->replicas);
    jsErrCode code = 0;

    if (is_away(r)) {
        return FI_UNKNOWN;
    }
    natsStatus s = add_stream(r, stream, replicas ? replicas : 3, p, &code);
    if (s != NATS_OK && (code == JSStreamReplicasNotSupportedErr || code == JSClusterNoPeersErr) && replicas != 1) {
        code = 0;
        replicas = 1;
        s = add_stream(r, stream, 1, p, &code);
    }
    if (s == NATS_OK) {
        fi_store_relaxed32(r->replicas, replicas ? replicas : 3);
    }
    if (code == JSStreamSubjectOverlapErr || code == JSStreamNameExistErr) {
        return FI_DONE;
    }
    return outcome(r, s, code, denials, "create");
}

/*
 * Has it a message? FI_DONE: yes; FI_EMPTY; FI_STREAM_GONE, FI_UNKNOWN or an error. It is asked first, for
 * the sake of fi_stream_is_made. `base`:
 * when the server made the stream, in microseconds: no lock is taken more often than that, so tokens that begin with it
 * are larger than those of an object that had the name before.
 */
int fi_stream_look(const fi_value_t *r, const char *stream, const fi_term_t *p, uint64_t *base) {
    uint32_t denials = fi_load_relaxed32(&r->net->denials);
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    jsOptions o;

    *base = 0;
    if (is_away(r)) {
        return FI_UNKNOWN;
    }
    fi_nats.jsOptions_Init(&o);
    o.Wait = wait_ms(p);
    natsStatus s = fi_nats.js_GetStreamInfo(&info, r->net->js, stream, &o, &code);
    s = s == NATS_OK && !fi_stream_is_made(info) ? NATS_TIMEOUT : s;
    bool has_message = s == NATS_OK && info->State.Msgs > 0;
    *base = s == NATS_OK ? (uint64_t)info->Created / 1000 : 0;
    fi_nats.jsStreamInfo_Destroy(info);
    int how = outcome(r, s, code, denials, "look at");
    return how == FI_EMPTY ? FI_STREAM_GONE : how == FI_DONE && !has_message ? FI_EMPTY : how;
}
